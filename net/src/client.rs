//! An outgoing connection to another node: requests in flight one behind the other, answers in their order.
//!
//!   call ─▶ queue ─▶ writer ─▶ socket        both halves in one task, which ends when the last
//!   call ◀─ oneshot ◀─ reader ◀─ socket      handle is dropped or the socket breaks
//!
//! [`Connection::open`] resolves the host anew, connects, and asks for the peer's versions (ApiVersions), so that the
//! caller can choose for each request the best that both sides know.
//!
//! Invariants: an answer of more than [`ClientLimits::response_bytes`] ends the connection before room is made for it;
//! the buffer grows with the bytes that arrived; a request that was not answered in time ends the connection, since
//! whatever comes behind it would wait too; a broken connection fails every call that waits.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use parking_lot::Mutex;
use protocol::guard::{self, GuardError};
use protocol::messages::ApiVersionsRequest;
use protocol::request::{RequestHeader, parse_response_header};
use protocol::versions::ApiKey;
use protocol::{Encodable, ErrorCode, Request, StrBytes};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// Requests that may wait for the socket; further calls wait.
const QUEUE: usize = 64;
/// The buffer grows by at least this many bytes: some batches that a follower fetched come in one read.
const READ_BYTES: usize = 64 * 1024;
/// The highest version of ApiVersions that is asked for.
const API_VERSIONS_MAX: i16 = 4;
/// Where the correlation id stands in a frame: behind size, key and version.
const CORRELATION_ID_AT: usize = 8;

/// Bounds of an outgoing connection.
#[derive(Clone, Debug)]
pub struct ClientLimits {
    /// What this node calls itself in request headers.
    pub client_id: String,
    /// How long connecting may take, resolving the name and asking for versions included.
    pub connect_timeout: Duration,
    /// How long an answer may take (`request.timeout.ms`).
    pub request_timeout: Duration,
    /// The largest answer that is taken.
    pub response_bytes: usize,
}

impl Default for ClientLimits {
    fn default() -> Self {
        Self {
            client_id: "minikafka".to_owned(),
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            response_bytes: 100 * 1024 * 1024,
        }
    }
}

/// Why there is no connection, or no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The host has no address, or refuses the connection.
    #[error("{host}:{port}: {source}")]
    Connect {
        /// Host as given.
        host: String,
        /// Port as given.
        port: u16,
        /// What the system said.
        source: io::Error,
    },
    /// No connection or no answer in time; the connection is closed.
    #[error("no answer in time")]
    TimedOut,
    /// The connection ended before the answer.
    #[error("the connection ended")]
    Disconnected,
    /// The peer knows no version of the API that this node does.
    #[error("the peer does not serve API {key} in a version known here")]
    UnsupportedVersion {
        /// Key of the API.
        key: i16,
    },
    /// The answer is not what the API's version says; the connection is closed.
    #[error("unreadable answer to API {key}: {reason}")]
    Malformed {
        /// Key of the API.
        key: i16,
        /// What is wrong.
        reason: String,
    },
}

/// What a peer said about itself when the connection was opened.
#[derive(Clone, Debug, Default)]
pub struct PeerVersions {
    apis: BTreeMap<i16, (i16, i16)>,
    features: BTreeMap<String, (i16, i16)>,
}

impl PeerVersions {
    /// The highest version of an API that both sides know.
    pub fn best(&self, key: i16, own: RangeInclusive<i16>) -> Option<i16> {
        let (min, max) = self.apis.get(&key)?;
        let best = *own.end().min(max);
        (best >= *own.start() && best >= *min).then_some(best)
    }

    /// The levels of a feature that the peer supports.
    pub fn feature(&self, name: &str) -> Option<(i16, i16)> {
        self.features.get(name).copied()
    }
}

/// An open connection. Clones share it; it closes when the last is dropped.
#[derive(Clone, Debug)]
pub struct Connection {
    queue: mpsc::Sender<Queued>,
    closed: CancellationToken,
    limits: Arc<ClientLimits>,
    versions: Arc<PeerVersions>,
}

/// A request on its way to the socket; its frame has room for the correlation id.
#[derive(Debug)]
struct Queued {
    frame: BytesMut,
    waiting: Waiting,
}

/// Who waits for an answer, and what it looks like.
#[derive(Debug)]
struct Waiting {
    key: i16,
    version: i16,
    reply: oneshot::Sender<Result<Bytes, ClientError>>,
}

impl Connection {
    /// Connects, with the runtime of the caller doing the connection's work, and learns the peer's versions.
    ///
    /// # Errors
    ///
    /// The peer cannot be reached in time, or does not speak Kafka's protocol.
    pub async fn open(host: &str, port: u16, limits: Arc<ClientLimits>) -> Result<Self, ClientError> {
        let timeout = limits.connect_timeout;
        let opened = async {
            let failed = |source| ClientError::Connect { host: host.to_owned(), port, source };
            let stream = connect(host, port).await.map_err(failed)?;
            stream.set_nodelay(true).map_err(failed)?;
            let mut connection = Self::on(stream, limits);
            connection.versions = Arc::new(connection.ask_versions().await?);
            Ok(connection)
        };
        tokio::time::timeout(timeout, opened).await.unwrap_or(Err(ClientError::TimedOut))
    }

