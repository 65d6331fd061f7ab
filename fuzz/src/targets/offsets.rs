//! Records of `__consumer_offsets`, and a whole partition of them, loaded as a new leader does.
//!
//! Invariants: a record that was read in the version that is written reads the same; whatever was loaded can be
//! described, listed and fetched, and changed by requests.

use std::sync::Arc;

use broker::group::{
    Appended, CommitRequest, GroupConfig, GroupCoordinator, OffsetsLog, PartitionCommit, TopicLookup,
};
use bytes::BytesMut;
use protocol::ErrorCode;
use protocol::batch::BatchHeader;
use protocol::offsets::OffsetsRecord;

use super::batches::repair;
use crate::source::Source;

/// The first byte chooses: a key and a value; or the batches of a partition.
pub(super) fn run(input: &[u8]) {
    let mut source = Source::new(input);
    let flags = source.byte();
    if flags & 1 == 0 {
        let key = source.piece();
        record(key, (flags & 2 == 0).then(|| source.rest()));
    } else {
        let mut bytes = source.rest().to_vec();
        if flags & 2 != 0 {
            repair(&mut bytes);
        }
        partition(&bytes);
    }
}

fn record(key: &[u8], value: Option<&[u8]>) {
    let Ok(record) = OffsetsRecord::decode(key, value) else { return };
    let (mut key, mut value) = (BytesMut::new(), BytesMut::new());
    record.encode_key(&mut key).expect("what was decoded can be encoded");
    if record.encode_value(record.value_version(), &mut value).is_err() {
        return;
    }
    let value = (!record.is_tombstone()).then_some(&value[..]);
    let again = OffsetsRecord::decode(&key, value).expect("what was encoded can be decoded");
    if !matches!(record, OffsetsRecord::Unknown(_)) {
        assert_eq!(record.kind(), again.kind());
        assert_eq!(record.is_tombstone(), again.is_tombstone());
    }
}

/// Takes every append and commits it at once.
struct Sink;

impl OffsetsLog for Sink {
    fn append(&self, _partition: i32, _leader_epoch: i32, batch: BytesMut) -> Result<Appended, ErrorCode> {
        protocol::batch::verify_crc(&batch).expect("a batch of the coordinator is whole");
        let header = BatchHeader::parse(&batch).expect("a batch of the coordinator is one");
        let end_offset = i64::from(header.records_count);
        Ok(Appended { base_offset: 0, end_offset, high_watermark: i64::MAX })
    }
}

impl TopicLookup for Sink {
    fn partition_count(&self, _topic: &str) -> Option<i32> {
        Some(1)
    }
}

fn partition(bytes: &[u8]) {
    let config = GroupConfig { offsets_partitions: 1, ..GroupConfig::default() };
    let groups = GroupCoordinator::new(config, Arc::new(Sink), Arc::new(Sink));
    let mut load = groups.begin_load(0, 1).expect("a partition that was not led before");
    let _ = load.batches(bytes);
    groups.finish_load(load, i64::MAX);
    let listed = groups.list().expect("everything is loaded");
    for group in listed.iter().take(4) {
        let _ = groups.describe(&group.group_id);
        drop(groups.fetch(&group.group_id, None, true));
        let offsets =
            vec![PartitionCommit { topic: "t", partition: 0, offset: 1, leader_epoch: -1, metadata: "" }];
        drop(groups.commit(
            &group.group_id,
            CommitRequest {
                member_id: "",
                instance_id: None,
                generation: -1,
                unknown_group: ErrorCode::GROUP_ID_NOT_FOUND,
                retention_ms: None,
                offsets,
            },
        ));
        drop(groups.delete_group(&group.group_id));
    }
    groups.topic_deleted("t");
    groups.resign(0, None);
}
