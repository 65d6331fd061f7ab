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
//! What may not take for ever: the rest of a request that has begun, memory for it, and answers that nobody takes.
//! A peer that makes a node wait for these longer than [`ConnectionLimits::frame`], or a part of it while memory is
//! short, loses its connection.
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

use crate::budget::{Charge, MemoryWait, Purpose};
use crate::listener::Bounds;
use crate::outbox::{Outbox, Sent};
use crate::quotas::Admission;
use crate::read_buffer::{Front, ReadBuffer};

/// Requests handled before the task lets others run.
const TURN_REQUESTS: usize = 64;
/// Answers are written out once this many bytes wait.
const FLUSH_BYTES: usize = 64 * 1024;
/// How long a peer that is done sending is waited for with the answers that are not there yet.
const HALF_CLOSED: Duration = Duration::from_secs(1);
/// While memory is short, patience is so many times shorter.
const PRESSURE: u32 = 6;
/// A reader that takes nothing for this part of the time is closed when answers take too much memory.
const STALL: u32 = 150;
/// A peer that sends or takes so many bytes within its time gets the same time again.
const PROGRESS_BYTES: usize = 4 * 1024;
/// Answers behind a request that waits: no more requests are handled once they are this large.
const PARKED_BYTES: usize = 256 * 1024;
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
    /// There is no memory for the request now: the same frame is to come again once there is. Nothing was changed.
    Starved,
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

    /// All requests that had come were handled, or enough of them; what they made ready can be told to others.
    fn turn_ended(&self, _session: &mut Self::Session) {}

    /// Answers with these labels ([`Outbox::label`]) were sent, which took so long.
    fn sent(&self, _labels: &[i16], _took: Duration) {}
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
    /// How long the rest of a request may take, or the memory for it. Clients give a request up after 30 s.
    pub frame: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            request_bytes: 104_857_600,
            idle: Duration::from_secs(600),
            parked: 16,
            frame: Duration::from_secs(30),
        }
    }
}

