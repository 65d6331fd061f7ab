//! ElectLeaders, and the elections that happen by themselves.

use metadata::image::TopicImage;
use metadata::partition::NO_LEADER;
use protocol::messages::elect_leaders_response::{PartitionResult, ReplicaElectionResult};
use protocol::messages::{ElectLeadersRequest, ElectLeadersResponse};
use protocol::records::Record;
use protocol::{ErrorCode, StrBytes};

use super::View;
use super::configs;
use super::partition_change::{Election, PartitionChange};
use super::topics::topic_name;
use crate::api_error::{ApiError, code_and_message};
use crate::event::Decision;
use crate::refusal::refuse_elections;

/// The most elections of one round, so that a large cluster is rebalanced in steps.
const MAX_ELECTIONS_PER_ROUND: usize = 1_000;

pub(super) fn elect_leaders(view: View<'_>, request: &ElectLeadersRequest) -> Decision {
    let election = match request.election_type {
        0 => Election::Preferred,
        1 => Election::Unclean,
        other => {
            let error = ApiError::new(ErrorCode::INVALID_REQUEST, format!("Unknown election type {other}"));
            // Version 0 has no election type: there is a top-level error where this can happen.
            return Decision::reply(refuse_elections(1, request, &error));
        }
    };
    let mut records = Vec::new();
    let mut response = ElectLeadersResponse::default();
    match &request.topic_partitions {
        None => {
            for topic in view.image.topics.iter() {
                let mut results = Vec::new();
                for partition in topic.partitions.keys() {
                    let result = elect(view, &topic.name, *partition, election, &mut records);
                    let not_needed = |error: &ApiError| error.code == ErrorCode::ELECTION_NOT_NEEDED;
                    if !result.as_ref().is_err_and(not_needed) {
                        results.push(partition_result(*partition, &result));
                    }
                }
                response.replica_election_results.push(topic_result(&topic.name, results));
            }
        }
        Some(topics) => {
            for topic in topics {
                let partitions = topic.partitions.iter().map(|partition| {
                    let result = elect(view, &topic.topic, *partition, election, &mut records);
                    partition_result(*partition, &result)
                });
                let results = partitions.collect();
                response.replica_election_results.push(topic_result(&topic.topic, results));
            }
        }
    }
    Decision::write(records, response)
}

fn topic_result(topic: &str, results: Vec<PartitionResult>) -> ReplicaElectionResult {
    ReplicaElectionResult::default().with_topic(topic_name(topic)).with_partition_result(results)
}

fn partition_result(partition: i32, result: &Result<(), ApiError>) -> PartitionResult {
    let (code, message): (i16, Option<StrBytes>) = code_and_message(result);
    PartitionResult::default().with_partition_id(partition).with_error_code(code).with_error_message(message)
}

fn elect(
    view: View<'_>,
    topic: &str,
    partition: i32,
    election: Election,
    records: &mut Vec<Record>,
) -> Result<(), ApiError> {
    let unknown = |message: String| ApiError::new(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, message);
    let image =
        view.image.topics.by_name(topic).ok_or_else(|| unknown(format!("No such topic as {topic}")))?;
    let state = image
        .partition(partition)
        .ok_or_else(|| unknown(format!("No such partition as {topic}-{partition}")))?;
    let preferred = election == Election::Preferred;
    if (preferred && state.has_preferred_leader()) || (!preferred && state.leader != NO_LEADER) {
        let message = "Leader election not needed for topic partition.";
        return Err(ApiError::new(ErrorCode::ELECTION_NOT_NEEDED, message));
    }
    let mut change = PartitionChange::new(view, topic, image.id, partition, state);
    change.election = election;
    match change.build() {
        Some(record) => {
            records.push(record);
            Ok(())
        }
        None if preferred => Err(ApiError::new(
            ErrorCode::PREFERRED_LEADER_NOT_AVAILABLE,
            "The preferred leader was not available.",
        )),
        None => Err(ApiError::new(
            ErrorCode::ELIGIBLE_LEADERS_NOT_AVAILABLE,
            "Eligible topic partition leaders are not available.",
        )),
    }
}

/// Moves leaders back to the preferred replicas.
pub(super) fn elect_preferred_everywhere(view: View<'_>) -> Decision {
    let elect = |topic: &TopicImage, partition: i32| {
        let state = topic.partition(partition).filter(|state| !state.has_preferred_leader())?;
        let mut change = PartitionChange::new(view, &topic.name, topic.id, partition, state);
        change.election = Election::Preferred;
        change.build()
    };
    for_all(view, elect)
}

/// Gives leaderless partitions a leader from outside the ISR where the topic allows it.
pub(super) fn elect_uncleanly_where_allowed(view: View<'_>) -> Decision {
    let elect = |topic: &TopicImage, partition: i32| {
        let state = topic.partition(partition).filter(|state| state.leader == NO_LEADER)?;
        if !configs::unclean_election_enabled(view, &topic.name) {
            return None;
        }
        let mut change = PartitionChange::new(view, &topic.name, topic.id, partition, state);
        change.election = Election::Unclean;
        change.build()
    };
    for_all(view, elect)
}

fn for_all(view: View<'_>, elect: impl Fn(&TopicImage, i32) -> Option<Record>) -> Decision {
    let partitions = view
        .image
        .topics
        .iter()
        .flat_map(|topic| topic.partitions.keys().map(move |partition| (topic, *partition)));
    let records = partitions.filter_map(|(topic, partition)| elect(topic, partition));
    Decision { records: records.take(MAX_ELECTIONS_PER_ROUND).collect(), ..Decision::default() }
}
