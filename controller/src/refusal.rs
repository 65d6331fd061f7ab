//! The answer to a request that is not decided at all, such as by a controller that is not active.

use std::collections::BTreeSet;

use protocol::messages::alter_client_quotas_response::{EntityData, EntryData};
use protocol::messages::alter_configs_response::AlterConfigsResourceResponse as LegacyResult;
use protocol::messages::alter_user_scram_credentials_response::AlterUserScramCredentialsResult;
use protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use protocol::messages::create_topics_response::CreatableTopicResult;
use protocol::messages::delete_topics_response::DeletableTopicResult;
use protocol::messages::elect_leaders_response::{PartitionResult, ReplicaElectionResult};
use protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use protocol::messages::{
    AllocateProducerIdsResponse, AlterClientQuotasRequest, AlterClientQuotasResponse, AlterConfigsResponse,
    AlterPartitionReassignmentsResponse, AlterPartitionResponse, AlterUserScramCredentialsRequest,
    AlterUserScramCredentialsResponse, AssignReplicasToDirsResponse, BrokerHeartbeatResponse,
    BrokerRegistrationResponse, ControllerRegistrationResponse, CreatePartitionsResponse,
    CreateTopicsResponse, DeleteTopicsResponse, ElectLeadersRequest, ElectLeadersResponse,
    IncrementalAlterConfigsResponse, ListPartitionReassignmentsResponse, UnregisterBrokerResponse,
    UpdateFeaturesResponse,
};

use crate::api_error::ApiError;
use crate::event::{Request, Response};

/// Answers `request` with `error` in the places where its answer has room for one.
pub(crate) fn refuse(version: i16, request: &Request, error: &ApiError) -> Response {
    let (code, message) = (error.code(), error.wire_message());
    match request {
        Request::CreateTopics(request) => {
            let results = request.topics.iter().map(|topic| {
                CreatableTopicResult::default()
                    .with_name(topic.name.clone())
                    .with_error_code(code)
                    .with_error_message(message.clone())
                    .with_configs(Some(Vec::new()))
            });
            CreateTopicsResponse::default().with_topics(results.collect()).into()
        }
        Request::DeleteTopics(request) => {
            let results = request.topics.iter().map(|topic| {
                DeletableTopicResult::default().with_name(topic.name.clone()).with_topic_id(topic.topic_id)
            });
            let named = request
                .topic_names
                .iter()
                .map(|name| DeletableTopicResult::default().with_name(Some(name.clone())));
            let results = results.chain(named);
            let results =
                results.map(|result| result.with_error_code(code).with_error_message(message.clone()));
            DeleteTopicsResponse::default().with_responses(results.collect()).into()
        }
        Request::CreatePartitions(request) => {
            let results = request.topics.iter().map(|topic| {
                CreatePartitionsTopicResult::default()
                    .with_name(topic.name.clone())
                    .with_error_code(code)
                    .with_error_message(message.clone())
            });
            CreatePartitionsResponse::default().with_results(results.collect()).into()
        }
        Request::AlterConfigs(request) => {
            let results = request.resources.iter().map(|resource| {
                LegacyResult::default()
                    .with_resource_type(resource.resource_type)
                    .with_resource_name(resource.resource_name.clone())
                    .with_error_code(code)
                    .with_error_message(message.clone())
            });
            AlterConfigsResponse::default().with_responses(results.collect()).into()
        }
        Request::IncrementalAlterConfigs(request) => {
            let results = request.resources.iter().map(|resource| {
                AlterConfigsResourceResponse::default()
                    .with_resource_type(resource.resource_type)
                    .with_resource_name(resource.resource_name.clone())
                    .with_error_code(code)
                    .with_error_message(message.clone())
            });
            IncrementalAlterConfigsResponse::default().with_responses(results.collect()).into()
        }
        Request::ElectLeaders(request) => refuse_elections(version, request, error).into(),
        Request::AlterClientQuotas(request) => refuse_quotas(request, error).into(),
        Request::AlterUserScramCredentials(request) => refuse_credentials(request, error).into(),
        other => refuse_at_top_level(version, other, error),
    }
}

