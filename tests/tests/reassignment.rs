//! Replicas that move between brokers: the data goes with them, at the rate that throttles allow, and what a broker has
//! to give up is gone from its disk. Deletions of records wait for all replicas.

use std::time::{Duration, Instant};

use minikafka_tests::cluster::{Cluster, text};
use minikafka_tests::node::PATIENCE;
use minikafka_tests::wire::{Wire, batch, name};
use protocol::ErrorCode;
use protocol::messages::alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic};
use protocol::messages::create_partitions_request::CreatePartitionsTopic;
use protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use protocol::messages::{
    AlterPartitionReassignmentsRequest, BrokerId, CreatePartitionsRequest, DeleteRecordsRequest,
    IncrementalAlterConfigsRequest, ListPartitionReassignmentsRequest,
};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
/// Bytes per second of throttled moves, and the bytes that are moved.
const RATE: usize = 1 << 20;
const DATA: usize = 6 << 20;

fn cluster() -> Cluster {
    let mut cluster = Cluster::of_three_to_move_in();
    cluster.format();
    cluster.start_all();
    cluster
}

/// Produces with acks=all to the leader, again while it has not heard of its leadership; gives the offset.
fn produce(wire: &mut Wire, topic: &str, partition: i32, value: &str) -> i64 {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (error, offset) = wire.produce(topic, partition, batch(&[value])).expect("an answer to Produce");
        match error {
            ErrorCode::NONE => return offset,
            error => assert!(error.is_retriable() && Instant::now() < deadline, "{topic}: {error:?}"),
        }
    }
}

/// Fills partition 0 with [`DATA`] bytes.
fn fill(cluster: &Cluster, leader: usize, topic: &str) {
    let value = "x".repeat(64 << 10);
    let mut wire = cluster.wire(leader);
    for _ in 0..DATA / value.len() {
        produce(&mut wire, topic, 0, &value);
    }
}

/// AlterPartitionReassignments of partition 0; `None` takes the move back.
fn reassign(cluster: &Cluster, topic: &str, replicas: Option<&[usize]>) {
    let replicas = replicas.map(|ids| ids.iter().map(|id| BrokerId(*id as i32)).collect());
    let partition = ReassignablePartition::default().with_partition_index(0).with_replicas(replicas);
    let topic = ReassignableTopic::default().with_name(name(topic)).with_partitions(vec![partition]);
    let request =
        AlterPartitionReassignmentsRequest::default().with_topics(vec![topic]).with_timeout_ms(30_000);
    let answer = cluster.wire(1).call(0, &request).expect("an answer to AlterPartitionReassignments");
    let answered = &answer.responses[0].partitions[0];
    assert_eq!((answer.error_code, answered.error_code), (0, 0), "{:?}", answered.error_message);
}

/// Topics with replicas on the move: those that come and those that go.
fn moves(cluster: &Cluster) -> Vec<(String, Vec<i32>, Vec<i32>)> {
    let request = ListPartitionReassignmentsRequest::default().with_topics(None).with_timeout_ms(30_000);
    let answer = cluster.wire(1).call(0, &request).expect("an answer to ListPartitionReassignments");
    let ids = |ids: &[BrokerId]| ids.iter().map(|id| id.0).collect();
    let topics = answer.topics.iter();
    topics
        .map(|t| {
            let p = &t.partitions[0];
            (t.name.to_string(), ids(&p.adding_replicas), ids(&p.removing_replicas))
        })
        .collect()
}

fn configure(cluster: &Cluster, kind: i8, of: &str, configs: &[(&str, &str)]) {
    let set = configs.iter().map(|(key, value)| {
        AlterableConfig::default().with_name(text(key)).with_config_operation(0).with_value(Some(text(value)))
    });
    let resource = AlterConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(text(of))
        .with_configs(set.collect());
    let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
    let answer = cluster.wire(1).call(1, &request).expect("an answer to IncrementalAlterConfigs");
    assert_eq!(answer.responses[0].error_code, 0, "{of}: {:?}", answer.responses[0].error_message);
}

/// Waits until a state is reached; gives how long that took.
fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "{what}: not in {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
    began.elapsed()
}

