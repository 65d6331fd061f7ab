//! Vote (key 52), versions 0-2.
//!
//! - v1: whom the request is for, directory ids (KIP-853). v2: pre-vote (KIP-996).

use bytes::Bytes;
use protocol::ErrorCode;
use protocol::messages::vote_response::{NodeEndpoint, PartitionData, TopicData};
use protocol::messages::{VoteRequest, VoteResponse};
use protocol::request::RequestHeader;
use raft::ReplicaKey;
use raft::message::{Request, Response};

use super::raft::{ask, leader_id, node_endpoints, only_partition, text, topic_name};
use super::{decode, encode};
use crate::handle::{Answer, ControllerHandle, InvalidRequest};

pub(super) async fn answer(
    controller: &ControllerHandle,
    header: &RequestHeader,
    body: Bytes,
) -> Result<Answer, InvalidRequest> {
    let request: VoteRequest = decode(header, body)?;
    let refuse = |code: ErrorCode| encode(header, &VoteResponse::default().with_error_code(code.code()));
    let Some(partition) = only_partition!(request, topic_name, partition_index) else {
        return refuse(ErrorCode::INVALID_REQUEST);
    };
    let voter = (header.api_version >= 1)
        .then(|| ReplicaKey::new(request.voter_id.0, partition.voter_directory_id))
        .filter(|voter| voter.id >= 0);
    let asked = raft::message::VoteRequest {
        cluster_id: text(&request.cluster_id),
        voter,
        epoch: partition.replica_epoch,
        candidate: ReplicaKey::new(partition.replica_id.0, partition.replica_directory_id),
        last_epoch: partition.last_offset_epoch,
        last_offset: partition.last_offset,
        pre_vote: partition.pre_vote,
    };
    match ask(controller, Request::Vote(asked)).await {
        Ok(Response::Vote(vote)) if vote.top_level_error.is_error() => refuse(vote.top_level_error),
        Ok(Response::Vote(vote)) => {
            let partition = PartitionData::default()
                .with_error_code(vote.error.code())
                .with_leader_id(leader_id(&vote.leader))
                .with_leader_epoch(vote.leader.epoch)
                .with_vote_granted(vote.vote_granted);
            let topic = TopicData::default().with_topic_name(topic_name()).with_partitions(vec![partition]);
            let response = VoteResponse::default()
                .with_topics(vec![topic])
                .with_node_endpoints(node_endpoints!(NodeEndpoint, &vote.leader, 1, header.api_version));
            encode(header, &response)
        }
        Ok(_) => refuse(ErrorCode::UNKNOWN_SERVER_ERROR),
        Err(code) => refuse(code),
    }
}
