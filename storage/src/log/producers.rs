//! The producers of a log in its files: snapshots and transaction indexes.
//!
//! A snapshot is taken when a segment is rolled and when the log is closed. After a clean stop the one at the log end
//! says everything; otherwise the batches after the newest usable one are replayed. A snapshot that cannot be read is
//! removed and an older one taken.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use protocol::batch::{HEADER_SIZE, RawBatch};

use super::Log;
use super::api::DoomedFiles;
use super::error::{ReadError, StorageError};
use super::inventory::remove;
use crate::config::LogConfig;
use crate::names::FileKind;
use crate::producer_state::{ProducerStates, ProducerUpdate};
use crate::segment::{Segment, doom_file};
use crate::txn_index::{AbortedTxn, TransactionIndex, TxnIndexError};

/// Producer states with the files that hold them.
#[derive(Debug)]
pub(super) struct Producers {
    pub(super) states: ProducerStates,
    /// Offsets of the snapshot files.
    snapshots: BTreeSet<i64>,
    /// Base offsets of the segments that have a transaction index.
    txn_indexes: BTreeSet<i64>,
}

impl Producers {
    /// Of a log that starts at `log_start_offset` and whose folder has these files.
    pub(super) fn new(
        log_start_offset: i64,
        config: &LogConfig,
        snapshots: Vec<i64>,
        txn_indexes: Vec<i64>,
    ) -> Self {
        Producers {
            states: ProducerStates::new(log_start_offset, config.producer_id_expiration_ms),
            snapshots: snapshots.into_iter().collect(),
            txn_indexes: txn_indexes.into_iter().collect(),
        }
    }

    fn snapshots_from(&self, offset: i64) -> Vec<i64> {
        self.snapshots.range(offset..).copied().collect()
    }
}

impl Log {
    /// Brings the producers to the log end. What lies above `trusted_to` in snapshots and transaction indexes is
    /// found anew from the batches.
    pub(super) fn restore_producers(&mut self, trusted_to: i64, now_ms: i64) -> Result<(), StorageError> {
        for offset in self.producers.snapshots_from(self.log_end_offset + 1) {
            self.remove_snapshot(offset)?;
        }
        self.producers.states.clear(self.log_start_offset);
        // One at or below the log start knows nothing of what is still there.
        let usable = self.producers.snapshots.range(..=trusted_to).rev();
        let candidates: Vec<i64> = usable.copied().filter(|offset| *offset > self.log_start_offset).collect();
        for offset in candidates {
            let path = self.dir.join(FileKind::Snapshot.name(offset));
            let bytes = fs::read(&path).map_err(StorageError::of("read", &path))?;
            match self.producers.states.load_snapshot(&bytes, offset, now_ms) {
                Ok(()) => break,
                Err(e) => {
                    tracing::warn!(path = %path.display(), error = %e, "removing a producer snapshot");
                    self.remove_snapshot(offset)?;
                }
            }
        }
        let from = self.producers.states.map_end_offset();
        if from < self.log_end_offset {
            self.replay_producers(from, trusted_to)?;
        }
        self.producers.states.set_map_end_offset(self.log_end_offset);
        self.producers.states.on_high_watermark(self.high_watermark);
        Ok(())
    }

