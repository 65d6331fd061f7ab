//! Tells the controller in which directory each replica is, where it does not know (KIP-858): it leaves the choice
//! to a broker with several directories, and must know the outcome to take the right partitions offline when one fails.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use protocol::ErrorCode;
use protocol::messages::assign_replicas_to_dirs_request::{DirectoryData, PartitionData, TopicData};
use protocol::messages::{AssignReplicasToDirsRequest, BrokerId};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::context::Context;
use crate::controller_channel::{Origin, send};
use crate::replica::manager::DirAssignment;

/// Kafka's limit of replicas in one request (`AssignReplicasToDirsRequest.MAX_ASSIGNMENTS_PER_REQUEST`).
const MAX_PER_REQUEST: usize = 2250;
/// First pause before a request is sent again; doubles up to the second.
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(10);

/// Runs until cancelled. What waits is sent in one request.
pub(crate) async fn run(
    ctx: Arc<Context>,
    mut assignments: mpsc::UnboundedReceiver<DirAssignment>,
    cancel: CancellationToken,
) {
    let mut batch = Vec::new();
    loop {
        let sent = async {
            if assignments.recv_many(&mut batch, MAX_PER_REQUEST).await == 0 {
                std::future::pending::<()>().await;
            }
            let mut pause = RETRY_MIN;
            while let Err(error) = report(&ctx, &batch).await {
                tracing::debug!("the directories of {} replicas are reported again: {error}", batch.len());
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(RETRY_MAX);
            }
            batch.clear();
        };
        tokio::select! {
            () = cancel.cancelled() => return,
            () = sent => {}
        }
    }
}

/// One request, which the controller has answered when this is.
pub(crate) async fn report(ctx: &Context, batch: &[DirAssignment]) -> Result<(), String> {
    let client_id = ctx.config.node_id.to_string();
    let request = request(ctx.config.node_id, ctx.lifecycle.epoch(), batch);
    let sent = send(&*ctx.controller, Origin::Broker, 0, &client_id, &request);
    let (response, _) = sent.await.map_err(|e| e.to_string())?;
    match ErrorCode(response.error_code) {
        // A cluster of an old metadata version does not keep directories.
        ErrorCode::NONE | ErrorCode::UNSUPPORTED_VERSION => Ok(()),
        code => Err(code.name().to_owned()),
    }
}

fn request(node_id: i32, epoch: i64, batch: &[DirAssignment]) -> AssignReplicasToDirsRequest {
    let mut by_dir: BTreeMap<Uuid, BTreeMap<Uuid, Vec<PartitionData>>> = BTreeMap::new();
    for assignment in batch {
        let partitions = by_dir.entry(assignment.dir).or_default().entry(assignment.topic_id).or_default();
        partitions.push(PartitionData::default().with_partition_index(assignment.partition));
    }
    let topics = |topics: BTreeMap<Uuid, Vec<PartitionData>>| {
        let topic = |(id, partitions)| TopicData::default().with_topic_id(id).with_partitions(partitions);
        topics.into_iter().map(topic).collect()
    };
    let directory = |(id, found)| DirectoryData::default().with_id(id).with_topics(topics(found));
    AssignReplicasToDirsRequest::default()
        .with_broker_id(BrokerId(node_id))
        .with_broker_epoch(epoch)
        .with_directories(by_dir.into_iter().map(directory).collect())
}
