//! What a broker or a controller answers to DescribeConfigs (key 32), versions 1-4: v1 synonyms (KIP-226), v3
//! documentation and types (KIP-569).
//!
//! - A node answers for itself and for the default of all brokers, not for another one: INVALID_REQUEST.
//! - No list of keys, or an empty one, asks for all of them.

use protocol::messages::describe_configs_request::DescribeConfigsResource;
use protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use protocol::messages::{DescribeConfigsRequest, DescribeConfigsResponse};
use protocol::repeats::Repeats;
use protocol::{ErrorCode, StrBytes};

use super::alter::{ResourceType, validate_topic_name};
use super::describe::{self, ConfigEntry};
use super::{ConfigError, ConfigSource, ConfigSynonym, Kind, Layers, StaticConfig};
use crate::image::{ConfigResource, MetadataImage};

/// What node `node_id`, started with `fixed`, answers at the metadata of `image`.
pub fn answer(
    image: &MetadataImage,
    node_id: i32,
    fixed: &StaticConfig,
    request: &DescribeConfigsRequest,
) -> DescribeConfigsResponse {
    let mut repeats = Repeats::new();
    let results = request.resources.iter().map(|resource| {
        let answered = match repeats.allow((resource.resource_type, resource.resource_name.as_str())) {
            true => entries(image, node_id, fixed, resource),
            false => Err((ErrorCode::INVALID_REQUEST.code(), "The resource is named too often.".to_owned())),
        };
        let result = match answered {
            Ok(entries) => DescribeConfigsResult::default()
                .with_configs(entries.into_iter().map(|entry| to_wire(entry, request)).collect()),
            Err((code, message)) => DescribeConfigsResult::default()
                .with_error_code(code)
                .with_error_message(Some(StrBytes::from_string(message))),
        };
        result.with_resource_type(resource.resource_type).with_resource_name(resource.resource_name.clone())
    });
    DescribeConfigsResponse::default().with_results(results.collect())
}

fn entries(
    image: &MetadataImage,
    node_id: i32,
    fixed: &StaticConfig,
    resource: &DescribeConfigsResource,
) -> Result<Vec<ConfigEntry>, (i16, String)> {
    let name = resource.resource_name.as_str();
    let resources = &image.configs.resources;
    let broker = resources.get(&ConfigResource::broker(node_id));
    let cluster = resources.get(&ConfigResource::cluster_default());
    let layers = Layers { broker: &broker, cluster: &cluster, fixed };
    let keys: Option<Vec<&str>> =
        resource.configuration_keys.as_ref().map(|keys| keys.iter().map(StrBytes::as_str).collect());
    let only = keys.as_deref();
    let own = resources.get(&ConfigResource { kind: resource.resource_type, name: name.to_owned() });
    let invalid = |message: String| Err((ErrorCode::INVALID_REQUEST.code(), message));
    match ResourceType::from_code(resource.resource_type) {
        Some(ResourceType::Topic) => {
            validate_topic_name(name).map_err(|e: ConfigError| (e.code(), e.to_string()))?;
            if image.topics.by_name(name).is_none() {
                // Kafka sends an empty message with this one.
                return Err((ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.code(), String::new()));
            }
            Ok(describe::topic(&own, &layers, only))
        }
        Some(ResourceType::Broker) if name.is_empty() => Ok(describe::cluster_default(&layers, only)),
        Some(ResourceType::Broker) if is_node(name, node_id)? => Ok(describe::broker(&layers, only)),
        Some(ResourceType::Broker) => {
            invalid(format!("Unexpected broker id, expected {node_id} or empty string, but received {name}"))
        }
        Some(ResourceType::BrokerLogger) if name.is_empty() => {
            invalid("Broker id must not be empty".to_owned())
        }
        Some(ResourceType::BrokerLogger) if is_node(name, node_id)? => Ok(loggers(only)),
        Some(ResourceType::BrokerLogger) => {
            invalid(format!("Unexpected broker id, expected {node_id} but received {name}"))
        }
        Some(ResourceType::ClientMetrics) if name.is_empty() => {
            invalid("Client metrics subscription name must not be empty".to_owned())
        }
        Some(ResourceType::ClientMetrics) => Ok(describe::client_metrics(&own, &layers, only)),
        Some(ResourceType::Group) if name.is_empty() => invalid("Group name must not be empty".to_owned()),
        Some(ResourceType::Group) => Ok(describe::group(&own, &layers, only)),
        None => invalid(ErrorCode::INVALID_REQUEST.message().to_owned()),
    }
}

fn is_node(name: &str, node_id: i32) -> Result<bool, (i16, String)> {
    name.parse::<i32>().map(|id| id == node_id).map_err(|_| {
        let message = format!("Broker id must be an integer, but it is: {name}");
        (ErrorCode::INVALID_REQUEST.code(), message)
    })
}

/// There is one logger, whose level is set when the node starts.
fn loggers(only: Option<&[&str]>) -> Vec<ConfigEntry> {
    if only.is_some_and(|names| !names.is_empty() && !names.contains(&"root")) {
        return Vec::new();
    }
    vec![ConfigEntry {
        name: "root".to_owned(),
        value: Some("INFO".to_owned()),
        read_only: true,
        source: ConfigSource::DynamicLogger,
        is_sensitive: false,
        kind: None,
        synonyms: Vec::new(),
    }]
}

fn to_wire(entry: ConfigEntry, request: &DescribeConfigsRequest) -> DescribeConfigsResourceResult {
    let synonym = |synonym: ConfigSynonym| {
        DescribeConfigsSynonym::default()
            .with_name(StrBytes::from_string(synonym.name))
            .with_value(synonym.value.map(StrBytes::from_string))
            .with_source(synonym.source.code())
    };
    let synonyms = if request.include_synonyms { entry.synonyms } else { Vec::new() };
    DescribeConfigsResourceResult::default()
        .with_name(StrBytes::from_string(entry.name))
        .with_value(entry.value.map(StrBytes::from_string))
        .with_read_only(entry.read_only)
        .with_config_source(entry.source.code())
        .with_is_sensitive(entry.is_sensitive)
        .with_synonyms(synonyms.into_iter().map(synonym).collect())
        .with_config_type(entry.kind.map_or(0, Kind::code))
        .with_documentation(request.include_documentation.then(StrBytes::default))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_result_per_resource() {
        let text = |text: &str| StrBytes::from_string(text.to_owned());
        let resource = |kind: i8, name: &str| {
            DescribeConfigsResource::default().with_resource_type(kind).with_resource_name(text(name))
        };
        let request = DescribeConfigsRequest::default().with_resources(vec![
            resource(2, "no-such-topic"),
            resource(2, "bad name"),
            resource(4, "2"),
            resource(4, "").with_configuration_keys(Some(Vec::new())),
            resource(4, "1").with_configuration_keys(Some(vec![text("num.partitions")])),
            resource(8, "1"),
            resource(3, "x"),
        ]);
        let answer = answer(&MetadataImage::default(), 1, &StaticConfig::default(), &request);
        let codes: Vec<i16> = answer.results.iter().map(|result| result.error_code).collect();
        assert_eq!(codes, [3, 17, 42, 0, 0, 0, 42]);
        let message = answer.results[2].error_message.as_ref().unwrap();
        assert_eq!(message.as_str(), "Unexpected broker id, expected 1 or empty string, but received 2");
        let [entry] = answer.results[4].configs.as_slice() else { panic!("one key was asked for") };
        assert_eq!((entry.value.as_deref(), entry.config_source, entry.config_type), (Some("1"), 5, 3));
        assert!(entry.read_only && entry.synonyms.is_empty());
    }
}
