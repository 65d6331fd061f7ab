//! How long a cluster's partitions stand still while a node dies, hangs, returns or is restarted.
//!
//! ```text
//!   View: a thread per node asks for the metadata ──▶ who leads, who is in sync
//!   Prober: a thread per partition, one record at a time with acks=all, at the leader that the View knows
//!   Scene: a cluster under both, and what is done to it ──▶ Times
//! ```
//!
//! The same for ours and for Apache Kafka. A time is from the fault to the acknowledgement that ends the stand-still.

pub mod prober;
pub mod scene;
pub mod times;
pub mod view;
