//! Who may read from a replica, and from where on: the checks of a fetch before the log is read.
//!
//! Source: Kafka's `Partition.readRecords`, KIP-320 (epochs), KIP-392 (followers serve consumers), KIP-595 (diverging
//! epochs).

use protocol::ErrorCode;

use super::PartitionState;
use crate::replica::log::ReplicaLog;

/// What a fetch says of one partition, and who sends it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader {
    /// The leader epoch that the reader believes in; -1 when it does not know it.
    pub(crate) current_leader_epoch: i32,
    pub(crate) fetch_offset: i64,
    /// Epoch of the reader's last record; -1 when it does not know it.
    pub(crate) last_fetched_epoch: i32,
    /// The replica that asks; `None` for a consumer.
    pub(crate) follower: Option<i32>,
    /// Whether a follower may answer too.
    pub(crate) is_served_by_followers: bool,
}

impl<L: ReplicaLog> PartitionState<L> {
    /// Whether this replica may answer.
    pub(crate) fn check_reader(&self, reader: &Reader) -> Result<(), ErrorCode> {
        self.check_epoch(reader.current_leader_epoch)?;
        if reader.follower.is_some_and(|follower| !self.replicas.contains(&follower)) {
            return Err(match reader.current_leader_epoch {
                0.. => ErrorCode::UNKNOWN_LEADER_EPOCH,
                _ => ErrorCode::NOT_LEADER_OR_FOLLOWER,
            });
        }
        let serves = self.is_leader() || reader.is_served_by_followers && self.role.is_follower();
        if serves { Ok(()) } else { Err(ErrorCode::NOT_LEADER_OR_FOLLOWER) }
    }

    /// Where the reader's log and this one part, if its last epoch says that they do.
    pub(crate) fn diverging(&self, reader: &Reader) -> Result<Option<(i32, i64)>, ErrorCode> {
        if reader.last_fetched_epoch < 0 {
            return Ok(None);
        }
        if reader.fetch_offset < self.log.log_start_offset() {
            return Err(ErrorCode::OFFSET_OUT_OF_RANGE);
        }
        let (epoch, end) =
            self.log.end_offset_for_epoch(reader.last_fetched_epoch).ok_or(ErrorCode::OFFSET_OUT_OF_RANGE)?;
        let parts = epoch < reader.last_fetched_epoch || end < reader.fetch_offset;
        #[cfg(feature = "planted-bugs")]
        let parts = parts && !planted::is(planted::Bug::NoDivergingEpoch);
        Ok(parts.then_some((epoch, end)))
    }
}
