//! The states of a node and what each of them knows.

use std::collections::{BTreeMap, BTreeSet};

use super::leader::Leader;
use crate::replica::{Endpoint, OffsetAndEpoch, ReplicaKey};
use crate::snapshot::SnapshotCheck;

/// The state of a node without its contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RoleName {
    /// Knows no leader that it could reach.
    Unattached,
    /// Asks whether it would win an election (KIP-996).
    Prospective,
    /// Stands for election.
    Candidate,
    /// Leads the epoch.
    Leader,
    /// Fetches from the leader.
    Follower,
    /// Led the epoch and gave up.
    Resigned,
}

#[derive(Debug)]
pub(super) enum Role {
    Unattached(Unattached),
    Prospective(Nominee),
    Candidate(Nominee),
    Leader(Box<Leader>),
    Follower(Follower),
    Resigned(Resigned),
}

#[derive(Debug)]
pub(super) struct Unattached {
    /// A leader whose endpoint is not known, or this node itself after it resigned.
    pub(super) leader_id: Option<i32>,
    pub(super) election_deadline: i64,
}

/// Prospective (before the epoch is raised) or candidate (after).
#[derive(Debug)]
pub(super) struct Nominee {
    /// Only of a prospective: the leader of the epoch, to go back to when the others still follow it. Without
    /// endpoints when they are not known or when it is this node itself.
    pub(super) leader: Option<LeaderAddress>,
    /// The voters when the election started, with their answers.
    pub(super) ballots: BTreeMap<i32, Option<bool>>,
    /// Voters whose connection was refused or lost, whether or not they are asked again.
    pub(super) unreachable: BTreeSet<i32>,
    pub(super) election_deadline: i64,
}

impl Nominee {
    pub(super) fn granted(&self) -> usize {
        self.ballots.values().filter(|ballot| **ballot == Some(true)).count()
    }

    pub(super) fn has_won(&self) -> bool {
        self.granted() > self.ballots.len() / 2
    }

    /// Whether the votes that may still come are not enough. Once somebody has refused, those that cannot be reached
    /// are not waited for; before, they may just be about to start.
    pub(super) fn has_lost(&self) -> bool {
        let refused = self.ballots.values().filter(|ballot| **ballot == Some(false)).count();
        let absent = |(id, ballot): &(&i32, &Option<bool>)| ballot.is_none() && self.unreachable.contains(id);
        let absent = if refused > 0 { self.ballots.iter().filter(absent).count() } else { 0 };
        self.ballots.len() - refused - absent <= self.ballots.len() / 2
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct LeaderAddress {
    pub(super) id: i32,
    pub(super) endpoints: Vec<Endpoint>,
}

#[derive(Debug)]
pub(super) struct Follower {
    pub(super) leader: LeaderAddress,
    pub(super) fetch_deadline: i64,
    /// Whether this leader has answered a Fetch: from then on pre-votes are refused.
    pub(super) has_fetched: bool,
    /// Connections to this leader that were lost or refused one after the other.
    pub(super) lost: u32,
    pub(super) download: Option<Download>,
    /// When to tell the leader of changed listeners, should they differ from the voter set.
    pub(super) update_voter_deadline: i64,
    /// At kraft.version 0: whether this leader has been told.
    pub(super) has_told: bool,
}

/// A snapshot that is being fetched.
#[derive(Debug)]
pub(super) struct Download {
    pub(super) id: OffsetAndEpoch,
    pub(super) position: u64,
    pub(super) check: SnapshotCheck,
}

impl Download {
    pub(super) fn new(id: OffsetAndEpoch) -> Self {
        Download { id, position: 0, check: SnapshotCheck::default() }
    }
}

#[derive(Debug)]
pub(super) struct Resigned {
    pub(super) unacknowledged: BTreeSet<i32>,
    pub(super) preferred: Vec<ReplicaKey>,
    pub(super) election_deadline: i64,
}

impl Role {
    pub(super) fn name(&self) -> RoleName {
        match self {
            Role::Unattached(_) => RoleName::Unattached,
            Role::Prospective(_) => RoleName::Prospective,
            Role::Candidate(_) => RoleName::Candidate,
            Role::Leader(_) => RoleName::Leader,
            Role::Follower(_) => RoleName::Follower,
            Role::Resigned(_) => RoleName::Resigned,
        }
    }

    /// The leader of the epoch as far as this state knows; `own` when it is or was this node.
    pub(super) fn leader_id(&self, own: i32) -> Option<i32> {
        match self {
            Role::Unattached(state) => state.leader_id,
            Role::Prospective(state) => state.leader.as_ref().map(|leader| leader.id),
            Role::Candidate(_) => None,
            Role::Leader(_) | Role::Resigned(_) => Some(own),
            Role::Follower(state) => Some(state.leader.id),
        }
    }

    /// Endpoints that the leader itself told; empty when it told none.
    pub(super) fn leader_endpoints(&self) -> &[Endpoint] {
        match self {
            Role::Prospective(state) => state.leader.as_ref().map_or(&[], |leader| &leader.endpoints),
            Role::Follower(state) => &state.leader.endpoints,
            Role::Unattached(_) | Role::Candidate(_) | Role::Leader(_) | Role::Resigned(_) => &[],
        }
    }
}
