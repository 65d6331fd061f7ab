//! Replicated partitions on clusters of several processes: nothing acknowledged is lost, moved or doubled while brokers
//! die, freeze, lose their disks and return, and all replicas come to hold the same bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use minikafka_tests::clients::CLIENTS;
use minikafka_tests::cluster::{Cluster, Quorum, Role, create_topic, text};
use minikafka_tests::node::{PATIENCE, Target};
use minikafka_tests::ports::free_port;
use minikafka_tests::program::{Event, Program};
use minikafka_tests::scrape::Scrape;
use minikafka_tests::wire::{Wire, batch, name, produce_request};
use protocol::ErrorCode;
use protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use protocol::messages::{FetchRequest, FindCoordinatorRequest};
use serde_json::{Value, json};

/// A controller that outlives the brokers, and three of them.
const APART: [Role; 4] = [Role::Controller, Role::Broker, Role::Broker, Role::Broker];
const PARTITIONS: i32 = 3;

/// What all clusters here are told; `session_ms` is how long a dead broker keeps its place.
fn settings<'a>(session_ms: &'a str, lag_ms: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        ("broker.session.timeout.ms", session_ms),
        ("broker.heartbeat.interval.ms", "300"),
        ("replica.lag.time.max.ms", lag_ms),
        ("min.insync.replicas", "2"),
        ("offsets.topic.replication.factor", "3"),
        ("log.retention.ms", "-1"),
    ]
}

fn create(cluster: &Cluster, broker: usize, topic: &str, partitions: i32) {
    let error =
        create_topic(&mut cluster.wire(broker), topic, partitions, 3).expect("an answer to CreateTopics");
    assert_eq!(error, ErrorCode::NONE, "{topic}");
}

fn librdkafka(cluster: &Cluster) -> Program {
    let client = CLIENTS.iter().find(|client| client.name == "confluent-kafka").expect("a row of the table");
    let bootstrap: Vec<String> = cluster.brokers().iter().map(|id| cluster.node(*id).bootstrap()).collect();
    Program::start((client.command)(), &bootstrap.join(","))
}

/// Produces with acks=all as a client does: again while the broker cannot. Gives the offset.
fn produce_soon(wire: &mut Wire, topic: &str, value: &str) -> i64 {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (error, offset) = wire.produce(topic, 0, batch(&[value])).expect("an answer to Produce");
        match error {
            ErrorCode::NONE => return offset,
            error => assert!(error.is_retriable() && Instant::now() < deadline, "{topic}: {error:?}"),
        }
    }
}

fn high_watermark(wire: &mut Wire, topic: &str, partition: i32) -> i64 {
    let (error, high_watermark, _) = wire.fetch(topic, partition, 0, 1).expect("an answer to Fetch");
    assert_eq!(error, ErrorCode::NONE, "{topic}-{partition}");
    high_watermark
}

/// Records that were acknowledged: where each value is.
type Acknowledged = BTreeMap<(i32, i64), String>;

fn records(values: &[String]) -> Vec<Value> {
    let record = |(at, value): (usize, &String)| {
        let value = STANDARD.encode(value);
        json!({"p": at as i32 % PARTITIONS, "k": null, "v": value, "t": 1_700_000_000_000_i64, "h": []})
    };
    values.iter().enumerate().map(record).collect()
}

/// Produces these values and notes where they are.
fn produce(client: &mut Program, topic: &str, values: &[String], acknowledged: &mut Acknowledged) {
    let records = records(values);
    let answer = client.call("produce", json!({"topic": topic, "codec": "none", "records": records}));
    let answer = answer.expect("librdkafka writes");
    for (at, value) in values.iter().enumerate() {
        let offset = answer["offsets"][at].as_i64().expect("every record is acknowledged");
        let place = (at as i32 % PARTITIONS, offset);
        let before = acknowledged.insert(place, value.clone());
        assert_eq!(before, None, "{place:?} was acknowledged for {value} too");
    }
}

