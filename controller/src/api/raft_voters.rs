//! AddRaftVoter (key 80), RemoveRaftVoter (key 81) and UpdateRaftVoter (key 82), version 0: the voters of the quorum
//! (KIP-853).
//!
//! - A success of Add and Remove has the message `NONE`, as Apache Kafka sends it.

use bytes::Bytes;
use protocol::messages::update_raft_voter_response::CurrentLeader;
use protocol::messages::{
    AddRaftVoterRequest, AddRaftVoterResponse, BrokerId, RemoveRaftVoterRequest, RemoveRaftVoterResponse,
    UpdateRaftVoterRequest, UpdateRaftVoterResponse,
};
use protocol::request::RequestHeader;
use protocol::{ErrorCode, StrBytes};
use raft::message::{
    AddVoterRequest, RemoveVoterRequest, Request, Response, UpdateVoterRequest, UpdateVoterResponse,
};
use raft::{Endpoint, ReplicaKey};

use super::raft::{ask, text};
use super::{decode, encode};
use crate::handle::{Answer, ControllerHandle, InvalidRequest};

pub(super) async fn add(
    controller: &ControllerHandle,
    header: &RequestHeader,
    body: Bytes,
) -> Result<Answer, InvalidRequest> {
    let request: AddRaftVoterRequest = decode(header, body)?;
    let endpoints = request.listeners.iter().map(|listener| Endpoint {
        name: listener.name.to_string(),
        host: listener.host.to_string(),
        port: listener.port,
    });
    let asked = AddVoterRequest {
        cluster_id: text(&request.cluster_id),
        timeout_ms: request.timeout_ms,
        voter: ReplicaKey::new(request.voter_id, request.voter_directory_id),
        endpoints: endpoints.collect(),
        ack_when_committed: true,
    };
    let error = match ask(controller, Request::AddVoter(asked)).await {
        Ok(Response::AddVoter(answer)) => answer.error,
        Ok(_) => ErrorCode::UNKNOWN_SERVER_ERROR,
        Err(code) => code,
    };
    let response =
        AddRaftVoterResponse::default().with_error_code(error.code()).with_error_message(message(error));
    encode(header, &response)
}

pub(super) async fn remove(
    controller: &ControllerHandle,
    header: &RequestHeader,
    body: Bytes,
) -> Result<Answer, InvalidRequest> {
    let request: RemoveRaftVoterRequest = decode(header, body)?;
    let asked = RemoveVoterRequest {
        cluster_id: text(&request.cluster_id),
        voter: ReplicaKey::new(request.voter_id, request.voter_directory_id),
    };
    let error = match ask(controller, Request::RemoveVoter(asked)).await {
        Ok(Response::RemoveVoter(answer)) => answer.error,
        Ok(_) => ErrorCode::UNKNOWN_SERVER_ERROR,
        Err(code) => code,
    };
    let response =
        RemoveRaftVoterResponse::default().with_error_code(error.code()).with_error_message(message(error));
    encode(header, &response)
}

pub(super) async fn update(
    controller: &ControllerHandle,
    header: &RequestHeader,
    body: Bytes,
) -> Result<Answer, InvalidRequest> {
    let request: UpdateRaftVoterRequest = decode(header, body)?;
    let endpoints = request.listeners.iter().map(|listener| Endpoint {
        name: listener.name.to_string(),
        host: listener.host.to_string(),
        port: listener.port,
    });
    let asked = UpdateVoterRequest {
        cluster_id: text(&request.cluster_id),
        current_leader_epoch: request.current_leader_epoch,
        voter: ReplicaKey::new(request.voter_id, request.voter_directory_id),
        endpoints: endpoints.collect(),
        min_kraft_version: request.k_raft_version_feature.min_supported_version,
        max_kraft_version: request.k_raft_version_feature.max_supported_version,
    };
    let response = match ask(controller, Request::UpdateVoter(asked)).await {
        Ok(Response::UpdateVoter(answer)) => updated(&answer),
        Ok(_) => UpdateRaftVoterResponse::default().with_error_code(ErrorCode::UNKNOWN_SERVER_ERROR.code()),
        Err(code) => UpdateRaftVoterResponse::default().with_error_code(code.code()),
    };
    encode(header, &response)
}

fn updated(answer: &UpdateVoterResponse) -> UpdateRaftVoterResponse {
    let mut leader = CurrentLeader::default().with_leader_epoch(answer.leader.epoch);
    if let Some((id, endpoint)) = answer.leader.id.zip(answer.leader.endpoint.as_ref()) {
        leader.leader_id = BrokerId(id);
        leader.host = StrBytes::from_string(endpoint.host.clone());
        leader.port = endpoint.port.into();
    }
    UpdateRaftVoterResponse::default().with_error_code(answer.error.code()).with_current_leader(leader)
}

fn message(error: ErrorCode) -> Option<StrBytes> {
    Some(StrBytes::from_static_str(if error.is_error() { error.message() } else { "NONE" }))
}
