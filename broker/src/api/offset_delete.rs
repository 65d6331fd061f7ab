//! OffsetDelete (key 47), version 0 (KIP-496).

use protocol::ErrorCode;
use protocol::messages::offset_delete_response::{OffsetDeleteResponsePartition, OffsetDeleteResponseTopic};
use protocol::messages::{OffsetDeleteRequest, OffsetDeleteResponse};

use crate::group::{ClientContext, GroupCoordinator, Reply};

/// Deletes committed offsets of topics that the group is not subscribed to.
pub(crate) fn handle(
    groups: &GroupCoordinator,
    _version: i16,
    _client: ClientContext<'_>,
    request: OffsetDeleteRequest,
) -> Reply<OffsetDeleteResponse> {
    let failed = |error: ErrorCode| OffsetDeleteResponse::default().with_error_code(error.code());
    if request.group_id.is_empty() {
        return Reply::ready(failed(ErrorCode::INVALID_GROUP_ID));
    }
    let mut known = Vec::new();
    let mut exists = Vec::new();
    for topic in &request.topics {
        let count = groups.topics().partition_count(&topic.name);
        for partition in &topic.partitions {
            let found = count.is_some_and(|count| (0..count).contains(&partition.partition_index));
            exists.push(found);
            if found {
                known.push((topic.name.as_str(), partition.partition_index));
            }
        }
    }
    let deleted = groups.delete_offsets(&request.group_id, &known);
    deleted.map(move |deleted| match deleted {
        Err(error) => OffsetDeleteResponse::default().with_error_code(error.code()),
        Ok(codes) => {
            let mut codes = codes.into_iter();
            let all = exists.iter().map(|exists| match exists {
                true => codes.next().unwrap_or(ErrorCode::UNKNOWN_SERVER_ERROR),
                false => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
            });
            response(&request, all)
        }
    })
}

/// One code per partition, in the request's order.
fn response(
    request: &OffsetDeleteRequest,
    mut codes: impl Iterator<Item = ErrorCode>,
) -> OffsetDeleteResponse {
    let named = request.topics.iter().filter(|topic| !topic.partitions.is_empty());
    let topics = named.map(|topic| {
        let partitions = topic.partitions.iter().zip(codes.by_ref()).map(|(partition, code)| {
            OffsetDeleteResponsePartition::default()
                .with_partition_index(partition.partition_index)
                .with_error_code(code.code())
        });
        let partitions = partitions.collect();
        OffsetDeleteResponseTopic::default().with_name(topic.name.clone()).with_partitions(partitions)
    });
    OffsetDeleteResponse::default().with_topics(topics.collect())
}
