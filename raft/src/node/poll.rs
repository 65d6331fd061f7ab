//! What time does: elections, resignations, and the requests that are due.

use super::Node;
use super::connections::Sent;
use super::role::Role;
use crate::effect::{Effect, Fault, Peer};
use crate::log::Log;
use crate::message::{FetchRequest, FetchSnapshotRequest, Request};
use crate::replica::Address;

impl<L: Log> Node<L> {
    /// Does everything that is due at `now_ms`.
    pub(super) fn poll(&mut self) -> Result<(), Fault> {
        self.connections.expire(self.now_ms, self.config.retry_backoff_ms);
        self.run_timers()?;
        if self.clean_deadline <= self.now_ms {
            self.clean_deadline = self.now_ms + self.config.clean_interval_ms;
            self.clean_log()?;
            self.forget_silent_observers();
        }
        self.send_due();
        self.finish_shutdown();
        Ok(())
    }

    fn run_timers(&mut self) -> Result<(), Fault> {
        let now = self.now_ms;
        let may_stand = self.is_voter() && !self.stopping;
        match &self.role {
            Role::Prospective(_) | Role::Candidate(_) if !self.is_voter() => {
                self.become_unattached(self.epoch, None);
            }
            Role::Unattached(state) if may_stand && state.election_deadline <= now => {
                self.become_prospective();
                self.win_if_possible()?;
            }
            Role::Follower(state) if may_stand && state.fetch_deadline <= now => {
                self.become_prospective();
                self.win_if_possible()?;
            }
            Role::Prospective(state) if state.has_lost() || state.election_deadline <= now => {
                self.give_up_pre_vote();
            }
            Role::Candidate(state) if may_stand && state.election_deadline <= now => {
                self.become_prospective();
                self.win_if_possible()?;
            }
            Role::Resigned(state) if state.election_deadline <= now && !self.stopping => {
                if self.is_voter() {
                    self.become_prospective();
                    self.win_if_possible()?;
                } else {
                    self.become_unattached(self.epoch + 1, None);
                }
            }
            Role::Leader(_) if self.has_lost_quorum() => self.become_resigned(),
            Role::Leader(_) => self.run_leader_timers()?,
            _ => {}
        }
        Ok(())
    }

    fn run_leader_timers(&mut self) -> Result<(), Fault> {
        self.expire_change();
        self.answer_waiting()?;
        let own = self.config.node_id;
        let voters = self.history.voters();
        if let Role::Leader(leader) = &mut self.role
            && leader.begin_deadline <= self.now_ms
        {
            leader.begin_deadline = self.now_ms + self.config.fetch_timeout_ms / 2;
            leader.begin_pending = voters.ids().filter(|id| *id != own).collect();
        }
        Ok(())
    }

    pub(super) fn role_deadline(&self) -> i64 {
        let deadline = match &self.role {
            Role::Unattached(state) => state.election_deadline,
            Role::Prospective(state) | Role::Candidate(state) => state.election_deadline,
            Role::Follower(state) => state.fetch_deadline.min(self.update_voter_deadline(state)),
            Role::Resigned(state) => state.election_deadline,
            Role::Leader(leader) => {
                let waiting = leader.waiting.iter().map(|fetch| fetch.deadline).min().unwrap_or(i64::MAX);
                let change = leader.change.as_ref().map_or(i64::MAX, |change| change.deadline());
                let alone = self.voters().is_only(&self.config.replica_key());
                let quorum = leader.check_quorum_deadline.min(leader.begin_deadline);
                waiting.min(change).min(if alone { i64::MAX } else { quorum })
            }
        };
        // What was due has been done; what could not be done then waits for something else.
        if deadline <= self.now_ms { i64::MAX } else { deadline }
    }

    fn send_due(&mut self) {
        match &self.role {
            Role::Unattached(_) => self.fetch_from_any(),
            Role::Prospective(_) | Role::Candidate(_) => self.send_votes(),
            Role::Leader(_) => {
                self.send_begin_quorum_epoch();
                self.send_change_request();
            }
            Role::Follower(_) => self.send_as_follower(),
            Role::Resigned(_) => self.send_end_quorum_epoch(),
        }
    }

    fn send_as_follower(&mut self) {
        let Role::Follower(state) = &self.role else { return };
        let leader = Peer::Node(state.leader.id);
        let is_late = state.fetch_deadline <= self.now_ms;
        if state.download.is_none() && (is_late || self.connections.is_backing_off(leader, self.now_ms)) {
            // The leader does not answer: another node may know a new one.
            self.fetch_from_any();
        }
        // First, because a fetch then occupies the connection.
        self.send_update_voter();
        self.fetch_from(leader);
    }

