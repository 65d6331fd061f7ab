//! The APIs of the controller listener: the table from key to handler, and what all handlers share.
//!
//! Bytes are checked before they are decoded ([`protocol::guard`]). APIs that write go through the decision core;
//! their rules are in [`crate::decide`], here is only their wire form.

mod api_versions;
pub(crate) mod begin_quorum_epoch;
mod describe_cluster;
mod describe_configs;
mod describe_quorum;
pub(crate) mod end_quorum_epoch;
mod envelope;
pub(crate) mod fetch;
pub(crate) mod fetch_snapshot;
#[cfg(test)]
mod golden;
mod quorum_epoch;
pub(crate) mod raft;
pub(crate) mod raft_voters;
pub(crate) mod vote;

use bytes::{Bytes, BytesMut};
use protocol::messages::{
    AllocateProducerIdsRequest, AlterClientQuotasRequest, AlterConfigsRequest,
    AlterPartitionReassignmentsRequest, AlterPartitionRequest, AlterUserScramCredentialsRequest,
    AssignReplicasToDirsRequest, BrokerHeartbeatRequest, BrokerRegistrationRequest,
    ControllerRegistrationRequest, CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest,
    ElectLeadersRequest, IncrementalAlterConfigsRequest, ListPartitionReassignmentsRequest,
    UnregisterBrokerRequest, UpdateFeaturesRequest,
};
use protocol::request::{RequestHeader, put_response_header};
use protocol::versions::{ApiKey, Listener, is_taken};
use protocol::{Decodable, Encodable, ErrorCode};

use crate::api_error::ApiError;
use crate::controller::Answered;
use crate::event::{Request, Response};
use crate::handle::{Answer, ControllerHandle, InvalidRequest};
use crate::refusal::refuse;

/// True for the APIs that [`handle`] answers.
pub(crate) fn is_served(api_key: i16) -> bool {
    matches!(
        api_key,
        ApiKey::API_VERSIONS
            | ApiKey::CREATE_TOPICS
            | ApiKey::DELETE_TOPICS
            | ApiKey::CREATE_PARTITIONS
            | ApiKey::ALTER_CONFIGS
            | ApiKey::INCREMENTAL_ALTER_CONFIGS
            | ApiKey::BROKER_REGISTRATION
            | ApiKey::BROKER_HEARTBEAT
            | ApiKey::UNREGISTER_BROKER
            | ApiKey::ALLOCATE_PRODUCER_IDS
            | ApiKey::UPDATE_FEATURES
            | ApiKey::CONTROLLER_REGISTRATION
            | ApiKey::ALTER_PARTITION
            | ApiKey::ELECT_LEADERS
            | ApiKey::ALTER_PARTITION_REASSIGNMENTS
            | ApiKey::LIST_PARTITION_REASSIGNMENTS
            | ApiKey::ALTER_CLIENT_QUOTAS
            | ApiKey::ALTER_USER_SCRAM_CREDENTIALS
            | ApiKey::ASSIGN_REPLICAS_TO_DIRS
            | ApiKey::DESCRIBE_CLUSTER
            | ApiKey::DESCRIBE_CONFIGS
            | ApiKey::DESCRIBE_QUORUM
            | ApiKey::ENVELOPE
            | ApiKey::FETCH
            | ApiKey::FETCH_SNAPSHOT
            | ApiKey::VOTE
            | ApiKey::BEGIN_QUORUM_EPOCH
            | ApiKey::END_QUORUM_EPOCH
            | ApiKey::ADD_RAFT_VOTER
            | ApiKey::REMOVE_RAFT_VOTER
            | ApiKey::UPDATE_RAFT_VOTER
    )
}

/// Answers one request.
pub(crate) async fn handle(
    controller: &ControllerHandle,
    listener: &str,
    header: &RequestHeader,
    body: Bytes,
) -> Result<Answer, InvalidRequest> {
    let (key, version) = (header.api_key, header.api_version);
    if key == ApiKey::API_VERSIONS {
        return api_versions::answer(controller, header, &body);
    }
    if !is_served(key) || !is_taken(Listener::Controller, key, version) {
        return Err(invalid(header, "not served by a controller"));
    }
    protocol::guard::check(key, version, &body).map_err(|error| invalid(header, error))?;
    match key {
        ApiKey::DESCRIBE_CONFIGS => describe_configs::answer(controller, header, body),
        ApiKey::DESCRIBE_CLUSTER => describe_cluster::answer(controller, header, body),
        ApiKey::DESCRIBE_QUORUM => describe_quorum::answer(controller, header, body).await,
        ApiKey::ENVELOPE => envelope::answer(controller, listener, header, body).await,
        ApiKey::FETCH => fetch::answer(controller, listener, header, body).await,
        ApiKey::FETCH_SNAPSHOT => fetch_snapshot::answer(controller, listener, header, body).await,
        ApiKey::VOTE => vote::answer(controller, listener, header, body).await,
        ApiKey::BEGIN_QUORUM_EPOCH => begin_quorum_epoch::answer(controller, listener, header, body).await,
        ApiKey::END_QUORUM_EPOCH => end_quorum_epoch::answer(controller, listener, header, body).await,
        ApiKey::ADD_RAFT_VOTER => raft_voters::add(controller, listener, header, body).await,
        ApiKey::REMOVE_RAFT_VOTER => raft_voters::remove(controller, listener, header, body).await,
        ApiKey::UPDATE_RAFT_VOTER => raft_voters::update(controller, listener, header, body).await,
        _ => handle_decided(controller, header, body).await,
    }
}

