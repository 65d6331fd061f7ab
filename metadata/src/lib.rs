//! What the cluster agreed on: topics, partitions, brokers, configurations, as one immutable value.
//!
//! ```text
//!   records (log, snapshot) ──replay──▶ MetadataDelta ──▶ MetadataImage ──snapshot──▶ records
//! ```
//!
//! An image is cheap to clone and never changes; a delta is the step from one image to the next and
//! names what changed. No IO, no clock, no random source: everything here is a function of its arguments.

pub mod config;
pub mod delta;
pub mod directory;
pub mod image;
pub mod loader;
pub mod local;
pub mod partition;
pub mod replay;
pub mod scram;
pub mod snapshot;

pub use delta::MetadataDelta;
pub use image::MetadataImage;
pub use partition::PartitionRegistration;
