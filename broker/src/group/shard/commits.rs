//! Offsets: committing, fetching, deleting; and deleting whole groups.

use std::sync::Arc;

use protocol::ErrorCode;

use super::super::classic::{State, Token};
use super::super::offsets::CommittedOffset;
use super::super::records;
use super::{Cx, Shard, Wait};

/// An OffsetCommit.
#[derive(Clone, Debug, PartialEq)]
pub struct CommitRequest<'a> {
    /// Empty outside a group.
    pub member_id: &'a str,
    /// `group.instance.id` of a static member.
    pub instance_id: Option<&'a str>,
    /// Negative outside a group.
    pub generation: i32,
    /// What a member of an unknown group is told: GROUP_ID_NOT_FOUND from version 9, ILLEGAL_GENERATION before.
    pub unknown_group: ErrorCode,
    /// How long to keep the offsets, if the client says so (versions 2 to 4).
    pub retention_ms: Option<i64>,
    /// What to commit; topics exist and metadata is short enough.
    pub offsets: Vec<PartitionCommit<'a>>,
}

/// The offset of one partition, to be committed.
#[derive(Clone, Debug, PartialEq)]
pub struct PartitionCommit<'a> {
    /// Topic.
    pub topic: &'a str,
    /// Partition.
    pub partition: i32,
    /// The offset to read next.
    pub offset: i64,
    /// Leader epoch of the last record that was read; -1 unknown.
    pub leader_epoch: i32,
    /// The client's own note.
    pub metadata: &'a str,
}

/// One partition of an OffsetFetch answer; offset -1 if nothing is committed.
#[derive(Clone, Debug, PartialEq)]
pub struct FetchedOffset {
    /// Partition.
    pub partition: i32,
    /// The offset to read next.
    pub offset: i64,
    /// Leader epoch of the last record that was read; -1 unknown.
    pub leader_epoch: i32,
    /// The client's own note.
    pub metadata: Box<str>,
    /// UNSTABLE_OFFSET_COMMIT or NONE.
    pub error: ErrorCode,
}

impl FetchedOffset {
    fn nothing(partition: i32, error: ErrorCode) -> Self {
        Self { partition, offset: -1, leader_epoch: -1, metadata: "".into(), error }
    }
}

/// More tombstones than this are written in several batches, which need not stand or fall together.
pub(super) const TOMBSTONES_PER_BATCH: usize = 1_000;

impl Shard {
    /// Commits offsets, all or none. Errors are not yet mapped by [`super::write_error`].
    pub(in crate::group) fn commit(
        &mut self,
        group_id: &str,
        request: CommitRequest<'_>,
        token: Token,
        cx: &mut Cx<'_>,
    ) -> Result<Wait, ErrorCode> {
        if let Some((id, group)) = self.groups.get_key_value(group_id) {
            group.check_commit(request.member_id, request.instance_id, request.generation, false)?;
            let id = id.clone();
            self.with_group(&id, cx, |group, now, _, out| group.committed(request.member_id, now, out));
        } else if self.modern.contains_key(group_id) {
            // As an empty group of the newer protocol answers: its members cannot be here.
            if request.generation >= 0 {
                return Err(ErrorCode::UNKNOWN_MEMBER_ID);
            }
        } else if request.generation >= 0 {
            return Err(request.unknown_group);
        }
        if request.offsets.is_empty() {
            return Ok(Wait::No);
        }
        let commit_ms = cx.now.wall_ms;
        let expire_ms = request.retention_ms.map(|retention| commit_ms.saturating_add(retention));
        let mut committed = Vec::with_capacity(request.offsets.len());
        let mut entries = Vec::with_capacity(request.offsets.len());
        for PartitionCommit { topic, partition, offset, leader_epoch, metadata } in request.offsets {
            let metadata = metadata.into();
            let value =
                CommittedOffset { offset, leader_epoch, metadata, commit_ms, expire_ms, record_offset: 0 };
            entries.push(records::offset(group_id, topic, partition, &value)?);
            committed.push((topic, partition, value));
        }
        let appended = self.append(&entries, cx)?;
        let id = self.existing_or_simple(group_id);
        for ((topic, partition, mut value), record_offset) in
            committed.into_iter().zip(appended.base_offset..)
        {
            value.record_offset = record_offset;
            self.offsets.commit(&id, topic, partition, value);
        }
        self.arm_retention(cx.now);
        Ok(self.wait_committed(token, cx))
    }

