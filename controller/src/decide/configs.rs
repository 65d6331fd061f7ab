//! AlterConfigs and IncrementalAlterConfigs, and the configuration values that decisions depend on.
//!
//! What a value may be is said by [`metadata::config`]; here it is who may set it where. A resource succeeds or
//! fails whole. With eligible leader replicas, a change of `min.insync.replicas` clears them (KIP-966).

use std::collections::{BTreeMap, BTreeSet};

use metadata::config::alter::{self, Alteration, Change, Operation, ResourceType};
use metadata::config::{ConfigError, Layers, Overrides, Value, describe, topic_key};
use metadata::image::{ConfigResource, resource_type};
use protocol::features::ELR_VERSION;
use protocol::messages::alter_configs_request::AlterConfigsResource as LegacyResource;
use protocol::messages::alter_configs_response::AlterConfigsResourceResponse as LegacyResult;
use protocol::messages::create_topics_request::CreatableTopic;
use protocol::messages::create_topics_response::CreatableTopicConfigs;
use protocol::messages::incremental_alter_configs_request::AlterConfigsResource;
use protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use protocol::messages::{
    AlterConfigsRequest, AlterConfigsResponse, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
};
use protocol::records::{ClearElrRecord, ConfigRecord, Record};
use protocol::{ErrorCode, StrBytes};

use super::View;
use crate::api_error::{ApiError, code_and_message};
use crate::event::{Decision, Response};

/// The key whose change clears eligible leader replicas.
pub(super) const MIN_INSYNC_REPLICAS: &str = "min.insync.replicas";
const UNCLEAN_ELECTION: &str = "unclean.leader.election.enable";

/// A refused configuration as an answer says it.
pub(super) fn refused(error: ConfigError) -> ApiError {
    ApiError::new(ErrorCode(error.code()), error.to_string())
}

/// Calls `f` with the configuration of this node, on which topics fall back.
fn with_layers<T>(view: View<'_>, f: impl FnOnce(&Layers<'_>) -> T) -> T {
    let resources = &view.image.configs.resources;
    let broker = resources.get(&ConfigResource::broker(view.rules.node_id));
    let cluster = resources.get(&ConfigResource::cluster_default());
    f(&Layers { broker: &broker, cluster: &cluster, fixed: &view.rules.fixed })
}

/// True if eligible leader replicas are kept.
pub(super) fn elr_enabled(view: View<'_>) -> bool {
    let features = &view.image.features;
    features.metadata_version().is_elr_supported() && features.level(ELR_VERSION) > 0
}

/// `min.insync.replicas` of the topic, not capped by its replicas.
pub(super) fn min_insync_replicas(view: View<'_>, topic: &str) -> usize {
    match topic_value(view, topic, MIN_INSYNC_REPLICAS) {
        Some(Value::Integer(value)) => usize::try_from(value).unwrap_or(1),
        _ => 1,
    }
}

/// `unclean.leader.election.enable` of the topic.
pub(super) fn unclean_election_enabled(view: View<'_>, topic: &str) -> bool {
    matches!(topic_value(view, topic, UNCLEAN_ELECTION), Some(Value::Boolean(true)))
}

fn topic_value(view: View<'_>, topic: &str, key: &str) -> Option<Value> {
    let overrides = view.image.configs.resources.get(&ConfigResource::topic(topic));
    with_layers(view, |layers| layers.resource_value(&overrides, topic_key(key)?))
}

/// The node's own value of `min.insync.replicas`, which the cluster gets when ELR is switched on.
pub(super) fn default_min_insync_replicas(view: View<'_>) -> String {
    let value = view.rules.fixed.value(MIN_INSYNC_REPLICAS);
    value.map_or_else(|| "1".to_owned(), |value| value.to_string())
}

pub(super) fn alter_incrementally(view: View<'_>, request: &IncrementalAlterConfigsRequest) -> Decision {
    let duplicates =
        duplicates(request.resources.iter().map(|r| (r.resource_type, r.resource_name.as_str())));
    let mut records = Vec::new();
    let mut response = IncrementalAlterConfigsResponse::default();
    for resource in &request.resources {
        let key = (resource.resource_type, resource.resource_name.as_str());
        let result = if duplicates.contains(&key) { Err(duplicate()) } else { incremental(view, resource) };
        let (code, message) = code_and_message(&result);
        records.extend(result.into_iter().flatten());
        response.responses.push(
            AlterConfigsResourceResponse::default()
                .with_error_code(code)
                .with_error_message(message)
                .with_resource_type(resource.resource_type)
                .with_resource_name(resource.resource_name.clone()),
        );
    }
    finish(view, request.validate_only, records, response.into())
}

