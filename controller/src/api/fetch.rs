//! Fetch (key 1), versions 13-18, of the metadata log: how followers and observers replicate (KIP-595).
//!
//! - Only `__cluster_metadata` partition 0, by its topic id, so version 12 and below cannot ask for it.
//! - `PartitionMaxBytes` and `MinBytes` are ignored. The leader is named in every answer, errors included.
//! - v15: the replica in a field of its own. v16: the leader's endpoint. v17: directory id (KIP-853).
//! - v18: the replica's high watermark, so that a news of it ends a wait (KIP-1166).

use bytes::Bytes;
use metadata::directory::METADATA_TOPIC_ID;
use protocol::ErrorCode;
use protocol::messages::fetch_response::{
    EpochEndOffset, FetchableTopicResponse, LeaderIdAndEpoch, NodeEndpoint, PartitionData, SnapshotId,
};
use protocol::messages::{FetchRequest, FetchResponse};
use protocol::request::RequestHeader;
use raft::ReplicaKey;
use raft::message::{Request, Response};

use super::raft::{ask, leader_id, node_endpoints, text};
use super::{decode, encode};
use crate::handle::{Answer, ControllerHandle, InvalidRequest};

pub(super) async fn answer(
    controller: &ControllerHandle,
    header: &RequestHeader,
    body: Bytes,
) -> Result<Answer, InvalidRequest> {
    let version = header.api_version;
    let request: FetchRequest = decode(header, body)?;
    let refuse = |code: ErrorCode| encode(header, &FetchResponse::default().with_error_code(code.code()));
    let partition = match request.topics.as_slice() {
        [topic] if version >= 13 && topic.topic_id == METADATA_TOPIC_ID => {
            match topic.partitions.as_slice() {
                [partition] if partition.partition == 0 => partition,
                _ => return refuse(ErrorCode::INVALID_REQUEST),
            }
        }
        _ => return refuse(ErrorCode::INVALID_REQUEST),
    };
    let replica_id = if version >= 15 { request.replica_state.replica_id } else { request.replica_id };
    let asked = raft::message::FetchRequest {
        cluster_id: text(&request.cluster_id),
        replica: ReplicaKey::new(replica_id.0, partition.replica_directory_id),
        max_wait_ms: request.max_wait_ms,
        max_bytes: request.max_bytes,
        current_leader_epoch: partition.current_leader_epoch,
        fetch_offset: partition.fetch_offset,
        last_fetched_epoch: partition.last_fetched_epoch,
        high_watermark: if version >= 18 { partition.high_watermark } else { i64::MAX },
    };
    match ask(controller, Request::Fetch(asked)).await {
        Ok(Response::Fetch(fetched)) if fetched.top_level_error.is_error() => refuse(fetched.top_level_error),
        Ok(Response::Fetch(fetched)) => {
            let leader = &fetched.leader;
            let response = FetchResponse::default()
                .with_responses(vec![
                    FetchableTopicResponse::default()
                        .with_topic_id(METADATA_TOPIC_ID)
                        .with_partitions(vec![partition_data(&fetched)]),
                ])
                .with_node_endpoints(node_endpoints!(NodeEndpoint, leader, 17, version));
            encode(header, &response)
        }
        Ok(_) => refuse(ErrorCode::UNKNOWN_SERVER_ERROR),
        Err(code) => refuse(code),
    }
}

fn partition_data(fetched: &raft::message::FetchResponse) -> PartitionData {
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
