//! What kind of cluster a seed is about, and how it is set up.

use std::collections::BTreeMap;
use std::sync::Arc;

use controller::decide::Rules;
use controller::machine::MachineArgs;
use metadata::config::StaticConfig;
use raft::rng::Rng;
use raft::{Config, Endpoint, ReplicaKey, Voter, VoterSet};
use uuid::Uuid;

pub(super) const LISTENER: &str = "CONTROLLER";
pub(super) const CLUSTER_ID: &str = "cluster";
pub(super) const TOPIC: &str = "orders";
pub(super) const HEARTBEAT_MS: i64 = 200;
pub(super) const SESSION_MS: i64 = 1_000;
pub(super) const LAG_MAX_MS: i64 = 800;
const FIRST_PORT: u16 = 9_000;

/// A seed's cluster.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) controllers: Vec<i32>,
    pub(super) brokers: Vec<i32>,
    pub(super) partitions: i32,
    pub(super) replication: i16,
    pub(super) min_isr: usize,
    /// Eligible leader replicas (KIP-966).
    pub(super) elr: bool,
    /// Machines may lose their power: a broker then loses what it did not flush, one broker at a time. Otherwise
    /// processes are killed, any number at once.
    pub(super) power_losses: bool,
    /// Clocks that run differently and jump.
    pub(super) bad_clocks: bool,
    pub(super) actions: u64,
    properties: Arc<StaticConfig>,
    snapshot_bytes: u64,
    rebalance_ms: Option<i64>,
}

impl Plan {
    /// Controllers are 1.., brokers too where they share processes, else 101...
    pub(super) fn new(rng: &mut Rng) -> Plan {
        let controllers: Vec<i32> = (1..=[1, 3, 3, 3][rng.below(4) as usize]).collect();
        let combined = rng.below(3) == 0;
        let brokers = 3 + i32::from(rng.below(4) == 0);
        let brokers: Vec<i32> =
            if combined { (1..=brokers).collect() } else { (101..101 + brokers).collect() };
        let elr = rng.below(2) == 0;
        let min_isr = [1, 2, 2, 2][rng.below(4) as usize];
        let lag = ("replica.lag.time.max.ms".to_owned(), LAG_MAX_MS.to_string());
        Plan {
            controllers,
            brokers,
            partitions: 1 + rng.below(3) as i32,
            replication: 3,
            min_isr,
            elr,
            // What lies below the minimum has no replica that must have flushed it.
            power_losses: elr && min_isr == 2 && rng.below(2) == 0,
            bad_clocks: rng.below(3) == 0,
            actions: 20 + rng.below(30),
            properties: Arc::new(StaticConfig::new(BTreeMap::from([lag])).unwrap()),
            snapshot_bytes: [u64::MAX, 4_000, 1_500][rng.below(3) as usize],
            rebalance_ms: [None, Some(3_000)][rng.below(2) as usize],
        }
    }

    /// All processes.
    pub(super) fn nodes(&self) -> Vec<i32> {
        let mut all = self.controllers.clone();
        all.extend(self.brokers.iter().filter(|id| !self.controllers.contains(id)));
        all
    }

    pub(super) fn properties(&self) -> Arc<StaticConfig> {
        self.properties.clone()
    }

    /// How the quorum's part of a process is started for the `life`th time.
    pub(super) fn machine(&self, id: i32, life: u64, incarnation: Option<Uuid>, seed: u64) -> MachineArgs {
        let voter = |id: &i32| Voter {
            key: ReplicaKey { id: *id, directory_id: None },
            endpoints: vec![endpoint(*id)],
            min_kraft_version: 0,
            max_kraft_version: 0,
        };
        let mut raft = Config::new(id, directory(id), CLUSTER_ID, seed.wrapping_add(life));
        raft.static_voters = VoterSet::new(self.controllers.iter().map(voter));
        raft.listeners = vec![endpoint(id)];
        raft.can_be_voter = self.controllers.contains(&id);
        raft.election_timeout_ms = 300;
        raft.fetch_timeout_ms = 600;
        raft.election_backoff_max_ms = 200;
        raft.request_timeout_ms = 500;
        raft.fetch_max_wait_ms = 200;
        raft.retention_bytes = 4_000;
        raft.clean_interval_ms = 2_000;
        let mut seeds = [0; 32];
        for (at, part) in seeds.chunks_exact_mut(8).enumerate() {
            part.copy_from_slice(&(seed ^ (life << 8) ^ at as u64).to_be_bytes());
        }
        let rules = Rules {
            node_id: id,
            local_incarnation: incarnation,
            cluster_id: CLUSTER_ID.to_owned(),
            quorum: self.controllers.clone(),
            session_timeout_ms: SESSION_MS,
            fixed: self.properties.clone(),
            ..Rules::default()
        };
        let elr = ("eligible.leader.replicas.version".to_owned(), i16::from(self.elr));
        MachineArgs {
            raft,
            rules,
            seed: seeds,
            features: BTreeMap::from([elr]),
            brokers: self.brokers.clone(),
            rebalance_ms: self.rebalance_ms,
            snapshot_bytes: self.snapshot_bytes,
        }
    }
}

pub(super) fn endpoint(id: i32) -> Endpoint {
    Endpoint { name: LISTENER.into(), host: "localhost".into(), port: FIRST_PORT + id as u16 }
}

/// The node behind an endpoint.
pub(super) fn node_at(port: u16) -> i32 {
    i32::from(port - FIRST_PORT)
}

pub(super) fn directory(id: i32) -> Uuid {
    Uuid::from_u128(1_000 + id as u128)
}

/// The log directory of a broker's data.
pub(super) fn data_directory(id: i32) -> Uuid {
    Uuid::from_u128(2_000 + id as u128)
}
