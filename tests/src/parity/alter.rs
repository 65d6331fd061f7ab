//! AlterConfigs, IncrementalAlterConfigs, ElectLeaders, UpdateFeatures, UnregisterBroker, DescribeQuorum.

use protocol::messages::alter_configs_request as legacy;
use protocol::messages::alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic};
use protocol::messages::describe_quorum_request::{PartitionData, TopicData};
use protocol::messages::elect_leaders_request::TopicPartitions;
use protocol::messages::incremental_alter_configs_request as incremental;
use protocol::messages::list_partition_reassignments_request::ListPartitionReassignmentsTopics;
use protocol::messages::update_features_request::FeatureUpdateKey;
use protocol::messages::{
    AlterConfigsRequest, AlterPartitionReassignmentsRequest, BrokerId, DescribeQuorumRequest,
    DescribeQuorumResponse, ElectLeadersRequest, IncrementalAlterConfigsRequest,
    ListPartitionReassignmentsRequest, UnregisterBrokerRequest, UpdateFeaturesRequest,
};

use super::configs::{describe, resource, sorted};
use super::session::{Session, s};
use super::topics::{make, topic_name};

pub(super) const TOPIC: i8 = 2;
pub(super) const BROKER: i8 = 4;
pub(super) const SET: i8 = 0;
pub(super) const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

pub(super) fn script(session: &mut Session) {
    make(session, "alter", 1, &[("retention.ms", "1234")]);
    incremental_changes(session);
    legacy_changes(session);
    elections(session);
    reassignments(session);
    cluster(session);
}

pub(super) type Change<'a> = (&'a str, i8, Option<&'a str>);

pub(super) fn change(kind: i8, name: &str, changes: &[Change<'_>]) -> incremental::AlterConfigsResource {
    let config = |(name, operation, value): &Change<'_>| {
        incremental::AlterableConfig::default()
            .with_name(s(name))
            .with_config_operation(*operation)
            .with_value(value.map(s))
    };
    incremental::AlterConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(s(name))
        .with_configs(changes.iter().map(config).collect())
}