    /// Replays the batches from `from` on; writes the transaction indexes of segments from `trusted_to` on anew.
    fn replay_producers(&mut self, from: i64, trusted_to: i64) -> Result<(), StorageError> {
        for at in self.segment_index(from)..self.segments.len() {
            let segment = &self.segments[at];
            let base_offset = segment.base_offset();
            if base_offset >= trusted_to && self.producers.txn_indexes.remove(&base_offset) {
                remove(&segment.path(FileKind::TxnIndex))?;
            }
            let path = segment.path(FileKind::Log);
            let file = segment.file()?;
            // Where the batch with `from` is damaged, the whole segment is looked through.
            let start = match from > base_offset {
                true => match segment.find(from, i64::MAX) {
                    Ok(found) => found.map_or(segment.size(), |found| found.position),
                    Err(ReadError::Io(e)) => return Err(e),
                    Err(_) => 0,
                },
                false => 0,
            };
            let limit = self.segments.get(at + 1).map_or(i64::MAX, Segment::base_offset);
            let begin = if start > 0 { None } else { Some(base_offset) };
            let mut walk = segment.walk(&file, start, begin, limit);
            let mut bytes = Vec::new();
            let mut aborted = Vec::new();
            while let Some(batch) = walk.step().map_err(StorageError::of("read", &path))? {
                let header = &batch.header;
                if !header.has_producer_id() || header.last_offset() < from {
                    continue;
                }
                // Only markers have records that matter.
                bytes.resize(if header.is_control() { header.size() } else { HEADER_SIZE }, 0);
                file.read_at(&mut bytes, batch.position).map_err(StorageError::of("read", &path))?;
                match self.producers.states.replay(&RawBatch { position: 0, bytes: &bytes }) {
                    Ok(txn) => aborted.extend(txn),
                    Err(e) => {
                        tracing::warn!(log = %path.display(), error = %e, "passing over a control batch")
                    }
                }
            }
            for txn in aborted {
                self.index_aborted(base_offset, &txn)?;
            }
        }
        Ok(())
    }

    /// Makes the change of an append as leader that is in the active segment now.
    pub(super) fn commit_producers(
        &mut self,
        update: ProducerUpdate,
        next_offset: i64,
    ) -> Result<(), StorageError> {
        let base_offset = self.active().base_offset();
        for txn in self.producers.states.commit(update, next_offset) {
            self.index_aborted(base_offset, &txn)?;
        }
        Ok(())
    }

    /// Takes over batches of a leader that are in the active segment now.
    pub(super) fn follow_producers(&mut self, records: &[u8], next_offset: i64) -> Result<(), StorageError> {
        let base_offset = self.active().base_offset();
        for batch in protocol::batch::batches(records).flatten() {
            let replayed = match batch.header() {
                Ok(header) if header.has_producer_id() => self.producers.states.replay(&batch),
                _ => continue,
            };
            match replayed {
                Ok(Some(txn)) => self.index_aborted(base_offset, &txn)?,
                Ok(None) => {}
                Err(e) => {
                    tracing::warn!(log = %self.dir.display(), error = %e, "passing over a control batch")
                }
            }
        }
        self.producers.states.set_map_end_offset(next_offset);
        Ok(())
    }

    fn index_aborted(&mut self, base_offset: i64, txn: &AbortedTxn) -> Result<(), StorageError> {
        let path = self.dir.join(FileKind::TxnIndex.name(base_offset));
        let mut index = TransactionIndex::open(path.clone()).map_err(|e| corrupt_index(&path, e))?;
        index.append(txn)?;
        self.producers.txn_indexes.insert(base_offset);
        Ok(())
    }

    /// The aborted transactions with a marker at or above `from` and a first offset below `to`, for read_committed.
    pub fn aborted_transactions(&self, from: i64, to: i64) -> Result<Vec<AbortedTxn>, ReadError> {
        let mut found = Vec::new();
        if self.producers.txn_indexes.is_empty() {
            return Ok(found);
        }
        let first = self.segments[self.segment_index(from)].base_offset();
        for &base_offset in self.producers.txn_indexes.range(first..) {
            let path = self.dir.join(FileKind::TxnIndex.name(base_offset));
            let collected =
                TransactionIndex::open(path).and_then(|index| index.collect_aborted(from, to, &mut found));
            match collected {
                Ok(true) => break,
                Ok(false) => {}
                Err(TxnIndexError::Io(e)) => return Err(e.into()),
                Err(TxnIndexError::Corrupt { .. }) => {
                    return Err(ReadError::Corrupt { base_offset, position: 0 });
                }
            }
        }
        Ok(found)
    }

