//! The step from one image to the next, and what it changed.
//!
//! Invariants: `after` is `before` with the replayed records applied; every resource whose state differs between
//! the two is named in one of the sets (a set may also name one that was changed and changed back).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use uuid::Uuid;

use crate::image::{ConfigResource, MetadataImage, TopicImage};
use crate::replay::ReplayError;

/// What changed between two images.
#[derive(Clone, Debug)]
pub struct MetadataDelta {
    before: MetadataImage,
    pub(crate) after: MetadataImage,
    /// What the replayed records touched.
    pub changes: Changes,
}

/// The names of what a delta touched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Topics that `after` has and `before` has not.
    pub topics_created: BTreeSet<Uuid>,
    /// Topics that `before` has and `after` has not, as they were.
    pub topics_deleted: BTreeMap<Uuid, DeletedTopic>,
    /// Partitions that were created or changed, of topics that still exist.
    pub partitions: BTreeMap<Uuid, BTreeSet<i32>>,
    /// Resources with a key that was set or removed, those of deleted topics included.
    pub configs: BTreeSet<ConfigResource>,
    /// Brokers that registered, changed or left.
    pub brokers: BTreeSet<i32>,
    /// Controllers that registered, changed or left.
    pub controllers: BTreeSet<i32>,
    /// A finalized feature changed.
    pub features: bool,
    /// A client quota changed.
    pub quotas: bool,
    /// An access control entry changed.
    pub acls: bool,
    /// A SCRAM credential changed.
    pub scram: bool,
    /// A delegation token changed.
    pub tokens: bool,
    /// The next block of producer ids moved.
    pub producer_ids: bool,
}

/// A topic that is gone, as it was last.
#[derive(Clone, Debug, PartialEq)]
pub struct DeletedTopic(pub Arc<TopicImage>);

// The image holds no floating point number, so equality is total.
impl Eq for DeletedTopic {}

impl MetadataDelta {
    /// A delta without changes on `before`.
    pub fn new(before: MetadataImage) -> Self {
        Self { after: before.clone(), before, changes: Changes::default() }
    }

    /// The delta that leads from one image to any other, as after loading a snapshot.
    pub fn between(before: MetadataImage, after: MetadataImage) -> Self {
        let mut changes = Changes {
            features: before.features != after.features,
            quotas: before.quotas != after.quotas,
            acls: before.acls != after.acls,
            scram: before.scram != after.scram,
            tokens: before.tokens != after.tokens,
            producer_ids: before.next_producer_id != after.next_producer_id,
            ..Changes::default()
        };
        changes.brokers = changed_keys(&before.cluster.brokers, &after.cluster.brokers);
        changes.controllers = changed_keys(&before.cluster.controllers, &after.cluster.controllers);
        changes.configs = changed_keys(&before.configs.resources, &after.configs.resources);
        for topic in before.topics.iter() {
            if after.topics.by_id(topic.id).is_none() {
                changes.topics_deleted.insert(topic.id, DeletedTopic(Arc::clone(topic)));
            }
        }
        for topic in after.topics.iter() {
            let old = before.topics.by_id(topic.id);
            if old.is_none() {
                changes.topics_created.insert(topic.id);
            }
            let partitions = match old {
                Some(old) if Arc::ptr_eq(old, topic) => BTreeSet::new(),
                Some(old) => changed_keys(&old.partitions, &topic.partitions),
                None => topic.partitions.keys().copied().collect(),
            };
            if !partitions.is_empty() {
                changes.partitions.insert(topic.id, partitions);
            }
        }
        Self { before, after, changes }
    }

    /// The image that the delta starts from.
    pub fn before(&self) -> &MetadataImage {
        &self.before
    }

    /// The image that the delta leads to.
    pub fn after(&self) -> &MetadataImage {
        &self.after
    }

    /// True if no metadata changed (the provenance may have).
    pub fn is_empty(&self) -> bool {
        self.changes == Changes::default()
    }

    /// Notes how far the delta goes.
    pub fn set_provenance(&mut self, last_offset: i64, last_epoch: i32, last_timestamp_ms: i64) {
        self.after.provenance = crate::image::Provenance { last_offset, last_epoch, last_timestamp_ms };
    }

    /// Notes the level of `kraft.version`, which no metadata record holds.
    pub fn set_kraft_version(&mut self, level: i16) {
        if self.after.features.kraft_version != level {
            self.after.features.kraft_version = level;
            self.changes.features = true;
        }
    }

    /// Replays several records; stops at the first that does not apply.
    ///
    /// # Errors
    /// A record that contradicts the image: the log is not one that a controller wrote.
    pub fn replay_all<'a>(
        &mut self,
        records: impl IntoIterator<Item = &'a protocol::records::Record>,
    ) -> Result<(), ReplayError> {
        records.into_iter().try_for_each(|record| self.replay(record))
    }
}

/// Keys with a different value, or with a value on one side only.
fn changed_keys<K: Ord + Clone, V: PartialEq + Clone>(
    before: &imbl::OrdMap<K, V>,
    after: &imbl::OrdMap<K, V>,
) -> BTreeSet<K> {
    let gone = before.keys().filter(|key| !after.contains_key(key));
    let changed = after.iter().filter(|(key, value)| before.get(key) != Some(value)).map(|(key, _)| key);
    gone.chain(changed).cloned().collect()
}
