//! What a broker is configured with: fixed at its start, or changing while it runs.
//!
//! The keys, their defaults and their layers are data in `metadata::config`; here they become typed values, once
//! per change and never per request.

use std::sync::Arc;
use std::time::Duration;

use metadata::config::{Layers, NoOverrides, StaticConfig, Value, topic_key};
use metadata::image::{ConfigResource, MetadataImage};
use protocol::compress::Codec;
use storage::LogConfig;
use storage::validate::{Compression, TimestampType, ValidateArgs};

/// A listener of the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerConfig {
    /// Name, upper case.
    pub name: String,
    /// Host to bind; empty for all addresses.
    pub host: String,
    /// Port to bind; 0 for a free one.
    pub port: u16,
    /// Host that clients are told.
    pub advertised_host: String,
    /// Port that clients are told; 0 means the port that was bound.
    pub advertised_port: u16,
    /// PLAINTEXT 0, SSL 1, SASL_PLAINTEXT 2, SASL_SSL 3.
    pub security_protocol: i16,
}

/// What a broker is started with.
#[derive(Clone, Debug)]
pub struct BrokerConfig {
    /// `node.id`.
    pub node_id: i32,
    /// Id of the cluster, from meta.properties.
    pub cluster_id: String,
    /// `broker.rack`.
    pub rack: Option<String>,
    /// The client-facing listeners.
    pub listeners: Vec<ListenerConfig>,
    /// Name of the listener that brokers use among each other.
    pub inter_broker_listener: String,
    /// `socket.request.max.bytes`.
    pub request_max_bytes: usize,
    /// `connections.max.idle.ms`.
    pub connections_max_idle: Duration,
    /// `broker.heartbeat.interval.ms`.
    pub heartbeat_interval: Duration,
    /// `initial.broker.registration.timeout.ms`.
    pub registration_timeout: Duration,
    /// The properties that the node was started with.
    pub properties: Arc<StaticConfig>,
}

/// Settings that may change while the broker runs, or that handlers need typed.
#[derive(Clone, Debug)]
pub(crate) struct BrokerSettings {
    pub(crate) auto_create_topics: bool,
    pub(crate) request_timeout_ms: i64,
    pub(crate) fetch_max_bytes: usize,
    pub(crate) fetch_session_slots: usize,
    pub(crate) retention_check_interval: Duration,
    pub(crate) high_watermark_checkpoint_interval: Duration,
    pub(crate) flush_checkpoint_interval: Duration,
    pub(crate) offsets_topic_partitions: i32,
    pub(crate) offsets_topic_replication_factor: i16,
    pub(crate) offsets_topic_segment_bytes: i64,
    pub(crate) transaction_topic_partitions: i32,
    pub(crate) transaction_topic_replication_factor: i16,
    pub(crate) transaction_topic_segment_bytes: i64,
    pub(crate) transaction_topic_min_isr: i64,
    pub(crate) group: crate::group::GroupConfig,
}

/// The settings of one topic.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TopicSettings {
    pub(crate) log: LogConfig,
    pub(crate) min_insync_replicas: usize,
    compression: Compression,
    timestamp_type: TimestampType,
    timestamp_before_max_ms: i64,
    timestamp_after_max_ms: i64,
}

/// Computes settings from the image and the properties of the node.
pub(crate) struct SettingsSource {
    node_id: i32,
    properties: Arc<StaticConfig>,
}

type Dynamic = imbl::OrdMap<String, String>;

impl SettingsSource {
    pub(crate) fn new(config: &BrokerConfig) -> Self {
        Self { node_id: config.node_id, properties: config.properties.clone() }
    }

