//! DescribeConfigs.

use protocol::messages::describe_configs_request::DescribeConfigsResource;
use protocol::messages::{
    DescribeConfigsRequest, DescribeConfigsResponse, ListConfigResourcesRequest, ListConfigResourcesResponse,
};

use super::session::{Session, s};
use super::topics::make;

const TOPIC: i8 = 2;
const BROKER: i8 = 4;

pub(super) fn resource(kind: i8, name: &str, keys: Option<&[&str]>) -> DescribeConfigsResource {
    DescribeConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(s(name))
        .with_configuration_keys(keys.map(|keys| keys.iter().map(|k| s(k)).collect()))
}

pub(super) fn describe(resources: Vec<DescribeConfigsResource>) -> DescribeConfigsRequest {
    DescribeConfigsRequest::default().with_resources(resources).with_include_synonyms(true)
}

/// The order of the entries is that of a hash table in Apache Kafka.
pub(super) fn sorted(r: &mut DescribeConfigsResponse) {
    for result in &mut r.results {
        result.configs.sort_by(|a, b| a.name.cmp(&b.name));
    }
}

pub(super) fn script(session: &mut Session) {
    make(session, "c", 1, &[("retention.ms", "1234"), ("cleanup.policy", "compact")]);
    let some: &[&str] = &["retention.ms", "cleanup.policy", "max.message.bytes", "no.such", "segment.bytes"];
    for version in 1..=4 {
        for (label, request) in [
            ("topic", describe(vec![resource(TOPIC, "c", Some(some))])),
            ("no synonyms", describe(vec![resource(TOPIC, "c", Some(some))]).with_include_synonyms(false)),
            ("unknown topic", describe(vec![resource(TOPIC, "unknown", None)])),
            ("bad topic", describe(vec![resource(TOPIC, "a b", None)])),
            ("empty topic", describe(vec![resource(TOPIC, "", None)])),
            ("no keys", describe(vec![resource(TOPIC, "c", Some(&[]))])),
            (
                "broker",
                describe(vec![resource(
                    BROKER,
                    "1",
                    Some(&["log.retention.ms", "num.partitions", "node.id", "process.roles"]),
                )]),
            ),
            ("other broker", describe(vec![resource(BROKER, "7", None)])),
            ("not a broker", describe(vec![resource(BROKER, "x", None)])),
            ("all brokers", describe(vec![resource(BROKER, "", None)])),
            ("kind 0", describe(vec![resource(0, "x", None)])),
            ("kind 99", describe(vec![resource(99, "x", None)])),
            ("none", describe(vec![])),
            ("twice", describe(vec![resource(TOPIC, "c", Some(some)), resource(TOPIC, "c", Some(some))])),
        ] {
            session.ask_with(version, label, &request, sorted);
        }
    }
    for (label, kind, name) in [
        ("group", 32, "g"),
        ("empty group", 32, ""),
        ("client metrics", 16, "m"),
        ("no client metrics", 16, ""),
    ] {
        session.ask_with(4, label, &describe(vec![resource(kind, name, None)]), sorted);
    }
    session.ask_with(4, "whole topic", &describe(vec![resource(TOPIC, "c", None)]), sorted);
    session.ask_with(4, "logger", &describe(vec![resource(8, "1", Some(&["no.such.logger"]))]), sorted);
    session.ask_with(4, "logger of none", &describe(vec![resource(8, "x", None)]), sorted);
    session.ask_with(4, "logger of another", &describe(vec![resource(8, "7", None)]), sorted);
    let documented =
        describe(vec![resource(TOPIC, "c", Some(&["retention.ms"]))]).with_include_documentation(true);
    session.ask_with(4, "documented", &documented, |r| {
        for config in r.results.iter_mut().flat_map(|r| &mut r.configs) {
            config.documentation = config.documentation.as_ref().map(|_| s("text"));
        }
    });
    resources(session);
}

/// ListConfigResources; Apache Kafka has no order of topics.
fn resources(session: &mut Session) {
    let by_name = |r: &mut ListConfigResourcesResponse| {
        r.config_resources.sort_by_key(|one| (one.resource_type, one.resource_name.to_string()));
    };
    session.ask_with(0, "", &ListConfigResourcesRequest::default(), by_name);
    for types in [vec![], vec![2], vec![4], vec![8], vec![16], vec![32], vec![4, 2], vec![0], vec![2, 99]] {
        let label = format!("types {types:?}");
        let request = ListConfigResourcesRequest::default().with_resource_types(types);
        session.ask_with(1, &label, &request, by_name);
    }
}