    /// The offset of one partition, as of everything written so far.
    pub(in crate::group) fn fetch_offset(
        &self,
        group_id: &str,
        topic: &str,
        partition: i32,
        require_stable: bool,
    ) -> FetchedOffset {
        if require_stable && self.offsets.has_pending(group_id, topic, partition) {
            return FetchedOffset::nothing(partition, ErrorCode::UNSTABLE_OFFSET_COMMIT);
        }
        match self.offsets.get(group_id, topic, partition) {
            Some(committed) => FetchedOffset {
                partition,
                offset: committed.offset,
                leader_epoch: committed.leader_epoch,
                metadata: committed.metadata.clone(),
                error: ErrorCode::NONE,
            },
            None => FetchedOffset::nothing(partition, ErrorCode::NONE),
        }
    }

    /// Every offset that a group has committed, by topic.
    pub(in crate::group) fn fetch_all(
        &self,
        group_id: &str,
        require_stable: bool,
    ) -> Vec<(Arc<str>, Vec<FetchedOffset>)> {
        let topics = self.offsets.group(group_id).into_iter().flatten();
        let of_topic =
            |(topic, partitions): (&Arc<str>, &std::collections::BTreeMap<i32, CommittedOffset>)| {
                let partitions = partitions.keys();
                let fetched = partitions
                    .map(|partition| self.fetch_offset(group_id, topic, *partition, require_stable));
                (topic.clone(), fetched.collect())
            };
        topics.map(of_topic).collect()
    }

    /// Deletes committed offsets; one code per partition. Errors of the whole are not yet mapped.
    pub(in crate::group) fn delete_offsets(
        &mut self,
        group_id: &str,
        partitions: &[(&str, i32)],
        token: Token,
        cx: &mut Cx<'_>,
    ) -> Result<(Vec<ErrorCode>, Wait), ErrorCode> {
        let group = self.groups.get(group_id);
        match group {
            Some(group) if group.state() != State::Empty && !group.is_consumer_type() => {
                return Err(ErrorCode::NON_EMPTY_GROUP);
            }
            None if !self.modern.contains_key(group_id) => return Err(ErrorCode::GROUP_ID_NOT_FOUND),
            _ => {}
        }
        let in_use = |topic: &str| group.is_some_and(|group| group.is_subscribed_to(topic));
        let code = |(topic, _): &(&str, i32)| match in_use(topic) {
            true => ErrorCode::GROUP_SUBSCRIBED_TO_TOPIC,
            false => ErrorCode::NONE,
        };
        let codes: Vec<ErrorCode> = partitions.iter().map(code).collect();
        let known = self.offsets.partitions(group_id);
        let mut gone: Vec<(Arc<str>, i32)> = Vec::new();
        for (&(topic, partition), _) in
            partitions.iter().zip(&codes).filter(|(_, code)| **code == ErrorCode::NONE)
        {
            let key = (Arc::from(topic), partition);
            if known.contains(&key) {
                gone.push(key);
            }
        }
        self.tombstone_offsets(group_id, &gone, cx)?;
        Ok((codes, self.wait_committed(token, cx)))
    }

    /// Writes and applies tombstones of a group's offsets.
    pub(super) fn tombstone_offsets(
        &mut self,
        group_id: &str,
        partitions: &[(Arc<str>, i32)],
        cx: &mut Cx<'_>,
    ) -> Result<(), ErrorCode> {
        for chunk in partitions.chunks(TOMBSTONES_PER_BATCH) {
            let entries: Result<Vec<_>, _> = chunk
                .iter()
                .map(|(topic, partition)| records::offset_tombstone(group_id, topic, *partition))
                .collect();
            self.append(&entries?, cx)?;
            for (topic, partition) in chunk {
                self.offsets.remove(group_id, topic, *partition);
            }
        }
        Ok(())
    }

    /// Deletes a group and its offsets. Errors are not yet mapped.
    pub(in crate::group) fn delete_group(
        &mut self,
        group_id: &str,
        token: Token,
        cx: &mut Cx<'_>,
    ) -> Result<Wait, ErrorCode> {
        match (self.groups.get(group_id), self.modern.get(group_id)) {
            (Some(group), _) if group.state() != State::Empty => return Err(ErrorCode::NON_EMPTY_GROUP),
            (None, None) => return Err(ErrorCode::GROUP_ID_NOT_FOUND),
            _ => {}
        }
        let offsets: Vec<_> = self.offsets.partitions(group_id).into_iter().collect();
        self.tombstone_offsets(group_id, &offsets, cx)?;
        self.tombstone_group(group_id, cx)?;
        Ok(self.wait_committed(token, cx))
    }

    /// Writes and applies the tombstone of a group that has no offsets.
    pub(super) fn tombstone_group(&mut self, group_id: &str, cx: &mut Cx<'_>) -> Result<(), ErrorCode> {
        let entries = match self.modern.get(group_id) {
            Some(group) => group.tombstones(),
            None => vec![records::group_tombstone(group_id)?],
        };
        self.append(&entries, cx)?;
        self.modern.remove(group_id);
        self.groups.remove(group_id);
        Ok(())
    }
}
