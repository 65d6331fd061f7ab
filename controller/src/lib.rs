//! The active controller: decides what becomes of topics, partitions, brokers and configurations.
//!
//! ```text
//!   ControllerHandle ──requests──▶ loop ──records──▶ store (kraft: raft node + log)
//!          ▲                        │ decide: pure        │
//!          └──answers, committed deltas◀──────────────────┘
//! ```
//!
//! Everything between the handle and the disk runs on one thread of its own. A node without the controller role runs the
//! same loop: its Raft node observes and never leads. [`ActiveController`] is the way to the controller that decides,
//! wherever it is. [`decide`] is pure, [`store`] says where
//! records become durable, [`api`] is the wire form, [`mod@format`] makes the directories that [`fn@start`] opens.

mod active_controller;
mod api;
mod api_error;
mod clock;
mod closer_look;
mod controller;
pub mod decide;
pub mod entropy;
pub mod event;
pub mod format;
mod handle;
mod held;
mod kraft_log;
pub mod liveness;
#[cfg(feature = "simulation")]
pub mod machine;
mod metrics;
mod publisher;
mod raft_peers;
mod refusal;
mod registration;
mod snapshot_file;
mod start;
pub mod store;

pub use active_controller::{ActiveController, Unavailable};
pub use api_error::ApiError;
pub use closer_look::BrokerConnection;
pub use controller::LeaderAndEpoch;
pub use handle::{Answer, ControllerHandle, InvalidRequest};
pub use kraft_log::OpenError;
pub use metrics::{ControllerSnapshot, RaftSnapshot, TimesSnapshot};
pub use publisher::Subscription;
pub use snapshot_file::{SnapshotError, read_bootstrap};
pub use start::{StartArgs, StartError, start};
pub use store::kraft::MetadataLog;
