//! Consumer groups and committed offsets: the group coordinator of the partitions of `__consumer_offsets` led here.
//!
//! ```text
//!   api/*.rs ──► coordinator (lock per shard, timers, waiting answers)        async shell
//!                    │
//!                  shard (groups and offsets of one partition)               ┐
//!                   ├── classic (join, sync, heartbeat, leave, timeouts)     │ pure: time is an argument,
//!                   ├── offsets (committed and pending transactional)        │ no waiting, no randomness
//!                   └── records (what is written, replay of what was)        ┘
//! ```
//!
//! Invariants: a group lives in exactly one shard, chosen by [`partition::partition_for`]; nothing that a record
//! carries is shown to a client before that record is below the high watermark; every parked request is answered
//! exactly once, with NOT_COORDINATOR if leadership goes.
//!
//! State changes as in Kafka's coordinator runtime: a record is appended first, under the shard's lock; if the
//! append fails nothing has changed; if it succeeds the change is applied at once and the answer waits for the
//! high watermark. Reads wait for the same mark, so they never show what may still be lost.

pub mod classic;
mod coordinator;
mod load;
mod modern;
mod offsets;
pub mod partition;
mod records;
mod reply;
mod shard;
mod subscription;
mod timers;

use std::net::IpAddr;

use bytes::BytesMut;
use protocol::{ErrorCode, StrBytes};

pub use coordinator::{FetchedTopics, GroupCoordinator};
pub use load::{Load, LoadError};
pub use partition::{java_string_hash, partition_for};
pub use reply::Reply;
pub use shard::{
    CommitRequest, DescribedGroup, DescribedMember, FetchedOffset, ListedGroup, PartitionCommit,
};

/// Name of the internal topic that holds groups and offsets.
pub const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// The broker's settings for classic groups and offsets, under Kafka's names and with Kafka's defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupConfig {
    /// `group.min.session.timeout.ms`.
    pub min_session_timeout_ms: i32,
    /// `group.max.session.timeout.ms`.
    pub max_session_timeout_ms: i32,
    /// `group.initial.rebalance.delay.ms`: how long the first rebalance of an empty group waits for more members.
    pub initial_rebalance_delay_ms: i32,
    /// `group.max.size`: members of one group.
    pub max_size: usize,
    /// `offset.metadata.max.bytes`, counted in UTF-16 units as Kafka does.
    pub offset_metadata_max: usize,
    /// `offsets.commit.timeout.ms`: how long an answer waits for the high watermark.
    pub commit_timeout_ms: i64,
    /// `offsets.retention.minutes`, in milliseconds.
    pub offsets_retention_ms: i64,
    /// `offsets.retention.check.interval.ms`.
    pub retention_check_interval_ms: i64,
    /// `offsets.topic.num.partitions`: used until the topic exists.
    pub offsets_partitions: i32,
}

impl Default for GroupConfig {
    fn default() -> Self {
        Self {
            min_session_timeout_ms: 6_000,
            max_session_timeout_ms: 1_800_000,
            initial_rebalance_delay_ms: 3_000,
            max_size: i32::MAX as usize,
            offset_metadata_max: 4_096,
            commit_timeout_ms: 5_000,
            offsets_retention_ms: 7 * 24 * 60 * 60 * 1_000,
            retention_check_interval_ms: 600_000,
            offsets_partitions: 50,
        }
    }
}

/// Who sent a request, as far as groups care.
#[derive(Clone, Copy, Debug)]
pub struct ClientContext<'a> {
    /// Client id of the request header; empty if absent.
    pub client_id: &'a str,
    /// Address of the connection's other end.
    pub client_host: IpAddr,
}

impl ClientContext<'_> {
    /// The host as DescribeGroups shows it and group records store it: Java's `InetAddress.toString`, `/10.0.0.1`.
    pub fn host(&self) -> String {
        match self.client_host.to_canonical() {
            IpAddr::V4(address) => format!("/{address}"),
            IpAddr::V6(address) => {
                let parts: Vec<String> = address.segments().iter().map(|part| format!("{part:x}")).collect();
                format!("/{}", parts.join(":"))
            }
        }
    }
}

/// Where an append landed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Offset of the batch's first record.
    pub base_offset: i64,
    /// Offset after the batch's last record: the answer waits until the high watermark reaches it.
    pub end_offset: i64,
    /// The partition's high watermark as known after the append; a lower one than the true one only delays.
    pub high_watermark: i64,
}

/// The partitions of [`OFFSETS_TOPIC`] as the coordinator writes them.
///
/// Called under the lock of the partition's shard, in the order in which the records must stand in the log, so it
/// must not block. Later progress is told by [`GroupCoordinator::on_high_watermark`], which may be called from
/// anywhere, also from inside `append`.
pub trait OffsetsLog: Send + Sync + 'static {
    /// Appends one batch (offsets from 0, no producer, CRC set) as leader of `leader_epoch`, as with acks=all.
    ///
    /// Errors are Kafka's codes of the append: NOT_LEADER_OR_FOLLOWER if this broker no longer leads at that
    /// epoch, NOT_ENOUGH_REPLICAS below min.insync.replicas, KAFKA_STORAGE_ERROR, MESSAGE_TOO_LARGE. After an error
    /// nothing of the batch is in the log.
    fn append(&self, partition: i32, leader_epoch: i32, batch: BytesMut) -> Result<Appended, ErrorCode>;
}

/// What the coordinator asks about topics.
pub trait TopicLookup: Send + Sync + 'static {
    /// Number of partitions of a topic that exists.
    fn partition_count(&self, topic: &str) -> Option<i32>;
}

/// One instant on two clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds on a clock that never jumps; timeouts are measured on it.
    pub ticks_ms: i64,
    /// Milliseconds since 1970; what records carry.
    pub wall_ms: i64,
}

/// The error that a client sees when a group's record could not be written with `error`.
///
/// After `CoordinatorOperationExceptionHelper` and `appendGroupMetadataErrorToResponseError`.
pub fn write_error(error: ErrorCode) -> ErrorCode {
    match error {
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
        | ErrorCode::NOT_ENOUGH_REPLICAS
        | ErrorCode::REQUEST_TIMED_OUT => ErrorCode::COORDINATOR_NOT_AVAILABLE,
        ErrorCode::NOT_LEADER_OR_FOLLOWER | ErrorCode::KAFKA_STORAGE_ERROR => ErrorCode::NOT_COORDINATOR,
        ErrorCode::MESSAGE_TOO_LARGE | ErrorCode::RECORD_LIST_TOO_LARGE | ErrorCode::INVALID_FETCH_SIZE => {
            ErrorCode::UNKNOWN_SERVER_ERROR
        }
        other => other,
    }
}

/// A string of an answer.
pub(crate) fn wire_text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}
