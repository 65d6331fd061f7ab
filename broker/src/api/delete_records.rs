//! DeleteRecords (key 21), versions 0-2: raises the log start of partitions (KIP-107).

use std::sync::Arc;

use protocol::ErrorCode;
use protocol::messages::delete_records_response::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult};
use protocol::messages::{DeleteRecordsRequest, DeleteRecordsResponse};
use tokio::task::block_in_place;
use tokio::time::Instant;

use crate::api::Client;
use crate::context::Context;
use crate::metadata_cache::is_internal;
use crate::replica::partition::{Partition, Role};
use crate::replica::waiters::Wait;

/// The offset that stands for the high watermark.
const HIGH_WATERMARK: i64 = -1;
/// The low watermark beside an error (`DeleteRecordsResponse.INVALID_LOW_WATERMARK`).
const INVALID_LOW_WATERMARK: i64 = -1;

/// What became of one partition of the request.
enum Deletion {
    /// Here; the other replicas have to follow.
    Begun(Arc<Partition>, i64),
    Done(Result<i64, ErrorCode>),
}

/// Answers once every replica that lives has the new log start, or after the timeout of the request.
pub(crate) async fn handle(
    ctx: Arc<Context>,
    _client: Client,
    request: DeleteRecordsRequest,
) -> DeleteRecordsResponse {
    let deadline = Instant::now() + crate::maintenance::millis(i64::from(request.timeout_ms));
    let mut deletions = Vec::new();
    for topic in &request.topics {
        for p in &topic.partitions {
            let deleted = block_in_place(|| delete(&ctx, &topic.name.0, p.partition_index, p.offset));
            deletions.push(
                deleted.map_or_else(|error| Deletion::Done(Err(error)), |(p, at)| Deletion::Begun(p, at)),
            );
        }
    }
    wait_for_replicas(&ctx, &mut deletions, deadline).await;
    let mut deletions = deletions.into_iter();
    let mut response = DeleteRecordsResponse::default();
    for topic in request.topics {
        let mut result = DeleteRecordsTopicResult::default().with_name(topic.name.clone());
        for (p, deletion) in topic.partitions.iter().zip(&mut deletions) {
            let (error, low_watermark) = match deletion {
                Deletion::Done(Ok(low_watermark)) => (ErrorCode::NONE, low_watermark),
                Deletion::Done(Err(error)) => (error, INVALID_LOW_WATERMARK),
                Deletion::Begun(partition, _) => (
                    ErrorCode::REQUEST_TIMED_OUT,
                    low_watermark(&ctx, &partition).unwrap_or(INVALID_LOW_WATERMARK),
                ),
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

/// Until nothing is left that was only begun, or the time is over.
async fn wait_for_replicas(ctx: &Context, deletions: &mut [Deletion], deadline: Instant) {
    let wait = Wait::for_offsets();
    let mut metadata = ctx.metadata.changed();
    let begun = deletions.iter().filter_map(|deletion| match deletion {
        Deletion::Begun(partition, _) => Some(partition.waiters.add_deletion(&wait)),
        Deletion::Done(_) => None,
    });
    let _places: Vec<_> = begun.collect();
    loop {
        for deletion in deletions.iter_mut() {
            let Deletion::Begun(partition, target) = deletion else { continue };
            match low_watermark(ctx, partition) {
                Ok(low) if low < *target => {}
                ended => *deletion = Deletion::Done(ended),
            }
        }
        if deletions.iter().all(|deletion| matches!(deletion, Deletion::Done(_))) {
            return;
        }
        tokio::select! {
            () = wait.woken() => {}
            // A replica that dies is not waited for.
            _ = metadata.changed() => {}
            () = tokio::time::sleep_until(deadline) => return,
        }
    }
}

fn low_watermark(ctx: &Context, partition: &Partition) -> Result<i64, ErrorCode> {
    if partition.is_offline() {
        return Err(ErrorCode::KAFKA_STORAGE_ERROR);
    }
    let image = ctx.metadata.image();
    let is_alive = |id| image.cluster.broker(id).is_some_and(|broker| !broker.fenced);
    let state = partition.lock();
    match &state.role {
        Role::Leader(leadership) => Ok(leadership.low_watermark(state.log.log_start_offset(), is_alive)),
        _ => Err(ErrorCode::NOT_LEADER_OR_FOLLOWER),
    }
}

/// Removes records here; gives the partition and the offset that the others must reach.
fn delete(ctx: &Context, topic: &str, index: i32, offset: i64) -> Result<(Arc<Partition>, i64), ErrorCode> {
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
    drop(state);
    match advanced {
        Ok(_) => {
            partition.waiters.wake_all();
            partition.waiters.tell_followers();
            Ok((partition, target))
        }
        Err(e) => Err(ctx.replicas.storage_failed(&partition, &e)),
    }
}
