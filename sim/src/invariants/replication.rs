//! What must hold of the replicas, the controllers and what clients are told, after every event.
//!
//! The invariants are those of the replication model of Kafka 3.5 and of KIP-966, under their names.

mod acknowledged;
mod agreement;
mod candidate_completeness;
mod committed;
mod consistent_read;
mod eligible_replicas;
mod fenced_members;
mod high_watermark;
mod leader_completeness;
mod log_matching;
mod metadata_log;
mod one_leader;
mod quorum_superset;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use broker::simulation::ReplicaState;
use metadata::MetadataImage;
use metadata::partition::PartitionRegistration;

use super::quorum;
use crate::cluster::{Key, World, incarnation};

/// A record as a log holds it: leader epoch, and what the client wrote.
type Held = (i32, u64);

/// A replica when it was looked at last.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    high_watermark: i64,
    leader_epoch: i32,
    leads: bool,
    /// Members of the ISR.
    in_sync: usize,
}

/// What the checks remember of the past.
#[derive(Default)]
pub(crate) struct Observed {
    /// Nodes that the last events were about.
    pub(crate) touched: BTreeSet<i32>,
    min_isr: usize,
    quorum: quorum::Observed,
    /// The newest committed metadata that any node knew.
    image: Arc<MetadataImage>,
    topic: Option<&'static str>,
    /// All that was ever committed, by offset.
    committed: BTreeMap<Key, Vec<Held>>,
    /// Each replica when it was looked at last.
    seen: BTreeMap<(i32, Key), Seen>,
    leaders: BTreeMap<(Key, i32), i32>,
    /// Every record that was ever at an offset in an epoch, with the epoch before it.
    written: HashMap<(Key, i64, i32), (u64, i32)>,
    /// High watermark of the metadata of each node.
    metadata_marks: BTreeMap<i32, i64>,
}

impl Observed {
    pub(crate) fn new(min_isr: usize) -> Observed {
        Observed { min_isr, ..Observed::default() }
    }

    /// A process has started: what it remembered is gone.
    pub(crate) fn started(&mut self, id: i32) {
        self.quorum.started(id);
        self.metadata_marks.remove(&id);
        self.seen.retain(|(node, _), _| *node != id);
        self.touched.insert(id);
    }

    /// To be called after every event.
    pub(crate) fn check(&mut self, world: &mut World) {
        let touched = std::mem::take(&mut self.touched);
        let mut is_news = false;
        for id in &touched {
            for state in world.written_states(*id) {
                self.quorum.persisted(*id, &state);
            }
            metadata_log::check(self, world, *id);
            is_news |= self.learn_image(world, *id);
        }
        if !touched.is_empty() {
            self.quorum.check(&world.quorum_views());
        }
        for id in &touched {
            is_news |= self.check_logs(world, *id);
            for (key, state) in world.passed_replicas(*id).into_iter().chain(world.replicas(*id)) {
                is_news |= self.check_replica(world, *id, key, &state);
            }
        }
        if is_news {
            self.check_registrations(world);
        }
    }

    fn learn_image(&mut self, world: &World, id: i32) -> bool {
        let Some(image) = world.image(id) else { return false };
        if image.provenance.last_offset <= self.image.provenance.last_offset {
            return false;
        }
        let before = std::mem::replace(&mut self.image, image);
        for (key, now) in self.registrations() {
            let was = before.topics.by_id(key.0).and_then(|topic| topic.partition(key.1));
            if was != Some(now) {
                world.note(|| format!("{} is {now:?}", key.1));
            }
        }
        true
    }

    /// What was appended or cut off; true if something was cut off.
    fn check_logs(&mut self, world: &mut World, id: i32) -> bool {
        let mut is_cut = false;
        for key in self.committed.keys().copied().chain(self.keys()).collect::<BTreeSet<_>>() {
            if let Some(from) = world.changed_from(id, key) {
                log_matching::check(&mut self.written, world, id, key, from);
                is_cut = true;
            }
        }
        is_cut
    }

    /// One replica; true if more is committed than before.
    fn check_replica(&mut self, world: &World, id: i32, key: Key, state: &ReplicaState) -> bool {
        if state.leads {
            one_leader::note(&mut self.leaders, key, state.leader_epoch, id);
        }
        let now = Seen {
            high_watermark: state.high_watermark,
            leader_epoch: state.leader_epoch,
            leads: state.leads,
            in_sync: state.isr.len(),
        };
        let before = self.seen.insert((id, key), now);
        high_watermark::check(id, state, before);
        let registration = self.registration(key).cloned();
        if let Some(registration) = registration.filter(|r| r.leader == id && state.leads)
            && registration.leader_epoch == state.leader_epoch
        {
            let committed = self.committed.get(&key).map_or(&[][..], Vec::as_slice);
            if before.is_none_or(|before| before.leader_epoch != state.leader_epoch) {
                leader_completeness::check(world, id, key, committed);
            }
            quorum_superset::check(id, key, state, &registration);
        }
        let before = before.unwrap_or_default();
        before.high_watermark < state.high_watermark && committed::extend(self, world, id, key, before, state)
    }

