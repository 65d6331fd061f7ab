//! The log of one partition replica: a row of segments, of which only the last is written.
//!
//!   log start                 high watermark        log end
//!      │  000.log  │  420.log  │      │  900.log (active)  │
//!      └──────── consumers read ──────┘── followers read ──┘
//!
//! Invariants: base offsets increase; log start <= high watermark <= log end; what a read returns was appended here
//! or passed a check.
//! IO: blocking; nothing is synced by an append, as in Kafka.
//! Errors: after a failed write the file is cut back to its last good end; after a failed sync the log is closed to
//! writes until it is opened again, since the page cache may have dropped what we believe is written.

mod api;
mod error;

use std::path::{Path, PathBuf};

pub use api::{
    AppendArgs, AppendInfo, AppendOrigin, DoomedFiles, LogSlice, OffsetPosition, OpenArgs, Quarantined,
    RecoveryReport, TimestampOffset,
};
pub use error::{AppendError, OpenError, ReadError, StorageError};

use crate::config::LogConfig;

/// One replica's log.
#[derive(Debug)]
pub struct Log {
    dir: PathBuf,
    config: LogConfig,
    log_start_offset: i64,
    high_watermark: i64,
    log_end_offset: i64,
    recovery_point: i64,
}

/// Files to be synced, which may be done without holding the log ([`Log::prepare_flush`]).
#[derive(Debug)]
pub struct FlushJob {
    up_to: i64,
}

impl FlushJob {
    /// Syncs the files.
    pub fn run(&self) -> Result<(), StorageError> {
        Ok(())
    }
}

fn pending() -> StorageError {
    StorageError::of("serve", "")(std::io::ErrorKind::Unsupported.into())
}

impl Log {
    /// Opens the log in `dir`, which is created if it is missing, and recovers it if there was no clean shutdown.
    pub fn open(dir: &Path, config: LogConfig, args: OpenArgs) -> Result<(Log, RecoveryReport), OpenError> {
        let _ = (dir, config, args);
        Err(pending().into())
    }

    /// Appends whole batches that [`crate::validate`] has accepted, giving them offsets and the leader epoch in place.
    ///
    /// Nothing is synced. On an error nothing was appended. A batch whose producer sent it before is not appended
    /// again: the answer has `duplicate` set and the offsets of the first time.
    pub fn append_as_leader(
        &mut self,
        records: &mut [u8],
        args: AppendArgs,
    ) -> Result<AppendInfo, AppendError> {
        let _ = (records, args);
        Err(pending().into())
    }

    /// Appends whole batches as they are: those of a leader, or of a metadata log whose offsets are given.
    ///
    /// Checks CRCs and that offsets increase from the log end on. A batch cut off at the end is left out.
    pub fn append_as_follower(&mut self, records: &[u8], now_ms: i64) -> Result<AppendInfo, AppendError> {
        let _ = (records, now_ms);
        Err(pending().into())
    }

    /// Finds the batches from the one with `offset` on, at most `max_bytes` of one segment, all below
    /// `upper_bound` (an offset, exclusive: high watermark, last stable offset or log end).
    ///
    /// With `min_one_batch` the first batch is whole even if it is larger than `max_bytes`. Empty if `offset` is at
    /// or above the bound but not above the log end.
    pub fn read(
        &self,
        offset: i64,
        max_bytes: usize,
        upper_bound: i64,
        min_one_batch: bool,
    ) -> Result<LogSlice, ReadError> {
        let _ = (offset, max_bytes, upper_bound, min_one_batch);
        Err(pending().into())
    }

    /// Where the batch with `offset` begins (the end of the active segment for the log end).
    pub fn position_of(&self, offset: i64) -> Result<OffsetPosition, ReadError> {
        let _ = offset;
        Err(pending().into())
    }

    /// The first record with a timestamp of at least `timestamp`; `None` if there is none.
    /// Decompresses at most one batch, with a cap.
    pub fn offset_for_timestamp(&self, timestamp: i64) -> Result<Option<TimestampOffset>, ReadError> {
        let _ = timestamp;
        Err(pending().into())
    }

