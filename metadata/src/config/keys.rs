//! The tables of keys, split by area, and how to find a key by its name.

mod coordinators;
mod log;
mod replication;
mod resources;
mod security;
mod server;
mod topic;

use std::collections::HashMap;
use std::sync::LazyLock;

use super::def::ConfigDef;

/// Values of `compression.type`, in the order in which Kafka names them.
const COMPRESSION_TYPES: &[&str] = &["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"];
/// Members of `cleanup.policy`.
const CLEANUP_POLICIES: &[&str] = &["compact", "delete"];
/// Values of `message.timestamp.type`.
const TIMESTAMP_TYPES: &[&str] = &["CreateTime", "LogAppendTime"];
/// Values of `security.inter.broker.protocol`.
const SECURITY_PROTOCOLS: &[&str] = &["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"];

const BROKER_TABLES: &[&[ConfigDef]] =
    &[server::KEYS, log::KEYS, replication::KEYS, coordinators::KEYS, security::KEYS];

static BROKER: LazyLock<HashMap<&'static str, &'static ConfigDef>> =
    LazyLock::new(|| broker_keys().map(|key| (key.name, key)).collect());

/// Every static broker key, internal ones included, area by area.
pub fn broker_keys() -> impl Iterator<Item = &'static ConfigDef> {
    BROKER_TABLES.iter().flat_map(|table| table.iter())
}

/// Every topic key, sorted by name.
pub fn topic_keys() -> impl Iterator<Item = &'static ConfigDef> {
    topic::KEYS.iter()
}

/// Every group key, sorted by name.
pub fn group_keys() -> impl Iterator<Item = &'static ConfigDef> {
    resources::GROUP.iter()
}

/// Every client-metrics key, sorted by name.
pub fn client_metrics_keys() -> impl Iterator<Item = &'static ConfigDef> {
    resources::CLIENT_METRICS.iter()
}

/// The broker key of that exact name; keys that exist only as dynamic ones are not among them.
pub fn broker_key(name: &str) -> Option<&'static ConfigDef> {
    BROKER.get(name).copied()
}

/// The key that only exists as a dynamic broker config (replication quotas).
pub fn dynamic_only_key(name: &str) -> Option<&'static ConfigDef> {
    find(replication::DYNAMIC_ONLY, name)
}

/// The topic key of that exact name.
pub fn topic_key(name: &str) -> Option<&'static ConfigDef> {
    find(topic::KEYS, name)
}

/// The group key of that exact name.
pub fn group_key(name: &str) -> Option<&'static ConfigDef> {
    find(resources::GROUP, name)
}

/// The client-metrics key of that exact name.
pub fn client_metrics_key(name: &str) -> Option<&'static ConfigDef> {
    find(resources::CLIENT_METRICS, name)
}

fn find(table: &'static [ConfigDef], name: &str) -> Option<&'static ConfigDef> {
    table.iter().find(|key| key.name == name)
}
