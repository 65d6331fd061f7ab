//! A replica as a follower: it appends what its leader sends, and cuts off what its leader does not have.
//!
//! Invariant: the high watermark is at most the leader's and at most the log end; the log start follows the leader's,
//! never above the high watermark.

use std::sync::atomic::Ordering;

use storage::{AppendError, AppendInfo, DoomedFiles, StorageError};

use super::{Partition, PartitionState};
use crate::metrics::Flow;
use crate::replica::log::ReplicaLog;

/// What a leader says of its log in the answer to a fetch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LeaderOffsets {
    pub(crate) high_watermark: i64,
    pub(crate) log_start: i64,
}

/// How a follower's log is made to fit its leader's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Truncation {
    To(i64),
    FullyAndStartAt(i64),
}

/// Appends what another replica has. An empty log that was to begin in the middle of a batch, since the records before
/// were deleted, begins with the whole batch instead, as in Kafka.
pub(crate) fn append_copied<L: ReplicaLog>(
    log: &mut L,
    records: &[u8],
    now_ms: i64,
) -> Result<AppendInfo, AppendError> {
    match log.append_as_follower(records, now_ms) {
        Err(AppendError::OffsetOrder { expected, found })
            if found < expected && log.log_start_offset() == log.log_end_offset() =>
        {
            let doomed = log.truncate_fully_and_start_at(found)?;
            doomed.remove().map_err(StorageError::of("remove files of", log.dir()))?;
            log.append_as_follower(records, now_ms)
        }
        appended => appended,
    }
}

impl<L: ReplicaLog> Partition<L> {
    /// Appends what the leader sent as it is, and follows its high watermark and log start.
    ///
    /// `records` may be empty. An offset of the leader that lies ahead of this log counts up to the log end.
    pub(crate) fn append_as_follower(
        &self,
        state: &mut PartitionState<L>,
        records: &[u8],
        leader: LeaderOffsets,
        now_ms: i64,
    ) -> Result<Option<AppendInfo>, AppendError> {
        let mut appended = None;
        if !records.is_empty() {
            appended = Some(append_copied(&mut state.log, records, now_ms)?);
            self.flush_if_many(state)?;
            self.log_end_offset.store(state.log.log_end_offset(), Ordering::Release);
            // Only here, under the lock.
            self.traffic.add_locked(Flow::ReplicationBytesIn, records.len() as u64);
        }
        let committed = leader.high_watermark.min(state.log.log_end_offset());
        #[cfg(feature = "planted-bugs")]
        let committed = match planted::is(planted::Bug::HighWatermarkBeyondLog) {
            true => leader.high_watermark,
            false => committed,
        };
        if committed > self.high_watermark() {
            self.high_watermark.store(committed, Ordering::Release);
            state.log.set_high_watermark(committed);
            self.waiters.readable(i64::MAX);
        }
        if leader.log_start > state.log.log_start_offset() {
            // Never above the high watermark: the rest comes with it.
            state.log.advance_log_start(leader.log_start.min(self.high_watermark()))?;
        }
        Ok(appended)
    }

    /// Cuts off what this follower's leader does not have. The files of removed segments are in the answer.
    pub(crate) fn truncate(
        &self,
        state: &mut PartitionState<L>,
        truncation: Truncation,
    ) -> Result<DoomedFiles, StorageError> {
        state.truncations += 1;
        let doomed = match truncation {
            Truncation::To(offset) => state.log.truncate_to(offset)?,
            Truncation::FullyAndStartAt(offset) => state.log.truncate_fully_and_start_at(offset)?,
        };
        let (start, end) = (state.log.log_start_offset(), state.log.log_end_offset());
        let high_watermark = self.high_watermark().clamp(start, end);
        self.high_watermark.store(high_watermark, Ordering::Release);
        state.log.set_high_watermark(high_watermark);
        self.log_end_offset.store(end, Ordering::Release);
        Ok(doomed)
    }
}
