//! One change of one partition: election, eligible leader replicas, and the record that says so.
//!
//! The order of the steps is Kafka's (`PartitionChangeBuilder`), and every cause of a change goes through it:
//! complete the reassignment, keep the ELR, elect, bump the leader epoch where needed, name changed fields only.

use std::collections::BTreeMap;

use metadata::partition::{LeaderRecoveryState, NO_LEADER, NO_LEADER_CHANGE, PartitionRegistration};
use protocol::records::{PartitionChangeRecord, Record};
use uuid::Uuid;

use super::View;
use super::configs;

/// Which leaders an election may choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Election {
    /// The first replica if it is in the ISR, else as `Online`.
    Preferred,
    /// A member of the ISR, the current leader first.
    Online,
    /// As `Online`, else any replica that is alive.
    Unclean,
}

/// Brokers whose state is about to change with the same records.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Turnover {
    /// Leaves every ISR and leads nothing.
    pub(super) leaving: Option<i32>,
    /// Counts as active already.
    pub(super) arriving: Option<i32>,
    /// Restarted without a clean shutdown: leaves every ISR and ELR.
    pub(super) unclean: Option<i32>,
}

/// A change being built.
#[derive(Clone, Debug)]
pub(super) struct PartitionChange<'a> {
    view: View<'a>,
    partition: &'a PartitionRegistration,
    topic_id: Uuid,
    partition_id: i32,
    turnover: Turnover,
    min_isr: usize,
    elr_enabled: bool,
    pub(super) election: Election,
    pub(super) isr: Vec<i32>,
    pub(super) replicas: Vec<i32>,
    pub(super) removing: Vec<i32>,
    pub(super) adding: Vec<i32>,
    pub(super) recovery: LeaderRecoveryState,
    elr: Vec<i32>,
    directories: BTreeMap<i32, Uuid>,
}

impl<'a> PartitionChange<'a> {
    /// A change of nothing so far, with an online election.
    pub(super) fn new(
        view: View<'a>,
        topic: &str,
        topic_id: Uuid,
        partition_id: i32,
        partition: &'a PartitionRegistration,
    ) -> Self {
        let min_isr = configs::min_insync_replicas(view, topic).min(partition.replicas.len());
        let directories = partition.replicas.iter().copied().zip(partition.directories.iter().copied());
        Self {
            view,
            partition,
            topic_id,
            partition_id,
            turnover: Turnover::default(),
            min_isr,
            elr_enabled: configs::elr_enabled(view),
            election: Election::Online,
            isr: partition.isr.clone(),
            replicas: partition.replicas.clone(),
            removing: partition.removing_replicas.clone(),
            adding: partition.adding_replicas.clone(),
            recovery: partition.leader_recovery_state,
            elr: partition.elr.clone(),
            directories: directories.collect(),
        }
    }

    /// Takes brokers into account that come or go with the same records.
    pub(super) fn with_turnover(mut self, turnover: Turnover) -> Self {
        self.turnover = turnover;
        self.isr.retain(|id| Some(*id) != turnover.leaving && Some(*id) != turnover.unclean);
        self
    }

    /// Says in which directory `broker` keeps the replica.
    pub(super) fn with_directory(mut self, broker: i32, directory: Uuid) -> Self {
        self.directories.insert(broker, directory);
        self
    }

    /// The record, or `None` if nothing would change.
    pub(super) fn build(mut self) -> Option<Record> {
        let unchanged = PartitionChangeRecord {
            topic_id: self.topic_id,
            partition_id: self.partition_id,
            ..PartitionChangeRecord::default()
        };
        let mut record = unchanged.clone();
        self.complete_reassignment();
        self.keep_elr();
        self.elect(&mut record);
        if record.leader == NO_LEADER_CHANGE && !contains_all(&self.replicas, &self.partition.replicas) {
            record.leader = self.partition.leader;
        }
        self.write_elr(&mut record);
        let isr_may_be_written = self.elr_enabled || !self.isr.is_empty();
        if record.isr.is_none() && isr_may_be_written && self.isr != self.partition.isr {
            record.isr = Some(self.isr.clone());
        }
        self.bump_epoch_on_shrink(&mut record);
        self.write_last_known_leader(&mut record);
        self.write_assignment(&mut record);
        if self.recovery != self.partition.leader_recovery_state {
            record.leader_recovery_state = self.recovery.code();
        }
        (record != unchanged).then_some(Record::PartitionChange(record))
    }

