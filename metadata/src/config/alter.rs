//! What AlterConfigs and IncrementalAlterConfigs may do, and the records they come to.
//!
//! A broker runs `broker_change` on requests for itself before it forwards them (`ConfigAdminManager`);
//! the controller runs `incremental` or `legacy`, then `validate` (`ConfigurationControlManager`).

use std::collections::BTreeMap;

use super::def::{ConfigDef, Scope};
use super::keys::{broker_key, client_metrics_key, dynamic_only_key, group_key, topic_key, topic_keys};
use super::layers::{Layers, Overrides, listener_base};
use super::node::NodeConfig;
use super::value::{Value, parse};
use super::{ConfigError, StaticConfig};

/// Type of a resource that has configuration (`ConfigResource.Type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ResourceType {
    /// A topic: code 2.
    Topic,
    /// A broker by its id, or with an empty name all brokers: code 4.
    Broker,
    /// The log levels of a broker: code 8; never stored.
    BrokerLogger,
    /// A client-metrics subscription: code 16.
    ClientMetrics,
    /// A group: code 32.
    Group,
}

impl ResourceType {
    /// The type with that code.
    pub fn from_code(code: i8) -> Option<Self> {
        match code {
            2 => Some(Self::Topic),
            4 => Some(Self::Broker),
            8 => Some(Self::BrokerLogger),
            16 => Some(Self::ClientMetrics),
            32 => Some(Self::Group),
            _ => None,
        }
    }

    /// Code on the wire and in records.
    pub const fn code(self) -> i8 {
        match self {
            Self::Topic => 2,
            Self::Broker => 4,
            Self::BrokerLogger => 8,
            Self::ClientMetrics => 16,
            Self::Group => 32,
        }
    }

    fn key(self, name: &str) -> Option<&'static ConfigDef> {
        match self {
            Self::Topic => topic_key(name),
            Self::Broker => broker_key(name).or_else(|| dynamic_only_key(name)),
            Self::BrokerLogger => None,
            Self::ClientMetrics => client_metrics_key(name),
            Self::Group => group_key(name),
        }
    }
}

/// Operation of IncrementalAlterConfigs (`AlterConfigOp.OpType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Code 0.
    Set,
    /// Code 1: back to the default.
    Delete,
    /// Code 2: add the members of a list that are not there.
    Append,
    /// Code 3: remove members of a list.
    Subtract,
}

impl Operation {
    /// The operation with that code.
    pub fn from_code(code: i8) -> Option<Self> {
        match code {
            0 => Some(Self::Set),
            1 => Some(Self::Delete),
            2 => Some(Self::Append),
            3 => Some(Self::Subtract),
            _ => None,
        }
    }
}

/// One asked-for alteration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Alteration<'a> {
    /// Key.
    pub name: &'a str,
    /// What to do.
    pub operation: Operation,
    /// With what; `None` only for `Delete`.
    pub value: Option<&'a str>,
}

/// What a ConfigRecord is to say: `None` removes the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Key.
    pub name: String,
    /// New value.
    pub value: Option<String>,
}