/// Waits until nothing is left of the replica on a node's disk.
fn wait_gone(cluster: &Cluster, id: usize, topic: &str) {
    let is_left = || {
        let entries = std::fs::read_dir(cluster.node(id).data()).expect("the directory can be listed");
        let mut names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.any(|name| name.starts_with(&format!("{topic}-0")))
    };
    wait_for(&format!("{topic} still lies on node {id}"), || !is_left());
}

#[test]
fn data_moves_with_its_replicas() {
    let cluster = cluster();
    cluster.create_assigned(1, "moved", &[&[1, 2]]);
    fill(&cluster, 1, "moved");
    // One comes, one goes, and with it the data; then the leader goes.
    reassign(&cluster, "moved", Some(&[1, 3]));
    cluster.wait_partition(1, "moved", 0, |view| view.isr == [1, 3]);
    wait_for("the move's end", || moves(&cluster).is_empty());
    let log = cluster.wait_identical(&[1, 3], "moved", 0);
    assert!(log.len() > DATA);
    wait_gone(&cluster, 2, "moved");
    reassign(&cluster, "moved", Some(&[2, 3]));
    cluster.wait_partition(1, "moved", 0, |view| view.isr == [2, 3]);
    wait_gone(&cluster, 1, "moved");
    let leader =
        cluster.wait_partition(1, "moved", 0, |view| view.leader.is_some()).leader.expect("waited for");
    let end = produce(&mut cluster.wire(leader), "moved", 0, "after the moves");
    assert_eq!(end, (DATA / (64 << 10)) as i64);
    assert!(cluster.wait_identical(&[2, 3], "moved", 0).starts_with(&log));
    // Back to a broker that had the replica before, as the only one.
    reassign(&cluster, "moved", Some(&[1]));
    cluster.wait_partition(1, "moved", 0, |view| view.isr == [1] && view.leader == Some(1));
    (2..=3).for_each(|id| wait_gone(&cluster, id, "moved"));
    assert_eq!(produce(&mut cluster.wire(1), "moved", 0, "alone"), end + 1);

    // New partitions serve at once, and their replicas follow.
    let grown =
        CreatePartitionsTopic::default().with_name(name("moved")).with_count(4).with_assignments(None);
    let request = CreatePartitionsRequest::default().with_topics(vec![grown]).with_timeout_ms(30_000);
    let answer = cluster.wire(2).call(3, &request).expect("an answer to CreatePartitions");
    assert_eq!(answer.results[0].error_code, 0);
    for index in 1..4 {
        let view = cluster.wait_partition(2, "moved", index, |view| view.leader.is_some());
        let mut wire = cluster.wire(view.leader.expect("waited for"));
        assert_eq!(produce(&mut wire, "moved", index, "first"), 0);
    }
}

#[test]
fn a_throttled_move_obeys_the_rate() {
    let cluster = cluster();
    let topics = [
        ("by-leader", "leader.replication.throttled.replicas", "0:1"),
        ("by-follower", "follower.replication.throttled.replicas", "0:3"),
        ("free", "retention.ms", "-1"),
    ];
    for (topic, key, value) in topics {
        cluster.create_assigned(1, topic, &[&[1, 2]]);
        fill(&cluster, 1, topic);
        configure(&cluster, TOPIC, topic, &[(key, value)]);
    }
    let rate = RATE.to_string();
    configure(
        &cluster,
        BROKER,
        "",
        &[("leader.replication.throttled.rate", &rate), ("follower.replication.throttled.rate", &rate)],
    );
    let moved = |topic: &str| {
        reassign(&cluster, topic, Some(&[1, 2, 3]));
        wait_for(topic, || cluster.partition(1, topic, 0).is_some_and(|view| view.isr == [1, 2, 3]))
    };
    let times = topics.map(|(topic, ..)| moved(topic));
    println!("moves of {DATA} bytes at {RATE} bytes/s by leader and follower, and unthrottled: {times:?}");
    // One answer may go beyond the rate, and the rate is that of at least a second.
    let least = Duration::from_secs(((DATA - (2 << 20)) / RATE) as u64);
    assert!(times[0] >= least && times[1] >= least, "{times:?}, not {least:?}");
    assert!(times[2] < times[0] && times[2] < times[1], "{times:?}");
    topics.iter().for_each(|(topic, ..)| drop(cluster.wait_identical(&[1, 2, 3], topic, 0)));

    // Whoever is in sync is never held up: with almost no rate at all, acks=all works.
    let names = ["leader.replication.throttled.replicas", "follower.replication.throttled.replicas"];
    names.iter().for_each(|key| configure(&cluster, TOPIC, "by-leader", &[(key, "*")]));
    let rates = ["leader.replication.throttled.rate", "follower.replication.throttled.rate"];
    rates.iter().for_each(|key| configure(&cluster, BROKER, "", &[(key, "1")]));
    fill(&cluster, 1, "by-leader");
    // A move that goes nowhere is seen, and taken back.
    names.iter().for_each(|key| configure(&cluster, TOPIC, "free", &[(key, "*")]));
    reassign(&cluster, "free", Some(&[1]));
    wait_gone(&cluster, 3, "free");
    reassign(&cluster, "free", Some(&[1, 3]));
    assert_eq!(moves(&cluster), [("free".to_owned(), vec![3], vec![])]);
    fill(&cluster, 1, "free");
    assert_eq!(moves(&cluster).len(), 1, "6 MiB at 1 byte/s");
    reassign(&cluster, "free", None);
    assert!(moves(&cluster).is_empty());
    wait_gone(&cluster, 3, "free");
    cluster.wait_partition(1, "free", 0, |view| view.isr == [1]);
}

