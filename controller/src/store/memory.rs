//! A store that keeps records in memory, for tests: everything is committed by the next flush.

use std::collections::VecDeque;

use protocol::records::Record;

use super::{AppendError, CommittedBatch, MetadataStore, StoreEvent, UpgradeError};

/// Records in memory, written by one node that always leads.
#[derive(Debug, Default)]
pub(crate) struct MemoryStore {
    batches: Vec<CommittedBatch>,
    next_offset: i64,
    flushed: i64,
    events: VecDeque<StoreEvent>,
}

impl MemoryStore {
    /// An empty store that leads in epoch 1 at once.
    pub(crate) fn new() -> Self {
        Self { events: VecDeque::from([StoreEvent::Leading { epoch: 1 }]), ..Self::default() }
    }
}

impl MetadataStore for MemoryStore {
    fn append(&mut self, batches: &[Vec<Record>], _metadata_version: i16) -> Result<i64, AppendError> {
        for records in batches {
            let (base_offset, count) = (self.next_offset, records.len() as i64);
            let last_offset = base_offset + count - 1;
            let records = records.clone();
            self.batches.push(CommittedBatch {
                base_offset,
                last_offset,
                epoch: 1,
                timestamp_ms: 0,
                records,
            });
            self.next_offset += count;
        }
        Ok(self.next_offset - 1)
    }

    fn flush(&mut self) {
        if self.flushed < self.next_offset {
            self.flushed = self.next_offset;
            self.events.push_back(StoreEvent::Committed(self.next_offset));
        }
    }

    async fn next(&mut self) -> StoreEvent {
        match self.events.pop_front() {
            Some(event) => event,
            None => std::future::pending().await,
        }
    }

    fn write_snapshot(&mut self, _end: i64, _timestamp: i64, _records: &[Record], _metadata_version: i16) {}

    fn end_offset(&self) -> i64 {
        self.next_offset
    }

    fn bytes_written(&self) -> u64 {
        0
    }

    fn quorum(&self) -> (i16, Vec<i32>) {
        (0, vec![1])
    }

    fn is_known_to(&self, _node_id: i32, _offset: i64) -> bool {
        true
    }

    fn upgrade_kraft_version(&mut self, level: i16, _validate_only: bool) -> Result<(), UpgradeError> {
        Err(UpgradeError::Unsupported { level })
    }

    fn shutdown(&mut self) {
        self.events.push_back(StoreEvent::Stopped);
    }
}
