//! Brokers with several log directories in a cluster: replicas move between them, also over a kill, and what lies in a
//! directory that fails is led elsewhere.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use minikafka_tests::cluster::{Cluster, text};
use minikafka_tests::faults::Injection;
use minikafka_tests::kafka_tools::Tools;
use minikafka_tests::node::PATIENCE;
use minikafka_tests::wire::name;
use protocol::ErrorCode;
use protocol::messages::alter_replica_log_dirs_request::{AlterReplicaLogDir, AlterReplicaLogDirTopic};
use protocol::messages::describe_log_dirs_response::DescribeLogDirsPartition;
use protocol::messages::{AlterReplicaLogDirsRequest, DescribeLogDirsRequest};
use serde_json::json;

const REASSIGN: &str = "org.apache.kafka.tools.reassign.ReassignPartitionsCommand";
const LOG_DIRS: &str = "org.apache.kafka.tools.LogDirsCommand";
const DATA: usize = 6 << 20;
const VALUE: usize = 64 << 10;

/// Three nodes with two directories each.
fn cluster() -> Cluster {
    let mut cluster = Cluster::of_three_to_move_in();
    for id in 1..=3 {
        let dirs = dirs(&cluster, id).map(|dir| dir.display().to_string()).join(",");
        cluster.node(id).set("log.dirs", Some(&dirs));
    }
    cluster.format();
    cluster.start_all();
    cluster
}

/// The directories of a node; the first has the metadata log.
fn dirs(cluster: &Cluster, id: usize) -> [PathBuf; 2] {
    let first = cluster.node(id).data();
    let second = first.with_file_name("data-2");
    [first, second]
}

/// What DescribeLogDirs says of partition 0 of the topic in each directory of a node.
fn described(cluster: &Cluster, id: usize, topic: &str) -> [Option<DescribeLogDirsPartition>; 2] {
    let request = DescribeLogDirsRequest::default().with_topics(None);
    let answer = cluster.wire(id).call(4, &request).expect("an answer to DescribeLogDirs");
    dirs(cluster, id).map(|dir| {
        let result = answer.results.iter().find(|result| *result.log_dir == *dir.display().to_string());
        let topics = &result.expect("the directory is described").topics;
        topics.iter().find(|t| *t.name == name(topic)).map(|t| t.partitions[0].clone())
    })
}

/// Which of its directories a node has the replica in.
fn home(cluster: &Cluster, id: usize, topic: &str) -> usize {
    let here = |found: &Option<DescribeLogDirsPartition>| found.as_ref().is_some_and(|p| !p.is_future_key);
    described(cluster, id, topic).iter().position(here).expect("the node has the replica")
}

/// AlterReplicaLogDirs of partition 0: its error.
fn alter(cluster: &Cluster, id: usize, topic: &str, to: usize) -> ErrorCode {
    let topic = AlterReplicaLogDirTopic::default().with_name(name(topic)).with_partitions(vec![0]);
    let path = dirs(cluster, id)[to].display().to_string();
    let dir = AlterReplicaLogDir::default().with_path(text(&path)).with_topics(vec![topic]);
    let request = AlterReplicaLogDirsRequest::default().with_dirs(vec![dir]);
    let answer = cluster.wire(id).call(2, &request).expect("an answer to AlterReplicaLogDirs");
    ErrorCode(answer.results[0].partitions[0].error_code)
}

fn log_of(cluster: &Cluster, id: usize, topic: &str) -> Vec<u8> {
    let folder = dirs(cluster, id)[home(cluster, id, topic)].join(format!("{topic}-0"));
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut segments: Vec<_> = entries.filter(|path| path.extension().is_some_and(|e| e == "log")).collect();
    segments.sort();
    segments.iter().flat_map(|path| fs::read(path).unwrap_or_default()).collect()
}

fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}: not in {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Folders of the topic on a node, in whatever state.
fn folders(cluster: &Cluster, id: usize, topic: &str) -> Vec<PathBuf> {
    let entries = dirs(cluster, id).into_iter().flat_map(|dir| fs::read_dir(dir).expect("a directory"));
    let paths = entries.flatten().map(|entry| entry.path());
    paths.filter(|path| path.file_name().is_some_and(|n| n.to_string_lossy().starts_with(topic))).collect()
}

#[test]
fn a_replica_moves_between_directories_over_a_kill() {
    let mut cluster = cluster();
    let mut tools = Tools::start();
    cluster.create_assigned(1, "moved", &[&[1, 2]]);
    let value = "x".repeat(VALUE);
    (0..DATA / VALUE).for_each(|n| assert_eq!(cluster.produce("moved", 0, &value), n as i64));
    let from = home(&cluster, 1, "moved");
    let to = 1 - from;

    // As the tool does it, and slowly.
    let bootstrap = cluster.node(2).bootstrap();
    let target = dirs(&cluster, 1)[to].display().to_string();
    let plan = json!({"topic": "moved", "partition": 0, "replicas": [1, 2], "log_dirs": [target, "any"]});
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    fs::write(file.path(), json!({"version": 1, "partitions": [plan]}).to_string())
        .expect("it can be written");
    let file = file.path().display().to_string();
    let words = ["--bootstrap-server", &bootstrap, "--reassignment-json-file", &file];
    let execute = ["--execute", "--replica-alter-log-dirs-throttle", "1000000"];
    let printed = tools.must(REASSIGN, &[&words[..], &execute].concat(), "");
    assert!(printed.contains("for replica moved-0 with broker 1"), "{printed}");
    let moving = |cluster: &Cluster| described(cluster, 1, "moved")[to].clone();
    wait_for("a copy that has begun", || moving(&cluster).is_some_and(|p| p.partition_size > 0));
    let seen = moving(&cluster).expect("it is there");
    assert!(seen.is_future_key && seen.offset_lag > 0, "{seen:?}");
    let is_future =
        |path: &PathBuf| path.extension().is_some_and(|e| e.to_string_lossy().ends_with("-future"));
    assert!(folders(&cluster, 1, "moved").iter().any(is_future), "{:?}", folders(&cluster, 1, "moved"));
    let printed =
        tools.must(LOG_DIRS, &["--bootstrap-server", &bootstrap, "--describe", "--broker-list", "1"], "");
    assert!(printed.contains("\"isFuture\":true"), "{printed}");
    let printed = tools.must(REASSIGN, &[&words[..], &["--verify", "--preserve-throttles"]].concat(), "");
    assert!(printed.contains("Reassignment of replica moved-0-1 is still in progress."), "{printed}");

    // A kill in the middle: the replica is where it was, and the move goes on.
    cluster.node_mut(1).kill();
    cluster.produce("moved", 0, "while node 1 is down");
    cluster.start_all();
    assert_eq!(home(&cluster, 1, "moved"), from);
    cluster.produce("moved", 0, "while the move goes on");
    wait_for("the replica in its new directory", || home(&cluster, 1, "moved") == to);
    let printed = tools.must(REASSIGN, &[&words[..], &["--verify"]].concat(), "");
    assert!(printed.contains("Reassignment of replica moved-0-1 completed successfully."), "{printed}");
    cluster.wait_partition(2, "moved", 0, |view| view.isr == [1, 2]);
    cluster.produce("moved", 0, "after the move");
    wait_for("one folder", || folders(&cluster, 1, "moved").len() == 1);
    wait_for("the same log", || log_of(&cluster, 1, "moved") == log_of(&cluster, 2, "moved"));

    // It is found there after a kill, leads, and goes back; taken back in the middle, it stays.
    cluster.node_mut(1).kill();
    cluster.start_all();
    assert_eq!(home(&cluster, 1, "moved"), to);
    cluster.wait_partition(2, "moved", 0, |view| view.isr == [1, 2]);
    cluster.node_mut(2).stop();
    let end = cluster.produce("moved", 0, "by node 1");
    assert_eq!(alter(&cluster, 1, "moved", from), ErrorCode::NONE);
    wait_for("the leader in its old directory", || home(&cluster, 1, "moved") == from);
    assert_eq!(cluster.produce("moved", 0, "again"), end + 1);
    assert_eq!(alter(&cluster, 1, "moved", to), ErrorCode::NONE);
    assert_eq!(alter(&cluster, 1, "moved", from), ErrorCode::NONE);
    cluster.start_all();
    cluster.wait_partition(1, "moved", 0, |view| view.isr == [1, 2]);
    wait_for("one folder", || folders(&cluster, 1, "moved").len() == 1);
    wait_for("the same log", || log_of(&cluster, 1, "moved") == log_of(&cluster, 2, "moved"));
}

#[test]
fn a_directory_that_fails_gives_its_leaderships_away() {
    let mut cluster = cluster();
    // Two replicas of node 1, one in each directory.
    for topic in ["first", "second"] {
        cluster.create_assigned(1, topic, &[&[1, 2]]);
        assert_eq!(cluster.produce(topic, 0, "before"), 0);
        cluster.wait_partition(1, topic, 0, |view| view.isr == [1, 2]);
    }
    let homes = ["first", "second"].map(|topic| home(&cluster, 1, topic));
    assert_ne!(homes[0], homes[1], "each directory gets one");
    // The second was moved to where the metadata is not, so that the controller knows of it by the move alone.
    let (moved, kept) = if homes[0] == 0 { ("first", "second") } else { ("second", "first") };
    assert_eq!(alter(&cluster, 1, moved, 1), ErrorCode::NONE);
    wait_for("the move", || home(&cluster, 1, moved) == 1);
    assert_eq!(alter(&cluster, 1, kept, 0), ErrorCode::NONE);
    wait_for("the move", || home(&cluster, 1, kept) == 0);
    let broken = dirs(&cluster, 1)[1].clone();
    let injected =
        Injection::begin(cluster.node(1).pid(), &broken.join(format!("{moved}-0")), "pwrite64", "EIO");
    assert_eq!(cluster.produce(moved, 0, "by the other"), 1);
    let view = cluster.wait_partition(2, moved, 0, |view| view.leader == Some(2));
    assert_eq!(view.isr, [2]);
    drop(injected);
    // The other directory serves on.
    assert_eq!(cluster.produce(kept, 0, "on"), 1);
    assert_eq!(cluster.partition(1, kept, 0).and_then(|view| view.leader), Some(1));
    let codes = cluster.wire(1).log_dirs().expect("an answer to DescribeLogDirs");
    assert_eq!(codes[&broken.display().to_string()], ErrorCode::KAFKA_STORAGE_ERROR);
    assert_eq!(alter(&cluster, 1, kept, 1), ErrorCode::KAFKA_STORAGE_ERROR);
    // With the disk mended the replica is back.
    cluster.node_mut(1).restart();
    cluster.wait_partition(2, moved, 0, |view| view.isr == [1, 2]);
    assert_eq!(home(&cluster, 1, moved), 1);
    wait_for("the same log", || log_of(&cluster, 1, moved) == log_of(&cluster, 2, moved));
}
