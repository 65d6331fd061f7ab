//! What a node is told at start: who it is, whom it knows, how long it waits.

use uuid::Uuid;

use crate::replica::{Address, Endpoint, ReplicaKey};
use crate::voters::VoterSet;

/// Settings of one replica; the times are in milliseconds.
#[derive(Debug, Clone)]
pub struct Config {
    /// `node.id`.
    pub node_id: i32,
    /// `directory.id` of `metadata.log.dir` (`meta.properties`).
    pub directory_id: Uuid,
    /// Cluster id, compared exactly.
    pub cluster_id: String,
    /// `controller.quorum.voters`; empty with a dynamic quorum. Ignored once the log or a snapshot holds a voter set.
    pub static_voters: VoterSet,
    /// `controller.quorum.bootstrap.servers`; when empty, the static voters are asked for the leader.
    pub bootstrap_servers: Vec<Address>,
    /// Own controller listeners as advertised; empty on a node that is only a broker.
    pub listeners: Vec<Endpoint>,
    /// First of `controller.listener.names`: the listener on which peers are reached.
    pub listener_name: String,
    /// Whether this node has the controller role: only such a node takes part in elections.
    pub can_be_voter: bool,
    /// `controller.quorum.election.timeout.ms`.
    pub election_timeout_ms: i64,
    /// `controller.quorum.fetch.timeout.ms`.
    pub fetch_timeout_ms: i64,
    /// `controller.quorum.election.backoff.max.ms`.
    pub election_backoff_max_ms: i64,
    /// `controller.quorum.request.timeout.ms`.
    pub request_timeout_ms: i64,
    /// `controller.quorum.retry.backoff.ms`.
    pub retry_backoff_ms: i64,
    /// How long the leader is asked to hold a Fetch that has nothing to return; Apache asks for 500.
    pub fetch_max_wait_ms: i64,
    /// Largest answer to Fetch and FetchSnapshot, in bytes.
    pub fetch_max_bytes: usize,
    /// `metadata.max.retention.bytes` (log and snapshots together); negative: no limit.
    pub retention_bytes: i64,
    /// `metadata.max.retention.ms`; negative: no limit.
    pub retention_ms: i64,
    /// How often log cleaning is considered; 60 s in Apache.
    pub clean_interval_ms: i64,
    /// Seed of election timeouts and of the choice of bootstrap servers.
    pub seed: u64,
}

impl Config {
    /// Kafka's defaults for a node that knows no voter yet.
    pub fn new(node_id: i32, directory_id: Uuid, cluster_id: &str, seed: u64) -> Config {
        Config {
            node_id,
            directory_id,
            cluster_id: cluster_id.to_owned(),
            static_voters: VoterSet::default(),
            bootstrap_servers: Vec::new(),
            listeners: Vec::new(),
            listener_name: "CONTROLLER".to_owned(),
            can_be_voter: true,
            election_timeout_ms: 1000,
            fetch_timeout_ms: 2000,
            election_backoff_max_ms: 1000,
            request_timeout_ms: 2000,
            retry_backoff_ms: 20,
            fetch_max_wait_ms: 500,
            fetch_max_bytes: 8 * 1024 * 1024,
            retention_bytes: 100 * 1024 * 1024,
            retention_ms: 7 * 24 * 3600 * 1000,
            clean_interval_ms: 60_000,
            seed,
        }
    }

    /// This replica's key.
    pub fn replica_key(&self) -> ReplicaKey {
        ReplicaKey::new(self.node_id, self.directory_id)
    }
}
