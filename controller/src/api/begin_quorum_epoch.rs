//! BeginQuorumEpoch (key 53), versions 0-1.
//!
//! - v1: directory ids and the leader's endpoints (KIP-853).

use protocol::messages::begin_quorum_epoch_request::{
    LeaderEndpoint, PartitionData as AskedPartition, TopicData as AskedTopic,
};
use protocol::messages::begin_quorum_epoch_response::{NodeEndpoint, PartitionData, TopicData};
use protocol::messages::{BeginQuorumEpochRequest, BeginQuorumEpochResponse, BrokerId};
use raft::ReplicaKey;
use raft::message;

use super::quorum_epoch::quorum_epoch;
use super::raft::{cluster_id, endpoints, listeners, only_partition, text, topic_name};

quorum_epoch!(BeginQuorumEpoch, BeginQuorumEpochResponse);

pub(super) fn read_request(
    version: i16,
    request: &BeginQuorumEpochRequest,
) -> Option<message::BeginQuorumEpochRequest> {
    let partition = only_partition!(request, topic_name, partition_index)?;
    let voter = (version >= 1)
        .then(|| ReplicaKey::new(request.voter_id.0, partition.voter_directory_id))
        .filter(|voter| voter.id >= 0);
    Some(message::BeginQuorumEpochRequest {
        cluster_id: text(&request.cluster_id),
        voter,
        leader_id: partition.leader_id.0,
        leader_epoch: partition.leader_epoch,
        leader_endpoints: endpoints!(request.leader_endpoints),
    })
}

/// The request as this node sends it.
pub(crate) fn request(version: i16, asked: &message::BeginQuorumEpochRequest) -> BeginQuorumEpochRequest {
    let mut partition = AskedPartition::default()
        .with_leader_id(BrokerId(asked.leader_id))
        .with_leader_epoch(asked.leader_epoch);
    let mut request = BeginQuorumEpochRequest::default().with_cluster_id(cluster_id(&asked.cluster_id));
    if version >= 1 {
        request.voter_id = BrokerId(asked.voter.map_or(-1, |voter| voter.id));
        partition.voter_directory_id = message::wire_directory(asked.voter);
        request.leader_endpoints = listeners!(LeaderEndpoint, asked.leader_endpoints);
    }
    request.with_topics(vec![
        AskedTopic::default().with_topic_name(topic_name()).with_partitions(vec![partition]),
    ])
}