/// All that a client reads, which must be what was acknowledged and nothing else.
fn check_read(
    client: &mut Program,
    cluster: &Cluster,
    broker: usize,
    topic: &str,
    acknowledged: &Acknowledged,
) {
    for partition in 0..PARTITIONS {
        let view = cluster.wait_partition(broker, topic, partition, |view| view.leader.is_some());
        let mut wire = cluster.wire(view.leader.expect("waited for"));
        let expected = acknowledged.keys().filter(|(p, _)| *p == partition).count() as i64;
        assert_eq!(
            high_watermark(&mut wire, topic, partition),
            expected,
            "{topic}-{partition} has records twice"
        );
    }
    let arguments = json!({"topic": topic, "partitions": PARTITIONS, "count": acknowledged.len()});
    let answer = client.call("consume", arguments).expect("librdkafka reads");
    let read = answer["records"].as_array().cloned().unwrap_or_default().into_iter().map(|record| {
        let value = STANDARD.decode(record["v"].as_str().unwrap_or_default()).expect("base64");
        let place = (record["p"].as_i64().unwrap_or(-1) as i32, record["o"].as_i64().unwrap_or(-1));
        (place, String::from_utf8(value).expect("our values are text"))
    });
    let read: Acknowledged = read.collect();
    assert!(read == *acknowledged, "what is read from {topic} is not what was acknowledged");
}

fn coordinator(cluster: &Cluster, broker: usize, group: &str) -> usize {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let request =
            FindCoordinatorRequest::default().with_key_type(0).with_coordinator_keys(vec![text(group)]);
        let answer = cluster.wire(broker).call(4, &request).expect("an answer to FindCoordinator");
        match ErrorCode(answer.coordinators[0].error_code) {
            ErrorCode::NONE => return answer.coordinators[0].node_id.0 as usize,
            error => assert!(error.is_retriable() && Instant::now() < deadline, "{group}: {error:?}"),
        }
    }
}

/// The next records that a member of a group is handed, until all of `wanted` were, and none is skipped. `next` is
/// the offset after what it had of each partition.
fn follow_group(client: &mut Program, wanted: &BTreeSet<(i32, i64)>, next: &mut BTreeMap<i32, i64>) {
    let is_new = |at: &&(i32, i64)| next.get(&at.0).is_none_or(|next| at.1 >= *next);
    let mut wanted: BTreeSet<_> = wanted.iter().filter(is_new).copied().collect();
    while !wanted.is_empty() {
        if let Event::Record { partition, offset, .. } = client.event(PATIENCE).expect("the group goes on") {
            let next = next.entry(partition).or_insert(0);
            assert!(offset <= *next, "the group skipped from {next} to {offset} of partition {partition}");
            *next = (*next).max(offset + 1);
            wanted.remove(&(partition, offset));
        }
    }
}

