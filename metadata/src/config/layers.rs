//! Which layer of configuration wins, and in what order DescribeConfigs names the losers.
//!
//! A dynamic value hides every static synonym of its key: `log.retention.ms` set on the cluster makes
//! `log.retention.hours` of the properties file of no effect (`DynamicBrokerConfig.overrideProps`).

use std::borrow::Borrow;
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, Hash};

use super::ConfigError;
use super::def::{ConfigDef, Kind};
use super::keys::{broker_key, dynamic_only_key};
use super::value::{Value, parse};

/// Names and values that were set for one resource.
pub trait Overrides {
    /// The value under that exact name.
    fn get(&self, name: &str) -> Option<&str>;
    /// Calls `f` with each name and value.
    fn each(&self, f: &mut dyn FnMut(&str, &str));
}

/// A resource for which nothing was set.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoOverrides;

impl Overrides for NoOverrides {
    fn get(&self, _name: &str) -> Option<&str> {
        None
    }

    fn each(&self, _f: &mut dyn FnMut(&str, &str)) {}
}

impl<K: Borrow<str> + Ord, V: AsRef<str>> Overrides for BTreeMap<K, V> {
    fn get(&self, name: &str) -> Option<&str> {
        BTreeMap::get(self, name).map(AsRef::as_ref)
    }

    fn each(&self, f: &mut dyn FnMut(&str, &str)) {
        self.iter().for_each(|(name, value)| f(name.borrow(), value.as_ref()));
    }
}

impl<K: Borrow<str> + Eq + Hash, V: AsRef<str>, S: BuildHasher> Overrides for HashMap<K, V, S> {
    fn get(&self, name: &str) -> Option<&str> {
        HashMap::get(self, name).map(AsRef::as_ref)
    }

    fn each(&self, f: &mut dyn FnMut(&str, &str)) {
        self.iter().for_each(|(name, value)| f(name.borrow(), value.as_ref()));
    }
}

impl<K: Borrow<str> + Ord + Clone, V: AsRef<str> + Clone> Overrides for imbl::OrdMap<K, V> {
    fn get(&self, name: &str) -> Option<&str> {
        imbl::OrdMap::get(self, name).map(AsRef::as_ref)
    }

    fn each(&self, f: &mut dyn FnMut(&str, &str)) {
        self.iter().for_each(|(name, value)| f(name.borrow(), value.as_ref()));
    }
}

impl<K: Borrow<str> + Eq + Hash + Clone, V: AsRef<str> + Clone> Overrides for imbl::HashMap<K, V> {
    fn get(&self, name: &str) -> Option<&str> {
        imbl::HashMap::get(self, name).map(AsRef::as_ref)
    }

    fn each(&self, f: &mut dyn FnMut(&str, &str)) {
        self.iter().for_each(|(name, value)| f(name.borrow(), value.as_ref()));
    }
}

impl<T: Overrides> Overrides for Option<T> {
    fn get(&self, name: &str) -> Option<&str> {
        self.as_ref().and_then(|inner| inner.get(name))
    }

    fn each(&self, f: &mut dyn FnMut(&str, &str)) {
        if let Some(inner) = self {
            inner.each(f);
        }
    }
}

impl<T: Overrides + ?Sized> Overrides for &T {
    fn get(&self, name: &str) -> Option<&str> {
        (**self).get(name)
    }

    fn each(&self, f: &mut dyn FnMut(&str, &str)) {
        (**self).each(f);
    }
}

/// The properties that a node was started with; every known key has a valid value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StaticConfig(BTreeMap<String, String>);

impl StaticConfig {
    /// Checks each value by itself; `broker.id` and `node.id` stand in for each other.
    ///
    /// # Errors
    ///
    /// The first key, in the order of the names, whose value has the wrong type or fails its check.
    pub fn new(mut properties: BTreeMap<String, String>) -> Result<Self, ConfigError> {
        for (name, value) in &properties {
            if let Some(key) = broker_key(name) {
                parse(key, value)?;
            }
        }
        for (given, missing) in [("broker.id", "node.id"), ("node.id", "broker.id")] {
            if let (Some(id), false) = (properties.get(given).cloned(), properties.contains_key(missing)) {
                properties.insert(missing.to_owned(), id);
            }
        }
        Ok(Self(properties))
    }

