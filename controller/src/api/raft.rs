//! What the wire forms of the Raft APIs share: the one partition, and the leader in every answer.

use protocol::messages::{BrokerId, TopicName};
use protocol::{ErrorCode, StrBytes};
use raft::message::{CurrentLeader, Request, Response};

use crate::handle::ControllerHandle;

/// The topic of the metadata log.
pub(super) const TOPIC: &str = "__cluster_metadata";

/// Name of the topic, for answers.
pub(super) fn topic_name() -> TopicName {
    TopicName(StrBytes::from_static_str(TOPIC))
}

/// A string of a request that may be null.
pub(super) fn text(given: &Option<StrBytes>) -> Option<String> {
    given.as_ref().map(StrBytes::to_string)
}

/// The leader's id for the wire.
pub(super) fn leader_id(leader: &CurrentLeader) -> BrokerId {
    BrokerId(leader.id.unwrap_or(-1))
}

/// The partition of a request that must be about partition 0 of the metadata topic and nothing else.
macro_rules! only_partition {
    ($request:expr, $name:ident, $index:ident) => {
        match $request.topics.as_slice() {
            [topic] if topic.$name.as_str() == $crate::api::raft::TOPIC => {
                match topic.partitions.as_slice() {
                    [partition] if partition.$index == 0 => Some(partition),
                    _ => None,
                }
            }
            _ => None,
        }
    };
}

/// The leader's endpoint as the `NodeEndpoint` of one response type; empty if the leader or its endpoint is not known.
macro_rules! node_endpoints {
    ($type:ty, $leader:expr, $least:expr, $version:expr) => {{
        let leader: &raft::message::CurrentLeader = $leader;
        let known = leader.id.zip(leader.endpoint.as_ref()).filter(|_| $version >= $least);
        let endpoints = known.map(|(id, endpoint)| {
            <$type>::default()
                .with_node_id(protocol::messages::BrokerId(id))
                .with_host(protocol::StrBytes::from_string(endpoint.host.clone()))
                .with_port(endpoint.port.into())
        });
        endpoints.into_iter().collect()
    }};
}

pub(super) use {node_endpoints, only_partition};

/// Asks the Raft node; `Err` if it has stopped.
pub(super) async fn ask(controller: &ControllerHandle, request: Request) -> Result<Response, ErrorCode> {
    controller.raft(request).await.ok_or(ErrorCode::BROKER_NOT_AVAILABLE)
}
