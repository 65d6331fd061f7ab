//! What is on its way to whom: at most one request per peer, with timeout and backoff.

use std::collections::BTreeMap;

use crate::effect::Peer;
use crate::replica::{OffsetAndEpoch, ReplicaKey};

/// What a request was about, as far as its response needs it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Sent {
    Vote { pre_vote: bool },
    BeginQuorumEpoch,
    EndQuorumEpoch,
    Fetch { offset: i64 },
    FetchSnapshot { id: OffsetAndEpoch, position: u64 },
    UpdateVoter,
    KRaftVersions { voter: ReplicaKey },
}

impl Sent {
    fn is_fetch(&self) -> bool {
        matches!(self, Sent::Fetch { .. } | Sent::FetchSnapshot { .. })
    }
}

/// All connections. Forgotten as a whole when the node's state changes: answers from before are then ignored.
#[derive(Debug, Default)]
pub(super) struct Connections {
    peers: BTreeMap<Peer, Connection>,
    next_id: u64,
}

#[derive(Debug, Default)]
struct Connection {
    in_flight: Option<InFlight>,
    backoff_until: i64,
}

#[derive(Debug)]
struct InFlight {
    id: u64,
    sent: Sent,
    deadline: i64,
}

impl Connections {
    /// Whether a request may go to `peer` now.
    pub(super) fn is_ready(&self, peer: Peer, now_ms: i64) -> bool {
        self.peers
            .get(&peer)
            .is_none_or(|connection| connection.in_flight.is_none() && connection.backoff_until <= now_ms)
    }

    /// Whether the last request to `peer` failed a moment ago.
    pub(super) fn is_backing_off(&self, peer: Peer, now_ms: i64) -> bool {
        self.peers.get(&peer).is_some_and(|connection| connection.backoff_until > now_ms)
    }

    /// Whether a Fetch or FetchSnapshot is on its way: there is never more than one.
    pub(super) fn is_fetching(&self) -> bool {
        self.peers.values().any(|peer| peer.in_flight.as_ref().is_some_and(|request| request.sent.is_fetch()))
    }

    /// Notes a request to a peer that is ready; gives the id for it.
    pub(super) fn start(&mut self, peer: Peer, sent: Sent, deadline: i64) -> u64 {
        self.next_id += 1;
        let connection = self.peers.entry(peer).or_default();
        connection.in_flight = Some(InFlight { id: self.next_id, sent, deadline });
        self.next_id
    }

    /// Takes the request that an answer belongs to; `None` for one that is no longer waited for.
    pub(super) fn finish(&mut self, id: u64) -> Option<(Peer, Sent)> {
        self.peers.iter_mut().find_map(|(peer, connection)| {
            let request = connection.in_flight.take_if(|request| request.id == id)?;
            Some((*peer, request.sent))
        })
    }

    /// Lets `peer` rest until then.
    pub(super) fn back_off(&mut self, peer: Peer, until: i64) {
        self.peers.entry(peer).or_default().backoff_until = until;
    }

    /// Gives up on requests without an answer in time.
    pub(super) fn expire(&mut self, now_ms: i64, backoff_ms: i64) {
        for connection in self.peers.values_mut() {
            if connection.in_flight.take_if(|request| request.deadline <= now_ms).is_some() {
                connection.backoff_until = now_ms + backoff_ms;
            }
        }
    }

    /// Forgets what is on its way. Ids go on, so that no late answer is taken for another.
    pub(super) fn reset(&mut self) {
        self.peers.clear();
    }

    pub(super) fn next_deadline(&self, now_ms: i64) -> i64 {
        let times = self.peers.values().map(|connection| match &connection.in_flight {
            Some(request) => request.deadline,
            None if connection.backoff_until > now_ms => connection.backoff_until,
            None => i64::MAX,
        });
        times.min().unwrap_or(i64::MAX)
    }
}
