//! What a broker is configured with: fixed at its start, or changing while it runs.
//!
//! The keys, their defaults and their layers are data in `metadata::config`; typed values are computed once per
//! change of the configuration, never per request.

use std::sync::Arc;

pub(crate) use metadata::config::BrokerConfig as BrokerSettings;
use metadata::config::{Layers, NoOverrides, StaticConfig, TopicConfig};
use metadata::image::{ConfigResource, MetadataImage};
use net::MemoryBudget;
use protocol::batch::{NO_LEADER_EPOCH, TimestampType};
use protocol::compress::Codec;
use storage::validate::{CompressionType, DEFAULT_MAX_DECOMPRESSED_BYTES, ValidateArgs};
use storage::{AppendOrigin, LogConfig, TopicPartition};
use uuid::Uuid;

use crate::bounds::Capacity;
use crate::group::GroupConfig;
use crate::throttle::ThrottledReplicas;

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
    /// Random id of this run of the broker.
    pub incarnation_id: Uuid,
    /// `broker.rack`.
    pub rack: Option<String>,
    /// The client-facing listeners.
    pub listeners: Vec<ListenerConfig>,
    /// Name of the listener that brokers use among each other.
    pub inter_broker_listener: String,
    /// The properties that the node was started with.
    pub properties: Arc<StaticConfig>,
    /// What the machine can bear.
    pub capacity: Capacity,
    /// The memory that requests in flight share, those of other roles of the node included.
    pub memory: Arc<MemoryBudget>,
}

impl BrokerConfig {
    /// Names of the listeners.
    pub(crate) fn listener_names(&self) -> Vec<String> {
        self.listeners.iter().map(|listener| listener.name.clone()).collect()
    }
}

/// The settings of one topic.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TopicSettings {
    pub(crate) topic: TopicConfig,
    /// The part that the log acts on.
    pub(crate) log: LogConfig,
    /// `replica.lag.time.max.ms`: how long a follower may lag before it leaves the ISR.
    pub(crate) replica_lag_max_ms: i64,
    /// Followers that this broker sends to at a bounded rate.
    pub(crate) leader_throttled: ThrottledReplicas,
    /// Replicas of this broker that fetch at a bounded rate.
    pub(crate) follower_throttled: ThrottledReplicas,
}

/// Computes settings from the image and the properties of the node.
pub(crate) struct SettingsSource {
    node_id: i32,
    properties: Arc<StaticConfig>,
}

impl SettingsSource {
    pub(crate) fn new(config: &BrokerConfig) -> Self {
        Self { node_id: config.node_id, properties: config.properties.clone() }
    }

    /// Calls `f` with the broker's layers of configuration.
    pub(crate) fn with_layers<T>(&self, image: &MetadataImage, f: impl FnOnce(&Layers<'_>) -> T) -> T {
        let broker = image.configs.of(&ConfigResource::broker(self.node_id));
        let cluster = image.configs.of(&ConfigResource::cluster_default());
        f(&Layers { broker: &broker, cluster: &cluster, fixed: &self.properties })
    }

    /// The broker's settings.
    pub(crate) fn broker(&self, image: &MetadataImage) -> BrokerSettings {
        self.with_layers(image, BrokerSettings::of)
    }

    /// The settings of a topic.
    pub(crate) fn topic(&self, image: &MetadataImage, topic: &str) -> Arc<TopicSettings> {
        let overrides = image.configs.of(&ConfigResource::topic(topic));
        self.with_layers(image, |layers| {
            let settings = TopicConfig::of(&overrides, layers);
            Arc::new(TopicSettings::new(settings, &BrokerSettings::of(layers)))
        })
    }

    /// The settings of a topic that sets nothing itself, by the properties file alone.
    pub(crate) fn default_topic(&self) -> TopicSettings {
        let layers = Layers::of(&self.properties);
        TopicSettings::new(TopicConfig::of(&NoOverrides, &layers), &BrokerSettings::of(&layers))
    }
}

impl TopicSettings {
    fn new(topic: TopicConfig, broker: &BrokerSettings) -> Self {
        let log = log_config(&topic, broker);
        Self {
            log,
            replica_lag_max_ms: broker.replica_lag_time_max_ms,
            leader_throttled: ThrottledReplicas::parse(&topic.leader_replication_throttled_replicas),
            follower_throttled: ThrottledReplicas::parse(&topic.follower_replication_throttled_replicas),
            topic,
        }
    }

