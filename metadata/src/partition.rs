//! The state of one partition, and the rules of its two epochs.
//!
//! - `partition_epoch` starts at 0 and grows by one with every change of the partition.
//! - `leader_epoch` starts at 0 and grows by one with every change record that names a leader, even the same one.
//! - A leader of [`NO_LEADER`] means that the partition is offline.

use protocol::records::{PartitionChangeRecord, PartitionRecord};
use uuid::Uuid;

use crate::directory;

/// The partition has no leader.
pub const NO_LEADER: i32 = -1;
/// A change record with this leader keeps leader and leader epoch.
pub const NO_LEADER_CHANGE: i32 = -2;
/// A change record with this recovery state keeps it.
const NO_RECOVERY_CHANGE: i8 = -1;

/// Whether the leader was elected out of the ISR and has yet to recover (KIP-704).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum LeaderRecoveryState {
    /// Elected cleanly, or recovered since.
    #[default]
    Recovered,
    /// Elected uncleanly; the ISR may not grow until the leader has recovered.
    Recovering,
}

impl LeaderRecoveryState {
    /// The value in records and requests.
    pub fn code(self) -> i8 {
        match self {
            Self::Recovered => 0,
            Self::Recovering => 1,
        }
    }

    /// The state with that value; `None` for a value that Kafka does not define.
    pub fn from_code(code: i8) -> Option<Self> {
        match code {
            0 => Some(Self::Recovered),
            1 => Some(Self::Recovering),
            _ => None,
        }
    }
}

/// A record that cannot be a state of a partition.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PartitionError {
    /// Directories are given, but not one for each replica.
    #[error("{directories} directories for {replicas} replicas")]
    DirectoriesMismatch {
        /// How many directories the record names.
        directories: usize,
        /// How many replicas the partition has.
        replicas: usize,
    },
    /// The recovery state is none that Kafka defines.
    #[error("unknown leader recovery state {0}")]
    UnknownRecoveryState(i8),
}

/// One partition as the controller knows it (Kafka's `PartitionRegistration`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartitionRegistration {
    /// The replicas, the preferred leader first.
    pub replicas: Vec<i32>,
    /// The log directory of each replica, in the order of `replicas`.
    pub directories: Vec<Uuid>,
    /// The replicas that hold everything that is committed.
    pub isr: Vec<i32>,
    /// Replicas that the reassignment under way will remove.
    pub removing_replicas: Vec<i32>,
    /// Replicas that the reassignment under way adds.
    pub adding_replicas: Vec<i32>,
    /// Replicas outside the ISR that may lead without loss (KIP-966).
    pub elr: Vec<i32>,
    /// The last leader, once the ISR is empty (KIP-966).
    pub last_known_elr: Vec<i32>,
    /// The leader, or [`NO_LEADER`].
    pub leader: i32,
    /// Whether the leader still has to recover from an unclean election.
    pub leader_recovery_state: LeaderRecoveryState,
    /// Grows with every leader field written.
    pub leader_epoch: i32,
    /// Grows with every change.
    pub partition_epoch: i32,
}

impl PartitionRegistration {
    /// The state that a `PartitionRecord` describes in full.
    ///
    /// # Errors
    /// A record that no controller writes: see [`PartitionError`].
    pub fn from_record(record: &PartitionRecord) -> Result<Self, PartitionError> {
        Ok(Self {
            directories: directories_for(&record.directories, record.replicas.len())?,
            replicas: record.replicas.clone(),
            isr: record.isr.clone(),
            removing_replicas: record.removing_replicas.clone(),
            adding_replicas: record.adding_replicas.clone(),
            elr: record.eligible_leader_replicas.clone().unwrap_or_default(),
            last_known_elr: record.last_known_elr.clone().unwrap_or_default(),
            leader: record.leader,
            leader_recovery_state: recovery_state(record.leader_recovery_state)?,
            leader_epoch: record.leader_epoch,
            partition_epoch: record.partition_epoch,
        })
    }

    /// The state after `change`: the one place where the epochs grow.
    ///
    /// # Errors
    /// A record that no controller writes: see [`PartitionError`].
    pub fn merge(&self, change: &PartitionChangeRecord) -> Result<Self, PartitionError> {
        let replicas = change.replicas.clone().unwrap_or_else(|| self.replicas.clone());
        let directories = match &change.directories {
            Some(directories) => directories_for(directories, replicas.len())?,
            None => directories_for(&self.directories, replicas.len())?,
        };
        let leader_changes = change.leader != NO_LEADER_CHANGE;
        let epoch_grows = leader_changes;
        #[cfg(feature = "planted-bugs")]
        let epoch_grows = epoch_grows && !planted::is(planted::Bug::LeaderEpochKept);
        let leader_recovery_state = match change.leader_recovery_state {
            NO_RECOVERY_CHANGE => self.leader_recovery_state,
            code => recovery_state(code)?,
        };
        let or = |new: &Option<Vec<i32>>, old: &Vec<i32>| new.as_ref().unwrap_or(old).clone();
        Ok(Self {
            replicas,
            directories,
            isr: or(&change.isr, &self.isr),
            removing_replicas: or(&change.removing_replicas, &self.removing_replicas),
            adding_replicas: or(&change.adding_replicas, &self.adding_replicas),
            elr: or(&change.eligible_leader_replicas, &self.elr),
            last_known_elr: or(&change.last_known_elr, &self.last_known_elr),
            leader: if leader_changes { change.leader } else { self.leader },
            leader_recovery_state,
            leader_epoch: self.leader_epoch.wrapping_add(i32::from(epoch_grows)),
            partition_epoch: self.partition_epoch.wrapping_add(1),
        })
    }