/// DeleteRecords of partition 0: error and low watermark.
fn delete_records(wire: &mut Wire, topic: &str, offset: i64, timeout_ms: i32) -> (ErrorCode, i64) {
    let partition = DeleteRecordsPartition::default().with_partition_index(0).with_offset(offset);
    let topic = DeleteRecordsTopic::default().with_name(name(topic)).with_partitions(vec![partition]);
    let request = DeleteRecordsRequest::default().with_topics(vec![topic]).with_timeout_ms(timeout_ms);
    let answer = wire.call(2, &request).expect("an answer to DeleteRecords");
    let answered = &answer.topics[0].partitions[0];
    (ErrorCode(answered.error_code), answered.low_watermark)
}

#[test]
fn deletions_wait_for_all_live_replicas() {
    let cluster = cluster();
    cluster.create_assigned(1, "short", &[&[1, 2, 3]]);
    let mut wire = cluster.wire(1);
    (0..10).for_each(|n| assert_eq!(produce(&mut wire, "short", 0, &n.to_string()), n));
    assert_eq!(delete_records(&mut wire, "short", 4, 30_000), (ErrorCode::NONE, 4));
    // A replica that lives and does not follow holds the answer up, and one that is dead does not.
    cluster.node(3).freeze();
    assert_eq!(delete_records(&mut wire, "short", 6, 300), (ErrorCode::REQUEST_TIMED_OUT, 4));
    assert_eq!(delete_records(&mut wire, "short", 7, 60_000), (ErrorCode::NONE, 7));
    cluster.node(3).thaw();
    cluster.wait_partition(1, "short", 0, |view| view.isr == [1, 2, 3]);
    assert_eq!(delete_records(&mut wire, "short", -1, 30_000), (ErrorCode::NONE, 10));
    // A log may begin in the middle of a batch; a new replica takes the whole batch, and the start.
    cluster.create_assigned(1, "cut", &[&[1, 2]]);
    let values: Vec<String> = (0..10).map(|n| n.to_string()).collect();
    let (error, _) = wire.produce("cut", 0, batch(&values)).expect("an answer to Produce");
    assert_eq!(error, ErrorCode::NONE);
    assert_eq!(delete_records(&mut wire, "cut", 5, 30_000), (ErrorCode::NONE, 5));
    reassign(&cluster, "cut", Some(&[1, 3]));
    cluster.wait_partition(1, "cut", 0, |view| view.isr == [1, 3]);
    cluster.wait_identical(&[1, 3], "cut", 0);
    assert_eq!(delete_records(&mut wire, "cut", 6, 30_000), (ErrorCode::NONE, 6));
    assert_eq!(delete_records(&mut wire, "short", 11, 30_000).0, ErrorCode::OFFSET_OUT_OF_RANGE);
    assert_eq!(delete_records(&mut cluster.wire(2), "short", 1, 30_000).0, ErrorCode::NOT_LEADER_OR_FOLLOWER);
}
