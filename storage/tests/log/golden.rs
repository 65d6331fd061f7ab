//! Kafka's own files: we write the same bytes, and we open what it left.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::hash::RandomState;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use minikafka_storage::compaction::{self, CleanArgs};
use minikafka_storage::dirs::{Checkpoint, LogDir, read_partition_metadata};
use minikafka_storage::names::{FileKind, PartitionDir};
use minikafka_storage::{AppendArgs, DoomedFiles, LogConfig, OpenArgs};

use super::{LEADER, NOW, open, read_all};

const CLEAN: &[u8] = include_bytes!("../../testdata/kafka-4.1.2-clean.tar.gz");
const KILLED: &[u8] = include_bytes!("../../testdata/kafka-4.1.2-killed.tar.gz");

/// Kafka's folder after a clean stop in memory: path below `data`, bytes.
fn clean_files() -> &'static BTreeMap<String, Vec<u8>> {
    static FILES: OnceLock<BTreeMap<String, Vec<u8>>> = OnceLock::new();
    FILES.get_or_init(|| {
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(CLEAN));
        let entries = archive.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().strip_prefix("data").unwrap().to_string_lossy().into_owned();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            (path, bytes)
        });
        entries.collect()
    })
}

fn unpack(archive: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let dir = super::temp_dir();
    tar::Archive::new(flate2::read::GzDecoder::new(archive)).unpack(dir.path()).unwrap();
    let data = dir.path().join("data");
    (dir, data)
}

/// The settings of the node that wrote the files.
fn settings(topic: &str) -> LogConfig {
    let mut config = LogConfig { segment_index_bytes: 4096, ..LogConfig::default() };
    match topic {
        "bytes" => config.segment_bytes = 1 << 20,
        "times" | "compacted" => config.segment_ms = 1000,
        _ => {}
    }
    config
}

fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    entries.map(|e| (e.file_name().into_string().unwrap(), fs::read(e.path()).unwrap())).collect()
}

fn log_bytes(dir: &Path) -> Vec<u8> {
    let logs = files(dir).into_iter().filter(|(name, _)| name.ends_with(".log"));
    logs.flat_map(|(_, bytes)| bytes).collect()
}

/// Writes Kafka's batches into a fresh log, one append for each, and compares every file.
fn rewrite(name: &str, topic: &str, as_leader: bool) {
    let folder = format!("{name}/");
    let theirs = clean_files().iter().filter_map(|(path, bytes)| Some((path.strip_prefix(&folder)?, bytes)));
    let mut expected: BTreeMap<String, Vec<u8>> =
        theirs.map(|(file, bytes)| (file.into(), bytes.clone())).collect();
    expected.retain(|file, _| FileKind::parse(file).is_some() || file == "leader-epoch-checkpoint");
    let ours = super::temp_dir();
    let dir = ours.path().join(name);
    let (mut log, _) = open(&dir, &settings(topic), OpenArgs::new_log(NOW));
    log.assign_leader_epoch(if name == "__cluster_metadata-0" { 1 } else { 0 }, 0).unwrap();
    let logs = expected.iter().filter(|(file, _)| file.ends_with(".log"));
    let bytes: Vec<u8> = logs.flat_map(|(_, bytes)| bytes.clone()).collect();
    for batch in protocol::batch::batches(&bytes) {
        let batch = batch.unwrap();
        let header = batch.header().unwrap();
        if as_leader {
            let mut records = batch.bytes.to_vec();
            protocol::batch::patch_base_offset(&mut records, 0);
            let args = AppendArgs { leader_epoch: header.partition_leader_epoch, ..LEADER };
            log.append_as_leader(&mut records, args).unwrap();
        } else {
            log.append_as_follower(batch.bytes, NOW).unwrap();
        }
        log.set_high_watermark(header.next_offset());
    }
    log.close().unwrap();
    let found = files(&dir);
    let names = |files: &BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(names(&found), names(&expected), "{name}");
    for (file, bytes) in expected {
        assert_eq!(found[&file], bytes, "{name}/{file}");
    }
}

