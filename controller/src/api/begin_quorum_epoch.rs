//! BeginQuorumEpoch (key 53), versions 0-1.
//!
//! - v1: directory ids and the leader's endpoints (KIP-853).

use bytes::Bytes;
use protocol::ErrorCode;
use protocol::messages::begin_quorum_epoch_request::{
    LeaderEndpoint, PartitionData as AskedPartition, TopicData as AskedTopic,
};
use protocol::messages::begin_quorum_epoch_response::{NodeEndpoint, PartitionData, TopicData};
use protocol::messages::{BeginQuorumEpochRequest, BeginQuorumEpochResponse, BrokerId};
use protocol::request::RequestHeader;
use raft::ReplicaKey;
use raft::message::{self, Request, Response};

use super::raft::{
    ask, cluster_id, current_leader, endpoints, leader_id, listeners, node_endpoints, only_partition, text,
    topic_name,
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
        |code: ErrorCode| encode(header, &BeginQuorumEpochResponse::default().with_error_code(code.code()));
    let Some(asked) = read_request(version, &decode(header, body)?) else {
        return refuse(ErrorCode::INVALID_REQUEST);
    };
    match ask(controller, listener, Request::BeginQuorumEpoch(asked)).await {
        Ok(Response::BeginQuorumEpoch(answer)) => encode(header, &response(version, &answer)),
        Ok(_) => refuse(ErrorCode::UNKNOWN_SERVER_ERROR),
        Err(code) => refuse(code),
    }
}

pub(super) fn read_request(
    version: i16,
    request: &BeginQuorumEpochRequest,
) -> Option<message::BeginQuorumEpochRequest> {
    let partition = only_partition!(request, topic_name, partition_index)?;
    let voter = (version >= 1)
        .then(|| ReplicaKey::new(request.voter_id.0, partition.voter_directory_id))
        .filter(|voter| voter.id >= 0);
    Some(message::BeginQuorumEpochRequest {
        cluster_id: text(&request.cluster_id),
        voter,
        leader_id: partition.leader_id.0,
        leader_epoch: partition.leader_epoch,
        leader_endpoints: endpoints!(request.leader_endpoints),
    })
}

pub(super) fn response(version: i16, answer: &message::QuorumEpochResponse) -> BeginQuorumEpochResponse {
    if answer.top_level_error.is_error() {
        return BeginQuorumEpochResponse::default().with_error_code(answer.top_level_error.code());
    }
    let partition = PartitionData::default()
        .with_error_code(answer.error.code())
        .with_leader_id(leader_id(&answer.leader))
        .with_leader_epoch(answer.leader.epoch);
    let topic = TopicData::default().with_topic_name(topic_name()).with_partitions(vec![partition]);
    BeginQuorumEpochResponse::default().with_topics(vec![topic]).with_node_endpoints(node_endpoints!(
        NodeEndpoint,
        &answer.leader,
        1,
        version
    ))
}

/// The request as this node sends it.
pub(crate) fn request(version: i16, asked: &message::BeginQuorumEpochRequest) -> BeginQuorumEpochRequest {
    let mut partition = AskedPartition::default()
        .with_leader_id(BrokerId(asked.leader_id))
        .with_leader_epoch(asked.leader_epoch);
    let mut request = BeginQuorumEpochRequest::default().with_cluster_id(cluster_id(&asked.cluster_id));
    if version >= 1 {
        request.voter_id = BrokerId(asked.voter.map_or(-1, |voter| voter.id));
        partition.voter_directory_id = message::wire_directory(asked.voter);
        request.leader_endpoints = listeners!(LeaderEndpoint, asked.leader_endpoints);
    }
    request.with_topics(vec![
        AskedTopic::default().with_topic_name(topic_name()).with_partitions(vec![partition]),
    ])
}

/// What an answer says; nothing if it is not about the metadata partition.
pub(crate) fn read_response(
    listener: &str,
    answer: &BeginQuorumEpochResponse,
) -> Option<message::QuorumEpochResponse> {
    let top_level_error = ErrorCode(answer.error_code);
    if top_level_error.is_error() {
        let leader = message::CurrentLeader::default();
        return Some(message::QuorumEpochResponse { top_level_error, error: ErrorCode::NONE, leader });
    }
    let partition = only_partition!(answer, topic_name, partition_index)?;
    let leader =
        current_leader!(listener, partition.leader_id, partition.leader_epoch, answer.node_endpoints);
    Some(message::QuorumEpochResponse { top_level_error, error: ErrorCode(partition.error_code), leader })
}
