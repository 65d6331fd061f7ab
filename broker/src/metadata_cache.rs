//! What the broker knows of the cluster: the newest image that it has applied.
//!
//! Readers load one snapshot per request; the applier stores a new one after the replicas follow it, so that
//! whoever sees a topic here can produce to it.

use std::sync::Arc;

use arc_swap::ArcSwap;
use metadata::image::{BrokerRegistration, MetadataImage};
use tokio::sync::watch;
use uuid::Uuid;

/// Topic of the group coordinator.
pub(crate) const GROUP_METADATA_TOPIC: &str = "__consumer_offsets";
/// Topic of the transaction coordinator.
pub(crate) const TRANSACTION_STATE_TOPIC: &str = "__transaction_state";
/// Topic of the share coordinator.
const SHARE_STATE_TOPIC: &str = "__share_group_state";

/// Whether clients may not write to the topic.
pub(crate) fn is_internal(topic: &str) -> bool {
    [GROUP_METADATA_TOPIC, TRANSACTION_STATE_TOPIC, SHARE_STATE_TOPIC].contains(&topic)
}

/// The leader of a partition, for hints in answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LeaderHint {
    pub(crate) id: i32,
    pub(crate) epoch: i32,
}

/// The applied image.
pub(crate) struct MetadataCache {
    image: ArcSwap<MetadataImage>,
    applied: watch::Sender<i64>,
}

impl MetadataCache {
    pub(crate) fn new() -> Self {
        Self { image: ArcSwap::from_pointee(MetadataImage::empty()), applied: watch::Sender::new(-1) }
    }

    /// The image of this moment.
    pub(crate) fn image(&self) -> Arc<MetadataImage> {
        self.image.load_full()
    }

    /// Publishes an image that the replicas follow already.
    pub(crate) fn publish(&self, image: Arc<MetadataImage>) {
        let offset = image.provenance.last_offset;
        self.image.store(image);
        self.applied.send_replace(offset);
    }

    /// Tells when the metadata changes.
    pub(crate) fn changed(&self) -> watch::Receiver<i64> {
        self.applied.subscribe()
    }

    /// Last metadata offset that is applied.
    pub(crate) fn applied_offset(&self) -> i64 {
        *self.applied.borrow()
    }

    /// Waits until everything up to `offset` is applied here.
    pub(crate) async fn wait_for(&self, offset: i64) {
        // The sender lives as long as `self`, so the only outcome is that the offset was reached.
        let _ = self.applied.subscribe().wait_for(|applied| *applied >= offset).await;
    }

    /// Waits until the applied image is as `is_so` wants it.
    pub(crate) async fn wait_until(&self, is_so: impl Fn(&MetadataImage) -> bool) {
        // The sender lives as long as `self`, so the only outcome is that the image is so.
        let _ = self.applied.subscribe().wait_for(|_| is_so(&self.image.load())).await;
    }

    /// The leader of a partition named by topic name or id.
    pub(crate) fn leader_of(
        &self,
        name: Option<&str>,
        id: Option<Uuid>,
        partition: i32,
    ) -> Option<LeaderHint> {
        let image = self.image.load();
        let topic = match (name, id) {
            (Some(name), _) => image.topics.by_name(name)?,
            (None, Some(id)) => image.topics.by_id(id)?,
            (None, None) => return None,
        };
        let registration = topic.partition(partition)?;
        (registration.leader >= 0)
            .then_some(LeaderHint { id: registration.leader, epoch: registration.leader_epoch })
    }

    /// Whether a replica on broker `id` may join an ISR: registered in that epoch (-1 is not checked), unfenced and
    /// not leaving (KIP-841, KIP-903).
    pub(crate) fn may_join_isr(&self, id: i32, epoch: i64) -> bool {
        let image = self.image.load();
        image
            .cluster
            .broker(id)
            .is_some_and(|broker| broker.is_active() && (epoch == -1 || broker.epoch == epoch))
    }

    /// Whether broker `id` serves clients and is in that rack.
    pub(crate) fn is_in_rack(&self, id: i32, rack: &str) -> bool {
        let image = self.image.load();
        image.cluster.broker(id).is_some_and(|broker| !broker.fenced && broker.rack.as_deref() == Some(rack))
    }

    /// Brokers that clients may be sent to: those that are not fenced.
    pub(crate) fn alive(image: &MetadataImage) -> impl Iterator<Item = &Arc<BrokerRegistration>> {
        image.cluster.brokers.values().filter(|broker| !broker.fenced)
    }
}
