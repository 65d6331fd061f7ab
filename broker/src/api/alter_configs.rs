//! AlterConfigs (key 33), versions 0-2, and IncrementalAlterConfigs (key 44), versions 0-1 (KIP-339): what the
//! broker checks before the controller gets the request.
//!
//! - A resource that is named twice fails twice, as does a key that is named twice or a null value to be set.
//! - A change to a broker's configuration must suit this broker: another broker's id is refused here.
//! - What is refused here is left out of the request to the controller; its answers are put together again.

use std::collections::{BTreeMap, HashMap};

use metadata::config::alter::{self, Alteration, Operation, ResourceType};
use metadata::config::{ConfigError, Layers, Overrides, StaticConfig};
use metadata::image::{ConfigResource, MetadataImage};
use protocol::ErrorCode;
use protocol::messages::{AlterConfigsRequest, IncrementalAlterConfigsRequest};

/// Per resource of a request, in order: `None` if the controller is to decide, else the refusal.
pub(crate) type Screened = Vec<Option<(i16, String)>>;

/// What broker `node_id`, started with `fixed`, refuses of an incremental request.
pub(crate) fn screen_incremental(
    image: &MetadataImage,
    node_id: i32,
    fixed: &StaticConfig,
    request: &IncrementalAlterConfigsRequest,
) -> Screened {
    let resources: Vec<(i8, &str)> =
        request.resources.iter().map(|r| (r.resource_type, r.resource_name.as_str())).collect();
    screen(&resources, |i| {
        let resource = &request.resources[i];
        let mut alterations = Vec::with_capacity(resource.configs.len());
        for config in &resource.configs {
            alterations.push(Alteration {
                name: &config.name,
                operation: Operation::from_code(config.config_operation).ok_or_else(|| {
                    ConfigError::Request(format!("Unknown operations type {}", config.config_operation))
                })?,
                value: config.value.as_deref(),
            });
        }
        alter::check_form(&alterations)?;
        check_resource(image, node_id, fixed, resources[i], |current| {
            let changes = alter::incremental(ResourceType::Broker, current, &alterations)?;
            Ok(alter::merged(current, &changes))
        })
    })
}

/// What broker `node_id`, started with `fixed`, refuses of a legacy request.
pub(crate) fn screen_legacy(
    image: &MetadataImage,
    node_id: i32,
    fixed: &StaticConfig,
    request: &AlterConfigsRequest,
) -> Screened {
    let resources: Vec<(i8, &str)> =
        request.resources.iter().map(|r| (r.resource_type, r.resource_name.as_str())).collect();
    screen(&resources, |i| {
        let set = |config: &'_ protocol::messages::alter_configs_request::AlterableConfig| {
            (config.name.to_string(), config.value.as_ref().map(|value| value.to_string()))
        };
        let wanted: Vec<(String, Option<String>)> = request.resources[i].configs.iter().map(set).collect();
        let alterations: Vec<Alteration<'_>> = wanted
            .iter()
            .map(|(name, value)| Alteration { name, operation: Operation::Set, value: value.as_deref() })
            .collect();
        alter::check_form(&alterations)?;
        if resources[i].0 == ResourceType::BrokerLogger.code() {
            return Err(ConfigError::Request("Unknown resource type 8".to_owned()));
        }
        check_resource(image, node_id, fixed, resources[i], |_| {
            Ok(wanted.iter().filter_map(|(name, value)| Some((name.clone(), value.clone()?))).collect())
        })
    })
}

fn screen(resources: &[(i8, &str)], check: impl Fn(usize) -> Result<(), ConfigError>) -> Screened {
    let mut counts = HashMap::new();
    resources.iter().for_each(|resource| *counts.entry(resource).or_insert(0) += 1);
    let verdict = |i: usize| {
        if counts[&resources[i]] > 1 {
            return Err(ConfigError::Request("Each resource must appear at most once.".to_owned()));
        }
        check(i)
    };
    (0..resources.len()).map(|i| verdict(i).err().map(|e| (e.code(), e.to_string()))).collect()
}

