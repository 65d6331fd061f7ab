//! Share groups of KIP-932 (types 10 to 15).

use uuid::Uuid;

use super::TopicPartitions;

message! {
    /// Which member of which group.
    pub struct ShareGroupMemberMetadataKey(0..=0, flexible 1..) {
        /// The group.
        group_id: String = String::new();
        /// The member.
        member_id: String = String::new();
    }

    /// What a member said of itself.
    pub struct ShareGroupMemberMetadataValue(0..=0, flexible 0..) {
        /// Its rack.
        rack_id: Option<String> = None;
        /// Its client id.
        client_id: String = String::new();
        /// Its address.
        client_host: String = String::new();
        /// The topics that it wants.
        subscribed_topic_names: Vec<String> = Vec::new();
    }

    /// Which group.
    pub struct ShareGroupMetadataKey(0..=0, flexible 1..) {
        /// The group.
        group_id: String = String::new();
    }

    /// A group's epoch.
    pub struct ShareGroupMetadataValue(0..=0, flexible 0..) {
        /// Rises whenever the assignment has to be computed anew.
        epoch: i32 = 0;
        /// A hash over the subscribed topics' metadata; 0 if not computed.
        metadata_hash: i64 = 0;
    }

    /// Which group.
    pub struct ShareGroupTargetAssignmentMetadataKey(0..=0, flexible 1..) {
        /// The group.
        group_id: String = String::new();
    }

    /// The epoch that the target assignment was computed for.
    pub struct ShareGroupTargetAssignmentMetadataValue(0..=0, flexible 0..) {
        /// The epoch.
        assignment_epoch: i32 = 0;
    }

    /// Which member of which group.
    pub struct ShareGroupTargetAssignmentMemberKey(0..=0, flexible 1..) {
        /// The group.
        group_id: String = String::new();
        /// The member.
        member_id: String = String::new();
    }

    /// What a member is to have.
    pub struct ShareGroupTargetAssignmentMemberValue(0..=0, flexible 0..) {
        /// Its partitions.
        topic_partitions: Vec<TopicPartitions> = Vec::new();
    }

    /// Which member of which group.
    pub struct ShareGroupCurrentMemberAssignmentKey(0..=0, flexible 1..) {
        /// The group.
        group_id: String = String::new();
        /// The member.
        member_id: String = String::new();
    }

    /// What a member has.
    pub struct ShareGroupCurrentMemberAssignmentValue(0..=0, flexible 0..) {
        /// The epoch that it is at.
        member_epoch: i32 = 0;
        /// The one before, in case the answer was lost.
        previous_member_epoch: i32 = 0;
        /// Its state.
        state: i8 = 0;
        /// Its partitions.
        assigned_partitions: Vec<TopicPartitions> = Vec::new();
    }

    /// Which group.
    pub struct ShareGroupStatePartitionMetadataKey(0..=0, flexible 1..) {
        /// The group.
        group_id: String = String::new();
    }

    /// The partitions for which the share coordinator keeps state.
    pub struct ShareGroupStatePartitionMetadataValue(0..=0, flexible 0..) {
        /// Those whose state is being made.
        initializing_topics: Vec<TopicPartitionsInfo> = Vec::new();
        /// Those whose state is there.
        initialized_topics: Vec<TopicPartitionsInfo> = Vec::new();
        /// Those whose state is being deleted.
        deleting_topics: Vec<TopicInfo> = Vec::new();
    }

    /// Partitions of a topic, with its name.
    pub struct TopicPartitionsInfo {
        /// The topic's id.
        topic_id: Uuid = Uuid::nil();
        /// The topic's name.
        topic_name: String = String::new();
        /// The partitions.
        partitions: Vec<i32> = Vec::new();
    }

    /// A topic, with its name.
    pub struct TopicInfo {
        /// The topic's id.
        topic_id: Uuid = Uuid::nil();
        /// The topic's name.
        topic_name: String = String::new();
    }
}