    /// How batches of clients are checked and stored.
    pub(crate) fn validate_args<'a>(&self, name: &'a TopicPartition, now_ms: i64) -> ValidateArgs<'a> {
        ValidateArgs {
            topic_partition: name,
            origin: AppendOrigin::Client,
            now_ms,
            leader_epoch: NO_LEADER_EPOCH,
            max_message_bytes: self.log.max_message_bytes,
            compression: self.compression(),
            compacted: self.log.cleanup_compact,
            timestamp_type: match self.topic.message_timestamp_type {
                metadata::config::TimestampType::CreateTime => TimestampType::CreateTime,
                metadata::config::TimestampType::LogAppendTime => TimestampType::LogAppendTime,
            },
            timestamp_before_max_ms: self.topic.message_timestamp_before_max_ms,
            timestamp_after_max_ms: self.topic.message_timestamp_after_max_ms,
            max_decompressed_bytes: DEFAULT_MAX_DECOMPRESSED_BYTES,
            open_compressed: true,
        }
    }

    fn compression(&self) -> CompressionType {
        let codec = |codec, level| CompressionType::Codec { codec, level };
        match self.topic.compression_type {
            metadata::config::CompressionType::Producer => CompressionType::Producer,
            metadata::config::CompressionType::Uncompressed => codec(Codec::None, None),
            metadata::config::CompressionType::Gzip => {
                codec(Codec::Gzip, Some(self.topic.compression_gzip_level))
            }
            metadata::config::CompressionType::Snappy => codec(Codec::Snappy, None),
            metadata::config::CompressionType::Lz4 => {
                codec(Codec::Lz4, Some(self.topic.compression_lz4_level))
            }
            metadata::config::CompressionType::Zstd => {
                codec(Codec::Zstd, Some(self.topic.compression_zstd_level))
            }
        }
    }

    /// `min.insync.replicas`.
    pub(crate) fn min_insync_replicas(&self) -> usize {
        usize::try_from(self.topic.min_insync_replicas).unwrap_or(1)
    }
}

/// A size that its key's check keeps from being negative.
fn bytes(value: i32) -> u32 {
    u32::try_from(value).unwrap_or(0)
}

fn log_config(topic: &TopicConfig, broker: &BrokerSettings) -> LogConfig {
    LogConfig {
        segment_bytes: bytes(topic.segment_bytes),
        segment_ms: topic.max_segment_ms(),
        segment_jitter_ms: topic.segment_jitter_ms,
        segment_index_bytes: bytes(topic.segment_index_bytes),
        index_interval_bytes: bytes(topic.index_interval_bytes),
        max_message_bytes: bytes(topic.max_message_bytes),
        retention_ms: topic.retention_ms,
        retention_bytes: topic.retention_bytes,
        cleanup_delete: topic.cleanup_policy.delete,
        cleanup_compact: topic.cleanup_policy.compact,
        file_delete_delay_ms: topic.file_delete_delay_ms,
        flush_messages: topic.flush_messages,
        flush_ms: topic.flush_ms,
        producer_id_expiration_ms: i64::from(broker.producer_id_expiration_ms),
        delete_retention_ms: topic.delete_retention_ms,
        min_compaction_lag_ms: topic.min_compaction_lag_ms,
        max_compaction_lag_ms: topic.max_compaction_lag_ms,
        min_cleanable_dirty_permille: (topic.min_cleanable_dirty_ratio * 1000.0) as u32,
    }
}

/// The part of the settings that the group coordinator acts on.
pub(crate) fn group_config(broker: &BrokerSettings) -> GroupConfig {
    let count = |n: i32| usize::try_from(n).unwrap_or(0);
    GroupConfig {
        min_session_timeout_ms: broker.group_min_session_timeout_ms,
        max_session_timeout_ms: broker.group_max_session_timeout_ms,
        initial_rebalance_delay_ms: broker.group_initial_rebalance_delay_ms,
        max_size: count(broker.group_max_size),
        offset_metadata_max: count(broker.offset_metadata_max_bytes),
        commit_timeout_ms: i64::from(broker.offsets_commit_timeout_ms),
        offsets_retention_ms: i64::from(broker.offsets_retention_minutes) * 60_000,
        retention_check_interval_ms: broker.offsets_retention_check_interval_ms,
        offsets_partitions: broker.offsets_topic_num_partitions,
    }
}
