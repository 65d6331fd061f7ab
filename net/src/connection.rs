//! One connection: pipelined requests in, answers in request order out, in one task.
//!
//!   socket → read buffer → frames → Service::call ─┬─ answered → outbox ────────┐
//!                                                  └─ pending  → parked (FIFO) ─┴→ one write
//!
//! All whole frames that were read are handled before the answers are written, so that a client with several
//! requests in flight costs one read and one write for all of them. A request that must wait is parked. Behind a
//! [`Outcome::Pending`] one others go on, up to [`ConnectionLimits::parked`], and their answers wait for their turn;
//! behind an [`Outcome::Exclusive`] one they wait, so that they see what it did.
//!
//! Invariants: answers leave in the order of their requests; a connection that waits for its next request holds
//! no buffer; nothing is read while the socket does not take answers, nor behind an exclusive request.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};
use tokio_util::sync::CancellationToken;

use crate::outbox::{Outbox, Sent};
use crate::read_buffer::{Front, ReadBuffer};

/// Requests handled before the task lets others run.
const TURN_REQUESTS: usize = 64;
/// Answers are written out once this many bytes wait.
const FLUSH_BYTES: usize = 64 * 1024;
/// How long a peer that is done sending is waited for with the answers that are not there yet.
const HALF_CLOSED: Duration = Duration::from_secs(1);
/// Stands for "never" where a deadline would lie beyond what an instant can say.
const FAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// An answer that is not there yet. Resolves to one whole frame, or `None` to close the connection.
pub type PendingAnswer = Pin<Box<dyn Future<Output = Option<Outbox>> + Send>>;

/// What became of a request.
pub enum Outcome {
    /// The whole answer, its size field included, is in the outbox.
    Answered,
    /// The request gets no answer (Produce with acks=0).
    Unanswered,
    /// The answer comes later; requests behind this one may be handled meanwhile.
    Pending(PendingAnswer),
    /// The answer comes later; requests behind this one are handled when it is there.
    Exclusive(PendingAnswer),
    /// The connection is to be closed, for this reason.
    Close(String),
}

/// Serves the requests of one kind of listener.
pub trait Service: Send + Sync + 'static {
    /// What the service remembers of a connection.
    type Session: Send;

    /// A connection was opened.
    fn open(&self, info: &ConnectionInfo) -> Self::Session;

    /// Handles one frame (without its size field); may change its bytes. Must not block beyond a short file write.
    fn call(&self, session: &mut Self::Session, frame: &mut [u8], out: &mut Outbox) -> Outcome;
}

/// Who is at the other end.
#[derive(Clone, Debug)]
pub struct ConnectionInfo {
    /// Name of the listener that accepted the connection, such as `PLAINTEXT`.
    pub listener: Arc<str>,
    /// Address of the client.
    pub peer: SocketAddr,
}

/// Bounds of a connection.
#[derive(Clone, Debug)]
pub struct ConnectionLimits {
    /// `socket.request.max.bytes`.
    pub request_bytes: usize,
    /// `connections.max.idle.ms`; `Duration::MAX` for never.
    pub idle: Duration,
    /// Requests that may wait for their answer before the connection is not read any more.
    pub parked: usize,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self { request_bytes: 104_857_600, idle: Duration::from_secs(600), parked: 16 }
    }
}

/// Serves one connection until it ends. Errors are logged here, once.
pub(crate) async fn run<S: Service>(
    stream: TcpStream,
    info: ConnectionInfo,
    service: Arc<S>,
    limits: ConnectionLimits,
    cancel: CancellationToken,
) {
    let session = service.open(&info);
    let connection = Connection {
        stream,
        service,
        session,
        read: ReadBuffer::default(),
        out: Outbox::new(),
        parked: VecDeque::new(),
        is_held: false,
        is_half_closed: false,
        last_active: Instant::now(),
        limits,
    };
    match connection.serve(cancel).await {
        Ok(()) => {}
        Err(End::Refused(reason)) => {
            tracing::info!(peer = %info.peer, listener = %info.listener, "connection closed: {reason}");
        }
        Err(End::Io(e)) => tracing::debug!(peer = %info.peer, "connection lost: {e}"),
    }
}

