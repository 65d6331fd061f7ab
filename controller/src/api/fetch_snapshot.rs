//! FetchSnapshot (key 59), versions 0-1: a piece of a snapshot of the metadata log (KIP-630).
//!
//! - v1: directory id and the leader's endpoint (KIP-853).

use bytes::Bytes;
use protocol::ErrorCode;
use protocol::messages::fetch_snapshot_response::{
    LeaderIdAndEpoch, NodeEndpoint, PartitionSnapshot, SnapshotId, TopicSnapshot,
};
use protocol::messages::{FetchSnapshotRequest, FetchSnapshotResponse};
use protocol::request::RequestHeader;
use raft::message::{Request, Response};
use raft::{OffsetAndEpoch, ReplicaKey};

use super::raft::{ask, leader_id, node_endpoints, only_partition, text, topic_name};
use super::{decode, encode};
use crate::handle::{Answer, ControllerHandle, InvalidRequest};

pub(super) async fn answer(
    controller: &ControllerHandle,
    header: &RequestHeader,
    body: Bytes,
) -> Result<Answer, InvalidRequest> {
    let request: FetchSnapshotRequest = decode(header, body)?;
    let refuse =
        |code: ErrorCode| encode(header, &FetchSnapshotResponse::default().with_error_code(code.code()));
    let Some(partition) = only_partition!(request, name, partition) else {
        return refuse(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    };
    let asked = raft::message::FetchSnapshotRequest {
        cluster_id: text(&request.cluster_id),
        replica: ReplicaKey::new(request.replica_id.0, partition.replica_directory_id),
        max_bytes: request.max_bytes,
        current_leader_epoch: partition.current_leader_epoch,
        snapshot_id: OffsetAndEpoch {
            offset: partition.snapshot_id.end_offset,
            epoch: partition.snapshot_id.epoch,
        },
        position: partition.position,
    };
    match ask(controller, Request::FetchSnapshot(asked)).await {
        Ok(Response::FetchSnapshot(piece)) if piece.top_level_error.is_error() => {
            refuse(piece.top_level_error)
        }
        Ok(Response::FetchSnapshot(piece)) => {
            let id = SnapshotId::default()
                .with_end_offset(piece.snapshot_id.offset)
                .with_epoch(piece.snapshot_id.epoch);
            let leader = LeaderIdAndEpoch::default()
                .with_leader_id(leader_id(&piece.leader))
                .with_leader_epoch(piece.leader.epoch);
            let partition = PartitionSnapshot::default()
                .with_error_code(piece.error.code())
                .with_snapshot_id(id)
                .with_current_leader(leader)
                .with_size(piece.size)
                .with_position(piece.position)
                .with_unaligned_records(piece.bytes);
            let topic = TopicSnapshot::default().with_name(topic_name()).with_partitions(vec![partition]);
            let response = FetchSnapshotResponse::default()
                .with_topics(vec![topic])
                .with_node_endpoints(node_endpoints!(NodeEndpoint, &piece.leader, 1, header.api_version));
            encode(header, &response)
        }
        Ok(_) => refuse(ErrorCode::UNKNOWN_SERVER_ERROR),
        Err(code) => refuse(code),
    }
}