/// Rules for one resource of a request that hold before anything is looked up: no key twice, no null value.
///
/// # Errors
///
/// INVALID_REQUEST.
pub fn check_form(alterations: &[Alteration<'_>]) -> Result<(), ConfigError> {
    for (i, alteration) in alterations.iter().enumerate() {
        if alterations[..i].iter().any(|earlier| earlier.name == alteration.name) {
            return Err(ConfigError::Request("Error due to duplicate config keys".to_owned()));
        }
    }
    let nulls: Vec<&str> = alterations
        .iter()
        .filter(|alteration| alteration.operation != Operation::Delete && alteration.value.is_none())
        .map(|alteration| alteration.name)
        .collect();
    if nulls.is_empty() {
        return Ok(());
    }
    Err(ConfigError::Request(format!("Null value not supported for : {}", nulls.join(", "))))
}

/// The changes that incremental alterations come to.
///
/// Unchanged values give no change, except for brokers, which reload on any record (KAFKA-14136).
///
/// # Errors
///
/// Append or subtract on a key that is not a list.
pub fn incremental(
    resource: ResourceType,
    current: &dyn Overrides,
    alterations: &[Alteration<'_>],
) -> Result<Vec<Change>, ConfigError> {
    let mut changes = Vec::new();
    for alteration in alterations {
        let name = alteration.name;
        let before = current.get(name);
        let operand = alteration.value.unwrap_or_default();
        let value = match alteration.operation {
            Operation::Set => Some(operand.to_owned()),
            Operation::Delete => None,
            Operation::Append | Operation::Subtract => {
                let verb = if alteration.operation == Operation::Append { "APPEND" } else { "SUBTRACT" };
                let key = resource.key(name).filter(|key| key.is_list()).ok_or_else(|| {
                    ConfigError::Invalid(format!("Can't {verb} to key {name} because its type is not LIST."))
                })?;
                Some(alter_list(before.or(key.default).unwrap_or_default(), alteration.operation, operand))
            }
        };
        if before != value.as_deref() || resource == ResourceType::Broker {
            changes.push(Change { name: name.to_owned(), value });
        }
    }
    Ok(changes)
}

fn alter_list(before: &str, operation: Operation, operand: &str) -> String {
    let mut items: Vec<&str> = before.split(',').filter(|item| !item.is_empty()).collect();
    for item in operand.split(',') {
        let at = items.iter().position(|known| *known == item);
        match (operation, at) {
            (Operation::Append, None) => items.push(item),
            (Operation::Subtract, Some(at)) => drop(items.remove(at)),
            _ => {}
        }
    }
    items.join(",")
}

/// The changes that make `wanted` everything that is set: the legacy AlterConfigs.
pub fn legacy(resource: ResourceType, current: &dyn Overrides, wanted: &[(&str, &str)]) -> Vec<Change> {
    let mut changes: Vec<Change> = wanted
        .iter()
        .filter(|(name, value)| current.get(name) != Some(value) || resource == ResourceType::Broker)
        .map(|(name, value)| Change { name: (*name).to_owned(), value: Some((*value).to_owned()) })
        .collect();
    current.each(&mut |name, _| {
        if !wanted.iter().any(|(kept, _)| *kept == name) {
            changes.push(Change { name: name.to_owned(), value: None });
        }
    });
    changes
}

/// `current` with `changes` made.
pub fn merged(current: &dyn Overrides, changes: &[Change]) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    current.each(&mut |name, value| drop(all.insert(name.to_owned(), value.to_owned())));
    for change in changes {
        match &change.value {
            Some(value) => drop(all.insert(change.name.clone(), value.clone())),
            None => drop(all.remove(&change.name)),
        }
    }
    all
}

/// The controller's check of everything that a resource would have set (`ControllerConfigurationValidator`).
///
/// Whether the resource exists is the caller's question. `layers` is the controller's own configuration,
/// on which topics and groups fall back.
///
/// # Errors
///
/// The first rule that is broken.
pub fn validate(
    resource: ResourceType,
    name: &str,
    all: &BTreeMap<String, String>,
    layers: &Layers<'_>,
) -> Result<(), ConfigError> {
    match resource {
        ResourceType::Topic if name.is_empty() => {
            Err(ConfigError::Request("Default topic resources are not allowed.".to_owned()))
        }
        ResourceType::Topic => {
            validate_topic_name(name)?;
            validate_topic(all, layers)
        }
        ResourceType::Broker => validate_broker_name(name),
        ResourceType::ClientMetrics => validate_client_metrics(name, all),
        ResourceType::Group if name.is_empty() => {
            Err(ConfigError::Request("Default group resources are not allowed.".to_owned()))
        }
        ResourceType::Group => validate_group(all, layers),
        ResourceType::BrokerLogger => {
            Err(ConfigError::Request("Unknown resource type BROKER_LOGGER".to_owned()))
        }
    }
}

/// `Topic.validate`.
///
/// # Errors
///
/// INVALID_TOPIC_EXCEPTION with the reason.
pub fn validate_topic_name(name: &str) -> Result<(), ConfigError> {
    let refuse = |why: String| Err(ConfigError::Topic(format!("Topic name is invalid: {why}")));
    if name.is_empty() {
        return refuse("the empty string is not allowed".to_owned());
    }
    if name == "." || name == ".." {
        return refuse(format!("'{name}' is not allowed"));
    }
    if name.len() > 249 {
        return refuse(format!("the length of '{name}' is longer than the max allowed length 249"));
    }
    if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)) {
        return refuse(format!(
            "'{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
        ));
    }
    Ok(())
}

