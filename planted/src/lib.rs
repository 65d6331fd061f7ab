//! Bugs that the simulation plants in the running code, to show that it would find them.
//!
//! A crate that has a place for one depends on this crate only with its feature `planted-bugs`, and the place is compiled
//! only then. One bug at a time is in force, on one thread.

use std::cell::Cell;

thread_local! {
    static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
}

/// Plants a bug on this thread, or takes it out.
pub fn plant(bug: Option<Bug>) {
    PLANTED.set(bug);
}

/// Whether this bug is planted.
pub fn is(bug: Bug) -> bool {
    PLANTED.get() == Some(bug)
}

macro_rules! bugs {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal,)+) => {
        /// What may be wrong.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Bug {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Bug {
            /// All of them.
            pub const ALL: &[Bug] = &[$(Bug::$name,)+];

            /// The name on the command line.
            pub fn name(self) -> &'static str {
                match self { $(Bug::$name => $text,)+ }
            }
        }
    };
}

bugs! {
    /// A vote is granted to whoever asks, whatever its log has.
    VoteWithoutLogCheck = "vote-without-log-check",
    /// A leader counts replicas for entries of earlier epochs before one of its own is on a majority.
    EarlierEpochCommitted = "earlier-epoch-committed",
    /// A leader's high watermark is the largest end that any voter has, not the one that a majority has.
    MinorityCommits = "minority-commits",
    /// Requests and answers leave before the metadata log is on the disk.
    MetadataNotSynced = "metadata-not-synced",
    /// After a failed write of the metadata log or the election state the node goes on with what depends on it.
    FailedWriteForgotten = "failed-write-forgotten",
    /// Requests are answered when they are decided, not when that is committed.
    AnswerBeforeCommit = "answer-before-commit",
    /// A leader may be elected from outside ISR and ELR.
    UncleanElection = "unclean-election",
    /// Any active broker's replica counts as in sync in an election, though its data is behind: fencing is not looked at.
    FencedLeader = "fenced-leader",
    /// A broker that restarts unclean stays in the ISR and the ELR.
    UncleanRestartForgiven = "unclean-restart-forgiven",
    /// The partition epoch and leader epoch of an AlterPartition are not looked at.
    StaleAlterPartition = "stale-alter-partition",
    /// A new leader does not get a new leader epoch.
    LeaderEpochKept = "leader-epoch-kept",
    /// A fenced broker stays in the ISR.
    FencedStaysInIsr = "fenced-stays-in-isr",
    /// A follower earns its place in the ISR before it has what is committed.
    EarlyIsrExpansion = "early-isr-expansion",
    /// The high watermark does not wait for the replicas that are proposed for the ISR or about to be.
    MinimalIsrCommits = "minimal-isr-commits",
    /// The high watermark does not wait for the slowest member of the ISR.
    HighWatermarkPastIsr = "high-watermark-past-isr",
    /// The high watermark goes on while the ISR is below `min.insync.replicas`.
    CommitBelowMinIsr = "commit-below-min-isr",
    /// A broker that starts makes its replicas what old metadata says before what the newest says.
    StaleStart = "stale-start",
    /// A follower truncates to its high watermark when the leader changes (before KIP-101).
    TruncateToHighWatermark = "truncate-to-high-watermark",
    /// A leader does not compare the epochs of a follower's log with its own.
    NoDivergingEpoch = "no-diverging-epoch",
    /// The answer to an ISR that a leader proposed earlier takes back the one that it has proposed since.
    StaleIsrAnswer = "stale-isr-answer",
    /// A leader takes itself for the leader for ever: it does not give up when the metadata names another.
    LeaderForEver = "leader-for-ever",
    /// acks=all is answered as soon as the leader has appended.
    AckAtAppend = "ack-at-append",
    /// Consumers may read beyond the high watermark.
    UncommittedRead = "uncommitted-read",
    /// A follower takes over the leader's high watermark though its log does not reach it, and reads it to consumers.
    HighWatermarkBeyondLog = "high-watermark-beyond-log",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_bug_at_a_time() {
        assert!(!is(Bug::StaleIsrAnswer));
        plant(Some(Bug::StaleIsrAnswer));
        assert!(is(Bug::StaleIsrAnswer) && !is(Bug::AckAtAppend));
        plant(None);
        assert!(Bug::ALL.iter().all(|bug| !is(*bug)));
    }
}