    /// What the newest metadata says of each partition.
    fn check_registrations(&self, world: &World) {
        for (key, registration) in self.registrations() {
            let committed = self.committed.get(&key).map_or(&[][..], Vec::as_slice);
            candidate_completeness::check(world, &self.image, key, registration, committed);
            eligible_replicas::check(key, registration, self.min_isr);
            fenced_members::check(&self.image, key, registration);
        }
    }

    fn registrations(&self) -> impl Iterator<Item = (Key, &PartitionRegistration)> {
        self.image.topics.iter().flat_map(|topic| {
            topic.partitions.iter().map(|(index, partition)| ((topic.id, *index), &**partition))
        })
    }

    fn registration(&self, key: Key) -> Option<&PartitionRegistration> {
        self.image.topics.by_id(key.0)?.partition(key.1)
    }

    fn keys(&self) -> Vec<Key> {
        self.registrations().map(|(key, _)| key).collect()
    }

    /// The newest committed metadata.
    pub(crate) fn image(&self) -> &MetadataImage {
        &self.image
    }

    /// A producer was told that its record is committed at `offset`.
    pub(crate) fn acknowledged(&self, key: Key, offset: i64, record: u64) {
        acknowledged::check(self.committed.get(&key), key, offset, record);
    }

    /// A consumer was given a record where it expected `offset`.
    pub(crate) fn consumed(&self, key: Key, offset: i64, header: &protocol::batch::BatchHeader, record: u64) {
        let held = (header.partition_leader_epoch, record);
        assert_eq!(header.base_offset, offset, "{key:?}: a consumer got another offset than the next");
        consistent_read::check(self.committed.get(&key), key, offset, held);
    }

    /// The administrator was told that the topic is there.
    pub(crate) fn topic_created(&mut self, topic: &'static str) {
        self.topic = Some(topic);
        assert!(self.image.topics.by_name(topic).is_some(), "a topic was acknowledged that is not committed");
    }

    /// The brokers that are unfenced and in sync for all that they have.
    pub(crate) fn brokers_in_sync(&self) -> BTreeSet<i32> {
        let in_sync = |id: &i32| {
            self.registrations().all(|(_, r)| !r.replicas.contains(id) || r.isr.contains(id))
                && self.image.cluster.broker(*id).is_some_and(|broker| broker.is_active())
        };
        self.image.cluster.brokers.keys().copied().filter(in_sync).collect()
    }

    /// Whether this life of a broker is registered.
    pub(crate) fn is_registered(&self, id: i32, life: u64) -> bool {
        let registered = self.image.cluster.broker(id).map(|broker| broker.incarnation_id);
        registered == Some(incarnation(id, life))
    }

    /// Whether every partition has a leader and all its replicas in sync.
    pub(crate) fn all_in_sync(&self, topic: &str) -> bool {
        let Some(topic) = self.image.topics.by_name(topic) else { return false };
        topic.partitions.values().all(|partition| {
            let is_moving = !partition.adding_replicas.is_empty() || !partition.removing_replicas.is_empty();
            partition.leader >= 0 && partition.isr.len() == partition.replicas.len() && !is_moving
        })
    }

    /// The partitions as the newest metadata has them.
    pub(crate) fn describe(&self, topic: &str) -> String {
        format!("{:?}", self.image.topics.by_name(topic).map(|topic| &topic.partitions))
    }

    /// Whether all replicas of all partitions hold what is committed and nothing else, and all nodes know the same.
    pub(crate) fn agree(&self, world: &World) -> bool {
        agreement::is_reached(world, &self.image, self.registrations(), &self.committed)
    }

    /// What is left for the end of a run.
    pub(crate) fn check_at_end(&self, world: &World) {
        self.quorum.check_seldom(&world.quorum_views());
        agreement::check_images(world, &self.image);
        agreement::check_once(&self.committed);
        let topic = self.topic.and_then(|topic| self.image.topics.by_name(topic));
        assert!(topic.is_some(), "a topic that was acknowledged is gone");
    }
}
