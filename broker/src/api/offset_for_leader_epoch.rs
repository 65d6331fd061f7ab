//! OffsetForLeaderEpoch (key 23), versions 2-4: where the log of an epoch ends (KIP-101, KIP-320).

use std::sync::Arc;

use protocol::ErrorCode;
use protocol::messages::offset_for_leader_epoch_request::OffsetForLeaderPartition;
use protocol::messages::offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult};
use protocol::messages::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};

use crate::api::Client;
use crate::context::Context;

/// Answers for each partition; -1 and -1 stand for an epoch that the log does not know.
pub(crate) async fn handle(
    ctx: Arc<Context>,
    _client: Client,
    request: OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    let topics = request
        .topics
        .iter()
        .map(|topic| {
            let partitions = topic
                .partitions
                .iter()
                .map(|p| {
                    let answer = EpochEndOffset::default().with_partition(p.partition);
                    match find(&ctx, &topic.topic.0, p) {
                        Ok((epoch, end)) => answer.with_leader_epoch(epoch).with_end_offset(end),
                        Err(error) => answer.with_error_code(error.code()),
                    }
                })
                .collect();
            OffsetForLeaderTopicResult::default().with_topic(topic.topic.clone()).with_partitions(partitions)
        })
        .collect();
    OffsetForLeaderEpochResponse::default().with_topics(topics)
}

fn find(ctx: &Context, topic: &str, request: &OffsetForLeaderPartition) -> Result<(i32, i64), ErrorCode> {
    let partition = ctx.replicas.by_name(topic, request.partition)?;
    if partition.is_offline() {
        return Err(ErrorCode::KAFKA_STORAGE_ERROR);
    }
    let state = partition.lock();
    state.check_epoch(request.current_leader_epoch)?;
    if !state.is_leader() {
        return Err(ErrorCode::NOT_LEADER_OR_FOLLOWER);
    }
    Ok(state.log.end_offset_for_epoch(request.leader_epoch).unwrap_or((-1, -1)))
}
