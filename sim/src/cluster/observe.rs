//! What the invariants may look at.

use std::sync::Arc;

use broker::simulation::ReplicaState;
use metadata::MetadataImage;
use raft::QuorumState;
use raft::memory_log::MemoryLog;
use uuid::Uuid;

use super::broker_process::Key;
use super::data_log::DataLog;
use super::world::World;
use crate::invariants::quorum::{UpView, View};

impl World {
    /// The nodes of the quorum with its observers.
    pub(crate) fn quorum_views(&self) -> Vec<View<'_>> {
        let views = self.nodes.values().map(|node| View {
            id: node.id,
            can_be_voter: self.plan.controllers.contains(&node.id),
            durable_epoch: node.durable_epoch(),
            log: node.metadata_log(),
            up: node.process.as_ref().map(|process| UpView::of(process.machine.node())),
        });
        views.collect()
    }

    /// The metadata log of a running node with its high watermark.
    pub(crate) fn metadata_log(&self, id: i32) -> Option<(&MemoryLog, i64)> {
        let node = self.nodes[&id].process.as_ref()?.machine.node();
        Some((&node.log().log, node.high_watermark()?))
    }

    /// The election states that a node has written since the last call.
    pub(crate) fn written_states(&mut self, id: i32) -> Vec<QuorumState> {
        let Some(node) = self.nodes.get_mut(&id) else { return Vec::new() };
        let mut written = std::mem::take(&mut node.metadata_disk.written);
        if let Some(process) = &mut node.process {
            written.append(&mut process.machine.log_mut().written);
        }
        written
    }

    /// The committed metadata that a running node knows.
    pub(crate) fn image(&self, id: i32) -> Option<Arc<MetadataImage>> {
        Some(self.nodes[&id].process.as_ref()?.machine.image())
    }

    /// The replicas of a running broker.
    pub(crate) fn replicas(&self, id: i32) -> Vec<(Key, ReplicaState)> {
        let broker = self.nodes[&id].process.as_ref().and_then(|process| process.broker.as_ref());
        broker.map_or_else(Vec::new, |broker| {
            broker.replicas.iter().map(|(key, replica)| (*key, replica.state())).collect()
        })
    }

    /// States that the replicas of a running broker went through since the last call, in order.
    pub(crate) fn passed_replicas(&mut self, id: i32) -> Vec<(Key, ReplicaState)> {
        let process = self.nodes.get_mut(&id).and_then(|node| node.process.as_mut());
        let broker = process.and_then(|process| process.broker.as_mut());
        broker.map_or_else(Vec::new, |broker| std::mem::take(&mut broker.passed))
    }

    /// Looks at the log of a replica, on a running broker or on the disk.
    pub(crate) fn with_data_log<T>(&self, id: i32, key: Key, f: impl FnOnce(&mut DataLog) -> T) -> Option<T> {
        let node = &self.nodes[&id];
        let broker = node.process.as_ref().and_then(|process| process.broker.as_ref());
        match broker.and_then(|broker| broker.replicas.get(&key)) {
            Some(replica) => Some(replica.with_log(f)),
            None => node.broker_disk.logs.get(&key).map(|log| f(&mut log.clone())),
        }
    }

    /// Where a log has changed since the last call, on a running broker or on the disk.
    pub(crate) fn changed_from(&mut self, id: i32, key: Key) -> Option<i64> {
        let node = self.nodes.get_mut(&id)?;
        let on_disk = node.broker_disk.logs.get_mut(&key).and_then(|log| log.changed_from.take());
        let broker = node.process.as_ref().and_then(|process| process.broker.as_ref());
        let replica = broker.and_then(|broker| broker.replicas.get(&key));
        replica.and_then(|replica| replica.with_log(|log| log.changed_from.take())).or(on_disk)
    }

    /// Whether the broker may lack what it had, and no controller knows yet.
    pub(crate) fn may_have_lost(&self, id: i32, image: &MetadataImage) -> bool {
        let node = &self.nodes[&id];
        let registered = image.cluster.broker(id).map(|broker| broker.incarnation_id);
        let is_unheard = node.process.is_none() || registered != Some(incarnation(id, node.life));
        self.plan.power_losses && node.unclean && is_unheard
    }

    /// All processes.
    pub(crate) fn node_ids(&self) -> Vec<i32> {
        self.ids()
    }
}

/// The incarnation of a broker in a life of its process.
pub(crate) fn incarnation(id: i32, life: u64) -> Uuid {
    Uuid::from_u128((id as u128) << 64 | u128::from(life))
}
