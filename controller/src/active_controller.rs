//! The way to the active controller, wherever it is: in this process, or behind a connection.
//!
//! ```text
//!   request ─▶ who leads? ─┬─ this node ─▶ handle
//!                 ▲        └─ another ──▶ connection (one for the node's own requests and one for those of clients,
//!                 │                       requests one behind the other)
//!                 └── NOT_CONTROLLER, connection lost, new leader: again, until the deadline
//! ```
//!
//! Source: `NodeToControllerChannelManager` and `ForwardingManager` (KIP-590). As there, a request whose connection was
//! lost is sent again although the first may have been carried out.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use net::client::{Backoff, ClientError, ClientLimits, Connection};
use protocol::messages::describe_quorum_request::{PartitionData, TopicData};
use protocol::messages::{DescribeQuorumRequest, EnvelopeRequest};
use protocol::request::{RequestHeader, put_response_header};
use protocol::versions::ApiKey;
use protocol::{ErrorCode, Request as _};
use raft::Address;
use tokio::runtime::Handle;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use crate::api;
use crate::api::raft::topic_name;
use crate::controller::LeaderAndEpoch;
use crate::handle::{Answer, ControllerHandle};

/// Pauses between attempts (`reconnect.backoff.ms` of Kafka's channel is 50).
const RETRY_MIN: Duration = Duration::from_millis(10);
const RETRY_MAX: Duration = Duration::from_millis(50);
/// The largest answer that is taken from a controller.
const RESPONSE_BYTES: usize = 100 * 1024 * 1024;

/// No active controller answered in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the active controller cannot be reached")]
pub struct Unavailable;

/// A way to the active controller. Clones share its connections.
#[derive(Clone, Debug)]
pub struct ActiveController {
    handle: ControllerHandle,
    runtime: Handle,
    /// Heartbeats do not wait behind what clients ask for.
    own: Arc<Link>,
    forwarded: Arc<Link>,
    /// Leader and epoch of the controller that answered the last heartbeat.
    told: Arc<parking_lot::Mutex<Option<(i32, i32)>>>,
}

/// The connection to the controller that led last.
#[derive(Debug)]
struct Link {
    limits: Arc<ClientLimits>,
    open: Mutex<Option<(Address, Connection)>>,
}

/// What is sent.
#[derive(Clone, Debug)]
enum Message {
    /// A request of this node's own.
    Own(Bytes),
    /// A client's request, from this address.
    Forwarded(Bytes, IpAddr),
}

impl Message {
    fn is_heartbeat(&self) -> bool {
        let Self::Own(request) = self else { return false };
        RequestHeader::parse(request).is_ok_and(|header| header.api_key == ApiKey::BROKER_HEARTBEAT)
    }
}

/// Why one attempt gave no answer.
enum Failed {
    /// Look for the leader again.
    Retry,
    /// There will be no answer.
    Final,
}

impl ActiveController {
    /// A way that begins at this node. `runtime` does the work; `request_timeout` bounds one attempt.
    pub fn new(handle: ControllerHandle, runtime: Handle, request_timeout: Duration) -> Self {
        let limits = ClientLimits {
            client_id: handle.node_id().to_string(),
            connect_timeout: request_timeout.min(Duration::from_secs(5)),
            request_timeout,
            response_bytes: RESPONSE_BYTES,
        };
        let limits = Arc::new(limits);
        let link = || Arc::new(Link { limits: limits.clone(), open: Mutex::new(None) });
        Self { handle, runtime, own: link(), forwarded: link(), told: Arc::default() }
    }

    /// Completes when the active controller may not know that this node lives: another leads than the one that answered
    /// the last heartbeat, or the connection on which it was sent has ended.
    pub async fn lost_touch(&self) {
        let mut leader = self.handle.leader();
        let told = *self.told.lock();
        let is_local = told.is_some_and(|(id, _)| id == self.handle.node_id());
        let ended = async {
            let open = self.own.open.lock().await.as_ref().map(|(_, connection)| connection.clone());
            match open {
                Some(connection) if !is_local => connection.closed().await,
                None if !is_local => {}
                _ => std::future::pending().await,
            }
        };
        let is_new = |leader: &LeaderAndEpoch| {
            self.is_reachable(leader) && leader.leader_id.map(|id| (id, leader.epoch)) != told
        };
        let another = async {
            if leader.wait_for(is_new).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = another => {}
            () = ended => {}
        }
    }

    /// Sends a request of this node: header and body. The answer is header and body too. It is not sent again once nobody
    /// waits for the answer.
    ///
    /// # Errors
    /// No controller answered within `timeout`, or what it answered cannot be read.
    pub async fn call(&self, request: Bytes, timeout: Duration) -> Result<Answer, Unavailable> {
        AbortOnDropHandle::new(self.spawn(Message::Own(request), timeout)).await.unwrap_or(Err(Unavailable))
    }

