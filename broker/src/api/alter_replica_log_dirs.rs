//! AlterReplicaLogDirs (key 34), versions 1-2: v2 flexible (KIP-113).
//!
//! - A replica that is in the directory already: done.
//! - One that is in another directory is moved in the background (`log_dir_moves.rs`); DescribeLogDirs shows how far.
//! - One that is not here yet will be made there: REPLICA_NOT_AVAILABLE, as Kafka's clients expect.

use std::sync::Arc;

use protocol::ErrorCode;
use protocol::messages::alter_replica_log_dirs_response::{
    AlterReplicaLogDirPartitionResult, AlterReplicaLogDirTopicResult,
};
use protocol::messages::{AlterReplicaLogDirsRequest, AlterReplicaLogDirsResponse};

use tokio::task::block_in_place;

use crate::api::Client;
use crate::context::Context;

/// The longest name of a folder on Linux, and what `.<32 digits>-future` and `-<partition>` add to a topic's name.
const MAX_FOLDER_NAME: usize = 255;
const FUTURE_SUFFIX: usize = 1 + 32 + "-future".len();

/// Answers for each partition in the order of the request.
pub(crate) async fn handle(
    ctx: Arc<Context>,
    _client: Client,
    request: AlterReplicaLogDirsRequest,
) -> AlterReplicaLogDirsResponse {
    let mut results: Vec<AlterReplicaLogDirTopicResult> = Vec::new();
    for dir in &request.dirs {
        for topic in &dir.topics {
            let partitions = topic.partitions.iter().map(|partition| {
                let result = block_in_place(|| place(&ctx, &dir.path, &topic.name, *partition));
                AlterReplicaLogDirPartitionResult::default()
                    .with_partition_index(*partition)
                    .with_error_code(result.err().unwrap_or(ErrorCode::NONE).code())
            });
            let partitions: Vec<_> = partitions.collect();
            match results.iter_mut().find(|result| result.topic_name == topic.name) {
                Some(result) => result.partitions.extend(partitions),
                None => results.push(
                    AlterReplicaLogDirTopicResult::default()
                        .with_topic_name(topic.name.clone())
                        .with_partitions(partitions),
                ),
            }
        }
    }
    AlterReplicaLogDirsResponse::default().with_results(results)
}

fn place(ctx: &Context, path: &str, topic: &str, partition: i32) -> Result<(), ErrorCode> {
    if topic.len() + 1 + partition.to_string().len() + FUTURE_SUFFIX > MAX_FOLDER_NAME {
        return Err(ErrorCode::INVALID_TOPIC_EXCEPTION);
    }
    let dirs = ctx.replicas.dirs();
    let at = dirs.iter().position(|dir| dir.absolute_path() == path).ok_or(ErrorCode::LOG_DIR_NOT_FOUND)?;
    if dirs[at].is_offline() {
        return Err(ErrorCode::KAFKA_STORAGE_ERROR);
    }
    let hosted = ctx.replicas.by_name(topic, partition).map_err(|code| match code {
        // Kafka's code of old: clients of this API know it.
        ErrorCode::NOT_LEADER_OR_FOLLOWER => {
            ctx.replicas.prefer_dir(topic, partition, at);
            ErrorCode::REPLICA_NOT_AVAILABLE
        }
        _ => code,
    })?;
    if hosted.is_offline() {
        return Err(ErrorCode::KAFKA_STORAGE_ERROR);
    }
    match ctx.replicas.begin_move(&hosted, at) {
        Ok(()) => Ok(()),
        Err(error) => {
            ctx.replicas.dir_failed(at, &error);
            Err(ErrorCode::KAFKA_STORAGE_ERROR)
        }
    }
}