/// Checks the configuration of a topic, given or to be created (`LogConfig.validate`).
///
/// # Errors
///
/// An unknown name, a wrong value, or values that exclude each other.
pub fn validate_topic(all: &BTreeMap<String, String>, layers: &Layers<'_>) -> Result<(), ConfigError> {
    if let Some(name) = all.keys().find(|name| topic_key(name).is_none()) {
        return Err(ConfigError::Invalid(format!("Unknown topic config name: {name}")));
    }
    for key in topic_keys() {
        if let Some(text) = all.get(key.name) {
            parse(key, text)?;
        }
    }
    let value = |name: &str| topic_key(name).and_then(|key| layers.resource_value(all, key));
    if let (Some(Value::Integer(min)), Some(Value::Integer(max))) =
        (value("min.compaction.lag.ms"), value("max.compaction.lag.ms"))
        && min > max
    {
        return Err(ConfigError::Invalid(format!(
            "conflict topic config setting min.compaction.lag.ms ({min}) > max.compaction.lag.ms ({max})"
        )));
    }
    if value("remote.storage.enable") == Some(Value::Boolean(true)) {
        return Err(ConfigError::Invalid(
            "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote \
             log storage."
                .to_owned(),
        ));
    }
    Ok(())
}

fn validate_broker_name(name: &str) -> Result<(), ConfigError> {
    if name.is_empty() {
        return Ok(());
    }
    match name.parse::<i32>() {
        Err(_) => Err(ConfigError::Request("Unable to parse broker name as a base 10 number.".to_owned())),
        Ok(id) if id < 0 => Err(ConfigError::Request("Invalid negative broker ID.".to_owned())),
        Ok(_) => Ok(()),
    }
}

