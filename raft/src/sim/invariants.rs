//! What must hold after every event: KIP-595's simulation, the TLA+ models of KIP-853 and KIP-996.

mod committed;
mod epochs;
mod high_watermark;
mod log_matching;
mod membership;
mod one_leader;
mod roles;
mod snapshots;

use std::collections::BTreeMap;

use super::cluster::Cluster;
use crate::quorum_state::QuorumState;

/// The dear checks are made after so many events.
const SELDOM: u64 = 50;

/// What the checks remember of the past.
#[derive(Default)]
pub(super) struct Observed {
    pub(super) dynamic: bool,
    events: u64,
    /// Hash of all that is committed below each batch boundary.
    chain: BTreeMap<i64, u64>,
    /// The leader of each epoch, as anyone ever had it on disk or in memory.
    leaders: BTreeMap<i32, i32>,
    persisted_epochs: BTreeMap<i32, i32>,
    high_watermarks: BTreeMap<i32, i64>,
    /// Highest epoch whose leader knew a high watermark, and that.
    leader_high_watermark: (i32, i64),
}

impl Observed {
    pub(super) fn new(dynamic: bool) -> Observed {
        Observed { dynamic, ..Observed::default() }
    }

    /// Everything that is committed ends here.
    pub(super) fn committed_end(&self) -> i64 {
        self.chain.last_key_value().map_or(0, |(offset, _)| *offset)
    }

    pub(super) fn committed(&mut self, id: i32, offset: i64, chain: u64) {
        committed::note(&mut self.chain, id, offset, chain);
    }

    pub(super) fn persisted(&mut self, id: i32, state: &QuorumState) {
        epochs::note(&mut self.persisted_epochs, id, state);
        one_leader::note(&mut self.leaders, state.leader_epoch, state.leader_id);
    }

    /// What a process remembers is gone with it.
    pub(super) fn started(&mut self, id: i32) {
        self.high_watermarks.remove(&id);
    }

    pub(super) fn check(cluster: &mut Cluster) {
        let mut observed = std::mem::take(&mut cluster.observed);
        observed.events += 1;
        epochs::check(cluster);
        one_leader::check(&mut observed.leaders, cluster);
        high_watermark::check(&mut observed, cluster);
        roles::check(cluster);
        if observed.events.is_multiple_of(SELDOM) {
            snapshots::check(cluster);
            log_matching::check(cluster);
            membership::check(cluster);
        }
        cluster.observed = observed;
    }

    /// The dear checks, at the end of a run.
    pub(super) fn check_all(cluster: &mut Cluster) {
        Observed::check(cluster);
        snapshots::check(cluster);
        log_matching::check(cluster);
        membership::check(cluster);
    }
}
