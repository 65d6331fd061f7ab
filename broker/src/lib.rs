//! The broker: serves clients from the replicas of this node, as the metadata says.
//!
//! - [`Broker`] is the composition: what starts in which order.
//! - [`Probe`] tells an observer what the broker counts, and whether clients may come.
//! - `api` holds one file per Kafka API; `produce` and `fetch` are the hot path.
//! - `replica` owns the logs; [`group`] coordinates consumer groups; `applier` follows the metadata.
//!
//! The broker does not know the controller: it has a [`ControllerChannel`] to send requests to it, and a
//! [`MetadataSource`] that tells what was decided.

mod api;
mod applier;
mod auto_topics;
mod bounds;
mod broker;
mod cleaner;
mod clock;
pub mod config;
mod context;
mod controller_channel;
mod dir_assignments;
mod fetch;
mod follower;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
pub mod group;
mod group_log;
mod heavy;
mod isr_proposals;
mod lifecycle;
mod log_dir_moves;
mod maintenance;
mod metadata_cache;
mod metrics;
mod probe;
mod producer_ids;
mod replica;
mod server;
#[cfg(feature = "simulation")]
pub mod simulation;
mod throttle;
mod wire;

pub use api::fetch::RACK_AWARE_SELECTOR;
pub use applier::MetadataSource;
pub use bounds::{Capacity, bounds, memory_budget};
pub use broker::{BoundListeners, Broker, LockedDir, StartError};
pub use controller_channel::{
    ControllerAnswer, ControllerCall, ControllerChannel, ControllerUnavailable, Origin,
};
pub use lifecycle::RegistrationError;
pub use metrics::{ApiSnapshot, BUCKETS_MS, ConnectionCounts, Flow, FlowCounts};
pub use probe::{DirSnapshot, PartitionSnapshot, Probe, Snapshot, Stage};
