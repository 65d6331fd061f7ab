//! Replica logs in Apache Kafka's own files.
//!
//! One [`Log`] per partition replica, made of segments (`.log`, `.index`, `.timeindex`, `.txnindex`), producer
//! snapshots and the leader epoch file; [`dirs`] holds what is kept once per log directory (lock, `meta.properties`,
//! offset checkpoints, clean-shutdown mark); [`compaction`] cleans logs whose records have keys.
//!
//! Invariants: blocking file IO and nothing else; no clock and no random source: time and ids are arguments.
//! No lock is held inside for long and none is needed outside other than one around each `Log`.

pub mod compaction;
pub mod config;
pub mod dirs;
pub mod durable;
mod index;
pub mod leader_epochs;
pub mod log;
pub mod names;
pub mod producer_state;
pub mod properties;
mod scan;
pub mod segment;
pub mod txn_index;
pub mod validate;

pub use config::LogConfig;
pub use log::{
    AppendArgs, AppendError, AppendInfo, AppendOrigin, DoomedFiles, FlushJob, Log, LogSlice, OpenArgs,
    OpenError, ReadError, RecoveryReport, StorageError,
};
pub use names::TopicPartition;
pub use segment::SegmentFile;
