//! The tables and the answers against those of a running Kafka 4.1.2.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::alter::{Alteration, Change, Operation, ResourceType};
use super::describe::ConfigEntry;
use super::node::NodeConfig;
use super::*;

const GOLDEN: &str = include_str!("../../testdata/describe-configs-4.1.2.json");

type Map = BTreeMap<String, String>;

fn map(pairs: &[(&str, &str)]) -> Map {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// The properties of the golden node, as far as they show in its answer.
fn golden_fixed() -> StaticConfig {
    let mut properties = Map::new();
    for entry in resource(4, "1")["configs"].as_array().unwrap() {
        for synonym in entry["synonyms"].as_array().unwrap() {
            if synonym[2] == "STATIC_BROKER_CONFIG" && synonym[1].is_string() {
                properties.insert(text(&synonym[0]), text(&synonym[1]));
            }
        }
    }
    properties.insert("super.users".into(), "User:admin".into());
    properties.insert("allow.everyone.if.no.acl.found".into(), "true".into());
    StaticConfig::new(properties).unwrap()
}

fn text(json: &Json) -> String {
    json.as_str().unwrap().to_owned()
}

fn resource(code: i64, name: &str) -> Json {
    let all: Vec<Json> = serde_json::from_str(GOLDEN).unwrap();
    all.into_iter().find(|r| r["resource_type"] == code && r["resource_name"] == name).unwrap()
}

fn source_name(source: ConfigSource) -> &'static str {
    match source {
        ConfigSource::DynamicTopic => "DYNAMIC_TOPIC_CONFIG",
        ConfigSource::DynamicBroker => "DYNAMIC_BROKER_CONFIG",
        ConfigSource::DynamicDefault => "DYNAMIC_DEFAULT_BROKER_CONFIG",
        ConfigSource::Static => "STATIC_BROKER_CONFIG",
        ConfigSource::Default => "DEFAULT_CONFIG",
        ConfigSource::DynamicLogger => "DYNAMIC_BROKER_LOGGER_CONFIG",
        ConfigSource::ClientMetrics => "DYNAMIC_CLIENT_METRICS_CONFIG",
        ConfigSource::Group => "DYNAMIC_GROUP_CONFIG",
    }
}

fn to_json(entry: &ConfigEntry) -> Json {
    let synonyms: Vec<Json> =
        entry.synonyms.iter().map(|s| serde_json::json!([s.name, s.value, source_name(s.source)])).collect();
    serde_json::json!({
        "name": entry.name,
        "type": entry.kind.map_or("UNKNOWN", Kind::name),
        "value": entry.value,
        "source": source_name(entry.source),
        "default": entry.source == ConfigSource::Default,
        "read_only": entry.read_only,
        "sensitive": entry.is_sensitive,
        "synonyms": synonyms,
    })
}

fn assert_same(entries: &[ConfigEntry], golden: &Json) {
    let golden = golden["configs"].as_array().unwrap();
    let ours: Vec<Json> = entries.iter().map(to_json).collect();
    for (ours, golden) in ours.iter().zip(golden) {
        assert_eq!(ours, golden);
    }
    assert_eq!(ours.len(), golden.len());
}

