//! At most one leader per epoch, over all that was ever written or believed: NeverTwoLeadersInSameEpoch.

use std::collections::BTreeMap;

use super::super::cluster::Cluster;

pub(super) fn note(leaders: &mut BTreeMap<i32, i32>, epoch: i32, leader_id: Option<i32>) {
    if let Some(leader_id) = leader_id {
        let known = *leaders.entry(epoch).or_insert(leader_id);
        assert_eq!(known, leader_id, "two leaders in epoch {epoch}");
    }
}

pub(super) fn check(leaders: &mut BTreeMap<i32, i32>, cluster: &Cluster) {
    for node in cluster.replicas.values().filter_map(|replica| replica.node.as_ref()) {
        note(leaders, node.epoch(), node.leader_id());
    }
}