    /// The record with the largest timestamp (ListOffsets -3); `None` in an empty log.
    pub fn offset_of_max_timestamp(&self) -> Result<Option<TimestampOffset>, ReadError> {
        Err(pending().into())
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The settings.
    pub fn config(&self) -> &LogConfig {
        &self.config
    }

    /// Changes the settings; they count from the next operation on.
    pub fn set_config(&mut self, config: LogConfig) {
        self.config = config;
    }

    /// First offset that may be read.
    pub fn log_start_offset(&self) -> i64 {
        self.log_start_offset
    }

    /// Next offset to be appended.
    pub fn log_end_offset(&self) -> i64 {
        self.log_end_offset
    }

    /// Offset below which everything is replicated, as last set.
    pub fn high_watermark(&self) -> i64 {
        self.high_watermark
    }

    /// Sets the high watermark, clamped into the log; returns it. The broker owns the rule, the log needs it for
    /// retention and the last stable offset.
    pub fn set_high_watermark(&mut self, offset: i64) -> i64 {
        self.high_watermark = offset.clamp(self.log_start_offset, self.log_end_offset);
        self.high_watermark
    }

    /// First offset of the earliest transaction that is open, or ended but not below the high watermark.
    pub fn first_unstable_offset(&self) -> Option<i64> {
        None
    }

    /// The bound of read_committed: the first unstable offset or the high watermark, whichever is lower.
    pub fn last_stable_offset(&self) -> i64 {
        self.first_unstable_offset().map_or(self.high_watermark, |first| first.min(self.high_watermark))
    }

    /// Everything below it is synced.
    pub fn recovery_point(&self) -> i64 {
        self.recovery_point
    }

    /// Bytes of all `.log` files.
    pub fn size(&self) -> u64 {
        0
    }

    /// Notes that the leader of `epoch` begins at `start_offset` (the log end, on becoming leader); durable.
    pub fn assign_leader_epoch(&mut self, epoch: i32, start_offset: i64) -> Result<(), StorageError> {
        let _ = (epoch, start_offset);
        Err(pending())
    }

    /// The latest leader epoch that wrote to the log.
    pub fn latest_epoch(&self) -> Option<i32> {
        None
    }

    /// Kafka's end offset for an epoch: (the greatest known epoch <= `epoch`, where it ends); `None` if undefined.
    pub fn end_offset_for_epoch(&self, epoch: i32) -> Option<(i32, i64)> {
        let _ = epoch;
        None
    }

    /// Removes everything from `offset` on (a follower that diverged). The files go to the returned list.
    pub fn truncate_to(&mut self, offset: i64) -> Result<DoomedFiles, StorageError> {
        let _ = offset;
        Err(pending())
    }

    /// Empties the log and lets it start at `offset`.
    pub fn truncate_fully_and_start_at(&mut self, offset: i64) -> Result<DoomedFiles, StorageError> {
        let _ = offset;
        Err(pending())
    }

    /// Raises the log start (DeleteRecords, a follower's leader, a snapshot); true if it changed. Segments below it
    /// are removed by the next [`Log::apply_retention`].
    pub fn advance_log_start(&mut self, offset: i64) -> Result<bool, StorageError> {
        let _ = offset;
        Err(pending())
    }

    /// Begins a new segment at the log end, unless the active one is empty; returns its base offset.
    pub fn roll(&mut self, now_ms: i64) -> Result<i64, StorageError> {
        let _ = now_ms;
        Err(pending())
    }

    /// Removes segments by time, size and log start, never at or above the high watermark. By time and size only
    /// with `cleanup.policy` delete.
    pub fn apply_retention(&mut self, now_ms: i64) -> Result<DoomedFiles, StorageError> {
        let _ = now_ms;
        Err(pending())
    }

    /// Collects what has to be synced so that everything below `up_to` is durable; `None` if it is already.
    /// Run it without holding the log, then hand it to [`Log::complete_flush`].
    pub fn prepare_flush(&mut self, up_to: i64) -> Result<Option<FlushJob>, StorageError> {
        let _ = up_to;
        Err(pending())
    }

    /// Raises the recovery point after a flush that went well; closes the log to writes after one that did not.
    pub fn complete_flush(
        &mut self,
        job: FlushJob,
        result: Result<(), StorageError>,
    ) -> Result<(), StorageError> {
        let _ = job.up_to;
        result
    }

    /// [`Log::prepare_flush`], [`FlushJob::run`] and [`Log::complete_flush`] in one.
    pub fn flush(&mut self, up_to: i64) -> Result<(), StorageError> {
        if let Some(job) = self.prepare_flush(up_to)? {
            let result = job.run();
            self.complete_flush(job, result)?;
        }
        Ok(())
    }

    /// Flushes everything, takes a producer snapshot and cuts the indexes to their used size. The log must not be
    /// appended to afterwards; the directory's clean-shutdown mark and checkpoints are the caller's.
    pub fn close(&mut self) -> Result<(), StorageError> {
        Err(pending())
    }
}
