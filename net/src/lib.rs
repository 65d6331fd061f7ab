//! The network layer: listeners, the connection loop with pipelined requests, and the tasks they run in.
//!
//! Nothing here knows what a request means. A [`Service`] is given one frame at a time and writes its answer
//! into an [`Outbox`]; this crate keeps the answers in request order, coalesces them, and hands file ranges to
//! `sendfile`. [`client`] is the other side: connections that this node opens. This is the lowest crate that knows tokio.

mod budget;
pub mod client;
mod connection;
mod listener;
mod outbox;
mod pool;
mod quotas;
pub mod reach;
mod read_buffer;
pub mod tasks;

pub use budget::{Charge, MemoryBudget, Purpose};
pub use connection::{ConnectionInfo, ConnectionLimits, Outcome, PendingAnswer, Service};
pub use listener::{BindError, Bounds, Listener};
pub use outbox::{FileRange, FileSource, FrameMark, Outbox, SENDFILE_MIN_BYTES};
pub use quotas::{ConnectionQuotas, ListenerQuota, QuotaSettings, TooManyConnections};
