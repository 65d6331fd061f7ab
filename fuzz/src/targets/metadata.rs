//! Metadata records one by one, and snapshot files: decoding, replay, and back.
//!
//! Invariants: a record that was read can be written and reads the same; a record that contradicts the image is
//! refused and changes nothing; a snapshot of any image loads, and the snapshot of what was loaded is the same.

use std::fs;

use bytes::BytesMut;
use metadata::loader::Loader;
use metadata::{MetadataDelta, MetadataImage, snapshot};
use protocol::control::ControlRecord;
use protocol::records::{FeatureLevelRecord, Record};
use raft::{batch, control};

use super::batches::repair;
use crate::scratch::with_folder;
use crate::source::Source;

/// The first byte chooses: values of records, each behind its length; or the bytes of a snapshot file.
pub(super) fn run(input: &[u8]) {
    let mut source = Source::new(input);
    let flags = source.byte();
    if flags & 1 == 0 {
        records(&mut source, i16::from(flags >> 1) % 28);
    } else {
        let mut bytes = source.rest().to_vec();
        if flags & 2 != 0 {
            repair(&mut bytes);
        }
        file(&bytes);
    }
}

fn records(source: &mut Source<'_>, level: i16) {
    let mut loader = Loader::new(MetadataImage::empty());
    let version = FeatureLevelRecord { name: "metadata.version".to_owned(), feature_level: level };
    let _ = loader.replay(0, 0, 0, &Record::FeatureLevel(version));
    let mut offset = 1;
    while !source.is_empty() {
        let Ok((record, version)) = Record::decode(source.piece()) else { continue };
        same(&record, version);
        let before = loader.image().clone();
        let in_transaction = loader.in_transaction();
        if loader.replay(offset, 1, 0, &record).is_err() {
            assert_eq!(loader.image(), &before, "a refused record changes nothing");
        }
        offset += 1;
        // Every other record ends a batch.
        if offset % 2 == 0 {
            let published = loader.publish();
            assert!(published.len() <= 1 || !in_transaction || !loader.in_transaction());
            for delta in published {
                let between = MetadataDelta::between(delta.before().clone(), delta.after().clone());
                assert!(between.is_empty() || !delta.is_empty(), "a delta names what changed");
            }
        }
    }
    reload(loader.image());
}

/// Through bytes and back.
fn same(record: &Record, version: i16) {
    let mut first = BytesMut::new();
    record.encode(version, &mut first).expect("what was decoded can be encoded");
    let (again, _) = Record::decode(&first).expect("what was encoded can be decoded");
    let mut second = BytesMut::new();
    again.encode(version, &mut second).expect("what was decoded can be encoded");
    assert_eq!(first, second, "{}", record.name());
}

/// A snapshot of the image, loaded and taken again.
fn reload(image: &MetadataImage) {
    let first = snapshot::records(image);
    let mut delta = MetadataDelta::new(MetadataImage::empty());
    for record in &first {
        delta.replay(record).unwrap_or_else(|e| panic!("a snapshot does not load: {record:?}: {e}"));
    }
    let second = snapshot::records(delta.after());
    // NaN, which a quota may be, is not equal to itself.
    assert_eq!(format!("{first:?}"), format!("{second:?}"));
}

fn file(bytes: &[u8]) {
    for batch in batch::batches(bytes).flatten() {
        if batch.is_control() {
            for (_, record) in control::decode_batch(&batch).unwrap_or_default() {
                control_record(&record);
            }
        } else if let Ok(records) = batch.records() {
            for (_, value) in records {
                let _ = Record::decode(value);
            }
        }
    }
    let _ = batch::check_fetched(bytes, 0, 0..=i32::MAX);
    with_folder(|dir| {
        fs::write(dir.join("bootstrap.checkpoint"), bytes).expect("a file in memory");
        if let Ok(Some(records)) = controller::read_bootstrap(dir) {
            let mut delta = MetadataDelta::new(MetadataImage::empty());
            let _ = delta.replay_all(&records);
            reload(delta.after());
        }
    });
}

fn control_record(record: &ControlRecord) {
    if let ControlRecord::KRaftVoters(voters) = record {
        let set = control::voter_set(voters);
        let ControlRecord::KRaftVoters(again) = control::voters(&set) else { return };
        assert_eq!(control::voter_set(&again), set);
    }
    let mut value = BytesMut::new();
    let mut key = BytesMut::new();
    record.encode_key(&mut key);
    if record.encode_value(&mut value).is_ok() {
        let again = ControlRecord::decode(&key, &value).expect("what was encoded can be decoded");
        let mut second = BytesMut::new();
        again.encode_value(&mut second).expect("what was decoded can be encoded");
        assert_eq!(value, second);
    }
}
