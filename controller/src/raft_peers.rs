//! The Raft node's connections to its peers: one each, with one request on its way at most.
//!
//!   Effect::Send ─▶ slot of the peer ─▶ task: connect, encode, wait ─▶ queue of answers ─▶ Input::Response
//!
//! A request that comes while another is on its way takes its place: the Raft node has given up on that one, and the
//! connection, which would answer it first, is opened anew. The node's own retries decide what is sent again; here are
//! only the pauses between attempts to connect.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use net::client::{Backoff, ClientError, ClientLimits, Connection};
use protocol::features::KRAFT_VERSION;
use raft::message::{Request, Response};
use raft::{Address, Peer, SendError};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::api::{begin_quorum_epoch, end_quorum_epoch, fetch, fetch_snapshot, raft_voters, vote};
use crate::store::kraft::Peers;

/// Pauses between attempts to connect. Longer ones would only add to the time without a leader.
const RECONNECT_MIN: Duration = Duration::from_millis(20);
const RECONNECT_MAX: Duration = Duration::from_millis(200);
/// Answers that may wait for the Raft node: one for each peer, in practice.
const ANSWERS: usize = 64;

/// A request on its way.
#[derive(Clone, Debug)]
struct Outgoing {
    id: u64,
    address: Address,
    request: Request,
}

/// What became of a request: its id, and the answer.
pub(crate) type Answered = (u64, Result<Response, SendError>);

/// All peers.
#[derive(Debug)]
pub(crate) struct RaftPeers {
    limits: Arc<ClientLimits>,
    listener: Arc<str>,
    slots: HashMap<Peer, watch::Sender<Option<Outgoing>>>,
    answers: mpsc::Sender<Answered>,
    answered: mpsc::Receiver<Answered>,
}

impl RaftPeers {
    /// No connection yet. `listener` is the one on which peers are reached.
    pub(crate) fn new(
        node_id: i32,
        listener: &str,
        request_timeout: Duration,
        response_bytes: usize,
    ) -> Self {
        let limits = ClientLimits {
            client_id: format!("raft-client-{node_id}"),
            connect_timeout: request_timeout,
            request_timeout,
            response_bytes,
        };
        let (answers, answered) = mpsc::channel(ANSWERS);
        Self { limits: Arc::new(limits), listener: listener.into(), slots: HashMap::new(), answers, answered }
    }
}

impl Peers for RaftPeers {
    /// To be called within a tokio runtime, which does the work.
    fn send(&mut self, id: u64, to: Peer, address: Address, request: Request) {
        let (limits, listener, answers) = (&self.limits, &self.listener, &self.answers);
        let slot = self.slots.entry(to).or_insert_with(|| {
            let (slot, requests) = watch::channel(None);
            let link = Link::new(limits.clone(), listener.clone());
            tokio::spawn(serve(link, requests, answers.clone()));
            slot
        });
        slot.send_replace(Some(Outgoing { id, address, request }));
    }

    async fn next(&mut self) -> Answered {
        match self.answered.recv().await {
            Some(answered) => answered,
            // A sender is kept here.
            None => std::future::pending().await,
        }
    }
}

/// Carries out the requests to one peer, always the newest, until the peers are dropped.
async fn serve(
    mut link: Link,
    mut requests: watch::Receiver<Option<Outgoing>>,
    answers: mpsc::Sender<Answered>,
) {
    while requests.changed().await.is_ok() {
        let Some(outgoing) = requests.borrow_and_update().clone() else { continue };
        let id = outgoing.id;
        let result = tokio::select! {
            result = link.call(outgoing) => result,
            changed = requests.changed() => {
                link.connection = None;
                if changed.is_err() {
                    return;
                }
                requests.mark_changed();
                continue;
            }
        };
        if answers.send((id, result)).await.is_err() {
            return;
        }
    }
}

/// The connection to one peer.
struct Link {
    limits: Arc<ClientLimits>,
    listener: Arc<str>,
    address: Option<Address>,
    connection: Option<Connection>,
    backoff: Backoff,
    not_before: Option<Instant>,
}

