//! From one state to another. Each durable transition pushes the `quorum-state` to write before anything else.

use std::collections::{BTreeMap, BTreeSet};

use super::Node;
use super::role::{Follower, LeaderAddress, Nominee, Resigned, Role, Unattached};
use crate::effect::{Effect, Fault};
use crate::log::Log;
use crate::quorum_state::QuorumState;
use crate::replica::{Endpoint, ReplicaKey};

impl<L: Log> Node<L> {
    /// The state after a restart, from the durable election and the log.
    pub(super) fn restore(&mut self, state: QuorumState) -> Result<(), Fault> {
        let last_epoch = self.last_epoch();
        let own = self.config.replica_key();
        let state = if state.leader_epoch < last_epoch {
            QuorumState { leader_epoch: last_epoch, ..QuorumState::default() }
        } else {
            state
        };
        self.epoch = state.leader_epoch;
        self.voted = state.voted;
        let voted_self = state
            .voted
            .is_some_and(|voted| voted.id == own.id && voted.directory_id.is_none_or(|_| voted == own));
        let election_deadline = if self.is_voter() { self.random_election_deadline() } else { i64::MAX };
        let unattached = |leader_id| Role::Unattached(Unattached { leader_id, election_deadline });
        if self.is_voter() && self.voters().is_only(&own) {
            self.role = unattached(None);
            self.become_candidate()?;
            return self.win_if_possible();
        }
        if state.leader_id == Some(own.id) {
            // Also when it is no voter any more: the epoch that it led must not get a vote from it.
            self.role = unattached(None);
            self.resign(Vec::new());
        } else if voted_self && state.leader_id.is_none() && self.is_voter() {
            self.role = Role::Candidate(self.new_nominee(None));
        } else {
            self.role = unattached(state.leader_id);
            self.follow_if_reachable(state.leader_id);
        }
        self.persist();
        self.announce_leader();
        Ok(())
    }

    fn follow_if_reachable(&mut self, leader_id: Option<i32>) {
        let Some(id) = leader_id.filter(|id| *id != self.config.node_id) else { return };
        let endpoints = self.voters().get(id).map(|voter| voter.endpoints.clone()).unwrap_or_default();
        if !endpoints.is_empty() {
            self.become_follower(self.epoch, id, endpoints);
        }
    }

    /// A higher epoch without a reachable leader, or the same one after a lost pre-vote.
    pub(super) fn become_unattached(&mut self, epoch: i32, leader_id: Option<i32>) {
        assert!(epoch >= self.epoch, "epoch {epoch} after {}", self.epoch);
        let election_deadline = match &self.role {
            _ if !self.is_voter() => i64::MAX,
            Role::Unattached(state) if state.election_deadline != i64::MAX => state.election_deadline,
            Role::Candidate(state) => state.election_deadline,
            Role::Prospective(state) if !state.has_lost() => state.election_deadline,
            Role::Resigned(state) => state.election_deadline,
            _ => self.random_election_deadline(),
        };
        // A timer that has just run out would start the same election again at once.
        let election_deadline = if election_deadline <= self.now_ms {
            self.random_election_deadline()
        } else {
            election_deadline
        };
        self.enter_epoch(epoch);
        self.set_role(Role::Unattached(Unattached { leader_id, election_deadline }));
    }

    /// A leader that can be reached.
    pub(super) fn become_follower(&mut self, epoch: i32, leader_id: i32, endpoints: Vec<Endpoint>) {
        assert!(epoch >= self.epoch, "epoch {epoch} after {}", self.epoch);
        assert_ne!(leader_id, self.config.node_id, "a node does not follow itself");
        self.enter_epoch(epoch);
        self.set_role(Role::Follower(Follower {
            leader: LeaderAddress { id: leader_id, endpoints },
            fetch_deadline: self.now_ms + self.config.fetch_timeout_ms,
            has_fetched: false,
            lost: 0,
            download: None,
            update_voter_deadline: self.now_ms,
            has_told: false,
        }));
    }

    /// Asks for pre-votes in the same epoch; not durable.
    pub(super) fn become_prospective(&mut self) {
        // The leader of the epoch stays known, also when it was this node: no vote may be granted in that epoch.
        let leader =
            self.leader_id().map(|id| LeaderAddress { id, endpoints: self.role.leader_endpoints().to_vec() });
        let nominee = self.new_nominee(leader);
        self.connections.reset();
        self.role = Role::Prospective(nominee);
        self.announce_leader();
    }

    /// Back from a pre-vote that did not find a majority.
    pub(super) fn give_up_pre_vote(&mut self) {
        let leader = match &self.role {
            Role::Prospective(state) => state.leader.clone(),
            _ => None,
        };
        match leader {
            Some(leader) if !leader.endpoints.is_empty() => {
                self.become_follower(self.epoch, leader.id, leader.endpoints);
            }
            Some(leader) => self.become_unattached(self.epoch, Some(leader.id)),
            None => self.become_unattached(self.epoch, None),
        }
    }

    /// Stands for election in the next epoch, if there is one.
    pub(super) fn become_candidate(&mut self) -> Result<(), Fault> {
        self.enter_epoch(self.epoch.checked_add(1).ok_or(Fault::NoEpochLeft)?);
        self.voted = Some(self.config.replica_key());
        let nominee = self.new_nominee(None);
        self.set_role(Role::Candidate(nominee));
        Ok(())
    }

