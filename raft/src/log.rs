//! What the node needs of its log.
//!
//! Contract: calls block until done. `append` need not be durable, `flush` makes everything appended durable. The
//! node flushes before it counts, acknowledges or votes on the strength of what it appended, and it does so inside
//! `step`; a driver groups appends by handing several batches to one [`Input::Append`](crate::Input::Append).
//! An implementation may put the fsync of `flush` off to the end of the step, as long as no effect of the step that
//! depends on it (send, reply, high watermark) is carried out before. Every failure ends the node with [`Effect::Fault`](crate::Effect::Fault): a log is not used after a failed write.

use std::error::Error;

use bytes::Bytes;

use crate::replica::OffsetAndEpoch;

/// A failed operation of the log.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct LogError(#[from] pub Box<dyn Error + Send + Sync>);

impl From<std::io::Error> for LogError {
    fn from(error: std::io::Error) -> LogError {
        LogError(Box::new(error))
    }
}

/// A complete snapshot of this log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotInfo {
    /// Its id.
    pub id: OffsetAndEpoch,
    /// Its size in bytes.
    pub size: u64,
    /// `LastContainedLogTimestamp` of its header, in ms; `None` when not known.
    pub last_contained_log_timestamp_ms: Option<i64>,
}

/// A piece of a snapshot file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotChunk {
    /// Size of the whole file in bytes.
    pub total_size: u64,
    /// The bytes from the position asked for; empty at or behind the end.
    pub bytes: Bytes,
}

/// The metadata log of one replica with its snapshots.
pub trait Log {
    /// First offset that the log holds.
    fn log_start_offset(&self) -> i64;

    /// Offset after the last record, flushed or not.
    fn log_end_offset(&self) -> i64;

    /// Epoch of the last record; `None` when the log holds no record (a snapshot is then asked for its epoch).
    fn last_epoch(&self) -> Option<i32>;

    /// Of the epochs with records in the log, the largest that is not above `epoch`, and the offset at which the
    /// next one starts (log end for the last). `None` when every epoch in the log is larger or it is empty.
    fn end_offset_for_epoch(&self, epoch: i32) -> Option<OffsetAndEpoch>;

    /// Appends whole batches whose offsets follow the log end and whose epochs and CRCs are set.
    fn append(&mut self, batches: &[u8]) -> Result<(), LogError>;

    /// Makes all that was appended durable.
    fn flush(&mut self) -> Result<(), LogError>;

    /// Removes records at and after `end_offset`, durably.
    fn truncate_to(&mut self, end_offset: i64) -> Result<(), LogError>;

    /// Whole batches from the one that contains `offset`, up to `max_bytes` but at least one; empty at log end.
    fn read(&self, offset: i64, max_bytes: usize) -> Result<Bytes, LogError>;

    /// Size of the log without snapshots, in bytes.
    fn size(&self) -> u64;

    /// All complete snapshots by ascending id.
    fn snapshots(&self) -> Vec<SnapshotInfo>;

    /// Up to `max_bytes` of a snapshot from `position`; `None` when there is no such snapshot.
    fn read_snapshot(
        &self,
        id: OffsetAndEpoch,
        position: u64,
        max_bytes: usize,
    ) -> Result<Option<SnapshotChunk>, LogError>;

    /// Starts a new partial snapshot file; another partial one is dropped.
    fn start_snapshot(&mut self, id: OffsetAndEpoch) -> Result<(), LogError>;

    /// Appends to the partial snapshot; `position` is its size so far.
    fn append_snapshot(&mut self, id: OffsetAndEpoch, position: u64, bytes: &[u8]) -> Result<(), LogError>;

    /// Makes the partial snapshot durable under its name and puts it in the place of the log: start and end become
    /// its end offset, older snapshots go.
    fn install_snapshot(&mut self, id: OffsetAndEpoch) -> Result<(), LogError>;

    /// Moves the log start up to the snapshot `id` and drops older snapshots and segments. A log that ends below
    /// `id` becomes empty, with start and end there.
    fn delete_before(&mut self, id: OffsetAndEpoch) -> Result<(), LogError>;
}
