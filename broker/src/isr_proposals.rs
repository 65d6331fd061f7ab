//! Takes new in-sync sets of led partitions to the controller (AlterPartition) and its answers back.
//!
//! One request is on its way at a time; what is proposed meanwhile goes with the next. A proposal is void when the
//! partition changed under it. Source: Kafka's `AlterPartitionManager`, `Partition.handleAlterPartitionError`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use metadata::partition::LeaderRecoveryState;
use protocol::ErrorCode;
use protocol::messages::alter_partition_request::{BrokerState, PartitionData, TopicData};
use protocol::messages::alter_partition_response::PartitionData as PartitionAnswer;
use protocol::messages::{AlterPartitionRequest, BrokerId};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::clock;
use crate::context::Context;
use crate::controller_channel::{Origin, send};
use crate::maintenance::{blocking, millis};
use crate::replica::log::ReplicaLog;
use crate::replica::partition::{CommittedIsr, IsrProposal};

/// Partitions in one request.
const MAX_PER_REQUEST: usize = 2000;
/// Version of AlterPartition that is sent: broker epochs with every member of the ISR.
const VERSION: i16 = 3;
/// Pause before a request is sent again.
const RETRY: Duration = Duration::from_millis(50);

/// Looks for followers that lag, in `replica.lag.time.max.ms`.
const LOOKS_PER_LAG: i64 = 4;

/// Runs until cancelled.
pub(crate) async fn run(
    ctx: Arc<Context>,
    mut proposals: mpsc::UnboundedReceiver<IsrProposal>,
    cancel: CancellationToken,
) {
    let mut batch = Vec::new();
    loop {
        let sent = async {
            if batch.is_empty() && proposals.recv_many(&mut batch, MAX_PER_REQUEST).await == 0 {
                std::future::pending::<()>().await;
            }
            if let Err(why) = propose(&ctx, &mut batch).await {
                tracing::debug!("{} in-sync sets are proposed again: {why}", batch.len());
                tokio::time::sleep(RETRY).await;
            }
        };
        tokio::select! {
            () = cancel.cancelled() => return,
            () = sent => {}
        }
    }
}

/// Looks for followers that lag, four times in `replica.lag.time.max.ms`; until cancelled. Kafka looks twice: a write that
/// waits for a follower which hangs waits half of that longer there.
pub(crate) async fn watch_lag(ctx: Arc<Context>, cancel: CancellationToken) {
    loop {
        let period = millis(ctx.settings().replica_lag_time_max_ms / LOOKS_PER_LAG);
        tokio::select! {
            () = cancel.cancelled() => return,
            () = tokio::time::sleep(period) => {}
        }
        let replicas = ctx.replicas.clone();
        let shrunk = blocking(move || {
            let now_ms = clock::now_ms();
            replicas.all().iter().filter_map(|partition| partition.shrink_isr(now_ms)).collect::<Vec<_>>()
        });
        for proposal in shrunk.await {
            tracing::info!("{}: shrinking the ISR to {:?}", proposal.partition.name, proposal.isr);
            ctx.replicas.propose_isr(proposal);
        }
    }
}

/// Sends the batch; leaves in it what has to be sent again.
async fn propose(ctx: &Context, batch: &mut Vec<IsrProposal>) -> Result<(), String> {
    let request = request(ctx.config.node_id, ctx.lifecycle.epoch(), batch);
    let client_id = ctx.config.node_id.to_string();
    let sent = send(&*ctx.controller, Origin::Broker, VERSION, &client_id, &request);
    let (response, _) = sent.await.map_err(|e| e.to_string())?;
    let code = ErrorCode(response.error_code);
    if code.is_error() {
        // STALE_BROKER_EPOCH too: the new registration brings a new epoch.
        return Err(code.name().to_owned());
    }
    let answers: BTreeMap<(Uuid, i32), &PartitionAnswer> = response
        .topics
        .iter()
        .flat_map(|topic| topic.partitions.iter().map(|p| ((topic.topic_id, p.partition_index), p)))
        .collect();
    batch.retain(|proposal| {
        let key = (proposal.partition.topic_id, proposal.partition.name.partition);
        answers.get(&key).is_none_or(|answer| !settle(proposal, answer))
    });
    if batch.is_empty() { Ok(()) } else { Err("not answered for all partitions".to_owned()) }
}

/// Hands an answer to its partition; false if the proposal has to be sent again.
pub(crate) fn settle<L: ReplicaLog>(proposal: &IsrProposal<L>, answer: &PartitionAnswer) -> bool {
    let (partition, epoch) = (&proposal.partition, proposal.leader_epoch);
    match ErrorCode(answer.error_code) {
        ErrorCode::NONE => {
            let committed = CommittedIsr {
                isr: answer.isr.iter().map(|id| id.0).collect(),
                partition_epoch: answer.partition_epoch,
            };
            partition.isr_answered(epoch, proposal.partition_epoch, Some(committed));
            true
        }
        // It came to nothing: the committed set stands, and the follower may earn its place again.
        ErrorCode::OPERATION_NOT_ATTEMPTED | ErrorCode::INELIGIBLE_REPLICA => {
            partition.isr_answered(epoch, proposal.partition_epoch, None);
            true
        }
        // The partition changed meanwhile: the metadata that says how is on its way, and voids the proposal.
        code @ (ErrorCode::FENCED_LEADER_EPOCH
        | ErrorCode::INVALID_UPDATE_VERSION
        | ErrorCode::INVALID_REQUEST
        | ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
        | ErrorCode::UNKNOWN_TOPIC_ID
        | ErrorCode::NEW_LEADER_ELECTED) => {
            tracing::info!("{}: the new ISR is refused: {}", partition.name, code.name());
            true
        }
        _ => !proposal.is_current(),
    }
}

pub(crate) fn request<L>(
    node_id: i32,
    epoch_of_broker: i64,
    batch: &[IsrProposal<L>],
) -> AlterPartitionRequest {
    let mut topics: BTreeMap<Uuid, Vec<PartitionData>> = BTreeMap::new();
    for proposal in batch {
        let isr = proposal.isr.iter().map(|(id, epoch)| {
            // Its own epoch is this broker's.
            let broker_epoch = if *id == node_id { epoch_of_broker } else { *epoch };
            BrokerState::default().with_broker_id(BrokerId(*id)).with_broker_epoch(broker_epoch)
        });
        let data = PartitionData::default()
            .with_partition_index(proposal.partition.name.partition)
            .with_leader_epoch(proposal.leader_epoch)
            .with_new_isr_with_epochs(isr.collect())
            // As in Kafka: a leader chosen outside the ISR has nothing to recover, and says so with its first change.
            .with_leader_recovery_state(LeaderRecoveryState::Recovered.code())
            .with_partition_epoch(proposal.partition_epoch);
        topics.entry(proposal.partition.topic_id).or_default().push(data);
    }
    let topic = |(id, partitions)| TopicData::default().with_topic_id(id).with_partitions(partitions);
    AlterPartitionRequest::default()
        .with_broker_id(BrokerId(node_id))
        .with_broker_epoch(epoch_of_broker)
        .with_topics(topics.into_iter().map(topic).collect())
}