    /// Gives up leadership; not durable.
    pub(super) fn become_resigned(&mut self) {
        let preferred = match &self.role {
            Role::Leader(leader) => leader.voters_by_progress(self.voters(), self.config.node_id),
            _ => Vec::new(),
        };
        self.refuse_waiting();
        self.resign(preferred);
    }

    fn resign(&mut self, preferred: Vec<ReplicaKey>) {
        let own = self.config.node_id;
        let unacknowledged: BTreeSet<i32> = self.voters().ids().filter(|id| *id != own).collect();
        let election_deadline = self.random_election_deadline();
        self.connections.reset();
        self.role = Role::Resigned(Resigned { unacknowledged, preferred, election_deadline });
        self.announce_leader();
    }

    /// Grants the vote of this epoch; the election timer starts again.
    pub(super) fn vote_for(&mut self, candidate: ReplicaKey) {
        self.voted = Some(candidate);
        let deadline = self.random_election_deadline();
        match &mut self.role {
            Role::Unattached(state) => state.election_deadline = deadline,
            Role::Prospective(state) => state.election_deadline = deadline,
            _ => {}
        }
        self.persist();
    }

    /// Takes over what a response or request says of epoch and leader.
    pub(super) fn learn_leader(&mut self, epoch: i32, leader_id: Option<i32>, endpoints: Vec<Endpoint>) {
        // There would be no epoch left for the next election.
        if epoch == i32::MAX {
            return;
        }
        // A node that was restarted as a fresh one may hear of its own leadership; it cannot follow itself.
        let leader_id = leader_id.filter(|id| *id != self.config.node_id);
        let endpoints = match leader_id {
            Some(id) if endpoints.is_empty() => {
                self.voters().get(id).map(|voter| voter.endpoints.clone()).unwrap_or_default()
            }
            _ => endpoints,
        };
        // An epoch has one leader: whoever names another is wrong, even if it is easier to reach.
        let contradicts =
            epoch == self.epoch && self.leader_id().is_some_and(|known| leader_id != Some(known));
        match leader_id {
            _ if contradicts => {}
            Some(id) if epoch > self.epoch || (epoch == self.epoch && self.lacks_leader()) => {
                if !endpoints.is_empty() {
                    self.become_follower(epoch, id, endpoints);
                } else if epoch > self.epoch || self.leader_id().is_none() {
                    self.become_unattached(epoch, Some(id));
                }
            }
            None if epoch > self.epoch => self.become_unattached(epoch, None),
            _ => {}
        }
    }

    /// Whether a leader of this epoch would be news.
    fn lacks_leader(&self) -> bool {
        match &self.role {
            Role::Unattached(_) | Role::Candidate(_) => true,
            Role::Prospective(state) => {
                state.leader.as_ref().is_none_or(|leader| leader.endpoints.is_empty())
            }
            Role::Leader(_) | Role::Follower(_) | Role::Resigned(_) => false,
        }
    }

    pub(super) fn set_role(&mut self, role: Role) {
        self.refuse_waiting();
        self.connections.reset();
        self.role = role;
        self.persist();
        self.announce_leader();
    }

    fn enter_epoch(&mut self, epoch: i32) {
        if epoch > self.epoch {
            self.refuse_waiting();
            self.epoch = epoch;
            self.voted = None;
        }
    }

    fn new_nominee(&mut self, leader: Option<LeaderAddress>) -> Nominee {
        let own = self.config.node_id;
        let ballots: BTreeMap<i32, Option<bool>> =
            self.voters().ids().map(|id| (id, (id == own).then_some(true))).collect();
        Nominee {
            leader,
            ballots,
            unreachable: BTreeSet::new(),
            election_deadline: self.random_election_deadline(),
        }
    }

    pub(super) fn random_election_deadline(&mut self) -> i64 {
        let timeout = self.config.election_timeout_ms;
        self.now_ms + timeout + self.rng.below(timeout.max(0) as u64) as i64
    }

    /// Has the durable part written when it differs from what was written last.
    pub(super) fn persist(&mut self) {
        let static_format = self.history.kraft_version() == 0;
        let leader_id = self.leader_id();
        let voted = self.voted.filter(|_| leader_id != Some(self.config.node_id));
        let state = QuorumState {
            leader_id,
            leader_epoch: self.epoch,
            voted: voted
                .map(|key| if static_format { ReplicaKey { directory_id: None, ..key } } else { key }),
            current_voters: static_format.then(|| self.voters().ids().collect()),
        };
        let same = self.persisted.as_ref().is_some_and(|known| {
            (known.leader_id, known.leader_epoch, known.voted)
                == (state.leader_id, state.leader_epoch, state.voted)
        });
        if !same {
            self.persisted = Some(state.clone());
            self.effects.push(Effect::PersistQuorumState(state));
        }
    }

    /// Tells of a leader or epoch that the state machine has not heard of.
    pub(super) fn announce_leader(&mut self) {
        // The leader of the epoch may be this node although it does not lead any more.
        let leads = matches!(self.role, Role::Leader(_));
        let leader_id = self.leader_id().filter(|id| leads || *id != self.config.node_id);
        if self.announced_leader != (leader_id, self.epoch) {
            self.announced_leader = (leader_id, self.epoch);
            self.effects.push(Effect::LeaderChanged { leader_id, epoch: self.epoch });
        }
    }
}