/// Changes and what each is about.
fn changes() -> Vec<(&'static str, Vec<incremental::AlterConfigsResource>)> {
    let topic = |changes: &[Change<'_>]| vec![change(TOPIC, "alter", changes)];
    let broker = |name: &str, changes: &[Change<'_>]| vec![change(BROKER, name, changes)];
    vec![
        ("set", topic(&[("retention.ms", SET, Some("5000"))])),
        ("delete", topic(&[("retention.ms", DELETE, None)])),
        ("delete what is not set", topic(&[("segment.ms", DELETE, None)])),
        ("delete with value", topic(&[("retention.ms", DELETE, Some("1"))])),
        ("append", topic(&[("cleanup.policy", APPEND, Some("compact"))])),
        ("append again", topic(&[("cleanup.policy", APPEND, Some("compact"))])),
        ("subtract", topic(&[("cleanup.policy", SUBTRACT, Some("delete"))])),
        ("subtract what is not there", topic(&[("cleanup.policy", SUBTRACT, Some("delete"))])),
        ("append to a number", topic(&[("retention.ms", APPEND, Some("1"))])),
        ("null", topic(&[("retention.ms", SET, None)])),
        ("unknown key", topic(&[("no.such.config", SET, Some("1"))])),
        ("unknown key deleted", topic(&[("no.such.config", DELETE, None)])),
        ("bad number", topic(&[("retention.ms", SET, Some("soon"))])),
        ("bad choice", topic(&[("cleanup.policy", SET, Some("forget"))])),
        ("too small", topic(&[("segment.bytes", SET, Some("1"))])),
        ("good and bad", topic(&[("retention.ms", SET, Some("1")), ("segment.bytes", SET, Some("x"))])),
        ("key twice", topic(&[("retention.ms", SET, Some("1")), ("retention.ms", SET, Some("2"))])),
        ("no changes", topic(&[])),
        ("unknown topic", vec![change(TOPIC, "unknown", &[("retention.ms", SET, Some("1"))])]),
        ("bad topic", vec![change(TOPIC, "a b", &[("retention.ms", SET, Some("1"))])]),
        ("empty topic", vec![change(TOPIC, "", &[("retention.ms", SET, Some("1"))])]),
        ("broker", broker("1", &[("log.cleaner.threads", SET, Some("2"))])),
        ("broker, read-only", broker("1", &[("node.id", SET, Some("2"))])),
        ("broker, cluster-wide key", broker("1", &[("log.retention.ms", SET, Some("70000"))])),
        ("broker, unknown key", broker("1", &[("no.such.config", SET, Some("2"))])),
        ("broker, bad value", broker("1", &[("log.retention.ms", SET, Some("x"))])),
        ("other broker", broker("7", &[("log.retention.ms", SET, Some("70000"))])),
        ("not a broker", broker("x", &[("log.retention.ms", SET, Some("70000"))])),
        ("negative broker", broker("-1", &[("log.retention.ms", SET, Some("70000"))])),
        ("all brokers", broker("", &[("log.retention.ms", SET, Some("80000"))])),
        ("all brokers, bad value", broker("", &[("num.io.threads", SET, Some("0"))])),
        ("all brokers, own key", broker("", &[("listeners", SET, Some("PLAINTEXT://:1"))])),
        ("logger", vec![change(8, "1", &[("no.such.logger", SET, Some("INFO"))])]),
        ("logger level", vec![change(8, "1", &[("kafka.server", SET, Some("LOUD"))])]),
        ("kind 0", vec![change(0, "x", &[("a", SET, Some("1"))])]),
        ("kind 99", vec![change(99, "x", &[("a", SET, Some("1"))])]),
        ("group", vec![change(32, "g", &[("consumer.session.timeout.ms", SET, Some("50000"))])]),
        ("group, unknown key", vec![change(32, "g", &[("no.such", SET, Some("1"))])]),
        ("group, bad value", vec![change(32, "g", &[("consumer.session.timeout.ms", SET, Some("1"))])]),
        ("client metrics", vec![change(16, "m", &[("interval.ms", SET, Some("60000"))])]),
        ("client metrics, bad", vec![change(16, "m", &[("interval.ms", SET, Some("1"))])]),
        (
            "twice",
            vec![
                change(TOPIC, "alter", &[("retention.ms", SET, Some("1"))]),
                change(TOPIC, "alter", &[("segment.ms", SET, Some("1000"))]),
            ],
        ),
        (
            "one good, one bad",
            vec![
                change(TOPIC, "alter", &[("retention.ms", SET, Some("7000"))]),
                change(TOPIC, "unknown", &[("segment.ms", SET, Some("1000"))]),
            ],
        ),
        ("none", vec![]),
    ]
}

fn incremental_changes(session: &mut Session) {
    for version in [0, 1] {
        for (label, resources) in changes() {
            let request = IncrementalAlterConfigsRequest::default().with_resources(resources);
            session.ask_with(version, label, &request, |r| {
                r.responses.sort_by(|a, b| {
                    (a.resource_type, &a.resource_name).cmp(&(b.resource_type, &b.resource_name))
                });
            });
        }
    }
    for (label, resources) in changes() {
        let request =
            IncrementalAlterConfigsRequest::default().with_resources(resources).with_validate_only(true);
        session.ask_with(1, &format!("validate {label}"), &request, |r| {
            r.responses.sort_by(|a, b| {
                (a.resource_type, &a.resource_name).cmp(&(b.resource_type, &b.resource_name))
            });
        });
    }
    let altered =
        describe(vec![resource(TOPIC, "alter", Some(&["retention.ms", "cleanup.policy", "segment.ms"]))]);
    session.ask_with(4, "after incremental changes", &altered, sorted);
    let keys: &[&str] = &["log.retention.ms", "log.cleaner.threads", "num.io.threads"];
    session.ask_with(
        4,
        "broker after incremental changes",
        &describe(vec![resource(BROKER, "1", Some(keys))]),
        sorted,
    );
    session.ask_with(
        4,
        "all brokers after incremental changes",
        &describe(vec![resource(BROKER, "", None)]),
        sorted,
    );
}

fn legacy_changes(session: &mut Session) {
    for version in [0, 2] {
        for validate in [true, false] {
            for (label, resources) in changes() {
                // Apache Kafka never answers AlterConfigs with the same resource twice.
                if label.contains("append") || label.contains("subtract") || label == "twice" {
                    continue;
                }
                let resources = resources.into_iter().map(|r| {
                    let config = |c: &incremental::AlterableConfig| {
                        legacy::AlterableConfig::default()
                            .with_name(c.name.clone())
                            .with_value(c.value.clone())
                    };
                    legacy::AlterConfigsResource::default()
                        .with_resource_type(r.resource_type)
                        .with_resource_name(r.resource_name)
                        .with_configs(r.configs.iter().map(config).collect())
                });
                let request = AlterConfigsRequest::default()
                    .with_resources(resources.collect())
                    .with_validate_only(validate);
                session.ask_with(version, &format!("{label} {validate}"), &request, |r| {
                    r.responses.sort_by(|a, b| {
                        (a.resource_type, &a.resource_name).cmp(&(b.resource_type, &b.resource_name))
                    });
                });
            }
        }
    }
    let altered =
        describe(vec![resource(TOPIC, "alter", Some(&["retention.ms", "cleanup.policy", "segment.ms"]))]);
    session.ask_with(4, "after legacy changes", &altered, sorted);
}

fn elections(session: &mut Session) {
    let request = |kind: i8, partitions: Option<&[(&str, &[i32])]>| {
        let topic = |(topic, partitions): &(&str, &[i32])| {
            TopicPartitions::default().with_topic(topic_name(topic)).with_partitions(partitions.to_vec())
        };
        ElectLeadersRequest::default()
            .with_election_type(kind)
            .with_topic_partitions(partitions.map(|p| p.iter().map(topic).collect()))
            .with_timeout_ms(10_000)
    };
    for version in 0..=2 {
        session.ask(version, "preferred", &request(0, Some(&[("f", &[0])])));
        session.ask(version, "unknown topic", &request(0, Some(&[("unknown", &[0])])));
        session.ask(version, "unknown partition", &request(0, Some(&[("f", &[9])])));
        session.ask_with(version, "all", &request(0, None), |r| {
            r.replica_election_results.sort_by(|a, b| a.topic.cmp(&b.topic));
        });
        session.ask(version, "no time", &request(0, Some(&[("f", &[0])])).with_timeout_ms(0));
        session.ask(version, "none", &request(0, Some(&[])));
        if version > 0 {
            session.ask(version, "unclean", &request(1, Some(&[("f", &[0])])));
            session.ask(version, "kind 9", &request(9, Some(&[("f", &[0])])));
        }
    }
}

/// Reassignments in a cluster of one broker: nothing can move.
fn reassignments(session: &mut Session) {
    let partition = |index: i32, replicas: Option<&[i32]>| {
        ReassignablePartition::default()
            .with_partition_index(index)
            .with_replicas(replicas.map(|ids| ids.iter().map(|id| BrokerId(*id)).collect()))
    };
    let request = |topic: &str, partitions: Vec<ReassignablePartition>| {
        let topic = ReassignableTopic::default().with_name(topic_name(topic)).with_partitions(partitions);
        AlterPartitionReassignmentsRequest::default().with_timeout_ms(9_000).with_topics(vec![topic])
    };
    for version in [0, 1] {
        for (label, request) in [
            ("where it is", request("alter", vec![partition(0, Some(&[1]))])),
            ("to an unknown broker", request("alter", vec![partition(0, Some(&[7]))])),
            ("to another too", request("alter", vec![partition(0, Some(&[1, 7]))])),
            ("to one twice", request("alter", vec![partition(0, Some(&[1, 1]))])),
            ("to none", request("alter", vec![partition(0, Some(&[]))])),
            ("to a negative broker", request("alter", vec![partition(0, Some(&[-1]))])),
            ("cancelled", request("alter", vec![partition(0, None)])),
            ("unknown partition", request("alter", vec![partition(9, Some(&[1])), partition(0, Some(&[1]))])),
            ("unknown topic", request("nothing", vec![partition(0, Some(&[1]))])),
            ("no partitions", request("alter", vec![])),
            ("no topics", AlterPartitionReassignmentsRequest::default()),
        ] {
            session.ask(version, label, &request);
        }
    }
    let list = |topic: &str, partitions: Vec<i32>| {
        let topic = ListPartitionReassignmentsTopics::default()
            .with_name(topic_name(topic))
            .with_partition_indexes(partitions);
        ListPartitionReassignmentsRequest::default().with_topics(Some(vec![topic]))
    };
    session.ask(0, "all", &ListPartitionReassignmentsRequest::default().with_topics(None));
    session.ask(0, "one", &list("alter", vec![0, 9]));
    session.ask(0, "unknown", &list("nothing", vec![0]));
    session.ask(0, "none", &ListPartitionReassignmentsRequest::default());
}

fn cluster(session: &mut Session) {
    let update = |updates: &[(&str, i16, i8)]| {
        let key = |(feature, level, kind): &(&str, i16, i8)| {
            FeatureUpdateKey::default()
                .with_feature(s(feature))
                .with_max_version_level(*level)
                .with_upgrade_type(*kind)
        };
        UpdateFeaturesRequest::default()
            .with_feature_updates(updates.iter().map(key).collect())
            .with_timeout_ms(9_000)
    };
    for version in [1, 2] {
        for (label, request) in [
            ("none", update(&[])),
            ("unknown", update(&[("no.such.feature", 1, 1)])),
            ("too high", update(&[("metadata.version", 999, 1)])),
            ("too low", update(&[("metadata.version", 1, 2)])),
            ("down as up", update(&[("metadata.version", 20, 1)])),
            ("zero", update(&[("metadata.version", 0, 2)])),
            ("kind 0", update(&[("metadata.version", 20, 0)])),
            ("group.version down", update(&[("group.version", 0, 2)]).with_validate_only(true)),
            ("two, one bad", update(&[("metadata.version", 27, 1), ("no.such.feature", 1, 1)])),
        ] {
            session.ask(version, label, &request);
        }
    }
    session.ask(0, "none", &update(&[]).with_validate_only(false));
    session.ask(0, "unregister unknown", &UnregisterBrokerRequest::default().with_broker_id(BrokerId(7)));
    session.ask(0, "unregister negative", &UnregisterBrokerRequest::default().with_broker_id(BrokerId(-1)));
    let quorum = |topic: &str, partition: i32| {
        let partition = PartitionData::default().with_partition_index(partition);
        let topic = TopicData::default().with_topic_name(topic_name(topic)).with_partitions(vec![partition]);
        DescribeQuorumRequest::default().with_topics(vec![topic])
    };
    let still = |r: &mut DescribeQuorumResponse| {
        for partition in r.topics.iter_mut().flat_map(|t| &mut t.partitions) {
            partition.high_watermark = partition.high_watermark.min(1);
            partition.leader_epoch = partition.leader_epoch.min(1);
            for state in partition.current_voters.iter_mut().chain(&mut partition.observers) {
                state.log_end_offset = state.log_end_offset.min(1);
            }
        }
    };
    for version in 0..=2 {
        session.ask_with(version, "quorum", &quorum("__cluster_metadata", 0), still);
        session.ask_with(version, "another topic", &quorum("f", 0), still);
        session.ask_with(version, "another partition", &quorum("__cluster_metadata", 1), still);
        session.ask_with(version, "none", &DescribeQuorumRequest::default(), still);
    }
}