    /// What was set under that exact name, as it was written.
    pub fn original(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// All that was set, by name.
    pub fn originals(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Names that are not keys of Kafka; they are kept and shown, but mean nothing.
    pub fn unknown(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str).filter(|name| kind_of(name).is_none())
    }

    /// Names of keys that were set although this implementation does not act on them.
    pub fn unused(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str).filter(|name| broker_key(name).is_some_and(|key| !key.honoured))
    }

    /// The value, or the default; `None` for an unknown name and for a key without either.
    pub fn value(&self, name: &str) -> Option<Value> {
        Layers::of(self).value(name)
    }
}

/// Where a value comes from (`ConfigSource`), with its code on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i8)]
pub enum ConfigSource {
    /// Set for the topic.
    DynamicTopic = 1,
    /// Set for this broker.
    DynamicBroker = 2,
    /// Set for all brokers.
    DynamicDefault = 3,
    /// In the properties file.
    Static = 4,
    /// Nobody set it.
    Default = 5,
    /// Level of a logger.
    DynamicLogger = 6,
    /// Set for a client-metrics subscription.
    ClientMetrics = 7,
    /// Set for the group.
    Group = 8,
}

impl ConfigSource {
    /// Code in DescribeConfigs.
    pub const fn code(self) -> i8 {
        self as i8
    }
}

/// One line of a synonym list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigSynonym {
    /// Key under which the value was set.
    pub name: String,
    /// The value as it was written; `None` if it is secret.
    pub value: Option<String>,
    /// The layer.
    pub source: ConfigSource,
}

/// The three places in which a broker's configuration is set.
#[derive(Clone, Copy)]
pub struct Layers<'a> {
    /// Dynamic, for this broker.
    pub broker: &'a dyn Overrides,
    /// Dynamic, for all brokers (the resource with the empty name).
    pub cluster: &'a dyn Overrides,
    /// The properties file.
    pub fixed: &'a StaticConfig,
}

impl<'a> Layers<'a> {
    /// The properties file alone.
    pub fn of(fixed: &'a StaticConfig) -> Self {
        Self { broker: &NoOverrides, cluster: &NoOverrides, fixed }
    }

    /// The effective value of a broker key.
    pub fn value(&self, name: &str) -> Option<Value> {
        let key = broker_key(name).or_else(|| dynamic_only_key(name))?;
        for layer in [self.broker, self.cluster] {
            if let Some(value) = layer.get(name).and_then(|text| parse(key, text).ok()) {
                return Some(value);
            }
            if broker_synonyms(name).iter().any(|synonym| layer.get(synonym).is_some()) {
                return default_of(key);
            }
        }
        match self.fixed.original(name) {
            Some(text) => parse(key, text).ok(),
            None => default_of(key),
        }
    }

    /// The number that a listener has for a key: under its prefix (`ListenerName.configPrefix`), else the broker's.
    pub fn listener_integer(&self, listener: &str, name: &str) -> i64 {
        let prefixed = format!("listener.name.{}.{name}", listener.to_lowercase());
        let layers =
            [self.broker.get(&prefixed), self.cluster.get(&prefixed), self.fixed.original(&prefixed)];
        let own = broker_key(name)
            .and_then(|key| layers.into_iter().flatten().find_map(|text| parse(key, text).ok()));
        match own.or_else(|| self.value(name)) {
            Some(Value::Integer(number)) => number,
            _ => 0,
        }
    }

    /// The effective value of a topic or group key, of which `overrides` holds what the resource sets.
    pub fn resource_value(&self, overrides: &dyn Overrides, key: &ConfigDef) -> Option<Value> {
        let own = overrides.get(key.name).and_then(|text| parse(key, text).ok());
        own.or_else(|| self.fallback(key)).or_else(|| default_of(key))
    }