#[test]
fn a_leader_dies_under_load() {
    let mut extra = settings("2000", "3000");
    extra.push(("controller.quorum.election.timeout.ms", "500"));
    let mut cluster = Cluster::start(Target::from_env(), &[Role::Combined; 3], Quorum::Static, &extra);
    create(&cluster, 1, "load", PARTITIONS);
    let (mut writer, mut reader) = (librdkafka(&cluster), librdkafka(&cluster));
    let mut acknowledged = Acknowledged::new();
    let values = |from: usize| (from..from + 300).map(|n| format!("value-{n}")).collect::<Vec<_>>();
    produce(&mut writer, "load", &values(0), &mut acknowledged);
    reader
        .call("join", json!({"member": "one", "group": "readers", "topic": "load"}))
        .expect("a member joins");
    let mut next = BTreeMap::new();
    follow_group(&mut reader, &acknowledged.keys().copied().collect(), &mut next);
    reader.call("commit", json!({"member": "one"})).expect("the group commits");

    let killed = coordinator(&cluster, 1, "readers");
    let asked = killed % 3 + 1;
    let led = (0..PARTITIONS)
        .find(|p| cluster.partition(asked, "load", *p).is_some_and(|view| view.leader == Some(killed)))
        .expect("leaders are spread over the brokers");
    let (rounds, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let round = rounds.fetch_add(1, Ordering::Relaxed) + 1;
                produce(&mut writer, "load", &values(round * 300), &mut acknowledged);
            }
        });
        wait_for("the load begins", || rounds.load(Ordering::Relaxed) > 2 || load.is_finished());
        cluster.node_mut(killed).kill();
        let died = Instant::now();
        cluster.wait_partition(asked, "load", led, |view| view.leader.is_some_and(|id| id != killed));
        println!("a new leader after {:?}", died.elapsed());
        let so_far = rounds.load(Ordering::Relaxed);
        wait_for("the load goes on", || rounds.load(Ordering::Relaxed) > so_far + 2 || load.is_finished());
        stop.store(true, Ordering::Relaxed);
        load.join().expect("the load ends well");
    });

    // The group goes on with another coordinator, where its commits are.
    follow_group(&mut reader, &acknowledged.keys().copied().collect(), &mut next);
    reader.call("commit", json!({"member": "one"})).expect("the group commits with its new coordinator");
    reader.call("leave", json!({"member": "one"})).expect("the member leaves");
    let before = acknowledged.clone();
    reader
        .call("join", json!({"member": "two", "group": "readers", "topic": "load"}))
        .expect("a member joins");
    produce(&mut writer, "load", &["x", "y", "z"].map(str::to_owned), &mut acknowledged);
    let mut wanted: BTreeSet<_> =
        acknowledged.keys().filter(|at| !before.contains_key(*at)).copied().collect();
    while !wanted.is_empty() {
        if let Event::Record { member, partition, offset } =
            reader.event(PATIENCE).expect("the group goes on")
        {
            let is_new = wanted.remove(&(partition, offset));
            assert!(is_new || member == "one", "{partition} {offset} was committed and is handed out again");
        }
    }

    check_read(&mut writer, &cluster, asked, "load", &acknowledged);
    cluster.start_all();
    for partition in 0..PARTITIONS {
        cluster.wait_partition(asked, "load", partition, |view| view.isr == [1, 2, 3]);
        cluster.wait_identical(&[1, 2, 3], "load", partition);
    }
    check_read(&mut writer, &cluster, killed, "load", &acknowledged);
}

/// Fetch of one partition as a consumer in `rack` sends it: the replica that is named, high watermark and bytes.
fn fetch_in_rack(wire: &mut Wire, topic: &str, partition: i32, rack: &str) -> (i32, i64, usize) {
    let partition = FetchPartition::default()
        .with_partition(partition)
        .with_fetch_offset(0)
        .with_partition_max_bytes(1 << 20);
    let topic = FetchTopic::default().with_topic(name(topic)).with_partitions(vec![partition]);
    let request = FetchRequest::default()
        .with_max_bytes(1 << 20)
        .with_session_epoch(-1)
        .with_rack_id(text(rack))
        .with_topics(vec![topic]);
    let answer = wire.call(12, &request).expect("an answer to Fetch");
    let partition = &answer.responses[0].partitions[0];
    assert_eq!(partition.error_code, 0);
    let bytes = partition.records.as_ref().map_or(0, |records| records.len());
    (partition.preferred_read_replica.0, partition.high_watermark, bytes)
}