pub(super) fn alter(view: View<'_>, request: &AlterConfigsRequest) -> Decision {
    let duplicates =
        duplicates(request.resources.iter().map(|r| (r.resource_type, r.resource_name.as_str())));
    let mut records = Vec::new();
    let mut response = AlterConfigsResponse::default();
    for resource in &request.resources {
        let key = (resource.resource_type, resource.resource_name.as_str());
        let result = if duplicates.contains(&key) { Err(duplicate()) } else { replace(view, resource) };
        let (code, message) = code_and_message(&result);
        records.extend(result.into_iter().flatten());
        response.responses.push(
            LegacyResult::default()
                .with_error_code(code)
                .with_error_message(message)
                .with_resource_type(resource.resource_type)
                .with_resource_name(resource.resource_name.clone()),
        );
    }
    finish(view, request.validate_only, records, response.into())
}

fn duplicate() -> ApiError {
    ApiError::new(ErrorCode::INVALID_REQUEST, "Each resource must appear at most once.")
}

fn finish(view: View<'_>, validate_only: bool, mut records: Vec<Record>, reply: Response) -> Decision {
    if validate_only {
        records.clear();
    }
    records.extend(clear_elr_records(view, &records));
    Decision { records, atomic: true, reply: Some(reply), ..Decision::default() }
}

fn clear_elr_records(view: View<'_>, records: &[Record]) -> Vec<Record> {
    if !elr_enabled(view) {
        return Vec::new();
    }
    let cleared = records.iter().filter_map(|record| match record {
        Record::Config(config) if config.name == MIN_INSYNC_REPLICAS => {
            let of_topic = config.resource_type == resource_type::TOPIC;
            let topic_name = if of_topic { config.resource_name.clone() } else { String::new() };
            Some(Record::ClearElr(ClearElrRecord { topic_name }))
        }
        _ => None,
    });
    cleared.collect()
}

/// The resources that a request names more than once.
fn duplicates<'a>(keys: impl Iterator<Item = (i8, &'a str)>) -> BTreeSet<(i8, &'a str)> {
    let mut seen = BTreeSet::new();
    keys.filter(|key| !seen.insert(*key)).collect()
}

fn resource_kind(code: i8) -> Result<ResourceType, ApiError> {
    let unknown = || ApiError::new(ErrorCode::UNSUPPORTED_VERSION, format!("Unknown resource type {code}."));
    ResourceType::from_code(code).ok_or_else(unknown)
}

/// The records of one resource of an IncrementalAlterConfigs request.
fn incremental(view: View<'_>, request: &AlterConfigsResource) -> Result<Vec<Record>, ApiError> {
    let kind = resource_kind(request.resource_type)?;
    let mut alterations = Vec::with_capacity(request.configs.len());
    for config in &request.configs {
        let code = config.config_operation;
        let operation = Operation::from_code(code).ok_or_else(|| {
            ApiError::new(ErrorCode::INVALID_REQUEST, format!("Unknown operations type {code}"))
        })?;
        alterations.push(Alteration { name: &config.name, operation, value: config.value.as_deref() });
    }
    alter::check_form(&alterations).map_err(refused)?;
    let resource = ConfigResource { kind: request.resource_type, name: request.resource_name.to_string() };
    let current = view.image.configs.of(&resource);
    let changes = alter::incremental(kind, &current, &alterations).map_err(refused)?;
    check_and_write(view, kind, &resource, &current, changes)
}

/// The records of one resource of an AlterConfigs request.
fn replace(view: View<'_>, request: &LegacyResource) -> Result<Vec<Record>, ApiError> {
    let kind = resource_kind(request.resource_type)?;
    let alterations = request.configs.iter().map(|config| Alteration {
        name: &config.name,
        operation: Operation::Set,
        value: config.value.as_deref(),
    });
    let alterations: Vec<_> = alterations.collect();
    alter::check_form(&alterations).map_err(refused)?;
    let wanted: Vec<(&str, &str)> =
        alterations.iter().filter_map(|alteration| Some((alteration.name, alteration.value?))).collect();
    let resource = ConfigResource { kind: request.resource_type, name: request.resource_name.to_string() };
    let current = view.image.configs.of(&resource);
    let changes = alter::legacy(kind, &current, &wanted);
    check_and_write(view, kind, &resource, &current, changes)
}

