//! How fast: a load generator, a server that shows what the machine itself costs, and the table of both beside ours.
//!
//! ```text
//!   section (columns, bars) ── report, picture
//!        │
//!   requests (the cells)   latency   startup   idle   restart       what is measured
//!        │        └───────────┴─────────┴────────┴──────┴── turns   who is measured when
//!   load (frames, epoll) ── Server: ours | floor | Apache Kafka; or a cluster of three of ours or of Kafka
//!                               └── usage (processor time, switches, system calls)
//! ```
//!
//! The sides of a cell run in turns, A B B A, so that what else the machine does hits them alike; what counts is the
//! ratio of a turn and the median of these ratios. Logs stay under 256 MiB a partition, written to memory that a
//! scratch file has just warmed: the first touch of a page costs ten times as much on a virtual machine.

pub mod cell;
pub mod floor;
pub mod frames;
pub mod idle;
pub mod latency;
pub mod load;
pub mod picture;
pub mod placement;
pub mod plan;
pub mod profile;
pub mod report;
pub mod requests;
pub mod restart;
pub mod results;
pub mod section;
pub mod server;
pub mod startup;
pub mod topic;
pub mod turns;
pub mod usage;
