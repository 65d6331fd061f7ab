//! Votes and pre-votes: asking for them, granting them, counting them.

use super::Node;
use super::follower::LOST_MAX;
use super::role::Role;
use crate::effect::{Fault, Peer};
use crate::log::Log;
use crate::message::{Request, VoteRequest, VoteResponse};
use crate::replica::ReplicaKey;
use protocol::ErrorCode;

use super::connections::Sent;

/// The pause after the first election that is lost is at most this long.
const LOST_BACKOFF_MS: i64 = 100;

impl<L: Log> Node<L> {
    pub(super) fn handle_vote(&mut self, listener: &str, request: &VoteRequest) -> VoteResponse {
        if self.is_other_cluster(request.cluster_id.as_deref()) {
            return VoteResponse {
                top_level_error: ErrorCode::INCONSISTENT_CLUSTER_ID,
                error: ErrorCode::NONE,
                leader: self.current_leader(listener),
                vote_granted: false,
            };
        }
        let (error, vote_granted) = match self.judge_vote(request) {
            Ok(granted) => (ErrorCode::NONE, granted),
            Err(error) => (error, false),
        };
        let leader = self.current_leader(listener);
        VoteResponse { top_level_error: ErrorCode::NONE, error, leader, vote_granted }
    }

    fn judge_vote(&mut self, request: &VoteRequest) -> Result<bool, ErrorCode> {
        let impossible_epoch = if request.pre_vote {
            request.last_epoch > request.epoch
        } else {
            request.last_epoch >= request.epoch
        };
        if request.last_offset < 0 || request.last_epoch < 0 || request.epoch == i32::MAX || impossible_epoch
        {
            return Err(ErrorCode::INVALID_REQUEST);
        }
        if request.epoch < self.epoch {
            return Err(ErrorCode::FENCED_LEADER_EPOCH);
        }
        if request.candidate.id < 0 {
            return Err(ErrorCode::INVALID_REQUEST);
        }
        if request.epoch > self.epoch {
            self.become_unattached(request.epoch, None);
        }
        if request.voter.is_some_and(|voter| !self.is_own_key(&voter)) {
            return Err(ErrorCode::INVALID_VOTER_KEY);
        }
        let own_log = (self.last_epoch(), self.log.log_end_offset());
        let is_up_to_date = (request.last_epoch, request.last_offset) >= own_log;
        #[cfg(feature = "planted-bugs")]
        let is_up_to_date = is_up_to_date || planted::is(planted::Bug::VoteWithoutLogCheck);
        if request.pre_vote {
            return Ok(is_up_to_date && self.would_vote());
        }
        let granted = self.may_vote_for(&request.candidate, is_up_to_date);
        if granted && self.voted.is_none() {
            self.vote_for(request.candidate);
        }
        Ok(granted)
    }

    /// Binding: one vote per epoch, given before a leader is known; a repeated request gets the same answer.
    fn may_vote_for(&self, candidate: &ReplicaKey, is_up_to_date: bool) -> bool {
        if !matches!(self.role, Role::Unattached(_) | Role::Prospective(_)) || self.leader_id().is_some() {
            return false;
        }
        match self.voted {
            // A file of version 0 kept the id alone.
            Some(voted) => {
                voted.id == candidate.id
                    && (voted.directory_id.is_none() || voted.directory_id == candidate.directory_id)
            }
            None => is_up_to_date,
        }
    }

    /// Pre-vote: whether this node has no leader that answers it.
    fn would_vote(&self) -> bool {
        match &self.role {
            Role::Unattached(_) | Role::Prospective(_) | Role::Candidate(_) | Role::Resigned(_) => true,
            // An observer stays a follower when its leader is gone, and may be a voter without knowing it.
            Role::Follower(state) => {
                !state.has_fetched || state.lost >= LOST_MAX || state.fetch_deadline <= self.now_ms
            }
            Role::Leader(_) => false,
        }
    }