    /// Writes a snapshot named after `offset`, where a new segment begins or the log ends, if anything was appended
    /// since the last one. Synced with the segments below it.
    pub(super) fn snapshot_producers(&mut self, offset: i64) -> Result<(), StorageError> {
        self.producers.states.set_map_end_offset(offset);
        if !self.producers.states.needs_snapshot() {
            return Ok(());
        }
        let path = self.dir.join(FileKind::Snapshot.name(offset));
        fs::write(&path, self.producers.states.snapshot()).map_err(StorageError::of("write", path))?;
        self.producers.states.set_snapshot_offset(offset);
        self.producers.snapshots.insert(offset);
        Ok(())
    }

    /// After the log was cut at its end.
    pub(super) fn truncate_producers(&mut self) -> Result<(), StorageError> {
        let base_offset = self.active().base_offset();
        if self.producers.txn_indexes.contains(&base_offset) {
            let path = self.dir.join(FileKind::TxnIndex.name(base_offset));
            let cut = TransactionIndex::open(path.clone())
                .and_then(|mut index| index.truncate_to(self.log_end_offset));
            cut.map_err(|e| corrupt_index(&path, e))?;
        }
        // No time is given here: nobody is forgotten for being idle.
        self.restore_producers(self.log_end_offset, i64::MIN)
    }

    /// After the log was emptied.
    pub(super) fn clear_producers(&mut self, doomed: &mut DoomedFiles) -> Result<(), StorageError> {
        for offset in self.producers.snapshots_from(i64::MIN) {
            doomed.paths.extend(doom_file(&self.dir.join(FileKind::Snapshot.name(offset)))?);
        }
        self.producers.snapshots.clear();
        self.producers.states.clear(self.log_start_offset);
        Ok(())
    }

    /// After segments were removed at the front.
    pub(super) fn trim_producers(&mut self, doomed: &mut DoomedFiles) -> Result<(), StorageError> {
        let first = self.segments[0].base_offset();
        while let Some(&offset) = self.producers.snapshots.first().filter(|offset| **offset < first) {
            doomed.paths.extend(doom_file(&self.dir.join(FileKind::Snapshot.name(offset)))?);
            self.producers.snapshots.remove(&offset);
        }
        let latest = self.producers.snapshots.last().copied();
        self.producers.states.on_log_start_offset(self.log_start_offset, latest);
        Ok(())
    }

    /// A segment is gone, and its transaction index with it.
    pub(super) fn forget_txn_index(&mut self, base_offset: i64) {
        self.producers.txn_indexes.remove(&base_offset);
    }

    /// After a cleaned segment took the place of those at `base_offsets`.
    pub(super) fn replace_producer_files(&mut self, base_offsets: &[i64], has_txn_index: bool) {
        for (at, base_offset) in base_offsets.iter().enumerate() {
            self.producers.txn_indexes.remove(base_offset);
            if at > 0 {
                self.producers.snapshots.remove(base_offset);
            }
        }
        if has_txn_index {
            self.producers.txn_indexes.extend(base_offsets.first());
        }
    }

    fn remove_snapshot(&mut self, offset: i64) -> Result<(), StorageError> {
        remove(&self.dir.join(FileKind::Snapshot.name(offset)))?;
        self.producers.snapshots.remove(&offset);
        Ok(())
    }

    /// First offset of the earliest transaction that is open, or ended but not below the high watermark.
    pub fn first_unstable_offset(&self) -> Option<i64> {
        self.producers.states.first_unstable_offset()
    }

    /// The producers, for DescribeProducers and for verification.
    pub fn producers(&self) -> &ProducerStates {
        &self.producers.states
    }

    /// The producers, to begin verifications and to remove expired ones. Appends keep them up to date.
    pub fn producers_mut(&mut self) -> &mut ProducerStates {
        &mut self.producers.states
    }
}

fn corrupt_index(path: &Path, error: TxnIndexError) -> StorageError {
    match error {
        TxnIndexError::Io(e) => e,
        corrupt => {
            let corrupt = std::io::Error::new(std::io::ErrorKind::InvalidData, corrupt.to_string());
            StorageError::of("read", path)(corrupt)
        }
    }
}