    /// True if `broker` is or becomes active and its directory is online.
    fn is_acceptable(&self, broker: i32) -> bool {
        let turnover = self.turnover;
        if turnover.leaving == Some(broker) || turnover.unclean == Some(broker) {
            return false;
        }
        let cluster = &self.view.image.cluster;
        let Some(registration) = cluster.broker(broker) else { return false };
        let active = turnover.arriving == Some(broker) || registration.is_active();
        #[cfg(feature = "planted-bugs")]
        let active = active || planted::is(planted::Bug::FencedLeader);
        let directory = self.partition.directory(broker);
        active && directory.is_none_or(|directory| registration.has_online_directory(directory))
    }

    fn is_valid_leader(&self, broker: i32) -> bool {
        let eligible = self.isr.contains(&broker) || (self.isr.is_empty() && self.elr.contains(&broker));
        eligible && self.is_acceptable(broker)
    }

    fn complete_reassignment(&mut self) {
        if self.removing.is_empty() && self.adding.is_empty() {
            return;
        }
        let staying = |list: &[i32]| -> Vec<i32> {
            list.iter().copied().filter(|id| !self.removing.contains(id)).collect()
        };
        let (isr, replicas) = (staying(&self.isr), staying(&self.replicas));
        if isr.is_empty() || replicas.is_empty() || !contains_all(&isr, &replicas) {
            return;
        }
        self.isr = isr;
        self.replicas = replicas;
        self.removing.clear();
        self.adding.clear();
    }

    /// Members that fall out of the ISR stay eligible while it is below the minimum (KIP-966).
    fn keep_elr(&mut self) {
        if !self.elr_enabled || self.isr.len() >= self.min_isr {
            self.elr.clear();
            return;
        }
        let old = std::mem::take(&mut self.elr);
        for id in old.into_iter().chain(self.partition.isr.iter().copied()) {
            if !self.isr.contains(&id) && self.turnover.unclean != Some(id) && !self.elr.contains(&id) {
                self.elr.push(id);
            }
        }
        self.elr.sort_unstable();
    }

    /// The chosen leader, and whether it was chosen from outside ISR and ELR.
    fn choose_leader(&self) -> (i32, bool) {
        let preferred = self.replicas.first().copied().filter(|_| self.election == Election::Preferred);
        let candidates =
            preferred.into_iter().chain([self.partition.leader]).chain(self.replicas.iter().copied());
        if let Some(leader) = candidates.into_iter().find(|id| self.is_valid_leader(*id)) {
            return (leader, false);
        }
        if let Some(leader) = self.last_known_leader() {
            return (leader, true);
        }
        let is_unclean = self.election == Election::Unclean;
        #[cfg(feature = "planted-bugs")]
        let is_unclean = is_unclean || planted::is(planted::Bug::UncleanElection);
        if is_unclean && let Some(leader) = self.replicas.iter().copied().find(|id| self.is_acceptable(*id)) {
            return (leader, true);
        }
        (NO_LEADER, false)
    }

    fn last_known_leader(&self) -> Option<i32> {
        match self.partition.last_known_elr.as_slice() {
            [leader] if self.elr_enabled && self.isr.is_empty() && self.elr.is_empty() => {
                Some(*leader).filter(|id| self.is_acceptable(*id))
            }
            _ => None,
        }
    }

    fn elect(&mut self, record: &mut PartitionChangeRecord) {
        let (leader, unclean) = self.choose_leader();
        if leader == self.partition.leader {
            return;
        }
        record.leader = leader;
        if self.elr.contains(&leader) {
            self.isr = vec![leader];
            self.elr.retain(|id| *id != leader);
        } else if unclean {
            record.isr = Some(vec![leader]);
            if self.partition.leader_recovery_state != LeaderRecoveryState::Recovering {
                record.leader_recovery_state = LeaderRecoveryState::Recovering.code();
            }
        }
    }

