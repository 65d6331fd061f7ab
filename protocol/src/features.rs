//! Features and their levels (KIP-584, KIP-1022), as Apache Kafka 4.1.2 knows them.

/// A feature, and the levels of it that this software supports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Feature {
    /// The feature's name.
    pub name: &'static str,
    /// The lowest supported level.
    pub min: i16,
    /// The highest supported level.
    pub max: i16,
    /// For each level above 0, ascending: the metadata.version level from which it is the default when a
    /// cluster is formatted.
    default_from: &'static [i16],
}

/// A feature's level that the cluster agreed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinalizedFeature {
    /// The feature's name.
    pub name: String,
    /// The level.
    pub level: i16,
}

/// The name of the feature whose level says which metadata records may be written.
pub const METADATA_VERSION: &str = "metadata.version";
/// The name of the feature that allows voters to change. It lives in control records of the metadata log.
pub const KRAFT_VERSION: &str = "kraft.version";
/// The name of the feature that enables consumer groups of KIP-848.
pub const GROUP_VERSION: &str = "group.version";
/// The name of the feature that bumps the producer epoch with every transaction (KIP-890).
pub const TRANSACTION_VERSION: &str = "transaction.version";
/// The name of the feature that keeps eligible leader replicas (KIP-966).
pub const ELR_VERSION: &str = "eligible.leader.replicas.version";
/// The name of the feature that enables share groups (KIP-932).
pub const SHARE_VERSION: &str = "share.version";

/// Every supported feature, in the order in which Apache Kafka 4.1.2 names them.
pub static FEATURES: [Feature; 6] = [
    Feature { name: GROUP_VERSION, min: 0, max: 1, default_from: &[22] },
    Feature { name: KRAFT_VERSION, min: 0, max: 1, default_from: &[21] },
    Feature { name: METADATA_VERSION, min: 7, max: 27, default_from: &[] },
    Feature { name: SHARE_VERSION, min: 0, max: 1, default_from: &[28] },
    Feature { name: TRANSACTION_VERSION, min: 0, max: 2, default_from: &[24, 24] },
    Feature { name: ELR_VERSION, min: 0, max: 1, default_from: &[26] },
];

/// The supported feature of this name.
pub fn feature(name: &str) -> Option<&'static Feature> {
    FEATURES.iter().find(|feature| feature.name == name)
}

impl Feature {
    /// The level that a cluster gets when it is formatted at a metadata.version: the highest whose time has
    /// come. For metadata.version itself, that level.
    pub fn default_level(&self, version: MetadataVersion) -> i16 {
        if self.name == METADATA_VERSION {
            return version.0;
        }
        self.default_from.iter().take_while(|&&from| from <= version.0).count() as i16
    }

    /// The metadata.version level that must be reached before `level` can be finalized; 0 for none.
    pub fn needs_metadata_version(&self, level: i16) -> i16 {
        if self.name == ELR_VERSION && level > 0 { 23 } else { 0 }
    }
}

/// A level of metadata.version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MetadataVersion(pub i16);

/// The names of the levels from 1 on; levels 28 and 29 are known but not released in 4.1.
const NAMES: [&str; 29] = [
    "3.0-IV1", "3.1-IV0", "3.2-IV0", "3.3-IV0", "3.3-IV1", "3.3-IV2", "3.3-IV3", "3.4-IV0", "3.5-IV0",
    "3.5-IV1", "3.5-IV2", "3.6-IV0", "3.6-IV1", "3.6-IV2", "3.7-IV0", "3.7-IV1", "3.7-IV2", "3.7-IV3",
    "3.7-IV4", "3.8-IV0", "3.9-IV0", "4.0-IV0", "4.0-IV1", "4.0-IV2", "4.0-IV3", "4.1-IV0", "4.1-IV1",
    "4.2-IV0", "4.2-IV1",
];

impl MetadataVersion {
    /// The lowest level that Apache Kafka 4.x runs at.
    pub const MINIMUM: Self = Self(7);
    /// The highest released level: what a new cluster gets.
    pub const LATEST_PRODUCTION: Self = Self(27);

    /// The level's name, as `4.1-IV1`.
    pub fn name(self) -> Option<&'static str> {
        let at = usize::try_from(self.0).ok()?.checked_sub(1)?;
        NAMES.get(at).copied()
    }

    /// The level behind a name: `4.1-IV1` is that level, `4.1` and `4.1.2` the last one of the release.
    pub fn parse(text: &str) -> Option<Self> {
        let level = |at: usize| Self(at as i16 + 1);
        if text.contains("-IV") {
            return NAMES.iter().position(|&name| name == text).map(level);
        }
        let mut parts = text.split('.');
        let release = format!("{}.{}-", parts.next()?, parts.next()?);
        NAMES.iter().rposition(|name| name.starts_with(&release)).map(level)
    }

    /// Whether this software runs at the level.
    pub fn is_supported(self) -> bool {
        (Self::MINIMUM..=Self::LATEST_PRODUCTION).contains(&self)
    }

    /// Whether this level writes metadata that the one before cannot read.
    fn changes_metadata(self) -> bool {
        matches!(self.0, 1 | 3 | 5..=8 | 11 | 13..=15 | 17 | 23)
    }

    /// Whether going between the two levels, in either direction, crosses a change of the metadata's form:
    /// going down is then refused, since it would lose metadata.
    pub fn metadata_changes_between(self, other: Self) -> bool {
        let (low, high) = (self.min(other), self.max(other));
        (low.0 + 1..=high.0).any(|level| Self(level).changes_metadata())
    }

    /// The version of Fetch that replicas send each other.
    pub fn fetch_version(self) -> i16 {
        match self.0 {
            27.. => 18,
            21.. => 17,
            19.. => 16,
            10.. => 15,
            9 => 14,
            2.. => 13,
            _ => 12,
        }
    }

    /// The version of ListOffsets that replicas send each other.
    pub fn list_offsets_version(self) -> i16 {
        match self.0 {
            25.. => 10,
            21.. => 9,
            9.. => 8,
            _ => 7,
        }
    }

    /// Whether BrokerRegistrationChange replaces the records that fence and unfence.
    pub fn is_broker_registration_change_supported(self) -> bool {
        self.0 >= 6
    }

    /// Whether registrations carry the flag of a controlled shutdown.
    pub fn is_in_controlled_shutdown_supported(self) -> bool {
        self.0 >= 7
    }

    /// Whether a shrinking ISR no longer raises the leader epoch.
    pub fn is_leader_epoch_kept_on_isr_shrink(self) -> bool {
        self.0 >= 12
    }

    /// Whether SCRAM credentials can be stored.
    pub fn is_scram_supported(self) -> bool {
        self.0 >= 11
    }

    /// Whether metadata transactions can be written (KIP-868).
    pub fn is_metadata_transaction_supported(self) -> bool {
        self.0 >= 13
    }

    /// Whether delegation tokens can be stored.
    pub fn is_delegation_token_supported(self) -> bool {
        self.0 >= 14
    }

    /// Whether controllers register (KIP-919).
    pub fn is_controller_registration_supported(self) -> bool {
        self.0 >= 15
    }

    /// Whether replicas are assigned to log directories (KIP-858).
    pub fn is_directory_assignment_supported(self) -> bool {
        self.0 >= 17
    }

    /// Whether eligible leader replicas can be stored (KIP-966).
    pub fn is_elr_supported(self) -> bool {
        self.0 >= 23
    }
}
