//! EndQuorumEpoch (key 54), versions 0-1.
//!
//! - v1: directory ids and the leader's endpoints (KIP-853).

use bytes::Bytes;
use protocol::ErrorCode;
use protocol::messages::end_quorum_epoch_response::{NodeEndpoint, PartitionData, TopicData};
use protocol::messages::{EndQuorumEpochRequest, EndQuorumEpochResponse};
use protocol::request::RequestHeader;
use raft::message::{Request, Response};
use raft::{Endpoint, ReplicaKey};

use super::raft::{ask, leader_id, node_endpoints, only_partition, text, topic_name};
use super::{decode, encode};
use crate::handle::{Answer, ControllerHandle, InvalidRequest};

pub(super) async fn answer(
    controller: &ControllerHandle,
    header: &RequestHeader,
    body: Bytes,
) -> Result<Answer, InvalidRequest> {
    let request: EndQuorumEpochRequest = decode(header, body)?;
    let refuse =
        |code: ErrorCode| encode(header, &EndQuorumEpochResponse::default().with_error_code(code.code()));
    let Some(partition) = only_partition!(request, topic_name, partition_index) else {
        return refuse(ErrorCode::INVALID_REQUEST);
    };
    let leader_endpoints = request.leader_endpoints.iter().map(|endpoint| Endpoint {
        name: endpoint.name.to_string(),
        host: endpoint.host.to_string(),
        port: endpoint.port,
    });
    let candidates = match header.api_version {
        0 => partition
            .preferred_successors
            .iter()
            .map(|id| ReplicaKey { id: *id, directory_id: None })
            .collect(),
        _ => {
            let candidates = partition.preferred_candidates.iter();
            candidates.map(|key| ReplicaKey::new(key.candidate_id.0, key.candidate_directory_id)).collect()
        }
    };
    let asked = raft::message::EndQuorumEpochRequest {
        cluster_id: text(&request.cluster_id),
        leader_id: partition.leader_id.0,
        leader_epoch: partition.leader_epoch,
        leader_endpoints: leader_endpoints.collect(),
        preferred_candidates: candidates,
    };
    match ask(controller, Request::EndQuorumEpoch(asked)).await {
        Ok(Response::EndQuorumEpoch(answer)) if answer.top_level_error.is_error() => {
            refuse(answer.top_level_error)
        }
        Ok(Response::EndQuorumEpoch(answer)) => {
            let partition = PartitionData::default()
                .with_error_code(answer.error.code())
                .with_leader_id(leader_id(&answer.leader))
                .with_leader_epoch(answer.leader.epoch);
            let topic = TopicData::default().with_topic_name(topic_name()).with_partitions(vec![partition]);
            let response = EndQuorumEpochResponse::default()
                .with_topics(vec![topic])
                .with_node_endpoints(node_endpoints!(NodeEndpoint, &answer.leader, 1, header.api_version));
            encode(header, &response)
        }
        Ok(_) => refuse(ErrorCode::UNKNOWN_SERVER_ERROR),
        Err(code) => refuse(code),
    }
}
