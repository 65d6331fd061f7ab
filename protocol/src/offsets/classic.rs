//! Committed offsets (types 0 and 1) and classic groups (type 2).

use bytes::Bytes;
use uuid::Uuid;

message! {
    /// Which partition's offset, for which group.
    pub struct OffsetCommitKey(0..=0, flexible 1..) {
        /// The group.
        group: String = String::new();
        /// The topic's name.
        topic: String = String::new();
        /// The partition.
        partition: i32 = 0;
    }

    /// A committed offset.
    pub struct OffsetCommitValue(0..=4, flexible 4..) {
        /// The offset to read next.
        offset: i64 = 0;
        /// The leader epoch of the last record that was read, -1 if not known.
        leader_epoch: i32 = -1, ignorable 3..;
        /// What the consumer wanted to remember with it.
        metadata: String = String::new();
        /// When it was committed, in ms.
        commit_timestamp: i64 = 0;
        /// When it expires, in ms; -1 to go by the broker's settings.
        expire_timestamp: i64 = -1, ignorable 1..=1;
        /// The topic's id, if the client named it (KIP-848).
        topic_id: Uuid = Uuid::nil(), ignorable 4.., tag 0;
    }

    /// Which classic group.
    pub struct GroupMetadataKey(0..=0, flexible 1..) {
        /// The group.
        group: String = String::new();
    }

    /// A classic group after a rebalance.
    pub struct GroupMetadataValue(0..=4, flexible 4..) {
        /// `consumer` for consumers, `connect` for Connect workers, empty for none.
        protocol_type: String = String::new();
        /// The generation: the number of rebalances.
        generation: i32 = 0;
        /// The protocol that was chosen (for consumers, the assignor).
        protocol: Option<String> = None;
        /// The member id of the leader.
        leader: Option<String> = None;
        /// When the group entered its state, in ms.
        current_state_timestamp: i64 = -1, ignorable 2..;
        /// The members.
        members: Vec<GroupMember> = Vec::new();
    }

    /// A member of a classic group.
    pub struct GroupMember {
        /// The id that the coordinator gave it.
        member_id: String = String::new();
        /// The id of a static member (KIP-345).
        group_instance_id: Option<String> = None, ignorable 3..;
        /// Its client id.
        client_id: String = String::new();
        /// Where it connects from, as `/10.0.0.1`.
        client_host: String = String::new();
        /// How long it may take to join again, in ms.
        rebalance_timeout: i32 = -1, ignorable 1..;
        /// How long it may be silent, in ms.
        session_timeout: i32 = 0;
        /// What it sent for the chosen protocol when it joined.
        subscription: Bytes = Bytes::new();
        /// What the leader assigned to it.
        assignment: Bytes = Bytes::new();
    }
}
