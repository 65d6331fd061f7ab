//! Metadata logs of Apache Kafka: the image after each prefix is what Kafka's own snapshot of that prefix says.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::path::{Path, PathBuf};

use minikafka_metadata::image::{ConfigResource, MetadataImage};
use minikafka_metadata::loader::Loader;
use minikafka_metadata::{MetadataDelta, snapshot};
use protocol::batch::batches;
use protocol::records::Record;

const LOGS: [&str; 4] = [
    "4.1.2-kraft-clean",
    "4.1.2-kraft-dynamic-metadata-node1",
    "4.1.2-kraft-static-metadata-node1",
    "3.9.2-kraft-static-metadata-node1",
];

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(name)
}

/// Offset, epoch and record of every data record; the offset and epoch of control records.
fn read(file: &Path) -> Vec<(i64, i32, Option<Record>)> {
    let bytes = fs::read(file).unwrap();
    let mut found = Vec::new();
    for batch in batches(&bytes) {
        let batch = batch.unwrap();
        let header = batch.header().unwrap();
        for record in batch.records().unwrap() {
            let record = record.unwrap();
            let offset = header.base_offset + i64::from(record.offset_delta);
            let value = (!header.is_control()).then(|| Record::decode(record.value.unwrap()).unwrap().0);
            found.push((offset, header.partition_leader_epoch, value));
        }
    }
    found
}

/// The image of the log in `folder` up to `end`, exclusive.
fn image_of_log(folder: &Path, end: i64) -> MetadataImage {
    let mut loader = Loader::new(MetadataImage::empty());
    for (offset, epoch, record) in read(&folder.join("00000000000000000000.log")) {
        if offset >= end {
            break;
        }
        match record {
            Some(record) => loader.replay(offset, epoch, 0, &record).unwrap(),
            None => loader.skip(offset, epoch, 0),
        }
    }
    let published = loader.publish();
    published.last().unwrap().after().clone()
}

fn image_of_snapshot(file: &Path) -> MetadataImage {
    let mut delta = MetadataDelta::new(MetadataImage::empty());
    let records: Vec<Record> = read(file).into_iter().filter_map(|(_, _, record)| record).collect();
    delta.replay_all(&records).unwrap();
    delta.after().clone()
}

#[test]
fn kafkas_snapshots_say_the_same_as_its_log() {
    let mut compared = 0;
    for name in LOGS {
        let folder = folder(name);
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let file = path.file_name().unwrap().to_str().unwrap().to_owned();
            let Some((end, _)) = file.strip_suffix(".checkpoint").and_then(|id| id.split_once('-')) else {
                continue;
            };
            let end: i64 = end.parse().unwrap();
            if end == 0 {
                continue;
            }
            let (log, snapshot) = (image_of_log(&folder, end), image_of_snapshot(&path));
            assert_eq!(log.features, snapshot.features, "{name} {file}");
            assert_eq!(log.cluster, snapshot.cluster, "{name} {file}");
            assert_eq!(log.topics, snapshot.topics, "{name} {file}");
            assert_eq!(log.configs, snapshot.configs, "{name} {file}");
            assert!(log.same_metadata(&snapshot), "{name} {file}");
            compared += 1;
        }
    }
    assert!(compared >= 15, "{compared}");
}

#[test]
fn our_snapshots_of_kafkas_logs_load_to_the_same_image() {
    for name in LOGS {
        let image = image_of_log(&folder(name), i64::MAX);
        let mut delta = MetadataDelta::new(MetadataImage::empty());
        delta.replay_all(&snapshot::records(&image)).unwrap();
        assert!(delta.after().same_metadata(&image), "{name}");
    }
}

#[test]
fn the_clean_node_has_what_its_dump_shows() {
    let image = image_of_log(&folder("4.1.2-kraft-clean"), i64::MAX);
    assert_eq!(image.features.metadata_version().0, 27);
    let names: Vec<&str> = image.topics.iter().map(|topic| topic.name.as_str()).collect();
    for name in ["plain", "codecs", "bytes", "times", "compacted", "deleted", "txn", "appendtime", "empty"] {
        assert!(names.contains(&name), "{name} in {names:?}");
    }
    assert!(!names.contains(&"short-lived"));
    let codecs = image.topics.by_name("codecs").unwrap();
    assert_eq!(codecs.partitions.len(), 4);
    assert_eq!(protocol::base64_id(codecs.id), "Q5bWTzs1SaizhEuFAaotxQ");
    let partition = codecs.partition(0).unwrap();
    // The node was stopped cleanly: nobody leads, and its replica may lead again.
    assert_eq!(
        (partition.leader, partition.isr.as_slice(), partition.elr.as_slice()),
        (-1, &[][..], &[1][..])
    );
    let bytes = ConfigResource::topic("bytes");
    assert_eq!(image.configs.value(&bytes, "segment.bytes"), Some("1048576"));
    assert_eq!(image.configs.value(&ConfigResource::cluster_default(), "min.insync.replicas"), Some("1"));
    assert!(image.cluster.broker(1).unwrap().fenced);
    assert!(image.next_producer_id >= 1000);
}
