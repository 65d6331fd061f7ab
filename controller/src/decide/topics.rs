//! CreateTopics and DeleteTopics.

use std::collections::{BTreeMap, BTreeSet};

use metadata::config::alter::validate_topic_name;
use metadata::image::TopicImage;
use metadata::partition::PartitionRegistration;
use metadata::snapshot::partition_record_version;
use protocol::messages::create_topics_request::CreatableTopic;
use protocol::messages::create_topics_response::CreatableTopicResult;
use protocol::messages::delete_topics_response::DeletableTopicResult;
use protocol::messages::{
    CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsRequest, DeleteTopicsResponse, TopicName,
};
use protocol::records::{Record, RemoveTopicRecord, TopicRecord};
use protocol::{ErrorCode, StrBytes};
use uuid::Uuid;

use super::{View, configs, partition_change, placement, topic_names};
use crate::api_error::{ApiError, code_and_message};
use crate::entropy::Entropy;
use crate::event::Decision;

/// The most partitions that one request may create, so that its records fit one batch.
pub(super) const MAX_PARTITIONS_PER_REQUEST: usize = 10_000;
/// The topic of the metadata log, which no client may touch.
const CLUSTER_METADATA: &str = "__cluster_metadata";

/// Partitions 0.. of a new topic.
struct NewTopic {
    id: Uuid,
    partitions: Vec<PartitionRegistration>,
    records: Vec<Record>,
}

pub(super) fn create(view: View<'_>, entropy: &mut Entropy, request: &CreateTopicsRequest) -> Decision {
    let mut response = CreateTopicsResponse::default();
    let mut records = Vec::new();
    let oversized = check_size(view, request);
    let mut seen = BTreeSet::new();
    let repeated = request.topics.iter().filter(|topic| !seen.insert(topic.name.as_str()));
    let duplicates: BTreeSet<&str> = repeated.map(|topic| topic.name.as_str()).collect();
    for topic in request.topics.iter().filter(|topic| !duplicates.contains(topic.name.as_str())) {
        let created = oversized.clone().and_then(|()| create_topic(view, entropy, topic));
        response.topics.push(created_result(view, topic, &created));
        records.extend(created.into_iter().flat_map(|created| created.records));
    }
    for name in duplicates {
        let error = ApiError::new(ErrorCode::INVALID_REQUEST, "Duplicate topic name.");
        let topic = CreatableTopic::default().with_name(topic_name(name));
        response.topics.push(created_result(view, &topic, &Err(error)));
    }
    if request.validate_only {
        records.clear();
    }
    Decision::atomic(records, response)
}

fn check_size(view: View<'_>, request: &CreateTopicsRequest) -> Result<(), ApiError> {
    let count = |topic: &CreatableTopic| match topic.num_partitions {
        _ if !topic.assignments.is_empty() => topic.assignments.len(),
        -1 => usize::try_from(view.rules.num_partitions).unwrap_or(0),
        count => usize::try_from(count).unwrap_or(0),
    };
    let total = request.topics.iter().map(count).fold(0, usize::saturating_add);
    if total > MAX_PARTITIONS_PER_REQUEST {
        let message = "Excessively large number of partitions per request.";
        return Err(ApiError::new(ErrorCode::POLICY_VIOLATION, message));
    }
    Ok(())
}

fn create_topic(view: View<'_>, entropy: &mut Entropy, topic: &CreatableTopic) -> Result<NewTopic, ApiError> {
    let name = topic.name.as_str();
    if name == CLUSTER_METADATA {
        let message = format!("Creation of internal topic {CLUSTER_METADATA} is prohibited.");
        return Err(ApiError::new(ErrorCode::INVALID_REQUEST, message));
    }
    validate_topic_name(name).map_err(configs::refused)?;
    if view.image.topics.by_name(name).is_some() {
        let message = format!("Topic '{name}' already exists.");
        return Err(ApiError::new(ErrorCode::TOPIC_ALREADY_EXISTS, message));
    }
    if let Some(other) = topic_names::collision(&view.image.topics, name) {
        let message = format!("Topic '{name}' collides with existing topic: {other}");
        return Err(ApiError::new(ErrorCode::INVALID_TOPIC_EXCEPTION, message));
    }
    let values = creation_configs(topic)?;
    let config_records = configs::new_topic_records(view, name, &values)?;
    let partitions =
        if topic.assignments.is_empty() { placed(view, entropy, topic)? } else { assigned(view, topic)? };
    let id = entropy.id();
    let version = partition_record_version(view.image.features.metadata_version());
    let mut records = vec![Record::Topic(TopicRecord { name: name.to_owned(), topic_id: id })];
    records.extend(config_records);
    records.extend(
        partitions
            .iter()
            .zip(0..)
            .map(|(partition, index)| Record::Partition(partition.to_record(id, index, version))),
    );
    Ok(NewTopic { id, partitions, records })
}

