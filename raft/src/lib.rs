//! KRaft: the consensus protocol of Kafka's metadata log, as a state machine without IO.
//!
//! ```text
//!   requests, responses,        ┌──────────┐   ordered effects: persist quorum-state,
//!   appends, ticks  ──────────▶ │   Node   │ ─────────────────▶ send, reply, high watermark, ...
//!                               └────┬─────┘
//!                                    │ blocking calls: append, flush, read, truncate
//!                               ┌────▼─────┐
//!                               │ impl Log │
//!                               └──────────┘
//! ```
//!
//! Invariants:
//! - No clock, no randomness, no tokio: `now_ms` is an argument, the seed is part of [`Config`].
//! - [`Node::step`] returns effects in an order that matters: a driver carries out each before the next, and all
//!   before the next step. A reply or request always follows the `PersistQuorumState` that it depends on.
//! - Everything in the log is flushed when `step` returns, so an offset that leaves this node is durable here.
//! - The only bytes written are Kafka's own: record batches, control records, the `quorum-state` file.
//!
//! Facts come from KIP-595 (Raft), KIP-630 (snapshots), KIP-853 (dynamic voters), KIP-996 (pre-vote) and
//! from the behaviour of Apache Kafka 4.1.

pub mod batch;
pub mod config;
pub mod control;
pub mod effect;
pub mod input;
pub mod log;
pub mod message;
pub mod node;
pub mod quorum_state;
pub mod replica;
pub mod rng;
pub mod snapshot;
pub mod voters;

#[cfg(test)]
mod golden;
#[cfg(any(test, feature = "memory-log"))]
pub mod memory_log;
#[cfg(test)]
mod robustness;
#[cfg(test)]
mod sole_voter;

pub use config::Config;
pub use effect::{AppendError, Effect, Fault, Peer, UpgradeError};
pub use input::{Input, SendError};
pub use log::{Log, LogError, SnapshotChunk, SnapshotInfo};
pub use node::{Node, QuorumDescription, ReplicaDescription, RoleName, StartError};
pub use quorum_state::QuorumState;
pub use replica::{Address, Endpoint, OffsetAndEpoch, ReplicaKey};
pub use voters::{Voter, VoterSet};