    /// The record that describes this state in full; `with_directories` and `with_elr` as the record version allows.
    pub fn to_record(&self, topic_id: Uuid, partition_id: i32, version: i16) -> PartitionRecord {
        let some = |list: &Vec<i32>| (version >= 2 && !list.is_empty()).then(|| list.clone());
        PartitionRecord {
            partition_id,
            topic_id,
            replicas: self.replicas.clone(),
            isr: self.isr.clone(),
            removing_replicas: self.removing_replicas.clone(),
            adding_replicas: self.adding_replicas.clone(),
            leader: self.leader,
            leader_recovery_state: self.leader_recovery_state.code(),
            leader_epoch: self.leader_epoch,
            partition_epoch: self.partition_epoch,
            directories: if version >= 1 { self.directories.clone() } else { Vec::new() },
            eligible_leader_replicas: some(&self.elr),
            last_known_elr: some(&self.last_known_elr),
        }
    }

    /// The leader, if there is one.
    pub fn leader(&self) -> Option<i32> {
        (self.leader != NO_LEADER).then_some(self.leader)
    }

    /// True if the first replica leads.
    pub fn has_preferred_leader(&self) -> bool {
        self.replicas.first() == Some(&self.leader)
    }

    /// True while replicas are being added or removed.
    pub fn is_reassigning(&self) -> bool {
        !self.adding_replicas.is_empty() || !self.removing_replicas.is_empty()
    }

    /// The directory of the replica on `broker`; `None` if the broker has no replica.
    pub fn directory(&self, broker: i32) -> Option<Uuid> {
        let index = self.replicas.iter().position(|replica| *replica == broker)?;
        self.directories.get(index).copied()
    }
}

/// One directory per replica: none given, or all `MIGRATING`, is `MIGRATING` for each.
fn directories_for(given: &[Uuid], replicas: usize) -> Result<Vec<Uuid>, PartitionError> {
    if given.iter().all(|id| *id == directory::MIGRATING) {
        return Ok(vec![directory::MIGRATING; replicas]);
    }
    if given.len() != replicas {
        return Err(PartitionError::DirectoriesMismatch { directories: given.len(), replicas });
    }
    Ok(given.to_vec())
}

fn recovery_state(code: i8) -> Result<LeaderRecoveryState, PartitionError> {
    LeaderRecoveryState::from_code(code).ok_or(PartitionError::UnknownRecoveryState(code))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change() -> PartitionChangeRecord {
        PartitionChangeRecord::default()
    }

    fn partition() -> PartitionRegistration {
        PartitionRegistration {
            replicas: vec![1, 2, 3],
            directories: vec![directory::UNASSIGNED; 3],
            isr: vec![1, 2, 3],
            leader: 1,
            ..Default::default()
        }
    }

    #[test]
    fn every_change_bumps_the_partition_epoch_only() {
        let after = partition().merge(&PartitionChangeRecord { isr: Some(vec![1, 2]), ..change() }).unwrap();
        assert_eq!((after.leader_epoch, after.partition_epoch), (0, 1));
        assert_eq!(after.isr, [1, 2]);
    }

    #[test]
    fn naming_the_same_leader_bumps_the_leader_epoch() {
        let after = partition().merge(&PartitionChangeRecord { leader: 1, ..change() }).unwrap();
        assert_eq!((after.leader, after.leader_epoch, after.partition_epoch), (1, 1, 1));
    }

    #[test]
    fn unknown_values_are_errors() {
        let bad = PartitionChangeRecord { leader_recovery_state: 9, ..change() };
        assert_eq!(partition().merge(&bad), Err(PartitionError::UnknownRecoveryState(9)));
        let bad = PartitionChangeRecord { directories: Some(vec![directory::LOST]), ..change() };
        assert!(matches!(partition().merge(&bad), Err(PartitionError::DirectoriesMismatch { .. })));
    }

    #[test]
    fn record_round_trip() {
        let state = PartitionRegistration { elr: vec![3], isr: vec![1, 2], ..partition() };
        let record = state.to_record(Uuid::from_u64_pair(5, 5), 0, 2);
        assert_eq!(PartitionRegistration::from_record(&record), Ok(state));
    }
}
