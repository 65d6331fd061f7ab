//! The entries of a DescribeConfigs answer, as a broker gives them (`ConfigHelper`).
//!
//! Entries come sorted by name. `only` is the request's list of keys: `None` or empty asks for all.
//! Documentation strings are not kept, so the answer's documentation is always null.

use super::def::{ConfigDef, Kind};
use super::keys::{broker_key, broker_keys, client_metrics_keys, group_keys, topic_keys};
use super::layers::{ConfigSource, ConfigSynonym, Layers, Overrides, kind_of};
use super::value::Value;

/// One configuration entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigEntry {
    /// Key.
    pub name: String,
    /// Effective value; `None` if unset or secret.
    pub value: Option<String>,
    /// Whether the key cannot be changed at run time.
    pub read_only: bool,
    /// The layer that gives the value.
    pub source: ConfigSource,
    /// Whether the value is secret.
    pub is_sensitive: bool,
    /// Type; `None` (code 0) for a key nobody knows.
    pub kind: Option<Kind>,
    /// Every layer that sets the key, strongest first.
    pub synonyms: Vec<ConfigSynonym>,
}

impl ConfigEntry {
    fn new(name: &str, kind: Option<Kind>, value: Option<String>, synonyms: Vec<ConfigSynonym>) -> Self {
        let is_sensitive = kind.is_none_or(|kind| kind == Kind::Password);
        Self {
            name: name.to_owned(),
            value: value.filter(|_| !is_sensitive),
            read_only: false,
            source: synonyms.first().map_or(ConfigSource::Default, |synonym| synonym.source),
            is_sensitive,
            kind,
            synonyms,
        }
    }
}

/// Keys of a topic that has set `overrides`.
pub fn topic(overrides: &dyn Overrides, layers: &Layers<'_>, only: Option<&[&str]>) -> Vec<ConfigEntry> {
    let mut entries = Vec::new();
    for key in topic_keys().filter(|key| wanted(key.name, only)) {
        let value = layers.resource_value(overrides, key).map(|value| value.to_string());
        let mut synonyms = key.fallbacks.first().map_or_else(Vec::new, |first| layers.synonyms(first.name));
        if overrides.get(key.name).is_some() {
            synonyms.insert(0, own_synonym(key, value.clone(), ConfigSource::DynamicTopic));
        }
        entries.push(ConfigEntry::new(key.name, Some(key.kind), value, synonyms));
    }
    append_unknown(&mut entries, overrides, only, |name| topic_keys().any(|key| key.name == name));
    entries
}

/// Keys of the broker that answers.
pub fn broker(layers: &Layers<'_>, only: Option<&[&str]>) -> Vec<ConfigEntry> {
    let mut entries: Vec<ConfigEntry> = broker_keys()
        .filter(|key| !key.internal && wanted(key.name, only))
        .map(|key| {
            let value = layers.value(key.name).map(|value| value.to_string());
            broker_entry(key.name, value, layers.synonyms(key.name))
        })
        .collect();
    // Names outside the table: unknown ones, internal ones, and keys with a listener's prefix.
    let mut others: Vec<(String, String)> = Vec::new();
    let mut collect = |name: &str, value: &str| {
        let listed = broker_key(name).is_some_and(|key| !key.internal);
        if !listed && wanted(name, only) && !others.iter().any(|(other, _)| other == name) {
            others.push((name.to_owned(), value.to_owned()));
        }
    };
    layers.broker.each(&mut collect);
    layers.cluster.each(&mut collect);
    layers.fixed.originals().for_each(|(name, value)| collect(name, value));
    entries.extend(others.into_iter().map(|(name, value)| {
        let synonyms = layers.synonyms(&name);
        broker_entry(&name, Some(value), synonyms)
    }));
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    entries
}

/// The dynamic defaults of all brokers: what a request for the broker resource with an empty name gets.
pub fn cluster_default(layers: &Layers<'_>, only: Option<&[&str]>) -> Vec<ConfigEntry> {
    let mut entries = Vec::new();
    layers.cluster.each(&mut |name, value| {
        if wanted(name, only) {
            let mut synonyms = layers.synonyms(name);
            synonyms.retain(|synonym| synonym.source == ConfigSource::DynamicDefault);
            entries.push(broker_entry(name, Some(value.to_owned()), synonyms));
        }
    });
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    entries
}

/// Keys of a consumer, share or streams group that has set `overrides`.
pub fn group(overrides: &dyn Overrides, layers: &Layers<'_>, only: Option<&[&str]>) -> Vec<ConfigEntry> {
    own_keys(group_keys(), overrides, layers, only, |key, value| {
        let set = overrides.get(key.name).is_some();
        let source = if set { ConfigSource::Group } else { ConfigSource::Default };
        vec![own_synonym(key, value, source)]
    })
}

/// Keys of a client-metrics subscription that has set `overrides`.
pub fn client_metrics(
    overrides: &dyn Overrides,
    layers: &Layers<'_>,
    only: Option<&[&str]>,
) -> Vec<ConfigEntry> {
    own_keys(client_metrics_keys(), overrides, layers, only, |key, value| {
        let set = overrides.get(key.name).is_some();
        if set { vec![own_synonym(key, value, ConfigSource::ClientMetrics)] } else { Vec::new() }
    })
}

fn own_keys(
    keys: impl Iterator<Item = &'static ConfigDef>,
    overrides: &dyn Overrides,
    layers: &Layers<'_>,
    only: Option<&[&str]>,
    synonyms: impl Fn(&ConfigDef, Option<String>) -> Vec<ConfigSynonym>,
) -> Vec<ConfigEntry> {
    keys.filter(|key| wanted(key.name, only))
        .map(|key| {
            let value = layers.resource_value(overrides, key).as_ref().map(Value::to_string);
            ConfigEntry::new(key.name, Some(key.kind), value.clone(), synonyms(key, value))
        })
        .collect()
}

fn broker_entry(name: &str, value: Option<String>, synonyms: Vec<ConfigSynonym>) -> ConfigEntry {
    let read_only = !broker_key(name).is_some_and(ConfigDef::is_dynamic);
    ConfigEntry { read_only, ..ConfigEntry::new(name, kind_of(name), value, synonyms) }
}

fn own_synonym(key: &ConfigDef, value: Option<String>, source: ConfigSource) -> ConfigSynonym {
    ConfigSynonym { name: key.name.to_owned(), value: value.filter(|_| !key.is_sensitive()), source }
}

/// Overrides that another release wrote under names we do not know: shown without a value.
fn append_unknown(
    entries: &mut Vec<ConfigEntry>,
    overrides: &dyn Overrides,
    only: Option<&[&str]>,
    known: impl Fn(&str) -> bool,
) {
    overrides.each(&mut |name, _| {
        if !known(name) && wanted(name, only) {
            let synonym =
                ConfigSynonym { name: name.to_owned(), value: None, source: ConfigSource::DynamicTopic };
            entries.push(ConfigEntry::new(name, None, None, vec![synonym]));
        }
    });
    entries.sort_by(|a, b| a.name.cmp(&b.name));
}

fn wanted(name: &str, only: Option<&[&str]>) -> bool {
    only.is_none_or(|names| names.is_empty() || names.contains(&name))
}
