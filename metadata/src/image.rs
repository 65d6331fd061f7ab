//! The metadata image: one value that holds all of the cluster's metadata at one offset.
//!
//! Invariants: an image never changes; a clone costs a few reference counts; `topics` agrees with itself
//! (each topic is under its name and its id). [`crate::delta`] is the only way to a later image.

mod cluster;
mod configs;
mod features;
mod security;
mod topics;

use std::sync::Arc;

pub use cluster::{BrokerRegistration, ClusterImage, Endpoint, FeatureRange};
pub use configs::{ConfigResource, ConfigsImage, resource_type};
pub use features::FeaturesImage;
use imbl::OrdMap;
use protocol::records::{AccessControlEntryRecord, DelegationTokenRecord, UserScramCredentialRecord};
pub use security::QuotaEntity;
pub use topics::{TopicImage, TopicsImage};
use uuid::Uuid;

/// How far an image goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Provenance {
    /// Offset of the last record in the image, control records included; -1 before the first.
    pub last_offset: i64,
    /// Raft epoch of that record; -1 before the first.
    pub last_epoch: i32,
    /// Append time of that record in ms since 1970; -1 before the first.
    pub last_timestamp_ms: i64,
}

impl Provenance {
    /// Before the first record.
    pub const NONE: Self = Self { last_offset: -1, last_epoch: -1, last_timestamp_ms: -1 };
}

/// All metadata of the cluster at one offset.
#[derive(Clone, Debug, PartialEq)]
pub struct MetadataImage {
    /// Which records the image contains.
    pub provenance: Provenance,
    /// Finalized features.
    pub features: FeaturesImage,
    /// Registered brokers and controllers.
    pub cluster: ClusterImage,
    /// Topics and their partitions.
    pub topics: TopicsImage,
    /// Dynamic configurations.
    pub configs: ConfigsImage,
    /// Client quotas: values by quota key, per entity.
    pub quotas: OrdMap<QuotaEntity, OrdMap<String, f64>>,
    /// First id of the next block of producer ids.
    pub next_producer_id: i64,
    /// Access control entries by id.
    pub acls: OrdMap<Uuid, Arc<AccessControlEntryRecord>>,
    /// SCRAM credentials by mechanism (1 = SHA-256, 2 = SHA-512) and user.
    pub scram: OrdMap<(i8, String), Arc<UserScramCredentialRecord>>,
    /// Delegation tokens by token id.
    pub tokens: OrdMap<String, Arc<DelegationTokenRecord>>,
}

impl MetadataImage {
    /// The image before the first record.
    pub fn empty() -> Self {
        Self {
            provenance: Provenance::NONE,
            features: FeaturesImage::default(),
            cluster: ClusterImage::default(),
            topics: TopicsImage::default(),
            configs: ConfigsImage::default(),
            quotas: OrdMap::new(),
            next_producer_id: 0,
            acls: OrdMap::new(),
            scram: OrdMap::new(),
            tokens: OrdMap::new(),
        }
    }

    /// True if both hold the same metadata, wherever they come from.
    pub fn same_metadata(&self, other: &Self) -> bool {
        let provenance = self.provenance;
        &Self { provenance, ..other.clone() } == self
    }

    /// Offset of the next record.
    pub fn next_offset(&self) -> i64 {
        self.provenance.last_offset + 1
    }
}

impl Default for MetadataImage {
    fn default() -> Self {
        Self::empty()
    }
}
