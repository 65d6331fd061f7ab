//! Groups of KIP-848 (types 3 to 8 and 16).

use bytes::{Bytes, BytesMut};
use uuid::Uuid;

use crate::wire::{DecodeError, EncodeError, Form, Reader, Wire, put_uvarint};

message! {
    /// Which group.
    pub struct ConsumerGroupMetadataKey(0..=0, flexible 1..) {
        /// The group.
        group_id: String = String::new();
    }

    /// A group's epoch.
    pub struct ConsumerGroupMetadataValue(0..=0, flexible 0..) {
        /// Rises whenever the assignment has to be computed anew.
        epoch: i32 = 0;
        /// A hash over the subscribed topics' metadata; 0 if not computed.
        metadata_hash: i64 = 0, tag 0;
    }

    /// Which group.
    pub struct ConsumerGroupPartitionMetadataKey(0..=0, flexible 1..) {
        /// The group.
        group_id: String = String::new();
    }

    /// The subscribed topics as last seen. Apache Kafka 4.1 no longer writes it.
    pub struct ConsumerGroupPartitionMetadataValue(0..=0, flexible 0..) {
        /// The topics.
        topics: Vec<TopicMetadata> = Vec::new();
    }

    /// A subscribed topic.
    pub struct TopicMetadata {
        /// The topic's id.
        topic_id: Uuid = Uuid::nil();
        /// The topic's name.
        topic_name: String = String::new();
        /// How many partitions it has.
        num_partitions: i32 = 0;
        /// The racks of its replicas, where known.
        partition_metadata: Vec<PartitionRacks> = Vec::new();
    }

    /// Where a partition's replicas are.
    pub struct PartitionRacks {
        /// The partition.
        partition: i32 = 0;
        /// The racks of its replicas.
        racks: Vec<String> = Vec::new();
    }

    /// Which member of which group.
    pub struct ConsumerGroupMemberMetadataKey(0..=0, flexible 1..) {
        /// The group.
        group_id: String = String::new();
        /// The member.
        member_id: String = String::new();
    }

    /// A member and what it subscribes to.
    pub struct ConsumerGroupMemberMetadataValue(0..=0, flexible 0..) {
        /// The id of a static member.
        instance_id: Option<String> = None;
        /// The rack that it says it is in.
        rack_id: Option<String> = None;
        /// Its client id.
        client_id: String = String::new();
        /// Where it connects from, as `/10.0.0.1`.
        client_host: String = String::new();
        /// The topics that it names.
        subscribed_topic_names: Vec<String> = Vec::new();
        /// The topics that it wants by a regular expression.
        subscribed_topic_regex: Option<String> = None;
        /// How long it may take to give up partitions, in ms.
        rebalance_timeout_ms: i32 = -1;
        /// The server-side assignor that it asks for.
        server_assignor: Option<String> = None;
        /// Set while the member speaks the classic protocol.
        classic_member_metadata: Option<ClassicMemberMetadata> = None, tag 0;
    }

    /// What a member sent in the classic protocol.
    pub struct ClassicMemberMetadata {
        /// How long it may be silent, in ms.
        session_timeout_ms: i32 = 0;
        /// The protocols that it supports.
        supported_protocols: Vec<ClassicProtocol> = Vec::new();
    }

    /// A protocol of the classic kind.
    pub struct ClassicProtocol {
        /// The protocol's name.
        name: String = String::new();
        /// The member's metadata for it.
        metadata: Bytes = Bytes::new();
    }

    /// Which group.
    pub struct ConsumerGroupTargetAssignmentMetadataKey(0..=0, flexible 1..) {
        /// The group.
        group_id: String = String::new();
    }

    /// The group epoch that the target assignment was computed for.
    pub struct ConsumerGroupTargetAssignmentMetadataValue(0..=0, flexible 0..) {
        /// That epoch.
        assignment_epoch: i32 = 0;
    }

    /// Which member of which group.
    pub struct ConsumerGroupTargetAssignmentMemberKey(0..=0, flexible 1..) {
        /// The group.
        group_id: String = String::new();
        /// The member.
        member_id: String = String::new();
    }

    /// What a member shall have.
    pub struct ConsumerGroupTargetAssignmentMemberValue(0..=0, flexible 0..) {
        /// The partitions.
        topic_partitions: Vec<TopicPartitions> = Vec::new();
    }

    /// Partitions of one topic.
    pub struct TopicPartitions {
        /// The topic's id.
        topic_id: Uuid = Uuid::nil();
        /// The partitions.
        partitions: Vec<i32> = Vec::new();
    }

    /// Which member of which group.
    pub struct ConsumerGroupCurrentMemberAssignmentKey(0..=0, flexible 1..) {
        /// The group.
        group_id: String = String::new();
        /// The member.
        member_id: String = String::new();
    }

    /// What a member has.
    pub struct ConsumerGroupCurrentMemberAssignmentValue(0..=0, flexible 0..) {
        /// The epoch that the member has reached.
        member_epoch: i32 = 0;
        /// The one before.
        previous_member_epoch: i32 = 0;
        /// 0 stable, 1 has partitions to give up, 2 waits for partitions of others.
        state: i8 = 0;
        /// The partitions that it may read.
        assigned_partitions: Vec<TopicPartitions> = Vec::new();
        /// The partitions that it has to give up.
        partitions_pending_revocation: Vec<TopicPartitions> = Vec::new();
    }

    /// Which regular expression of which group.
    pub struct ConsumerGroupRegularExpressionKey(0..=0, flexible 1..) {
        /// The group.
        group_id: String = String::new();
        /// The expression, in RE2 syntax.
        regular_expression: String = String::new();
    }

    /// The topics that a regular expression matched.
    pub struct ConsumerGroupRegularExpressionValue(0..=0, flexible 0..) {
        /// Their names.
        topics: Vec<String> = Vec::new();
        /// The version of the metadata image that it was resolved against.
        version: i64 = 0;
        /// When it was resolved, in ms.
        timestamp: i64 = 0;
    }
}

/// A nullable struct in a tagged field: 0 for null, otherwise 1 and the struct.
impl Wire for Option<ClassicMemberMetadata> {
    // Kafka's default of the field is an empty struct, so that it writes null too.
    const OMIT_DEFAULT: bool = false;

    fn put(&self, form: Form, out: &mut BytesMut) -> Result<(), EncodeError> {
        put_uvarint(u32::from(self.is_some()), out);
        self.iter().try_for_each(|metadata| metadata.put(form, out))
    }
    fn take(form: Form, input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match input.uvarint()? {
            0 => Ok(None),
            _ => ClassicMemberMetadata::take(form, input).map(Some),
        }
    }
}
