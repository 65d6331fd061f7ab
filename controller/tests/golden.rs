//! Directories of Apache Kafka: ours go on where its left off, and formatting writes what its tool writes.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "sole_voter/node.rs"]
mod node;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use metadata::image::ConfigResource;
use minikafka_controller::format::{FormatArgs, bootstrap_records, format};
use node::{CLUSTER_ID, Node, create_topics, register, unfence};
use protocol::features::MetadataVersion;
use raft::{Endpoint, ReplicaKey, Voter, VoterSet};
use tempfile::TempDir;
use uuid::Uuid;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../metadata/testdata").join(name)
}

/// A copy of a folder of Kafka's as a metadata log directory.
fn copy_of(name: &str) -> TempDir {
    let dir = TempDir::new().unwrap();
    let log = dir.path().join("__cluster_metadata-0");
    fs::create_dir(&log).unwrap();
    for entry in fs::read_dir(golden(name)).unwrap() {
        let entry = entry.unwrap();
        let file = entry.file_name();
        let at_top = file == "bootstrap.checkpoint" || file == "meta.properties";
        let parent = if at_top { dir.path() } else { &log };
        fs::copy(entry.path(), parent.join(file)).unwrap();
    }
    dir
}

#[tokio::test]
async fn goes_on_where_apache_kafka_stopped() {
    let mut node = Node::on(copy_of("4.1.2-kraft-clean"), &[]);
    node.directory_id = protocol::parse_base64_id("OTtmkF93TEXhaGjVfvcQ7Q").unwrap();
    let controller = node.start();
    let epoch = register(&controller, &node).await;
    unfence(&controller, epoch).await;
    let image = controller.image();
    let codecs = image.topics.by_name("codecs").unwrap();
    assert_eq!(protocol::base64_id(codecs.id), "Q5bWTzs1SaizhEuFAaotxQ");
    assert_eq!(codecs.partition(3).unwrap().leader, 1);
    assert_eq!(image.configs.value(&ConfigResource::topic("bytes"), "segment.bytes"), Some("1048576"));
    assert!(epoch > 268, "the log goes on: {epoch}");
    controller.submit(7, create_topics(&["ours"]).into()).await;
    controller.stop().await.unwrap();

    let controller = node.start();
    let epoch_after = register(&controller, &node).await;
    assert!(epoch_after > epoch);
    assert!(controller.image().topics.by_name("ours").is_some());
    controller.stop().await.unwrap();
    let state = fs::read_to_string(node.dir.path().join("__cluster_metadata-0/quorum-state")).unwrap();
    assert!(state.contains("\"data_version\":0") && state.contains("\"leaderId\":1"), "{state}");
}

#[tokio::test]
async fn snapshots_are_loaded_again() {
    // So small that every commit makes a snapshot, and old ones are dropped.
    let limits = [
        ("metadata.log.max.record.bytes.between.snapshots", "200"),
        ("metadata.max.retention.bytes", "10000"),
    ];
    let node = Node::format_with(&limits);
    let controller = node.start();
    let epoch = register(&controller, &node).await;
    unfence(&controller, epoch).await;
    for i in 0..60 {
        controller.submit(7, create_topics(&[&format!("topic-{i}")]).into()).await;
    }
    controller.stop().await.unwrap();
    let log_dir = node.dir.path().join("__cluster_metadata-0");
    let checkpoints = fs::read_dir(&log_dir).unwrap().filter(|entry| {
        entry.as_ref().unwrap().path().extension().is_some_and(|extension| extension == "checkpoint")
    });
    let checkpoints = checkpoints.count();
    assert!(checkpoints >= 1, "{checkpoints}");
    let controller = node.start();
    register(&controller, &node).await;
    assert_eq!(controller.image().topics.len(), 60);
    controller.stop().await.unwrap();
}

/// Bytes of a checkpoint without what differs from run to run: timestamps and checksums.
fn without_times(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let length = i32::from_be_bytes(bytes[at + 8..at + 12].try_into().unwrap()) as usize + 12;
        bytes[at + 17..at + 21].fill(0);
        bytes[at + 27..at + 43].fill(0);
        at += length;
    }
    bytes
}

#[test]
fn formatting_writes_what_kafkas_tool_writes() {
    let dir = TempDir::new().unwrap();
    let directory_id = protocol::parse_base64_id("ZUdJqz-sTKu5NCD59Mr18A").unwrap();
    let log_dirs: Vec<(PathBuf, Uuid)> = vec![(dir.path().to_owned(), directory_id)];
    let voter = Voter {
        key: ReplicaKey::new(1, directory_id),
        endpoints: vec![Endpoint {
            name: "CONTROLLER".to_owned(),
            host: "127.0.0.1".to_owned(),
            port: 29611,
        }],
        min_kraft_version: 0,
        max_kraft_version: 1,
    };
    let bootstrap = bootstrap_records(MetadataVersion::LATEST_PRODUCTION, &BTreeMap::new(), []);
    format(&FormatArgs {
        cluster_id: CLUSTER_ID,
        node_id: 1,
        log_dirs: &log_dirs,
        metadata_log_dir: dir.path(),
        bootstrap: &bootstrap,
        voters: Some(&VoterSet::new([voter])),
        now_ms: 1_795_260_237_126,
        sync: true,
    })
    .unwrap();
    let theirs = golden("4.1.2-kraft-dynamic-metadata-node1");
    let ours = fs::read(dir.path().join("bootstrap.checkpoint")).unwrap();
    let their_bootstrap = fs::read(theirs.join("bootstrap.checkpoint")).unwrap();
    assert_eq!(without_times(&ours), without_times(&their_bootstrap));

    const FIRST: &str = "00000000000000000000-0000000000.checkpoint";
    let mut ours = without_times(&fs::read(dir.path().join("__cluster_metadata-0").join(FIRST)).unwrap());
    let mut their_first = without_times(&fs::read(theirs.join(FIRST)).unwrap());
    // LastContainedLogTimestamp, in the value of the first record: after the batch header, the record's own header
    // (length, attributes, two deltas), the key with its length, the value's length and version.
    const TIMESTAMP: std::ops::Range<usize> = 61 + 4 + 5 + 1 + 2..61 + 4 + 5 + 1 + 2 + 8;
    ours[TIMESTAMP].fill(0);
    their_first[TIMESTAMP].fill(0);
    assert_eq!(ours, their_first);

    let properties = fs::read_to_string(dir.path().join("meta.properties")).unwrap();
    let lines = |text: &str| {
        let mut lines: Vec<String> =
            text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let their_properties = fs::read_to_string(theirs.join("meta.properties")).unwrap();
    assert_eq!(lines(&properties), lines(&their_properties));
}