/// `all` gives what the broker resource would have set, from what it has set.
fn check_resource(
    image: &MetadataImage,
    node_id: i32,
    fixed: &StaticConfig,
    (code, name): (i8, &str),
    all: impl FnOnce(&dyn Overrides) -> Result<BTreeMap<String, String>, ConfigError>,
) -> Result<(), ConfigError> {
    match ResourceType::from_code(code) {
        Some(ResourceType::Topic | ResourceType::ClientMetrics | ResourceType::Group) => Ok(()),
        Some(ResourceType::Broker) => {
            let resources = &image.configs.resources;
            let broker = resources.get(&ConfigResource::broker(node_id));
            let cluster = resources.get(&ConfigResource::cluster_default());
            let layers = Layers { broker: &broker, cluster: &cluster, fixed };
            let current = image.configs.of(&ConfigResource { kind: code, name: name.to_owned() });
            alter::broker_change(node_id, name, &all(&current)?, &layers)
        }
        Some(ResourceType::BrokerLogger) => {
            Err(ConfigError::Request("The log levels of this broker are set when it starts".to_owned()))
        }
        None => Err(ConfigError::Request(format!("Unknown resource type {code}"))),
    }
}

/// Puts the controller's answers, which cover the resources that were not refused, back among the refusals.
/// A missing answer is UNKNOWN_SERVER_ERROR.
pub(crate) fn reassemble(
    resources: &[(i8, String)],
    screened: Screened,
    mut decided: BTreeMap<(i8, String), (i16, Option<String>)>,
) -> Vec<(i16, Option<String>)> {
    let answer = |(resource, refused): (&(i8, String), Option<(i16, String)>)| match refused {
        Some((code, message)) => (code, Some(message)),
        None => decided.remove(resource).unwrap_or((ErrorCode::UNKNOWN_SERVER_ERROR.code(), None)),
    };
    resources.iter().zip(screened).map(answer).collect()
}

#[cfg(test)]
mod tests {
    use protocol::StrBytes;
    use protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};

    use super::*;

    /// Type and name of a resource; key, operation and value of each of its changes.
    type Resource<'a> = (i8, &'a str, &'a [(&'a str, i8, Option<&'a str>)]);

    fn request(resources: &[Resource<'_>]) -> IncrementalAlterConfigsRequest {
        let text = |text: &str| StrBytes::from_string(text.to_owned());
        let config = |(name, operation, value): &(&str, i8, Option<&str>)| {
            AlterableConfig::default()
                .with_name(text(name))
                .with_config_operation(*operation)
                .with_value(value.map(text))
        };
        let resource = |(kind, name, configs): &Resource<'_>| {
            AlterConfigsResource::default()
                .with_resource_type(*kind)
                .with_resource_name(text(name))
                .with_configs(configs.iter().map(config).collect())
        };
        IncrementalAlterConfigsRequest::default().with_resources(resources.iter().map(resource).collect())
    }

    #[test]
    fn only_what_suits_this_broker_is_forwarded() {
        let properties = [
            ("process.roles", "broker,controller"),
            ("node.id", "1"),
            ("controller.listener.names", "CONTROLLER"),
            ("listeners", "PLAINTEXT://:9092,CONTROLLER://:9093"),
            ("controller.quorum.voters", "1@localhost:9093"),
        ];
        let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        let fixed = StaticConfig::new(properties.into_iter().map(own).collect()).unwrap();
        let image = MetadataImage::default();
        let request = request(&[
            (2, "t", &[("retention.ms", 0, Some("1"))]),
            (2, "u", &[("retention.ms", 0, None)]),
            (2, "v", &[("retention.ms", 9, Some("1"))]),
            (4, "2", &[("message.max.bytes", 0, Some("1"))]),
            (4, "1", &[("message.max.bytes", 0, Some("many"))]),
            (4, "1", &[("message.max.bytes", 0, Some("1"))]),
            (4, "", &[("message.max.bytes", 0, Some("1"))]),
            (99, "", &[]),
        ]);
        let screened = screen_incremental(&image, 1, &fixed, &request);
        let messages: Vec<Option<&str>> =
            screened.iter().map(|refused| refused.as_ref().map(|(_, message)| message.as_str())).collect();
        assert_eq!(
            messages,
            [
                None,
                Some("Null value not supported for : retention.ms"),
                Some("Unknown operations type 9"),
                Some("Unexpected broker id, expected 1, but received 2"),
                Some("Each resource must appear at most once."),
                Some("Each resource must appear at most once."),
                None,
                Some("Unknown resource type 99"),
            ]
        );
        let resources: Vec<(i8, String)> =
            request.resources.iter().map(|r| (r.resource_type, r.resource_name.to_string())).collect();
        let decided = BTreeMap::from([((2, "t".to_owned()), (0, None))]);
        let codes: Vec<i16> =
            reassemble(&resources, screened, decided).into_iter().map(|(code, _)| code).collect();
        assert_eq!(codes, [0, 42, 42, 42, 42, 42, -1, 42]);
    }
}
