//! The offsets of the groups of one shard: committed ones, and those of open transactions.
//!
//! Invariants: no group, topic or producer is kept without an offset in it; a transaction's offsets are invisible
//! until its marker. When both a transaction and a plain commit wrote a partition, the one later in the log wins
//! (not the one whose marker came later): compaction keeps the same one.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// What a group has committed for one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CommittedOffset {
    /// The offset to read next.
    pub(super) offset: i64,
    /// Leader epoch of the last record that was read; -1 unknown.
    pub(super) leader_epoch: i32,
    /// The client's own note.
    pub(super) metadata: Box<str>,
    /// When it was committed, milliseconds since 1970.
    pub(super) commit_ms: i64,
    /// When it expires, if the commit said so itself (OffsetCommit 2 to 4).
    pub(super) expire_ms: Option<i64>,
    /// Offset of its record in the log.
    pub(super) record_offset: i64,
}

/// Offsets by topic and partition.
pub(super) type GroupOffsets = BTreeMap<Arc<str>, BTreeMap<i32, CommittedOffset>>;

type ByGroup = HashMap<Arc<str>, GroupOffsets>;

/// Offsets of many groups.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Offsets {
    committed: ByGroup,
    /// By producer id.
    pending: BTreeMap<i64, ByGroup>,
    /// Producers with pending offsets, by group.
    open: HashMap<Arc<str>, BTreeSet<i64>>,
}

impl Offsets {
    /// The committed offset of a partition.
    pub(super) fn get(&self, group: &str, topic: &str, partition: i32) -> Option<&CommittedOffset> {
        self.committed.get(group)?.get(topic)?.get(&partition)
    }

    /// All committed offsets of a group.
    pub(super) fn group(&self, group: &str) -> Option<&GroupOffsets> {
        self.committed.get(group)
    }

    /// Whether no group has offsets, pending ones included.
    pub(super) fn is_empty(&self) -> bool {
        self.committed.is_empty() && self.pending.is_empty()
    }

    /// Whether an open transaction has an offset for the partition.
    pub(super) fn has_pending(&self, group: &str, topic: &str, partition: i32) -> bool {
        self.pending_of(group).any(|offsets| contains(offsets, topic, partition))
    }

    /// Whether an open transaction has any offset of the group.
    pub(super) fn has_open_transactions(&self, group: &str) -> bool {
        self.open.contains_key(group)
    }

    /// Every partition of a group with a committed or pending offset.
    pub(super) fn partitions(&self, group: &str) -> BTreeSet<(Arc<str>, i32)> {
        let all = self.committed.get(group).into_iter().chain(self.pending_of(group));
        all.flat_map(|topics| topics.iter())
            .flat_map(|(topic, partitions)| partitions.keys().map(|partition| (topic.clone(), *partition)))
            .collect()
    }

    /// Every group and partition with an offset for a topic.
    pub(super) fn of_topic(&self, topic: &str) -> BTreeSet<(Arc<str>, i32)> {
        let all = self.committed.iter().chain(self.pending.values().flatten());
        all.filter_map(|(group, topics)| Some((group, topics.get(topic)?)))
            .flat_map(|(group, partitions)| partitions.keys().map(|partition| (group.clone(), *partition)))
            .collect()
    }

    /// Stores a commit outside a transaction.
    pub(super) fn commit(&mut self, group: &Arc<str>, topic: &str, partition: i32, offset: CommittedOffset) {
        put(&mut self.committed, group, topic, partition, offset);
    }

    /// Stores a commit inside the open transaction of a producer.
    pub(super) fn commit_pending(
        &mut self,
        producer_id: i64,
        group: &Arc<str>,
        topic: &str,
        partition: i32,
        offset: CommittedOffset,
    ) {
        put(self.pending.entry(producer_id).or_default(), group, topic, partition, offset);
        self.open.entry(group.clone()).or_default().insert(producer_id);
    }

    /// Removes a partition's offset, committed and pending.
    pub(super) fn remove(&mut self, group: &str, topic: &str, partition: i32) {
        take(&mut self.committed, group, topic, partition);
        let Some(producers) = self.open.get_mut(group) else { return };
        producers.retain(|producer| {
            let Some(groups) = self.pending.get_mut(producer) else { return false };
            take(groups, group, topic, partition);
            let still_open = groups.contains_key(group);
            if groups.is_empty() {
                self.pending.remove(producer);
            }
            still_open
        });
        if producers.is_empty() {
            self.open.remove(group);
        }
    }

