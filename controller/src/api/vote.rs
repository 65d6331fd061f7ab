//! Vote (key 52), versions 0-2.
//!
//! - v1: whom the request is for, directory ids (KIP-853). v2: pre-vote (KIP-996).

use bytes::Bytes;
use protocol::ErrorCode;
use protocol::messages::vote_request::{PartitionData as AskedPartition, TopicData as AskedTopic};
use protocol::messages::vote_response::{NodeEndpoint, PartitionData, TopicData};
use protocol::messages::{BrokerId, VoteRequest, VoteResponse};
use protocol::request::RequestHeader;
use raft::ReplicaKey;
use raft::message::{self, Request, Response};

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
    let refuse = |code: ErrorCode| encode(header, &VoteResponse::default().with_error_code(code.code()));
    let Some(asked) = read_request(version, &decode(header, body)?) else {
        return refuse(ErrorCode::INVALID_REQUEST);
    };
    match ask(controller, listener, Request::Vote(asked)).await {
        Ok(Response::Vote(vote)) => encode(header, &response(version, &vote)),
        Ok(_) => refuse(ErrorCode::UNKNOWN_SERVER_ERROR),
        Err(code) => refuse(code),
    }
}

pub(super) fn read_request(version: i16, request: &VoteRequest) -> Option<message::VoteRequest> {
    let partition = only_partition!(request, topic_name, partition_index)?;
    let voter = (version >= 1)
        .then(|| ReplicaKey::new(request.voter_id.0, partition.voter_directory_id))
        .filter(|voter| voter.id >= 0);
    Some(message::VoteRequest {
        cluster_id: text(&request.cluster_id),
        voter,
        epoch: partition.replica_epoch,
        candidate: ReplicaKey::new(partition.replica_id.0, partition.replica_directory_id),
        last_epoch: partition.last_offset_epoch,
        last_offset: partition.last_offset,
        pre_vote: partition.pre_vote,
    })
}

pub(super) fn response(version: i16, vote: &message::VoteResponse) -> VoteResponse {
    if vote.top_level_error.is_error() {
        return VoteResponse::default().with_error_code(vote.top_level_error.code());
    }
    let partition = PartitionData::default()
        .with_error_code(vote.error.code())
        .with_leader_id(leader_id(&vote.leader))
        .with_leader_epoch(vote.leader.epoch)
        .with_vote_granted(vote.vote_granted);
    let topic = TopicData::default().with_topic_name(topic_name()).with_partitions(vec![partition]);
    VoteResponse::default().with_topics(vec![topic]).with_node_endpoints(node_endpoints!(
        NodeEndpoint,
        &vote.leader,
        1,
        version
    ))
}

/// The request as this node sends it. A version that cannot say what is asked is for the caller to avoid.
pub(crate) fn request(version: i16, vote: &message::VoteRequest) -> VoteRequest {
    let mut partition = AskedPartition::default()
        .with_replica_epoch(vote.epoch)
        .with_replica_id(BrokerId(vote.candidate.id))
        .with_last_offset_epoch(vote.last_epoch)
        .with_last_offset(vote.last_offset);
    let mut request = VoteRequest::default().with_cluster_id(cluster_id(&vote.cluster_id));
    if version >= 1 {
        request.voter_id = BrokerId(vote.voter.map_or(-1, |voter| voter.id));
        partition.replica_directory_id = vote.candidate.directory_or_zero();
        partition.voter_directory_id = message::wire_directory(vote.voter);
    }
    if version >= 2 {
        partition.pre_vote = vote.pre_vote;
    }
    request.with_topics(vec![
        AskedTopic::default().with_topic_name(topic_name()).with_partitions(vec![partition]),
    ])
}

/// What an answer says; nothing if it is not about the metadata partition.
pub(crate) fn read_response(listener: &str, answer: &VoteResponse) -> Option<message::VoteResponse> {
    let top_level_error = ErrorCode(answer.error_code);
    if top_level_error.is_error() {
        let leader = message::CurrentLeader::default();
        let error = ErrorCode::NONE;
        return Some(message::VoteResponse { top_level_error, error, leader, vote_granted: false });
    }
    let partition = only_partition!(answer, topic_name, partition_index)?;
    let leader =
        current_leader!(listener, partition.leader_id, partition.leader_epoch, answer.node_endpoints);
    let error = ErrorCode(partition.error_code);
    Some(message::VoteResponse { top_level_error, error, leader, vote_granted: partition.vote_granted })
}
