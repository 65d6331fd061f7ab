//! AddRaftVoter (key 80), RemoveRaftVoter (key 81) and UpdateRaftVoter (key 82), version 0: the voters of the quorum
//! (KIP-853).
//!
//! - A success of Add and Remove has the message `NONE`, as Apache Kafka sends it.

use bytes::Bytes;
use protocol::messages::update_raft_voter_request::{KRaftVersionFeature, Listener};
use protocol::messages::update_raft_voter_response::CurrentLeader;
use protocol::messages::{
    AddRaftVoterRequest, AddRaftVoterResponse, BrokerId, RemoveRaftVoterRequest, RemoveRaftVoterResponse,
    UpdateRaftVoterRequest, UpdateRaftVoterResponse,
};
use protocol::request::RequestHeader;
use protocol::{ErrorCode, StrBytes};
use raft::ReplicaKey;
use raft::message::{
    self, AddVoterRequest, RemoveVoterRequest, Request, Response, UpdateVoterRequest, UpdateVoterResponse,
};

use super::raft::{ask, cluster_id, endpoint as raft_endpoint, endpoints, listeners, text};
use super::{decode, encode};
use crate::handle::{Answer, ControllerHandle, InvalidRequest};

pub(super) async fn add(
    controller: &ControllerHandle,
    listener: &str,
    header: &RequestHeader,
    body: Bytes,
) -> Result<Answer, InvalidRequest> {
    let request: AddRaftVoterRequest = decode(header, body)?;
    let asked = AddVoterRequest {
        cluster_id: text(&request.cluster_id),
        timeout_ms: request.timeout_ms,
        voter: ReplicaKey::new(request.voter_id, request.voter_directory_id),
        endpoints: endpoints!(request.listeners),
        ack_when_committed: true,
    };
    let error = match ask(controller, listener, Request::AddVoter(asked)).await {
        Ok(Response::AddVoter(answer)) => answer.error,
        Ok(_) => ErrorCode::UNKNOWN_SERVER_ERROR,
        Err(code) => code,
    };
    let response = AddRaftVoterResponse::default()
        .with_error_code(error.code())
        .with_error_message(error_message(error));
    encode(header, &response)
}

pub(super) async fn remove(
    controller: &ControllerHandle,
    listener: &str,
    header: &RequestHeader,
    body: Bytes,
) -> Result<Answer, InvalidRequest> {
    let request: RemoveRaftVoterRequest = decode(header, body)?;
    let asked = RemoveVoterRequest {
        cluster_id: text(&request.cluster_id),
        voter: ReplicaKey::new(request.voter_id, request.voter_directory_id),
    };
    let error = match ask(controller, listener, Request::RemoveVoter(asked)).await {
        Ok(Response::RemoveVoter(answer)) => answer.error,
        Ok(_) => ErrorCode::UNKNOWN_SERVER_ERROR,
        Err(code) => code,
    };
    let response = RemoveRaftVoterResponse::default()
        .with_error_code(error.code())
        .with_error_message(error_message(error));
    encode(header, &response)
}

pub(super) async fn update(
    controller: &ControllerHandle,
    listener: &str,
    header: &RequestHeader,
    body: Bytes,
) -> Result<Answer, InvalidRequest> {
    let asked = read_update(&decode(header, body)?);
    let response = match ask(controller, listener, Request::UpdateVoter(asked)).await {
        Ok(Response::UpdateVoter(answer)) => updated(&answer),
        Ok(_) => UpdateRaftVoterResponse::default().with_error_code(ErrorCode::UNKNOWN_SERVER_ERROR.code()),
        Err(code) => UpdateRaftVoterResponse::default().with_error_code(code.code()),
    };
    encode(header, &response)
}

pub(super) fn read_update(request: &UpdateRaftVoterRequest) -> UpdateVoterRequest {
    UpdateVoterRequest {
        cluster_id: text(&request.cluster_id),
        current_leader_epoch: request.current_leader_epoch,
        voter: ReplicaKey::new(request.voter_id, request.voter_directory_id),
        endpoints: endpoints!(request.listeners),
        min_kraft_version: request.k_raft_version_feature.min_supported_version,
        max_kraft_version: request.k_raft_version_feature.max_supported_version,
    }
}

/// UpdateRaftVoter as this node sends it.
pub(crate) fn update_request(asked: &UpdateVoterRequest) -> UpdateRaftVoterRequest {
    let range = KRaftVersionFeature::default()
        .with_min_supported_version(asked.min_kraft_version)
        .with_max_supported_version(asked.max_kraft_version);
    UpdateRaftVoterRequest::default()
        .with_cluster_id(cluster_id(&asked.cluster_id))
        .with_current_leader_epoch(asked.current_leader_epoch)
        .with_voter_id(asked.voter.id)
        .with_voter_directory_id(asked.voter.directory_or_zero())
        .with_listeners(listeners!(Listener, asked.endpoints))
        .with_k_raft_version_feature(range)
}

/// What an answer to UpdateRaftVoter says.
pub(crate) fn read_updated(listener: &str, answer: &UpdateRaftVoterResponse) -> UpdateVoterResponse {
    let leader = &answer.current_leader;
    let id = Some(leader.leader_id.0).filter(|id| *id >= 0);
    let endpoint = id.filter(|_| !leader.host.is_empty());
    let endpoint = endpoint.and_then(|_| raft_endpoint(listener, &leader.host, leader.port));
    UpdateVoterResponse {
        error: ErrorCode(answer.error_code),
        leader: message::CurrentLeader { id, epoch: leader.leader_epoch, endpoint },
    }
}

pub(super) fn updated(answer: &UpdateVoterResponse) -> UpdateRaftVoterResponse {
    let mut leader = CurrentLeader::default().with_leader_epoch(answer.leader.epoch);
    if let Some((id, endpoint)) = answer.leader.id.zip(answer.leader.endpoint.as_ref()) {
        leader.leader_id = BrokerId(id);
        leader.host = StrBytes::from_string(endpoint.host.clone());
        leader.port = endpoint.port.into();
    }
    UpdateRaftVoterResponse::default().with_error_code(answer.error.code()).with_current_leader(leader)
}

fn error_message(error: ErrorCode) -> Option<StrBytes> {
    Some(StrBytes::from_static_str(if error.is_error() { error.message() } else { "NONE" }))
}
