//! Fetch (key 1), versions 13-18, of the metadata log: how followers and observers replicate (KIP-595).
//!
//! - Only `__cluster_metadata` partition 0, by its topic id, so version 12 and below cannot ask for it.
//! - `PartitionMaxBytes` and `MinBytes` are ignored. The leader is named in every answer, errors included.
//! - v15: the replica in a field of its own. v16: the leader's endpoint. v17: directory id (KIP-853).
//! - v18: the replica's high watermark, so that a news of it ends a wait (KIP-1166).

use bytes::Bytes;
use metadata::directory::METADATA_TOPIC_ID;
use protocol::ErrorCode;
use protocol::messages::fetch_request::{FetchPartition, FetchTopic, ReplicaState};
use protocol::messages::fetch_response::{
    EpochEndOffset, FetchableTopicResponse, LeaderIdAndEpoch, NodeEndpoint, PartitionData, SnapshotId,
};
use protocol::messages::{BrokerId, FetchRequest, FetchResponse};
use protocol::request::RequestHeader;
use raft::message::{self, Request, Response};
use raft::{OffsetAndEpoch, ReplicaKey};

use super::raft::{ask, cluster_id, current_leader, leader_id, node_endpoints, text};
use super::{decode, encode};
use crate::handle::{Answer, ControllerHandle, InvalidRequest};

pub(super) async fn answer(
    controller: &ControllerHandle,
    listener: &str,
    header: &RequestHeader,
    body: Bytes,
) -> Result<Answer, InvalidRequest> {
    let version = header.api_version;
    let refuse = |code: ErrorCode| encode(header, &FetchResponse::default().with_error_code(code.code()));
    let Some(asked) = read_request(version, &decode(header, body)?) else {
        return refuse(ErrorCode::INVALID_REQUEST);
    };
    match ask(controller, listener, Request::Fetch(asked)).await {
        Ok(Response::Fetch(fetched)) => encode(header, &response(version, &fetched)),
        Ok(_) => refuse(ErrorCode::UNKNOWN_SERVER_ERROR),
        Err(code) => refuse(code),
    }
}

pub(super) fn read_request(version: i16, request: &FetchRequest) -> Option<message::FetchRequest> {
    let partition = match request.topics.as_slice() {
        [topic] if version >= 13 && topic.topic_id == METADATA_TOPIC_ID => {
            match topic.partitions.as_slice() {
                [partition] if partition.partition == 0 => partition,
                _ => return None,
            }
        }
        _ => return None,
    };
    let replica_id = if version >= 15 { request.replica_state.replica_id } else { request.replica_id };
    Some(message::FetchRequest {
        cluster_id: text(&request.cluster_id),
        replica: ReplicaKey::new(replica_id.0, partition.replica_directory_id),
        max_wait_ms: request.max_wait_ms,
        max_bytes: request.max_bytes,
        current_leader_epoch: partition.current_leader_epoch,
        fetch_offset: partition.fetch_offset,
        last_fetched_epoch: partition.last_fetched_epoch,
        high_watermark: if version >= 18 { partition.high_watermark } else { i64::MAX },
    })
}

pub(super) fn response(version: i16, fetched: &message::FetchResponse) -> FetchResponse {
    if fetched.top_level_error.is_error() {
        return FetchResponse::default().with_error_code(fetched.top_level_error.code());
    }
    let topic = FetchableTopicResponse::default()
        .with_topic_id(METADATA_TOPIC_ID)
        .with_partitions(vec![partition_data(fetched)]);
    FetchResponse::default().with_responses(vec![topic]).with_node_endpoints(node_endpoints!(
        NodeEndpoint,
        &fetched.leader,
        17,
        version
    ))
}