#[test]
fn describes_as_kafka_does() {
    let fixed = golden_fixed();
    let dynamic = map(&[("log.cleaner.threads", "2")]);
    let cluster = map(&[("message.max.bytes", "1000000"), ("min.insync.replicas", "1")]);
    let layers = Layers { broker: &dynamic, cluster: &cluster, fixed: &fixed };
    assert_same(&describe::broker(&layers, None), &resource(4, "1"));
    assert_same(&describe::cluster_default(&layers, None), &resource(4, ""));
    let bytes = map(&[("segment.bytes", "1048576"), ("index.interval.bytes", "4096")]);
    assert_same(&describe::topic(&bytes, &layers, Some(&[])), &resource(2, "bytes"));
    let compacted =
        map(&[("cleanup.policy", "compact"), ("segment.ms", "1000"), ("min.cleanable.dirty.ratio", "0.01")]);
    let mut entries = describe::topic(&compacted, &layers, None);
    let golden = resource(2, "compacted");
    for entry in golden["configs"].as_array().unwrap() {
        assert!(
            entry["source"] != "DYNAMIC_TOPIC_CONFIG" || compacted.contains_key(&text(&entry["name"])),
            "the golden topic also sets {}",
            entry["name"]
        );
    }
    assert_same(&entries, &golden);
    entries = describe::group(&NoOverrides, &layers, None);
    assert_same(&entries, &resource(32, "g-848"));
    assert_same(&describe::client_metrics(&NoOverrides, &layers, None), &resource(16, "metrics"));
}

#[test]
fn describes_only_what_is_asked_for() {
    let fixed = StaticConfig::default();
    let entries = describe::topic(&NoOverrides, &Layers::of(&fixed), Some(&["retention.ms", "nothing"]));
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].value.as_deref(), Some("604800000"));
    assert_eq!(entries[0].synonyms.len(), 0, "log.retention.ms is unset, so its synonyms are not shown");
}

#[test]
fn tables_are_consistent() {
    for key in broker_keys().chain(topic_keys()).chain(group_keys()).chain(client_metrics_keys()) {
        if let Some(default) = key.default {
            let value = parse(key, default).unwrap_or_else(|e| panic!("{}: {e}", key.name));
            assert_eq!(value.to_string(), default, "{}", key.name);
        }
        for fallback in key.fallbacks {
            assert!(broker_key(fallback.name).is_some(), "{}", fallback.name);
        }
    }
    assert_eq!(broker_keys().filter(|key| !key.internal).count(), 316);
    for key in BrokerConfig::KEYS.iter().chain(ControllerConfig::KEYS) {
        assert!(broker_key(key).or_else(|| dynamic_only_key(key)).is_some(), "{key}");
    }
    for key in TopicConfig::KEYS {
        assert!(topic_key(key).is_some(), "{key}");
    }
}

#[test]
fn layers_win_in_order() {
    let fixed =
        StaticConfig::new(map(&[("log.retention.hours", "2"), ("log.roll.jitter.hours", "1")])).unwrap();
    let none = NoOverrides;
    let cluster = map(&[("log.retention.ms", "5000"), ("log.segment.bytes", "nonsense")]);
    let broker = map(&[("log.retention.ms", "-7")]);
    let own = map(&[("retention.ms", "77")]);
    let retention =
        |overrides: &dyn Overrides, layers: &Layers<'_>| TopicConfig::of(overrides, layers).retention_ms;
    assert_eq!(retention(&none, &Layers::of(&fixed)), 7_200_000);
    let layers = Layers { broker: &none, cluster: &cluster, fixed: &fixed };
    assert_eq!(retention(&none, &layers), 5000);
    let layers = Layers { broker: &broker, ..layers };
    assert_eq!(retention(&none, &layers), -1);
    assert_eq!(retention(&own, &layers), 77);
    let topic = TopicConfig::of(&none, &layers);
    assert_eq!(topic.segment_bytes, 1 << 30, "a wrong dynamic value is as if absent");
    assert_eq!(topic.segment_jitter_ms, 3_600_000);
    assert_eq!(topic.flush_ms, i64::MAX);
    assert!(topic.cleanup_policy.delete && !topic.cleanup_policy.compact);
}

