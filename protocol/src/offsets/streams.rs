//! Streams groups of KIP-1071 (types 17 and 19 to 23), as in Apache Kafka 4.1.2, which does not enable their APIs.

use bytes::{BufMut, BytesMut};

use crate::wire::{DecodeError, EncodeError, Form, Reader, Wire};

message! {
    /// Which group.
    pub struct StreamsGroupMetadataKey(0..=0, flexible 1..) {
        /// The group.
        group_id: String = String::new();
    }

    /// A group's epoch.
    pub struct StreamsGroupMetadataValue(0..=0, flexible 0..) {
        /// Rises whenever the assignment has to be computed anew.
        epoch: i32 = 0;
        /// A hash over the topics' metadata.
        metadata_hash: i64 = 0;
    }

    /// Which member of which group.
    pub struct StreamsGroupMemberMetadataKey(0..=0, flexible 1..) {
        /// The group.
        group_id: String = String::new();
        /// The member.
        member_id: String = String::new();
    }

    /// What a member said of itself.
    pub struct StreamsGroupMemberMetadataValue(0..=0, flexible 0..) {
        /// Its instance id, if it is a static member.
        instance_id: Option<String> = None;
        /// Its rack.
        rack_id: Option<String> = None;
        /// Its client id.
        client_id: String = String::new();
        /// Its address.
        client_host: String = String::new();
        /// How long it may take to give up tasks, in milliseconds.
        rebalance_timeout_ms: i32 = -1;
        /// The topology that it runs.
        topology_epoch: i32 = 0;
        /// The process that it is part of.
        process_id: String = String::new();
        /// Where its interactive queries are answered.
        user_endpoint: Option<UserEndpoint> = None;
        /// Its tags.
        client_tags: Vec<KeyValue> = Vec::new();
    }

    /// An address for interactive queries.
    pub struct UserEndpoint {
        /// The host.
        host: String = String::new();
        /// The port.
        port: u16 = 0;
    }

    /// A name with its value.
    pub struct KeyValue {
        /// The name.
        key: String = String::new();
        /// The value.
        value: String = String::new();
    }

    /// Which group.
    pub struct StreamsGroupTargetAssignmentMetadataKey(0..=0, flexible 1..) {
        /// The group.
        group_id: String = String::new();
    }

    /// The epoch that the target assignment was computed for.
    pub struct StreamsGroupTargetAssignmentMetadataValue(0..=0, flexible 0..) {
        /// The epoch.
        assignment_epoch: i32 = 0;
    }

    /// Which member of which group.
    pub struct StreamsGroupTargetAssignmentMemberKey(0..=0, flexible 1..) {
        /// The group.
        group_id: String = String::new();
        /// The member.
        member_id: String = String::new();
    }

    /// What a member is to have.
    pub struct StreamsGroupTargetAssignmentMemberValue(0..=0, flexible 0..) {
        /// Tasks that it runs.
        active_tasks: Vec<TaskIds> = Vec::new();
        /// Tasks whose state it keeps.
        standby_tasks: Vec<TaskIds> = Vec::new();
        /// Tasks whose state it builds.
        warmup_tasks: Vec<TaskIds> = Vec::new();
    }

    /// Tasks of one subtopology.
    pub struct TaskIds {
        /// The subtopology.
        subtopology_id: String = String::new();
        /// The partitions, one for each task.
        partitions: Vec<i32> = Vec::new();
    }

    /// Which member of which group.
    pub struct StreamsGroupCurrentMemberAssignmentKey(0..=0, flexible 1..) {
        /// The group.
        group_id: String = String::new();
        /// The member.
        member_id: String = String::new();
    }

    /// What a member has.
    pub struct StreamsGroupCurrentMemberAssignmentValue(0..=0, flexible 0..) {
        /// The epoch that it is at.
        member_epoch: i32 = 0;
        /// The one before, in case the answer was lost.
        previous_member_epoch: i32 = 0;
        /// Its state.
        state: i8 = 0;
        /// Tasks that it runs.
        active_tasks: Vec<TaskIds> = Vec::new();
        /// Tasks whose state it keeps.
        standby_tasks: Vec<TaskIds> = Vec::new();
        /// Tasks whose state it builds.
        warmup_tasks: Vec<TaskIds> = Vec::new();
        /// Of those that it runs, the ones that it has to give up.
        active_tasks_pending_revocation: Vec<TaskIds> = Vec::new();
        /// Of those whose state it keeps.
        standby_tasks_pending_revocation: Vec<TaskIds> = Vec::new();
        /// Of those whose state it builds.
        warmup_tasks_pending_revocation: Vec<TaskIds> = Vec::new();
    }

    /// Which group.
    pub struct StreamsGroupTopologyKey(0..=0, flexible 1..) {
        /// The group.
        group_id: String = String::new();
    }

    /// The topology that the group runs.
    pub struct StreamsGroupTopologyValue(0..=0, flexible 0..) {
        /// Its epoch.
        epoch: i32 = 0;
        /// Its parts.
        subtopologies: Vec<Subtopology> = Vec::new();
    }

    /// A part of a topology that runs by itself.
    pub struct Subtopology {
        /// Its name.
        subtopology_id: String = String::new();
        /// The topics that it reads.
        source_topics: Vec<String> = Vec::new();
        /// Regular expressions of topics that it reads.
        source_topic_regex: Vec<String> = Vec::new();
        /// The topics that keep its state.
        state_changelog_topics: Vec<StreamsTopicInfo> = Vec::new();
        /// The repartition topics that it writes.
        repartition_sink_topics: Vec<String> = Vec::new();
        /// The repartition topics that it reads.
        repartition_source_topics: Vec<StreamsTopicInfo> = Vec::new();
        /// Which of the topics must have the same number of partitions.
        copartition_groups: Vec<CopartitionGroup> = Vec::new();
    }

    /// An internal topic of a topology.
    pub struct StreamsTopicInfo {
        /// Its name.
        name: String = String::new();
        /// Its partitions; 0 if they follow from other topics.
        partitions: i32 = 0;
        /// Its replication factor; 0 for the broker's default.
        replication_factor: i16 = 0;
        /// Its configuration.
        topic_configs: Vec<KeyValue> = Vec::new();
    }

    /// Topics with the same number of partitions, by their places in the lists of the subtopology.
    pub struct CopartitionGroup {
        /// Among `source_topics`.
        source_topics: Vec<i16> = Vec::new();
        /// Among `source_topic_regex`.
        source_topic_regex: Vec<i16> = Vec::new();
        /// Among `repartition_source_topics`.
        repartition_source_topics: Vec<i16> = Vec::new();
    }
}

/// What stands before a structure that may be missing, and for one that is.
const PRESENT: i8 = 1;
const MISSING: i8 = -1;

impl Wire for Option<UserEndpoint> {
    fn put(&self, form: Form, out: &mut BytesMut) -> Result<(), EncodeError> {
        out.put_i8(if self.is_some() { PRESENT } else { MISSING });
        self.iter().try_for_each(|endpoint| endpoint.put(form, out))
    }

    fn take(form: Form, input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match i8::take(form, input)? {
            ..0 => Ok(None),
            _ => UserEndpoint::take(form, input).map(Some),
        }
    }
}
