//! A delta as one broker sees it: which replicas it leads, follows or drops from now on.

use std::sync::Arc;

use protocol::StrBytes;
use uuid::Uuid;

use crate::delta::MetadataDelta;
use crate::partition::PartitionRegistration;

/// A partition by name and id, with its new state.
#[derive(Clone, Debug, PartialEq)]
pub struct LocalPartition {
    /// Topic name.
    pub topic: StrBytes,
    /// Topic id.
    pub topic_id: Uuid,
    /// Partition id.
    pub partition: i32,
    /// The state after the delta.
    pub state: Arc<PartitionRegistration>,
    /// The state before the delta, if the partition existed.
    pub before: Option<Arc<PartitionRegistration>>,
}

/// A replica that the broker no longer has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DroppedReplica {
    /// Topic name.
    pub topic: StrBytes,
    /// Topic id.
    pub topic_id: Uuid,
    /// Partition id.
    pub partition: i32,
}

/// Kafka's `LocalReplicaChanges`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LocalChanges {
    /// Replicas whose topic was deleted, or that moved to other brokers: to be deleted here.
    pub deletes: Vec<DroppedReplica>,
    /// Changed partitions that the broker leads.
    pub leads: Vec<LocalPartition>,
    /// Changed partitions that the broker has a replica of and does not lead (perhaps nobody does).
    pub follows: Vec<LocalPartition>,
}

impl MetadataDelta {
    /// What the delta means for the replicas of broker `id`, sorted by topic id and partition.
    pub fn local_changes(&self, id: i32) -> LocalChanges {
        let mut local = LocalChanges::default();
        for deleted in self.changes.topics_deleted.values() {
            let topic = &deleted.0;
            let mine = topic.partitions.iter().filter(|(_, state)| state.replicas.contains(&id));
            local.deletes.extend(mine.map(|(partition, _)| DroppedReplica {
                topic: topic.name.clone(),
                topic_id: topic.id,
                partition: *partition,
            }));
        }
        for (topic_id, partitions) in &self.changes.partitions {
            let Some(topic) = self.after().topics.by_id(*topic_id) else { continue };
            let old_topic = self.before().topics.by_id(*topic_id);
            for partition in partitions {
                let Some(state) = topic.partitions.get(partition).cloned() else { continue };
                let before = old_topic.and_then(|topic| topic.partitions.get(partition)).cloned();
                let was_here = before.as_ref().is_some_and(|before| before.replicas.contains(&id));
                let (topic, topic_id, partition) = (topic.name.clone(), *topic_id, *partition);
                if !state.replicas.contains(&id) {
                    if was_here {
                        local.deletes.push(DroppedReplica { topic, topic_id, partition });
                    }
                    continue;
                }
                let leads = state.leader == id;
                let local_partition = LocalPartition { topic, topic_id, partition, state, before };
                if leads { local.leads.push(local_partition) } else { local.follows.push(local_partition) }
            }
        }
        local
    }
}