#[test]
fn refuses_values_in_kafkas_words() {
    let message = |key: &'static ConfigDef, text| parse(key, text).unwrap_err().to_string();
    let broker = |name| broker_key(name).unwrap();
    let topic = |name| topic_key(name).unwrap();
    for (key, text, expected) in [
        (
            broker("num.io.threads"),
            "many",
            "Invalid value many for configuration num.io.threads: Not a number of type INT",
        ),
        (
            topic("retention.ms"),
            "-2",
            "Invalid value -2 for configuration retention.ms: Value must be at least -1",
        ),
        (
            topic("cleanup.policy"),
            "delete, shred",
            "Invalid value shred for configuration cleanup.policy: String must be one of: compact, delete",
        ),
        (
            topic("compression.type"),
            "rar",
            "Invalid value rar for configuration compression.type: String must be one of: uncompressed, \
             zstd, lz4, snappy, gzip, producer",
        ),
        (
            topic("preallocate"),
            "yes",
            "Invalid value yes for configuration preallocate: Expected value to be either true or false",
        ),
        (
            topic("min.cleanable.dirty.ratio"),
            "1.5",
            "Invalid value 1.5 for configuration min.cleanable.dirty.ratio: Value must be no more than 1",
        ),
        (
            topic("compression.gzip.level"),
            "0",
            "Invalid value 0 for configuration compression.gzip.level: Value must be between 1 and 9 or \
             equal to -1",
        ),
    ] {
        assert_eq!(message(key, text), expected);
    }
    assert_eq!(parse(broker("num.io.threads"), " +8 ").unwrap(), Value::Integer(8));
    assert_eq!(parse(topic("cleanup.policy"), " compact , delete ").unwrap().to_string(), "compact,delete");
}

#[test]
fn incremental_changes() {
    let current = map(&[("cleanup.policy", "delete"), ("retention.ms", "5")]);
    let set = |name, operation, value| Alteration { name, operation, value };
    let changes = alter::incremental(
        ResourceType::Topic,
        &current,
        &[
            set("cleanup.policy", Operation::Append, Some("compact,delete")),
            set("retention.ms", Operation::Set, Some("5")),
            set("segment.ms", Operation::Delete, None),
            set("leader.replication.throttled.replicas", Operation::Append, Some("0:1")),
        ],
    );
    let expected = [
        Change { name: "cleanup.policy".into(), value: Some("delete,compact".into()) },
        Change { name: "leader.replication.throttled.replicas".into(), value: Some("0:1".into()) },
    ];
    assert_eq!(changes.unwrap(), expected);
    let wrong = alter::incremental(
        ResourceType::Topic,
        &current,
        &[set("retention.ms", Operation::Append, Some("1"))],
    );
    assert_eq!(
        wrong.unwrap_err().to_string(),
        "Can't APPEND to key retention.ms because its type is not LIST."
    );
    let changes = alter::legacy(ResourceType::Topic, &current, &[("retention.ms", "6")]);
    assert_eq!(alter::merged(&current, &changes), map(&[("retention.ms", "6")]));
    let twice = [set("a", Operation::Delete, None), set("a", Operation::Set, None)];
    assert_eq!(alter::check_form(&twice).unwrap_err().code(), 42);
    assert_eq!(alter::check_form(&twice[1..]).unwrap_err().to_string(), "Null value not supported for : a");
}

#[test]
fn validates_resources() {
    let fixed = golden_fixed();
    let layers = Layers::of(&fixed);
    let topic = |pairs| alter::validate(ResourceType::Topic, "t", &map(pairs), &layers);
    assert_eq!(topic(&[("segment.ms", "1")]), Ok(()));
    assert_eq!(
        topic(&[("no.such.config", "1")]).unwrap_err().to_string(),
        "Unknown topic config name: no.such.config"
    );
    assert_eq!(topic(&[("segment.bytes", "1000")]).unwrap_err().code(), 40);
    assert!(topic(&[("min.compaction.lag.ms", "5"), ("max.compaction.lag.ms", "4")]).is_err());
    assert_eq!(alter::validate_topic_name("a/b").unwrap_err().code(), 17);
    let group = |pairs| alter::validate(ResourceType::Group, "g", &map(pairs), &layers);
    assert_eq!(group(&[("consumer.session.timeout.ms", "46000")]), Ok(()));
    assert_eq!(
        group(&[("consumer.session.timeout.ms", "46")]).unwrap_err().to_string(),
        "consumer.session.timeout.ms must be greater than or equal to group.consumer.min.session.timeout.ms"
    );
    let broker = |name, pairs| alter::broker_change(1, name, &map(pairs), &layers);
    assert_eq!(broker("", &[("message.max.bytes", "9")]), Ok(()));
    assert_eq!(broker("2", &[]).unwrap_err().code(), 42);
    assert_eq!(
        broker("1", &[("node.id", "7")]).unwrap_err().to_string(),
        "Cannot update these configs dynamically: Set(node.id)"
    );
    assert!(broker("", &[("listeners", "PLAINTEXT://:1")]).is_err(), "only for one broker");
    assert!(broker("1", &[("ssl.keystore.password", "x")]).is_err(), "only with a listener");
    assert_eq!(broker("1", &[("log.retention.ms", "0")]).unwrap_err().code(), 42);
}