    fn with_layers<T>(&self, image: &MetadataImage, f: impl FnOnce(&Layers<'_>) -> T) -> T {
        let broker: Dynamic = image.configs.of(&ConfigResource::broker(self.node_id));
        let cluster: Dynamic = image.configs.of(&ConfigResource::cluster_default());
        f(&Layers { broker: &broker, cluster: &cluster, fixed: &self.properties })
    }

    /// The broker's settings.
    pub(crate) fn broker(&self, image: &MetadataImage) -> BrokerSettings {
        self.with_layers(image, |layers| BrokerSettings::of(&|name| layers.value(name)))
    }

    /// The settings of a topic.
    pub(crate) fn topic(&self, image: &MetadataImage, topic: &str) -> Arc<TopicSettings> {
        let overrides: Dynamic = image.configs.of(&ConfigResource::topic(topic));
        self.with_layers(image, |layers| {
            let value = |name: &str| layers.resource_value(&overrides, topic_key(name)?);
            let expiry = layers.value("producer.id.expiration.ms");
            Arc::new(TopicSettings::of(&value, expiry))
        })
    }

    /// The settings of a topic that sets nothing itself, by the properties file alone.
    pub(crate) fn default_topic(&self) -> Arc<TopicSettings> {
        let layers = Layers::of(&self.properties);
        let value = |name: &str| layers.resource_value(&NoOverrides, topic_key(name)?);
        Arc::new(TopicSettings::of(&value, layers.value("producer.id.expiration.ms")))
    }
}

type Lookup<'a> = &'a dyn Fn(&str) -> Option<Value>;

/// A key that the tables of `metadata::config` define with this type, or `default` where they define none.
fn int(value: Lookup<'_>, name: &str, default: i64) -> i64 {
    match value(name) {
        Some(Value::Integer(n)) => n,
        _ => default,
    }
}

/// Likewise as another type of number. The tables' checks keep values within it.
fn limit<T: TryFrom<i64>>(value: Lookup<'_>, name: &str, default: T) -> T {
    match value(name) {
        Some(Value::Integer(n)) => T::try_from(n).unwrap_or(default),
        _ => default,
    }
}

fn boolean(value: Lookup<'_>, name: &str, default: bool) -> bool {
    match value(name) {
        Some(Value::Boolean(b)) => b,
        _ => default,
    }
}

fn millis(value: Lookup<'_>, name: &str, default: u64) -> Duration {
    Duration::from_millis(limit(value, name, default))
}

impl BrokerSettings {
    fn of(value: Lookup<'_>) -> Self {
        Self {
            auto_create_topics: boolean(value, "auto.create.topics.enable", true),
            request_timeout_ms: int(value, "request.timeout.ms", 30_000),
            fetch_max_bytes: limit(value, "fetch.max.bytes", 57_671_680),
            fetch_session_slots: limit(value, "max.incremental.fetch.session.cache.slots", 1000),
            retention_check_interval: millis(value, "log.retention.check.interval.ms", 300_000),
            high_watermark_checkpoint_interval: millis(value, "replica.high.watermark.checkpoint.interval.ms", 5000),
            flush_checkpoint_interval: millis(value, "log.flush.offset.checkpoint.interval.ms", 60_000),
            offsets_topic_partitions: limit(value, "offsets.topic.num.partitions", 50),
            offsets_topic_replication_factor: limit(value, "offsets.topic.replication.factor", 3),
            offsets_topic_segment_bytes: int(value, "offsets.topic.segment.bytes", 104_857_600),
            transaction_topic_partitions: limit(value, "transaction.state.log.num.partitions", 50),
            transaction_topic_replication_factor: limit(value, "transaction.state.log.replication.factor", 3),
            transaction_topic_segment_bytes: int(value, "transaction.state.log.segment.bytes", 104_857_600),
            transaction_topic_min_isr: int(value, "transaction.state.log.min.isr", 2),
            group: crate::group::GroupConfig {
                min_session_timeout_ms: limit(value, "group.min.session.timeout.ms", 6000),
                max_session_timeout_ms: limit(value, "group.max.session.timeout.ms", 1_800_000),
                initial_rebalance_delay_ms: limit(value, "group.initial.rebalance.delay.ms", 3000),
                max_size: limit(value, "group.max.size", i32::MAX as usize),
                offset_metadata_max: limit(value, "offset.metadata.max.bytes", 4096),
                commit_timeout_ms: int(value, "offsets.commit.timeout.ms", 5000),
                offsets_retention_ms: int(value, "offsets.retention.minutes", 10_080).saturating_mul(60_000),
                retention_check_interval_ms: int(value, "offsets.retention.check.interval.ms", 600_000),
                offsets_partitions: limit(value, "offsets.topic.num.partitions", 50),
            },
        }
    }
}

impl TopicSettings {
    fn of(value: Lookup<'_>, producer_expiry: Option<Value>) -> Self {
        let default = LogConfig::default();
        let policies = match value("cleanup.policy") {
            Some(Value::List(policies)) => policies,
            _ => vec!["delete".to_owned()],
        };
        let log = LogConfig {
            segment_bytes: limit(value, "segment.bytes", default.segment_bytes),
            segment_ms: int(value, "segment.ms", default.segment_ms),
            segment_jitter_ms: int(value, "segment.jitter.ms", default.segment_jitter_ms),
            segment_index_bytes: limit(value, "segment.index.bytes", default.segment_index_bytes),
            index_interval_bytes: limit(value, "index.interval.bytes", default.index_interval_bytes),
            max_message_bytes: limit(value, "max.message.bytes", default.max_message_bytes),
            retention_ms: int(value, "retention.ms", default.retention_ms),
            retention_bytes: int(value, "retention.bytes", default.retention_bytes),
            cleanup_delete: policies.iter().any(|p| p == "delete"),
            cleanup_compact: policies.iter().any(|p| p == "compact"),
            file_delete_delay_ms: int(value, "file.delete.delay.ms", default.file_delete_delay_ms),
            flush_messages: int(value, "flush.messages", default.flush_messages),
            flush_ms: int(value, "flush.ms", default.flush_ms),
            producer_id_expiration_ms: match producer_expiry {
                Some(Value::Integer(ms)) => ms,
                _ => default.producer_id_expiration_ms,
            },
            delete_retention_ms: int(value, "delete.retention.ms", default.delete_retention_ms),
            min_compaction_lag_ms: int(value, "min.compaction.lag.ms", default.min_compaction_lag_ms),
            max_compaction_lag_ms: int(value, "max.compaction.lag.ms", default.max_compaction_lag_ms),
            min_cleanable_dirty_permille: match value("min.cleanable.dirty.ratio") {
                Some(Value::Double(ratio)) => (ratio * 1000.0) as u32,
                _ => default.min_cleanable_dirty_permille,
            },
        };
        Self {
            log,
            min_insync_replicas: limit(value, "min.insync.replicas", 1),
            compression: compression(value),
            timestamp_type: match value("message.timestamp.type") {
                Some(Value::Text(kind)) if kind == "LogAppendTime" => TimestampType::LogAppendTime,
                _ => TimestampType::CreateTime,
            },
            timestamp_before_max_ms: int(value, "message.timestamp.before.max.ms", i64::MAX),
            timestamp_after_max_ms: int(value, "message.timestamp.after.max.ms", 3_600_000),
        }
    }
}
