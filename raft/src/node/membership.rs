//! Changes of the voter set (KIP-853): one at a time, each differing by one voter from what is committed.

use super::Node;
use super::connections::Sent;
use super::role::{Follower, Role};
use crate::control;
use crate::effect::{Effect, Fault, Peer};
use crate::log::Log;
use crate::message::{
    AddVoterRequest, RemoveVoterRequest, Request, Response, UpdateVoterRequest, UpdateVoterResponse,
    VoterChangeResponse,
};
use crate::voters::{Voter, VoterSet};
use protocol::ErrorCode;

/// A new voter must have caught up within this time.
const CAUGHT_UP_WITHIN_MS: i64 = 3_600_000;
/// A removal is answered by then at the latest.
const REMOVE_TIMEOUT_MS: i64 = 30_000;

/// An addition or removal that is not answered yet.
#[derive(Debug)]
pub(super) struct PendingChange {
    request_id: u64,
    stage: Stage,
    deadline: i64,
    is_addition: bool,
}

#[derive(Debug)]
enum Stage {
    /// The new voter is asked which levels of kraft.version it supports.
    Asking(AddVoterRequest),
    /// The record is in the log.
    Committing { offset: i64 },
}

impl PendingChange {
    pub(super) fn deadline(&self) -> i64 {
        self.deadline
    }
}

impl<L: Log> Node<L> {
    pub(super) fn handle_add_voter(&mut self, id: u64, request: AddVoterRequest) -> Result<(), Fault> {
        if let Err(error) = self.judge_addition(&request) {
            self.effects
                .push(Effect::Reply { id, response: Response::AddVoter(VoterChangeResponse { error }) });
            return Ok(());
        }
        let deadline = self.now_ms + i64::from(request.timeout_ms.max(0));
        if let Role::Leader(leader) = &mut self.role {
            let stage = Stage::Asking(request);
            leader.change = Some(PendingChange { request_id: id, stage, deadline, is_addition: true });
        }
        Ok(())
    }

    fn judge_addition(&self, request: &AddVoterRequest) -> Result<(), ErrorCode> {
        if self.is_other_cluster(request.cluster_id.as_deref()) {
            return Err(ErrorCode::INCONSISTENT_CLUSTER_ID);
        }
        self.leader_only(self.epoch)?;
        let listens = request.endpoints.iter().any(|endpoint| endpoint.name == self.config.listener_name);
        if request.voter.directory_id.is_none() || request.voter.id < 0 || !listens {
            return Err(ErrorCode::INVALID_REQUEST);
        }
        self.may_change_voters()?;
        if self.voters().get(request.voter.id).is_some() {
            return Err(ErrorCode::DUPLICATE_VOTER);
        }
        Ok(())
    }

    /// One change at a time, and only by a leader that knows what is committed.
    fn may_change_voters(&self) -> Result<(), ErrorCode> {
        let Role::Leader(leader) = &self.role else { return Err(ErrorCode::NOT_LEADER_OR_FOLLOWER) };
        let committed = leader.high_watermark.is_some_and(|high_watermark| {
            self.history.voters_offset().is_none_or(|offset| offset < high_watermark)
        });
        if leader.change.is_some() || !committed {
            return Err(ErrorCode::REQUEST_TIMED_OUT);
        }
        if self.kraft_version() < 1 { Err(ErrorCode::UNSUPPORTED_VERSION) } else { Ok(()) }
    }

    /// Asks the node that wants to become a voter what it supports.
    pub(super) fn send_change_request(&mut self) {
        let Role::Leader(leader) = &self.role else { return };
        let Some(PendingChange { stage: Stage::Asking(request), .. }) = &leader.change else { return };
        let peer = Peer::Node(request.voter.id);
        let voter = request.voter;
        let endpoint = request.endpoints.iter().find(|endpoint| endpoint.name == self.config.listener_name);
        if let Some(address) = endpoint.map(|endpoint| endpoint.address())
            && self.connections.is_ready(peer, self.now_ms)
        {
            self.send_to(peer, address, Sent::KRaftVersions { voter }, Request::KRaftVersions);
        }
    }

