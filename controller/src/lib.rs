//! The active controller: decides what becomes of topics, partitions, brokers and configurations.
//!
//! ```text
//!   ControllerHandle ──requests──▶ loop ──records──▶ store (kraft: raft node + log)
//!          ▲                        │ decide: pure        │
//!          └──answers, committed deltas◀──────────────────┘
//! ```
//!
//! Everything between the handle and the disk runs on one thread of its own. [`decide`] is pure, [`store`] says where
//! records become durable, [`api`] is the wire form, [`mod@format`] makes the directories that [`fn@start`] opens.

mod api;
mod api_error;
mod clock;
mod controller;
pub mod decide;
pub mod entropy;
pub mod event;
pub mod format;
mod handle;
mod kraft_log;
pub mod liveness;
mod metrics;
mod publisher;
mod refusal;
mod snapshot_file;
mod start;
pub mod store;

pub use api_error::ApiError;
pub use controller::LeaderAndEpoch;
pub use handle::{Answer, ControllerHandle, InvalidRequest};
pub use kraft_log::OpenError;
pub use metrics::{ControllerSnapshot, RaftSnapshot, TimesSnapshot};
pub use publisher::Subscription;
pub use snapshot_file::{SnapshotError, read_bootstrap};
pub use start::{StartArgs, StartError, start};
