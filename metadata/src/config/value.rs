//! Configuration values: text to value with Kafka's checks and messages, and back as Kafka prints them.

use std::fmt;

use super::def::{Check, ConfigDef, Kind};
use super::{ConfigError, quorum};

/// A parsed value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Of a boolean key.
    Boolean(bool),
    /// Of an int, short or long key.
    Integer(i64),
    /// Of a double key.
    Double(f64),
    /// Of a string, class or password key.
    Text(String),
    /// Of a list key.
    List(Vec<String>),
}

impl fmt::Display for Value {
    /// As `ConfigDef.convertToString`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean(value) => write!(f, "{value}"),
            Self::Integer(value) => write!(f, "{value}"),
            Self::Double(value) => write_double(*value, f),
            Self::Text(value) => f.write_str(value),
            Self::List(values) => f.write_str(&values.join(",")),
        }
    }
}

/// Parses and checks `text` as a value of `key`.
///
/// # Errors
///
/// `Invalid value X for configuration K: ...` with the reason that Kafka gives.
pub fn parse(key: &ConfigDef, text: &str) -> Result<Value, ConfigError> {
    let value = parse_type(key, text)?;
    ensure_valid(key, &value)?;
    Ok(value)
}

/// The part of `parse` that looks at the type only (`ConfigDef.parseType`).
fn parse_type(key: &ConfigDef, text: &str) -> Result<Value, ConfigError> {
    let trimmed = trim(text);
    let not_a_number =
        || ConfigError::invalid_value(key.name, text, &format!("Not a number of type {}", key.kind.name()));
    match key.kind {
        Kind::Boolean if trimmed.eq_ignore_ascii_case("true") => Ok(Value::Boolean(true)),
        Kind::Boolean if trimmed.eq_ignore_ascii_case("false") => Ok(Value::Boolean(false)),
        Kind::Boolean => {
            Err(ConfigError::invalid_value(key.name, text, "Expected value to be either true or false"))
        }
        Kind::String | Kind::Class | Kind::Password => Ok(Value::Text(trimmed.to_owned())),
        Kind::Int => trimmed.parse::<i32>().map(|n| Value::Integer(n.into())).map_err(|_| not_a_number()),
        Kind::Short => trimmed.parse::<i16>().map(|n| Value::Integer(n.into())).map_err(|_| not_a_number()),
        Kind::Long => trimmed.parse::<i64>().map(Value::Integer).map_err(|_| not_a_number()),
        Kind::Double => trimmed.parse::<f64>().map(Value::Double).map_err(|_| not_a_number()),
        Kind::List => Ok(Value::List(split_list(trimmed))),
    }
}

/// Splits at commas and drops the white space around them; nothing gives an empty list.
pub(super) fn split_list(text: &str) -> Vec<String> {
    let trimmed = trim(text);
    if trimmed.is_empty() {
        return Vec::new();
    }
    trimmed.split(',').map(|part| part.trim().to_owned()).collect()
}

/// `String.trim` of Java: everything up to the space character goes.
pub(super) fn trim(text: &str) -> &str {
    text.trim_matches(|c| c <= ' ')
}

fn ensure_valid(key: &ConfigDef, value: &Value) -> Result<(), ConfigError> {
    match (&key.check, value) {
        (Check::AtLeast(min), _) => range(key, value, Some(*min), None),
        (Check::Between(min, max), _) => range(key, value, Some(*min), Some(*max)),
        (Check::OneOf(words), Value::Text(text)) => one_of(key, text, words),
        (Check::ListOf(words), Value::List(items)) => {
            items.iter().try_for_each(|item| one_of(key, item, words))
        }
        (Check::OneOfAnyCase(words), Value::Text(text)) => {
            if words.iter().any(|word| word.eq_ignore_ascii_case(text)) {
                return Ok(());
            }
            let names = words.iter().map(|word| word.to_uppercase()).collect::<Vec<_>>().join(", ");
            let why = format!("String must be one of (case insensitive): {names}");
            Err(ConfigError::invalid_value(key.name, text, &why))
        }
        (Check::GzipLevel, Value::Integer(level)) if *level != -1 && !(1..=9).contains(level) => {
            let why = "Value must be between 1 and 9 or equal to -1";
            Err(ConfigError::invalid_value(key.name, &level.to_string(), why))
        }
        (Check::NonEmpty, Value::Text(text)) if text.is_empty() => {
            Err(ConfigError::invalid_value(key.name, text, "String must be non-empty"))
        }
        (Check::ThrottledReplicas, Value::List(items)) => throttled_replicas(key, items),
        (Check::Voters, Value::List(items)) => quorum::parse_voters(items).map(drop),
        (Check::BootstrapServers, Value::List(items)) => quorum::parse_bootstrap_servers(items).map(drop),
        _ => Ok(()),
    }
}

fn range(key: &ConfigDef, value: &Value, min: Option<i64>, max: Option<i64>) -> Result<(), ConfigError> {
    let below = |limit: i64| match value {
        Value::Integer(number) => *number < limit,
        Value::Double(number) => *number < limit as f64,
        _ => false,
    };
    let above = |limit: i64| match value {
        Value::Integer(number) => *number > limit,
        Value::Double(number) => *number > limit as f64,
        _ => false,
    };
    let refuse = |why: String| Err(ConfigError::invalid_value(key.name, &value.to_string(), &why));
    match (min, max) {
        (Some(min), _) if below(min) => refuse(format!("Value must be at least {min}")),
        (_, Some(max)) if above(max) => refuse(format!("Value must be no more than {max}")),
        _ => Ok(()),
    }
}

fn one_of(key: &ConfigDef, text: &str, words: &[&str]) -> Result<(), ConfigError> {
    if words.contains(&text) {
        return Ok(());
    }
    let why = format!("String must be one of: {}", words.join(", "));
    Err(ConfigError::invalid_value(key.name, text, &why))
}

fn throttled_replicas(key: &ConfigDef, items: &[String]) -> Result<(), ConfigError> {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let is_replica = |item: &String| {
        item.split_once(':').is_some_and(|(partition, broker)| is_number(partition) && is_number(broker))
    };
    if items.is_empty() || (items.len() == 1 && items[0] == "*") || items.iter().all(is_replica) {
        return Ok(());
    }
    let why = format!(
        "{} must be the literal '*' or a list of replicas in the following format: \
         [partitionId]:[brokerId],[partitionId]:[brokerId],...",
        key.name
    );
    Err(ConfigError::invalid_value(key.name, &format!("[{}]", items.join(", ")), &why))
}

/// As `Double.toString`: plain between 10^-3 and 10^7, otherwise with an exponent; always a fraction.
fn write_double(value: f64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let size = value.abs();
    if value == 0.0 || (1e-3..1e7).contains(&size) {
        let plain = value.to_string();
        return write!(f, "{plain}{}", if plain.contains('.') { "" } else { ".0" });
    }
    let text = format!("{value:e}");
    match text.split_once('e') {
        Some((digits, exponent)) => {
            write!(f, "{digits}{}E{exponent}", if digits.contains('.') { "" } else { ".0" })
        }
        None => f.write_str(&text),
    }
}