    /// A transaction's marker: its offsets count from now on, or never.
    pub(super) fn end_transaction(&mut self, producer_id: i64, commit: bool) {
        let Some(groups) = self.pending.remove(&producer_id) else { return };
        for (group, topics) in groups {
            if let Some(producers) = self.open.get_mut(&group) {
                producers.remove(&producer_id);
                if producers.is_empty() {
                    self.open.remove(&group);
                }
            }
            if !commit {
                continue;
            }
            for (topic, partitions) in topics {
                for (partition, offset) in partitions {
                    let before = self.get(&group, &topic, partition);
                    if before.is_none_or(|before| before.record_offset < offset.record_offset) {
                        put(&mut self.committed, &group, &topic, partition, offset);
                    }
                }
            }
        }
    }

    fn pending_of<'a>(&'a self, group: &'a str) -> impl Iterator<Item = &'a GroupOffsets> {
        let producers = self.open.get(group).into_iter().flatten();
        producers.filter_map(move |producer| self.pending.get(producer)?.get(group))
    }
}

fn contains(offsets: &GroupOffsets, topic: &str, partition: i32) -> bool {
    offsets.get(topic).is_some_and(|partitions| partitions.contains_key(&partition))
}

fn put(groups: &mut ByGroup, group: &Arc<str>, topic: &str, partition: i32, offset: CommittedOffset) {
    let topics = match groups.get_mut(group) {
        Some(topics) => topics,
        None => groups.entry(group.clone()).or_default(),
    };
    match topics.get_mut(topic) {
        Some(partitions) => {
            partitions.insert(partition, offset);
        }
        None => {
            topics.insert(topic.into(), BTreeMap::from([(partition, offset)]));
        }
    }
}

fn take(groups: &mut ByGroup, group: &str, topic: &str, partition: i32) {
    let Some(topics) = groups.get_mut(group) else { return };
    let Some(partitions) = topics.get_mut(topic) else { return };
    partitions.remove(&partition);
    if partitions.is_empty() {
        topics.remove(topic);
    }
    if topics.is_empty() {
        groups.remove(group);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offset(offset: i64, record_offset: i64) -> CommittedOffset {
        CommittedOffset {
            offset,
            leader_epoch: -1,
            metadata: "".into(),
            commit_ms: 0,
            expire_ms: None,
            record_offset,
        }
    }

    #[test]
    fn transactions_show_at_their_marker() {
        let (mut offsets, group) = (Offsets::default(), Arc::from("g"));
        offsets.commit_pending(7, &group, "t", 0, offset(5, 10));
        assert!(offsets.has_pending("g", "t", 0) && !offsets.has_pending("g", "t", 1));
        assert_eq!(offsets.get("g", "t", 0), None);
        offsets.end_transaction(7, true);
        assert_eq!(offsets.get("g", "t", 0), Some(&offset(5, 10)));
        assert!(!offsets.has_open_transactions("g"));

        offsets.commit_pending(7, &group, "t", 0, offset(6, 11));
        offsets.end_transaction(7, false);
        assert_eq!(offsets.get("g", "t", 0), Some(&offset(5, 10)));
    }

    #[test]
    fn later_record_wins_over_later_marker() {
        let (mut offsets, group) = (Offsets::default(), Arc::from("g"));
        offsets.commit_pending(7, &group, "t", 0, offset(5, 10));
        offsets.commit(&group, "t", 0, offset(9, 11));
        offsets.end_transaction(7, true);
        assert_eq!(offsets.get("g", "t", 0), Some(&offset(9, 11)));
    }

    #[test]
    fn removal_leaves_nothing_behind() {
        let (mut offsets, group) = (Offsets::default(), Arc::from("g"));
        offsets.commit(&group, "t", 0, offset(1, 1));
        offsets.commit_pending(7, &group, "t", 0, offset(5, 10));
        offsets.commit_pending(8, &group, "t", 1, offset(5, 12));
        assert_eq!(offsets.partitions("g").len(), 2);
        assert_eq!(offsets.of_topic("t").len(), 2);
        offsets.remove("g", "t", 0);
        assert!(offsets.has_open_transactions("g"));
        offsets.remove("g", "t", 1);
        assert_eq!(offsets, Offsets::default());
    }
}
