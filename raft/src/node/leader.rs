//! What a leader knows and does: progress of the replicas, high watermark, check quorum, appends.
//!
//! Invariants: the leader's own end offset is flushed before it counts; the high watermark of an epoch is above its
//! first record, since only a record of the own epoch proves that older ones are committed.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{Bytes, BytesMut};
use protocol::control::ControlRecord;

use super::fetch::WaitingFetch;
use super::membership::PendingChange;
use super::role::Role;
use super::{Node, SUPPORTED_KRAFT_VERSIONS};
use crate::batch::{self, KeyValue, MAX_BATCH_BYTES};
use crate::control;
use crate::effect::{AppendError, Effect, Fault};
use crate::log::Log;
use crate::message::FetchRequest;
use crate::replica::ReplicaKey;
use crate::voters::{BOOTSTRAP_OFFSET, Voter, VoterSet};

/// An observer that has not fetched for so long is forgotten.
const OBSERVER_SESSION_MS: i64 = 300_000;

#[derive(Debug)]
pub(super) struct Leader {
    pub(super) epoch_start_offset: i64,
    /// `None` until a record of this epoch is committed.
    pub(super) high_watermark: Option<i64>,
    /// Everyone who fetched in this epoch, under the key that the voter set has for it.
    pub(super) replicas: BTreeMap<ReplicaKey, Progress>,
    /// Voters heard of since the check-quorum timer was set.
    pub(super) fetched_voters: BTreeSet<i32>,
    pub(super) check_quorum_deadline: i64,
    /// Voters that are still to be sent BeginQuorumEpoch in this round: each gets one per round, answered or not.
    pub(super) begin_pending: BTreeSet<i32>,
    pub(super) begin_deadline: i64,
    pub(super) waiting: Vec<WaitingFetch>,
    pub(super) change: Option<PendingChange>,
    /// What voters told of themselves while the level of kraft.version is 0 and no record has it.
    pub(super) told: BTreeMap<i32, Voter>,
}

/// How far a replica is, as its Fetch requests tell.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Progress {
    pub(super) end_offset: i64,
    pub(super) last_fetch_ms: i64,
    /// The leader's log end when the replica fetched last.
    pub(super) leader_end_offset: i64,
    /// When it last had everything; -1 for never.
    pub(super) last_caught_up_ms: i64,
    /// The high watermark that it knew when it fetched last; `i64::MAX` if its Fetch cannot say.
    pub(super) high_watermark: i64,
}

impl Leader {
    /// Other voters by how much they have, best first: who should succeed.
    pub(super) fn voters_by_progress(&self, voters: &VoterSet, own: i32) -> Vec<ReplicaKey> {
        let mut keys: Vec<ReplicaKey> =
            voters.iter().map(|voter| voter.key).filter(|key| key.id != own).collect();
        keys.sort_by_key(|key| {
            std::cmp::Reverse(self.replicas.get(key).map_or(-1, |progress| progress.end_offset))
        });
        keys
    }
}

impl<L: Log> Node<L> {
    /// Starts the epoch that was won: its first batch goes to the log before anybody hears of it.
    pub(super) fn become_leader(&mut self) -> Result<(), Fault> {
        let Role::Candidate(nominee) = &self.role else { return Ok(()) };
        let granting: Vec<i32> =
            nominee.ballots.iter().filter(|(_, ballot)| **ballot == Some(true)).map(|(id, _)| *id).collect();
        let others: BTreeSet<i32> = self.voters().ids().filter(|id| *id != self.config.node_id).collect();
        let epoch_start_offset = self.log.log_end_offset();
        self.lost_elections = 0;
        self.set_role(Role::Leader(Box::new(Leader {
            epoch_start_offset,
            high_watermark: None,
            replicas: BTreeMap::new(),
            fetched_voters: BTreeSet::new(),
            check_quorum_deadline: self.now_ms + self.check_quorum_ms(),
            begin_pending: others,
            begin_deadline: self.now_ms + self.config.fetch_timeout_ms / 2,
            waiting: Vec::new(),
            change: None,
            told: BTreeMap::new(),
        })));
        let voters: Vec<i32> = self.voters().ids().collect();
        let mut records = vec![control::leader_change(self.config.node_id, &voters, &granting)];
        records.extend(self.membership_at_election());
        self.append_control(&records)?;
        self.leader_log_grew()
    }

    /// Level and voters to write again at the start of an epoch: when they stand in the bootstrap snapshot alone,
    /// which is not replicated, or when this node's own entry is out of date.
    fn membership_at_election(&self) -> Vec<ControlRecord> {
        let level = self.kraft_version();
        let own = self.config.replica_key();
        let Some(entry) = self.voters().get(own.id).filter(|voter| level > 0 && voter.is(&own)) else {
            return Vec::new();
        };
        let current = self.own_voter();
        if self.history.voters_offset() != Some(BOOTSTRAP_OFFSET) && *entry == current {
            return Vec::new();
        }
        vec![control::kraft_version(level), control::voters(&self.voters().with(current))]
    }

    /// This node as its entry in the voter set should be.
    pub(super) fn own_voter(&self) -> Voter {
        let (min_kraft_version, max_kraft_version) = SUPPORTED_KRAFT_VERSIONS;
        Voter {
            key: self.config.replica_key(),
            endpoints: self.config.listeners.clone(),
            min_kraft_version,
            max_kraft_version,
        }
    }

    pub(super) fn check_quorum_ms(&self) -> i64 {
        self.config.fetch_timeout_ms * 3 / 2
    }

