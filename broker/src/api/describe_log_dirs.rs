//! DescribeLogDirs (key 35), versions 1-4: v3 top-level error, v4 volume sizes (KIP-827).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use protocol::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use protocol::messages::{DescribeLogDirsRequest, DescribeLogDirsResponse, TopicName};
use protocol::{ErrorCode, StrBytes};

use crate::api::Client;
use crate::context::Context;
use crate::replica::manager::DirState;
use crate::replica::moves::Move;
use crate::replica::partition::Partition;

/// Sizes by directory and partition.
pub(crate) async fn handle(
    ctx: Arc<Context>,
    client: Client,
    request: DescribeLogDirsRequest,
) -> DescribeLogDirsResponse {
    let wanted: Option<HashMap<String, HashSet<i32>>> = request.topics.map(|topics| {
        topics.into_iter().map(|t| (t.topic.0.to_string(), t.partitions.into_iter().collect())).collect()
    });
    let is_wanted = |p: &Partition| match &wanted {
        None => true,
        Some(topics) => topics.get(&*p.name.topic).is_some_and(|ids| ids.contains(&p.name.partition)),
    };
    // Each is in one directory at this moment.
    let partitions: Vec<_> = ctx.replicas.all().into_iter().map(|p| (p.log_dir(), p)).collect();
    let moves = ctx.replicas.moves();
    let results = ctx
        .replicas
        .dirs()
        .iter()
        .enumerate()
        .map(|(at, dir)| {
            let coming = moves.iter().filter(|m| m.to == at && is_wanted(&m.partition));
            let here = partitions.iter().filter(|(home, p)| *home == at && is_wanted(p)).map(|(_, p)| p);
            describe(dir, here, coming, client.version)
        })
        .collect();
    DescribeLogDirsResponse::default().with_results(results)
}

fn describe<'a>(
    dir: &DirState,
    partitions: impl Iterator<Item = &'a Arc<Partition>>,
    coming: impl Iterator<Item = &'a Arc<Move>>,
    version: i16,
) -> DescribeLogDirsResult {
    let result = DescribeLogDirsResult::default().with_log_dir(StrBytes::from_string(dir.absolute_path()));
    if dir.is_offline() {
        return result.with_error_code(ErrorCode::KAFKA_STORAGE_ERROR.code());
    }
    let mut topics: HashMap<Arc<str>, Vec<DescribeLogDirsPartition>> = HashMap::new();
    for partition in partitions {
        let size = partition.lock().log.size();
        topics.entry(partition.name.topic.clone()).or_default().push(
            DescribeLogDirsPartition::default()
                .with_partition_index(partition.name.partition)
                .with_partition_size(i64::try_from(size).unwrap_or(i64::MAX)),
        );
    }
    for moving in coming {
        let (size, end) = moving.size_and_end();
        let log_end = moving.partition.lock().log.log_end_offset();
        topics.entry(moving.partition.name.topic.clone()).or_default().push(
            DescribeLogDirsPartition::default()
                .with_partition_index(moving.partition.name.partition)
                .with_partition_size(i64::try_from(size).unwrap_or(i64::MAX))
                .with_offset_lag((log_end - end).max(0))
                .with_is_future_key(true),
        );
    }
    let result = result.with_topics(
        topics
            .into_iter()
            .map(|(name, partitions)| {
                DescribeLogDirsTopic::default()
                    .with_name(TopicName(StrBytes::from_string(name.to_string())))
                    .with_partitions(partitions)
            })
            .collect(),
    );
    match dir.volume_bytes() {
        Some((total, usable)) if version >= 4 => result.with_total_bytes(total).with_usable_bytes(usable),
        _ => result,
    }
}