/// Hands the table of the APIs that the decision core answers to another macro.
macro_rules! with_decided {
    ($use:ident) => {
        $use! {
            CREATE_TOPICS => CreateTopicsRequest;
            DELETE_TOPICS => DeleteTopicsRequest;
            CREATE_PARTITIONS => CreatePartitionsRequest;
            ALTER_CONFIGS => AlterConfigsRequest;
            INCREMENTAL_ALTER_CONFIGS => IncrementalAlterConfigsRequest;
            BROKER_REGISTRATION => BrokerRegistrationRequest;
            BROKER_HEARTBEAT => BrokerHeartbeatRequest;
            UNREGISTER_BROKER => UnregisterBrokerRequest;
            ALLOCATE_PRODUCER_IDS => AllocateProducerIdsRequest;
            UPDATE_FEATURES => UpdateFeaturesRequest;
            CONTROLLER_REGISTRATION => ControllerRegistrationRequest;
            ALTER_PARTITION => AlterPartitionRequest;
            ELECT_LEADERS => ElectLeadersRequest;
            ALTER_PARTITION_REASSIGNMENTS => AlterPartitionReassignmentsRequest;
            LIST_PARTITION_REASSIGNMENTS => ListPartitionReassignmentsRequest;
            ALTER_CLIENT_QUOTAS => AlterClientQuotasRequest;
            ALTER_USER_SCRAM_CREDENTIALS => AlterUserScramCredentialsRequest;
            ASSIGN_REPLICAS_TO_DIRS => AssignReplicasToDirsRequest;
        }
    };
}

/// Answers a request that is no envelope.
async fn handle_decided(
    controller: &ControllerHandle,
    header: &RequestHeader,
    body: Bytes,
) -> Result<Answer, InvalidRequest> {
    macro_rules! decide {
        ($($key:ident => $request:ident;)+) => {
            match header.api_key {
                $(ApiKey::$key => decided::<$request>(controller, header, body).await,)+
                _ => Err(invalid(header, "not served by a controller")),
            }
        };
    }
    with_decided!(decide)
}

/// The answer to a request that no controller answered in time.
///
/// # Errors
/// The answer to this API has no place for an error.
pub(crate) fn timed_out(header: &RequestHeader, body: Bytes) -> Result<Answer, InvalidRequest> {
    let error = ApiError::of(ErrorCode::REQUEST_TIMED_OUT);
    macro_rules! refuse {
        ($($key:ident => $request:ident;)+) => {
            match header.api_key {
                $(ApiKey::$key => refused::<$request>(header, body, &error),)+
                _ => Err(invalid(header, "no controller answered")),
            }
        };
    }
    with_decided!(refuse)
}

fn refused<Q>(header: &RequestHeader, body: Bytes, error: &ApiError) -> Result<Answer, InvalidRequest>
where
    Q: protocol::Request + Into<Request>,
    Q::Response: TryFrom<Response>,
{
    let request: Q = decode(header, body)?;
    let response = refuse(header.api_version, &request.into(), error);
    let response = Q::Response::try_from(response).map_err(|_| invalid(header, "answered by another API"))?;
    encode(header, &response)
}

async fn decided<Q>(
    controller: &ControllerHandle,
    header: &RequestHeader,
    body: Bytes,
) -> Result<Answer, InvalidRequest>
where
    Q: protocol::Request + Into<Request>,
    Q::Response: TryFrom<Response>,
{
    let request: Q = decode(header, body)?;
    let answered = controller.decide(header.api_version, request.into()).await;
    let Answered { response, committed_offset, is_refused } = answered;
    let response = Q::Response::try_from(response).map_err(|_| invalid(header, "answered by another API"))?;
    Ok(Answer { committed_offset, is_refused, ..encode(header, &response)? })
}

fn decode<Q: Decodable>(header: &RequestHeader, mut body: Bytes) -> Result<Q, InvalidRequest> {
    Q::decode(&mut body, header.api_version).map_err(|error| invalid(header, error))
}

/// Response header and body; the answer rests on no metadata.
fn encode<R: Encodable>(header: &RequestHeader, response: &R) -> Result<Answer, InvalidRequest> {
    let mut out = BytesMut::new();
    put_response_header(header.api_key, header.api_version, header.correlation_id, &mut out);
    response.encode(&mut out, header.api_version).map_err(|error| invalid(header, error))?;
    Ok(Answer { bytes: out.freeze(), committed_offset: -1, is_refused: false })
}

fn invalid(header: &RequestHeader, reason: impl ToString) -> InvalidRequest {
    InvalidRequest { api_key: header.api_key, api_version: header.api_version, reason: reason.to_string() }
}