    /// Fetches from `peer` unless a fetch is on its way somewhere.
    fn fetch_from(&mut self, peer: Peer) {
        if self.connections.is_fetching() {
            return;
        }
        let cluster_id = Some(self.config.cluster_id.clone());
        let replica = self.config.replica_key();
        let max_bytes = i32::try_from(self.config.fetch_max_bytes).unwrap_or(i32::MAX);
        if let Role::Follower(state) = &self.role
            && let Some(download) = &state.download
        {
            let request = FetchSnapshotRequest {
                cluster_id,
                replica,
                max_bytes,
                current_leader_epoch: self.epoch,
                snapshot_id: download.id,
                position: download.position as i64,
            };
            let sent = Sent::FetchSnapshot { id: download.id, position: download.position };
            self.send(peer, sent, Request::FetchSnapshot(request));
            return;
        }
        let fetch_offset = self.log.log_end_offset();
        let request = FetchRequest {
            cluster_id,
            replica,
            max_wait_ms: i32::try_from(self.config.fetch_max_wait_ms).unwrap_or(i32::MAX),
            max_bytes,
            current_leader_epoch: self.epoch,
            fetch_offset,
            last_fetched_epoch: self.last_epoch(),
            high_watermark: self.high_watermark.unwrap_or(-1),
        };
        self.send(peer, Sent::Fetch { offset: fetch_offset }, Request::Fetch(request));
    }

    /// Fetches from some bootstrap server, to learn of the leader from its answer.
    fn fetch_from_any(&mut self) {
        if self.connections.is_fetching() {
            return;
        }
        let count = self.bootstrap_addresses().len();
        let ready: Vec<Peer> = (0..count)
            .map(Peer::Bootstrap)
            .filter(|peer| self.connections.is_ready(*peer, self.now_ms))
            .collect();
        if !ready.is_empty() {
            let choice = self.rng.below(ready.len() as u64) as usize;
            self.fetch_from(ready[choice]);
        }
    }

    /// Sends when the peer is ready and reachable; whether it did.
    pub(super) fn send(&mut self, to: Peer, sent: Sent, request: Request) -> bool {
        if !self.connections.is_ready(to, self.now_ms) {
            return false;
        }
        let Some(address) = self.address_of(to) else { return false };
        self.send_to(to, address, sent, request);
        true
    }

    pub(super) fn send_to(&mut self, to: Peer, address: Address, sent: Sent, request: Request) {
        let id = self.connections.start(to, sent, self.now_ms + self.config.request_timeout_ms);
        self.effects.push(Effect::Send { id, to, address, request });
    }

    fn address_of(&self, peer: Peer) -> Option<Address> {
        match peer {
            Peer::Bootstrap(index) => self.bootstrap_addresses().into_iter().nth(index),
            Peer::Node(id) => {
                let told = if self.leader_id() == Some(id) { self.role.leader_endpoints() } else { &[] };
                let known = self.voters().get(id).map_or(&[][..], |voter| &voter.endpoints);
                let mut endpoints = told.iter().chain(known);
                let endpoint = endpoints.find(|endpoint| endpoint.name == self.config.listener_name)?;
                Some(endpoint.address())
            }
        }
    }

    /// Whom to ask for the leader: the configured servers, or else the voters.
    fn bootstrap_addresses(&self) -> Vec<Address> {
        let own = self.config.listeners.iter().find(|endpoint| endpoint.name == self.config.listener_name);
        let own = own.map(|endpoint| endpoint.address());
        let others = |address: &Address| Some(address) != own.as_ref();
        if !self.config.bootstrap_servers.is_empty() {
            return self.config.bootstrap_servers.iter().filter(|address| others(address)).cloned().collect();
        }
        let endpoints = self.voters().iter().filter_map(|voter| {
            voter.endpoints.iter().find(|endpoint| endpoint.name == self.config.listener_name)
        });
        endpoints.map(|endpoint| endpoint.address()).filter(others).collect()
    }

    pub(super) fn shut_down(&mut self) {
        self.stopping = true;
        let alone = self.voters().is_only(&self.config.replica_key());
        if matches!(self.role, Role::Leader(_)) && !alone {
            self.become_resigned();
        } else {
            self.refuse_waiting();
        }
    }

    /// Done when nobody waits for this node's leave any more.
    fn finish_shutdown(&mut self) {
        let is_leaving = matches!(&self.role, Role::Resigned(state) if !state.unacknowledged.is_empty());
        if self.stopping && !is_leaving {
            self.stopped = true;
            self.effects.push(Effect::ShutdownComplete);
        }
    }
}