    fn on(stream: TcpStream, limits: Arc<ClientLimits>) -> Self {
        let (queue, requests) = mpsc::channel(QUEUE);
        let closed = CancellationToken::new();
        tokio::spawn(drive(stream, requests, closed.clone(), limits.response_bytes));
        Self { queue, closed, limits, versions: Arc::default() }
    }

    /// What the peer serves.
    pub fn versions(&self) -> &PeerVersions {
        &self.versions
    }

    /// False once the socket broke; a call may still find out later.
    pub fn is_open(&self) -> bool {
        !self.closed.is_cancelled()
    }

    /// Closes the connection at once; calls that wait fail.
    pub fn close(&self) {
        self.closed.cancel();
    }

    /// Completes when the connection is closed, by whomever.
    pub async fn closed(&self) {
        self.closed.cancelled().await;
    }

    /// Sends a request with this body and waits for the body of its answer.
    ///
    /// # Errors
    ///
    /// The connection broke, or no answer came in time: the connection is closed then.
    pub async fn call(&self, key: i16, version: i16, body: &[u8]) -> Result<Bytes, ClientError> {
        self.send(key, version, |out| {
            out.put_slice(body);
            Ok(())
        })
        .await
    }

    /// Sends a request in the highest version of `own` that the peer serves, and decodes its answer.
    ///
    /// # Errors
    ///
    /// As [`Connection::call`], or there is no such version, or the answer cannot be read.
    pub async fn request<Q>(
        &self,
        own: RangeInclusive<i16>,
        request: impl FnOnce(i16) -> Q,
    ) -> Result<(i16, Q::Response), ClientError>
    where
        Q: Request + Encodable,
    {
        let unsupported = ClientError::UnsupportedVersion { key: Q::KEY };
        let version = self.versions.best(Q::KEY, own).ok_or(unsupported)?;
        Ok((version, self.request_in(version, &request(version)).await?))
    }

    /// Sends a request in a version that the caller chose, and decodes its answer.
    ///
    /// # Errors
    ///
    /// As [`Connection::call`], or the answer cannot be read.
    pub async fn request_in<Q>(&self, version: i16, request: &Q) -> Result<Q::Response, ClientError>
    where
        Q: Request + Encodable,
    {
        let answer =
            self.send(Q::KEY, version, |out| request.encode(out, version).map_err(|e| e.to_string()));
        let answer = answer.await?;
        guard::decode_response::<Q>(version, answer).map_err(|e| self.malformed(Q::KEY, &e))
    }

    async fn send(
        &self,
        key: i16,
        version: i16,
        put_body: impl FnOnce(&mut BytesMut) -> Result<(), String>,
    ) -> Result<Bytes, ClientError> {
        let mut frame = BytesMut::new();
        frame.put_i32(0);
        RequestHeader::put(key, version, 0, Some(&self.limits.client_id), &mut frame);
        put_body(&mut frame).map_err(|reason| ClientError::Malformed { key, reason })?;
        let size = i32::try_from(frame.len() - 4)
            .map_err(|_| ClientError::Malformed { key, reason: "the request is too large".to_owned() })?;
        frame[..4].copy_from_slice(&size.to_be_bytes());
        let (reply, answer) = oneshot::channel();
        let answered = async {
            let queued = Queued { frame, waiting: Waiting { key, version, reply } };
            self.queue.send(queued).await.map_err(|_| ClientError::Disconnected)?;
            answer.await.unwrap_or(Err(ClientError::Disconnected))
        };
        let answered = tokio::time::timeout(self.limits.request_timeout, answered).await;
        answered.unwrap_or_else(|_| {
            self.close();
            Err(ClientError::TimedOut)
        })
    }

    /// Asks as Kafka's clients do: with the highest known version, and again with one that the peer names.
    async fn ask_versions(&self) -> Result<PeerVersions, ClientError> {
        let key = ApiKey::API_VERSIONS;
        let mut version = API_VERSIONS_MAX;
        loop {
            let request = ApiVersionsRequest::default()
                .with_client_software_name(StrBytes::from_static_str("minikafka"))
                .with_client_software_version(StrBytes::from_static_str(env!("CARGO_PKG_VERSION")));
            let put = |out: &mut BytesMut| request.encode(out, version).map_err(|e| e.to_string());
            let answer = self.send(key, version, put).await?;
            // A peer that does not know the version answers in version 0.
            let error = answer.first_chunk::<2>().map_or(0, |code| i16::from_be_bytes(*code));
            let refused = error == ErrorCode::UNSUPPORTED_VERSION.code() && version > 0;
            let read_as = if refused { 0 } else { version };
            let answer = guard::decode_response::<ApiVersionsRequest>(read_as, answer)
                .map_err(|e| self.malformed(key, &e))?;
            let apis: BTreeMap<i16, (i16, i16)> =
                answer.api_keys.iter().map(|api| (api.api_key, (api.min_version, api.max_version))).collect();
            if refused {
                let known = apis.get(&key).map_or(0, |(_, max)| *max);
                version = known.clamp(0, version - 1);
                continue;
            }
            if error != 0 {
                let reason = ErrorCode(error).name().to_owned();
                self.close();
                return Err(ClientError::Malformed { key, reason });
            }
            let features = answer.supported_features.iter();
            let features = features.map(|f| (f.name.to_string(), (f.min_version, f.max_version))).collect();
            return Ok(PeerVersions { apis, features });
        }
    }

