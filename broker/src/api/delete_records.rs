//! DeleteRecords (key 21), versions 0-2: raises the log start of partitions (KIP-107).

use std::sync::Arc;

use protocol::ErrorCode;
use protocol::messages::delete_records_response::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult};
use protocol::messages::{DeleteRecordsRequest, DeleteRecordsResponse};
use tokio::task::block_in_place;

use crate::api::Client;
use crate::context::Context;
use crate::metadata_cache::is_internal;

/// The offset that stands for the high watermark.
const HIGH_WATERMARK: i64 = -1;

/// Answers once every replica has the new log start; this node's is the only one while it does not replicate.
pub(crate) async fn handle(
    ctx: Arc<Context>,
    _client: Client,
    request: DeleteRecordsRequest,
) -> DeleteRecordsResponse {
    let mut response = DeleteRecordsResponse::default();
    for topic in request.topics {
        let mut result = DeleteRecordsTopicResult::default().with_name(topic.name.clone());
        for p in &topic.partitions {
            let deleted = block_in_place(|| delete(&ctx, &topic.name.0, p.partition_index, p.offset));
            let (error, low_watermark) = match deleted {
                Ok(low_watermark) => (ErrorCode::NONE, low_watermark),
                Err(error) => (error, -1),
            };
            result.partitions.push(
                DeleteRecordsPartitionResult::default()
                    .with_partition_index(p.partition_index)
                    .with_error_code(error.code())
                    .with_low_watermark(low_watermark),
            );
        }
        response.topics.push(result);
    }
    response
}

fn delete(ctx: &Context, topic: &str, index: i32, offset: i64) -> Result<i64, ErrorCode> {
    if is_internal(topic) {
        return Err(ErrorCode::INVALID_TOPIC_EXCEPTION);
    }
    let partition = ctx.replicas.by_name(topic, index)?;
    if partition.is_offline() {
        return Err(ErrorCode::KAFKA_STORAGE_ERROR);
    }
    let mut state = partition.lock();
    if !state.is_leader() {
        return Err(ErrorCode::NOT_LEADER_OR_FOLLOWER);
    }
    if !state.settings.log.cleanup_delete {
        return Err(ErrorCode::POLICY_VIOLATION);
    }
    let high_watermark = partition.high_watermark();
    let target = if offset == HIGH_WATERMARK { high_watermark } else { offset };
    if target < 0 || target > high_watermark {
        return Err(ErrorCode::OFFSET_OUT_OF_RANGE);
    }
    let advanced = state.log.advance_log_start(target);
    let low_watermark = state.log.log_start_offset();
    drop(state);
    match advanced {
        Ok(_) => {
            partition.waiters.wake_all();
            Ok(low_watermark)
        }
        Err(e) => Err(ctx.replicas.storage_failed(&partition, &e)),
    }
}
