//! Keys that may change while the node runs: each is changed, and described as changed; some are seen to act.

use std::collections::BTreeMap;

use bytes::BytesMut;
use protocol::batch::{self, BatchBuilder};
use protocol::compress::Codec;
use protocol::messages::describe_configs_response::DescribeConfigsResourceResult;
use protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use protocol::messages::{
    BrokerId, FetchRequest, IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
    ListOffsetsRequest,
};
use uuid::Uuid;

use super::alter::{BROKER, Change, DELETE, SET, TOPIC, change};
use super::configs::{describe, resource};
use super::session::Session;
use super::topics::{make, topic_name};
use super::{fetch, produce};
use crate::node::Node;

const PER_BROKER: i8 = 2;
const CLUSTER_DEFAULT: i8 = 3;
const LIST: i8 = 7;
const DOUBLE: i8 = 6;
const BOOLEAN: i8 = 1;

/// A configuration entry by its key.
type Entries = BTreeMap<String, DescribeConfigsResourceResult>;

/// Changes every dynamic key of the broker for it alone and for all, and back; panics at what is not as described.
/// Gives the number of keys.
pub fn change_every_key(node: &Node) -> usize {
    let mut s = Session::new(node);
    let before = described(&mut s, |_| true);
    let keys: Vec<(String, String)> = before.values().filter_map(another_value).collect();
    let (all, none) = (changes(&keys, SET), changes(&keys, DELETE));
    let are = |entries: &Entries, source: i8| {
        keys.iter().all(|(name, value)| {
            let entry = &entries[name];
            entry.value.as_deref() == Some(value)
                && entry.config_source == source
                && entry.synonyms.first().is_some_and(|first| first.source == source)
        })
    };
    alter(&mut s, BROKER, "", &all);
    described(&mut s, |entries| are(entries, CLUSTER_DEFAULT));
    alter(&mut s, BROKER, "1", &all);
    described(&mut s, |entries| are(entries, PER_BROKER));
    alter(&mut s, BROKER, "1", &none);
    described(&mut s, |entries| are(entries, CLUSTER_DEFAULT));
    alter(&mut s, BROKER, "", &none);
    described(&mut s, |entries| *entries == before);

    for (operation, operand, expected) in
        [(2, "compact", "delete,compact"), (3, "delete", "compact"), (2, "compact", "compact")]
    {
        alter(&mut s, BROKER, "1", &[("log.cleanup.policy", operation, Some(operand))]);
        described(&mut s, |entries| entries["log.cleanup.policy"].value.as_deref() == Some(expected));
    }
    alter(&mut s, BROKER, "1", &[("log.cleanup.policy", DELETE, None)]);
    for (name, value) in [("listeners", "PLAINTEXT://:1"), ("ssl.cipher.suites", "none")] {
        let refused =
            answer(&mut s, BROKER, "", &[(name, SET, Some(value))], |r| r.responses[0].error_code != 0);
        assert_eq!(refused.responses[0].error_code, 42, "{name} for all brokers");
    }
    keys.len()
}

/// A value that a dynamic key does not have and may have; `None` if it cannot be changed just so.
fn another_value(entry: &DescribeConfigsResourceResult) -> Option<(String, String)> {
    // These want a listener, files, or classes, or come with a feature that is off; with eligible leader replicas
    // the least number of in-sync replicas is not a broker's own.
    const NOT_ALONE: [&str; 9] = [
        "min.insync.replicas",
        "ssl.",
        "sasl.",
        "listener",
        "advertised.",
        "principal.builder.class",
        "metric.reporters",
        "remote.",
        "log.local.",
    ];
    let name = entry.name.as_str();
    if entry.read_only || NOT_ALONE.iter().any(|start| name.starts_with(start)) {
        return None;
    }
    let value = entry.value.as_deref().unwrap_or_default();
    let other = match (name, entry.config_type) {
        ("compression.type", _) => "zstd".to_owned(),
        ("log.message.timestamp.type", _) => "LogAppendTime".to_owned(),
        ("max.connections.per.ip.overrides", _) => "127.0.0.9:5".to_owned(),
        ("log.cleanup.policy", LIST) => "compact".to_owned(),
        ("compression.gzip.level", _) => "5".to_owned(),
        (_, BOOLEAN) => (value != "true").to_string(),
        (_, DOUBLE) => "0.25".to_owned(),
        _ => match value.parse::<i64>() {
            Ok(most) if most == i64::MAX || most == i64::from(i32::MAX) => (most - 1).to_string(),
            Ok(number) if number > 0 => (number + 1).to_string(),
            // No limit, or unset: something that no test meets.
            _ => "3600000".to_owned(),
        },
    };
    Some((name.to_owned(), other))
}

