//! FetchSnapshot (key 59), versions 0-1: a piece of a snapshot of the metadata log (KIP-630).
//!
//! - v1: directory id and the leader's endpoint (KIP-853).

use bytes::Bytes;
use protocol::ErrorCode;
use protocol::messages::fetch_snapshot_request::{
    PartitionSnapshot as AskedPartition, SnapshotId as AskedId, TopicSnapshot as AskedTopic,
};
use protocol::messages::fetch_snapshot_response::{
    LeaderIdAndEpoch, NodeEndpoint, PartitionSnapshot, SnapshotId, TopicSnapshot,
};
use protocol::messages::{BrokerId, FetchSnapshotRequest, FetchSnapshotResponse};
use protocol::request::RequestHeader;
use raft::message::{self, Request, Response};
use raft::{OffsetAndEpoch, ReplicaKey};

use super::raft::{
    ask, cluster_id, current_leader, leader_id, node_endpoints, only_partition, text, topic_name,
};
use super::{decode, encode};
use crate::handle::{Answer, ControllerHandle, InvalidRequest};

pub(super) async fn answer(
    controller: &ControllerHandle,
    listener: &str,
    header: &RequestHeader,
    body: Bytes,
) -> Result<Answer, InvalidRequest> {
    let version = header.api_version;
    let refuse =
        |code: ErrorCode| encode(header, &FetchSnapshotResponse::default().with_error_code(code.code()));
    let Some(asked) = read_request(&decode(header, body)?) else {
        return refuse(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    };
    match ask(controller, listener, Request::FetchSnapshot(asked)).await {
        Ok(Response::FetchSnapshot(piece)) => encode(header, &response(version, &piece)),
        Ok(_) => refuse(ErrorCode::UNKNOWN_SERVER_ERROR),
        Err(code) => refuse(code),
    }
}

pub(super) fn read_request(request: &FetchSnapshotRequest) -> Option<message::FetchSnapshotRequest> {
    let partition = only_partition!(request, name, partition)?;
    Some(message::FetchSnapshotRequest {
        cluster_id: text(&request.cluster_id),
        replica: ReplicaKey::new(request.replica_id.0, partition.replica_directory_id),
        max_bytes: request.max_bytes,
        current_leader_epoch: partition.current_leader_epoch,
        snapshot_id: OffsetAndEpoch {
            offset: partition.snapshot_id.end_offset,
            epoch: partition.snapshot_id.epoch,
        },
        position: partition.position,
    })
}

pub(super) fn response(version: i16, piece: &message::FetchSnapshotResponse) -> FetchSnapshotResponse {
    if piece.top_level_error.is_error() {
        return FetchSnapshotResponse::default().with_error_code(piece.top_level_error.code());
    }
    let id =
        SnapshotId::default().with_end_offset(piece.snapshot_id.offset).with_epoch(piece.snapshot_id.epoch);
    let leader = LeaderIdAndEpoch::default()
        .with_leader_id(leader_id(&piece.leader))
        .with_leader_epoch(piece.leader.epoch);
    let partition = PartitionSnapshot::default()
        .with_error_code(piece.error.code())
        .with_snapshot_id(id)
        .with_current_leader(leader)
        .with_size(piece.size)
        .with_position(piece.position)
        .with_unaligned_records(piece.bytes.clone());
    let topic = TopicSnapshot::default().with_name(topic_name()).with_partitions(vec![partition]);
    FetchSnapshotResponse::default().with_topics(vec![topic]).with_node_endpoints(node_endpoints!(
        NodeEndpoint,
        &piece.leader,
        1,
        version
    ))
}

/// The request as this node sends it.
pub(crate) fn request(version: i16, asked: &message::FetchSnapshotRequest) -> FetchSnapshotRequest {
    let id = AskedId::default().with_end_offset(asked.snapshot_id.offset).with_epoch(asked.snapshot_id.epoch);
    let mut partition = AskedPartition::default()
        .with_current_leader_epoch(asked.current_leader_epoch)
        .with_snapshot_id(id)
        .with_position(asked.position);
    if version >= 1 {
        partition.replica_directory_id = asked.replica.directory_or_zero();
    }
    let topic = AskedTopic::default().with_name(topic_name()).with_partitions(vec![partition]);
    FetchSnapshotRequest::default()
        .with_cluster_id(cluster_id(&asked.cluster_id))
        .with_replica_id(BrokerId(asked.replica.id))
        .with_max_bytes(asked.max_bytes)
        .with_topics(vec![topic])
}

/// What an answer says; nothing if it is not about the metadata partition.
pub(crate) fn read_response(
    listener: &str,
    answer: &FetchSnapshotResponse,
) -> Option<message::FetchSnapshotResponse> {
    let top_level_error = ErrorCode(answer.error_code);
    let mut piece = message::FetchSnapshotResponse {
        top_level_error,
        error: ErrorCode::NONE,
        leader: message::CurrentLeader::default(),
        snapshot_id: OffsetAndEpoch { offset: -1, epoch: -1 },
        size: -1,
        position: -1,
        bytes: Bytes::new(),
    };
    if top_level_error.is_error() {
        return Some(piece);
    }
    let partition = only_partition!(answer, name, index)?;
    let (leader, id) = (&partition.current_leader, &partition.snapshot_id);
    piece.error = ErrorCode(partition.error_code);
    piece.leader = current_leader!(listener, leader.leader_id, leader.leader_epoch, answer.node_endpoints);
    piece.snapshot_id = OffsetAndEpoch { offset: id.end_offset, epoch: id.epoch };
    piece.size = partition.size;
    piece.position = partition.position;
    piece.bytes = partition.unaligned_records.clone();
    Some(piece)
}
