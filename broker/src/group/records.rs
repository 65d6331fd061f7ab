//! The records that the coordinator writes, and what they mean when read back.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use protocol::ErrorCode;
use protocol::offsets::{
    GroupMember, GroupMetadataKey, GroupMetadataValue, OffsetCommitKey, OffsetCommitValue, OffsetsRecord,
};

use super::classic::{StoredGroup, StoredMember};
use super::offsets::CommittedOffset;

/// One record to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) key: Bytes,
    /// `None` deletes what the key names.
    pub(super) value: Option<Bytes>,
}

/// A committed offset.
pub(super) fn offset(
    group: &str,
    topic: &str,
    partition: i32,
    committed: &CommittedOffset,
) -> Result<Entry, ErrorCode> {
    let value = OffsetCommitValue {
        offset: committed.offset,
        leader_epoch: committed.leader_epoch,
        metadata: committed.metadata.to_string(),
        commit_timestamp: committed.commit_ms,
        expire_timestamp: committed.expire_ms.unwrap_or(-1),
        ..OffsetCommitValue::default()
    };
    entry(&OffsetsRecord::OffsetCommit(offset_key(group, topic, partition), Some(value)))
}

/// Deletes a committed offset.
pub(super) fn offset_tombstone(group: &str, topic: &str, partition: i32) -> Result<Entry, ErrorCode> {
    entry(&OffsetsRecord::OffsetCommit(offset_key(group, topic, partition), None))
}

/// A group's members and assignment.
pub(super) fn group(group: &str, stored: StoredGroup) -> Result<Entry, ErrorCode> {
    let member = |member: StoredMember| GroupMember {
        member_id: member.member_id.to_string(),
        group_instance_id: member.instance_id.map(|id| id.to_string()),
        client_id: member.client_id.to_string(),
        client_host: member.client_host.to_string(),
        rebalance_timeout: member.rebalance_timeout_ms,
        session_timeout: member.session_timeout_ms,
        subscription: member.subscription,
        assignment: member.assignment,
    };
    let value = GroupMetadataValue {
        protocol_type: stored.protocol_type.to_string(),
        generation: stored.generation,
        protocol: stored.protocol.map(|name| name.to_string()),
        leader: stored.leader.map(|id| id.to_string()),
        current_state_timestamp: stored.state_since_ms,
        members: stored.members.into_iter().map(member).collect(),
    };
    entry(&OffsetsRecord::Group(GroupMetadataKey { group: group.to_owned() }, Some(value)))
}

/// Deletes a group.
pub(super) fn group_tombstone(group: &str) -> Result<Entry, ErrorCode> {
    entry(&OffsetsRecord::Group(GroupMetadataKey { group: group.to_owned() }, None))
}

/// The offset that a record stands for.
pub(super) fn read_offset(value: OffsetCommitValue, record_offset: i64) -> CommittedOffset {
    CommittedOffset {
        offset: value.offset,
        leader_epoch: value.leader_epoch,
        metadata: value.metadata.into(),
        commit_ms: value.commit_timestamp,
        expire_ms: (value.expire_timestamp != -1).then_some(value.expire_timestamp),
        record_offset,
    }
}

/// The group that a record stands for.
pub(super) fn read_group(value: GroupMetadataValue) -> StoredGroup {
    let member = |member: GroupMember| StoredMember {
        member_id: member.member_id.into(),
        instance_id: member.group_instance_id.map(Arc::from),
        client_id: member.client_id.into(),
        client_host: member.client_host.into(),
        rebalance_timeout_ms: member.rebalance_timeout,
        session_timeout_ms: member.session_timeout,
        subscription: member.subscription,
        assignment: member.assignment,
    };
    StoredGroup {
        protocol_type: value.protocol_type.into(),
        generation: value.generation,
        protocol: value.protocol.map(Arc::from),
        leader: value.leader.map(Arc::from),
        state_since_ms: value.current_state_timestamp,
        members: value.members.into_iter().map(member).collect(),
    }
}

fn offset_key(group: &str, topic: &str, partition: i32) -> OffsetCommitKey {
    OffsetCommitKey { group: group.to_owned(), topic: topic.to_owned(), partition }
}

/// INVALID_REQUEST if a string is too long for a record: newer requests can carry what their records cannot.
fn entry(record: &OffsetsRecord) -> Result<Entry, ErrorCode> {
    let mut key = BytesMut::new();
    let mut value = BytesMut::new();
    let encoded =
        record.encode_key(&mut key).and_then(|()| record.encode_value(record.value_version(), &mut value));
    encoded.map_err(|_| ErrorCode::INVALID_REQUEST)?;
    Ok(Entry { key: key.freeze(), value: (!record.is_tombstone()).then(|| value.freeze()) })
}