    fn malformed(&self, key: i16, error: &GuardError) -> ClientError {
        self.close();
        ClientError::Malformed { key, reason: error.to_string() }
    }
}

/// Tries every address of the host, in the order of the resolver.
async fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "unresolved address");
    for address in tokio::net::lookup_host((host, port)).await? {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Those whose requests were written, oldest first; `None` once the connection has ended.
type InFlight = Mutex<Option<VecDeque<(i32, Waiting)>>>;

/// The work of one connection, until it breaks or nobody holds it any more.
async fn drive(
    stream: TcpStream,
    requests: mpsc::Receiver<Queued>,
    closed: CancellationToken,
    response_bytes: usize,
) {
    let (reader, writer) = stream.into_split();
    let in_flight: InFlight = Mutex::new(Some(VecDeque::new()));
    let ended = tokio::select! {
        () = closed.cancelled() => Ok(()),
        ended = write_requests(writer, requests, &in_flight) => ended,
        ended = read_responses(reader, &in_flight, response_bytes) => ended,
    };
    if let Err(error) = ended {
        tracing::debug!("outgoing connection ended: {error}");
    }
    closed.cancel();
    for (_, waiting) in in_flight.lock().take().into_iter().flatten() {
        // Whoever waited may have given up.
        let _ = waiting.reply.send(Err(ClientError::Disconnected));
    }
}

async fn write_requests(
    mut writer: OwnedWriteHalf,
    mut requests: mpsc::Receiver<Queued>,
    in_flight: &InFlight,
) -> io::Result<()> {
    let mut next_id: i32 = 0;
    while let Some(Queued { mut frame, waiting }) = requests.recv().await {
        frame[CORRELATION_ID_AT..][..4].copy_from_slice(&next_id.to_be_bytes());
        if let Some(queue) = &mut *in_flight.lock() {
            queue.push_back((next_id, waiting));
        }
        next_id = next_id.checked_add(1).unwrap_or(0);
        writer.write_all(&frame).await?;
    }
    Ok(())
}

async fn read_responses(
    mut reader: OwnedReadHalf,
    in_flight: &InFlight,
    response_bytes: usize,
) -> io::Result<()> {
    let invalid = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why.to_owned());
    let mut buffer = BytesMut::new();
    loop {
        while let Some(frame) = take_frame(&mut buffer, response_bytes)? {
            let oldest = in_flight.lock().as_mut().and_then(VecDeque::pop_front);
            let (id, waiting) = oldest.ok_or_else(|| invalid("an answer that nobody asked for"))?;
            let header = parse_response_header(waiting.key, waiting.version, &frame);
            let (answered, start) = header.map_err(|_| invalid("an unreadable response header"))?;
            if answered != id {
                return Err(invalid("an answer out of order"));
            }
            // Whoever waited may have given up.
            let _ = waiting.reply.send(Ok(frame.slice(start..)));
        }
        if buffer.is_empty() {
            // An idle connection holds no buffer.
            buffer = BytesMut::new();
            reader.readable().await?;
        }
        if buffer.capacity() == buffer.len() {
            buffer.reserve(buffer.len().max(READ_BYTES));
        }
        if reader.read_buf(&mut buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// The next whole frame without its size field.
fn take_frame(buffer: &mut BytesMut, limit: usize) -> io::Result<Option<Bytes>> {
    let size = protocol::frame::frame_size(buffer, limit).map_err(io::Error::other)?;
    match size {
        Some(size) if buffer.len() - 4 >= size => {
            buffer.advance(4);
            Ok(Some(buffer.split_to(size).freeze()))
        }
        _ => Ok(None),
    }
}

/// Pauses between attempts to reach a peer (`reconnect.backoff.ms`, `reconnect.backoff.max.ms`): doubled with every
/// failure in a row, and a fifth up or down so that many do not come back at once.
#[derive(Clone, Debug)]
pub struct Backoff {
    min: Duration,
    max: Duration,
    failures: u32,
}

impl Backoff {
    /// No failure yet.
    pub fn new(min: Duration, max: Duration) -> Self {
        Self { min, max, failures: 0 }
    }

    /// Begins again with the shortest pause.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// Notes a failure; gives the pause before the next attempt. `random` is any number.
    pub fn pause(&mut self, random: u32) -> Duration {
        let doubled = self.min.saturating_mul(1 << self.failures.min(16)).min(self.max);
        self.failures = self.failures.saturating_add(1);
        doubled.mul_f64(0.8 + 0.4 * f64::from(random) / f64::from(u32::MAX))
    }
}