    /// Sends a client's request on, as it came from `client`. The answer's `committed_offset` is at least that of what
    /// the request changed. If no controller answers in time the answer is REQUEST_TIMED_OUT.
    ///
    /// # Errors
    /// As [`ActiveController::call`], or the answer has no place for an error.
    pub async fn forward(
        &self,
        request: Bytes,
        client: IpAddr,
        timeout: Duration,
    ) -> Result<Answer, Unavailable> {
        let sent = self.spawn(Message::Forwarded(request.clone(), client), timeout);
        sent.await.unwrap_or(Err(Unavailable)).or_else(|unavailable| {
            let header = RequestHeader::parse(&request).map_err(|_| unavailable)?;
            let body = request.slice(header.body_start..);
            api::timed_out(&header, body).map_err(|_| unavailable)
        })
    }

    fn spawn(&self, message: Message, timeout: Duration) -> JoinHandle<Result<Answer, Unavailable>> {
        let this = self.clone();
        let deadline = Instant::now() + timeout;
        // On a runtime that no client's data keeps waiting.
        self.runtime.spawn(async move {
            tokio::time::timeout_at(deadline, this.attempts(message)).await.unwrap_or(Err(Unavailable))
        })
    }

    async fn attempts(&self, message: Message) -> Result<Answer, Unavailable> {
        let mut leader = self.handle.leader();
        let mut backoff = Backoff::new(RETRY_MIN, RETRY_MAX);
        loop {
            let known = leader.wait_for(|leader| self.is_reachable(leader)).await;
            let known = known.map_err(|_| Unavailable)?.clone();
            let attempt = tokio::select! {
                attempt = self.attempt(&known, &message) => attempt,
                () = is_replaced(&mut leader, &known) => continue,
            };
            match attempt {
                Ok(answer) => {
                    if message.is_heartbeat() {
                        *self.told.lock() = known.leader_id.map(|id| (id, known.epoch));
                    }
                    return Ok(answer);
                }
                Err(Failed::Final) => return Err(Unavailable),
                // The next leader may be known at any moment.
                Err(Failed::Retry) => {
                    let pause = tokio::time::sleep(backoff.pause(known.epoch.unsigned_abs() << 16));
                    tokio::select! {
                        () = pause => {}
                        () = is_replaced(&mut leader, &known) => {}
                    }
                }
            }
        }
    }

    fn is_reachable(&self, leader: &LeaderAndEpoch) -> bool {
        leader.leader_id == Some(self.handle.node_id())
            || (leader.leader_id.is_some() && leader.address.is_some())
    }

    async fn attempt(&self, leader: &LeaderAndEpoch, message: &Message) -> Result<Answer, Failed> {
        let result = match &leader.address {
            Some(address) if leader.leader_id != Some(self.handle.node_id()) => {
                self.attempt_remote(address, message).await
            }
            _ => return self.attempt_local(message).await,
        };
        result.map_err(|error| {
            tracing::debug!(leader = leader.leader_id, "request to the active controller: {error}");
            match error {
                // The controller answers by closing the connection, or cannot answer at all.
                ClientError::Malformed { .. } | ClientError::UnsupportedVersion { .. } => Failed::Final,
                _ => Failed::Retry,
            }
        })?
    }

    async fn attempt_local(&self, message: &Message) -> Result<Answer, Failed> {
        let (Message::Own(request) | Message::Forwarded(request, _)) = message;
        let header = RequestHeader::parse(request).map_err(|_| Failed::Final)?;
        match self.handle.handle_local(&header, request.slice(header.body_start..)).await {
            Ok(answer) if answer.is_refused => Err(Failed::Retry),
            Ok(answer) => Ok(answer),
            Err(error) => {
                tracing::warn!("the controller refused a request: {error}");
                Err(Failed::Final)
            }
        }
    }

    async fn attempt_remote(
        &self,
        address: &Address,
        message: &Message,
    ) -> Result<Result<Answer, Failed>, ClientError> {
        let link = match message {
            Message::Own(_) => &self.own,
            Message::Forwarded(..) => &self.forwarded,
        };
        let connection = link.connection(address).await?;
        let answered = match message {
            Message::Own(request) => send_own(&connection, request).await,
            Message::Forwarded(request, client) => send_envelope(&connection, request, *client).await,
        };
        let is_stale = match &answered {
            Ok(answered) => matches!(answered, Err(Failed::Retry)),
            Err(_) => true,
        };
        if is_stale {
            // As Kafka does: whoever is not the controller any more is not asked again on this connection.
            let mut open = link.open.lock().await;
            open.take_if(|(known, _)| known == address);
        }
        answered
    }
}

