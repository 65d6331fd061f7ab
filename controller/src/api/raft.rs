//! What the wire forms of the Raft APIs share: the one partition, and the leader in every answer.

use protocol::messages::{BrokerId, TopicName};
use protocol::{ErrorCode, StrBytes};
use raft::Endpoint;
use raft::message::{CurrentLeader, Request, Response};

use crate::handle::ControllerHandle;

/// The topic of the metadata log.
pub(super) const TOPIC: &str = "__cluster_metadata";

/// Name of the topic, for answers.
pub(crate) fn topic_name() -> TopicName {
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

/// What an answer says of the leader; the endpoint is the one for `listener`, on which it was asked.
macro_rules! current_leader {
    ($listener:expr, $id:expr, $epoch:expr, $endpoints:expr) => {{
        let id = Some($id.0).filter(|id| *id >= 0);
        let endpoint = $endpoints.iter().find(|endpoint| Some(endpoint.node_id.0) == id);
        let endpoint = endpoint
            .and_then(|endpoint| $crate::api::raft::endpoint($listener, &endpoint.host, endpoint.port));
        raft::message::CurrentLeader { id, epoch: $epoch, endpoint }
    }};
}

/// The endpoints of a leader or voter that a request names.
macro_rules! endpoints {
    ($listeners:expr) => {{
        let endpoints = $listeners.iter().map(|listener| raft::Endpoint {
            name: listener.name.to_string(),
            host: listener.host.to_string(),
            port: listener.port,
        });
        endpoints.collect()
    }};
}

/// Endpoints as the type of one request.
macro_rules! listeners {
    ($type:ty, $endpoints:expr) => {{
        let listeners = $endpoints.iter().map(|endpoint: &raft::Endpoint| {
            <$type>::default()
                .with_name(protocol::StrBytes::from_string(endpoint.name.clone()))
                .with_host(protocol::StrBytes::from_string(endpoint.host.clone()))
                .with_port(endpoint.port)
        });
        listeners.collect()
    }};
}

pub(super) use {current_leader, endpoints, listeners, node_endpoints, only_partition};

/// Where a leader is reached; nothing if the port is none.
pub(super) fn endpoint(listener: &str, host: &StrBytes, port: impl TryInto<u16>) -> Option<Endpoint> {
    Some(Endpoint { name: listener.to_owned(), host: host.to_string(), port: port.try_into().ok()? })
}

/// The cluster id for the wire.
pub(super) fn cluster_id(id: &Option<String>) -> Option<StrBytes> {
    id.clone().map(StrBytes::from_string)
}

/// Asks the Raft node; `Err` if it has stopped.
pub(super) async fn ask(
    controller: &ControllerHandle,
    listener: &str,
    request: Request,
) -> Result<Response, ErrorCode> {
    controller.raft(listener, request).await.ok_or(ErrorCode::BROKER_NOT_AVAILABLE)
}
