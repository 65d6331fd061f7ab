//! Topics and partitions.

use std::sync::Arc;

use imbl::{HashMap, OrdMap};
use protocol::StrBytes;
use uuid::Uuid;

use crate::partition::PartitionRegistration;

/// One topic.
#[derive(Clone, Debug, PartialEq)]
pub struct TopicImage {
    /// Name; shares its bytes with every clone.
    pub name: StrBytes,
    /// Id, never reused.
    pub id: Uuid,
    /// Partitions by id; the ids have no gaps.
    pub partitions: OrdMap<i32, Arc<PartitionRegistration>>,
}

impl TopicImage {
    /// The partition with that id.
    pub fn partition(&self, id: i32) -> Option<&PartitionRegistration> {
        self.partitions.get(&id).map(AsRef::as_ref)
    }
}

/// All topics, by name and by id.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TopicsImage {
    by_name: OrdMap<StrBytes, Arc<TopicImage>>,
    by_id: HashMap<Uuid, Arc<TopicImage>>,
}

impl TopicsImage {
    /// The topic of that name.
    pub fn by_name(&self, name: &str) -> Option<&Arc<TopicImage>> {
        self.by_name.get(name.as_bytes())
    }

    /// The topic with that id.
    pub fn by_id(&self, id: Uuid) -> Option<&Arc<TopicImage>> {
        self.by_id.get(&id)
    }

    /// The partition `partition` of the topic with that id.
    pub fn partition(&self, id: Uuid, partition: i32) -> Option<&PartitionRegistration> {
        self.by_id(id)?.partition(partition)
    }

    /// All topics, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<TopicImage>> {
        self.by_name.values()
    }

    /// The topics whose names are `from` or later, sorted by name.
    pub fn iter_from(&self, from: &str) -> impl Iterator<Item = &Arc<TopicImage>> {
        let from = StrBytes::from_string(from.to_owned());
        self.by_name.range(from..).map(|(_, topic)| topic)
    }

    /// Number of topics.
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// True if there is no topic.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// Number of partitions of all topics; walks the topics.
    pub fn partition_count(&self) -> usize {
        self.iter().map(|topic| topic.partitions.len()).sum()
    }

    /// Adds or replaces a topic under its name and id.
    pub(crate) fn put(&mut self, topic: TopicImage) {
        let topic = Arc::new(topic);
        self.by_name.insert(topic.name.clone(), Arc::clone(&topic));
        self.by_id.insert(topic.id, topic);
    }

    /// Removes the topic with that id.
    pub(crate) fn remove(&mut self, id: Uuid) -> Option<Arc<TopicImage>> {
        let topic = self.by_id.remove(&id)?;
        // A newer topic of the same name stays.
        if self.by_name.get(topic.name.as_bytes()).is_some_and(|named| named.id == id) {
            self.by_name.remove(topic.name.as_bytes());
        }
        Some(topic)
    }
}
