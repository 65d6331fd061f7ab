//! BeginQuorumEpoch and EndQuorumEpoch, both sides: a new leader makes itself known, an old one takes its leave.

use super::Node;
use super::connections::Sent;
use super::role::Role;
use crate::effect::Peer;
use crate::log::Log;
use crate::message::{BeginQuorumEpochRequest, EndQuorumEpochRequest, QuorumEpochResponse, Request};
use crate::replica::ReplicaKey;
use protocol::ErrorCode;

impl<L: Log> Node<L> {
    pub(super) fn handle_begin_quorum_epoch(
        &mut self,
        listener: &str,
        request: BeginQuorumEpochRequest,
    ) -> QuorumEpochResponse {
        if self.is_other_cluster(request.cluster_id.as_deref()) {
            return self.epoch_response(listener, ErrorCode::INCONSISTENT_CLUSTER_ID, ErrorCode::NONE);
        }
        if let Err(error) = self.accepts_epoch(request.leader_id, request.leader_epoch) {
            return self.epoch_response(listener, ErrorCode::NONE, error);
        }
        self.learn_leader(request.leader_epoch, Some(request.leader_id), request.leader_endpoints);
        let error = match request.voter {
            Some(voter) if !self.is_own_key(&voter) => ErrorCode::INVALID_VOTER_KEY,
            _ => ErrorCode::NONE,
        };
        self.epoch_response(listener, ErrorCode::NONE, error)
    }

    pub(super) fn handle_end_quorum_epoch(
        &mut self,
        listener: &str,
        request: EndQuorumEpochRequest,
    ) -> QuorumEpochResponse {
        if self.is_other_cluster(request.cluster_id.as_deref()) {
            return self.epoch_response(listener, ErrorCode::INCONSISTENT_CLUSTER_ID, ErrorCode::NONE);
        }
        if let Err(error) = self.accepts_epoch(request.leader_id, request.leader_epoch) {
            return self.epoch_response(listener, ErrorCode::NONE, error);
        }
        self.learn_leader(request.leader_epoch, Some(request.leader_id), request.leader_endpoints);
        let backoff = self.succession_backoff_ms(&request.preferred_candidates);
        let deadline = self.now_ms + backoff;
        match &mut self.role {
            Role::Follower(state) if state.leader.id == request.leader_id => {
                state.fetch_deadline = deadline;
                // What the old leader answered says nothing any more: pre-votes may be granted at once.
                state.has_fetched = false;
            }
            _ => {}
        }
        self.epoch_response(listener, ErrorCode::NONE, ErrorCode::NONE)
    }

    /// Refuses a stale epoch, and a second leader of this one.
    fn accepts_epoch(&self, leader_id: i32, epoch: i32) -> Result<(), ErrorCode> {
        let other_leader = self.leader_id().is_some_and(|known| known != leader_id);
        if leader_id < 0 || epoch == i32::MAX || (epoch == self.epoch && other_leader) {
            Err(ErrorCode::INVALID_REQUEST)
        } else if epoch < self.epoch {
            Err(ErrorCode::FENCED_LEADER_EPOCH)
        } else {
            Ok(())
        }
    }

    fn epoch_response(
        &self,
        listener: &str,
        top_level_error: ErrorCode,
        error: ErrorCode,
    ) -> QuorumEpochResponse {
        QuorumEpochResponse { top_level_error, error, leader: self.current_leader(listener) }
    }

    /// How long to wait before standing for election after the leader resigned: the first of those it prefers
    /// at once, the next ones by an exponential rule that ends at the maximum.
    fn succession_backoff_ms(&self, preferred: &[ReplicaKey]) -> i64 {
        let max = self.config.election_backoff_max_ms;
        match preferred.iter().position(|key| self.is_own_key(key)) {
            Some(0) => 0,
            Some(position) => {
                let last = preferred.len().min(62) as u32 - 1;
                let shift = (position as u32 - 1).min(61);
                max.min((max >> last).saturating_mul(1 << shift))
            }
            None => max,
        }
    }

    pub(super) fn handle_begin_response(&mut self, response: &QuorumEpochResponse) -> bool {
        if response.top_level_error != ErrorCode::NONE {
            return false;
        }
        if let Some(done) = self.handle_common(response.error, &response.leader) {
            return done;
        }
        response.error == ErrorCode::NONE
    }

    pub(super) fn handle_end_response(&mut self, voter_id: i32, response: &QuorumEpochResponse) -> bool {
        if response.top_level_error != ErrorCode::NONE {
            return false;
        }
        if let Some(done) = self.handle_common(response.error, &response.leader) {
            return done;
        }
        if let Role::Resigned(state) = &mut self.role {
            state.unacknowledged.remove(&voter_id);
        }
        response.error == ErrorCode::NONE
    }

    pub(super) fn send_begin_quorum_epoch(&mut self) {
        let Role::Leader(leader) = &self.role else { return };
        for id in leader.begin_pending.clone() {
            let request = Request::BeginQuorumEpoch(BeginQuorumEpochRequest {
                cluster_id: Some(self.config.cluster_id.clone()),
                voter: self.voters().get(id).map(|voter| voter.key),
                leader_id: self.config.node_id,
                leader_epoch: self.epoch,
                leader_endpoints: self.config.listeners.clone(),
            });
            let sent = self.send(Peer::Node(id), Sent::BeginQuorumEpoch, request);
            if let Role::Leader(leader) = &mut self.role
                && sent
            {
                leader.begin_pending.remove(&id);
            }
        }
    }

    pub(super) fn send_end_quorum_epoch(&mut self) {
        let Role::Resigned(state) = &self.role else { return };
        let preferred = state.preferred.clone();
        for id in state.unacknowledged.clone() {
            let request = Request::EndQuorumEpoch(EndQuorumEpochRequest {
                cluster_id: Some(self.config.cluster_id.clone()),
                leader_id: self.config.node_id,
                leader_epoch: self.epoch,
                leader_endpoints: Vec::new(),
                preferred_candidates: preferred.clone(),
            });
            self.send(Peer::Node(id), Sent::EndQuorumEpoch, request);
        }
    }
}
