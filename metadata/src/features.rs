//! Feature names and levels: what this release supports, and what each `metadata.version` selects.
//!
//! The tables are Apache Kafka 4.1's (`MetadataVersion`, `Feature` in `server-common`).

use std::fmt;

/// The feature that gates record and request versions.
pub const METADATA_VERSION: &str = "metadata.version";
/// The feature of the Raft layer; stored only in control records.
pub const KRAFT_VERSION: &str = "kraft.version";
/// Eligible leader replicas (KIP-966).
pub const ELIGIBLE_LEADER_REPLICAS: &str = "eligible.leader.replicas.version";
/// The consumer group protocol (KIP-848).
pub const GROUP_VERSION: &str = "group.version";
/// Share groups (KIP-932).
pub const SHARE_VERSION: &str = "share.version";
/// Transactions (KIP-890).
pub const TRANSACTION_VERSION: &str = "transaction.version";

/// A level of `metadata.version`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MetadataVersion(pub i16);

/// One `metadata.version`: level, name, and whether it changed what is on disk.
struct Level {
    name: &'static str,
    did_metadata_change: bool,
}

const fn level(name: &'static str, did_metadata_change: bool) -> Level {
    Level { name, did_metadata_change }
}

/// Levels 1 to 27, in order.
const LEVELS: [Level; 27] = [
    level("3.0-IV1", true),
    level("3.1-IV0", false),
    level("3.2-IV0", true),
    level("3.3-IV0", false),
    level("3.3-IV1", true),
    level("3.3-IV2", true),
    level("3.3-IV3", true),
    level("3.4-IV0", true),
    level("3.5-IV0", false),
    level("3.5-IV1", false),
    level("3.5-IV2", true),
    level("3.6-IV0", false),
    level("3.6-IV1", true),
    level("3.6-IV2", true),
    level("3.7-IV0", true),
    level("3.7-IV1", false),
    level("3.7-IV2", true),
    level("3.7-IV3", false),
    level("3.7-IV4", false),
    level("3.8-IV0", false),
    level("3.9-IV0", false),
    level("4.0-IV0", false),
    level("4.0-IV1", true),
    level("4.0-IV2", false),
    level("4.0-IV3", false),
    level("4.1-IV0", false),
    level("4.1-IV1", false),
];

impl MetadataVersion {
    /// The oldest level of a KRaft log; assumed when a log names none.
    pub const OLDEST: Self = Self(1);
    /// The lowest level that this release runs with (Kafka 4.x).
    pub const MINIMUM: Self = Self(7);
    /// The highest level that this release knows, and the default of a new cluster.
    pub const LATEST: Self = Self(27);

    /// The name such as `4.1-IV1`; `None` for a level that this release does not know.
    pub fn name(self) -> Option<&'static str> {
        let index = usize::try_from(self.0).ok()?.checked_sub(1)?;
        LEVELS.get(index).map(|level| level.name)
    }

    /// Parses `4.1-IV1`, or `4.1` as the highest level of that release.
    pub fn from_name(name: &str) -> Option<Self> {
        let exact = LEVELS.iter().position(|level| level.name == name);
        let newest = || LEVELS.iter().rposition(|level| level.name.split("-IV").next() == Some(name));
        exact.or_else(newest).map(|index| Self(index as i16 + 1))
    }

    /// True if going from `self` to `other` crosses no level that changed the records on disk
    /// (upwards always true).
    pub fn can_move_to(self, other: Self) -> bool {
        other >= self
            || !(other.0 + 1..=self.0)
                .any(|level| LEVELS.get(level as usize - 1).is_none_or(|level| level.did_metadata_change))
    }

    /// NoOp records may be written (KIP-835).
    pub fn has_no_op_record(self) -> bool {
        self.0 >= 5
    }

    /// BrokerRegistrationChange replaces FenceBroker and UnfenceBroker.
    pub fn has_registration_change_record(self) -> bool {
        self.0 >= 6
    }

    /// Brokers can be marked as being in controlled shutdown.
    pub fn has_controlled_shutdown(self) -> bool {
        self.0 >= 7
    }

    /// SCRAM records may be written.
    pub fn has_scram(self) -> bool {
        self.0 >= 11
    }

    /// An ISR shrink must bump the leader epoch (KAFKA-15021).
    pub fn bumps_leader_epoch_on_isr_shrink(self) -> bool {
        self.0 < 12
    }

    /// BeginTransaction, EndTransaction and AbortTransaction records may be written (KIP-868).
    pub fn has_metadata_transactions(self) -> bool {
        self.0 >= 13
    }

    /// Delegation token records may be written.
    pub fn has_delegation_tokens(self) -> bool {
        self.0 >= 14
    }

    /// Controllers register (KIP-919).
    pub fn has_controller_registration(self) -> bool {
        self.0 >= 15
    }

    /// Replicas carry directory ids (KIP-858).
    pub fn has_directory_assignment(self) -> bool {
        self.0 >= 17
    }

    /// Eligible leader replicas can be stored (KIP-966).
    pub fn has_eligible_leader_replicas(self) -> bool {
        self.0 >= 23
    }
}

