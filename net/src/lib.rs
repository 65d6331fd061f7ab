//! The network layer: listeners, the connection loop with pipelined requests, and the tasks they run in.
//!
//! Nothing here knows what a request means. A [`Service`] is given one frame at a time and writes its answer
//! into an [`Outbox`]; this crate keeps the answers in request order, coalesces them, and hands file ranges to
//! `sendfile`. This is the lowest crate that knows tokio.

mod connection;
mod listener;
mod outbox;
mod pool;
mod read_buffer;
pub mod tasks;

pub use connection::{ConnectionInfo, ConnectionLimits, Outcome, PendingAnswer, Service};
pub use listener::{BindError, Listener};
pub use outbox::{FileRange, FrameMark, Outbox, SENDFILE_MIN_BYTES};
