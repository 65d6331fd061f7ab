//! One request from its frame to its answer: timed, counted, and a line in the request log.
//!
//! The log is Kafka's `kafka.request.logger` at level DEBUG.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll};
use std::time::{Duration, Instant};

use net::{Outbox, Outcome, PendingAnswer};
use protocol::versions;

use crate::api;
use crate::context::Context;
use crate::metrics::codes;
use crate::server::Session;

/// Target of the lines, after Kafka's logger.
const LOG: &str = "kafka.request.logger";
/// A client id in a line is cut to so many bytes.
const CLIENT_ID_BYTES: usize = 256;

/// Whether the request log is on.
pub(crate) fn is_logged() -> bool {
    tracing::enabled!(target: LOG, tracing::Level::DEBUG)
}

/// A request that is being handled.
struct Watch {
    api_key: i16,
    version: i16,
    started: Instant,
    line: Option<Box<Line>>,
}

/// What the request log needs to know beside.
struct Line {
    correlation_id: i32,
    client_id: String,
    session: Session,
    request_bytes: usize,
}

/// Handles one request and watches it.
pub(crate) fn call(ctx: &Arc<Context>, session: &mut Session, frame: &mut [u8], out: &mut Outbox) -> Outcome {
    let watch = Watch::begin(session, frame);
    codes::begin();
    let before = out.len();
    match api::dispatch(ctx, session, frame, out) {
        outcome @ (Outcome::Answered | Outcome::Unanswered) => {
            if matches!(outcome, Outcome::Answered) {
                out.label(watch.api_key);
            }
            watch.end(ctx, watch.started.elapsed(), Duration::ZERO, out.len().saturating_sub(before));
            outcome
        }
        Outcome::Pending(answer) => Outcome::Pending(Waiting::begin(ctx, watch, answer)),
        Outcome::Exclusive(answer) => Outcome::Exclusive(Waiting::begin(ctx, watch, answer)),
        outcome @ (Outcome::Close(_) | Outcome::Starved) => {
            codes::end();
            outcome
        }
    }
}

impl Watch {
    fn begin(session: &Session, frame: &[u8]) -> Self {
        let word = |at: usize| frame.get(at..at + 2).map_or(-1, |b| i16::from_be_bytes([b[0], b[1]]));
        let (api_key, version) = (word(0), word(2));
        let line = is_logged().then(|| Box::new(Line::of(session, frame)));
        Self { api_key, version, started: Instant::now(), line }
    }

    /// The answer is there, or none is due.
    fn end(&self, ctx: &Context, local: Duration, remote: Duration, response_bytes: usize) {
        ctx.metrics.requests.finished(self.api_key, self.version, local, remote);
        let tally = codes::end();
        ctx.metrics.count_codes(self.api_key, &tally);
        let Some(line) = &self.line else { return };
        let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
        tracing::debug!(
            target: LOG,
            api = versions::api(self.api_key).map_or("Unknown", |api| api.name),
            version = self.version,
            correlation_id = line.correlation_id,
            client_id = %line.client_id,
            peer = %line.session.peer,
            listener = %line.session.listener,
            total_ms = milliseconds(local + remote),
            local_ms = milliseconds(local),
            remote_ms = milliseconds(remote),
            error = tally.first().name(),
            request_bytes = line.request_bytes,
            response_bytes,
            "Completed request"
        );
    }
}

impl Line {
    /// Reads what the header says; whether it is sound is found out by others.
    fn of(session: &Session, frame: &[u8]) -> Self {
        let correlation_id = frame.get(4..8).map_or(-1, |b| i32::from_be_bytes([b[0], b[1], b[2], b[3]]));
        let length = frame.get(8..10).map_or(-1, |b| i16::from_be_bytes([b[0], b[1]]));
        let length = usize::try_from(length).unwrap_or(0).min(CLIENT_ID_BYTES);
        let client_id = frame.get(10..10 + length).unwrap_or_default();
        Self {
            correlation_id,
            client_id: String::from_utf8_lossy(client_id).into_owned(),
            session: session.without_connection(),
            request_bytes: frame.len(),
        }
    }
}

/// A parked request. Work on it is told from waiting by the time spent in polls.
struct Waiting {
    ctx: Arc<Context>,
    watch: Watch,
    local: Duration,
    answer: PendingAnswer,
}

impl Waiting {
    fn begin(ctx: &Arc<Context>, watch: Watch, answer: PendingAnswer) -> PendingAnswer {
        codes::end();
        ctx.metrics.requests.wait(watch.api_key, 1);
        let local = watch.started.elapsed();
        Box::pin(Self { ctx: ctx.clone(), watch, local, answer })
    }
}

impl Future for Waiting {
    type Output = Option<Outbox>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        codes::begin();
        let began = Instant::now();
        let mut polled = self.answer.as_mut().poll(cx);
        let ended = Instant::now();
        self.local += ended - began;
        if let Poll::Ready(Some(out)) = &mut polled {
            out.label(self.watch.api_key);
            let total = ended - self.watch.started;
            self.watch.end(&self.ctx, self.local, total.saturating_sub(self.local), out.len());
        } else {
            codes::end();
        }
        polled
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.ctx.metrics.requests.wait(self.watch.api_key, -1);
    }
}
