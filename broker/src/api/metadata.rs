//! Metadata (key 3), versions 0-13.
//!
//! - No topics asked: v0 all, v1+ an empty list is none and null is all.
//! - A topic that does not exist and may be created is created, and is in the answer once it can be used: Apache
//!   Kafka answers UNKNOWN_TOPIC_OR_PARTITION first and lets the client ask again.
//! - The advertised address is that of the listener the request came in on.
//! - v4 allow_auto_topic_creation; v8-10 authorized operations; v10 topic ids; v12 lookup by id; v13 top-level
//!   error.

use std::collections::BTreeSet;
use std::sync::Arc;

use metadata::image::{MetadataImage, TopicImage};
use metadata::partition::PartitionRegistration;
use protocol::messages::metadata_request::MetadataRequestTopic;
use protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use protocol::messages::{BrokerId, MetadataRequest, MetadataResponse, TopicName};
use protocol::{ErrorCode, StrBytes};
use uuid::Uuid;

use crate::api::Client;
use crate::auto_topics;
use crate::context::Context;
use crate::metadata_cache::{MetadataCache, is_internal};

/// "Not asked for" in the authorized operations fields.
pub(crate) const NO_AUTHORIZED_OPERATIONS: i32 = i32::MIN;
/// Every operation on a topic, as bits (`AclEntry.supportedOperations`): no authorizer is configured.
pub(crate) const TOPIC_OPERATIONS: i32 = 3576;
/// Every operation on the cluster, likewise.
pub(crate) const CLUSTER_OPERATIONS: i32 = 8096;

/// Answers a Metadata request.
pub(crate) async fn handle(ctx: Arc<Context>, client: Client, request: MetadataRequest) -> MetadataResponse {
    if let 10 | 11 = client.version
        && let Some(topics) = &request.topics
        && topics.iter().any(|topic| topic.name.is_none() || !topic.topic_id.is_nil())
    {
        return refused(topics);
    }
    let wanted = Wanted::of(&request, client.version);
    if request.allow_auto_topic_creation
        && let Wanted::Topics(topics) = &wanted
    {
        let image = ctx.metadata.image();
        let missing: Vec<_> = topics
            .iter()
            .filter_map(|t| t.name.as_ref())
            .filter(|name| image.topics.by_name(name).is_none())
            .map(|name| name.to_string())
            .collect();
        if !missing.is_empty() && ctx.settings().auto_create_topics_enable {
            auto_topics::create(&ctx, client.peer.ip(), &missing).await;
        }
    }
    let image = ctx.metadata.image();
    let mut response = MetadataResponse::default()
        .with_brokers(brokers(&image, &client))
        .with_cluster_id(Some(StrBytes::from_string(ctx.config.cluster_id.clone())))
        .with_controller_id(BrokerId(ctx.any_live_broker(&image)))
        .with_cluster_authorized_operations(if request.include_cluster_authorized_operations {
            CLUSTER_OPERATIONS
        } else {
            NO_AUTHORIZED_OPERATIONS
        });
    let describe = Describe { ctx: &ctx, image: &image, client: &client, request: &request };
    response.topics = match wanted {
        Wanted::All => image.topics.iter().map(|topic| describe.topic(topic)).collect(),
        Wanted::Topics(topics) => topics.iter().map(|topic| describe.wanted(topic)).collect(),
    };
    response
}