enum Parked {
    Answered(Outbox),
    Pending(PendingAnswer),
}

enum End {
    Refused(String),
    Io(io::Error),
}

impl From<io::Error> for End {
    fn from(e: io::Error) -> Self {
        Self::Io(e)
    }
}

struct Connection<S: Service> {
    stream: TcpStream,
    service: Arc<S>,
    session: S::Session,
    read: ReadBuffer,
    out: Outbox,
    parked: VecDeque<Parked>,
    /// The last parked request is an exclusive one.
    is_held: bool,
    /// The peer is done sending.
    is_half_closed: bool,
    last_active: Instant,
    limits: ConnectionLimits,
}

/// Why the connection woke up.
enum Wake {
    /// Bytes were read.
    Read,
    /// The peer is done sending.
    EndOfStream,
    /// The answer at the head of the line is ready.
    Ready,
    Idle,
}

impl<S: Service> Connection<S> {
    async fn serve(mut self, cancel: CancellationToken) -> Result<(), End> {
        let mut idle = Box::pin(tokio::time::sleep_until(self.deadline()));
        loop {
            let more = match self.handle_frames() {
                Ok(more) => more,
                Err(end) => {
                    // What was answered before the bad request still goes out.
                    self.take_ready();
                    self.out.try_send(&self.stream)?;
                    return Err(end);
                }
            };
            self.take_ready();
            if !self.out.is_empty() {
                self.flush(&cancel).await?;
            }
            if more {
                tokio::task::yield_now().await;
                continue;
            }
            if self.is_half_closed && self.parked.is_empty() {
                return Ok(());
            }
            let wake = tokio::select! {
                biased;
                wake = self.wait(idle.as_mut()) => wake?,
                () = cancel.cancelled() => return Ok(()),
            };
            match wake {
                Wake::Read => self.last_active = Instant::now(),
                Wake::Ready => {}
                Wake::EndOfStream => {
                    self.is_half_closed = true;
                    idle.as_mut().reset(Instant::now() + HALF_CLOSED);
                }
                Wake::Idle if self.is_half_closed => return Ok(()),
                Wake::Idle => {
                    let deadline = self.deadline();
                    if Instant::now() >= deadline && self.parked.is_empty() {
                        return Ok(());
                    }
                    idle.as_mut().reset(deadline.max(Instant::now() + Duration::from_secs(1)));
                }
            }
        }
    }

    /// When the connection has been idle for too long.
    fn deadline(&self) -> Instant {
        self.last_active.checked_add(self.limits.idle).unwrap_or_else(|| Instant::now() + FAR)
    }

    /// Whether another request may be handled.
    fn has_room(&self) -> bool {
        !self.is_held && self.parked.len() < self.limits.parked
    }

    /// Handles the whole frames in the buffer; true when a turn ended before they did.
    fn handle_frames(&mut self) -> Result<bool, End> {
        for _ in 0..TURN_REQUESTS {
            if !self.has_room() {
                return Ok(false);
            }
            if self.out.len() >= FLUSH_BYTES {
                return Ok(true);
            }
            let size = match self.read.front(self.limits.request_bytes) {
                Front::Frame(size) => size,
                Front::Partial => return Ok(false),
                Front::BadSize(size) => {
                    return Err(End::Refused(format!(
                        "invalid receive size {size} (socket.request.max.bytes is {})",
                        self.limits.request_bytes
                    )));
                }
            };
            let frame = self.read.take_frame(size);
            let outcome = if self.parked.is_empty() {
                self.service.call(&mut self.session, frame, &mut self.out)
            } else {
                let mut out = Outbox::new();
                let outcome = self.service.call(&mut self.session, frame, &mut out);
                if matches!(outcome, Outcome::Answered) {
                    self.parked.push_back(Parked::Answered(out));
                }
                outcome
            };
            match outcome {
                Outcome::Answered | Outcome::Unanswered => {}
                Outcome::Pending(answer) => self.parked.push_back(Parked::Pending(answer)),
                Outcome::Exclusive(answer) => {
                    self.parked.push_back(Parked::Pending(answer));
                    self.is_held = true;
                }
                Outcome::Close(reason) => return Err(End::Refused(reason)),
            }
        }
        Ok(true)
    }

