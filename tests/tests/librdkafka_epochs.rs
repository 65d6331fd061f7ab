//! A fault of librdkafka 2.16.0, shown beside Apache Kafka: why the rounds of faults give it one request in flight.
//!
//! A batch that may have been written (it was answered with REQUEST_TIMED_OUT) waits to be sent again. Then a batch of
//! another partition is out of order, because the one before it was refused with NOT_ENOUGH_REPLICAS. librdkafka takes a
//! new epoch for all partitions at once (`rd_kafka_handle_idempotent_Produce_error`, `rd_kafka_idemp_drain_epoch_bump`)
//! and sends the waiting batch with it (`rd_kafka_toppar_pid_change` does not ask whether a message may be written
//! already): no broker can know it again. Known as confluentinc/librdkafka#4953. Apache Kafka's own client sends what was
//! out of order again without a new epoch (`TransactionManager.canRetry`).
//!
//! `MINIKAFKA_TEST_TARGET=apache cargo test -p minikafka-tests --test librdkafka_epochs -- --ignored`: Apache Kafka
//! gives the same answers, and its log has the same duplicates.

use minikafka_tests::cluster::{Cluster, Quorum, Role, create_assigned, text};
use minikafka_tests::node::Target;
use minikafka_tests::program::Program;
use minikafka_tests::setup;
use protocol::ErrorCode;
use protocol::batch::{RawBatch, batch_size};
use protocol::messages::IncrementalAlterConfigsRequest;
use protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use serde_json::{Value, json};

const ROLES: [Role; 4] = [Role::Controller, Role::Broker, Role::Broker, Role::Broker];
/// It leads both partitions.
const LEADER: usize = 2;
/// It leaves, and with it the second topic is below its `min.insync.replicas`.
const GONE: usize = 3;
/// It is frozen: what the first topic gets is written and not committed.
const FROZEN: usize = 4;
/// Of IncrementalAlterConfigs: a topic, and a key that gets a value.
const TOPIC: i8 = 2;
const SET: i8 = 0;
const WAITING: &str = "waiting";
const REFUSED: &str = "refused";
/// How long the leader keeps a batch that is not committed; time enough for all that happens meanwhile.
const ACK_TIMEOUT_MS: u32 = 6_000;

#[test]
#[ignore = "shows a fault of librdkafka: run it when its version changes"]
fn librdkafka_writes_twice_after_an_epoch_of_its_own() {
    let target = Target::from_env();
    let mut cluster = cluster(target);
    let mut command = std::process::Command::new(setup::fetched("python/bin/python"));
    command.arg(setup::client("python").join("in_flight.py"));
    let mut client = Program::start(command, &cluster.node(LEADER).bootstrap());
    let mut ask = |op: &str, arguments: Value| client.call(op, arguments).expect("the client does it");
    let version = ask(
        "open",
        json!({"settings": {
            "enable.idempotence": true, "max.in.flight": 5, "linger.ms": 0, "retry.backoff.ms": 300,
            "request.timeout.ms": ACK_TIMEOUT_MS, "message.timeout.ms": 90_000,
        }}),
    );
    need_in_sync(&cluster, "2");
    // Both partitions know the producer.
    for topic in [WAITING, REFUSED] {
        ask("send", json!({"topic": topic, "value": "first"}));
    }
    ask(
        "until",
        json!({"text": format!("{REFUSED} [0]: MessageSet with 1 message(s) (MsgId 1, BaseSeq 0) delivered")}),
    );

    cluster.node_mut(GONE).terminate();
    cluster.node_mut(GONE).wait_end();
    cluster.wait_partition(LEADER, REFUSED, 0, |view| view.isr == [LEADER]);
    cluster.node(FROZEN).freeze();
    let mut send = |topic: &str, value: &str| ask("send", json!({"topic": topic, "value": value}));
    // The first is written and waits. The second is refused: by our node at once, though it says so after the first
    // answer; by Apache Kafka when the first is answered, as it handles one request of a connection at a time.
    send(WAITING, "a");
    send(REFUSED, "x");
    if target == Target::Ours {
        need_in_sync(&cluster, "1");
    }
    // The third is written and waits. Meanwhile one replica is enough, and the fourth is out of order.
    send(WAITING, "b");
    send(REFUSED, "y");
    ask("until", json!({"text": "Not enough in-sync replicas"}));
    if target == Target::Apache {
        need_in_sync(&cluster, "1");
    }
    ask("until", json!({"text": "bumped epoch to"}));
    cluster.node(FROZEN).thaw();
    let end = ask("flush", json!({}));
    for line in end["log"].as_array().into_iter().flatten() {
        println!("{}", line.as_str().unwrap_or_default());
    }
    println!("librdkafka {}", version["version"]);
    let acknowledged = json!([["a", 3, null], ["b", 4, null]]);
    let told = end["told"].as_array().into_iter().flatten().filter(|told| told[0] == "a" || told[0] == "b");
    assert_eq!(Value::from_iter(told.cloned()), acknowledged, "each once");
    let log = written(&cluster.wait_identical(&[LEADER, FROZEN], WAITING, 0));
    let twice =
        [("first", 0), ("a", 0), ("b", 0), ("a", 1), ("b", 1)].map(|(v, epoch)| (v.to_owned(), epoch));
    assert_eq!(log, twice, "librdkafka is mended: let it have five requests in flight again");
}

/// Each topic has one partition, on the leader and one more broker.
fn cluster(target: Target) -> Cluster {
    let extra = [
        // Who is frozen keeps its place.
        ("broker.session.timeout.ms", "90000"),
        ("replica.lag.time.max.ms", "90000"),
        ("auto.leader.rebalance.enable", "false"),
    ];
    let cluster = Cluster::start(target, &ROLES, Quorum::Static, &extra);
    for (topic, follower) in [(WAITING, FROZEN), (REFUSED, GONE)] {
        let made = create_assigned(&mut cluster.wire(LEADER), topic, &[&[LEADER, follower]]);
        assert_eq!(made.expect("an answer to CreateTopics"), ErrorCode::NONE);
        cluster.wait_partition(LEADER, topic, 0, |view| view.isr.len() == 2);
    }
    cluster
}

/// The value and the producer's epoch of each batch; each holds one record, which ends with its value and no headers.
fn written(log: &[u8]) -> Vec<(String, i16)> {
    let (mut found, mut rest) = (Vec::new(), log);
    while let Ok(Some(size)) = batch_size(rest) {
        let bytes = &rest[..size];
        let header = RawBatch { position: 0, bytes }.header().expect("a batch");
        assert_eq!(header.records_count, 1);
        let text: Vec<u8> =
            bytes[..size - 1].iter().rev().copied().take_while(u8::is_ascii_lowercase).collect();
        found.push((text.into_iter().rev().map(char::from).collect(), header.producer_epoch));
        rest = &rest[size..];
    }
    found
}

/// Sets `min.insync.replicas` of the second topic.
fn need_in_sync(cluster: &Cluster, replicas: &str) {
    let config = AlterableConfig::default()
        .with_name(text("min.insync.replicas"))
        .with_config_operation(SET)
        .with_value(Some(text(replicas)));
    let topic = AlterConfigsResource::default()
        .with_resource_type(TOPIC)
        .with_resource_name(text(REFUSED))
        .with_configs(vec![config]);
    let request = IncrementalAlterConfigsRequest::default().with_resources(vec![topic]);
    let answer = cluster.wire(LEADER).call(1, &request).expect("an answer to IncrementalAlterConfigs");
    assert_eq!(ErrorCode(answer.responses[0].error_code), ErrorCode::NONE);
}