/// Serves one connection until it ends. Errors are logged here, once.
pub(crate) async fn run<S: Service>(
    stream: TcpStream,
    info: ConnectionInfo,
    admission: Admission,
    service: Arc<S>,
    bounds: Arc<Bounds>,
    cancel: CancellationToken,
) {
    let session = service.open(&info);
    let connection = Connection {
        stream,
        service,
        session,
        read: ReadBuffer::new(&bounds.memory),
        out: Outbox::new(),
        parked: VecDeque::new(),
        parked_bytes: 0,
        is_held: false,
        is_half_closed: false,
        last_active: Instant::now(),
        admission,
        memory: MemoryWait::new(&bounds.memory),
        is_starved: false,
        is_frame_starved: false,
        watched: Watched::Nothing,
        since: Instant::now(),
        received: 0,
        bounds,
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
    Answered(Outbox, #[expect(dead_code, reason = "given back on drop")] Charge),
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
    admission: Admission,
    /// Bytes of the parked answers.
    parked_bytes: usize,
    memory: MemoryWait,
    /// There was no memory to read into.
    is_starved: bool,
    /// There was no memory for the frame at the front.
    is_frame_starved: bool,
    watched: Watched,
    /// Since when it is watched, and the bytes that came since.
    since: Instant,
    received: usize,
    bounds: Arc<Bounds>,
}

/// What may not take for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Watched {
    Nothing,
    /// The rest of a frame.
    Frame,
    /// Memory for a frame.
    Memory,
    /// Answers that hold memory, behind a request that waits.
    Answers,
}

/// Why the connection woke up.
enum Wake {
    /// Bytes were read.
    Read,
    /// The peer is done sending.
    EndOfStream,
    /// The answer at the head of the line is ready.
    Ready,
    /// There may be memory now for the frame at the front.
    Memory,
    /// The timer rang.
    Timer,
}

impl<S: Service> Connection<S> {
    async fn serve(mut self, cancel: CancellationToken) -> Result<(), End> {
        let mut idle = Box::pin(tokio::time::sleep_until(self.deadline()));
        loop {
            let handled = self.handle_frames();
            self.service.turn_ended(&mut self.session);
            let more = match handled {
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
                let began = (!self.out.labels().is_empty()).then(Instant::now);
                self.flush(&cancel).await?;
                if let Some(began) = began {
                    self.service.sent(self.out.labels(), began.elapsed());
                    self.out.labels().clear();
                }
            }
            if more {
                tokio::task::yield_now().await;
                continue;
            }
            if self.is_half_closed && self.parked.is_empty() {
                return Ok(());
            }
            if let Some(check) = self.watch()
                && check < idle.deadline()
            {
                idle.as_mut().reset(check);
            }
            let wake = tokio::select! {
                biased;
                wake = self.wait(idle.as_mut()) => wake?,
                () = cancel.cancelled() => return Ok(()),
            };
            match wake {
                Wake::Read => self.is_active(),
                Wake::Ready | Wake::Memory => {}
                Wake::EndOfStream => {
                    self.is_half_closed = true;
                    idle.as_mut().reset(Instant::now() + HALF_CLOSED);
                }
                Wake::Timer if self.is_half_closed => return Ok(()),
                Wake::Timer => {
                    let (now, deadline) = (Instant::now(), self.deadline());
                    self.check_patience(now)?;
                    if now >= deadline && self.parked.is_empty() {
                        return Ok(());
                    }
                    let next = match self.watched {
                        Watched::Nothing => deadline.max(now + Duration::from_secs(1)),
                        _ => now + self.check_period(),
                    };
                    idle.as_mut().reset(next);
                }
            }
        }
    }

    /// Notes that the peer sent or took something.
    fn is_active(&mut self) {
        self.last_active = Instant::now();
        self.admission.touch(self.last_active);
    }

    /// When the connection has been idle for too long.
    fn deadline(&self) -> Instant {
        self.last_active.checked_add(self.bounds.limits.idle).unwrap_or_else(|| Instant::now() + FAR)
    }

    /// Whether another request may be handled.
    fn has_room(&self) -> bool {
        !self.is_held && self.parked.len() < self.bounds.limits.parked && self.parked_bytes < PARKED_BYTES
    }

    /// Notes what the connection is about to wait for; gives the time of the first check if that is something new.
    fn watch(&mut self) -> Option<Instant> {
        let watched = if self.is_starved || self.is_frame_starved {
            Watched::Memory
        } else if self.parked_bytes >= FLUSH_BYTES {
            Watched::Answers
        } else if !self.read.is_empty() && self.has_room() && !self.is_half_closed {
            Watched::Frame
        } else {
            Watched::Nothing
        };
        if watched == std::mem::replace(&mut self.watched, watched) || watched == Watched::Nothing {
            return None;
        }
        (self.since, self.received) = (Instant::now(), 0);
        Some(self.since + self.check_period())
    }

    /// How often is looked whether patience is at its end.
    fn check_period(&self) -> Duration {
        let part = if self.watched == Watched::Answers { STALL } else { PRESSURE };
        self.bounds.limits.frame / part
    }

    /// Ends the connection if what it waits for takes too long.
    fn check_patience(&mut self, now: Instant) -> Result<(), End> {
        let (patience, waited) = (self.bounds.limits.frame, now.duration_since(self.since));
        let is_short = self.bounds.memory.is_exhausted() && waited >= patience / PRESSURE;
        let is_clogged = self.bounds.memory.is_clogged() && waited >= patience / STALL;
        let refused = |reason: &str| Err(End::Refused(reason.to_owned()));
        match self.watched {
            Watched::Frame if waited >= patience || is_short => {
                if self.received < PROGRESS_BYTES {
                    return refused("the rest of a request does not come");
                }
                (self.since, self.received) = (now, 0);
                Ok(())
            }
            Watched::Memory if waited >= patience => refused("there is no memory for a request"),
            Watched::Answers if is_clogged => refused("answers wait for long while memory is short"),
            _ => Ok(()),
        }
    }

    /// Handles the whole frames in the buffer; true when a turn ended before they did. A turn that ends with the last
    /// frame is not one of these: giving way for nothing has the runtime wake another thread.
    fn handle_frames(&mut self) -> Result<bool, End> {
        for _ in 0..TURN_REQUESTS {
            if !self.has_room() {
                return Ok(false);
            }
            if self.out.len() >= FLUSH_BYTES {
                return Ok(true);
            }
            let size = match self.read.front(self.bounds.limits.request_bytes) {
                Front::Frame(size) => size,
                Front::Partial => return Ok(false),
                Front::BadSize(size) => {
                    return Err(End::Refused(format!(
                        "invalid receive size {size} (socket.request.max.bytes is {})",
                        self.bounds.limits.request_bytes
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
                    let charge = self.bounds.memory.charge_answer(out.memory());
                    self.parked_bytes += out.memory();
                    self.parked.push_back(Parked::Answered(out, charge));
                }
                outcome
            };
            self.is_frame_starved = matches!(outcome, Outcome::Starved);
            if !self.is_frame_starved {
                self.watched = Watched::Nothing;
                self.memory.leave();
            }
            match outcome {
                Outcome::Answered | Outcome::Unanswered => {}
                Outcome::Starved => {
                    self.read.put_back(size);
                    return Ok(false);
                }
                Outcome::Pending(answer) => self.parked.push_back(Parked::Pending(answer)),
                Outcome::Exclusive(answer) => {
                    self.parked.push_back(Parked::Pending(answer));
                    self.is_held = true;
                }
                Outcome::Close(reason) => return Err(End::Refused(reason)),
            }
        }
        Ok(!matches!(self.read.front(self.bounds.limits.request_bytes), Front::Partial))
    }

    /// Moves answers that are there from the head of the line to the outbox.
    fn take_ready(&mut self) {
        while matches!(self.parked.front(), Some(Parked::Answered(..))) {
            if let Some(Parked::Answered(out, _)) = self.parked.pop_front() {
                self.parked_bytes -= out.memory();
                self.out.append(out);
            }
        }
    }

    /// Writes the outbox out, as fast as the peer takes it; a peer that takes nothing counts as idle.
    async fn flush(&mut self, cancel: &CancellationToken) -> Result<(), End> {
        loop {
            match self.out.try_send(&self.stream)? {
                Sent::All => return Ok(()),
                Sent::Step => tokio::task::yield_now().await,
                Sent::Blocked => break,
            }
        }
        // Boxed: most connections never need it.
        Box::pin(self.flush_slowly(cancel)).await
    }

    /// Likewise to a peer that is slower than the node: what it has not taken is charged to the budget.
    async fn flush_slowly(&mut self, cancel: &CancellationToken) -> Result<(), End> {
        let _held = self.bounds.memory.charge_answer(self.out.memory());
        let window = self.bounds.limits.frame / STALL;
        let (mut check, mut before) = (Instant::now() + window, self.out.unsent());
        loop {
            let mut stalled = false;
            tokio::select! {
                biased;
                ready = self.stream.ready(Interest::WRITABLE) => drop(ready?),
                () = cancel.cancelled() => return Err(End::Refused("the node stops".to_owned())),
                () = tokio::time::sleep_until(check.min(self.deadline())) => {
                    stalled = before - self.out.unsent() < PROGRESS_BYTES;
                    (check, before) = (Instant::now() + window, self.out.unsent());
                }
            }
            let is_idle = Instant::now() >= self.deadline();
            if is_idle || stalled && self.out.memory() >= FLUSH_BYTES && self.bounds.memory.is_clogged() {
                return Err(End::Refused("the peer does not take its answers".to_owned()));
            }
            let unsent = self.out.unsent();
            loop {
                match self.out.try_send(&self.stream)? {
                    Sent::All => return Ok(()),
                    Sent::Step => tokio::task::yield_now().await,
                    Sent::Blocked => break,
                }
            }
            if self.out.unsent() < unsent {
                self.is_active();
            }
        }
    }

    /// Waits for bytes, for the head of the line, or for the idle timer.
    async fn wait(&mut self, mut idle: Pin<&mut Sleep>) -> Result<Wake, End> {
        poll_fn(|cx| {
            if let Poll::Ready(wake) = self.poll_parked(cx) {
                return Poll::Ready(wake);
            }
            if self.is_frame_starved {
                // New in line, or woken: one more look, since memory may have been given back.
                if self.memory.stand(Purpose::Decoding, cx) {
                    return Poll::Ready(Ok(Wake::Memory));
                }
            } else if self.has_room()
                && !self.is_half_closed
                && let Poll::Ready(read) = self.poll_read(cx)
            {
                return Poll::Ready(read.map_err(End::Io));
            }
            idle.as_mut().poll(cx).map(|()| Ok(Wake::Timer))
        })
        .await
    }

    /// Takes all answers that are ready from the head of the line: what became ready together goes out in one write.
    fn poll_parked(&mut self, cx: &mut Context<'_>) -> Poll<Result<Wake, End>> {
        let mut wake = Poll::Pending;
        while self.out.len() < FLUSH_BYTES
            && let Some(Parked::Pending(answer)) = self.parked.front_mut()
        {
            match answer.as_mut().poll(cx) {
                Poll::Ready(Some(out)) => {
                    self.parked.pop_front();
                    self.is_held &= !self.parked.is_empty();
                    self.out.append(out);
                    self.take_ready();
                    wake = Poll::Ready(Ok(Wake::Ready));
                }
                // The answers before it go out first.
                Poll::Ready(None) if wake.is_ready() => {
                    *answer = Box::pin(std::future::ready(None));
                    break;
                }
                Poll::Ready(None) => {
                    return Poll::Ready(Err(End::Refused("the request could not be answered".to_owned())));
                }
                Poll::Pending => break,
            }
        }
        if wake.is_ready() {
            self.last_active = Instant::now();
        }
        wake
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Wake>> {
        // Readiness first: a connection that waits for its next request holds no buffer.
        if self.stream.poll_read_ready(cx)?.is_pending() {
            self.read.settle();
            if self.out.is_empty() {
                self.out.release();
            }
            return Poll::Pending;
        }
        if self.read.room().is_none() {
            self.is_starved = true;
            self.memory.stand(self.read.wants(), cx);
        }
        // A second look: memory may have been given back before the connection stood in line.
        let Some(room) = self.read.room() else { return Poll::Pending };
        self.is_starved = false;
        self.memory.leave();
        let mut room = ReadBuf::new(room);
        match Pin::new(&mut self.stream).poll_read(cx, &mut room) {
            Poll::Ready(Ok(())) => {
                let bytes = room.filled().len();
                self.read.filled(bytes);
                self.received += bytes;
                Poll::Ready(Ok(if bytes == 0 { Wake::EndOfStream } else { Wake::Read }))
            }
            Poll::Ready(Err(e)) => Poll::Ready(Err(e)),
            Poll::Pending => {
                self.read.settle();
                Poll::Pending
            }
        }
    }
}
