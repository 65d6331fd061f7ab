//! DescribeQuorum (key 55), versions 0-2: the state of the Raft quorum (KIP-595, KIP-836).
//!
//! - Only `__cluster_metadata` partition 0 is known; anything else is UNKNOWN_TOPIC_OR_PARTITION for each partition.
//! - A node that does not lead answers NOT_LEADER_OR_FOLLOWER for the partition.
//! - v1: time of the last fetch and of being caught up. v2: directory ids, error messages, listeners of the voters.

use bytes::Bytes;
use protocol::messages::describe_quorum_response::{Listener, Node, PartitionData, ReplicaState, TopicData};
use protocol::messages::{BrokerId, DescribeQuorumRequest, DescribeQuorumResponse};
use protocol::request::RequestHeader;
use protocol::{ErrorCode, StrBytes};
use raft::ReplicaDescription;

use super::raft::{TOPIC, topic_name};
use super::{decode, encode};
use crate::handle::{Answer, ControllerHandle, InvalidRequest};

pub(super) async fn answer(
    controller: &ControllerHandle,
    header: &RequestHeader,
    body: Bytes,
) -> Result<Answer, InvalidRequest> {
    let request: DescribeQuorumRequest = decode(header, body)?;
    let known = match request.topics.as_slice() {
        [topic] if topic.topic_name.as_str() == TOPIC => {
            matches!(topic.partitions.as_slice(), [partition] if partition.partition_index == 0)
        }
        _ => false,
    };
    if !known {
        return encode(header, &unknown(header.api_version, &request));
    }
    let (version, mut response) = (header.api_version, DescribeQuorumResponse::default());
    let partition = match controller.describe_quorum().await {
        None => {
            let code = ErrorCode::NOT_LEADER_OR_FOLLOWER;
            let leader = controller.shared().leader.borrow().clone();
            PartitionData::default()
                .with_error_code(code.code())
                .with_error_message((version >= 2).then(|| StrBytes::from_static_str(code.message())))
                .with_leader_id(BrokerId(leader.leader_id.unwrap_or(-1)))
                .with_leader_epoch(leader.epoch)
        }
        Some(quorum) => {
            // Apache Kafka says that there is no error with an empty message.
            let no_message = (version >= 2).then(StrBytes::default);
            if version >= 2 {
                response.nodes = nodes(controller, &quorum.voters);
                response.error_message = no_message.clone();
            }
            let states = |replicas: &[ReplicaDescription]| {
                replicas.iter().map(|replica| replica_state(version, replica)).collect()
            };
            PartitionData::default()
                .with_error_message(no_message)
                .with_leader_id(BrokerId(quorum.leader_id))
                .with_leader_epoch(quorum.leader_epoch)
                .with_high_watermark(quorum.high_watermark)
                .with_current_voters(states(&quorum.voters))
                .with_observers(states(&quorum.observers))
        }
    };
    response.topics =
        vec![TopicData::default().with_topic_name(topic_name()).with_partitions(vec![partition])];
    encode(header, &response)
}

fn unknown(version: i16, request: &DescribeQuorumRequest) -> DescribeQuorumResponse {
    let code = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
    let message = (version >= 2).then(|| StrBytes::from_static_str(code.message()));
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| {
            PartitionData::default()
                .with_partition_index(partition.partition_index)
                .with_error_code(code.code())
                .with_error_message(message.clone())
        });
        TopicData::default().with_topic_name(topic.topic_name.clone()).with_partitions(partitions.collect())
    });
    DescribeQuorumResponse::default().with_topics(topics.collect())
}

fn replica_state(version: i16, replica: &ReplicaDescription) -> ReplicaState {
    let mut state = ReplicaState::default()
        .with_replica_id(BrokerId(replica.key.id))
        .with_log_end_offset(replica.log_end_offset);
    if version >= 1 {
        state.last_fetch_timestamp = replica.last_fetch_timestamp_ms;
        state.last_caught_up_timestamp = replica.last_caught_up_timestamp_ms;
    }
    if version >= 2 {
        state.replica_directory_id = replica.key.directory_or_zero();
    }
    state
}

fn nodes(controller: &ControllerHandle, voters: &[ReplicaDescription]) -> Vec<Node> {
    let image = controller.image();
    let nodes = voters.iter().map(|voter| {
        let registration = image.cluster.controllers.get(&voter.key.id);
        let listeners = registration.into_iter().flat_map(|known| &known.end_points).map(|end| {
            Listener::default()
                .with_name(StrBytes::from_string(end.name.clone()))
                .with_host(StrBytes::from_string(end.host.clone()))
                .with_port(end.port)
        });
        Node::default().with_node_id(BrokerId(voter.key.id)).with_listeners(listeners.collect())
    });
    nodes.collect()
}
