//! DescribeProducers (key 61), version 0 (KIP-664): the producers that a partition's leader knows.

use std::sync::Arc;

use metadata::config::alter::validate_topic_name;
use protocol::messages::describe_producers_response::{PartitionResponse, ProducerState, TopicResponse};
use protocol::messages::{DescribeProducersRequest, DescribeProducersResponse, ProducerId};
use protocol::repeats::Repeats;
use protocol::{ErrorCode, StrBytes};

use crate::api::Client;
use crate::context::Context;

/// Lists the producers of each partition.
pub(crate) async fn handle(
    ctx: Arc<Context>,
    _client: Client,
    request: DescribeProducersRequest,
) -> DescribeProducersResponse {
    let image = ctx.metadata.image();
    let mut repeats = Repeats::new();
    let topics = request
        .topics
        .iter()
        .map(|topic| {
            let known = image.topics.by_name(&topic.name.0).is_some();
            let partitions = topic
                .partition_indexes
                .iter()
                .map(|index| {
                    let response = PartitionResponse::default().with_partition_index(*index);
                    if let Err(refused) = validate_topic_name(&topic.name.0) {
                        return response
                            .with_error_code(refused.code())
                            .with_error_message(Some(StrBytes::from_string(refused.to_string())));
                    }
                    if !repeats.allow((topic.name.as_str(), *index)) {
                        return response.with_error_code(ErrorCode::INVALID_REQUEST.code());
                    }
                    match producers(&ctx, &topic.name.0, *index) {
                        Ok(producers) => response.with_active_producers(producers),
                        // A topic that is not there at all is told with the error's own words.
                        Err(error) if !known => response
                            .with_error_code(error.code())
                            .with_error_message(Some(StrBytes::from_static_str(error.message()))),
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
