//! A partition's log in memory: one record in a batch, so that an offset is an index. What was not flushed may go in a
//! power loss, from the end.

use std::io;
use std::path::Path;

use broker::simulation::{ReadableLog, ReplicaLog};
use bytes::Bytes;
use protocol::batch;
use raft::rng::Rng;
use storage::leader_epochs::LeaderEpochs;
use storage::{AppendArgs, AppendError, AppendInfo, DoomedFiles, LogConfig, StorageError};

/// One record.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// The leader epoch of its batch.
    pub(crate) epoch: i32,
    /// What the client wrote.
    pub(crate) id: u64,
    bytes: Bytes,
}

/// A log that is also the disk that it is on.
#[derive(Debug, Clone, Default)]
pub(crate) struct DataLog {
    /// By offset.
    pub(crate) entries: Vec<Entry>,
    epochs: LeaderEpochs,
    /// Everything below is on the disk.
    flushed: i64,
    /// The first offset that changed since the simulation looked last.
    pub(crate) changed_from: Option<i64>,
    /// The disk fails at the write after so many.
    pub(super) fuse: Option<u32>,
}

impl DataLog {
    /// The process ends; in a power loss a part of what was not flushed is gone too.
    pub(super) fn crash(&mut self, power_loss: bool, rng: &mut Rng) {
        self.fuse = None;
        if power_loss {
            let unflushed = self.end() - self.flushed;
            let end = self.flushed + rng.below(unflushed as u64 + 1) as i64;
            self.cut(end);
        }
        // As the next start finds it.
        self.epochs.truncate_from_end(self.end());
    }

    pub(super) fn set_flushed(&mut self) {
        self.flushed = self.end();
    }

    fn end(&self) -> i64 {
        self.entries.len() as i64
    }

    fn cut(&mut self, end: i64) {
        self.entries.truncate(end as usize);
        self.epochs.truncate_from_end(end);
        self.flushed = self.flushed.min(end);
        self.change(end);
    }

    fn change(&mut self, from: i64) {
        self.changed_from = Some(self.changed_from.map_or(from, |known| known.min(from)));
    }

    fn write(&mut self) -> Result<(), StorageError> {
        if let Some(left) = &mut self.fuse {
            if *left == 0 {
                return Err(StorageError::of("write", "data")(io::Error::other("the disk failed")));
            }
            *left -= 1;
        }
        Ok(())
    }

    fn push(&mut self, bytes: &[u8]) -> Result<(), AppendError> {
        let whole = batch::batches(bytes).next().unwrap().unwrap();
        let header = whole.header().unwrap();
        if header.base_offset != self.end() {
            return Err(AppendError::OffsetOrder { expected: self.end(), found: header.base_offset });
        }
        self.write()?;
        self.epochs.assign(header.partition_leader_epoch, header.base_offset);
        self.change(header.base_offset);
        let entry = Entry {
            epoch: header.partition_leader_epoch,
            id: id_of(bytes),
            bytes: Bytes::copy_from_slice(&bytes[..header.size()]),
        };
        self.entries.push(entry);
        Ok(())
    }

    fn info(&self, first_offset: i64, bytes: usize) -> AppendInfo {
        AppendInfo {
            first_offset,
            last_offset: self.end() - 1,
            max_timestamp: -1,
            log_append_time: -1,
            log_start_offset: 0,
            duplicate: false,
            rolled_at: None,
            bytes,
        }
    }
}

/// A client's batch with one record that says `id`.
pub(super) fn batch_of(id: u64) -> Vec<u8> {
    let mut builder = batch::BatchBuilder::new(0);
    builder.push_pair(0, None, Some(&id.to_be_bytes()));
    builder.build().to_vec()
}

/// What the record of a batch says.
pub(super) fn id_of(bytes: &[u8]) -> u64 {
    // The value is the last but the count of headers.
    let size = batch::batches(bytes).next().unwrap().unwrap().bytes.len();
    u64::from_be_bytes(bytes[size - 9..size - 1].try_into().unwrap())
}

impl ReadableLog for DataLog {
    fn read(&self, offset: i64, bound: i64) -> Option<Vec<u8>> {
        const MAX: i64 = 20;
        if !(0..=self.end()).contains(&offset) {
            return None;
        }
        let to = bound.min(self.end()).min(offset + MAX).max(offset);
        let mut out = Vec::new();
        self.entries[offset as usize..to as usize].iter().for_each(|e| out.extend_from_slice(&e.bytes));
        Some(out)
    }
}

impl ReplicaLog for DataLog {
    fn dir(&self) -> &Path {
        Path::new("data")
    }

    fn log_start_offset(&self) -> i64 {
        0
    }

    fn log_end_offset(&self) -> i64 {
        self.end()
    }

    fn recovery_point(&self) -> i64 {
        self.flushed
    }

    fn first_unstable_offset(&self) -> Option<i64> {
        None
    }

    fn latest_epoch(&self) -> Option<i32> {
        self.epochs.latest().map(|entry| entry.epoch)
    }

    fn end_offset_for_epoch(&self, epoch: i32) -> Option<(i32, i64)> {
        self.epochs.end_offset_for(epoch, self.end())
    }

    fn set_config(&mut self, _: LogConfig) {}

    fn set_high_watermark(&mut self, _: i64) {}

    fn assign_leader_epoch(&mut self, epoch: i32, start_offset: i64) -> Result<(), StorageError> {
        if self.latest_epoch() != Some(epoch) {
            self.write()?;
            self.epochs.assign(epoch, start_offset);
        }
        Ok(())
    }

    fn append_as_leader(&mut self, records: &mut [u8], args: AppendArgs) -> Result<AppendInfo, AppendError> {
        let first = self.end();
        batch::patch_base_offset(records, first);
        batch::patch_leader_epoch(records, args.leader_epoch);
        self.push(records)?;
        Ok(self.info(first, records.len()))
    }

    fn append_as_follower(&mut self, records: &[u8], _: i64) -> Result<AppendInfo, AppendError> {
        let first = self.end();
        for whole in batch::batches(records) {
            self.push(whole.unwrap().bytes)?;
        }
        Ok(self.info(first, records.len()))
    }

    fn flush(&mut self, up_to: i64) -> Result<(), StorageError> {
        self.write()?;
        self.flushed = self.flushed.max(up_to.min(self.end()));
        Ok(())
    }

    fn truncate_to(&mut self, offset: i64) -> Result<DoomedFiles, StorageError> {
        if offset < self.end() {
            self.write()?;
            self.cut(offset.max(0));
        } else {
            self.epochs.truncate_from_end(self.end());
        }
        Ok(DoomedFiles::default())
    }

    fn truncate_fully_and_start_at(&mut self, offset: i64) -> Result<DoomedFiles, StorageError> {
        panic!("no log here starts above 0, at {offset}");
    }

    fn advance_log_start(&mut self, _: i64) -> Result<bool, StorageError> {
        Ok(false)
    }
}
