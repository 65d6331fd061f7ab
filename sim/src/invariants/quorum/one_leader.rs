//! At most one leader per epoch, over all that was ever written or believed.
//!
//! Source: NeverTwoLeadersInSameEpoch of the model of KIP-853; `RaftEventSimulationTest.SingleLeader`.

use std::collections::BTreeMap;

use super::View;

pub(super) fn note(leaders: &mut BTreeMap<i32, i32>, epoch: i32, leader_id: Option<i32>) {
    if let Some(leader_id) = leader_id {
        let known = *leaders.entry(epoch).or_insert(leader_id);
        assert_eq!(known, leader_id, "two leaders in epoch {epoch}");
    }
}

pub(super) fn check(leaders: &mut BTreeMap<i32, i32>, views: &[View<'_>]) {
    for up in views.iter().filter_map(|view| view.up.as_ref()) {
        note(leaders, up.epoch, up.leader_id);
    }
}