impl fmt::Display for MetadataVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "level {}", self.0),
        }
    }
}

/// A feature with the levels that this release supports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SupportedFeature {
    /// Feature name, as on the wire.
    pub name: &'static str,
    /// Lowest supported level; 0 means that the feature may be off.
    pub min: i16,
    /// Highest supported level.
    pub max: i16,
}

/// What every node of this release supports, sorted by name (Kafka 4.1.2's set).
pub const SUPPORTED: [SupportedFeature; 6] = [
    SupportedFeature { name: ELIGIBLE_LEADER_REPLICAS, min: 0, max: 1 },
    SupportedFeature { name: GROUP_VERSION, min: 0, max: 1 },
    SupportedFeature { name: KRAFT_VERSION, min: 0, max: 1 },
    SupportedFeature {
        name: METADATA_VERSION,
        min: MetadataVersion::MINIMUM.0,
        max: MetadataVersion::LATEST.0,
    },
    SupportedFeature { name: SHARE_VERSION, min: 0, max: 1 },
    SupportedFeature { name: TRANSACTION_VERSION, min: 0, max: 2 },
];

/// The range that this release supports of the feature `name`.
pub fn supported(name: &str) -> Option<SupportedFeature> {
    SUPPORTED.iter().copied().find(|feature| feature.name == name)
}

/// The level that a new cluster gets for the feature `name` when it is formatted at `version`.
///
/// `metadata.version` and `kraft.version` have rules of their own and give 0 here.
pub fn default_level(name: &str, version: MetadataVersion) -> i16 {
    match name {
        ELIGIBLE_LEADER_REPLICAS => i16::from(version.0 >= 26),
        GROUP_VERSION => i16::from(version.0 >= 22),
        TRANSACTION_VERSION if version.0 >= 24 => 2,
        _ => 0,
    }
}

/// The lowest `metadata.version` with which the feature `name` may be at `level` (level 0: always).
pub fn needed_metadata_version(name: &str, level: i16) -> MetadataVersion {
    match name {
        _ if level == 0 => MetadataVersion::OLDEST,
        ELIGIBLE_LEADER_REPLICAS => MetadataVersion(23),
        _ => MetadataVersion(4),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_both_ways() {
        assert_eq!(MetadataVersion::LATEST.name(), Some("4.1-IV1"));
        assert_eq!(MetadataVersion::from_name("4.1"), Some(MetadataVersion(27)));
        assert_eq!(MetadataVersion::from_name("4.0"), Some(MetadataVersion(25)));
        assert_eq!(MetadataVersion::from_name("3.3-IV3"), Some(MetadataVersion(7)));
        assert_eq!(MetadataVersion::from_name("9.9"), None);
        assert_eq!(MetadataVersion(0).name(), None);
        assert_eq!(MetadataVersion(28).name(), None);
    }

    #[test]
    fn downgrades() {
        assert!(MetadataVersion(27).can_move_to(MetadataVersion(23)));
        assert!(!MetadataVersion(27).can_move_to(MetadataVersion(22)));
        assert!(MetadataVersion(7).can_move_to(MetadataVersion(27)));
    }
}
