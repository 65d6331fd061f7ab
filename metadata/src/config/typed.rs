//! Configuration as typed fields, for the code that acts on it.
//!
//! Each struct is a plain copy of the values that were effective when it was made; make a new one when a
//! delta touches the resource. Units are those of the keys.

use super::keys::topic_key;
use super::layers::{Layers, Overrides};
use super::value::Value;

/// `compression.type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CompressionType {
    /// Keep what the producer chose.
    #[default]
    Producer,
    /// No compression.
    Uncompressed,
    /// gzip, with `compression.gzip.level`.
    Gzip,
    /// Snappy.
    Snappy,
    /// LZ4, with `compression.lz4.level`.
    Lz4,
    /// Zstandard, with `compression.zstd.level`.
    Zstd,
}

/// `message.timestamp.type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TimestampType {
    /// Set by the producer.
    #[default]
    CreateTime,
    /// Set by the broker when it appends.
    LogAppendTime,
}

/// `cleanup.policy`: any combination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CleanupPolicy {
    /// Old segments go by time and size.
    pub delete: bool,
    /// Only the last record of each key stays.
    pub compact: bool,
}

/// A field's value from a key's; the table's defaults make `None` impossible except for `Option` fields.
trait Field: Sized {
    fn from_value(value: Option<Value>) -> Self;
}

impl Field for bool {
    fn from_value(value: Option<Value>) -> Self {
        value == Some(Value::Boolean(true))
    }
}

impl Field for i64 {
    fn from_value(value: Option<Value>) -> Self {
        match value {
            Some(Value::Integer(number)) => number,
            _ => 0,
        }
    }
}

impl Field for i32 {
    fn from_value(value: Option<Value>) -> Self {
        i64::from_value(value).clamp(Self::MIN.into(), Self::MAX.into()) as Self
    }
}

impl Field for i16 {
    fn from_value(value: Option<Value>) -> Self {
        i64::from_value(value).clamp(Self::MIN.into(), Self::MAX.into()) as Self
    }
}

impl Field for f64 {
    fn from_value(value: Option<Value>) -> Self {
        match value {
            Some(Value::Double(number)) => number,
            _ => 0.0,
        }
    }
}

impl Field for String {
    fn from_value(value: Option<Value>) -> Self {
        value.map(|value| value.to_string()).unwrap_or_default()
    }
}

impl Field for Vec<String> {
    fn from_value(value: Option<Value>) -> Self {
        match value {
            Some(Value::List(items)) => items,
            _ => Self::new(),
        }
    }
}

impl<T: Field> Field for Option<T> {
    fn from_value(value: Option<Value>) -> Self {
        value.map(|value| T::from_value(Some(value)))
    }
}

impl Field for CompressionType {
    fn from_value(value: Option<Value>) -> Self {
        match String::from_value(value).as_str() {
            "uncompressed" => Self::Uncompressed,
            "gzip" => Self::Gzip,
            "snappy" => Self::Snappy,
            "lz4" => Self::Lz4,
            "zstd" => Self::Zstd,
            _ => Self::Producer,
        }
    }
}

impl Field for TimestampType {
    fn from_value(value: Option<Value>) -> Self {
        if String::from_value(value) == "LogAppendTime" { Self::LogAppendTime } else { Self::CreateTime }
    }
}

impl Field for CleanupPolicy {
    fn from_value(value: Option<Value>) -> Self {
        let words = Vec::<String>::from_value(value);
        let has = |word: &str| words.iter().any(|other| other.eq_ignore_ascii_case(word));
        Self { delete: has("delete"), compact: has("compact") }
    }
}

/// Declares a struct whose fields each hold the value of one key.
macro_rules! typed {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $field:ident: $type:ty = $key:literal,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq)]
        pub struct $name {
            $(
                $(#[$doc])*
                #[doc = concat!("`", $key, "`.")]
                pub $field: $type,
            )*
        }

        impl $name {
            fn read(value: impl Fn(&'static str) -> Option<Value>) -> Self {
                Self { $($field: Field::from_value(value($key)),)* }
            }

            #[cfg(test)]
            pub(super) const KEYS: &'static [&'static str] = &[$($key,)*];
        }
    };
}

impl TopicConfig {
    /// What holds for a topic that has set `overrides`.
    pub fn of(overrides: &dyn Overrides, layers: &Layers<'_>) -> Self {
        Self::read(|name| topic_key(name).and_then(|key| layers.resource_value(overrides, key)))
    }
}