fn creation_configs(topic: &CreatableTopic) -> Result<BTreeMap<String, String>, ApiError> {
    let nulls: Vec<&str> = topic
        .configs
        .iter()
        .filter(|config| config.value.is_none())
        .map(|config| config.name.as_str())
        .collect();
    if !nulls.is_empty() {
        let message = format!("Null value not supported for topic configs: {}", nulls.join(","));
        return Err(ApiError::new(ErrorCode::INVALID_CONFIG, message));
    }
    let values = topic
        .configs
        .iter()
        .filter_map(|config| config.value.as_ref().map(|value| (config.name.to_string(), value.to_string())));
    Ok(values.collect())
}

fn placed(
    view: View<'_>,
    entropy: &mut Entropy,
    topic: &CreatableTopic,
) -> Result<Vec<PartitionRegistration>, ApiError> {
    if topic.replication_factor < -1 || topic.replication_factor == 0 {
        let message = "Replication factor must be larger than 0, or -1 to use the default value.";
        return Err(ApiError::new(ErrorCode::INVALID_REPLICATION_FACTOR, message));
    }
    if topic.num_partitions < -1 || topic.num_partitions == 0 {
        let message = "Number of partitions was set to an invalid non-positive value.";
        return Err(ApiError::new(ErrorCode::INVALID_PARTITIONS, message));
    }
    let or = |given: i32, default: i32| if given == -1 { default } else { given };
    let count = usize::try_from(or(topic.num_partitions, view.rules.num_partitions)).unwrap_or(0);
    let factor = or(topic.replication_factor.into(), view.rules.default_replication_factor.into()) as i16;
    let unable = |message: &str| {
        let message = format!("Unable to replicate the partition {factor} time(s): {message}");
        ApiError::new(ErrorCode::INVALID_REPLICATION_FACTOR, message)
    };
    let placements = placement::place(view, entropy, count, factor)
        .map_err(|error| unable(error.message.as_deref().unwrap_or_default()))?;
    let partitions = placements.into_iter().map(|replicas| {
        new_partition(view, replicas)
            .ok_or_else(|| unable("All brokers are currently fenced or in controlled shutdown."))
    });
    partitions.collect()
}

fn assigned(view: View<'_>, topic: &CreatableTopic) -> Result<Vec<PartitionRegistration>, ApiError> {
    let refused = |code, message: String| Err(ApiError::new(code, message));
    if topic.replication_factor != -1 {
        let message =
            "A manual partition assignment was specified, but replication factor was not set to -1.";
        return refused(ErrorCode::INVALID_REQUEST, message.to_owned());
    }
    if topic.num_partitions != -1 {
        let message = "A manual partition assignment was specified, but numPartitions was not set to -1.";
        return refused(ErrorCode::INVALID_REQUEST, message.to_owned());
    }
    let mut partitions = BTreeMap::new();
    let mut replication_factor = None;
    for assignment in &topic.assignments {
        let index = assignment.partition_index;
        if partitions.contains_key(&index) {
            let message = format!("Found multiple manual partition assignments for partition {index}");
            return refused(ErrorCode::INVALID_REPLICA_ASSIGNMENT, message);
        }
        let replicas: Vec<i32> = assignment.broker_ids.iter().map(|id| id.0).collect();
        validate_assignment(view, &replicas, replication_factor)?;
        replication_factor = Some(replicas.len());
        let Some(partition) = new_partition(view, replicas) else {
            return Err(all_fenced(index));
        };
        partitions.insert(index, partition);
    }
    if !partitions.keys().copied().eq(0..partitions.len() as i32) {
        let message = "partitions should be a consecutive 0-based integer sequence";
        return refused(ErrorCode::INVALID_REPLICA_ASSIGNMENT, message.to_owned());
    }
    Ok(partitions.into_values().collect())
}

/// The error of a manual assignment none of whose brokers is active.
pub(super) fn all_fenced(partition: i32) -> ApiError {
    let message = format!(
        "All brokers specified in the manual partition assignment for partition {partition} are fenced or in \
         controlled shutdown."
    );
    ApiError::new(ErrorCode::INVALID_REPLICA_ASSIGNMENT, message)
}

/// A new partition on `replicas`, led by the first that is active; `None` if none is.
pub(super) fn new_partition(view: View<'_>, replicas: Vec<i32>) -> Option<PartitionRegistration> {
    let isr: Vec<i32> = replicas.iter().copied().filter(|id| view.image.cluster.is_active(*id)).collect();
    let directories = replicas.iter().map(|id| partition_change::default_directory(view, *id)).collect();
    let leader = *isr.first()?;
    Some(PartitionRegistration { replicas, directories, isr, leader, ..PartitionRegistration::default() })
}

