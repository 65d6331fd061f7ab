//! The way to a running controller, from this process.

use std::sync::Arc;

use bytes::Bytes;
use metadata::MetadataImage;
use metadata::config::StaticConfig;
use parking_lot::Mutex;
use protocol::ErrorCode;
use protocol::request::RequestHeader;
use protocol::versions::ApiKey;
use tokio::sync::{mpsc, oneshot, watch};

use crate::api;
use crate::api_error::ApiError;
use crate::closer_look::{BrokerConnection, BrokerConnections};
use crate::controller::{Answered, Command, LeaderAndEpoch, refusal};
use crate::event::{Request, Response};
use crate::metrics::{ControllerSnapshot, Metrics};
use crate::publisher::{Publisher, Subscription};
use crate::refusal::refuse;
use crate::store::kraft::RaftCommand;

/// An answer as it goes to a connection.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Response header and body, without the size.
    pub bytes: Bytes,
    /// Offset of the last metadata record that the answer rests on; -1 if it rests on none. A broker that applies
    /// committed metadata up to here before it sends the answer never contradicts it.
    pub committed_offset: i64,
    /// True if this controller is not the active one and decided nothing: the request is for another.
    pub is_refused: bool,
}

/// A request that is not answered: the connection it came on is to be closed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("API {api_key} version {api_version}: {reason}")]
pub struct InvalidRequest {
    /// Key of the API.
    pub api_key: i16,
    /// Version of the API.
    pub api_version: i16,
    /// What is wrong.
    pub reason: String,
}

/// What handles share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) node_id: i32,
    pub(crate) cluster_id: String,
    /// What the node was started with.
    pub(crate) properties: Arc<StaticConfig>,
    /// First of `controller.listener.names`.
    pub(crate) listener_name: String,
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) brokers: Arc<BrokerConnections>,
    pub(crate) raft: mpsc::Sender<RaftCommand>,
    pub(crate) publisher: Arc<Publisher>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) leader: watch::Receiver<LeaderAndEpoch>,
    pub(crate) stop: Mutex<Option<oneshot::Sender<()>>>,
    pub(crate) ended: watch::Receiver<Option<Result<(), String>>>,
}

/// A cheap handle to the controller of this node. The controller runs until [`ControllerHandle::stop`].
#[derive(Clone, Debug)]
pub struct ControllerHandle {
    shared: Arc<Shared>,
}

impl ControllerHandle {
    pub(crate) fn new(shared: Shared) -> Self {
        Self { shared: Arc::new(shared) }
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Answers one request that came in on `listener`, a controller listener; `body` is what follows the request
    /// header.
    ///
    /// # Errors
    /// A request that has no answer: unknown, of a version that is not served, or malformed.
    pub async fn handle(
        &self,
        listener: &str,
        header: &RequestHeader,
        body: Bytes,
    ) -> Result<Answer, InvalidRequest> {
        api::handle(self, listener, header, body).await
    }

    /// Answers a request of the broker in the same process, its own or one that it forwards.
    ///
    /// # Errors
    /// As [`ControllerHandle::handle`].
    pub async fn handle_local(&self, header: &RequestHeader, body: Bytes) -> Result<Answer, InvalidRequest> {
        api::handle(self, &self.shared.listener_name, header, body).await
    }

    /// What a connection keeps from this request on until it ends, if it brings heartbeats: when the last of a broker's
    /// is gone, the controller looks closer at the broker. `known` is what the connection has.
    pub fn note_heartbeat(
        &self,
        header: &RequestHeader,
        body: &[u8],
        known: Option<BrokerConnection>,
    ) -> Option<BrokerConnection> {
        // The first field of all versions is the broker's id.
        let id = body.first_chunk::<4>().map(|id| i32::from_be_bytes(*id));
        match id.filter(|_| header.api_key == ApiKey::BROKER_HEARTBEAT) {
            Some(id) if known.as_ref().is_none_or(|known| known.broker() != id) => {
                Some(BrokerConnection::new(&self.shared.brokers, id))
            }
            _ => known,
        }
    }

    /// `node.id`.
    pub fn node_id(&self) -> i32 {
        self.shared.node_id
    }

    /// Sends a typed request through the same path; a controller that is not active answers NOT_CONTROLLER.
    ///
    /// The answer comes when all that it rests on is committed, with the offset of the last such record.
    pub async fn submit(&self, version: i16, request: Request) -> (Response, i64) {
        let Answered { response, committed_offset, .. } = self.decide(version, request).await;
        (response, committed_offset)
    }

    pub(crate) async fn decide(&self, version: i16, request: Request) -> Answered {
        if request.timeout_ms().is_some_and(|timeout| timeout <= 0) {
            let error = ApiError { code: ErrorCode::REQUEST_TIMED_OUT, message: None };
            let response = refuse(version, &request, &error);
            return Answered { response, committed_offset: -1, is_refused: false };
        }
        let refused = refusal(version, &request);
        let (reply, answered) = oneshot::channel();
        // Waits while the queue is full: connections then stop reading.
        if self.shared.commands.send(Command { version, request, reply }).await.is_err() {
            return refused;
        }
        answered.await.unwrap_or(refused)
    }

    /// Committed metadata from now on: a stream of deltas in order without a gap, of which the first leads from the
    /// empty image to what is committed now (if anything is).
    pub fn subscribe(&self) -> Subscription {
        self.shared.publisher.subscribe()
    }

    /// The committed metadata of this moment.
    pub fn image(&self) -> Arc<MetadataImage> {
        self.shared.publisher.image()
    }

    /// Who leads the quorum; changes can be awaited.
    pub fn leader(&self) -> watch::Receiver<LeaderAndEpoch> {
        self.shared.leader.clone()
    }

    /// How the controller ended, once it has; an error means that the process should end too.
    pub fn ended(&self) -> watch::Receiver<Option<Result<(), String>>> {
        self.shared.ended.clone()
    }

    /// State of the quorum; `None` on a node that does not lead it.
    pub async fn describe_quorum(&self) -> Option<raft::QuorumDescription> {
        let (reply, answer) = oneshot::channel();
        self.shared.raft.send(RaftCommand::Describe(reply)).await.ok()?;
        answer.await.ok().flatten()
    }

    /// What the controller counts.
    pub fn metrics(&self) -> ControllerSnapshot {
        self.shared.metrics.snapshot()
    }

    /// Completes when the controller's thread has looked at this call; false if it has stopped.
    pub async fn ping(&self) -> bool {
        let (reply, answer) = oneshot::channel();
        self.shared.raft.send(RaftCommand::Describe(reply)).await.is_ok() && answer.await.is_ok()
    }

    /// Sends a request of the Raft protocol to this node; `None` if it has stopped.
    pub(crate) async fn raft(
        &self,
        listener: &str,
        request: raft::message::Request,
    ) -> Option<raft::message::Response> {
        let (reply, answer) = oneshot::channel();
        let listener = listener.to_owned();
        self.shared.raft.send(RaftCommand::Request { listener, request, reply }).await.ok()?;
        answer.await.ok()
    }

    /// Stops in good order and waits for it.
    ///
    /// # Errors
    /// The controller had failed.
    pub async fn stop(&self) -> Result<(), String> {
        if let Some(stop) = self.shared.stop.lock().take() {
            // It may have ended by itself.
            let _ = stop.send(());
        }
        let mut ended = self.shared.ended.clone();
        match ended.wait_for(Option::is_some).await {
            Ok(result) => result.clone().unwrap_or(Ok(())),
            Err(_) => Err("the controller's thread panicked".to_owned()),
        }
    }
}