    /// Moves answers that are there from the head of the line to the outbox.
    fn take_ready(&mut self) {
        while matches!(self.parked.front(), Some(Parked::Answered(_))) {
            if let Some(Parked::Answered(out)) = self.parked.pop_front() {
                self.out.append(out);
            }
        }
    }

    /// Writes the outbox out, as fast as the peer takes it; a peer that takes nothing counts as idle.
    async fn flush(&mut self, cancel: &CancellationToken) -> Result<(), End> {
        loop {
            let before = self.out.unsent();
            match self.out.try_send(&self.stream)? {
                Sent::All => return Ok(()),
                Sent::Step => {
                    tokio::task::yield_now().await;
                    continue;
                }
                Sent::Blocked => {}
            }
            if self.out.unsent() < before {
                self.last_active = Instant::now();
            }
            tokio::select! {
                biased;
                ready = self.stream.ready(Interest::WRITABLE) => drop(ready?),
                () = cancel.cancelled() => return Err(End::Refused("the node stops".to_owned())),
                () = tokio::time::sleep_until(self.deadline()) => {
                    return Err(End::Refused("the peer does not take its answers".to_owned()));
                }
            }
        }
    }

    /// Waits for bytes, for the head of the line, or for the idle timer.
    async fn wait(&mut self, mut idle: Pin<&mut Sleep>) -> Result<Wake, End> {
        poll_fn(|cx| {
            if let Poll::Ready(wake) = self.poll_parked(cx) {
                return Poll::Ready(wake);
            }
            if self.has_room()
                && !self.is_half_closed
                && let Poll::Ready(read) = self.poll_read(cx)
            {
                return Poll::Ready(read.map_err(End::Io));
            }
            idle.as_mut().poll(cx).map(|()| Ok(Wake::Idle))
        })
        .await
    }

    fn poll_parked(&mut self, cx: &mut Context<'_>) -> Poll<Result<Wake, End>> {
        let Some(Parked::Pending(answer)) = self.parked.front_mut() else { return Poll::Pending };
        match answer.as_mut().poll(cx) {
            Poll::Ready(Some(out)) => {
                self.parked.pop_front();
                self.is_held &= !self.parked.is_empty();
                self.out.append(out);
                self.last_active = Instant::now();
                Poll::Ready(Ok(Wake::Ready))
            }
            Poll::Ready(None) => {
                Poll::Ready(Err(End::Refused("the request could not be answered".to_owned())))
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Wake>> {
        // Readiness first: a connection that waits for its next request holds no buffer.
        if self.stream.poll_read_ready(cx)?.is_pending() {
            self.read.release();
            if self.out.is_empty() {
                self.out.release();
            }
            return Poll::Pending;
        }
        let mut room = ReadBuf::new(self.read.room());
        match Pin::new(&mut self.stream).poll_read(cx, &mut room) {
            Poll::Ready(Ok(())) => {
                let bytes = room.filled().len();
                self.read.filled(bytes);
                Poll::Ready(Ok(if bytes == 0 { Wake::EndOfStream } else { Wake::Read }))
            }
            Poll::Ready(Err(e)) => Poll::Ready(Err(e)),
            Poll::Pending => {
                self.read.release();
                Poll::Pending
            }
        }
    }
}
