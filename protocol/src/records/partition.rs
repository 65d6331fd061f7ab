//! PartitionRecord (key 3).

use uuid::Uuid;

message! {
    /// The whole state of a partition: when it is made, and in snapshots.
    pub struct PartitionRecord(0..=2, flexible 0..) {
        /// The partition's number within the topic.
        partition_id: i32 = -1;
        /// The topic.
        topic_id: Uuid = Uuid::nil();
        /// The brokers that hold it, the preferred leader first.
        replicas: Vec<i32> = Vec::new();
        /// The replicas that are in sync.
        isr: Vec<i32> = Vec::new();
        /// The replicas that a reassignment takes away.
        removing_replicas: Vec<i32> = Vec::new();
        /// The replicas that a reassignment adds.
        adding_replicas: Vec<i32> = Vec::new();
        /// The leading broker, -1 for none.
        leader: i32 = -1;
        /// 0 recovered, 1 recovering after an unclean election (KIP-704).
        leader_recovery_state: i8 = 0, tag 0;
        /// Rises with every change of leader.
        leader_epoch: i32 = -1;
        /// Rises with every change of the partition.
        partition_epoch: i32 = -1;
        /// The log directory of each replica, in the order of `replicas` (KIP-858).
        directories: Vec<Uuid> = Vec::new(), in 1..;
        /// Replicas out of the ISR that still hold everything committed (KIP-966).
        eligible_leader_replicas: Option<Vec<i32>> = None, in 2.., tag 1;
        /// The last known leader once nobody is eligible.
        last_known_elr: Option<Vec<i32>> = None, in 2.., tag 2;
    }
}