impl BrokerConfig {
    /// What holds for a broker.
    pub fn of(layers: &Layers<'_>) -> Self {
        Self::read(|name| layers.value(name))
    }
}

impl ControllerConfig {
    /// What holds for a controller.
    pub fn of(layers: &Layers<'_>) -> Self {
        Self::read(|name| layers.value(name))
    }
}

typed! {
    /// What holds for the partitions of one topic.
    TopicConfig {
        /// What happens to old records:
        cleanup_policy: CleanupPolicy = "cleanup.policy",
        /// How records are stored:
        compression_type: CompressionType = "compression.type",
        /// -1 is zlib's default:
        compression_gzip_level: i32 = "compression.gzip.level",
        /// 1 to 17:
        compression_lz4_level: i32 = "compression.lz4.level",
        /// -131072 to 22:
        compression_zstd_level: i32 = "compression.zstd.level",
        /// How long tombstones stay after cleaning:
        delete_retention_ms: i64 = "delete.retention.ms",
        /// How long a removed file waits under its `.deleted` name:
        file_delete_delay_ms: i64 = "file.delete.delay.ms",
        /// fsync after so many records:
        flush_messages: i64 = "flush.messages",
        /// fsync after so long:
        flush_ms: i64 = "flush.ms",
        /// An index entry at most every so many bytes:
        index_interval_bytes: i32 = "index.interval.bytes",
        /// Records at most so long uncompacted:
        max_compaction_lag_ms: i64 = "max.compaction.lag.ms",
        /// Largest batch that may be produced:
        max_message_bytes: i32 = "max.message.bytes",
        /// Record times at most so far ahead:
        message_timestamp_after_max_ms: i64 = "message.timestamp.after.max.ms",
        /// Record times at most so far back:
        message_timestamp_before_max_ms: i64 = "message.timestamp.before.max.ms",
        /// Replicas whose leader throttles what it sends, `partition:broker` each, or `*`:
        leader_replication_throttled_replicas: Vec<String> = "leader.replication.throttled.replicas",
        /// Replicas that throttle what they fetch:
        follower_replication_throttled_replicas: Vec<String> = "follower.replication.throttled.replicas",
        /// Whose clock:
        message_timestamp_type: TimestampType = "message.timestamp.type",
        /// Share of uncleaned bytes that makes a log worth cleaning:
        min_cleanable_dirty_ratio: f64 = "min.cleanable.dirty.ratio",
        /// Records at least so long uncompacted:
        min_compaction_lag_ms: i64 = "min.compaction.lag.ms",
        /// Replicas without which acks=all is refused:
        min_insync_replicas: i32 = "min.insync.replicas",
        /// Per partition; -1 is no limit:
        retention_bytes: i64 = "retention.bytes",
        /// -1 is no limit:
        retention_ms: i64 = "retention.ms",
        /// Size at which a segment rolls:
        segment_bytes: i32 = "segment.bytes",
        /// Size of each index file of the active segment:
        segment_index_bytes: i32 = "segment.index.bytes",
        /// Random part by which time rolls come earlier:
        segment_jitter_ms: i64 = "segment.jitter.ms",
        /// Age at which a segment rolls:
        segment_ms: i64 = "segment.ms",
    }
}

impl TopicConfig {
    /// The age at which a segment really rolls: compacted topics roll before their records become overdue.
    pub fn max_segment_ms(&self) -> i64 {
        if self.cleanup_policy.compact && self.max_compaction_lag_ms > 0 {
            self.segment_ms.min(self.max_compaction_lag_ms)
        } else {
            self.segment_ms
        }
    }
}