impl Link {
    async fn connection(&self, address: &Address) -> Result<Connection, ClientError> {
        let mut open = self.open.lock().await;
        if let Some((known, connection)) = &*open
            && known == address
            && connection.is_open()
        {
            return Ok(connection.clone());
        }
        let limits = self.limits.clone();
        let connection = Connection::open(&address.host, address.port, limits).await?;
        *open = Some((address.clone(), connection.clone()));
        Ok(connection)
    }
}

/// Completes when another node leads, or the same one elsewhere. A new epoch alone is no reason to ask again: the node
/// may have been the leader already when it was asked.
async fn is_replaced(leader: &mut watch::Receiver<LeaderAndEpoch>, known: &LeaderAndEpoch) {
    let is_other = |leader: &LeaderAndEpoch| {
        leader.leader_id.is_some()
            && (leader.leader_id != known.leader_id
                || (leader.address.is_some() && leader.address != known.address))
    };
    if leader.wait_for(is_other).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// A request of this node's own, as it is. All of them have their error behind the throttle time.
async fn send_own(connection: &Connection, request: &Bytes) -> Result<Result<Answer, Failed>, ClientError> {
    let Ok(header) = RequestHeader::parse(request) else { return Ok(Err(Failed::Final)) };
    let (key, version) = (header.api_key, header.api_version);
    if connection.versions().best(key, version..=version).is_none() {
        return Err(ClientError::UnsupportedVersion { key });
    }
    let body = connection.call(key, version, &request[header.body_start..]).await?;
    let error = body.get(4..6).and_then(|code| code.try_into().ok()).map_or(0, i16::from_be_bytes);
    if error == ErrorCode::NOT_CONTROLLER.code() {
        return Ok(Err(Failed::Retry));
    }
    let mut bytes = BytesMut::new();
    put_response_header(key, version, header.correlation_id, &mut bytes);
    bytes.put_slice(&body);
    Ok(Ok(Answer { bytes: bytes.freeze(), committed_offset: -1, is_refused: false }))
}

/// A client's request in an envelope; behind it on the same connection, where it is answered later, the question how far
/// the metadata is committed.
async fn send_envelope(
    connection: &Connection,
    request: &Bytes,
    client: IpAddr,
) -> Result<Result<Answer, Failed>, ClientError> {
    let host: Bytes = match client {
        IpAddr::V4(ip) => Bytes::copy_from_slice(&ip.octets()),
        IpAddr::V6(ip) => Bytes::copy_from_slice(&ip.octets()),
    };
    let envelope = EnvelopeRequest::default()
        .with_request_data(request.clone())
        .with_request_principal(Some(anonymous()))
        .with_client_host_address(host);
    let partition = PartitionData::default().with_partition_index(0);
    let topic = TopicData::default().with_topic_name(topic_name()).with_partitions(vec![partition]);
    let quorum = DescribeQuorumRequest::default().with_topics(vec![topic]);
    let sent = connection.request_in(0, &envelope);
    let describe_version = connection.versions().best(DescribeQuorumRequest::KEY, 0..=2);
    let described = async {
        // Behind the envelope, which was queued when this was polled first.
        match describe_version.filter(|_| may_write(request)) {
            Some(version) => connection.request_in(version, &quorum).await.ok(),
            None => None,
        }
    };
    let (answer, quorum) = tokio::join!(biased; sent, described);
    let answer = answer?;
    match ErrorCode(answer.error_code) {
        ErrorCode::NONE => {}
        ErrorCode::NOT_CONTROLLER => return Ok(Err(Failed::Retry)),
        code => {
            tracing::warn!("the controller refused a forwarded request: {}", code.name());
            return Ok(Err(Failed::Final));
        }
    }
    let Some(bytes) = answer.response_data else { return Ok(Err(Failed::Final)) };
    let high_watermark = quorum.as_ref().and_then(|quorum| quorum.topics.first()?.partitions.first());
    let committed_offset = high_watermark.map_or(-1, |partition| partition.high_watermark - 1).max(-1);
    Ok(Ok(Answer { bytes, committed_offset, is_refused: false }))
}

/// Whether the metadata may be another after this request.
fn may_write(request: &[u8]) -> bool {
    let key = RequestHeader::parse(request).map(|header| header.api_key);
    !matches!(key, Ok(ApiKey::DESCRIBE_QUORUM | ApiKey::LIST_PARTITION_REASSIGNMENTS))
}

/// `User:ANONYMOUS` as Kafka's default principals are written: version 0, then a flexible message.
fn anonymous() -> Bytes {
    const NAME: &[u8] = b"ANONYMOUS";
    let mut out = BytesMut::new();
    out.put_i16(0);
    out.put_u8(b"User".len() as u8 + 1);
    out.put_slice(b"User");
    out.put_u8(NAME.len() as u8 + 1);
    out.put_slice(NAME);
    // No token, no tagged fields.
    out.put_slice(&[0, 0]);
    out.freeze()
}