#[test]
fn node_rules() {
    let good = [
        ("process.roles", "broker,controller"),
        ("node.id", "1"),
        ("controller.listener.names", "CONTROLLER"),
        ("listeners", "PLAINTEXT://127.0.0.1:29800,CONTROLLER://127.0.0.1:29801"),
        ("controller.quorum.voters", "1@127.0.0.1:29801"),
        ("log.dirs", "good"),
    ];
    let node = |change: &[(&str, &str)], without: &str| {
        let mut properties = map(&good);
        properties.extend(map(change));
        properties.remove(without);
        StaticConfig::new(properties).and_then(NodeConfig::new)
    };
    let config = node(&[], "").unwrap();
    assert!(config.is_broker && config.is_controller);
    assert_eq!(config.broker_listeners().count(), 1);
    assert_eq!(config.controller_listeners().next().unwrap().to_string(), "CONTROLLER://127.0.0.1:29801");
    assert_eq!(config.advertised_listeners[0].port, 29800);
    assert_eq!(config.metadata_log_dir, "good");
    let message = |change: &[(&str, &str)], without: &str| node(change, without).unwrap_err().to_string();
    for (change, without, expected) in [
        (
            &[][..],
            "process.roles",
            "Missing required configuration \"process.roles\" which has no default value.",
        ),
        (&[], "node.id", "Missing required configuration \"node.id\" which has no default value."),
        (
            &[("controller.quorum.voters", "5@127.0.0.1:29801")],
            "",
            "If process.roles contains the 'controller' role, the node id 1 must be included in the set of \
             voters controller.quorum.voters=Set(5)",
        ),
        (
            &[("listener.security.protocol.map", "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT")],
            "controller.listener.names",
            "controller.listener.names must contain at least one value appearing in the 'listeners' \
             configuration when running the KRaft controller role",
        ),
        (
            &[("advertised.listeners", "PLAINTEXT://0.0.0.0:29800")],
            "",
            "advertised.listeners cannot use the nonroutable meta-address 0.0.0.0. Use a routable IP address.",
        ),
    ] {
        assert_eq!(message(change, without), expected);
    }
    for (key, value) in [
        ("broker.id", "2"),
        ("listeners", "PLAINTEXT://:1,CONTROLLER://:1"),
        ("listeners", "PLAINTEXT:1"),
        ("listeners", "PLAINTEXT://:1,X://:2,CONTROLLER://:3"),
        ("process.roles", "broker,broker"),
        ("process.roles", "zookeeper"),
        ("inter.broker.listener.name", "INTERNAL"),
        ("controller.quorum.voters", "1@:9"),
        ("controller.quorum.voters", ""),
        ("log.retention.ms", "0"),
    ] {
        assert!(node(&[(key, value)], "").is_err(), "{key}={value}");
    }
    let config = node(&[("broker.id", "1"), ("zookeeper.connect", "z:1")], "node.id").unwrap();
    assert_eq!((config.node_id, config.warnings.len()), (1, 1));
}