    /// What the broker's configuration gives for a key of another resource.
    fn fallback(&self, key: &ConfigDef) -> Option<Value> {
        key.fallbacks.iter().find_map(|fallback| {
            self.value(fallback.name).map(|value| match value {
                // Every negative retention of a broker means no limit.
                Value::Integer(n) if n < 0 && key.name == "retention.ms" => Value::Integer(-1),
                Value::Integer(n) => Value::Integer(n.saturating_mul(fallback.factor)),
                other => other,
            })
        })
    }

    /// Where a broker key is set, strongest first, under its own and its synonyms' names
    /// (`ConfigHelper.configSynonyms`).
    pub fn synonyms(&self, name: &str) -> Vec<ConfigSynonym> {
        let secret = kind_of(name).is_none_or(|kind| kind == Kind::Password);
        let names: Vec<&str> = match listener_base(name) {
            Some(base) => vec![name, base],
            None if broker_synonyms(name).is_empty() => vec![name],
            None => broker_synonyms(name).to_vec(),
        };
        let mut found = Vec::new();
        let mut add = |name: &str, value: Option<&str>, source| {
            if let Some(value) = value {
                let value = (!secret).then(|| value.to_owned());
                found.push(ConfigSynonym { name: name.to_owned(), value, source });
            }
        };
        names.iter().for_each(|name| add(name, self.broker.get(name), ConfigSource::DynamicBroker));
        names.iter().for_each(|name| add(name, self.cluster.get(name), ConfigSource::DynamicDefault));
        names.iter().for_each(|name| add(name, self.fixed.original(name), ConfigSource::Static));
        names.iter().for_each(|name| {
            add(name, broker_key(name).and_then(|key| key.default), ConfigSource::Default);
        });
        let first = found.iter().position(|synonym| synonym.name == name).unwrap_or(found.len());
        found.split_off(first)
    }
}

fn default_of(key: &ConfigDef) -> Option<Value> {
    key.default.and_then(|text| parse(key, text).ok())
}

/// The broker keys that set the same thing, strongest first; empty for a key that stands alone
/// (`DynamicBrokerConfig.brokerConfigSynonyms`).
fn broker_synonyms(name: &str) -> &'static [&'static str] {
    match name {
        "log.roll.ms" | "log.roll.hours" => &["log.roll.ms", "log.roll.hours"],
        "log.roll.jitter.ms" | "log.roll.jitter.hours" => &["log.roll.jitter.ms", "log.roll.jitter.hours"],
        "log.flush.interval.ms" => &["log.flush.interval.ms", "log.flush.scheduler.interval.ms"],
        "log.retention.ms" | "log.retention.minutes" | "log.retention.hours" => {
            &["log.retention.ms", "log.retention.minutes", "log.retention.hours"]
        }
        _ => &[],
    }
}

/// Keys that are set per listener and mechanism, so with a longer prefix.
const PER_MECHANISM: [&str; 5] = [
    "sasl.jaas.config",
    "sasl.login.callback.handler.class",
    "sasl.login.class",
    "sasl.server.callback.handler.class",
    "connections.max.reauth.ms",
];

/// The key behind a name like `listener.name.internal.ssl.keystore.location`.
pub(super) fn listener_base(name: &str) -> Option<&str> {
    let (_, base) = name.strip_prefix("listener.name.")?.split_once('.')?;
    Some(PER_MECHANISM.into_iter().find(|key| base.ends_with(key)).unwrap_or(base))
}

/// The type of a broker key, listener prefix or not; `None` if nobody knows the name.
pub(super) fn kind_of(name: &str) -> Option<Kind> {
    let exact = broker_key(name).or_else(|| dynamic_only_key(name));
    exact.or_else(|| broker_key(listener_base(name)?)).map(|key| key.kind)
}
