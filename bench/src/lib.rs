//! How fast: a load generator, a server that shows what the machine itself costs, and the table of both beside ours.
//!
//! ```text
//!   cell (what is measured) ── rounds (who is measured when) ── report (table, JSON)
//!                                 │
//!            load (pre-encoded requests, epoll) ── Server: ours | floor | Apache Kafka
//!                                                     └── usage (processor time, switches, system calls)
//! ```
//!
//! The sides of a cell run in turns, A B B A, so that what else the machine does hits them alike; what counts is the
//! ratio of a turn and the median of these ratios. Logs stay under 256 MiB a partition, written to memory that a
//! scratch file has just warmed: the first touch of a page costs ten times as much on a virtual machine.

pub mod cell;
pub mod floor;
pub mod frames;
pub mod load;
pub mod placement;
pub mod report;
pub mod rounds;
pub mod server;
pub mod topic;
pub mod usage;
