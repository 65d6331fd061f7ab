//! The answer to DescribeQuorum (key 55), as far as Raft knows it.

use super::Node;
use super::role::Role;
use crate::log::Log;
use crate::replica::ReplicaKey;

/// The quorum as its leader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuorumDescription {
    /// The leader: this node.
    pub leader_id: i32,
    /// Its epoch.
    pub leader_epoch: i32,
    /// -1 when not known.
    pub high_watermark: i64,
    /// The voters in force.
    pub voters: Vec<ReplicaDescription>,
    /// Other replicas that fetched lately.
    pub observers: Vec<ReplicaDescription>,
}

/// How far a replica is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaDescription {
    /// The replica.
    pub key: ReplicaKey,
    /// -1 when not known.
    pub log_end_offset: i64,
    /// Time of its last Fetch in ms; -1 when there was none in this epoch.
    pub last_fetch_timestamp_ms: i64,
    /// When it last had all that the leader had, in ms; -1 when never in this epoch.
    pub last_caught_up_timestamp_ms: i64,
}

impl<L: Log> Node<L> {
    /// The high watermark that a replica knew when it fetched last, `i64::MAX` if its Fetch cannot say; `None` if it did
    /// not fetch in this epoch, or this node does not lead.
    pub fn high_watermark_known_to(&self, id: i32) -> Option<i64> {
        let Role::Leader(leader) = &self.role else { return None };
        let known = leader.replicas.iter().filter(|(key, _)| key.id == id);
        known.map(|(_, progress)| progress.high_watermark).max()
    }

    /// The state of the quorum; `None` on a node that does not lead.
    pub fn describe_quorum(&self) -> Option<QuorumDescription> {
        let Role::Leader(leader) = &self.role else { return None };
        let own = self.config.replica_key();
        let describe = |key: ReplicaKey| match leader.replicas.get(&key) {
            _ if key.id == own.id => ReplicaDescription {
                key,
                log_end_offset: self.log.log_end_offset(),
                last_fetch_timestamp_ms: self.now_ms,
                last_caught_up_timestamp_ms: self.now_ms,
            },
            Some(progress) => ReplicaDescription {
                key,
                log_end_offset: progress.end_offset,
                last_fetch_timestamp_ms: progress.last_fetch_ms,
                last_caught_up_timestamp_ms: progress.last_caught_up_ms,
            },
            None => ReplicaDescription {
                key,
                log_end_offset: -1,
                last_fetch_timestamp_ms: -1,
                last_caught_up_timestamp_ms: -1,
            },
        };
        let observers = leader.replicas.keys().filter(|key| !self.voters().contains(key));
        Some(QuorumDescription {
            leader_id: own.id,
            leader_epoch: self.epoch,
            high_watermark: leader.high_watermark.unwrap_or(-1),
            voters: self.voters().iter().map(|voter| describe(voter.key)).collect(),
            observers: observers.map(|key| describe(*key)).collect(),
        })
    }
}
