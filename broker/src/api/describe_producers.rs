//! DescribeProducers (key 61), version 0 (KIP-664): the producers that a partition's leader knows.

use std::sync::Arc;

use protocol::ErrorCode;
use protocol::messages::describe_producers_response::{PartitionResponse, ProducerState, TopicResponse};
use protocol::messages::{DescribeProducersRequest, DescribeProducersResponse, ProducerId};

use crate::api::Client;
use crate::context::Context;

/// Lists the producers of each partition.
pub(crate) async fn handle(
    ctx: Arc<Context>,
    _client: Client,
    request: DescribeProducersRequest,
) -> DescribeProducersResponse {
    let topics = request
        .topics
        .iter()
        .map(|topic| {
            let partitions = topic
                .partition_indexes
                .iter()
                .map(|index| {
                    let response = PartitionResponse::default().with_partition_index(*index);
                    match producers(&ctx, &topic.name.0, *index) {
                        Ok(producers) => response.with_active_producers(producers),
                        Err(error) => response.with_error_code(error.code()),
                    }
                })
                .collect();
            TopicResponse::default().with_name(topic.name.clone()).with_partitions(partitions)
        })
        .collect();
    DescribeProducersResponse::default().with_topics(topics)
}

fn producers(ctx: &Context, topic: &str, index: i32) -> Result<Vec<ProducerState>, ErrorCode> {
    let partition = ctx.replicas.by_name(topic, index)?;
    let state = partition.lock();
    if !state.is_leader() {
        return Err(ErrorCode::NOT_LEADER_OR_FOLLOWER);
    }
    let open = |offset: Option<i64>| offset.unwrap_or(-1);
    Ok(state
        .log
        .producers()
        .producers()
        .into_iter()
        .map(|(id, producer)| {
            ProducerState::default()
                .with_producer_id(ProducerId(id))
                .with_producer_epoch(i32::from(producer.producer_epoch))
                .with_last_sequence(producer.last_sequence())
                .with_last_timestamp(producer.last_timestamp)
                .with_coordinator_epoch(producer.coordinator_epoch)
                .with_current_txn_start_offset(open(producer.current_txn_first_offset))
        })
        .collect())
}
