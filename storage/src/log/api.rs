//! Arguments and results of the operations on a log.

use std::path::PathBuf;
use std::sync::Arc;

use crate::names::MAX_END_OFFSET;
use crate::segment::SegmentFile;

/// What is known about a log before its files are read.
#[derive(Debug, Clone, Copy)]
pub struct OpenArgs {
    /// From `log-start-offset-checkpoint`; 0 if the log is not in it.
    pub log_start_offset: i64,
    /// From `recovery-point-offset-checkpoint`; 0 if the log is not in it. Ignored if `clean_shutdown`.
    pub recovery_point: i64,
    /// From `replication-offset-checkpoint`; 0 if the log is not in it. Clamped into the log.
    pub high_watermark: i64,
    /// The directory had a clean-shutdown mark: segments are not scanned.
    pub clean_shutdown: bool,
    /// For a log that must not lose anything: all offsets below this one were on the disk. If one is missing, or if
    /// anything is damaged but a write at the end that was not completed, the log is not opened and its files stay as
    /// they are. Such a log has no gaps. `None`: damage is taken out.
    pub durable_end: Option<i64>,
    /// Now, milliseconds since 1970.
    pub now_ms: i64,
}

impl OpenArgs {
    /// For a log that does not exist yet.
    pub fn new_log(now_ms: i64) -> Self {
        OpenArgs {
            log_start_offset: 0,
            recovery_point: 0,
            high_watermark: 0,
            clean_shutdown: true,
            durable_end: None,
            now_ms,
        }
    }

    /// Offsets that a log may have: checkpoints are text and may say anything.
    pub(super) fn in_range(self) -> Self {
        let in_range = |offset: i64| offset.clamp(0, MAX_END_OFFSET);
        OpenArgs {
            log_start_offset: in_range(self.log_start_offset),
            recovery_point: in_range(self.recovery_point),
            high_watermark: in_range(self.high_watermark),
            ..self
        }
    }
}

/// What opening a log found out and did. All zero and empty after a clean stop.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// Segments whose batches were read and checked.
    pub scanned_segments: usize,
    /// Bytes after the last good batch that were cut off: a write that was under way.
    pub torn_bytes: u64,
    /// Damage in the middle of the log, taken out of the segments and kept beside them.
    pub quarantined: Vec<Quarantined>,
    /// Base offsets of the segments whose indexes were written anew.
    pub rebuilt_indexes: Vec<i64>,
    /// The log ended below its checkpointed start and was emptied; holds where it had ended.
    pub wiped_at: Option<i64>,
    /// Files that belong to nothing and were removed.
    pub removed_files: usize,
    /// The high watermark or recovery point were beyond the log end: acknowledged data may be lost.
    pub proved_loss: bool,
}

/// A damaged range of a segment that was taken out of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    /// First offset that may be missing.
    pub first_offset: i64,
    /// First offset that is there again.
    pub next_offset: i64,
    /// The damaged bytes were copied here.
    pub file: PathBuf,
    /// Number of damaged bytes.
    pub bytes: u64,
}

/// Who appends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppendOrigin {
    /// A Produce request.
    Client,
    /// The group or transaction coordinator of this broker.
    Coordinator,
    /// The leader of the metadata log.
    RaftLeader,
}

/// How to append as leader.
#[derive(Debug, Clone, Copy)]
pub struct AppendArgs {
    /// Written into each batch.
    pub leader_epoch: i32,
    /// Now, milliseconds since 1970.
    pub now_ms: i64,
    /// Who appends.
    pub origin: AppendOrigin,
}

/// What an append did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AppendInfo {
    /// Offset of the first record; of a duplicate the one it got the first time.
    pub first_offset: i64,
    /// Offset of the last record; of a duplicate the one it got the first time.
    pub last_offset: i64,
    /// Largest timestamp of the batches.
    pub max_timestamp: i64,
    /// The time of the append if the last batch carries LogAppendTime, else -1; goes into the Produce answer.
    pub log_append_time: i64,
    /// Goes into the Produce answer.
    pub log_start_offset: i64,
    /// The producer's batch was already in the log; nothing was written.
    pub duplicate: bool,
    /// A new segment was begun at this offset; the caller should flush what is below it soon
    /// ([`crate::Log::prepare_flush`]).
    pub rolled_at: Option<i64>,
    /// Bytes written.
    pub bytes: usize,
}

/// Where records are, to be sent or read without holding the log.
#[derive(Debug, Clone)]
pub struct LogSlice {
    /// The open file.
    pub segment: Arc<SegmentFile>,
    /// First byte: the batch that contains the asked offset, or the first one after it.
    pub position: u64,
    /// Bytes; 0 if there is nothing between the offset and the bound. May end within a batch.
    pub len: usize,
    /// Every offset in the slice is below this (an upper estimate if `len` was limited by `max_bytes`).
    pub upper_offset: i64,
}

impl LogSlice {
    /// Copies the slice into memory. Shorter than `len` only if the log was truncated meanwhile.
    pub fn read(&self) -> std::io::Result<Vec<u8>> {
        let mut bytes = vec![0; self.len];
        let n = self.segment.read_at(&mut bytes, self.position)?;
        bytes.truncate(n);
        Ok(bytes)
    }
}

/// Place of an offset in the files, to count the bytes between two offsets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OffsetPosition {
    /// The segment.
    pub segment_base_offset: i64,
    /// Byte in its `.log` file.
    pub position: u64,
}

/// An answer to a lookup by timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimestampOffset {
    /// The record's timestamp.
    pub timestamp: i64,
    /// The record's offset.
    pub offset: i64,
    /// Leader epoch of its batch, -1 if unknown.
    pub leader_epoch: i32,
}

/// Files that were renamed to `*.deleted` and are to be removed after `file.delete.delay.ms`.
#[derive(Debug, Default)]
#[must_use = "the files stay on the disk until `remove` is called"]
pub struct DoomedFiles {
    /// Paths, already renamed.
    pub paths: Vec<PathBuf>,
    /// Bytes of the `.log` files among them.
    pub log_bytes: u64,
}

impl DoomedFiles {
    /// Nothing to remove.
    pub fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }

    /// Removes the files; those that are already gone do not matter.
    pub fn remove(self) -> std::io::Result<()> {
        for path in self.paths {
            match std::fs::remove_file(&path) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e),
                _ => {}
            }
        }
        Ok(())
    }
}