fn changes(keys: &[(String, String)], operation: i8) -> Vec<Change<'_>> {
    let value = |value| (operation == SET).then_some(value);
    keys.iter().map(|(name, new)| (name.as_str(), operation, value(new.as_str()))).collect()
}

/// All keys of broker 1, once they are `good`.
fn described(s: &mut Session, good: impl Fn(&Entries) -> bool) -> Entries {
    let entries = |r: &protocol::messages::DescribeConfigsResponse| -> Entries {
        r.results[0].configs.iter().map(|config| (config.name.to_string(), config.clone())).collect()
    };
    let request = describe(vec![resource(BROKER, "1", None)]);
    entries(&s.until(4, &request, |r| good(&entries(r))))
}

fn alter(s: &mut Session, kind: i8, name: &str, changes: &[Change<'_>]) {
    let answer = answer(s, kind, name, changes, |_| true);
    let result = &answer.responses[0];
    assert_eq!(result.error_code, 0, "{changes:?} of {name:?}: {:?}", result.error_message);
}

fn answer(
    s: &mut Session,
    kind: i8,
    name: &str,
    changes: &[Change<'_>],
    good: impl Fn(&IncrementalAlterConfigsResponse) -> bool,
) -> IncrementalAlterConfigsResponse {
    let request = IncrementalAlterConfigsRequest::default().with_resources(vec![change(kind, name, changes)]);
    s.until(1, &request, good)
}

/// Changes keys that say how records are taken, kept and thrown away, and waits until the node does so.
pub fn see_changes_act(node: &Node) {
    let mut s = Session::new(node);
    make(&mut s, "taken", 1, &[]);
    let small = batch_of(100);
    for (kind, name, key, value, error) in [
        (BROKER, "1", "message.max.bytes", "50", 10),
        (BROKER, "", "message.max.bytes", "50", 10),
        (TOPIC, "taken", "max.message.bytes", "50", 10),
        (BROKER, "", "log.message.timestamp.before.max.ms", "1000", 32),
        (TOPIC, "taken", "message.timestamp.before.max.ms", "1000", 32),
    ] {
        alter(&mut s, kind, name, &[(key, SET, Some(value))]);
        produced(&mut s, "taken", &small, |_, code, _| code == error);
        alter(&mut s, kind, name, &[(key, DELETE, None)]);
        produced(&mut s, "taken", &small, |_, code, _| code == 0);
    }
    alter(&mut s, BROKER, "", &[("log.message.timestamp.type", SET, Some("LogAppendTime"))]);
    produced(&mut s, "taken", &small, |_, code, time| code == 0 && time > produce::TIME);
    alter(&mut s, TOPIC, "taken", &[("message.timestamp.type", SET, Some("CreateTime"))]);
    produced(&mut s, "taken", &small, |_, code, time| code == 0 && time == -1);
    for (key, kind, name) in [("compression.type", BROKER, "1"), ("compression.type", TOPIC, "taken")] {
        let codec = if kind == BROKER { (Codec::Gzip, "gzip") } else { (Codec::Zstd, "zstd") };
        alter(&mut s, kind, name, &[(key, SET, Some(codec.1))]);
        let stored =
            |s: &mut Session, offset: i64| first_batch(s, "taken", offset, |_, codec| codec.is_some()).1;
        let seen = (0..100).any(|_| {
            let offset = produced(&mut s, "taken", &small, |_, code, _| code == 0);
            stored(&mut s, offset) == Some(codec.0)
        });
        assert!(seen, "{key} of {name} is {}", codec.1);
    }
    alter(&mut s, BROKER, "1", &[("compression.type", DELETE, None)]);
    thrown_away(&mut s);
}

/// Retention by size, of the broker's and of the topic's own, and compaction of a topic that was not compacted.
fn thrown_away(s: &mut Session) {
    let large = batch_of(600_000);
    make(s, "by-size", 1, &[]);
    make(s, "compacted", 1, &[]);
    alter(
        s,
        BROKER,
        "",
        &[("log.segment.bytes", SET, Some("1048576")), ("log.cleaner.backoff.ms", SET, Some("50"))],
    );
    for topic in ["by-size", "compacted"] {
        for _ in 0..4 {
            produced(s, topic, &large, |_, code, _| code == 0);
        }
    }
    alter(s, BROKER, "1", &[("log.retention.bytes", SET, Some("1048576"))]);
    earliest(s, "by-size", |offset| offset == 2);
    alter(s, BROKER, "1", &[("log.retention.bytes", DELETE, None)]);
    alter(s, TOPIC, "by-size", &[("retention.bytes", SET, Some("1"))]);
    earliest(s, "by-size", |offset| offset >= 3);
    let compact = [("cleanup.policy", SET, Some("compact")), ("min.cleanable.dirty.ratio", SET, Some("0.0"))];
    alter(s, TOPIC, "compacted", &compact);
    first_batch(s, "compacted", 2, |offset, _| offset >= 2);
}

/// A batch with one record of about that size.
fn batch_of(size: usize) -> BytesMut {
    let mut builder = BatchBuilder::new(0);
    builder.push_pair(produce::TIME, Some(b"k"), Some(&vec![b'v'; size]));
    builder.build()
}

/// Produces a batch again and again until base offset, error code and append time are good; gives the base offset.
fn produced(s: &mut Session, topic: &str, batch: &[u8], good: impl Fn(i64, i16, i64) -> bool) -> i64 {
    let answer = s.until(9, &produce::to(topic, batch), |r| {
        let partition = &r.responses[0].partition_responses[0];
        good(partition.base_offset, partition.error_code, partition.log_append_time_ms)
    });
    answer.responses[0].partition_responses[0].base_offset
}

/// Waits for the first offset of partition 0 of a topic.
fn earliest(s: &mut Session, topic: &str, good: impl Fn(i64) -> bool) {
    let partition = ListOffsetsPartition::default().with_timestamp(-2);
    let topic = ListOffsetsTopic::default().with_name(topic_name(topic)).with_partitions(vec![partition]);
    let request = ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![topic]);
    s.until(4, &request, |r| good(r.topics[0].partitions[0].offset));
}

/// Base offset and codec of the first batch that a fetch from `offset` gives, once they are good.
fn first_batch(
    s: &mut Session,
    topic: &str,
    offset: i64,
    good: impl Fn(i64, Option<Codec>) -> bool,
) -> (i64, Option<Codec>) {
    let request: FetchRequest = fetch::topics(vec![(topic, Uuid::nil(), vec![fetch::at(0, offset)])]);
    let first = |r: &protocol::messages::FetchResponse| {
        let records = r.responses[0].partitions[0].records.clone().unwrap_or_default();
        let header = batch::batches(&records).flatten().next().and_then(|raw| raw.header().ok());
        header.map_or((-1, None), |header| (header.base_offset, header.codec()))
    };
    first(&s.until(11, &request, |r| {
        let (offset, codec) = first(r);
        good(offset, codec)
    }))
}