/// Checks the resource as it would be after `changes`: its values first, then that it exists.
fn check_and_write(
    view: View<'_>,
    kind: ResourceType,
    resource: &ConfigResource,
    current: &dyn Overrides,
    changes: Vec<Change>,
) -> Result<Vec<Record>, ApiError> {
    let all = alter::merged(current, &changes);
    let name = resource.name.as_str();
    with_layers(view, |layers| {
        alter::validate(kind, name, &all, layers)?;
        // A broker checks its own changes before it forwards them; here for those that did not pass one.
        let own = name.is_empty() || name == view.rules.node_id.to_string();
        match kind {
            ResourceType::Broker if own => alter::broker_change(view.rules.node_id, name, &all, layers),
            _ => Ok(()),
        }
    })
    .map_err(refused)?;
    match kind {
        ResourceType::Topic if view.image.topics.by_name(name).is_none() => {
            let message = format!("The topic '{name}' does not exist.");
            return Err(ApiError::new(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, message));
        }
        ResourceType::Broker => check_broker(view, name, &changes)?,
        _ => {}
    }
    Ok(changes.into_iter().map(|change| config_record(resource, change.name, change.value)).collect())
}

fn check_broker(view: View<'_>, name: &str, changes: &[Change]) -> Result<(), ApiError> {
    if let Ok(id) = name.parse::<i32>()
        && view.image.cluster.broker(id).is_none()
        && !view.rules.quorum.contains(&id)
    {
        let message = format!("No node with id {id} found.");
        return Err(ApiError::new(ErrorCode::BROKER_ID_NOT_REGISTERED, message));
    }
    let min_isr = changes.iter().find(|change| change.name == MIN_INSYNC_REPLICAS);
    let Some(min_isr) = min_isr.filter(|_| elr_enabled(view)) else { return Ok(()) };
    let invalid = |message: &str| Err(ApiError::new(ErrorCode::INVALID_CONFIG, message));
    if !name.is_empty() {
        return invalid("Broker-level min.insync.replicas cannot be altered while ELR is enabled.");
    }
    if min_isr.value.is_none() {
        return invalid("Cluster-level min.insync.replicas cannot be removed while ELR is enabled.");
    }
    Ok(())
}

/// The records that configure the new topic `name`.
pub(super) fn new_topic_records(
    view: View<'_>,
    name: &str,
    values: &BTreeMap<String, String>,
) -> Result<Vec<Record>, ApiError> {
    let resource = ConfigResource::topic(name);
    with_layers(view, |layers| alter::validate_topic(values, layers)).map_err(refused)?;
    let records =
        values.iter().map(|(key, value)| config_record(&resource, key.clone(), Some(value.clone())));
    Ok(records.collect())
}

/// The configuration of a new topic as the answer to CreateTopics tells it, sorted by key.
pub(super) fn describe_new_topic(view: View<'_>, topic: &CreatableTopic) -> Vec<CreatableTopicConfigs> {
    let given = topic
        .configs
        .iter()
        .filter_map(|config| config.value.as_ref().map(|value| (config.name.as_str(), value.as_str())));
    let given: BTreeMap<&str, &str> = given.collect();
    let entries = with_layers(view, |layers| describe::topic(&given, layers, None));
    let answers = entries.into_iter().map(|entry| {
        CreatableTopicConfigs::default()
            .with_name(StrBytes::from_string(entry.name))
            .with_value(entry.value.map(StrBytes::from_string))
            .with_read_only(entry.read_only)
            .with_config_source(entry.source.code())
            .with_is_sensitive(entry.is_sensitive)
    });
    answers.collect()
}

fn config_record(resource: &ConfigResource, name: String, value: Option<String>) -> Record {
    let (resource_type, resource_name) = (resource.kind, resource.name.clone());
    Record::Config(ConfigRecord { resource_type, resource_name, name, value })
}
