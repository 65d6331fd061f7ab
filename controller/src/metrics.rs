//! What the controller's thread counts and shows to others.
//!
//! Written by the controller's thread only. Values of one snapshot may be of slightly different moments.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use raft::{Node, RoleName};

/// The counters of one controller.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    is_active: AtomicBool,
    activations: AtomicU64,
    raft: Mutex<RaftSnapshot>,
    pub(crate) elections: Times,
    pub(crate) commits: Times,
    pub(crate) processing: Times,
    expired_sessions: AtomicU64,
    snapshot_offset: AtomicI64,
}

/// Durations of something that happened several times.
#[derive(Debug, Default)]
pub(crate) struct Times {
    count: AtomicU64,
    sum_ns: AtomicU64,
    max_ns: AtomicU64,
}

/// [`Times`] at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimesSnapshot {
    /// How often.
    pub count: u64,
    /// All together.
    pub sum: Duration,
    /// The longest.
    pub max: Duration,
}

/// The state of the Raft node as the controller's thread showed it last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RaftSnapshot {
    /// The role in the quorum, in Kafka's words.
    pub role: &'static str,
    /// The leader, where known.
    pub leader_id: Option<i32>,
    /// The epoch.
    pub epoch: i32,
    /// Offset below which records are committed; 0 while that is not known.
    pub high_watermark: i64,
    /// First offset of the log.
    pub log_start: i64,
    /// Next offset of the log.
    pub log_end: i64,
    /// Epoch of the last record.
    pub log_end_epoch: i32,
}

/// Everything that the controller counts, at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ControllerSnapshot {
    /// This node decides.
    pub is_active: bool,
    /// How often it began to.
    pub activations: u64,
    /// The Raft node.
    pub raft: RaftSnapshot,
    /// Elections that this node stood in or waited for.
    pub elections: TimesSnapshot,
    /// From the append of records to their commit.
    pub commits: TimesSnapshot,
    /// Handling of events on the controller's thread.
    pub processing: TimesSnapshot,
    /// Brokers that were fenced because they were silent.
    pub expired_sessions: u64,
    /// End of the newest snapshot that this process wrote or loaded; 0 if none.
    pub snapshot_offset: i64,
}

impl Times {
    /// It happened once more.
    pub(crate) fn add(&self, time: Duration) {
        let ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.count.fetch_add(1, Ordering::Relaxed);
        self.sum_ns.fetch_add(ns, Ordering::Relaxed);
        self.max_ns.fetch_max(ns, Ordering::Relaxed);
    }

    fn snapshot(&self) -> TimesSnapshot {
        let ns = |value: &AtomicU64| Duration::from_nanos(value.load(Ordering::Relaxed));
        TimesSnapshot {
            count: self.count.load(Ordering::Relaxed),
            sum: ns(&self.sum_ns),
            max: ns(&self.max_ns),
        }
    }
}

impl RaftSnapshot {
    /// The state of a Raft node.
    pub(crate) fn of<L: raft::Log>(node: &Node<L>) -> Self {
        Self {
            role: role_name(node.role()),
            leader_id: node.leader_id(),
            epoch: node.epoch(),
            high_watermark: node.high_watermark().unwrap_or(0),
            log_start: node.log().log_start_offset(),
            log_end: node.log().log_end_offset(),
            log_end_epoch: node.log().last_epoch().unwrap_or(0),
        }
    }
}

/// As Kafka's `raft-metrics` call it.
fn role_name(role: RoleName) -> &'static str {
    match role {
        RoleName::Unattached => "unattached",
        RoleName::Prospective => "prospective",
        RoleName::Candidate => "candidate",
        RoleName::Leader => "leader",
        RoleName::Follower => "follower",
        RoleName::Resigned => "resigned",
    }
}

impl Metrics {
    /// This node begins or ceases to decide.
    pub(crate) fn set_active(&self, is_active: bool) {
        if !self.is_active.swap(is_active, Ordering::Relaxed) && is_active {
            self.activations.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Shows the state of the Raft node.
    pub(crate) fn set_raft(&self, raft: RaftSnapshot) {
        *self.raft.lock() = raft;
    }

    /// A broker is fenced because it was silent.
    pub(crate) fn session_expired(&self) {
        self.expired_sessions.fetch_add(1, Ordering::Relaxed);
    }

    /// A snapshot that ends here was written or loaded.
    pub(crate) fn set_snapshot_offset(&self, end_offset: i64) {
        self.snapshot_offset.store(end_offset, Ordering::Relaxed);
    }

    /// Everything at this moment.
    pub(crate) fn snapshot(&self) -> ControllerSnapshot {
        ControllerSnapshot {
            is_active: self.is_active.load(Ordering::Relaxed),
            activations: self.activations.load(Ordering::Relaxed),
            raft: *self.raft.lock(),
            elections: self.elections.snapshot(),
            commits: self.commits.snapshot(),
            processing: self.processing.snapshot(),
            expired_sessions: self.expired_sessions.load(Ordering::Relaxed),
            snapshot_offset: self.snapshot_offset.load(Ordering::Relaxed),
        }
    }
}
