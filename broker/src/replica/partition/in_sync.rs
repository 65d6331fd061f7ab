//! The in-sync replicas of a partition that this node leads: who earned a place, who lost it, what is committed.
//!
//! Invariant: the set changes only as the controller says; what was proposed counts where it makes the high watermark
//! lower ("maximal ISR").

use std::sync::Arc;

use protocol::ErrorCode;
use storage::Log;

use super::{Partition, PartitionState, Role};
use crate::replica::leader::FollowerFetch;
use crate::replica::log::ReplicaLog;

/// A new ISR on its way to the controller.
pub(crate) struct IsrProposal<L = Log> {
    pub(crate) partition: Arc<Partition<L>>,
    pub(crate) leader_epoch: i32,
    pub(crate) partition_epoch: i32,
    /// Replica and the epoch of its broker, -1 where it is not known.
    pub(crate) isr: Vec<(i32, i64)>,
}

impl<L: ReplicaLog> IsrProposal<L> {
    /// Whether the partition is still as it was when this was proposed.
    pub(crate) fn is_current(&self) -> bool {
        let state = self.partition.lock();
        let unchanged =
            state.leader_epoch == self.leader_epoch && state.partition_epoch == self.partition_epoch;
        unchanged && state.is_leader()
    }
}

/// An ISR as the controller committed it.
pub(crate) struct CommittedIsr {
    pub(crate) isr: Vec<i32>,
    pub(crate) partition_epoch: i32,
}

impl<L: ReplicaLog> Partition<L> {
    /// Notes what a follower has, which may commit records and give it a place in the ISR.
    ///
    /// # Errors
    /// Kafka's code for a replica that is not assigned, or an earlier life of its broker.
    pub(crate) fn follower_fetched(
        self: &Arc<Self>,
        state: &mut PartitionState<L>,
        fetch: FollowerFetch,
        now_ms: i64,
    ) -> Result<Option<IsrProposal<L>>, ErrorCode> {
        let leader_end = state.log.log_end_offset();
        let PartitionState { role, isr, .. } = state;
        let Role::Leader(leadership) = role else { return Err(ErrorCode::NOT_LEADER_OR_FOLLOWER) };
        let log_start_moved = leadership.log_start_offset(fetch.id) != fetch.log_start_offset;
        if !leadership.fetched(fetch, leader_end, now_ms) {
            return Err(ErrorCode::NOT_LEADER_OR_FOLLOWER);
        }
        if log_start_moved {
            self.waiters.log_start_moved();
        }
        let may_join = |id, epoch| self.metadata.may_join_isr(id, epoch);
        let proposed = leadership.expand(isr, fetch.id, self.high_watermark(), may_join);
        if self.advance_high_watermark(state, now_ms) {
            self.waiters.readable(i64::MAX);
        }
        Ok(proposed.map(|isr| self.proposal(state, isr)))
    }

    /// Proposes an ISR without those that lag, if there are any.
    pub(crate) fn shrink_isr(self: &Arc<Self>, now_ms: i64) -> Option<IsrProposal<L>> {
        let mut state = self.lock();
        let state = &mut *state;
        let (leader_end, lag_max_ms) = (state.log.log_end_offset(), state.settings.replica_lag_max_ms);
        let Role::Leader(leadership) = &mut state.role else { return None };
        let isr = leadership.shrink(&state.isr, leader_end, now_ms, lag_max_ms)?;
        Some(self.proposal(state, isr))
    }

    fn proposal(self: &Arc<Self>, state: &PartitionState<L>, isr: Vec<i32>) -> IsrProposal<L> {
        let epoch = |id: i32| match &state.role {
            Role::Leader(leadership) => leadership.broker_epoch(id),
            _ => -1,
        };
        IsrProposal {
            partition: self.clone(),
            leader_epoch: state.leader_epoch,
            partition_epoch: state.partition_epoch,
            isr: isr.into_iter().map(|id| (id, epoch(id))).collect(),
        }
    }

    /// The controller's answer to a proposal that was made in these epochs: what is committed now, or that the proposal
    /// came to nothing.
    ///
    /// When the metadata told of a change before, the proposal is void already, and another one may be on its way, which
    /// must go on counting.
    pub(crate) fn isr_answered(
        &self,
        leader_epoch: i32,
        partition_epoch: i32,
        committed: Option<CommittedIsr>,
    ) {
        let mut state = self.lock();
        let state = &mut *state;
        let Role::Leader(leadership) = &mut state.role else { return };
        let has_moved_on = state.partition_epoch != partition_epoch;
        #[cfg(feature = "planted-bugs")]
        let has_moved_on = has_moved_on && !planted::is(planted::Bug::StaleIsrAnswer);
        if state.leader_epoch != leader_epoch || has_moved_on {
            return;
        }
        match committed {
            Some(committed) if committed.partition_epoch < state.partition_epoch => {}
            Some(committed) => {
                leadership.settle();
                state.isr = committed.isr;
                state.partition_epoch = committed.partition_epoch;
                self.commit_what_can_be(state);
            }
            None => leadership.settle(),
        }
    }
}