#[test]
fn an_idle_topic_has_kafkas_files() {
    rewrite("empty-0", "empty", true);
}

#[test]
fn rolling_by_size_writes_kafkas_segments_and_indexes() {
    rewrite("bytes-0", "bytes", true);
    rewrite("bytes-0", "bytes", false);
}

#[test]
fn rolling_by_time_writes_kafkas_segments_and_indexes() {
    rewrite("times-0", "times", true);
}

#[test]
fn a_metadata_log_is_the_same_byte_for_byte() {
    rewrite("__cluster_metadata-0", "__cluster_metadata", false);
}

#[test]
fn idempotent_and_plain_batches_are_the_same_byte_for_byte() {
    rewrite("plain-0", "plain", true);
    rewrite("auto-created-0", "auto-created", true);
    rewrite("plain-0", "plain", false);
}

#[test]
fn compressed_batches_are_the_same_byte_for_byte() {
    for partition in 0..4 {
        rewrite(&format!("codecs-{partition}"), "codecs", true);
    }
}

#[test]
fn transactions_leave_kafkas_index_and_snapshots() {
    rewrite("txn-0", "txn", false);
    rewrite("txn-1", "txn", false);
    for partition in 0..4 {
        rewrite(&format!("__consumer_offsets-{partition}"), "__consumer_offsets", false);
    }
}

fn open_args(dir: &LogDir, partition: &minikafka_storage::TopicPartition, clean_shutdown: bool) -> OpenArgs {
    let at = |kind| dir.read_checkpoint(kind).unwrap().get(partition).copied().unwrap_or(0);
    OpenArgs {
        log_start_offset: at(Checkpoint::LogStart),
        recovery_point: at(Checkpoint::RecoveryPoint),
        high_watermark: at(Checkpoint::HighWatermark),
        clean_shutdown,
        durable_end: None,
        now_ms: NOW,
    }
}

/// Opens every log of a directory of Kafka's; returns start, high watermark and end of each.
fn open_all(data: &Path, clean: bool) -> BTreeMap<String, (i64, i64, i64)> {
    let dir = LogDir::open(data).unwrap();
    assert_eq!(dir.take_clean_shutdown().unwrap().map(|mark| mark.broker_epoch), clean.then_some(20));
    let mut found = BTreeMap::new();
    for (path, kind) in dir.partition_dirs().unwrap() {
        let PartitionDir::Current(partition) = kind else { continue };
        assert!(read_partition_metadata(&path).unwrap().is_some());
        let before = log_bytes(&path);
        let (mut log, report) = open(&path, &settings(&partition.topic), open_args(&dir, &partition, clean));
        assert_eq!(
            (report.torn_bytes, report.proved_loss, &report.quarantined[..]),
            (0, false, &[][..]),
            "{partition}"
        );
        assert_eq!(report.scanned_segments > 0, !clean, "{partition}");
        let bytes = read_all(&log, log.log_start_offset(), 4000);
        assert!(before.ends_with(&bytes), "{partition}");
        found.insert(
            partition.to_string(),
            (log.log_start_offset(), log.high_watermark(), log.log_end_offset()),
        );
        log.close().unwrap();
    }
    found
}

#[test]
fn a_cleanly_stopped_kafka_opens_without_a_scan() {
    let (_golden, data) = unpack(CLEAN);
    let found = open_all(&data, true);
    assert_eq!(found.len(), 22 + 1);
    assert_eq!(found["deleted-0"], (5, 10, 10));
    assert_eq!(found["bytes-0"], (0, 90, 90));
    assert_eq!(found["txn-0"], (0, 9, 9));
    assert_eq!(found["times-0"], (0, 5, 5));
}

#[test]
fn a_killed_kafka_is_recovered() {
    let (_golden, data) = unpack(KILLED);
    let found = open_all(&data, false);
    assert_eq!(found["deleted-0"], (5, 10, 10));
    assert_eq!(found["plain-0"], (0, 14, 14));
    assert_eq!(found["txn-0"], (0, 13, 13));
    assert_eq!(found["times-0"], (0, 8, 8));
    assert_eq!(found["__transaction_state-0"], (0, 20, 20));
    // After our clean stop Kafka's preallocated indexes are cut to size and the files are as a stop of Kafka's leaves.
    assert_eq!(fs::metadata(data.join("empty-0").join(FileKind::Index.name(0))).unwrap().len(), 0);
    let name = format!("codecs-1/{}", FileKind::TimeIndex.name(0));
    assert_eq!(fs::read(data.join(&name)).unwrap(), clean_files()[&name]);
}