/// ElectLeaders: the error at top level, which version 0 has not, and for each partition that is named.
pub(crate) fn refuse_elections(
    version: i16,
    request: &ElectLeadersRequest,
    error: &ApiError,
) -> ElectLeadersResponse {
    let topics = request.topic_partitions.iter().flatten().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| {
            PartitionResult::default()
                .with_partition_id(*partition)
                .with_error_code(error.code())
                .with_error_message(error.wire_message())
        });
        ReplicaElectionResult::default()
            .with_topic(topic.topic.clone())
            .with_partition_result(partitions.collect())
    });
    ElectLeadersResponse::default()
        .with_error_code(if version >= 1 { error.code() } else { 0 })
        .with_replica_election_results(topics.collect())
}

fn refuse_quotas(request: &AlterClientQuotasRequest, error: &ApiError) -> AlterClientQuotasResponse {
    let entries = request.entries.iter().map(|entry| {
        let parts = entry.entity.iter().map(|part| {
            EntityData::default()
                .with_entity_type(part.entity_type.clone())
                .with_entity_name(part.entity_name.clone())
        });
        EntryData::default()
            .with_error_code(error.code())
            .with_error_message(error.wire_message())
            .with_entity(parts.collect())
    });
    AlterClientQuotasResponse::default().with_entries(entries.collect())
}

fn refuse_credentials(
    request: &AlterUserScramCredentialsRequest,
    error: &ApiError,
) -> AlterUserScramCredentialsResponse {
    let deleted = request.deletions.iter().map(|deletion| &deletion.name);
    let users: BTreeSet<_> = deleted.chain(request.upsertions.iter().map(|one| &one.name)).collect();
    let results = users.into_iter().map(|user| {
        AlterUserScramCredentialsResult::default()
            .with_user(user.clone())
            .with_error_code(error.code())
            .with_error_message(error.wire_message())
    });
    AlterUserScramCredentialsResponse::default().with_results(results.collect())
}

/// For answers with a top-level error.
fn refuse_at_top_level(version: i16, request: &Request, error: &ApiError) -> Response {
    let (code, message) = (error.code(), error.wire_message());
    match request {
        Request::BrokerRegistration(_) => {
            BrokerRegistrationResponse::default().with_error_code(code).with_broker_epoch(-1).into()
        }
        Request::BrokerHeartbeat(_) => BrokerHeartbeatResponse::default().with_error_code(code).into(),
        Request::UnregisterBroker(_) => {
            UnregisterBrokerResponse::default().with_error_code(code).with_error_message(message).into()
        }
        Request::AllocateProducerIds(_) => {
            AllocateProducerIdsResponse::default().with_error_code(code).into()
        }
        Request::UpdateFeatures(_) => {
            UpdateFeaturesResponse::default().with_error_code(code).with_error_message(message).into()
        }
        Request::ControllerRegistration(_) => {
            ControllerRegistrationResponse::default().with_error_code(code).with_error_message(message).into()
        }
        Request::AlterPartition(_) => AlterPartitionResponse::default().with_error_code(code).into(),
        Request::AlterPartitionReassignments(_) => AlterPartitionReassignmentsResponse::default()
            .with_error_code(code)
            .with_error_message(message)
            .into(),
        Request::ListPartitionReassignments(_) => ListPartitionReassignmentsResponse::default()
            .with_error_code(code)
            .with_error_message(message)
            .into(),
        Request::AssignReplicasToDirs(_) => {
            AssignReplicasToDirsResponse::default().with_error_code(code).into()
        }
        Request::CreateTopics(_)
        | Request::DeleteTopics(_)
        | Request::CreatePartitions(_)
        | Request::AlterConfigs(_)
        | Request::IncrementalAlterConfigs(_)
        | Request::ElectLeaders(_)
        | Request::AlterClientQuotas(_)
        | Request::AlterUserScramCredentials(_) => refuse(version, request, error),
    }
}
