//! What differs between controllers and modes, as data.

use std::sync::Arc;

use metadata::config::StaticConfig;
use uuid::Uuid;

/// Settings that decisions depend on. Differences between the modes are values here, not branches in the code.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Id of this node.
    pub node_id: i32,
    /// Incarnation of the broker in this process, if there is one. Whoever else had its id before is gone, since the
    /// directories are locked; without this a killed node would wait for its own old session to end.
    pub local_incarnation: Option<Uuid>,
    /// Cluster id, compared exactly.
    pub cluster_id: String,
    /// Ids of the voters of the quorum, this node among them.
    pub quorum: Vec<i32>,
    /// Finalized `kraft.version`, which the Raft layer holds.
    pub kraft_version: i16,
    /// `num.partitions`.
    pub num_partitions: i32,
    /// `default.replication.factor`.
    pub default_replication_factor: i16,
    /// `delete.topic.enable`.
    pub delete_topic_enable: bool,
    /// `broker.session.timeout.ms`.
    pub session_timeout_ms: i64,
    /// The node's own configuration by key, as in its properties file: below all dynamic values, above the defaults.
    pub fixed: Arc<StaticConfig>,
    /// A shrinking ISR always bumps the leader epoch (in ZooKeeper mode brokers ignore a LeaderAndIsr without one).
    pub bump_leader_epoch_on_isr_shrink: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            node_id: 1,
            local_incarnation: None,
            cluster_id: String::new(),
            quorum: vec![1],
            kraft_version: 0,
            num_partitions: 1,
            default_replication_factor: 1,
            delete_topic_enable: true,
            session_timeout_ms: 9_000,
            fixed: Arc::default(),
            bump_leader_epoch_on_isr_shrink: false,
        }
    }
}