impl Link {
    fn new(limits: Arc<ClientLimits>, listener: Arc<str>) -> Self {
        let backoff = Backoff::new(RECONNECT_MIN, RECONNECT_MAX);
        Self { limits, listener, address: None, connection: None, backoff, not_before: None }
    }

    async fn call(&mut self, outgoing: Outgoing) -> Result<Response, SendError> {
        if self.address.as_ref() != Some(&outgoing.address) {
            self.connection = None;
            self.not_before = None;
            self.backoff.reset();
            self.address = Some(outgoing.address.clone());
        }
        let result = match self.connection(&outgoing.address).await {
            Ok(connection) => exchange(&connection, &self.listener, &outgoing.request).await,
            Err(error) => Err(error),
        };
        result.map_err(|error| {
            let Address { host, port } = &outgoing.address;
            tracing::debug!("request to {host}:{port}: {error}");
            match error {
                ClientError::UnsupportedVersion { .. } => SendError::UnsupportedVersion,
                ClientError::TimedOut => SendError::TimedOut,
                _ => SendError::Disconnected,
            }
        })
    }

    async fn connection(&mut self, address: &Address) -> Result<Connection, ClientError> {
        if let Some(connection) = self.connection.as_ref().filter(|connection| connection.is_open()) {
            return Ok(connection.clone());
        }
        if let Some(at) = self.not_before.take() {
            tokio::time::sleep_until(at).await;
        }
        match Connection::open(&address.host, address.port, self.limits.clone()).await {
            Ok(connection) => {
                self.backoff.reset();
                self.connection = Some(connection.clone());
                Ok(connection)
            }
            Err(error) => {
                self.not_before = Some(Instant::now() + self.backoff.pause(u32::from(address.port) << 16));
                Err(error)
            }
        }
    }
}

/// Sends one request in the best version that both sides know, and reads the answer.
async fn exchange(
    connection: &Connection,
    listener: &str,
    request: &Request,
) -> Result<Response, ClientError> {
    let answer = match request {
        Request::Vote(vote) => {
            // Only version 2 can say that it is a pre-vote.
            let least = if vote.pre_vote { 2 } else { 0 };
            let (_, answer) = connection.request(least..=2, |version| vote::request(version, vote)).await?;
            vote::read_response(listener, &answer).map(Response::Vote)
        }
        Request::BeginQuorumEpoch(asked) => {
            let encode = |version| begin_quorum_epoch::request(version, asked);
            let (_, answer) = connection.request(0..=1, encode).await?;
            begin_quorum_epoch::read_response(listener, &answer).map(Response::BeginQuorumEpoch)
        }
        Request::EndQuorumEpoch(asked) => {
            let encode = |version| end_quorum_epoch::request(version, asked);
            let (_, answer) = connection.request(0..=1, encode).await?;
            end_quorum_epoch::read_response(listener, &answer).map(Response::EndQuorumEpoch)
        }
        Request::Fetch(asked) => {
            let (_, answer) = connection.request(13..=18, |version| fetch::request(version, asked)).await?;
            fetch::read_response(listener, &answer).map(Response::Fetch)
        }
        Request::FetchSnapshot(asked) => {
            let encode = |version| fetch_snapshot::request(version, asked);
            let (_, answer) = connection.request(0..=1, encode).await?;
            fetch_snapshot::read_response(listener, &answer).map(Response::FetchSnapshot)
        }
        Request::UpdateVoter(asked) => {
            let (_, answer) = connection.request(0..=0, |_| raft_voters::update_request(asked)).await?;
            Some(Response::UpdateVoter(raft_voters::read_updated(listener, &answer)))
        }
        // The connection knows since it was opened.
        Request::KRaftVersions => {
            let (min, max) = connection.versions().feature(KRAFT_VERSION).unwrap_or((0, 0));
            Some(Response::KRaftVersions { min, max })
        }
        Request::AddVoter(_) | Request::RemoveVoter(_) => {
            // The Raft node answers these; it never sends them.
            let key = protocol::versions::ApiKey::ADD_RAFT_VOTER;
            return Err(ClientError::UnsupportedVersion { key });
        }
    };
    answer.ok_or_else(|| {
        connection.close();
        ClientError::Disconnected
    })
}
