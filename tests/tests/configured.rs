//! What the properties and the dynamic configurations of a node do, seen by a client: listeners, log directories,
//! auto-creation, retention.

use std::time::{Duration, Instant};

use minikafka_tests::node::{Node, Target};
use minikafka_tests::ports::free_ports;
use minikafka_tests::wire::{Wire, batch, name};
use protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use protocol::messages::metadata_request::MetadataRequestTopic;
use protocol::messages::{
    IncrementalAlterConfigsRequest, ListOffsetsRequest, MetadataRequest, MetadataResponse,
};
use protocol::{ErrorCode, StrBytes};

const EARLIEST: i64 = -2;
/// How long a change may take to show.
const PATIENCE: Duration = Duration::from_secs(20);

fn metadata(wire: &mut Wire, topic: &str, may_create: bool) -> MetadataResponse {
    let topic = MetadataRequestTopic::default().with_name(Some(name(topic)));
    let request =
        MetadataRequest::default().with_topics(Some(vec![topic])).with_allow_auto_topic_creation(may_create);
    wire.call(9, &request).expect("an answer")
}

fn log_start(wire: &mut Wire, topic: &str) -> i64 {
    let partition = ListOffsetsPartition::default().with_timestamp(EARLIEST);
    let topic = ListOffsetsTopic::default().with_name(name(topic)).with_partitions(vec![partition]);
    let request = ListOffsetsRequest::default().with_topics(vec![topic]);
    wire.call(7, &request).expect("an answer").topics[0].partitions[0].offset
}

fn set_config(wire: &mut Wire, kind: i8, resource: &str, key: &'static str, value: &str) -> ErrorCode {
    let config = AlterableConfig::default()
        .with_name(StrBytes::from_static_str(key))
        .with_value(Some(StrBytes::from_string(value.to_owned())));
    let resource = AlterConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(StrBytes::from_string(resource.to_owned()))
        .with_configs(vec![config]);
    let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
    ErrorCode(wire.call(1, &request).expect("an answer").responses[0].error_code)
}

#[test]
fn each_listener_tells_its_own_address() {
    let node = Node::prepared(Target::from_env(), &[]);
    let [inside, outside] = free_ports();
    let controller = node.controller_port();
    node.set(
        "listeners",
        Some(&format!(
            "INSIDE://127.0.0.1:{inside},OUTSIDE://127.0.0.1:{outside},CONTROLLER://127.0.0.1:{controller}"
        )),
    );
    node.set(
        "advertised.listeners",
        Some(&format!("INSIDE://127.0.0.1:{inside},OUTSIDE://kafka.example.com:29092")),
    );
    node.set(
        "listener.security.protocol.map",
        Some("INSIDE:PLAINTEXT,OUTSIDE:PLAINTEXT,CONTROLLER:PLAINTEXT"),
    );
    node.set("inter.broker.listener.name", Some("INSIDE"));
    node.format();
    let _node = node.started();
    for (port, host, advertised) in [(inside, "127.0.0.1", inside), (outside, "kafka.example.com", 29092)] {
        let mut wire = Wire::connect(&format!("127.0.0.1:{port}")).expect("it listens");
        let brokers = metadata(&mut wire, "nothing", false).brokers;
        let told: Vec<_> = brokers.iter().map(|b| (b.host.as_str(), b.port)).collect();
        assert_eq!(told, [(host, i32::from(advertised))]);
    }
}

#[test]
fn replicas_spread_over_the_log_directories() {
    let mut node = Node::prepared(Target::from_env(), &[]);
    let (one, two) = (node.data(), node.data().with_file_name("second"));
    node.set("log.dirs", Some(&format!("{},{}", one.display(), two.display())));
    node.format();
    node.start();
    let mut wire = Wire::connect(&node.bootstrap()).expect("it listens");
    assert_eq!(wire.create_topic("spread", 10).expect("an answer"), ErrorCode::NONE);
    for partition in 0..10 {
        let produced = wire.produce("spread", partition, batch(&["value"])).expect("an answer");
        assert_eq!(produced, (ErrorCode::NONE, 0));
    }
    let count = |dir: &std::path::Path| {
        let names = dir.read_dir().expect("a directory").map(|e| e.expect("an entry").file_name());
        names.filter(|name| name.to_string_lossy().starts_with("spread-")).count()
    };
    assert_eq!((count(&one), count(&two)), (5, 5));
    node.restart();
    let mut wire = Wire::connect(&node.bootstrap()).expect("it listens");
    for partition in 0..10 {
        let produced = wire.produce("spread", partition, batch(&["value"])).expect("an answer");
        assert_eq!(produced, (ErrorCode::NONE, 1));
    }
}

#[test]
fn topics_are_created_only_where_it_is_allowed() {
    let node = Node::fresh(Target::from_env(), &[]);
    let mut wire = Wire::connect(&node.bootstrap()).expect("it listens");
    let unknown = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.code();
    for _ in 0..2 {
        assert_eq!(metadata(&mut wire, "unasked", false).topics[0].error_code, unknown);
    }
    let node = Node::fresh(Target::from_env(), &[("auto.create.topics.enable", "false")]);
    let mut wire = Wire::connect(&node.bootstrap()).expect("it listens");
    for _ in 0..2 {
        assert_eq!(metadata(&mut wire, "forbidden", true).topics[0].error_code, unknown);
    }
    assert_eq!(wire.create_topic("asked", 1).expect("an answer"), ErrorCode::NONE);
}

#[test]
fn retention_follows_the_dynamic_configuration() {
    const TOPIC: i8 = 2;
    const BROKER: i8 = 4;
    let checks = [("log.retention.check.interval.ms", "100"), ("log.initial.task.delay.ms", "100")];
    let node = Node::fresh(Target::from_env(), &checks);
    let mut wire = Wire::connect(&node.bootstrap()).expect("it listens");
    // One topic is told itself, the other follows the default of all brokers.
    for (topic, kind, resource, key) in
        [("own", TOPIC, "own", "retention.bytes"), ("default", BROKER, "", "log.retention.bytes")]
    {
        assert_eq!(wire.create_topic(topic, 1).expect("an answer"), ErrorCode::NONE);
        assert_eq!(set_config(&mut wire, TOPIC, topic, "segment.bytes", "1048576"), ErrorCode::NONE);
        for _ in 0..4 {
            let (error, _) = wire.produce(topic, 0, batch(&["x".repeat(900_000)])).expect("an answer");
            assert_eq!(error, ErrorCode::NONE);
        }
        assert_eq!(log_start(&mut wire, topic), 0);
        assert_eq!(set_config(&mut wire, kind, resource, key, "1000000"), ErrorCode::NONE);
        let deadline = Instant::now() + PATIENCE;
        while log_start(&mut wire, topic) == 0 {
            assert!(Instant::now() < deadline, "{topic}: nothing was removed");
        }
    }
    assert_ne!(set_config(&mut wire, TOPIC, "own", "retention.ms", "soon"), ErrorCode::NONE);
}
