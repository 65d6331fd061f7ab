//! FindCoordinator (key 10), versions 0-6: v1 key type, v4 many keys, v6 share groups.
//!
//! The internal topic is created when it is asked for first, and the answer waits until this broker serves it, so
//! that clients that do not retry need not.

use std::sync::Arc;

use protocol::messages::find_coordinator_response::Coordinator;
use protocol::messages::{BrokerId, FindCoordinatorRequest, FindCoordinatorResponse};
use protocol::{ErrorCode, StrBytes};

use crate::api::Client;
use crate::auto_topics;
use crate::context::Context;
use crate::group::partition::partition_for;
use crate::metadata_cache::GROUP_METADATA_TOPIC;

/// Key types: only groups have a coordinator here so far.
const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;
const SHARE: i8 = 2;

struct Found {
    error: ErrorCode,
    node: Option<(i32, String, i32)>,
}

/// Names the broker that coordinates each key.
pub(crate) async fn handle(
    ctx: Arc<Context>,
    client: Client,
    request: FindCoordinatorRequest,
) -> FindCoordinatorResponse {
    let keys = if client.version >= 4 { request.coordinator_keys.clone() } else { vec![request.key.clone()] };
    let known_type = request.key_type == GROUP;
    if known_type && ctx.metadata.image().topics.by_name(GROUP_METADATA_TOPIC).is_none() {
        auto_topics::create(&ctx, client.peer.ip(), &[GROUP_METADATA_TOPIC.to_owned()]).await;
    }
    let find = |key: &StrBytes| match request.key_type {
        GROUP => find_group(&ctx, &client, key),
        TRANSACTION => Found { error: ErrorCode::COORDINATOR_NOT_AVAILABLE, node: None },
        _ => Found { error: ErrorCode::INVALID_REQUEST, node: None },
    };
    if client.version < 4 {
        let found = find(&request.key);
        let (id, host, port) = found.node.unwrap_or((-1, String::new(), -1));
        let response = FindCoordinatorResponse::default()
            .with_error_code(found.error.code())
            .with_node_id(BrokerId(id))
            .with_host(StrBytes::from_string(host))
            .with_port(port);
        return if client.version >= 1 {
            // Unlike the answers with many keys, these say so when there is no error.
            let none = || Some(StrBytes::from_static_str("NONE"));
            response.with_error_message(if found.error == ErrorCode::NONE {
                none()
            } else {
                message(found.error)
            })
        } else {
            response
        };
    }
    // Asked for before version 6 has them, or for a key of another form: Kafka has no words for it.
    let is_share = request.key_type == SHARE;
    let coordinators = keys.iter().map(|key| coordinator(key, find(key), is_share)).collect();
    FindCoordinatorResponse::default().with_coordinators(coordinators)
}

fn coordinator(key: &StrBytes, found: Found, is_share: bool) -> Coordinator {
    let (id, host, port) = found.node.unwrap_or((-1, String::new(), -1));
    Coordinator::default()
        .with_key(key.clone())
        .with_error_code(found.error.code())
        .with_error_message(if is_share { Some(StrBytes::default()) } else { message(found.error) })
        .with_node_id(BrokerId(id))
        .with_host(StrBytes::from_string(host))
        .with_port(port)
}

fn message(error: ErrorCode) -> Option<StrBytes> {
    Some(if error == ErrorCode::NONE {
        StrBytes::default()
    } else {
        StrBytes::from_static_str(error.message())
    })
}

fn find_group(ctx: &Context, client: &Client, group: &str) -> Found {
    let missing = Found { error: ErrorCode::COORDINATOR_NOT_AVAILABLE, node: None };
    let image = ctx.metadata.image();
    let Some(topic) = image.topics.by_name(GROUP_METADATA_TOPIC) else { return missing };
    let count = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
    let Some(partition) = topic.partition(partition_for(group, count)) else { return missing };
    let Some(leader) = image.cluster.broker(partition.leader).filter(|b| !b.fenced) else { return missing };
    let Some(endpoint) = leader.listener(&client.listener) else { return missing };
    Found { error: ErrorCode::NONE, node: Some((leader.id, endpoint.host.clone(), i32::from(endpoint.port))) }
}