typed! {
    /// What a broker acts on; addresses and directories are in `NodeConfig`.
    BrokerConfig {
        /// Whether an unknown topic in a Metadata request is created:
        auto_create_topics_enable: bool = "auto.create.topics.enable",
        /// Failure domain of the broker:
        broker_rack: Option<String> = "broker.rack",
        /// Period of heartbeats to the controller:
        broker_heartbeat_interval_ms: i32 = "broker.heartbeat.interval.ms",
        /// Without heartbeats for so long the broker is fenced:
        broker_session_timeout_ms: i32 = "broker.session.timeout.ms",
        /// Without a registration for so long the broker gives up:
        initial_broker_registration_timeout_ms: i32 = "initial.broker.registration.timeout.ms",
        /// Partitions of a topic created without a number:
        num_partitions: i32 = "num.partitions",
        /// Replicas of a topic created without a number:
        default_replication_factor: i32 = "default.replication.factor",
        /// Whether topics can be deleted:
        delete_topic_enable: bool = "delete.topic.enable",
        /// Idle connections are closed after so long; -1 never:
        connections_max_idle_ms: i64 = "connections.max.idle.ms",
        /// New connections per second:
        max_connection_creation_rate: i32 = "max.connection.creation.rate",
        /// Connections of all listeners:
        max_connections: i32 = "max.connections",
        /// Connections of one address:
        max_connections_per_ip: i32 = "max.connections.per.ip",
        /// The same for some addresses, `host:count` after `host:count`:
        max_connections_per_ip_overrides: String = "max.connections.per.ip.overrides",
        /// Bytes of requests in flight; -1 for a share of the memory:
        queued_max_request_bytes: i64 = "queued.max.request.bytes",
        /// Largest request:
        socket_request_max_bytes: i32 = "socket.request.max.bytes",
        /// How long a request to the controller may take:
        request_timeout_ms: i32 = "request.timeout.ms",
        /// Largest answer to a fetch:
        fetch_max_bytes: i32 = "fetch.max.bytes",
        /// Partitions in an answer to DescribeTopicPartitions:
        max_request_partition_size_limit: i32 = "max.request.partition.size.limit",
        /// Incremental fetch sessions kept:
        max_incremental_fetch_session_cache_slots: i32 = "max.incremental.fetch.session.cache.slots",
        /// Period of writing high watermarks:
        replica_high_watermark_checkpoint_interval_ms: i64 = "replica.high.watermark.checkpoint.interval.ms",
        replica_fetch_backoff_ms: i32 = "replica.fetch.backoff.ms",
        replica_fetch_max_bytes: i32 = "replica.fetch.max.bytes",
        replica_fetch_min_bytes: i32 = "replica.fetch.min.bytes",
        replica_fetch_response_max_bytes: i32 = "replica.fetch.response.max.bytes",
        replica_fetch_wait_max_ms: i32 = "replica.fetch.wait.max.ms",
        replica_socket_timeout_ms: i32 = "replica.socket.timeout.ms",
        replica_lag_time_max_ms: i64 = "replica.lag.time.max.ms",
        /// Bytes per second that throttled replicas may be sent:
        leader_replication_throttled_rate: i64 = "leader.replication.throttled.rate",
        /// Bytes per second that throttled replicas here may fetch:
        follower_replication_throttled_rate: i64 = "follower.replication.throttled.rate",
        /// Bytes per second that replicas may be copied from one directory to another:
        replica_alter_log_dirs_io_max_bytes_per_second: i64 = "replica.alter.log.dirs.io.max.bytes.per.second",
        /// Samples over which those rates are measured:
        replication_quota_window_num: i32 = "replication.quota.window.num",
        /// How long one of them is:
        replication_quota_window_size_seconds: i32 = "replication.quota.window.size.seconds",
        /// The same between directories:
        alter_log_dirs_replication_quota_window_num: i32 = "alter.log.dirs.replication.quota.window.num",
        alter_log_dirs_replication_quota_window_size_seconds: i32 =
            "alter.log.dirs.replication.quota.window.size.seconds",
        /// What chooses the replica that a consumer reads from; the leader without it:
        replica_selector_class: Option<String> = "replica.selector.class",
        /// Period of the retention check:
        log_retention_check_interval_ms: i64 = "log.retention.check.interval.ms",
        /// Wait before the first retention check and flush:
        log_initial_task_delay_ms: i64 = "log.initial.task.delay.ms",
        /// Wait between looks for a log to compact, when there is none:
        log_cleaner_backoff_ms: i64 = "log.cleaner.backoff.ms",
        /// Bytes for the keys of a log that is compacted:
        log_cleaner_dedupe_buffer_size: i64 = "log.cleaner.dedupe.buffer.size",
        /// Whether logs are compacted:
        log_cleaner_enable: bool = "log.cleaner.enable",
        /// How much of the buffer for keys may be in use:
        log_cleaner_io_buffer_load_factor: f64 = "log.cleaner.io.buffer.load.factor",
        /// Period of writing recovery points:
        log_flush_offset_checkpoint_interval_ms: i32 = "log.flush.offset.checkpoint.interval.ms",
        /// Period of writing log start offsets:
        log_flush_start_offset_checkpoint_interval_ms: i32 = "log.flush.start.offset.checkpoint.interval.ms",
        /// Idle producer ids are forgotten after so long:
        producer_id_expiration_ms: i32 = "producer.id.expiration.ms",
        /// Wait for more members before the first rebalance of a group:
        group_initial_rebalance_delay_ms: i32 = "group.initial.rebalance.delay.ms",
        /// Longest session timeout that a member may ask for:
        group_max_session_timeout_ms: i32 = "group.max.session.timeout.ms",
        /// Shortest session timeout that a member may ask for:
        group_min_session_timeout_ms: i32 = "group.min.session.timeout.ms",
        /// Members of one group:
        group_max_size: i32 = "group.max.size",
        /// Longest text with a committed offset:
        offset_metadata_max_bytes: i32 = "offset.metadata.max.bytes",
        /// How long a commit waits for the replicas:
        offsets_commit_timeout_ms: i32 = "offsets.commit.timeout.ms",
        /// Period of the search for expired offsets:
        offsets_retention_check_interval_ms: i64 = "offsets.retention.check.interval.ms",
        /// Offsets of an empty group expire after so long:
        offsets_retention_minutes: i32 = "offsets.retention.minutes",
        /// Partitions of the offsets topic:
        offsets_topic_num_partitions: i32 = "offsets.topic.num.partitions",
        /// Replicas of the offsets topic:
        offsets_topic_replication_factor: i16 = "offsets.topic.replication.factor",
        /// Segment size of the offsets topic:
        offsets_topic_segment_bytes: i32 = "offsets.topic.segment.bytes",
        /// Partitions of the transactions topic:
        transaction_state_log_num_partitions: i32 = "transaction.state.log.num.partitions",
        /// Replicas of the transactions topic:
        transaction_state_log_replication_factor: i16 = "transaction.state.log.replication.factor",
        /// In-sync replicas that the transactions topic needs:
        transaction_state_log_min_isr: i32 = "transaction.state.log.min.isr",
        /// Segment size of the transactions topic:
        transaction_state_log_segment_bytes: i32 = "transaction.state.log.segment.bytes",
    }
}