    fn write_elr(&mut self, record: &mut PartitionChangeRecord) {
        if record.isr.is_some() {
            self.elr.clear();
        }
        if self.elr != self.partition.elr {
            record.eligible_leader_replicas = Some(self.elr.clone());
        }
    }

    fn bump_epoch_on_shrink(&self, record: &mut PartitionChangeRecord) {
        let needed = self.view.rules.bump_leader_epoch_on_isr_shrink
            || !self.view.image.features.metadata_version().is_leader_epoch_kept_on_isr_shrink();
        let shrinks = record.isr.as_ref().is_some_and(|isr| !contains_all(isr, &self.partition.isr));
        if needed && shrinks && record.leader == NO_LEADER_CHANGE {
            record.leader = self.partition.leader;
        }
    }

    /// Remembers the last leader when the ISR runs empty, and forgets it once there is a leader again.
    ///
    /// A member that may not lead (it is shutting down) can be alone in an ISR without a leader. It is remembered then:
    /// it has all that is committed. Kafka writes -1, and nobody is ever elected.
    fn write_last_known_leader(&self, record: &mut PartitionChangeRecord) {
        if !self.elr_enabled {
            return;
        }
        let known = &self.partition.last_known_elr;
        let isr_runs_empty = record.isr.as_ref().is_some_and(Vec::is_empty);
        let has_leader =
            record.leader >= 0 || (self.partition.leader != NO_LEADER && record.leader != NO_LEADER);
        let leader = Some(self.partition.leader).filter(|leader| *leader != NO_LEADER);
        let last = leader.or(self.partition.isr.first().copied());
        if isr_runs_empty && let Some(last) = last {
            if known.as_slice() != [last] {
                record.last_known_elr = Some(vec![last]);
            }
        } else if has_leader && !known.is_empty() {
            record.last_known_elr = Some(Vec::new());
        }
    }

    fn write_assignment(&self, record: &mut PartitionChangeRecord) {
        let partition = self.partition;
        if !self.replicas.is_empty() {
            if self.view.image.features.metadata_version().is_directory_assignment_supported() {
                let directories: Vec<_> = self.replicas.iter().map(|id| self.directory(*id)).collect();
                if directories != partition.directories {
                    record.directories = Some(directories);
                }
            }
            if self.replicas != partition.replicas {
                record.replicas = Some(self.replicas.clone());
            }
        }
        if self.removing != partition.removing_replicas {
            record.removing_replicas = Some(self.removing.clone());
        }
        if self.adding != partition.adding_replicas {
            record.adding_replicas = Some(self.adding.clone());
        }
    }

    fn directory(&self, broker: i32) -> Uuid {
        let default = || default_directory(self.view, broker);
        self.directories.get(&broker).copied().unwrap_or_else(default)
    }
}

/// The directory of a new replica on `broker`.
pub(super) fn default_directory(view: View<'_>, broker: i32) -> Uuid {
    let registration = view.image.cluster.broker(broker);
    registration.map_or(metadata::directory::MIGRATING, |broker| broker.default_directory())
}

/// The changes that `turnover` causes in those partitions that `concerned` selects.
pub(super) fn leader_and_isr_updates(
    view: View<'_>,
    turnover: Turnover,
    concerned: impl Fn(&PartitionRegistration) -> bool,
) -> Vec<Record> {
    let mut records = Vec::new();
    for topic in view.image.topics.iter() {
        let concerned = topic.partitions.iter().filter(|(_, partition)| concerned(partition));
        for (id, partition) in concerned {
            let change = PartitionChange::new(view, &topic.name, topic.id, *id, partition);
            let mut change = change.with_turnover(turnover);
            if configs::unclean_election_enabled(view, &topic.name) {
                change.election = Election::Unclean;
            }
            records.extend(change.build());
        }
    }
    records
}

fn contains_all(list: &[i32], members: &[i32]) -> bool {
    members.iter().all(|member| list.contains(member))
}