    /// Whether a request that names a replica means this one; a zero directory id passes.
    pub(super) fn is_own_key(&self, key: &ReplicaKey) -> bool {
        let own = self.config.replica_key();
        key.id == own.id && (key.directory_id.is_none() || key.directory_id == own.directory_id)
    }

    pub(super) fn handle_vote_response(
        &mut self,
        voter_id: i32,
        pre_vote: bool,
        response: &VoteResponse,
    ) -> Result<bool, Fault> {
        if response.top_level_error == ErrorCode::UNSUPPORTED_VERSION {
            return self.vote_unsupported(pre_vote);
        }
        if response.top_level_error != ErrorCode::NONE {
            return Ok(false);
        }
        if let Some(done) = self.handle_common(response.error, &response.leader) {
            return Ok(done);
        }
        let nominee = match &mut self.role {
            Role::Prospective(nominee) if pre_vote => nominee,
            Role::Candidate(nominee) if !pre_vote => nominee,
            _ => return Ok(true),
        };
        let had_lost = nominee.has_lost();
        if let Some(ballot) = nominee.ballots.get_mut(&voter_id) {
            // A vote once granted stays granted.
            *ballot = Some(response.vote_granted || *ballot == Some(true));
        }
        self.win_if_possible()?;
        if !had_lost {
            self.back_off_if_lost();
        }
        Ok(true)
    }

    /// A voter's connection was refused or lost.
    pub(super) fn voter_unreachable(&mut self, peer: Peer) {
        let (Role::Prospective(nominee) | Role::Candidate(nominee)) = &mut self.role else { return };
        let Peer::Node(id) = peer else { return };
        let had_lost = nominee.has_lost();
        nominee.unreachable.insert(id);
        if !had_lost {
            self.back_off_if_lost();
        }
    }

    /// A candidate that cannot win any more stands again before its time, after a random pause that grows with the
    /// elections lost in a row.
    fn back_off_if_lost(&mut self) {
        let Role::Candidate(nominee) = &mut self.role else { return };
        if !nominee.has_lost() {
            return;
        }
        let span = (LOST_BACKOFF_MS << self.lost_elections.min(8)).min(self.config.election_backoff_max_ms);
        let at = self.now_ms + 1 + self.rng.below(span.max(1) as u64) as i64;
        nominee.election_deadline = nominee.election_deadline.min(at);
        self.lost_elections += 1;
    }

    /// A voter older than 4.0 cannot answer a pre-vote: stand for election without one.
    pub(super) fn vote_unsupported(&mut self, pre_vote: bool) -> Result<bool, Fault> {
        if pre_vote && matches!(self.role, Role::Prospective(_)) {
            self.become_candidate()?;
            self.win_if_possible()?;
        }
        Ok(true)
    }

    /// Moves on when the votes are enough: Prospective to Candidate, Candidate to Leader.
    pub(super) fn win_if_possible(&mut self) -> Result<(), Fault> {
        if matches!(&self.role, Role::Prospective(nominee) if nominee.has_won()) {
            self.become_candidate()?;
        }
        if matches!(&self.role, Role::Candidate(nominee) if nominee.has_won()) {
            self.become_leader()?;
        }
        Ok(())
    }

    /// Asks the voters that have not answered.
    pub(super) fn send_votes(&mut self) {
        let (nominee, pre_vote) = match &self.role {
            Role::Prospective(nominee) => (nominee, true),
            Role::Candidate(nominee) => (nominee, false),
            _ => return,
        };
        let unanswered: Vec<i32> =
            nominee.ballots.iter().filter(|(_, ballot)| ballot.is_none()).map(|(id, _)| *id).collect();
        for id in unanswered {
            let request = Request::Vote(VoteRequest {
                cluster_id: Some(self.config.cluster_id.clone()),
                voter: self.voters().get(id).map(|voter| voter.key),
                epoch: self.epoch,
                candidate: self.config.replica_key(),
                last_epoch: self.last_epoch(),
                last_offset: self.log.log_end_offset(),
                pre_vote,
            });
            self.send(Peer::Node(id), Sent::Vote { pre_vote }, request);
        }
    }
}
