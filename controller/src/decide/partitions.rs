//! CreatePartitions.

use std::collections::BTreeSet;

use metadata::snapshot::partition_record_version;
use protocol::ErrorCode;
use protocol::messages::create_partitions_request::CreatePartitionsTopic;
use protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use protocol::messages::{CreatePartitionsRequest, CreatePartitionsResponse};
use protocol::records::Record;

use super::{View, placement, topics};
use crate::api_error::{ApiError, code_and_message};
use crate::entropy::Entropy;
use crate::event::Decision;

pub(super) fn create(view: View<'_>, entropy: &mut Entropy, request: &CreatePartitionsRequest) -> Decision {
    let mut seen = BTreeSet::new();
    let repeated = request.topics.iter().filter(|topic| !seen.insert(topic.name.as_str()));
    let duplicates: BTreeSet<&str> = repeated.map(|topic| topic.name.as_str()).collect();
    let mut response = CreatePartitionsResponse::default();
    let mut records = Vec::new();
    for name in &duplicates {
        let error = ApiError::new(ErrorCode::INVALID_REQUEST, "Duplicate topic name.");
        response.results.push(
            CreatePartitionsTopicResult::default()
                .with_name(topics::topic_name(name))
                .with_error_code(error.code())
                .with_error_message(error.wire_message()),
        );
    }
    for topic in request.topics.iter().filter(|topic| !duplicates.contains(topic.name.as_str())) {
        let result = grow(view, entropy, topic, topics::MAX_PARTITIONS_PER_REQUEST - records.len());
        let (code, message) = code_and_message(&result);
        response.results.push(
            CreatePartitionsTopicResult::default()
                .with_name(topic.name.clone())
                .with_error_code(code)
                .with_error_message(message),
        );
        records.extend(result.into_iter().flatten());
    }
    if request.validate_only {
        records.clear();
    }
    Decision::atomic(records, response)
}

fn grow(
    view: View<'_>,
    entropy: &mut Entropy,
    request: &CreatePartitionsTopic,
    limit: usize,
) -> Result<Vec<Record>, ApiError> {
    let name = request.name.as_str();
    let unknown = || ApiError { code: ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, message: None };
    let topic = view.image.topics.by_name(name).ok_or_else(unknown)?;
    let current = topic.partitions.len();
    let wanted = usize::try_from(request.count).unwrap_or(0);
    let refused = |message: String| Err(ApiError::new(ErrorCode::INVALID_PARTITIONS, message));
    if wanted == current {
        return refused(format!("Topic already has {current} partition(s)."));
    }
    if wanted < current {
        return refused(format!(
            "The topic {name} currently has {current} partition(s); {} would not be an increase.",
            request.count
        ));
    }
    let additional = wanted - current;
    if additional > limit {
        let message = "Excessively large number of partitions per request.";
        return Err(ApiError::new(ErrorCode::POLICY_VIOLATION, message));
    }
    let factor = topic.partitions.values().next().map_or(0, |partition| partition.replicas.len());
    let placements = match &request.assignments {
        Some(assignments) => {
            if assignments.len() != additional {
                let message = format!(
                    "Attempted to add {additional} additional partition(s), but only {} assignment(s) were specified.",
                    assignments.len()
                );
                return Err(ApiError::new(ErrorCode::INVALID_REPLICA_ASSIGNMENT, message));
            }
            let mut placements = Vec::with_capacity(additional);
            for assignment in assignments {
                let replicas: Vec<i32> = assignment.broker_ids.iter().map(|id| id.0).collect();
                topics::validate_assignment(view, &replicas, Some(factor))?;
                placements.push(replicas);
            }
            placements
        }
        None => placement::place(view, entropy, additional, factor as i16)?,
    };
    let version = partition_record_version(view.image.features.metadata_version());
    let mut records = Vec::with_capacity(additional);
    for (replicas, index) in placements.into_iter().zip(current as i32..) {
        let inactive = || match &request.assignments {
            Some(_) => topics::all_fenced(index),
            None => ApiError::new(
                ErrorCode::INVALID_REPLICATION_FACTOR,
                format!(
                    "Unable to replicate the partition {factor} time(s): All brokers are currently fenced or in \
                     controlled shutdown."
                ),
            ),
        };
        let partition = topics::new_partition(view, replicas).ok_or_else(inactive)?;
        records.push(Record::Partition(partition.to_record(topic.id, index, version)));
    }
    Ok(records)
}
