//! The settings of one log: those topic configurations that storage acts on.

/// Settings of one log, under Kafka's topic-level names; `_ms` are milliseconds, `_bytes` are bytes.
///
/// A limit of -1 means "no limit" where Kafka says so (`retention_ms`, `retention_bytes`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    /// `segment.bytes`: a segment is rolled before it would grow beyond this.
    pub segment_bytes: u32,
    /// `segment.ms`: a non-empty segment older than this is rolled by the next append.
    pub segment_ms: i64,
    /// `segment.jitter.ms`: upper bound of what is subtracted from `segment_ms`, different for each segment.
    pub segment_jitter_ms: i64,
    /// `segment.index.bytes`: size limit of an offset or time index; a full one rolls the segment.
    pub segment_index_bytes: u32,
    /// `index.interval.bytes`: an index entry is added when more than this was appended since the last one.
    pub index_interval_bytes: u32,
    /// `max.message.bytes`: limit of one batch, checked by validation.
    pub max_message_bytes: u32,
    /// `retention.ms`, -1 for no limit.
    pub retention_ms: i64,
    /// `retention.bytes`, -1 for no limit.
    pub retention_bytes: i64,
    /// `cleanup.policy` contains `delete`.
    pub cleanup_delete: bool,
    /// `cleanup.policy` contains `compact`.
    pub cleanup_compact: bool,
    /// `file.delete.delay.ms`: for the caller, who removes [`crate::log::DoomedFiles`] after it.
    pub file_delete_delay_ms: i64,
    /// `flush.messages`: for the caller, who flushes when this many records are unflushed.
    pub flush_messages: i64,
    /// `flush.ms`: for the caller, who flushes when the oldest unflushed record is older.
    pub flush_ms: i64,
    /// `producer.id.expiration.ms`: idle producers without an open transaction are forgotten after it.
    pub producer_id_expiration_ms: i64,
    /// `delete.retention.ms`: how long compaction keeps tombstones.
    pub delete_retention_ms: i64,
    /// `min.compaction.lag.ms`.
    pub min_compaction_lag_ms: i64,
    /// `max.compaction.lag.ms`.
    pub max_compaction_lag_ms: i64,
    /// `min.cleanable.dirty.ratio` in thousandths.
    pub min_cleanable_dirty_permille: u32,
}

impl Default for LogConfig {
    /// Kafka 4.1's defaults of the topic configurations.
    fn default() -> Self {
        LogConfig {
            segment_bytes: 1 << 30,
            segment_ms: 7 * 24 * 3_600_000,
            segment_jitter_ms: 0,
            segment_index_bytes: 10 << 20,
            index_interval_bytes: 4096,
            max_message_bytes: 1_048_588,
            retention_ms: 7 * 24 * 3_600_000,
            retention_bytes: -1,
            cleanup_delete: true,
            cleanup_compact: false,
            file_delete_delay_ms: 60_000,
            flush_messages: i64::MAX,
            flush_ms: i64::MAX,
            producer_id_expiration_ms: 86_400_000,
            delete_retention_ms: 86_400_000,
            min_compaction_lag_ms: 0,
            max_compaction_lag_ms: i64::MAX,
            min_cleanable_dirty_permille: 500,
        }
    }
}
