//! AlterPartition: a leader proposes a new ISR.

use metadata::image::TopicImage;
use metadata::partition::{LeaderRecoveryState, NO_LEADER_CHANGE, PartitionRegistration};
use protocol::ErrorCode;
use protocol::messages::alter_partition_request::{BrokerState, PartitionData};
use protocol::messages::alter_partition_response::{PartitionData as PartitionResult, TopicData};
use protocol::messages::{AlterPartitionRequest, AlterPartitionResponse, BrokerId};
use protocol::records::Record;

use super::View;
use super::configs;
use super::partition_change::{Election, PartitionChange};
use crate::event::Decision;

pub(super) fn alter(view: View<'_>, version: i16, request: &AlterPartitionRequest) -> Decision {
    let broker = request.broker_id.0;
    if let Err(error) = view.broker_with_epoch(broker, request.broker_epoch) {
        return Decision::reply(AlterPartitionResponse::default().with_error_code(error.code()));
    }
    let mut records = Vec::new();
    let mut response = AlterPartitionResponse::default();
    for topic in &request.topics {
        let image = view.image.topics.by_id(topic.topic_id);
        let partitions = topic.partitions.iter().map(|partition| {
            let result = match image {
                None => Err(ErrorCode::UNKNOWN_TOPIC_ID),
                Some(image) => alter_one(view, broker, version, image, partition, &mut records),
            };
            let index = partition.partition_index;
            result
                .unwrap_or_else(|code| PartitionResult::default().with_error_code(code.code()))
                .with_partition_index(index)
        });
        let partitions = partitions.collect();
        response.topics.push(TopicData::default().with_topic_id(topic.topic_id).with_partitions(partitions));
    }
    Decision::write(records, response)
}

fn alter_one(
    view: View<'_>,
    broker: i32,
    version: i16,
    topic: &TopicImage,
    request: &PartitionData,
    records: &mut Vec<Record>,
) -> Result<PartitionResult, ErrorCode> {
    let id = request.partition_index;
    let partition = topic.partition(id).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
    let isr = proposed_isr(version, request);
    let recovery = validate(view, broker, partition, request, &isr)?;
    let mut change = PartitionChange::new(view, &topic.name, topic.id, id, partition);
    if configs::unclean_election_enabled(view, &topic.name) {
        change.election = Election::Unclean;
    }
    change.isr = isr.iter().map(|state| state.broker_id.0).collect();
    change.recovery = recovery;
    let mut after = partition.clone();
    if let Some(record) = change.build() {
        if let Record::PartitionChange(change) = &record {
            after = partition.merge(change).map_err(|_| ErrorCode::UNKNOWN_SERVER_ERROR)?;
            let moved = change.leader != NO_LEADER_CHANGE && change.leader != broker;
            if moved {
                // The change completed a reassignment that took the leadership away. It is written all the same.
                records.push(record);
                return Err(ErrorCode::NEW_LEADER_ELECTED);
            }
        }
        records.push(record);
    }
    Ok(PartitionResult::default()
        .with_leader_id(BrokerId(after.leader))
        .with_isr(after.isr.iter().map(|id| BrokerId(*id)).collect())
        .with_leader_recovery_state(after.leader_recovery_state.code())
        .with_leader_epoch(after.leader_epoch)
        .with_partition_epoch(after.partition_epoch))
}

fn proposed_isr(version: i16, request: &PartitionData) -> Vec<BrokerState> {
    if version >= 3 {
        return request.new_isr_with_epochs.clone();
    }
    let states =
        request.new_isr.iter().map(|id| BrokerState::default().with_broker_id(*id).with_broker_epoch(-1));
    states.collect()
}

fn validate(
    view: View<'_>,
    broker: i32,
    partition: &PartitionRegistration,
    request: &PartitionData,
    isr: &[BrokerState],
) -> Result<LeaderRecoveryState, ErrorCode> {
    if request.leader_epoch > partition.leader_epoch || request.partition_epoch > partition.partition_epoch {
        // The leader knows more than this node: there must be another controller.
        return Err(ErrorCode::NOT_CONTROLLER);
    }
    let is_stale = request.leader_epoch < partition.leader_epoch;
    #[cfg(feature = "planted-bugs")]
    let is_stale = is_stale && !planted::is(planted::Bug::StaleAlterPartition);
    if is_stale {
        return Err(ErrorCode::FENCED_LEADER_EPOCH);
    }
    if broker != partition.leader {
        return Err(ErrorCode::INVALID_REQUEST);
    }
    let is_stale = request.partition_epoch < partition.partition_epoch;
    #[cfg(feature = "planted-bugs")]
    let is_stale = is_stale && !planted::is(planted::Bug::StaleAlterPartition);
    if is_stale {
        return Err(ErrorCode::INVALID_UPDATE_VERSION);
    }
    let mut ids: Vec<i32> = isr.iter().map(|state| state.broker_id.0).collect();
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    let is_subset = ids.iter().all(|id| partition.replicas.contains(id));
    if ids.is_empty() || ids.len() != count || !is_subset || !ids.contains(&partition.leader) {
        return Err(ErrorCode::INVALID_REQUEST);
    }
    let recovery = LeaderRecoveryState::from_code(request.leader_recovery_state);
    let recovery = recovery.ok_or(ErrorCode::INVALID_REQUEST)?;
    let recovering = recovery == LeaderRecoveryState::Recovering;
    if recovering && (count > 1 || partition.leader_recovery_state == LeaderRecoveryState::Recovered) {
        return Err(ErrorCode::INVALID_REQUEST);
    }
    let is_eligible = |state: &BrokerState| {
        let registration = view.image.cluster.broker(state.broker_id.0);
        registration.is_some_and(|known| {
            let is_this_life = state.broker_epoch == -1 || state.broker_epoch == known.epoch;
            known.is_active() && is_this_life
        })
    };
    if !isr.iter().all(is_eligible) {
        return Err(ErrorCode::INELIGIBLE_REPLICA);
    }
    Ok(recovery)
}