    /// Appends one control batch and flushes; membership in it is in force at once.
    pub(super) fn append_control(&mut self, records: &[ControlRecord]) -> Result<i64, Fault> {
        let base_offset = self.log.log_end_offset();
        let batch = control::encode_batch(base_offset, self.epoch, self.now_ms, records);
        self.log.append(&batch)?;
        self.log.flush()?;
        for (offset, record) in (base_offset..).zip(records) {
            self.follow_control(offset, record);
        }
        Ok(base_offset + records.len() as i64 - 1)
    }

    /// Appends data batches, all or none, and flushes once; gives the offset of the last record.
    pub(super) fn append_data(
        &mut self,
        batches: Vec<Vec<Bytes>>,
    ) -> Result<Result<i64, AppendError>, Fault> {
        let mut offset = self.log.log_end_offset();
        let mut bytes = BytesMut::new();
        for values in batches.into_iter().filter(|values| !values.is_empty()) {
            let records: Vec<KeyValue> = values.into_iter().map(|value| (None, value)).collect();
            let batch = batch::encode(offset, self.epoch, self.now_ms, false, &records);
            if batch.len() > MAX_BATCH_BYTES {
                return Ok(Err(AppendError::TooLarge));
            }
            offset += records.len() as i64;
            bytes.unsplit(batch);
        }
        if !bytes.is_empty() {
            self.log.append(&bytes)?;
            self.log.flush()?;
        }
        Ok(Ok(offset - 1))
    }

    /// After an append: the leader's own offset counts, and waiting fetches get the records.
    pub(super) fn leader_log_grew(&mut self) -> Result<(), Fault> {
        self.update_leader_high_watermark()?;
        self.answer_waiting()
    }

    /// Notes what a Fetch says of the replica behind it.
    pub(super) fn note_fetch(
        &mut self,
        replica: ReplicaKey,
        fetch: Option<&FetchRequest>,
    ) -> Result<(), Fault> {
        let now = self.now_ms;
        let leader_end = self.log.log_end_offset();
        let own = self.config.node_id;
        if replica.id < 0 || replica.id == own {
            return Ok(());
        }
        let voter = self.voters().get(replica.id).filter(|voter| voter.is(&replica)).map(|voter| voter.key);
        let voters = self.voters().len();
        let own_is_voter = self.is_voter();
        let check_quorum_ms = self.check_quorum_ms();
        let Role::Leader(leader) = &mut self.role else { return Ok(()) };
        if voter.is_some() {
            leader.fetched_voters.insert(replica.id);
            let needed = voters / 2 + usize::from(!own_is_voter);
            if leader.fetched_voters.len() >= needed {
                leader.fetched_voters.clear();
                leader.check_quorum_deadline = now + check_quorum_ms;
            }
        }
        let Some(FetchRequest { fetch_offset, high_watermark, .. }) = fetch else { return Ok(()) };
        let fetch_offset = *fetch_offset;
        let progress = leader.replicas.entry(voter.unwrap_or(replica)).or_insert(Progress {
            last_caught_up_ms: -1,
            high_watermark: -1,
            ..Progress::default()
        });
        if fetch_offset >= leader_end {
            progress.last_caught_up_ms = now;
        } else if fetch_offset >= progress.leader_end_offset && progress.last_fetch_ms > 0 {
            // It has all that there was when it fetched before.
            progress.last_caught_up_ms = progress.last_caught_up_ms.max(progress.last_fetch_ms);
        }
        progress.end_offset = fetch_offset;
        progress.last_fetch_ms = now;
        progress.leader_end_offset = leader_end;
        progress.high_watermark = *high_watermark;
        self.update_leader_high_watermark()
    }

    /// The offset that a majority of the voters has, if it is news.
    fn update_leader_high_watermark(&mut self) -> Result<(), Fault> {
        let Role::Leader(leader) = &self.role else { return Ok(()) };
        let own = self.config.replica_key();
        let mut offsets: Vec<i64> = self
            .voters()
            .iter()
            .map(|voter| {
                if voter.is(&own) {
                    self.log.log_end_offset()
                } else {
                    leader.replicas.get(&voter.key).map_or(-1, |progress| progress.end_offset)
                }
            })
            .collect();
        offsets.sort_unstable_by(|a, b| b.cmp(a));
        #[cfg(feature = "planted-bugs")]
        if planted::is(planted::Bug::MinorityCommits) {
            offsets.truncate(1);
        }
        let Some(&offset) = offsets.get(offsets.len() / 2) else { return Ok(()) };
        let is_of_epoch = offset > leader.epoch_start_offset;
        #[cfg(feature = "planted-bugs")]
        let is_of_epoch = is_of_epoch || planted::is(planted::Bug::EarlierEpochCommitted);
        let is_news = is_of_epoch && leader.high_watermark.is_none_or(|old| old < offset);
        if !is_news {
            return Ok(());
        }
        let first = leader.high_watermark.is_none();
        if let Role::Leader(leader) = &mut self.role {
            leader.high_watermark = Some(offset);
        }
        self.raise_high_watermark(offset);
        if first {
            self.effects.push(Effect::Leading { epoch: self.epoch });
        }
        self.finish_change()?;
        self.answer_waiting()
    }

    /// Whether a majority has been silent for too long; a sole voter needs nobody.
    pub(super) fn has_lost_quorum(&self) -> bool {
        let Role::Leader(leader) = &self.role else { return false };
        let alone = self.voters().is_only(&self.config.replica_key());
        !alone && leader.check_quorum_deadline <= self.now_ms
    }

    pub(super) fn forget_silent_observers(&mut self) {
        let voters = self.history.voters();
        let now = self.now_ms;
        if let Role::Leader(leader) = &mut self.role {
            leader.replicas.retain(|key, progress| {
                voters.contains(key) || now - progress.last_fetch_ms < OBSERVER_SESSION_MS
            });
        }
    }
}
