//! Every configuration key of Kafka 4.1 as data, and everything that can be decided about values without IO.
//!
//! ```text
//!   topic override ─▶ dynamic broker ─▶ dynamic default ─▶ properties file ─▶ default
//!   (ConfigRecord)    (ConfigRecord)    (ConfigRecord)     (`StaticConfig`)    (`ConfigDef`)
//! ```
//!
//! - `def`, `keys`: the tables. `value`: text to value and back, with Kafka's messages.
//! - `layers`: which layer wins, and the synonyms that DescribeConfigs lists.
//! - `describe`, `answer`: the entries of a DescribeConfigs answer, and the answer. `alter`: what AlterConfigs may do.
//! - `typed`: the values as fields, for the code that acts on them.
//! - `listeners`, `quorum`, `node`: addresses, voters, and the rules between keys that hold at start.
//!
//! Invariants: a value in a `StaticConfig` is of its key's type and passes its check; a dynamic value
//! that does not (written by another release) is as if absent, never an error.

pub mod alter;
pub mod answer;
mod def;
pub mod describe;
mod keys;
mod layers;
pub mod listeners;
pub mod node;
pub mod quorum;
mod typed;
mod value;

#[cfg(test)]
mod tests;

pub use def::{Check, ConfigDef, Fallback, Kind, Scope};
pub use keys::{
    broker_key, broker_keys, client_metrics_key, client_metrics_keys, dynamic_only_key, group_key,
    group_keys, topic_key, topic_keys,
};
pub use layers::{ConfigSource, ConfigSynonym, Layers, NoOverrides, Overrides, StaticConfig};
pub use typed::{BrokerConfig, CleanupPolicy, CompressionType, ControllerConfig, TimestampType, TopicConfig};
pub use value::{Value, parse};

/// Why a configuration value, or a set of them, is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A value is wrong by itself or next to another one: INVALID_CONFIG in an answer.
    #[error("{0}")]
    Invalid(String),
    /// The request asks for something that cannot be: INVALID_REQUEST in an answer.
    #[error("{0}")]
    Request(String),
    /// The topic has an impossible name: INVALID_TOPIC_EXCEPTION in an answer.
    #[error("{0}")]
    Topic(String),
}

impl ConfigError {
    /// Kafka's error code: 40, 42 or 17.
    pub fn code(&self) -> i16 {
        match self {
            Self::Invalid(_) => 40,
            Self::Request(_) => 42,
            Self::Topic(_) => 17,
        }
    }

    /// The same message as INVALID_REQUEST, which is what a broker makes of an invalid broker config
    /// (KAFKA-13609).
    #[must_use]
    pub fn as_request(self) -> Self {
        match self {
            Self::Invalid(message) => Self::Request(message),
            other => other,
        }
    }

    fn invalid_value(name: &str, value: &str, why: &str) -> Self {
        Self::Invalid(format!("Invalid value {value} for configuration {name}: {why}"))
    }
}
