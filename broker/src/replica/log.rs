//! What a replica decides on: the operations of a log that its part in replication needs.
//!
//! A running broker has [`storage::Log`]; a simulation brings one in memory that can crash.

use std::path::Path;

use storage::{AppendArgs, AppendError, AppendInfo, DoomedFiles, Log, LogConfig, StorageError};

/// The log of one replica, as [`storage::Log`] describes it.
#[cfg_attr(
    not(feature = "simulation"),
    expect(unreachable_pub, reason = "only a simulation brings a log of its own")
)]
pub trait ReplicaLog {
    /// The folder of the log.
    fn dir(&self) -> &Path;
    /// First offset that may be read.
    fn log_start_offset(&self) -> i64;
    /// Offset of the next record.
    fn log_end_offset(&self) -> i64;
    /// Offset below which everything is on the disk.
    fn recovery_point(&self) -> i64;
    /// First offset of the oldest open transaction.
    fn first_unstable_offset(&self) -> Option<i64>;
    /// The last leader epoch.
    fn latest_epoch(&self) -> Option<i32>;
    /// The greatest epoch known that is not above `epoch`, and where it ends.
    fn end_offset_for_epoch(&self, epoch: i32) -> Option<(i32, i64)>;
    /// Hands over new settings.
    fn set_config(&mut self, config: LogConfig);
    /// Tells what is committed.
    fn set_high_watermark(&mut self, offset: i64);
    /// Notes that a leader epoch begins.
    ///
    /// # Errors
    /// The disk failed.
    fn assign_leader_epoch(&mut self, epoch: i32, start_offset: i64) -> Result<(), StorageError>;
    /// Appends batches of a client, giving them offsets and the leader epoch.
    ///
    /// # Errors
    /// Nothing was appended.
    fn append_as_leader(&mut self, records: &mut [u8], args: AppendArgs) -> Result<AppendInfo, AppendError>;
    /// Appends a leader's batches as they are.
    ///
    /// # Errors
    /// The batches do not fit, or the disk failed.
    fn append_as_follower(&mut self, records: &[u8], now_ms: i64) -> Result<AppendInfo, AppendError>;
    /// Brings everything below an offset to the disk.
    ///
    /// # Errors
    /// The disk failed.
    fn flush(&mut self, up_to: i64) -> Result<(), StorageError>;
    /// Cuts off everything from an offset on.
    ///
    /// # Errors
    /// The disk failed.
    fn truncate_to(&mut self, offset: i64) -> Result<DoomedFiles, StorageError>;
    /// Drops everything; the log goes on at `offset`.
    ///
    /// # Errors
    /// The disk failed.
    fn truncate_fully_and_start_at(&mut self, offset: i64) -> Result<DoomedFiles, StorageError>;
    /// Raises the start of the log, at most to the high watermark; true if it moved.
    ///
    /// # Errors
    /// The disk failed.
    fn advance_log_start(&mut self, offset: i64) -> Result<bool, StorageError>;
}

impl ReplicaLog for Log {
    fn dir(&self) -> &Path {
        self.dir()
    }

    fn log_start_offset(&self) -> i64 {
        self.log_start_offset()
    }

    fn log_end_offset(&self) -> i64 {
        self.log_end_offset()
    }

    fn recovery_point(&self) -> i64 {
        self.recovery_point()
    }

    fn first_unstable_offset(&self) -> Option<i64> {
        self.first_unstable_offset()
    }

    fn latest_epoch(&self) -> Option<i32> {
        self.latest_epoch()
    }

    fn end_offset_for_epoch(&self, epoch: i32) -> Option<(i32, i64)> {
        self.end_offset_for_epoch(epoch)
    }

    fn set_config(&mut self, config: LogConfig) {
        self.set_config(config);
    }

    fn set_high_watermark(&mut self, offset: i64) {
        self.set_high_watermark(offset);
    }

    fn assign_leader_epoch(&mut self, epoch: i32, start_offset: i64) -> Result<(), StorageError> {
        self.assign_leader_epoch(epoch, start_offset)
    }

    fn append_as_leader(&mut self, records: &mut [u8], args: AppendArgs) -> Result<AppendInfo, AppendError> {
        self.append_as_leader(records, args)
    }

    fn append_as_follower(&mut self, records: &[u8], now_ms: i64) -> Result<AppendInfo, AppendError> {
        self.append_as_follower(records, now_ms)
    }

    fn flush(&mut self, up_to: i64) -> Result<(), StorageError> {
        self.flush(up_to)
    }

    fn truncate_to(&mut self, offset: i64) -> Result<DoomedFiles, StorageError> {
        self.truncate_to(offset)
    }

    fn truncate_fully_and_start_at(&mut self, offset: i64) -> Result<DoomedFiles, StorageError> {
        self.truncate_fully_and_start_at(offset)
    }

    fn advance_log_start(&mut self, offset: i64) -> Result<bool, StorageError> {
        self.advance_log_start(offset)
    }
}