fn partition_data(fetched: &message::FetchResponse) -> PartitionData {
    let leader = LeaderIdAndEpoch::default()
        .with_leader_id(leader_id(&fetched.leader))
        .with_leader_epoch(fetched.leader.epoch);
    let mut data = PartitionData::default()
        .with_error_code(fetched.error.code())
        .with_high_watermark(fetched.high_watermark)
        .with_last_stable_offset(-1)
        .with_log_start_offset(fetched.log_start_offset)
        .with_current_leader(leader)
        .with_aborted_transactions(Some(Vec::new()))
        .with_records(Some(fetched.records.clone()));
    if let Some(end) = fetched.diverging_epoch {
        data.diverging_epoch = EpochEndOffset::default().with_epoch(end.epoch).with_end_offset(end.offset);
    }
    if let Some(id) = fetched.snapshot_id {
        data.snapshot_id = SnapshotId::default().with_epoch(id.epoch).with_end_offset(id.offset);
    }
    data
}

/// The request as this node sends it, from version 13 on; what Apache Kafka leaves at zero is zero here too.
pub(crate) fn request(version: i16, asked: &message::FetchRequest) -> FetchRequest {
    let mut partition = FetchPartition::default()
        .with_partition(0)
        .with_current_leader_epoch(asked.current_leader_epoch)
        .with_fetch_offset(asked.fetch_offset)
        .with_last_fetched_epoch(asked.last_fetched_epoch);
    if version >= 17 {
        partition.replica_directory_id = asked.replica.directory_or_zero();
    }
    if version >= 18 {
        partition.high_watermark = asked.high_watermark;
    }
    let topic = FetchTopic::default().with_topic_id(METADATA_TOPIC_ID).with_partitions(vec![partition]);
    let mut request = FetchRequest::default()
        .with_cluster_id(cluster_id(&asked.cluster_id))
        .with_max_wait_ms(asked.max_wait_ms)
        .with_max_bytes(asked.max_bytes)
        .with_session_id(0)
        .with_session_epoch(-1)
        .with_topics(vec![topic]);
    let replica_id = BrokerId(asked.replica.id);
    if version >= 15 {
        request.replica_state = ReplicaState::default().with_replica_id(replica_id).with_replica_epoch(-1);
    } else {
        request.replica_id = replica_id;
    }
    request
}

/// What an answer says; nothing if it is not about the metadata partition.
pub(crate) fn read_response(listener: &str, answer: &FetchResponse) -> Option<message::FetchResponse> {
    let top_level_error = ErrorCode(answer.error_code);
    let mut fetched = message::FetchResponse {
        top_level_error,
        error: ErrorCode::NONE,
        leader: message::CurrentLeader::default(),
        high_watermark: -1,
        log_start_offset: -1,
        diverging_epoch: None,
        snapshot_id: None,
        records: Bytes::new(),
    };
    if top_level_error.is_error() {
        return Some(fetched);
    }
    let partition = match answer.responses.as_slice() {
        [topic] if topic.topic_id == METADATA_TOPIC_ID => match topic.partitions.as_slice() {
            [partition] if partition.partition_index == 0 => partition,
            _ => return None,
        },
        _ => return None,
    };
    let leader = &partition.current_leader;
    fetched.error = ErrorCode(partition.error_code);
    fetched.leader = current_leader!(listener, leader.leader_id, leader.leader_epoch, answer.node_endpoints);
    fetched.high_watermark = partition.high_watermark;
    fetched.log_start_offset = partition.log_start_offset;
    let (diverging, snapshot) = (&partition.diverging_epoch, &partition.snapshot_id);
    fetched.diverging_epoch = (diverging.end_offset >= 0)
        .then_some(OffsetAndEpoch { offset: diverging.end_offset, epoch: diverging.epoch });
    fetched.snapshot_id = (snapshot.end_offset >= 0)
        .then_some(OffsetAndEpoch { offset: snapshot.end_offset, epoch: snapshot.epoch });
    fetched.records = partition.records.clone().unwrap_or_default();
    Some(fetched)
}
