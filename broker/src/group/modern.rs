//! Groups of the newer protocols (consumer groups of KIP-848, share and streams groups), as far as we know them.
//!
//! Their protocols are not served yet, but a directory written by Apache Kafka holds their records. They must
//! neither be lost nor stand in the way: such a group is listed, its offsets are served, it can be deleted, and a
//! consumer group becomes a classic one when a classic member joins (as an empty one does in Kafka: members that
//! cannot send heartbeats here are gone). For that it is enough to know which keys are alive.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::records::Entry;

/// The protocol of a group that is not classic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ModernKind {
    Consumer,
    Share,
    Streams,
}

impl ModernKind {
    /// Kafka's name of the group type, and of its protocol type.
    pub(super) fn name(self) -> &'static str {
        match self {
            ModernKind::Consumer => "consumer",
            ModernKind::Share => "share",
            ModernKind::Streams => "streams",
        }
    }
}

/// How far a consumer group has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConsumerEpochs {
    /// Epoch of the group.
    pub group: i32,
    /// Epoch of the group for which its target assignment was computed.
    pub assignment: i32,
}

/// A group of which only the keys of its records are kept.
#[derive(Debug, PartialEq)]
pub(super) struct ModernGroup {
    pub(super) kind: ModernKind,
    /// Of a consumer group.
    pub(super) epochs: ConsumerEpochs,
    /// Keys of the records that are alive, in the order in which Kafka takes their tombstones.
    keys: BTreeMap<(u8, Bytes), ()>,
}

impl ModernGroup {
    /// Reads the kind and the group id of a key; `None` if it belongs to no such group.
    pub(super) fn parse_key(key: &[u8]) -> Option<(ModernKind, Arc<str>)> {
        let (kind, rest) = key.split_first_chunk::<2>()?;
        let kind = match i16::from_be_bytes(*kind) {
            3..=8 | 16 => ModernKind::Consumer,
            10..=15 => ModernKind::Share,
            17 | 19..=23 => ModernKind::Streams,
            _ => return None,
        };
        let (length, rest) = rest.split_first_chunk::<2>()?;
        let group = rest.get(..usize::try_from(i16::from_be_bytes(*length)).ok()?)?;
        Some((kind, Arc::from(std::str::from_utf8(group).ok()?)))
    }

    pub(super) fn new(kind: ModernKind) -> Self {
        Self { kind, epochs: ConsumerEpochs::default(), keys: BTreeMap::new() }
    }

    /// Takes in one record of the group.
    pub(super) fn replay(&mut self, key: &[u8], value: Option<&[u8]>) {
        let entry = (tombstone_rank(key), Bytes::copy_from_slice(key));
        let Some(value) = value else {
            self.keys.remove(&entry);
            return;
        };
        self.keys.insert(entry, ());
        // Both values begin with their version and the epoch.
        let epoch = value.get(2..6).and_then(|bytes| bytes.try_into().ok()).map(i32::from_be_bytes);
        match (key, epoch) {
            ([0, 3, ..], Some(epoch)) => self.epochs.group = epoch,
            ([0, 6, ..], Some(epoch)) => self.epochs.assignment = epoch,
            _ => {}
        }
    }

    /// Whether every record of the group was deleted, hence the group.
    pub(super) fn is_gone(&self) -> bool {
        self.keys.is_empty()
    }

    /// What deletes the group.
    pub(super) fn tombstones(&self) -> Vec<Entry> {
        self.keys.keys().map(|(_, key)| Entry { key: key.clone(), value: None }).collect()
    }
}

/// Kafka refuses to load a member's tombstone before those of its assignments, or a group's before its members'.
fn tombstone_rank(key: &[u8]) -> u8 {
    match key {
        [0, 8 | 14 | 22, ..] => 0,
        [0, 7 | 13 | 21, ..] => 1,
        [0, 5 | 10 | 19, ..] => 2,
        [0, 16 | 15 | 23, ..] => 3,
        [0, 6 | 12 | 20, ..] => 4,
        [0, 4, ..] => 5,
        _ => 6,
    }
}