#[test]
fn a_consumer_reads_from_the_replica_in_its_rack() {
    let metrics: Vec<u16> = APART.iter().map(|_| free_port()).collect();
    let mut extra = settings("2000", "3000");
    extra.push(("replica.selector.class", "org.apache.kafka.common.replica.RackAwareReplicaSelector"));
    let mut cluster = Cluster::prepared(&[Target::Ours; 4], &APART, Quorum::Static, &extra);
    for (id, port) in (1..).zip(&metrics) {
        cluster.node(id).set("broker.rack", Some(&format!("rack-{id}")));
        cluster.node(id).set("metrics.listener", Some(&format!("http://127.0.0.1:{port}")));
    }
    cluster.format();
    cluster.start_all();
    create(&cluster, 2, "near", PARTITIONS);
    let (mut writer, mut reader) = (librdkafka(&cluster), librdkafka(&cluster));
    let mut acknowledged = Acknowledged::new();
    let values = |from: usize| (from..from + 3000).map(|n| format!("value-{n}")).collect::<Vec<_>>();
    produce(&mut writer, "near", &values(0), &mut acknowledged);
    let leaders: Vec<usize> = (0..PARTITIONS)
        .map(|p| cluster.wait_partition(2, "near", p, |view| view.isr == [2, 3, 4]).leader.expect("a leader"))
        .collect();
    (0..PARTITIONS).for_each(|p| drop(cluster.wait_identical(&[2, 3, 4], "near", p)));

    // A leader names the follower in the consumer's rack, and sends nothing; the follower serves what is committed.
    let near = leaders[0] % 3 + 2;
    let rack = format!("rack-{near}");
    assert_ne!(near, leaders[0]);
    let (named, committed, bytes) = fetch_in_rack(&mut cluster.wire(leaders[0]), "near", 0, &rack);
    assert_eq!((named, bytes), (near as i32, 0));
    // A follower hears of the high watermark with the next answer of the leader.
    let mut wire = cluster.wire(near);
    wait_for("the follower's high watermark", || fetch_in_rack(&mut wire, "near", 0, &rack).1 == committed);
    let (named, _, bytes) = fetch_in_rack(&mut wire, "near", 0, &rack);
    assert!(named == -1 && bytes > 0, "{named}, {bytes} bytes");
    for rack in [format!("rack-{}", leaders[0]), "elsewhere".to_owned(), String::new()] {
        let (named, _, bytes) = fetch_in_rack(&mut cluster.wire(leaders[0]), "near", 0, &rack);
        assert!(named == -1 && bytes > 0, "{rack}: {named}, {bytes} bytes");
    }

    let sent = |id: usize| {
        let scrape = Scrape::of(&format!("127.0.0.1:{}", metrics[id - 1]));
        scrape.find("kafka_server_brokertopicmetrics_bytesout_total", &[("topic", "near")]).unwrap_or(0.0)
    };
    let before = [2, 3, 4].map(sent);
    let member = json!({"member": "one", "group": "near", "topic": "near", "rack": rack});
    reader.call("join", member).expect("a member joins");
    let mut next = BTreeMap::new();
    follow_group(&mut reader, &acknowledged.keys().copied().collect(), &mut next);
    produce(&mut writer, "near", &values(3000), &mut acknowledged);
    follow_group(&mut reader, &acknowledged.keys().copied().collect(), &mut next);
    let sent: Vec<f64> = [2, 3, 4].map(sent).iter().zip(before).map(|(now, before)| now - before).collect();
    let share = sent[near - 2] / sent.iter().sum::<f64>();
    assert!(share >= 0.95, "the replica near by sent {share} of {sent:?}");

    cluster.node_mut(near).kill();
    produce(&mut writer, "near", &values(6000), &mut acknowledged);
    follow_group(&mut reader, &acknowledged.keys().copied().collect(), &mut next);
}

fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}: not in {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn the_in_sync_set_shrinks_and_grows_back() {
    let mut cluster = Cluster::start(Target::from_env(), &APART, Quorum::Static, &settings("2000", "2000"));
    create(&cluster, 2, "set", 1);
    let leader = cluster.wait_partition(2, "set", 0, |view| view.isr == [2, 3, 4]).leader.expect("a leader");
    let others: Vec<usize> = [2, 3, 4].into_iter().filter(|id| *id != leader).collect();
    let mut wire = cluster.wire(leader);
    assert_eq!(produce_soon(&mut wire, "set", "first"), 0);

    // One follower hangs: writes go on when it has left the set.
    cluster.node(others[0]).freeze();
    assert_eq!(produce_soon(&mut wire, "set", "second"), 1);
    cluster.wait_partition(leader, "set", 0, |view| !view.isr.contains(&others[0]));
    // The other dies: two replicas are asked for and one is left.
    cluster.node_mut(others[1]).kill();
    cluster.wait_partition(leader, "set", 0, |view| view.isr == [leader]);
    let (error, _) = wire.produce("set", 0, batch(&["refused"])).expect("an answer to Produce");
    assert_eq!(error, ErrorCode::NOT_ENOUGH_REPLICAS);
    // acks=1 is taken, and is not committed.
    let request = produce_request("set", 0, batch(&["third"])).with_acks(1);
    let answer = wire.call(9, &request).expect("an answer to Produce");
    let answer = &answer.responses[0].partition_responses[0];
    assert_eq!((answer.error_code, answer.base_offset), (0, 2));
    assert_eq!(high_watermark(&mut wire, "set", 0), 2, "committed below min.insync.replicas");

    cluster.node(others[0]).thaw();
    assert_eq!(produce_soon(&mut wire, "set", "fourth"), 3);
    cluster.start_all();
    cluster.wait_partition(leader, "set", 0, |view| view.isr == [2, 3, 4]);
    let log = cluster.wait_identical(&[2, 3, 4], "set", 0);

    // A broker that lost its disk gets all back.
    cluster.node_mut(others[1]).kill();
    cluster.wait_partition(leader, "set", 0, |view| !view.isr.contains(&others[1]));
    fs::remove_dir_all(cluster.node(others[1]).data()).expect("the data can be removed");
    cluster.format_node(others[1]);
    cluster.start_all();
    cluster.wait_partition(leader, "set", 0, |view| view.isr == [2, 3, 4]);
    assert!(cluster.wait_identical(&[2, 3, 4], "set", 0) == log, "the log changed");
}

#[test]
fn a_tail_that_no_other_replica_has_is_cut_off() {
    // Followers are frozen for moments only, and must not lose their places meanwhile.
    let mut cluster = Cluster::start(Target::from_env(), &APART, Quorum::Static, &settings("6000", "30000"));
    create(&cluster, 2, "tail", 1);
    let first = cluster.wait_partition(2, "tail", 0, |view| view.isr == [2, 3, 4]);
    let leader = first.leader.expect("a leader");
    let others: Vec<usize> = [2, 3, 4].into_iter().filter(|id| *id != leader).collect();
    let mut wire = cluster.wire(leader);
    assert_eq!(produce_soon(&mut wire, "tail", "kept"), 0);
    cluster.wait_identical(&[2, 3, 4], "tail", 0);

    others.iter().for_each(|id| cluster.node(*id).freeze());
    // The answer to a fetch that waited may lie in a socket; what comes after it is with the leader alone.
    for _ in 0..200 {
        let request = produce_request("tail", 0, batch(&["lost"])).with_acks(1);
        wire.call(9, &request).expect("an answer to Produce");
    }
    cluster.node_mut(leader).kill();
    others.iter().for_each(|id| cluster.node(*id).thaw());
    let tail = cluster.log_bytes(leader, "tail", 0);
    let second = cluster.wait_partition(others[0], "tail", 0, |view| {
        view.epoch > first.epoch && view.leader.is_some_and(|id| id != leader)
    });
    let mut wire = cluster.wire(second.leader.expect("waited for"));
    for n in 0..8 {
        produce_soon(&mut wire, "tail", &format!("new-{n}"));
    }
    cluster.start_all();
    cluster.wait_partition(others[0], "tail", 0, |view| view.isr == [2, 3, 4]);
    let log = cluster.wait_identical(&[2, 3, 4], "tail", 0);
    let lost = |log: &[u8]| log.windows(4).filter(|window| window == b"lost").count();
    assert_eq!(lost(&tail), 200);
    assert!(lost(&log) < 200, "what only the old leader had is still there");
    let cut = cluster
        .node(leader)
        .output()
        .wait(0, PATIENCE, |line| line.contains("tail-0: truncating").then_some(()));
    cut.expect("the returned leader says that it truncates");
}
