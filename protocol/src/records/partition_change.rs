//! PartitionChangeRecord (key 5).

use uuid::Uuid;

/// In place of a leader: it stays as it is.
pub const LEADER_UNCHANGED: i32 = -2;

message! {
    /// What changed in a partition; what is left out stays.
    pub struct PartitionChangeRecord(0..=2, flexible 0..) {
        /// The partition's number within the topic.
        partition_id: i32 = -1;
        /// The topic.
        topic_id: Uuid = Uuid::nil();
        /// The new ISR.
        isr: Option<Vec<i32>> = None, tag 0;
        /// The new leader, -1 for none. Naming the present one still raises the leader epoch.
        leader: i32 = LEADER_UNCHANGED, tag 1;
        /// The new replicas.
        replicas: Option<Vec<i32>> = None, tag 2;
        /// The new set of replicas that go.
        removing_replicas: Option<Vec<i32>> = None, tag 3;
        /// The new set of replicas that come.
        adding_replicas: Option<Vec<i32>> = None, tag 4;
        /// 0 recovered, 1 recovering, -1 unchanged.
        leader_recovery_state: i8 = -1, tag 5;
        /// The new eligible leaders (KIP-966).
        eligible_leader_replicas: Option<Vec<i32>> = None, in 2.., tag 6;
        /// The new last known leader.
        last_known_elr: Option<Vec<i32>> = None, in 2.., tag 7;
        /// The new log directories, in the order of the replicas (KIP-858).
        directories: Option<Vec<Uuid>> = None, in 1.., tag 8;
    }
}