    /// The new voter's supported levels arrived; `None` when it does not know the request.
    pub(super) fn handle_versions(&mut self, sent: Sent, range: Option<(i16, i16)>) -> Result<bool, Fault> {
        let Role::Leader(leader) = &mut self.role else { return Ok(true) };
        let Some(change) = leader.change.take() else { return Ok(true) };
        let PendingChange { request_id, stage: Stage::Asking(request), deadline, .. } = change else {
            leader.change = Some(change);
            return Ok(true);
        };
        if sent != (Sent::KRaftVersions { voter: request.voter }) {
            let stage = Stage::Asking(request);
            leader.change = Some(PendingChange { request_id, stage, deadline, is_addition: true });
            return Ok(true);
        }
        let caught_up = leader.replicas.get(&request.voter).is_some_and(|progress| {
            progress.last_caught_up_ms >= 0 && self.now_ms - progress.last_caught_up_ms <= CAUGHT_UP_WITHIN_MS
        });
        let level = self.kraft_version();
        let (min_kraft_version, max_kraft_version) = range.unwrap_or((0, 0));
        let error = if !(min_kraft_version..=max_kraft_version).contains(&level) {
            ErrorCode::INVALID_REQUEST
        } else if !caught_up {
            ErrorCode::REQUEST_TIMED_OUT
        } else {
            ErrorCode::NONE
        };
        if error != ErrorCode::NONE {
            self.reply_change(request_id, true, error);
            return Ok(true);
        }
        let voter =
            Voter { key: request.voter, endpoints: request.endpoints, min_kraft_version, max_kraft_version };
        let voters = self.voters().with(voter);
        let answered = !request.ack_when_committed;
        self.append_voters(voters, (!answered).then_some((request_id, true, deadline)))?;
        if answered {
            self.reply_change(request_id, true, ErrorCode::NONE);
        }
        Ok(true)
    }

    pub(super) fn handle_remove_voter(&mut self, id: u64, request: &RemoveVoterRequest) -> Result<(), Fault> {
        match self.judge_removal(request) {
            Ok(voters) => self.append_voters(voters, Some((id, false, self.now_ms + REMOVE_TIMEOUT_MS))),
            Err(error) => {
                self.reply_change(id, false, error);
                Ok(())
            }
        }
    }

    fn judge_removal(&self, request: &RemoveVoterRequest) -> Result<VoterSet, ErrorCode> {
        if self.is_other_cluster(request.cluster_id.as_deref()) {
            return Err(ErrorCode::INCONSISTENT_CLUSTER_ID);
        }
        self.leader_only(self.epoch)?;
        self.may_change_voters()?;
        let entry = self.voters().get(request.voter.id).filter(|voter| voter.key == request.voter);
        if entry.is_none() || self.voters().len() == 1 {
            return Err(ErrorCode::VOTER_NOT_FOUND);
        }
        Ok(self.voters().without(request.voter.id))
    }

    pub(super) fn handle_update_voter(
        &mut self,
        id: u64,
        listener: &str,
        request: UpdateVoterRequest,
    ) -> Result<(), Fault> {
        let error = match self.judge_update(request) {
            Ok(Some(voter)) if self.kraft_version() == 0 => {
                self.note_told(voter);
                ErrorCode::NONE
            }
            Ok(Some(voter)) => {
                self.append_voters(self.voters().with(voter), None)?;
                ErrorCode::NONE
            }
            Ok(None) => ErrorCode::NONE,
            Err(error) => error,
        };
        let leader = self.current_leader(listener);
        let response = Response::UpdateVoter(UpdateVoterResponse { error, leader });
        self.effects.push(Effect::Reply { id, response });
        Ok(())
    }

    /// The voter's new entry; `None` when there is nothing to write.
    fn judge_update(&self, request: UpdateVoterRequest) -> Result<Option<Voter>, ErrorCode> {
        if self.is_other_cluster(request.cluster_id.as_deref()) {
            return Err(ErrorCode::INCONSISTENT_CLUSTER_ID);
        }
        self.leader_only(request.current_leader_epoch)?;
        let listens = request.endpoints.iter().any(|endpoint| endpoint.name == self.config.listener_name);
        if request.voter.directory_id.is_none() || !listens {
            return Err(ErrorCode::INVALID_REQUEST);
        }
        let entry = self.voters().get(request.voter.id).filter(|voter| voter.is(&request.voter));
        let entry = entry.ok_or(ErrorCode::VOTER_NOT_FOUND)?;
        let level = self.kraft_version();
        if !(request.min_kraft_version..=request.max_kraft_version).contains(&level) {
            return Err(ErrorCode::INVALID_REQUEST);
        }
        let updated = Voter {
            key: request.voter,
            endpoints: request.endpoints,
            min_kraft_version: request.min_kraft_version,
            max_kraft_version: request.max_kraft_version,
        };
        if *entry == updated {
            return Ok(None);
        }
        if level > 0 {
            self.may_change_voters()?;
        }
        Ok(Some(updated))
    }

