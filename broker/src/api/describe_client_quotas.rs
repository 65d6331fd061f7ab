//! DescribeClientQuotas (key 48), versions 0-1: v1 flexible.
//!
//! A filter has one component for each type that it is about; strict leaves out entities with other types beside.

use std::collections::BTreeMap;
use std::sync::Arc;

use metadata::image::QuotaEntity;
use protocol::messages::describe_client_quotas_request::ComponentData;
use protocol::messages::describe_client_quotas_response::{EntityData, EntryData, ValueData};
use protocol::messages::{DescribeClientQuotasRequest, DescribeClientQuotasResponse};
use protocol::{ErrorCode, StrBytes};

use crate::api::Client;
use crate::context::Context;

/// What a component asks of the name of its type.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Match {
    /// This name; `None` is the default entity.
    Exact(Option<String>),
    /// Any name, the default among them.
    Specified,
}

/// Answers from the metadata of this broker.
pub(crate) async fn handle(
    ctx: Arc<Context>,
    _client: Client,
    request: DescribeClientQuotasRequest,
) -> DescribeClientQuotasResponse {
    let filter = match filter(&request.components) {
        Ok(filter) => filter,
        Err((code, message)) => {
            return DescribeClientQuotasResponse::default()
                .with_error_code(code.code())
                .with_error_message(Some(StrBytes::from_string(message)))
                .with_entries(None);
        }
    };
    let image = ctx.metadata.image();
    let found = image.quotas.iter().filter(|(entity, _)| matches(entity, &filter, request.strict));
    let entries = found.map(|(entity, values)| {
        let value = |(key, value): (&String, &f64)| {
            ValueData::default().with_key(StrBytes::from_string(key.clone())).with_value(*value)
        };
        EntryData::default().with_entity(parts(entity)).with_values(values.iter().map(value).collect())
    });
    DescribeClientQuotasResponse::default().with_entries(Some(entries.collect()))
}

fn filter(components: &[ComponentData]) -> Result<BTreeMap<String, Match>, (ErrorCode, String)> {
    let invalid = |message: String| Err((ErrorCode::INVALID_REQUEST, message));
    let mut filter = BTreeMap::new();
    for component in components {
        let kind = component.entity_type.as_str();
        if kind.is_empty() {
            return invalid("Invalid empty entity type.".to_owned());
        }
        if filter.contains_key(kind) {
            return invalid(format!("Entity type {kind} cannot appear more than once in the filter."));
        }
        if !["ip", "user", "client-id"].contains(&kind) {
            return Err((ErrorCode::UNSUPPORTED_VERSION, format!("Unsupported entity type {kind}")));
        }
        let wanted = match (component.match_type, &component._match) {
            (0, Some(name)) => Match::Exact(Some(name.to_string())),
            (0, None) => {
                return invalid(
                    "Request specified MATCH_TYPE_EXACT, but set match string to null.".to_owned(),
                );
            }
            (1, None) => Match::Exact(None),
            (2, None) => Match::Specified,
            (kind @ (1 | 2), Some(_)) => {
                let name = if kind == 1 { "DEFAULT" } else { "SPECIFIED" };
                return invalid(format!(
                    "Request specified MATCH_TYPE_{name}, but also specified a match string."
                ));
            }
            (other, _) => return invalid(format!("Unknown match type {other}")),
        };
        filter.insert(kind.to_owned(), wanted);
    }
    if filter.contains_key("ip") && filter.len() > 1 {
        return invalid(
            "Invalid entity filter component combination. IP filter component should not be used with user or \
             clientId filter component."
                .to_owned(),
        );
    }
    Ok(filter)
}

fn matches(entity: &QuotaEntity, filter: &BTreeMap<String, Match>, strict: bool) -> bool {
    let parts = entity.parts();
    let has = |(kind, wanted): (&String, &Match)| {
        let part = parts.iter().find(|(other, _)| other == kind);
        part.is_some_and(|(_, name)| match wanted {
            Match::Exact(wanted) => wanted == name,
            Match::Specified => true,
        })
    };
    (!strict || parts.len() == filter.len()) && filter.iter().all(has)
}

fn parts(entity: &QuotaEntity) -> Vec<EntityData> {
    let part = |(kind, name): &(String, Option<String>)| {
        EntityData::default()
            .with_entity_type(StrBytes::from_string(kind.clone()))
            .with_entity_name(name.clone().map(StrBytes::from_string))
    };
    entity.parts().iter().map(part).collect()
}
