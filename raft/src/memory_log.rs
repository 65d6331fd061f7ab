//! A log in memory for tests; it can crash, which loses what was not flushed.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use protocol::control::ControlRecord;

use crate::batch;
use crate::control;
use crate::log::{Log, LogError, SnapshotChunk, SnapshotInfo};
use crate::replica::OffsetAndEpoch;

/// The log. Panics where a node breaks the contract of [`Log`].
#[derive(Debug, Clone, Default)]
pub struct MemoryLog {
    start: i64,
    end: i64,
    flushed: i64,
    batches: Vec<Entry>,
    snapshots: BTreeMap<OffsetAndEpoch, Bytes>,
    partial: Option<(OffsetAndEpoch, BytesMut)>,
    /// After so many more writes, all fail: a crash in the middle of a step.
    fuse: Option<u32>,
}

#[derive(Debug, Clone)]
struct Entry {
    base: i64,
    next: i64,
    epoch: i32,
    bytes: Bytes,
}

impl MemoryLog {
    /// Lets the write after the next `writes` fail, or none.
    pub fn set_fuse(&mut self, writes: Option<u32>) {
        self.fuse = writes;
    }

    /// Whether writes fail.
    pub fn is_blown(&self) -> bool {
        self.fuse == Some(0)
    }

    /// Base offset, end offset, epoch and bytes of each batch.
    pub fn entries(&self) -> impl Iterator<Item = (i64, i64, i32, &Bytes)> {
        self.batches.iter().map(|entry| (entry.base, entry.next, entry.epoch, &entry.bytes))
    }

    fn write(&mut self) -> Result<(), LogError> {
        match &mut self.fuse {
            Some(0) => Err(std::io::Error::other("crashed").into()),
            Some(left) => {
                *left -= 1;
                if *left == 0 { Err(std::io::Error::other("crashed").into()) } else { Ok(()) }
            }
            None => Ok(()),
        }
    }

    /// Loses what was not flushed.
    pub fn crash(&mut self) {
        self.fuse = None;
        let flushed = self.flushed;
        self.batches.retain(|entry| entry.next <= flushed);
        self.end = self.batches.last().map_or(self.start, |entry| entry.next).min(flushed.max(self.start));
        self.partial = None;
    }

    /// Puts a whole snapshot beside the log, as the state machine does.
    pub fn add_snapshot(&mut self, id: OffsetAndEpoch, bytes: Bytes) {
        self.snapshots.insert(id, bytes);
    }
}

impl Log for MemoryLog {
    fn log_start_offset(&self) -> i64 {
        self.start
    }

    fn log_end_offset(&self) -> i64 {
        self.end
    }

    fn last_epoch(&self) -> Option<i32> {
        self.batches.last().map(|entry| entry.epoch)
    }

    fn end_offset_for_epoch(&self, epoch: i32) -> Option<OffsetAndEpoch> {
        let entry = self.batches.iter().rfind(|entry| entry.epoch <= epoch)?;
        Some(OffsetAndEpoch { offset: entry.next, epoch: entry.epoch })
    }

    fn append(&mut self, batches: &[u8]) -> Result<(), LogError> {
        self.write()?;
        for batch in batch::batches(batches) {
            let batch = batch.expect("a node appends whole batches");
            assert_eq!(batch.base_offset(), self.end, "gap in the log");
            self.end = batch.next_offset();
            self.batches.push(Entry {
                base: batch.base_offset(),
                next: batch.next_offset(),
                epoch: batch.epoch(),
                bytes: Bytes::copy_from_slice(batch.bytes()),
            });
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), LogError> {
        self.write()?;
        self.flushed = self.end;
        Ok(())
    }

    fn truncate_to(&mut self, end_offset: i64) -> Result<(), LogError> {
        self.write()?;
        self.batches.retain(|entry| entry.next <= end_offset);
        self.end = self.batches.last().map_or(self.start, |entry| entry.next);
        self.flushed = self.flushed.min(self.end);
        Ok(())
    }

    fn read(&self, offset: i64, max_bytes: usize) -> Result<Bytes, LogError> {
        let mut out = BytesMut::new();
        for entry in self.batches.iter().filter(|entry| entry.next > offset) {
            if !out.is_empty() && out.len() + entry.bytes.len() > max_bytes {
                break;
            }
            out.extend_from_slice(&entry.bytes);
        }
        Ok(out.freeze())
    }

    fn size(&self) -> u64 {
        self.batches.iter().map(|entry| entry.bytes.len() as u64).sum()
    }

    fn snapshots(&self) -> Vec<SnapshotInfo> {
        let info = |(id, bytes): (&OffsetAndEpoch, &Bytes)| {
            let header = batch::batches(bytes).next().and_then(Result::ok);
            let first = header.and_then(|batch| control::decode_batch(&batch).ok()?.into_iter().next());
            let time = match first {
                Some((_, ControlRecord::SnapshotHeader(header))) => Some(header.last_contained_log_timestamp),
                _ => None,
            };
            SnapshotInfo { id: *id, size: bytes.len() as u64, last_contained_log_timestamp_ms: time }
        };
        self.snapshots.iter().map(info).collect()
    }

    fn read_snapshot(
        &self,
        id: OffsetAndEpoch,
        position: u64,
        max_bytes: usize,
    ) -> Result<Option<SnapshotChunk>, LogError> {
        Ok(self.snapshots.get(&id).map(|bytes| {
            let from = bytes.len().min(position as usize);
            let to = bytes.len().min(from + max_bytes.max(1));
            SnapshotChunk { total_size: bytes.len() as u64, bytes: bytes.slice(from..to) }
        }))
    }

    fn start_snapshot(&mut self, id: OffsetAndEpoch) -> Result<(), LogError> {
        self.partial = Some((id, BytesMut::new()));
        Ok(())
    }

    fn append_snapshot(&mut self, id: OffsetAndEpoch, position: u64, bytes: &[u8]) -> Result<(), LogError> {
        self.write()?;
        let (partial_id, partial) = self.partial.as_mut().expect("a snapshot was started");
        assert_eq!((*partial_id, partial.len() as u64), (id, position));
        partial.extend_from_slice(bytes);
        Ok(())
    }

    fn install_snapshot(&mut self, id: OffsetAndEpoch) -> Result<(), LogError> {
        self.write()?;
        let (partial_id, partial) = self.partial.take().expect("a snapshot was started");
        assert_eq!(partial_id, id);
        self.snapshots.retain(|old, _| *old >= id);
        self.snapshots.insert(id, partial.freeze());
        self.batches.clear();
        (self.start, self.end, self.flushed) = (id.offset, id.offset, id.offset);
        Ok(())
    }

    fn delete_before(&mut self, id: OffsetAndEpoch) -> Result<(), LogError> {
        self.write()?;
        self.snapshots.retain(|old, _| *old >= id);
        self.batches.retain(|entry| entry.base >= id.offset);
        self.start = self.start.max(id.offset);
        self.end = self.end.max(self.start);
        self.flushed = self.flushed.max(self.start);
        Ok(())
    }
}
