//! DescribeTopicPartitions (key 75), version 0 (KIP-966): Metadata in pages, with eligible leader replicas.

use std::sync::Arc;

use metadata::image::{MetadataImage, TopicImage};
use protocol::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use protocol::messages::{
    BrokerId, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, TopicName,
};
use protocol::{ErrorCode, StrBytes};

use crate::api::Client;
use crate::api::metadata::{NO_AUTHORIZED_OPERATIONS, TOPIC_OPERATIONS};
use crate::auto_topics;
use crate::context::Context;
use crate::metadata_cache::is_internal;

/// Answers one page.
pub(crate) async fn handle(
    ctx: Arc<Context>,
    _client: Client,
    request: DescribeTopicPartitionsRequest,
) -> DescribeTopicPartitionsResponse {
    if let Some(refused) = refuse_cursor(&request) {
        return refused;
    }
    let image = ctx.metadata.image();
    let mut names: Vec<StrBytes> = if request.topics.is_empty() {
        image.topics.iter().map(|t| t.name.clone()).collect()
    } else {
        request.topics.iter().map(|t| t.name.0.clone()).collect()
    };
    names.sort();
    names.dedup();
    let (from_topic, from_partition) = match &request.cursor {
        Some(cursor) => (Some(cursor.topic_name.0.clone()), cursor.partition_index.max(0)),
        None => (None, 0),
    };
    let limit = ctx.settings().max_request_partition_size_limit.max(1);
    let mut left = request.response_partition_limit.clamp(1, limit);
    let mut response = DescribeTopicPartitionsResponse::default();
    for name in names {
        if from_topic.as_ref().is_some_and(|from| name < *from) {
            continue;
        }
        let first = if Some(&name) == from_topic.as_ref() { from_partition } else { 0 };
        if left == 0 {
            response.next_cursor =
                Some(Cursor::default().with_topic_name(TopicName(name)).with_partition_index(first));
            break;
        }
        let Some(topic) = image.topics.by_name(&name) else {
            response.topics.push(missing(name));
            continue;
        };
        let (page, next) = describe(&ctx, &image, topic, first, &mut left);
        response.topics.push(page);
        if let Some(next) = next {
            response.next_cursor =
                Some(Cursor::default().with_topic_name(TopicName(name)).with_partition_index(next));
            break;
        }
    }
    response
}

/// A cursor names one of the topics that are asked for, and a partition that can be.
fn refuse_cursor(request: &DescribeTopicPartitionsRequest) -> Option<DescribeTopicPartitionsResponse> {
    let cursor = request.cursor.as_ref()?;
    let asked = request.topics.is_empty() || request.topics.iter().any(|t| t.name == cursor.topic_name);
    if asked && cursor.partition_index >= 0 {
        return None;
    }
    let refused = request.topics.iter().map(|topic| {
        DescribeTopicPartitionsResponseTopic::default()
            .with_error_code(ErrorCode::INVALID_REQUEST.code())
            .with_name(Some(topic.name.clone()))
            .with_topic_authorized_operations(NO_AUTHORIZED_OPERATIONS)
    });
    Some(DescribeTopicPartitionsResponse::default().with_topics(refused.collect()))
}

fn missing(name: StrBytes) -> DescribeTopicPartitionsResponseTopic {
    let error = if auto_topics::is_valid_name(&name) {
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
    } else {
        ErrorCode::INVALID_TOPIC_EXCEPTION
    };
    DescribeTopicPartitionsResponseTopic::default()
        .with_error_code(error.code())
        .with_is_internal(is_internal(&name))
        .with_name(Some(TopicName(name)))
        .with_topic_authorized_operations(TOPIC_OPERATIONS)
}

/// One topic from partition `first` on, and the partition that the page has no room for.
fn describe(
    ctx: &Context,
    image: &MetadataImage,
    topic: &TopicImage,
    first: i32,
    left: &mut i32,
) -> (DescribeTopicPartitionsResponseTopic, Option<i32>) {
    let ids = |ids: &[i32]| ids.iter().copied().map(BrokerId).collect::<Vec<_>>();
    let mut partitions = Vec::new();
    let mut next = None;
    for (index, p) in topic.partitions.range(first..) {
        if *left == 0 {
            next = Some(*index);
            break;
        }
        *left -= 1;
        let live = image.cluster.broker(p.leader).is_some_and(|b| !b.fenced);
        let error = if live { ErrorCode::NONE } else { ErrorCode::LEADER_NOT_AVAILABLE };
        partitions.push(
            DescribeTopicPartitionsResponsePartition::default()
                .with_error_code(error.code())
                .with_partition_index(*index)
                .with_leader_id(BrokerId(if live { p.leader } else { -1 }))
                .with_leader_epoch(p.leader_epoch)
                .with_replica_nodes(ids(&p.replicas))
                .with_isr_nodes(ids(&p.isr))
                .with_eligible_leader_replicas(Some(ids(&p.elr)))
                .with_last_known_elr(Some(ids(&p.last_known_elr)))
                .with_offline_replicas(ids(&ctx.offline_replicas(image, topic, p))),
        );
    }
    let page = DescribeTopicPartitionsResponseTopic::default()
        .with_name(Some(TopicName(topic.name.clone())))
        .with_topic_id(topic.id)
        .with_is_internal(is_internal(&topic.name))
        .with_partitions(partitions)
        .with_topic_authorized_operations(TOPIC_OPERATIONS);
    (page, next)
}