/// Versions 10 and 11 have a field for topic ids, but no lookup by them.
fn refused(topics: &[MetadataRequestTopic]) -> MetadataResponse {
    let topic = |topic: &MetadataRequestTopic| {
        MetadataResponseTopic::default()
            .with_error_code(ErrorCode::INVALID_REQUEST.code())
            .with_name(Some(topic.name.clone().unwrap_or_default()))
            .with_topic_id(topic.topic_id)
    };
    MetadataResponse::default()
        .with_controller_id(BrokerId(-1))
        .with_topics(topics.iter().map(topic).collect())
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct WantedTopic {
    name: Option<StrBytes>,
    id: Uuid,
}

enum Wanted {
    All,
    Topics(Vec<WantedTopic>),
}

impl Wanted {
    fn of(request: &MetadataRequest, version: i16) -> Self {
        match &request.topics {
            None => Self::All,
            Some(topics) if topics.is_empty() && version == 0 => Self::All,
            // One id, and only ids count.
            Some(topics) if topics.iter().any(|t| !t.topic_id.is_nil()) => Self::Topics(
                topics
                    .iter()
                    .filter(|t| !t.topic_id.is_nil())
                    .map(|t| WantedTopic { name: None, id: t.topic_id })
                    .collect::<BTreeSet<_>>()
                    .into_iter()
                    .collect(),
            ),
            // Each once: a topic that is named a million times must not be described a million times.
            Some(topics) => Self::Topics(
                topics
                    .iter()
                    .map(|t| WantedTopic { name: t.name.as_ref().map(|n| n.0.clone()), id: t.topic_id })
                    .collect::<BTreeSet<_>>()
                    .into_iter()
                    .collect(),
            ),
        }
    }
}

fn brokers(image: &MetadataImage, client: &Client) -> Vec<MetadataResponseBroker> {
    MetadataCache::alive(image)
        .filter_map(|broker| {
            let endpoint = broker.listener(&client.listener)?;
            Some(
                MetadataResponseBroker::default()
                    .with_node_id(BrokerId(broker.id))
                    .with_host(StrBytes::from_string(endpoint.host.clone()))
                    .with_port(i32::from(endpoint.port))
                    .with_rack(broker.rack.clone().map(StrBytes::from_string)),
            )
        })
        .collect()
}

struct Describe<'a> {
    ctx: &'a Context,
    image: &'a MetadataImage,
    client: &'a Client,
    request: &'a MetadataRequest,
}

impl Describe<'_> {
    fn wanted(&self, wanted: &WantedTopic) -> MetadataResponseTopic {
        let found = match &wanted.name {
            Some(name) => self.image.topics.by_name(name),
            None => self.image.topics.by_id(wanted.id),
        };
        match (found, &wanted.name) {
            (Some(topic), _) => self.topic(topic),
            (None, Some(name)) => {
                let error = if auto_topics::is_valid_name(name) {
                    ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
                } else {
                    ErrorCode::INVALID_TOPIC_EXCEPTION
                };
                self.missing(error, wanted)
            }
            (None, None) => self.missing(ErrorCode::UNKNOWN_TOPIC_ID, wanted),
        }
    }

    fn missing(&self, error: ErrorCode, wanted: &WantedTopic) -> MetadataResponseTopic {
        MetadataResponseTopic::default()
            .with_error_code(error.code())
            .with_name(match &wanted.name {
                Some(name) => Some(TopicName(name.clone())),
                // Before version 12 the name is not nullable.
                None => (self.client.version < 12).then(TopicName::default),
            })
            .with_topic_id(wanted.id)
            .with_is_internal(wanted.name.as_deref().is_some_and(is_internal))
            .with_topic_authorized_operations(self.operations())
    }

    fn operations(&self) -> i32 {
        if self.request.include_topic_authorized_operations {
            TOPIC_OPERATIONS
        } else {
            NO_AUTHORIZED_OPERATIONS
        }
    }

    fn topic(&self, topic: &TopicImage) -> MetadataResponseTopic {
        MetadataResponseTopic::default()
            .with_name(Some(TopicName(topic.name.clone())))
            .with_topic_id(topic.id)
            .with_is_internal(is_internal(&topic.name))
            .with_partitions(topic.partitions.iter().map(|(id, p)| self.partition(topic, *id, p)).collect())
            .with_topic_authorized_operations(self.operations())
    }

    fn partition(&self, topic: &TopicImage, id: i32, p: &PartitionRegistration) -> MetadataResponsePartition {
        let leader = self.image.cluster.broker(p.leader).filter(|broker| !broker.fenced);
        let error = match leader {
            None => ErrorCode::LEADER_NOT_AVAILABLE,
            Some(leader) if leader.listener(&self.client.listener).is_none() => {
                if self.client.version >= 6 {
                    ErrorCode::LISTENER_NOT_FOUND
                } else {
                    ErrorCode::LEADER_NOT_AVAILABLE
                }
            }
            Some(_) => ErrorCode::NONE,
        };
        let ids = |ids: &[i32]| ids.iter().copied().map(BrokerId).collect::<Vec<_>>();
        MetadataResponsePartition::default()
            .with_error_code(error.code())
            .with_partition_index(id)
            .with_leader_id(BrokerId(if error == ErrorCode::NONE { p.leader } else { -1 }))
            .with_leader_epoch(p.leader_epoch)
            .with_replica_nodes(ids(&p.replicas))
            .with_isr_nodes(ids(&p.isr))
            .with_offline_replicas(ids(&self.ctx.offline_replicas(self.image, topic, p)))
    }
}
