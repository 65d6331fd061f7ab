//! Reading a partition of `__consumer_offsets` into memory when this broker becomes its leader.

use std::sync::Arc;

use protocol::batch::{BatchError, BatchHeader, OpenRecordsError, RawBatch, RecordFormatError};
use protocol::compress::{LOG_RATIO, max_decompressed};
use protocol::wire::DecodeError;

use super::GroupConfig;
use super::shard::Shard;

/// Why a partition cannot be read. The lead of the partition keeps the log as it is; groups on it stay away.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The batch is damaged.
    #[error("cannot read a batch of group records")]
    Batch(#[from] BatchError),
    /// Its records cannot be decompressed.
    #[error("cannot open a batch of group records")]
    Open(#[from] OpenRecordsError),
    /// A record in it is damaged.
    #[error("cannot read a record in the batch at offset {base_offset}")]
    Record {
        /// Offset of the batch.
        base_offset: i64,
        /// What is wrong.
        #[source]
        source: RecordFormatError,
    },
}

/// A load in progress: feed it every batch from the log's start to its end, then finish it with
/// [`super::GroupCoordinator::finish_load`]. It holds no lock; dropping it leaves the partition loading.
pub struct Load {
    pub(super) partition: i32,
    pub(super) shard: Shard,
    pub(super) end_offset: i64,
    records: u64,
    unreadable: u64,
    scratch: Vec<u8>,
}

impl std::fmt::Debug for Load {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Load")
            .field("partition", &self.partition)
            .field("end_offset", &self.end_offset)
            .finish()
    }
}

impl Load {
    pub(super) fn new(partition: i32, leader_epoch: i32, config: Arc<GroupConfig>) -> Self {
        let shard = Shard::new(config, leader_epoch);
        Self { partition, shard, end_offset: 0, records: 0, unreadable: 0, scratch: Vec::new() }
    }

    /// The partition that is read.
    pub fn partition(&self) -> i32 {
        self.partition
    }

    /// The epoch under which this broker leads it.
    pub fn leader_epoch(&self) -> i32 {
        self.shard.epoch
    }

    /// Number of records read.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Takes in whole batches, in the order of the log.
    pub fn batches(&mut self, bytes: &[u8]) -> Result<(), LoadError> {
        for batch in protocol::batch::batches(bytes) {
            self.batch(&batch?)?;
        }
        Ok(())
    }

    fn batch(&mut self, batch: &RawBatch<'_>) -> Result<(), LoadError> {
        let header = match batch.header() {
            // Formats older than transactions; Kafka 4 cannot have written them, and has dropped them.
            Err(BatchError::Legacy(_)) => return Ok(()),
            header => header?,
        };
        let mut scratch = std::mem::take(&mut self.scratch);
        let result = self.records_of(&header, batch, &mut scratch);
        self.scratch = scratch;
        self.end_offset = header.next_offset();
        result
    }

    fn records_of(
        &mut self,
        header: &BatchHeader,
        batch: &RawBatch<'_>,
        scratch: &mut Vec<u8>,
    ) -> Result<(), LoadError> {
        let producer_id = header.is_transactional().then_some(header.producer_id);
        for record in batch.open_records(max_decompressed(batch.bytes.len(), LOG_RATIO), scratch)? {
            let record =
                record.map_err(|source| LoadError::Record { base_offset: header.base_offset, source })?;
            let offset = header.base_offset.saturating_add(i64::from(record.offset_delta));
            self.records += 1;
            let Some(key) = record.key else { continue };
            if header.is_control() {
                if let Some(commit) = marker(key) {
                    self.shard.replay_marker(header.producer_id, commit);
                }
                continue;
            }
            let replayed = self.shard.replay(key, record.value, offset, producer_id);
            self.note(replayed, offset);
        }
        Ok(())
    }

    /// One record that cannot be read must not take every group of the partition away.
    fn note(&mut self, replayed: Result<(), DecodeError>, offset: i64) {
        if let Err(error) = replayed {
            if self.unreadable == 0 {
                tracing::warn!(partition = self.partition, offset, %error, "skipped a group record that cannot be read");
            }
            self.unreadable += 1;
        }
    }
}

/// Whether a control record's key commits or aborts; `None` for other kinds.
fn marker(key: &[u8]) -> Option<bool> {
    match key.get(2..4)? {
        [0, 0] => Some(false),
        [0, 1] => Some(true),
        _ => None,
    }
}