    /// Puts a new set into the log; `pending` is who waits for its commit: request id, addition or not, deadline.
    fn append_voters(&mut self, voters: VoterSet, pending: Option<(u64, bool, i64)>) -> Result<(), Fault> {
        let offset = self.append_control(&[control::voters(&voters)])?;
        let check_quorum_deadline = self.now_ms + self.check_quorum_ms();
        if let Role::Leader(leader) = &mut self.role {
            // Whoever led alone had nobody to hear from so far.
            leader.check_quorum_deadline = check_quorum_deadline;
            if let Some((request_id, is_addition, deadline)) = pending {
                let stage = Stage::Committing { offset };
                leader.change = Some(PendingChange { request_id, stage, deadline, is_addition });
            }
        }
        self.leader_log_grew()
    }

    /// After the high watermark rose: answers a change that is committed, and leaves when this node was removed.
    pub(super) fn finish_change(&mut self) -> Result<(), Fault> {
        let own = self.config.replica_key();
        let Role::Leader(leader) = &mut self.role else { return Ok(()) };
        let Some(high_watermark) = leader.high_watermark else { return Ok(()) };
        let done = leader.change.take_if(
            |change| matches!(change.stage, Stage::Committing { offset } if offset < high_watermark),
        );
        if let Some(change) = done {
            self.reply_change(change.request_id, change.is_addition, ErrorCode::NONE);
        }
        let committed = self.history.voters_offset().is_some_and(|offset| offset < high_watermark);
        if committed && !self.voters().contains(&own) {
            self.become_resigned();
        }
        Ok(())
    }

    pub(super) fn expire_change(&mut self) {
        let now = self.now_ms;
        if let Role::Leader(leader) = &mut self.role
            && let Some(change) = leader.change.take_if(|change| change.deadline <= now)
        {
            self.fail_change(change, ErrorCode::REQUEST_TIMED_OUT);
        }
    }

    pub(super) fn fail_change(&mut self, change: PendingChange, error: ErrorCode) {
        self.reply_change(change.request_id, change.is_addition, error);
    }

    fn reply_change(&mut self, id: u64, is_addition: bool, error: ErrorCode) {
        let response = VoterChangeResponse { error };
        let response =
            if is_addition { Response::AddVoter(response) } else { Response::RemoveVoter(response) };
        self.effects.push(Effect::Reply { id, response });
    }

    /// When this voter next tells the leader of itself; never while its entry is right. Without voter records (level
    /// 0) it does so once in each epoch.
    pub(super) fn update_voter_deadline(&self, follower: &Follower) -> i64 {
        let own = self.config.replica_key();
        let differs = match self.kraft_version() {
            0 => !follower.has_told,
            _ => self.voters().get(own.id).is_some_and(|voter| *voter != self.own_voter()),
        };
        let is_outdated = differs && self.is_voter();
        if is_outdated { follower.update_voter_deadline } else { i64::MAX }
    }

    /// The leader knows of this voter now, or does not want to.
    pub(super) fn handle_update_voter_response(&mut self, response: Option<&UpdateVoterResponse>) -> bool {
        let common = response.and_then(|response| self.handle_common(response.error, &response.leader));
        let is_final = response.is_none_or(|response| {
            matches!(response.error, ErrorCode::NONE | ErrorCode::UNSUPPORTED_VERSION)
        });
        if let Role::Follower(follower) = &mut self.role {
            follower.has_told |= is_final;
        }
        common.unwrap_or(true)
    }

    pub(super) fn send_update_voter(&mut self) {
        let Role::Follower(follower) = &self.role else { return };
        let leader = Peer::Node(follower.leader.id);
        if self.update_voter_deadline(follower) > self.now_ms
            || !self.connections.is_ready(leader, self.now_ms)
        {
            return;
        }
        let own = self.own_voter();
        let request = Request::UpdateVoter(UpdateVoterRequest {
            cluster_id: Some(self.config.cluster_id.clone()),
            current_leader_epoch: self.epoch,
            voter: own.key,
            endpoints: own.endpoints,
            min_kraft_version: own.min_kraft_version,
            max_kraft_version: own.max_kraft_version,
        });
        self.send(leader, Sent::UpdateVoter, request);
        let next = self.now_ms + 3 * self.config.fetch_timeout_ms;
        if let Role::Follower(follower) = &mut self.role {
            follower.update_voter_deadline = next;
        }
    }
}
