//! A node's durable epoch never goes down, and between events it is the one that it acts in.

use std::collections::BTreeMap;

use super::super::cluster::Cluster;
use crate::quorum_state::QuorumState;

pub(super) fn note(epochs: &mut BTreeMap<i32, i32>, id: i32, state: &QuorumState) {
    let last = epochs.insert(id, state.leader_epoch).unwrap_or(0);
    assert!(last <= state.leader_epoch, "node {id} wrote epoch {} after {last}", state.leader_epoch);
}

pub(super) fn check(cluster: &Cluster) {
    for (id, replica) in &cluster.replicas {
        if let Some(node) = &replica.node {
            let durable = replica.quorum_state.as_ref().map_or(0, |state| state.leader_epoch);
            assert_eq!(durable, node.epoch(), "node {id} acts in an epoch that it did not write");
        }
    }
}