/// Checks a manual assignment of one partition.
///
/// # Errors
/// INVALID_REPLICA_ASSIGNMENT with Kafka's message.
pub(super) fn validate_assignment(
    view: View<'_>,
    replicas: &[i32],
    replication_factor: Option<usize>,
) -> Result<(), ApiError> {
    let refused = |message: String| Err(ApiError::new(ErrorCode::INVALID_REPLICA_ASSIGNMENT, message));
    if replicas.is_empty() {
        return refused("The manual partition assignment includes an empty replica list.".to_owned());
    }
    let mut sorted = replicas.to_vec();
    sorted.sort_unstable();
    let mut previous = None;
    for id in sorted {
        if view.image.cluster.broker(id).is_none() {
            return refused(format!(
                "The manual partition assignment includes broker {id}, but no such broker is registered."
            ));
        }
        if previous == Some(id) {
            return refused(format!(
                "The manual partition assignment includes the broker {id} more than once."
            ));
        }
        previous = Some(id);
    }
    match replication_factor {
        Some(expected) if expected != replicas.len() => refused(format!(
            "The manual partition assignment includes a partition with {} replica(s), but this is not consistent \
             with previous partitions, which have {expected} replica(s).",
            replicas.len()
        )),
        _ => Ok(()),
    }
}

fn created_result(
    view: View<'_>,
    topic: &CreatableTopic,
    created: &Result<NewTopic, ApiError>,
) -> CreatableTopicResult {
    let (code, message) = code_and_message(created);
    let result = CreatableTopicResult::default()
        .with_name(topic.name.clone())
        .with_error_code(code)
        .with_error_message(message);
    let Ok(created) = created else { return result };
    let factor = created.partitions.first().map_or(-1, |partition| partition.replicas.len() as i16);
    result
        .with_topic_id(created.id)
        .with_num_partitions(created.partitions.len() as i32)
        .with_replication_factor(factor)
        .with_configs(Some(configs::describe_new_topic(view, topic)))
}

pub(super) fn delete(view: View<'_>, version: i16, request: &DeleteTopicsRequest) -> Decision {
    let named = request.topic_names.iter().map(|name| (Some(name.as_str()), Uuid::nil()));
    let states =
        request.topics.iter().map(|topic| (topic.name.as_ref().map(|name| name.as_str()), topic.topic_id));
    let mut asked: BTreeMap<(Option<&str>, Uuid), usize> = BTreeMap::new();
    named.chain(states).for_each(|key| *asked.entry(key).or_default() += 1);
    let mut deleted = BTreeSet::new();
    let mut response = DeleteTopicsResponse::default();
    for ((name, id), times) in asked {
        let mut id = id;
        let result = check_deletion(view, version, name, id, times).and_then(|topic| {
            if deleted.insert(topic.id) {
                return Ok(topic);
            }
            // Named by its id as well: neither entry deletes it, and one answer is for both.
            id = topic.id;
            deleted.remove(&id);
            response.responses.retain(|earlier| earlier.topic_id != id);
            let message = "The provided topic name maps to an ID that was already supplied.";
            Err(ApiError::new(ErrorCode::INVALID_REQUEST, message))
        });
        let (code, message) = code_and_message(&result);
        let found = result.ok();
        let name = found.map_or(name, |topic| Some(topic.name.as_str()));
        response.responses.push(
            DeletableTopicResult::default()
                .with_name(name.map(topic_name))
                .with_topic_id(found.map_or(id, |topic| topic.id))
                .with_error_code(code)
                .with_error_message(message),
        );
    }
    let records = deleted.into_iter().map(|topic_id| Record::RemoveTopic(RemoveTopicRecord { topic_id }));
    Decision::atomic(records.collect(), response)
}

/// The topic that one entry of a DeleteTopics request means; `times` is how often the request has that entry.
fn check_deletion<'a>(
    view: View<'a>,
    version: i16,
    name: Option<&str>,
    id: Uuid,
    times: usize,
) -> Result<&'a TopicImage, ApiError> {
    let invalid = |message: &str| Err(ApiError::new(ErrorCode::INVALID_REQUEST, message));
    if !view.rules.delete_topic_enable {
        let code = if version < 3 { ErrorCode::INVALID_REQUEST } else { ErrorCode::TOPIC_DELETION_DISABLED };
        return Err(ApiError::new(code, "Topic deletion is disabled."));
    }
    let topics = &view.image.topics;
    let (found, unknown) = match name {
        None if id.is_nil() => return invalid("Neither topic name nor id were specified."),
        None if times > 1 => return invalid("Duplicate topic id."),
        None => (topics.by_id(id), ErrorCode::UNKNOWN_TOPIC_ID),
        Some(_) if !id.is_nil() => return invalid("You may not specify both topic name and topic id."),
        Some(_) if times > 1 => return invalid("Duplicate topic name."),
        Some(name) => (topics.by_name(name), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
    };
    found.map(AsRef::as_ref).ok_or_else(|| ApiError::of(unknown))
}

pub(super) fn topic_name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}