typed! {
    /// What a controller acts on; addresses, voters and directories are in `NodeConfig`.
    ControllerConfig {
        /// Silence after which a voter stands for election:
        quorum_election_timeout_ms: i32 = "controller.quorum.election.timeout.ms",
        /// Silence after which a follower looks for another leader:
        quorum_fetch_timeout_ms: i32 = "controller.quorum.fetch.timeout.ms",
        /// Longest wait between elections:
        quorum_election_backoff_max_ms: i32 = "controller.quorum.election.backoff.max.ms",
        /// How long a request between voters may take:
        quorum_request_timeout_ms: i32 = "controller.quorum.request.timeout.ms",
        /// Wait before a failed request is sent again:
        quorum_retry_backoff_ms: i32 = "controller.quorum.retry.backoff.ms",
        /// Segment size of the metadata log:
        metadata_log_segment_bytes: i32 = "metadata.log.segment.bytes",
        /// Segment age of the metadata log:
        metadata_log_segment_ms: i64 = "metadata.log.segment.ms",
        /// Bytes of metadata log and snapshots to keep:
        metadata_max_retention_bytes: i64 = "metadata.max.retention.bytes",
        /// Age of metadata log and snapshots to keep:
        metadata_max_retention_ms: i64 = "metadata.max.retention.ms",
        /// Bytes of new records that cause a snapshot:
        metadata_log_max_record_bytes_between_snapshots: i64 =
            "metadata.log.max.record.bytes.between.snapshots",
        /// Age of the last snapshot that causes the next; 0 for never:
        metadata_log_max_snapshot_interval_ms: i64 = "metadata.log.max.snapshot.interval.ms",
        /// Period of NoOpRecords; 0 for none:
        metadata_max_idle_interval_ms: i32 = "metadata.max.idle.interval.ms",
        /// A broker silent for so long is fenced:
        broker_session_timeout_ms: i32 = "broker.session.timeout.ms",
        /// Partitions of a topic created without a number:
        num_partitions: i32 = "num.partitions",
        /// Replicas of a topic created without a number:
        default_replication_factor: i32 = "default.replication.factor",
        /// Whether topics can be deleted:
        delete_topic_enable: bool = "delete.topic.enable",
        /// Whether leadership goes back to the preferred replica:
        auto_leader_rebalance_enable: bool = "auto.leader.rebalance.enable",
        /// Period of that:
        leader_imbalance_check_interval_seconds: i64 = "leader.imbalance.check.interval.seconds",
    }
}
