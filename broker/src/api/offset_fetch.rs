//! OffsetFetch (key 9), versions 1-9.
//!
//! What was never committed has offset -1 and no error, also in a group that does not exist. v2 all topics (null) and
//! an error for the whole, v5 leader epoch (KIP-320), v7 stable offsets only (KIP-447), v8 several groups (KIP-709),
//! v9 member epochs (KIP-848; not checked for classic groups).

use protocol::ErrorCode;
use protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use protocol::messages::{OffsetFetchRequest, OffsetFetchResponse, TopicName};
use protocol::repeats::Repeats;

use crate::group::{ClientContext, FetchedOffset, FetchedTopics, GroupCoordinator, Reply, wire_text};

/// Tells the committed offsets of groups.
pub(crate) fn handle(
    groups: &GroupCoordinator,
    version: i16,
    _client: ClientContext<'_>,
    request: OffsetFetchRequest,
) -> Reply<OffsetFetchResponse> {
    if version >= 8 {
        return fetch_many(groups, request);
    }
    let asked: Option<Vec<(&str, &[i32])>> = request.topics.as_ref().map(|topics| {
        topics.iter().map(|topic| (topic.name.as_str(), topic.partition_indexes.as_slice())).collect()
    });
    let fetched = groups.fetch(&request.group_id, asked.as_deref(), request.require_stable);
    fetched.map(move |fetched| match fetched {
        Ok(topics) => OffsetFetchResponse::default().with_topics(topics.into_iter().map(old_topic).collect()),
        Err(error) if version >= 2 => OffsetFetchResponse::default().with_error_code(error.code()),
        Err(error) => OffsetFetchResponse::default().with_topics(old_errors(&request, error)),
    })
}

fn fetch_many(groups: &GroupCoordinator, request: OffsetFetchRequest) -> Reply<OffsetFetchResponse> {
    let mut repeats = Repeats::new();
    let fetches: Vec<Reply<OffsetFetchResponseGroup>> = request
        .groups
        .into_iter()
        .map(|group| {
            if !repeats.allow(group.group_id.clone()) {
                let refused = new_group(Err(ErrorCode::INVALID_REQUEST));
                return Reply::ready(refused.with_group_id(group.group_id));
            }
            let asked: Option<Vec<(&str, &[i32])>> = group.topics.as_ref().map(|topics| {
                topics.iter().map(|topic| (topic.name.as_str(), topic.partition_indexes.as_slice())).collect()
            });
            let fetched = groups.fetch(&group.group_id, asked.as_deref(), request.require_stable);
            fetched.map(move |fetched| new_group(fetched).with_group_id(group.group_id))
        })
        .collect();
    Reply::all(fetches).map(|groups| OffsetFetchResponse::default().with_groups(groups))
}

fn new_group(fetched: Result<FetchedTopics, ErrorCode>) -> OffsetFetchResponseGroup {
    match fetched {
        Err(error) => OffsetFetchResponseGroup::default().with_error_code(error.code()),
        Ok(topics) => {
            let topics = topics.into_iter().map(|(name, partitions)| {
                OffsetFetchResponseTopics::default()
                    .with_name(TopicName(wire_text(&name)))
                    .with_partitions(partitions.iter().map(new_partition).collect())
            });
            OffsetFetchResponseGroup::default().with_topics(topics.collect())
        }
    }
}

fn new_partition(fetched: &FetchedOffset) -> OffsetFetchResponsePartitions {
    OffsetFetchResponsePartitions::default()
        .with_partition_index(fetched.partition)
        .with_committed_offset(fetched.offset)
        .with_committed_leader_epoch(fetched.leader_epoch)
        .with_metadata(Some(wire_text(&fetched.metadata)))
        .with_error_code(fetched.error.code())
}

fn old_topic((name, partitions): (std::sync::Arc<str>, Vec<FetchedOffset>)) -> OffsetFetchResponseTopic {
    let partitions = partitions.iter().map(|fetched| {
        OffsetFetchResponsePartition::default()
            .with_partition_index(fetched.partition)
            .with_committed_offset(fetched.offset)
            .with_committed_leader_epoch(fetched.leader_epoch)
            .with_metadata(Some(wire_text(&fetched.metadata)))
            .with_error_code(fetched.error.code())
    });
    OffsetFetchResponseTopic::default()
        .with_name(TopicName(wire_text(&name)))
        .with_partitions(partitions.collect())
}

/// Version 1 has no place for the error but in each partition.
fn old_errors(request: &OffsetFetchRequest, error: ErrorCode) -> Vec<OffsetFetchResponseTopic> {
    let topics = request.topics.iter().flatten().map(|topic| {
        let partitions = topic.partition_indexes.iter().map(|partition| {
            OffsetFetchResponsePartition::default()
                .with_partition_index(*partition)
                .with_committed_offset(-1)
                .with_committed_leader_epoch(-1)
                .with_metadata(Some(wire_text("")))
                .with_error_code(error.code())
        });
        OffsetFetchResponseTopic::default()
            .with_name(topic.name.clone())
            .with_partitions(partitions.collect())
    });
    topics.collect()
}
