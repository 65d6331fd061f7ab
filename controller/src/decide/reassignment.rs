//! AlterPartitionReassignments and ListPartitionReassignments (KIP-455).

use metadata::image::TopicImage;
use metadata::partition::PartitionRegistration;
use protocol::messages::alter_partition_reassignments_request::ReassignablePartition;
use protocol::messages::alter_partition_reassignments_response::{
    ReassignablePartitionResponse, ReassignableTopicResponse,
};
use protocol::messages::list_partition_reassignments_response::{
    OngoingPartitionReassignment, OngoingTopicReassignment,
};
use protocol::messages::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse, BrokerId,
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse,
};
use protocol::records::Record;
use protocol::{ErrorCode, StrBytes};

use super::partition_change::{Election, PartitionChange};
use super::{View, configs, topics};
use crate::api_error::{ApiError, code_and_message};
use crate::event::Decision;

pub(super) fn alter(view: View<'_>, request: &AlterPartitionReassignmentsRequest) -> Decision {
    let mut records = Vec::new();
    // Kafka says null, but the empty text if there was nothing to do.
    let message = request.topics.is_empty().then(StrBytes::default);
    let mut response = AlterPartitionReassignmentsResponse::default().with_error_message(message);
    for topic in &request.topics {
        let mut results = Vec::with_capacity(topic.partitions.len());
        for partition in &topic.partitions {
            let allow_factor_change = request.allow_replication_factor_change;
            let result = alter_one(view, &topic.name, partition, allow_factor_change);
            let (code, message) = code_and_message(&result);
            records.extend(result.ok().flatten());
            results.push(
                ReassignablePartitionResponse::default()
                    .with_partition_index(partition.partition_index)
                    .with_error_code(code)
                    .with_error_message(message),
            );
        }
        response.responses.push(
            ReassignableTopicResponse::default().with_name(topic.name.clone()).with_partitions(results),
        );
    }
    let allow = request.allow_replication_factor_change;
    Decision::atomic(records, response.with_allow_replication_factor_change(allow))
}

fn alter_one(
    view: View<'_>,
    name: &str,
    request: &ReassignablePartition,
    allow_factor_change: bool,
) -> Result<Option<Record>, ApiError> {
    let unknown = |message: String| ApiError::new(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, message);
    let topics = &view.image.topics;
    let topic =
        topics.by_name(name).ok_or_else(|| unknown(format!("Unable to find a topic named {name}.")))?;
    let id = request.partition_index;
    let partition =
        topic.partition(id).ok_or_else(|| unknown(format!("Unable to find partition {name}:{id}.")))?;
    match &request.replicas {
        None => cancel(view, topic, id, partition),
        Some(target) => {
            let target: Vec<i32> = target.iter().map(|id| id.0).collect();
            change(view, topic, id, partition, &target, allow_factor_change)
        }
    }
}

fn change(
    view: View<'_>,
    topic: &TopicImage,
    id: i32,
    partition: &PartitionRegistration,
    target: &[i32],
    allow_factor_change: bool,
) -> Result<Option<Record>, ApiError> {
    topics::validate_assignment(view, target, None)?;
    let current = current_replicas(partition);
    if !allow_factor_change && current.len() != target.len() {
        let message = format!("The replication factor is changed from {} to {}", current.len(), target.len());
        return Err(ApiError::new(ErrorCode::INVALID_REPLICATION_FACTOR, message));
    }
    let removing = difference(&partition.replicas, target);
    let adding = difference(target, &partition.replicas);
    let mut replicas = target.to_vec();
    replicas.extend(&removing);
    let mut change = PartitionChange::new(view, &topic.name, topic.id, id, partition);
    change.replicas = replicas;
    if !removing.is_empty() {
        change.removing = removing;
    }
    if !adding.is_empty() {
        change.adding = adding;
    }
    Ok(change.build())
}

fn cancel(
    view: View<'_>,
    topic: &TopicImage,
    id: i32,
    partition: &PartitionRegistration,
) -> Result<Option<Record>, ApiError> {
    if !partition.is_reassigning() {
        return Err(ApiError { code: ErrorCode::NO_REASSIGNMENT_IN_PROGRESS, message: None });
    }
    let refused = |message: String| Err(ApiError::new(ErrorCode::INVALID_REPLICA_ASSIGNMENT, message));
    let replicas = without(&partition.replicas, &partition.adding_replicas);
    let mut isr = without(&partition.isr, &partition.adding_replicas);
    let unclean_allowed = configs::unclean_election_enabled(view, &topic.name);
    if isr.is_empty() {
        let Some(first) = replicas.first() else {
            return refused("Invalid replica assignment: addingReplicas contains all replicas.".to_owned());
        };
        if !unclean_allowed {
            return refused(format!(
                "Unable to revert partition assignment for {}:{id} because it would require an unclean leader election.",
                topic.name
            ));
        }
        isr.push(*first);
    }
    let mut change = PartitionChange::new(view, &topic.name, topic.id, id, partition);
    if unclean_allowed {
        change.election = Election::Unclean;
    }
    (change.isr, change.replicas) = (isr, replicas);
    change.removing.clear();
    change.adding.clear();
    Ok(change.build())
}

/// The replicas without those that are only being added.
fn current_replicas(partition: &PartitionRegistration) -> Vec<i32> {
    without(&partition.replicas, &partition.adding_replicas)
}

fn without(list: &[i32], unwanted: &[i32]) -> Vec<i32> {
    list.iter().copied().filter(|id| !unwanted.contains(id)).collect()
}

/// Members of `a` that `b` lacks, sorted.
fn difference(a: &[i32], b: &[i32]) -> Vec<i32> {
    let mut difference = without(a, b);
    difference.sort_unstable();
    difference
}

pub(super) fn list(view: View<'_>, request: &ListPartitionReassignmentsRequest) -> Decision {
    let mut response = ListPartitionReassignmentsResponse::default().with_error_message(None);
    match &request.topics {
        None => {
            let topics = view.image.topics.iter();
            response
                .topics
                .extend(topics.filter_map(|topic| ongoing(topic, topic.partitions.keys().copied())));
        }
        Some(topics) => {
            let known = topics.iter().filter_map(|asked| {
                let topic = view.image.topics.by_name(&asked.name)?;
                ongoing(topic, asked.partition_indexes.iter().copied())
            });
            response.topics.extend(known);
        }
    }
    Decision::reply(response)
}

fn ongoing(topic: &TopicImage, partitions: impl Iterator<Item = i32>) -> Option<OngoingTopicReassignment> {
    let ids = |list: &[i32]| list.iter().map(|id| BrokerId(*id)).collect();
    let partitions = partitions.filter_map(|id| {
        let state = topic.partition(id).filter(|state| state.is_reassigning())?;
        Some(
            OngoingPartitionReassignment::default()
                .with_partition_index(id)
                .with_replicas(ids(&state.replicas))
                .with_adding_replicas(ids(&state.adding_replicas))
                .with_removing_replicas(ids(&state.removing_replicas)),
        )
    });
    let partitions: Vec<_> = partitions.collect();
    let name = topics::topic_name(&topic.name);
    (!partitions.is_empty())
        .then(|| OngoingTopicReassignment::default().with_name(name).with_partitions(partitions))
}
