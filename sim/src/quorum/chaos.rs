//! What goes wrong, chosen by the seed.

use super::cluster::{CALM_DELAY_MS, Cluster};
use crate::network::Network;
use raft::message::{AddVoterRequest, RemoveVoterRequest, Request};
use raft::node::RoleName;

impl Cluster {
    /// One random action: mostly an append, now and then a failure or its end.
    pub(super) fn act(&mut self) {
        let ids = self.ids();
        let id = ids[self.rng.below(ids.len() as u64) as usize];
        match self.rng.below(100) {
            0..60 => self.append_somewhere(),
            60..66 => {
                self.crash(id);
                let delay = self.rng.below(3000) as i64;
                self.start_later(id, delay);
            }
            66..70 => self.crash_soon(id),
            70..75 => self.pause(id),
            75..80 => self.partition(),
            80..87 => self.network.blocked.clear(),
            87..92 => self.snapshot(id),
            92..95 => self.roughen(),
            95..96 => self.resign(),
            _ if self.observed.dynamic => self.change_voters(id),
            _ => {}
        }
    }

    /// All is well from here on: everyone runs, everything arrives.
    pub(super) fn heal(&mut self) {
        self.note(|| "all is well".into());
        self.network = Network::calm(CALM_DELAY_MS);
        for id in self.ids() {
            self.start(id);
            let replica = self.replicas.get_mut(&id).unwrap();
            replica.effects_left = None;
            replica.paused_until = replica.paused_until.min(self.now + 1);
            if let Some(node) = &mut replica.node {
                node.log_mut().set_fuse(None);
            }
        }
    }

    pub(super) fn append_somewhere(&mut self) {
        let leads = |id: &i32| self.node(*id).is_some_and(|node| node.role() == RoleName::Leader);
        let leaders: Vec<i32> = self.ids().into_iter().filter(leads).collect();
        if !leaders.is_empty() {
            let id = leaders[self.rng.below(leaders.len() as u64) as usize];
            self.append(id);
        }
    }

    /// The process ends within a step: between writes of the log, or between effects.
    fn crash_soon(&mut self, id: i32) {
        let (log, left) = (self.rng.below(2) == 0, self.rng.below(4) as u32);
        let delay = 1000 + self.rng.below(2000) as i64;
        let replica = self.replicas.get_mut(&id).unwrap();
        let Some(node) = &mut replica.node else { return };
        if log {
            node.log_mut().set_fuse(Some(1 + left));
        } else {
            replica.effects_left = Some(left);
        }
        self.start_later(id, delay);
    }

    fn pause(&mut self, id: i32) {
        let until = self.now + self.rng.below(4000) as i64;
        self.note(|| format!("{id} is paused until {until}"));
        self.replicas.get_mut(&id).unwrap().paused_until = until;
    }

    /// Splits the nodes in two, at times in one direction only.
    fn partition(&mut self) {
        let one_way = self.rng.below(3) == 0;
        let sides: Vec<(i32, bool)> = self.ids().into_iter().map(|id| (id, self.rng.below(2) == 0)).collect();
        self.network.split(&sides, one_way);
        self.note(|| "partition".into());
    }

    fn roughen(&mut self) {
        self.network.roughen([2, 20, 300, 1_500], &mut self.rng);
    }

    fn resign(&mut self) {
        let Some(id) = self.leader() else { return };
        let epoch = self.node(id).map_or(0, |node| node.epoch());
        self.step(id, raft::Input::Resign { epoch });
    }

    fn change_voters(&mut self, id: i32) {
        let Some(leader) = self.leader() else { return };
        let voter = self.replicas[&id].config.replica_key();
        let Some(node) = self.node(leader) else { return };
        let is_voter = node.voters().contains(&voter);
        // KIP-853 has a hole here: of two voters, the one that removed itself may not stand any more, and the other
        // does not get its vote until the removal has reached it.
        if id == leader && node.voters().len() == 2 {
            return;
        }
        let request = if is_voter {
            Request::RemoveVoter(RemoveVoterRequest { cluster_id: None, voter })
        } else {
            Request::AddVoter(AddVoterRequest {
                cluster_id: None,
                timeout_ms: 3000,
                voter,
                endpoints: vec![super::cluster::endpoint(id)],
                ack_when_committed: self.rng.below(2) == 0,
            })
        };
        self.ask(leader, request);
    }
}
