//! Finalized feature levels.

use imbl::OrdMap;

use protocol::features::{KRAFT_VERSION, METADATA_VERSION, MetadataVersion};

/// What a log without a level is read as (Kafka's 3.0-IV1).
const OLDEST: MetadataVersion = MetadataVersion(1);

/// Finalized features: `metadata.version` and those above level 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FeaturesImage {
    /// Level of `metadata.version`; `None` until the log names one.
    pub finalized_metadata_version: Option<MetadataVersion>,
    /// Level of `kraft.version`, which control records hold and the image only repeats.
    pub kraft_version: i16,
    /// Levels of the other features; level 0 is absent.
    pub levels: OrdMap<String, i16>,
    /// State of a migration from ZooKeeper, if the log names one (Kafka 3.4 to 3.9).
    pub zk_migration_state: Option<i8>,
}

impl FeaturesImage {
    /// The `metadata.version` to go by: the finalized one, or the oldest.
    pub fn metadata_version(&self) -> MetadataVersion {
        self.finalized_metadata_version.unwrap_or(OLDEST)
    }

    /// The level of a feature; 0 if it is off.
    pub fn level(&self, name: &str) -> i16 {
        if name == KRAFT_VERSION {
            return self.kraft_version;
        }
        if name == METADATA_VERSION {
            return self.finalized_metadata_version.map_or(0, |version| version.0);
        }
        self.levels.get(name).copied().unwrap_or(0)
    }

    /// All finalized features above level 0, `metadata.version` and `kraft.version` among them, sorted by name.
    pub fn finalized(&self) -> Vec<(String, i16)> {
        let mut all: Vec<_> = self.levels.iter().map(|(name, level)| (name.clone(), *level)).collect();
        all.extend(self.finalized_metadata_version.map(|version| (METADATA_VERSION.to_owned(), version.0)));
        all.extend((self.kraft_version > 0).then(|| (KRAFT_VERSION.to_owned(), self.kraft_version)));
        all.sort();
        all
    }
}