fn validate_client_metrics(name: &str, all: &BTreeMap<String, String>) -> Result<(), ConfigError> {
    const MATCHES: [&str; 6] = [
        "client_instance_id",
        "client_id",
        "client_software_name",
        "client_software_version",
        "client_source_address",
        "client_source_port",
    ];
    if name.is_empty() {
        return Err(ConfigError::Request("Subscription name can't be empty".to_owned()));
    }
    for (name, text) in all {
        let key = client_metrics_key(name)
            .ok_or_else(|| ConfigError::Request(format!("Unknown client metrics configuration: {name}")))?;
        match (name.as_str(), parse(key, text)?) {
            ("interval.ms", Value::Integer(ms)) if !(100..=3_600_000).contains(&ms) => {
                return Err(ConfigError::Request(format!(
                    "Invalid value {ms} for interval.ms, interval must be between 100 and 3600000 (1 hour)"
                )));
            }
            ("match", Value::List(patterns)) => {
                let known = |pattern: &String| {
                    pattern.split_once('=').is_some_and(|(param, _)| MATCHES.contains(&param.trim()))
                };
                if let Some(pattern) = patterns.iter().find(|pattern| !known(pattern)) {
                    return Err(ConfigError::Invalid(format!("Illegal client matching pattern: {pattern}")));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn validate_group(all: &BTreeMap<String, String>, layers: &Layers<'_>) -> Result<(), ConfigError> {
    for (name, text) in all {
        let key = group_key(name)
            .ok_or_else(|| ConfigError::Invalid(format!("Unknown group config name: {name}")))?;
        parse(key, text)?;
    }
    let own = |name: &str| group_key(name).and_then(|key| layers.resource_value(all, key));
    for kind in ["consumer", "share", "streams"] {
        let heartbeat = format!("{kind}.heartbeat.interval.ms");
        let session = format!("{kind}.session.timeout.ms");
        for (name, stem) in [(&heartbeat, "heartbeat.interval.ms"), (&session, "session.timeout.ms")] {
            let (min, max) = (format!("group.{kind}.min.{stem}"), format!("group.{kind}.max.{stem}"));
            let value = own(name);
            if less(&value, &layers.value(&min)) {
                return Err(ConfigError::Invalid(format!("{name} must be greater than or equal to {min}")));
            }
            if less(&layers.value(&max), &value) {
                return Err(ConfigError::Invalid(format!("{name} must be less than or equal to {max}")));
            }
        }
        if !less(&own(&heartbeat), &own(&session)) {
            return Err(ConfigError::Invalid(format!("{session} must be greater than {heartbeat}")));
        }
    }
    Ok(())
}

fn less(a: &Option<Value>, b: &Option<Value>) -> bool {
    matches!((a, b), (Some(Value::Integer(a)), Some(Value::Integer(b))) if a < b)
}

/// The broker's check of a change to its own or to the default configuration, `all` being what would then
/// be set for `name` (empty: for all brokers). `layers` is what holds now.
///
/// # Errors
///
/// INVALID_REQUEST, as for every broker config that cannot be applied.
pub fn broker_change(
    node_id: i32,
    name: &str,
    all: &BTreeMap<String, String>,
    layers: &Layers<'_>,
) -> Result<(), ConfigError> {
    let per_broker = !name.is_empty();
    if per_broker {
        let id: i32 = name
            .parse()
            .map_err(|_| ConfigError::Request(format!("Node id must be an integer, but it is: {name}")))?;
        if id != node_id {
            return Err(ConfigError::Request(format!(
                "Unexpected broker id, expected {node_id}, but received {name}"
            )));
        }
    }
    check_dynamic(all, per_broker).map_err(ConfigError::as_request)?;
    check_threads(name, all, layers)?;
    // The whole configuration must still make sense with the change in it.
    let mut properties: BTreeMap<String, String> =
        layers.fixed.originals().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let mut put = |name: &str, value: &str| drop(properties.insert(name.to_owned(), value.to_owned()));
    if per_broker {
        layers.cluster.each(&mut put);
        all.each(&mut put);
    } else {
        all.each(&mut put);
        layers.broker.each(&mut put);
    }
    StaticConfig::new(properties).and_then(NodeConfig::new).map(drop).map_err(ConfigError::as_request)
}

/// Numbers of threads at most double or halve at a time (`DynamicThreadPool`, `LogCleaner.validateReconfiguration`).
fn check_threads(name: &str, all: &BTreeMap<String, String>, layers: &Layers<'_>) -> Result<(), ConfigError> {
    const POOLS: [&str; 5] = [
        "num.io.threads",
        "num.network.threads",
        "num.replica.fetchers",
        "num.recovery.threads.per.data.dir",
        "background.threads",
    ];
    const CLEANER: &str = "log.cleaner.threads";
    let changed = match name {
        "" => Layers { cluster: all, ..*layers },
        _ => Layers { broker: all, ..*layers },
    };
    for key in POOLS.into_iter().chain([CLEANER]) {
        let (Some(Value::Integer(now)), Some(Value::Integer(new))) = (layers.value(key), changed.value(key))
        else {
            continue;
        };
        let cleaner = key == CLEANER;
        let why = if new < 1 && cleaner {
            "Log cleaner threads should be at least 1".to_owned()
        } else if new < now / 2 && cleaner {
            format!("Log cleaner threads cannot be reduced to less than half the current value {now}")
        } else if new < now / 2 {
            format!("value should be at least half the current value {now}")
        } else if new > now.saturating_mul(2) && cleaner {
            format!("Log cleaner threads cannot be increased to more than double the current value {now}")
        } else if new > now.saturating_mul(2) {
            format!("value should not be greater than double the current value {now}")
        } else {
            continue;
        };
        let of_pool = format!("Dynamic thread count update validation failed for {key}={new}, ");
        return Err(ConfigError::Request(format!(
            "Invalid value org.apache.kafka.common.config.ConfigException: {}{why} for configuration Invalid \
             dynamic configuration",
            if cleaner { "" } else { &of_pool }
        )));
    }
    Ok(())
}

/// `DynamicBrokerConfig.validateConfigs`.
fn check_dynamic(all: &BTreeMap<String, String>, per_broker: bool) -> Result<(), ConfigError> {
    let refuse = |why: &str, set: &str, pick: &dyn Fn(&str) -> bool| {
        let names: Vec<&str> = all.keys().map(String::as_str).filter(|name| pick(name)).collect();
        if names.is_empty() {
            return Ok(());
        }
        Err(ConfigError::Invalid(format!("{why}: {set}({})", names.join(", "))))
    };
    let scope = |name: &str| broker_key(name).map(|key| key.scope);
    refuse("Cannot update these configs dynamically", "Set", &|name| scope(name) == Some(Scope::ReadOnly))?;
    refuse(
        "These security configs can be dynamically updated only per-listener using the listener prefix",
        "HashSet",
        &|name| scope(name) == Some(Scope::PerListener),
    )?;
    for (name, text) in all {
        let base = listener_base(name).unwrap_or(name);
        if let Some(key) = broker_key(base).or_else(|| dynamic_only_key(base)) {
            parse(key, text)?;
        }
    }
    if per_broker {
        return Ok(());
    }
    refuse(
        "Cannot update these configs at default cluster level, broker id must be specified",
        "Set",
        &|name| match listener_base(name) {
            Some(base) => scope(base) != Some(Scope::ClusterWide),
            None => scope(name) == Some(Scope::PerBroker),
        },
    )
}
