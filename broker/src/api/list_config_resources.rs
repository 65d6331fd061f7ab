//! ListConfigResources (key 74), versions 0-1: v0 lists client-metrics subscriptions only (KIP-714), v1 every type
//! (KIP-1142).
//!
//! Groups and subscriptions are listed once something is set for them; no list of types, or an empty one, asks for all.

use std::sync::Arc;

use metadata::config::alter::ResourceType;
use metadata::image::MetadataImage;
use protocol::messages::list_config_resources_response::ConfigResource;
use protocol::messages::{ListConfigResourcesRequest, ListConfigResourcesResponse};
use protocol::{ErrorCode, StrBytes};

use crate::api::Client;
use crate::context::Context;

/// The types, in the order in which their resources are listed.
const TYPES: [ResourceType; 5] = [
    ResourceType::Group,
    ResourceType::ClientMetrics,
    ResourceType::BrokerLogger,
    ResourceType::Broker,
    ResourceType::Topic,
];

/// Answers from the metadata.
pub(crate) async fn handle(
    ctx: Arc<Context>,
    client: Client,
    request: ListConfigResourcesRequest,
) -> ListConfigResourcesResponse {
    answer(&ctx.metadata.image(), &client, &request)
}

fn answer(
    image: &MetadataImage,
    client: &Client,
    request: &ListConfigResourcesRequest,
) -> ListConfigResourcesResponse {
    let wanted = |kind: &ResourceType| match client.version {
        0 => *kind == ResourceType::ClientMetrics,
        _ => request.resource_types.is_empty() || request.resource_types.contains(&kind.code()),
    };
    if request.resource_types.iter().any(|code| ResourceType::from_code(*code).is_none()) {
        return ListConfigResourcesResponse::default().with_error_code(ErrorCode::UNSUPPORTED_VERSION.code());
    }
    let resources = TYPES.into_iter().filter(wanted).flat_map(|kind| {
        names(image, client, kind).into_iter().map(move |name| {
            ConfigResource::default()
                .with_resource_name(StrBytes::from_string(name))
                .with_resource_type(kind.code())
        })
    });
    ListConfigResourcesResponse::default().with_config_resources(resources.collect())
}

/// The resources of a type that there are.
fn names(image: &MetadataImage, client: &Client, kind: ResourceType) -> Vec<String> {
    match kind {
        ResourceType::Group | ResourceType::ClientMetrics => {
            let set = image.configs.resources.iter().filter(|(resource, _)| resource.kind == kind.code());
            let mut names: Vec<String> = set.map(|(resource, _)| resource.name.clone()).collect();
            names.sort();
            names
        }
        ResourceType::BrokerLogger | ResourceType::Broker => {
            let reachable = |broker: &&Arc<metadata::image::BrokerRegistration>| {
                !broker.fenced && broker.listener(&client.listener).is_some()
            };
            image.cluster.brokers.values().filter(reachable).map(|broker| broker.id.to_string()).collect()
        }
        ResourceType::Topic => image.topics.iter().map(|topic| topic.name.to_string()).collect(),
    }
}
