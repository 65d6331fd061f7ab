//! EndQuorumEpoch (key 54), versions 0-1.
//!
//! - v1: directory ids and the leader's endpoints (KIP-853).

use protocol::messages::end_quorum_epoch_request::{
    LeaderEndpoint, PartitionData as AskedPartition, ReplicaInfo, TopicData as AskedTopic,
};
use protocol::messages::end_quorum_epoch_response::{NodeEndpoint, PartitionData, TopicData};
use protocol::messages::{BrokerId, EndQuorumEpochRequest, EndQuorumEpochResponse};
use raft::ReplicaKey;
use raft::message;

use super::quorum_epoch::quorum_epoch;
use super::raft::{cluster_id, endpoints, listeners, only_partition, text, topic_name};

quorum_epoch!(EndQuorumEpoch, EndQuorumEpochResponse);

pub(super) fn read_request(
    version: i16,
    request: &EndQuorumEpochRequest,
) -> Option<message::EndQuorumEpochRequest> {
    let partition = only_partition!(request, topic_name, partition_index)?;
    let candidates = match version {
        0 => partition
            .preferred_successors
            .iter()
            .map(|id| ReplicaKey { id: *id, directory_id: None })
            .collect(),
        _ => {
            let candidates = partition.preferred_candidates.iter();
            candidates.map(|key| ReplicaKey::new(key.candidate_id.0, key.candidate_directory_id)).collect()
        }
    };
    Some(message::EndQuorumEpochRequest {
        cluster_id: text(&request.cluster_id),
        leader_id: partition.leader_id.0,
        leader_epoch: partition.leader_epoch,
        leader_endpoints: endpoints!(request.leader_endpoints),
        preferred_candidates: candidates,
    })
}

/// The request as this node sends it.
pub(crate) fn request(version: i16, asked: &message::EndQuorumEpochRequest) -> EndQuorumEpochRequest {
    let mut partition = AskedPartition::default()
        .with_leader_id(BrokerId(asked.leader_id))
        .with_leader_epoch(asked.leader_epoch);
    let mut request = EndQuorumEpochRequest::default().with_cluster_id(cluster_id(&asked.cluster_id));
    if version >= 1 {
        let candidates = asked.preferred_candidates.iter().map(|candidate| {
            ReplicaInfo::default()
                .with_candidate_id(BrokerId(candidate.id))
                .with_candidate_directory_id(candidate.directory_or_zero())
        });
        partition.preferred_candidates = candidates.collect();
        request.leader_endpoints = listeners!(LeaderEndpoint, asked.leader_endpoints);
    } else {
        partition.preferred_successors =
            asked.preferred_candidates.iter().map(|candidate| candidate.id).collect();
    }
    request.with_topics(vec![
        AskedTopic::default().with_topic_name(topic_name()).with_partitions(vec![partition]),
    ])
}
