//! A node's durable epoch never goes down, and between events it is the one that it acts in.
//!
//! Source: `RaftEventSimulationTest.MonotonicEpoch`.

use std::collections::BTreeMap;

use raft::QuorumState;

use super::View;

pub(super) fn note(epochs: &mut BTreeMap<i32, i32>, id: i32, state: &QuorumState) {
    let last = epochs.insert(id, state.leader_epoch).unwrap_or(0);
    assert!(last <= state.leader_epoch, "node {id} wrote epoch {} after {last}", state.leader_epoch);
}

pub(super) fn check(views: &[View<'_>]) {
    for view in views {
        if let Some(up) = &view.up {
            assert_eq!(
                view.durable_epoch, up.epoch,
                "node {} acts in an epoch that it did not write",
                view.id
            );
        }
    }
}
