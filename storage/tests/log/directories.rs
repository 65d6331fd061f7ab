//! Log directories: lock, identity, marks.

use std::fs;

use minikafka_storage::TopicPartition;
use minikafka_storage::dirs::{
    Checkpoint, DirError, LogDir, MetaProperties, read_partition_metadata, remove_dir,
    write_partition_metadata,
};
use minikafka_storage::names::PartitionDir;
use uuid::Uuid;

#[test]
fn a_directory_in_use_is_refused_before_anything_is_touched() {
    let temp = super::temp_dir();
    let path = temp.path().join("data");
    let first = LogDir::open(&path).unwrap();
    let second = LogDir::open(&path);
    assert!(matches!(&second, Err(DirError::Locked(at)) if *at == path), "{second:?}");
    let text = second.unwrap_err().to_string();
    assert!(text.contains("Failed to acquire lock on file .lock in"), "{text}");
    drop(first);
    LogDir::open(&path).unwrap();
}

#[test]
fn the_clean_mark_is_taken_once() {
    let temp = super::temp_dir();
    let dir = LogDir::open(temp.path()).unwrap();
    assert_eq!(dir.take_clean_shutdown().unwrap(), None);
    dir.write_clean_shutdown(20).unwrap();
    let mark = temp.path().join(".kafka_cleanshutdown");
    assert_eq!(fs::read_to_string(&mark).unwrap(), r#"{"version":0,"brokerEpoch":20}"#);
    assert_eq!(dir.take_clean_shutdown().unwrap().unwrap().broker_epoch, 20);
    assert_eq!(dir.take_clean_shutdown().unwrap(), None);
    fs::write(&mark, "").unwrap();
    assert_eq!(dir.take_clean_shutdown().unwrap().unwrap().broker_epoch, -1, "releases before 3.7");
}

#[test]
fn meta_properties_come_back_and_bad_ones_say_why() {
    let temp = super::temp_dir();
    let dir = LogDir::open(temp.path()).unwrap();
    assert_eq!(dir.meta_properties().unwrap(), None);
    let kafkas = "#\n#Sat Nov 21 10:54:02 UTC 2026\nnode.id=1\ndirectory.id=OTtmkF93TEXhaGjVfvcQ7Q\nversion=1\n\
                  cluster.id=Z29sZGVuLW1pbmlrYWZrYQ\n";
    let mut properties = MetaProperties::parse(kafkas.as_bytes()).unwrap();
    assert_eq!(properties.node_id, Some(1));
    assert_eq!(properties.cluster_id.as_deref(), Some("Z29sZGVuLW1pbmlrYWZrYQ"));
    properties.other.insert("some.key".into(), "a value: with = signs\\".into());
    // The file is Latin-1, so that other letters are written by their numbers.
    properties.other.insert("schlüssel".into(), "é€\t\u{fe}".into());
    dir.write_meta_properties(&properties).unwrap();
    assert_eq!(dir.meta_properties().unwrap(), Some(properties));
    for bad in [
        "version=1\nnode.id=1",
        "node.id=1",
        "version=2",
        "version=1\nnode.id=x",
        "version=1\ndirectory.id=x",
    ] {
        assert!(MetaProperties::parse(bad.as_bytes()).is_err(), "{bad}");
    }
    let zookeepers = MetaProperties::parse(b"version=0\nbroker.id=3\ncluster.id=abc").unwrap();
    assert_eq!((zookeepers.version, zookeepers.node_id), (0, Some(3)));
}

#[test]
fn damaged_checkpoints_are_named_not_obeyed() {
    let temp = super::temp_dir();
    let dir = LogDir::open(temp.path()).unwrap();
    let path = temp.path().join(Checkpoint::RecoveryPoint.file_name());
    for bad in [
        "",
        "1\n0\n",
        "0\n2\na 0 1\n",
        "0\n1\na 0\n",
        "0\n1\na x 1\n",
        "0\n1\na 0 1 2\n",
        "0\n-1\n",
        "\u{0}\u{0}",
    ] {
        fs::write(&path, bad).unwrap();
        let error = dir.read_checkpoint(Checkpoint::RecoveryPoint).unwrap_err();
        assert!(matches!(error, DirError::Malformed { .. }), "{bad:?}: {error}");
    }
}

#[test]
fn folders_of_replicas_are_found_and_others_refused() {
    let temp = super::temp_dir();
    let dir = LogDir::open(temp.path()).unwrap();
    let orders = TopicPartition::new("orders", 3);
    let path = dir.partition_path(&orders);
    fs::create_dir(&path).unwrap();
    fs::create_dir(temp.path().join("__cluster_metadata-0")).unwrap();
    let id = Uuid::from_u128(7);
    write_partition_metadata(&path, id).unwrap();
    let text = fs::read_to_string(path.join("partition.metadata")).unwrap();
    assert_eq!(text, "version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAABw");
    assert_eq!(read_partition_metadata(&path).unwrap(), Some(id));
    assert_eq!(dir.partition_dirs().unwrap(), [(path.clone(), PartitionDir::Current(orders.clone()))]);
    let deleted = dir.mark_dir(&path, &orders, id, "delete").unwrap();
    assert_eq!(dir.partition_dirs().unwrap(), [(deleted.clone(), PartitionDir::Deleted)]);
    remove_dir(&deleted).unwrap();
    remove_dir(&deleted).unwrap();
    assert_eq!(dir.partition_dirs().unwrap(), []);
    fs::create_dir(temp.path().join("something")).unwrap();
    assert!(matches!(dir.partition_dirs(), Err(DirError::Malformed { .. })));
}
