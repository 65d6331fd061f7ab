//! What must hold of Raft nodes after every event: KIP-595's simulation, the TLA+ models of KIP-853 and KIP-996.

mod committed;
mod epochs;
mod high_watermark;
mod log_matching;
pub(crate) mod membership;
mod one_leader;
mod roles;
mod snapshots;

use std::collections::BTreeMap;

use raft::memory_log::MemoryLog;
use raft::{Log, Node, QuorumState, RoleName};

/// The dear checks are made after so many events.
const SELDOM: u64 = 50;

/// What the checks remember of the past.
#[derive(Default)]
pub(crate) struct Observed {
    pub(crate) dynamic: bool,
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
    pub(crate) fn new(dynamic: bool) -> Observed {
        Observed { dynamic, ..Observed::default() }
    }

    /// Everything that is committed ends here.
    pub(crate) fn committed_end(&self) -> i64 {
        self.chain.last_key_value().map_or(0, |(offset, _)| *offset)
    }

    pub(crate) fn committed(&mut self, id: i32, offset: i64, chain: u64) {
        committed::note(&mut self.chain, id, offset, chain);
    }

    pub(crate) fn persisted(&mut self, id: i32, state: &QuorumState) {
        epochs::note(&mut self.persisted_epochs, id, state);
        one_leader::note(&mut self.leaders, state.leader_epoch, state.leader_id);
    }

    /// What a process remembers is gone with it.
    pub(crate) fn started(&mut self, id: i32) {
        self.high_watermarks.remove(&id);
    }

    /// To be called after every event.
    pub(crate) fn check(&mut self, views: &[View<'_>]) {
        self.events += 1;
        epochs::check(views);
        one_leader::check(&mut self.leaders, views);
        high_watermark::check(self, views);
        roles::check(views);
        if self.events.is_multiple_of(SELDOM) {
            self.check_seldom(views);
        }
    }

    /// The dear checks, for the end of a run too.
    pub(crate) fn check_seldom(&self, views: &[View<'_>]) {
        snapshots::check(views);
        log_matching::check(views);
    }

    /// Whether the dear checks are due after this event.
    pub(crate) fn is_seldom(&self) -> bool {
        self.events.is_multiple_of(SELDOM)
    }
}

/// A node with its disk as the checks see it.
pub(crate) struct View<'a> {
    pub(crate) id: i32,
    pub(crate) can_be_voter: bool,
    pub(crate) durable_epoch: i32,
    pub(crate) log: &'a MemoryLog,
    /// `None` while the process is down.
    pub(crate) up: Option<UpView>,
}

/// A running node.
pub(crate) struct UpView {
    role: RoleName,
    epoch: i32,
    leader_id: Option<i32>,
    high_watermark: Option<i64>,
    /// What a leader tells of its high watermark; -1 for nothing.
    told_high_watermark: i64,
    voters: Vec<i32>,
}

impl UpView {
    pub(crate) fn of<L: Log>(node: &Node<L>) -> UpView {
        let leads = node.role() == RoleName::Leader;
        let quorum = if leads { node.describe_quorum() } else { None };
        UpView {
            role: node.role(),
            epoch: node.epoch(),
            leader_id: node.leader_id(),
            high_watermark: node.high_watermark(),
            told_high_watermark: quorum.map_or(-1, |quorum| quorum.high_watermark),
            voters: if leads { node.voters().ids().collect() } else { Vec::new() },
        }
    }
}
