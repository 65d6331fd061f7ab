//! Voter sets and their history in the log.
//!
//! Invariant: the set in force is the last one in the log, committed or not (KIP-853); before any, the static one.

use std::collections::BTreeMap;

use crate::replica::{Endpoint, ReplicaKey};

/// The voter set's offset when it was not read from a log record: from the bootstrap snapshot `0-0`.
pub const BOOTSTRAP_OFFSET: i64 = -1;

/// One voter with where it is reached and what it supports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Voter {
    /// Id and directory; a static voter has no directory.
    pub key: ReplicaKey,
    /// Controller listeners.
    pub endpoints: Vec<Endpoint>,
    /// Lowest supported `kraft.version`.
    pub min_kraft_version: i16,
    /// Highest supported `kraft.version`.
    pub max_kraft_version: i16,
}

impl Voter {
    /// Whether `key` names this voter: a voter without directory id matches on the id alone.
    pub fn is(&self, key: &ReplicaKey) -> bool {
        self.key.id == key.id
            && (self.key.directory_id.is_none() || self.key.directory_id == key.directory_id)
    }
}

/// A set of voters, at most one per node id.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VoterSet(BTreeMap<i32, Voter>);

impl VoterSet {
    /// The set of `voters`; of two with one id the later stays.
    pub fn new(voters: impl IntoIterator<Item = Voter>) -> VoterSet {
        VoterSet(voters.into_iter().map(|voter| (voter.key.id, voter)).collect())
    }

    /// Number of voters.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no voter.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Votes needed to win: more than half.
    pub fn majority(&self) -> usize {
        self.0.len() / 2 + 1
    }

    /// The voters in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = &Voter> {
        self.0.values()
    }

    /// The ids in ascending order.
    pub fn ids(&self) -> impl Iterator<Item = i32> + '_ {
        self.0.keys().copied()
    }

    /// The voter with this node id.
    pub fn get(&self, id: i32) -> Option<&Voter> {
        self.0.get(&id)
    }

    /// Whether `key` is a voter (see [`Voter::is`]).
    pub fn contains(&self, key: &ReplicaKey) -> bool {
        self.0.get(&key.id).is_some_and(|voter| voter.is(key))
    }

    /// Whether `key` is the one and only voter.
    pub fn is_only(&self, key: &ReplicaKey) -> bool {
        self.0.len() == 1 && self.contains(key)
    }

    /// This set with `voter` added or put in the place of the one with its id.
    pub fn with(&self, voter: Voter) -> VoterSet {
        let mut voters = self.0.clone();
        voters.insert(voter.key.id, voter);
        VoterSet(voters)
    }

    /// This set without the voter of that id.
    pub fn without(&self, id: i32) -> VoterSet {
        let mut voters = self.0.clone();
        voters.remove(&id);
        VoterSet(voters)
    }
}

/// What the log says about membership at each offset.
#[derive(Debug, Clone)]
pub(crate) struct VoterHistory {
    static_voters: VoterSet,
    sets: BTreeMap<i64, VoterSet>,
    kraft_versions: BTreeMap<i64, i16>,
}

impl VoterHistory {
    pub(crate) fn new(static_voters: VoterSet) -> VoterHistory {
        VoterHistory { static_voters, sets: BTreeMap::new(), kraft_versions: BTreeMap::new() }
    }

    /// The set in force: the last one, whether committed or not.
    pub(crate) fn voters(&self) -> &VoterSet {
        self.sets.last_key_value().map_or(&self.static_voters, |(_, set)| set)
    }

    /// Offset of the record with the set in force; `None` for static voters.
    pub(crate) fn voters_offset(&self) -> Option<i64> {
        self.sets.last_key_value().map(|(offset, _)| *offset)
    }

    /// The level of `kraft.version` in force.
    pub(crate) fn kraft_version(&self) -> i16 {
        self.kraft_versions.last_key_value().map_or(0, |(_, version)| *version)
    }

    /// The set that a snapshot ending before `end_offset` holds; `None` while only static voters are known.
    pub(crate) fn voters_before(&self, end_offset: i64) -> Option<&VoterSet> {
        self.sets.range(..end_offset).next_back().map(|(_, set)| set)
    }

    /// The level of `kraft.version` just before `end_offset`.
    pub(crate) fn kraft_version_before(&self, end_offset: i64) -> i16 {
        self.kraft_versions.range(..end_offset).next_back().map_or(0, |(_, version)| *version)
    }

    pub(crate) fn add_voters(&mut self, offset: i64, voters: VoterSet) {
        self.sets.insert(offset, voters);
    }

    pub(crate) fn add_kraft_version(&mut self, offset: i64, version: i16) {
        self.kraft_versions.insert(offset, version);
    }

    /// Forgets what stood at or after `end_offset`.
    pub(crate) fn truncate_to(&mut self, end_offset: i64) {
        self.sets.split_off(&end_offset.max(0));
        self.kraft_versions.split_off(&end_offset.max(0));
    }

    /// Forgets what is older than the value in force at `start_offset`.
    pub(crate) fn trim_before(&mut self, start_offset: i64) {
        fn trim<V>(map: &mut BTreeMap<i64, V>, start: i64) {
            if let Some(keep) = map.range(..=start).next_back().map(|(offset, _)| *offset) {
                *map = map.split_off(&keep);
            }
        }
        trim(&mut self.sets, start_offset);
        trim(&mut self.kraft_versions, start_offset);
    }

    /// Forgets everything, before a snapshot takes the place of the log.
    pub(crate) fn clear(&mut self) {
        self.sets.clear();
        self.kraft_versions.clear();
    }
}