#[test]
fn checkpoints_are_written_as_kafka_writes_them() {
    let (_golden, data) = unpack(CLEAN);
    let dir = LogDir::open(&data).unwrap();
    for kind in
        [Checkpoint::RecoveryPoint, Checkpoint::HighWatermark, Checkpoint::LogStart, Checkpoint::Cleaner]
    {
        let path = data.join(kind.file_name());
        let theirs: BTreeSet<String> =
            fs::read_to_string(&path).unwrap().lines().map(str::to_owned).collect();
        let offsets = dir.read_checkpoint(kind).unwrap();
        dir.write_checkpoint(kind, offsets.iter().map(|(partition, offset)| (partition, *offset))).unwrap();
        let ours: BTreeSet<String> = fs::read_to_string(&path).unwrap().lines().map(str::to_owned).collect();
        assert_eq!(ours, theirs);
        assert_eq!(dir.read_checkpoint(kind).unwrap(), offsets);
    }
}

/// Kafka's cleaner and ours make the same segment of the same ones: `compacted-0` holds both, the old as `.deleted`.
#[test]
fn compaction_writes_kafkas_bytes() {
    let theirs: BTreeMap<&str, &Vec<u8>> = clean_files()
        .iter()
        .filter_map(|(path, bytes)| Some((path.strip_prefix("compacted-0/")?, bytes)))
        .collect();
    let temp = super::temp_dir();
    let dir = temp.path().join("compacted-0");
    fs::create_dir(&dir).unwrap();
    for (name, bytes) in &theirs {
        // The active segment, and the others as they were.
        let active = name.starts_with("0000000000000000001") || *name == "leader-epoch-checkpoint";
        let old = name.strip_suffix(".deleted").or(active.then_some(name));
        if let Some(old) = old {
            fs::write(dir.join(old), bytes).unwrap();
        }
    }
    let cleaned = "00000000000000000000.log";
    let horizon = protocol::batch::batches(theirs[cleaned])
        .find_map(|batch| batch.unwrap().header().unwrap().delete_horizon_ms())
        .unwrap();
    let config = LogConfig { cleanup_compact: true, cleanup_delete: false, ..settings("compacted") };
    let now_ms = horizon - config.delete_retention_ms;
    let (mut log, _) = open(&dir, &config, OpenArgs { high_watermark: i64::MAX, ..OpenArgs::new_log(NOW) });
    let cleanable = log.cleanable(now_ms).unwrap().unwrap();
    assert_eq!((cleanable.first_dirty_offset, cleanable.first_uncleanable_offset), (0, 10));
    let log = std::cell::RefCell::new(log);
    let args = CleanArgs {
        now_ms,
        memory_bytes: 1 << 20,
        load_factor: 0.9,
        hashers: [RandomState::new(), RandomState::new()],
        stop: &|| false,
    };
    let mut doomed = DoomedFiles::default();
    let result = compaction::clean(|| log.borrow_mut(), &cleanable, args, &mut doomed).unwrap();
    assert_eq!(result.end_offset, 10);
    let ours = files(&dir);
    let expected =
        theirs.iter().filter(|(name, _)| FileKind::parse(name.trim_end_matches(".deleted")).is_some());
    for (name, bytes) in expected {
        assert_eq!(ours.get(*name), Some(*bytes), "{name}");
    }
    doomed.remove().unwrap();
    log.borrow_mut().close().unwrap();
    let left: BTreeSet<String> = files(&dir).into_keys().collect();
    let kept = theirs.keys().filter(|name| !name.ends_with(".deleted") && **name != "partition.metadata");
    assert_eq!(left, kept.map(|name| name.to_string()).collect());
}
