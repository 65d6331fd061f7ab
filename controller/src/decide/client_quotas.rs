//! AlterClientQuotas: limits of users, clients and addresses (KIP-546, KIP-612).
//!
//! - An entity succeeds or fails whole; one that comes twice is answered once, with what was wrong last.
//! - A value that is there already makes no record.

use std::collections::BTreeMap;
use std::net::IpAddr;

use metadata::image::QuotaEntity;
use protocol::messages::alter_client_quotas_request::EntryData;
use protocol::messages::alter_client_quotas_response::{EntityData, EntryData as EntryResult};
use protocol::messages::{AlterClientQuotasRequest, AlterClientQuotasResponse};
use protocol::records::{ClientQuotaRecord, QuotaEntity as RecordEntity, Record};
use protocol::{ErrorCode, StrBytes};

use super::View;
use crate::api_error::{ApiError, code_and_message};
use crate::event::Decision;

const USER: &str = "user";
const CLIENT_ID: &str = "client-id";
const IP: &str = "ip";

/// What values a quota takes.
#[derive(Clone, Copy)]
enum Range {
    Any,
    /// Whole numbers up to the limit of that Java type, which its name follows.
    Whole(f64, &'static str),
}

const LONG: Range = Range::Whole(i64::MAX as f64, "a LONG");
const INT: Range = Range::Whole(i32::MAX as f64, "an INT");
const USER_AND_CLIENT_KEYS: &[(&str, Range)] = &[
    ("producer_byte_rate", LONG),
    ("consumer_byte_rate", LONG),
    ("request_percentage", Range::Any),
    ("controller_mutation_rate", Range::Any),
];
const IP_KEYS: &[(&str, Range)] = &[("connection_creation_rate", INT)];

pub(super) fn alter(view: View<'_>, request: &AlterClientQuotasRequest) -> Decision {
    let mut results: Vec<(QuotaEntity, Result<Vec<Record>, ApiError>)> = Vec::new();
    for entry in &request.entries {
        let entity = entity_of(entry);
        let known = results.iter_mut().find(|(other, _)| *other == entity);
        match known {
            Some((_, result)) if result.is_err() => {
                *result = Err(duplicate(&entity));
            }
            // The first entry stays; a second that is in order follows it, as in Kafka.
            Some((_, result)) => {
                let more = alter_entity(view, &entity, entry);
                match (result, more) {
                    (Ok(records), Ok(more)) => records.extend(more),
                    (result, Err(error)) => *result = Err(error),
                    (Err(_), Ok(_)) => {}
                }
            }
            None => results.push((entity.clone(), alter_entity(view, &entity, entry))),
        }
    }
    let mut records = Vec::new();
    let mut response = AlterClientQuotasResponse::default();
    for (entity, result) in results {
        let (code, message) = code_and_message(&result);
        records.extend(result.unwrap_or_default());
        let parts = entity.parts().iter().map(|(kind, name)| {
            EntityData::default()
                .with_entity_type(StrBytes::from_string(kind.clone()))
                .with_entity_name(name.clone().map(StrBytes::from_string))
        });
        response.entries.push(
            EntryResult::default()
                .with_error_code(code)
                .with_error_message(message)
                .with_entity(parts.collect()),
        );
    }
    if request.validate_only {
        return Decision::reply(response);
    }
    Decision::atomic(records, response)
}

fn entity_of(entry: &EntryData) -> QuotaEntity {
    let part = |part: &protocol::messages::alter_client_quotas_request::EntityData| {
        (part.entity_type.to_string(), part.entity_name.as_ref().map(|name| name.to_string()))
    };
    // A type that comes twice counts once, with its last name: Kafka reads the parts into a map.
    let parts: BTreeMap<String, Option<String>> = entry.entity.iter().map(part).collect();
    QuotaEntity::new(parts.into_iter().collect())
}

fn alter_entity(view: View<'_>, entity: &QuotaEntity, entry: &EntryData) -> Result<Vec<Record>, ApiError> {
    let keys = keys_of(entity)?;
    let current = view.image.quotas.get(entity);
    let mut changes: BTreeMap<&str, Option<f64>> = BTreeMap::new();
    for op in &entry.ops {
        let value = (!op.remove).then_some(op.value);
        if changes.insert(op.key.as_str(), value).is_some() {
            return Err(duplicate(entity));
        }
    }
    let mut records = Vec::new();
    for (key, value) in changes {
        let is = current.and_then(|values| values.get(key)).copied();
        if let Some(value) = value {
            check(keys, key, value)?;
        }
        if is == value {
            continue;
        }
        let part = |(kind, name): &(String, Option<String>)| RecordEntity {
            entity_type: kind.clone(),
            entity_name: name.clone(),
        };
        records.push(Record::ClientQuota(ClientQuotaRecord {
            entity: entity.parts().iter().map(part).collect(),
            key: key.to_owned(),
            value: value.unwrap_or_default(),
            remove: value.is_none(),
        }));
    }
    Ok(records)
}

/// Kafka says this of an entity that failed before and of one with a key twice.
fn duplicate(entity: &QuotaEntity) -> ApiError {
    let part =
        |(kind, name): &(String, Option<String>)| format!("{kind}={}", name.as_deref().unwrap_or("null"));
    let parts: Vec<String> = entity.parts().iter().map(part).collect();
    invalid(format!("Ignoring duplicate entity ClientQuotaEntity(entries={{{}}})", parts.join(", ")))
}

/// The keys of that kind of entity.
fn keys_of(entity: &QuotaEntity) -> Result<&'static [(&'static str, Range)], ApiError> {
    let parts = entity.parts();
    if parts.is_empty() {
        return Err(invalid("Invalid empty client quota entity".to_owned()));
    }
    for (kind, name) in parts {
        if ![USER, CLIENT_ID, IP].contains(&kind.as_str()) {
            return Err(invalid(format!("Unhandled client quota entity type: {kind}")));
        }
        if name.as_ref().is_some_and(String::is_empty) {
            return Err(invalid(format!("Empty {kind} not supported")));
        }
    }
    match parts.iter().find(|(kind, _)| kind == IP) {
        None => Ok(USER_AND_CLIENT_KEYS),
        Some(_) if parts.len() > 1 => Err(invalid(
            "Invalid quota entity combination, IP entity shouldnot be combined with User or ClientId"
                .to_owned(),
        )),
        Some((_, Some(name))) if !is_host(name) => {
            Err(invalid(format!("{name} is not a valid IP or resolvable host.")))
        }
        Some(_) => Ok(IP_KEYS),
    }
}

/// An address, or a name of which Kafka would ask the resolver; here its form is enough.
fn is_host(name: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    let is_name = || {
        name.len() <= 253 && name.split('.').all(is_label) && name.bytes().any(|b| b.is_ascii_alphabetic())
    };
    name.parse::<IpAddr>().is_ok() || is_name()
}

fn check(keys: &[(&str, Range)], key: &str, value: f64) -> Result<(), ApiError> {
    let Some((_, range)) = keys.iter().find(|(known, _)| *known == key) else {
        return Err(invalid(format!("Invalid configuration key {key}")));
    };
    if value <= 0.0 {
        return Err(invalid(format!("Quota {key} must be greater than 0")));
    }
    match *range {
        Range::Whole(limit, kind) if value > limit => {
            Err(invalid(format!("Proposed value for {key} is too large for {kind}.")))
        }
        Range::Whole(..) if (value % 1.0).abs() > 1e-6 => {
            Err(invalid(format!("{key} cannot be a fractional value.")))
        }
        _ => Ok(()),
    }
}

fn invalid(message: String) -> ApiError {
    ApiError::new(ErrorCode::INVALID_REQUEST, message)
}
