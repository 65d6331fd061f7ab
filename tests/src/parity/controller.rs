//! The controller's listener.

use protocol::messages::alter_partition_request as alter;
use protocol::messages::{
    AllocateProducerIdsRequest, AlterPartitionRequest, AssignReplicasToDirsRequest, BeginQuorumEpochRequest,
    BrokerHeartbeatRequest, BrokerId, BrokerRegistrationRequest, DescribeConfigsRequest,
    EndQuorumEpochRequest, TopicName, VoteRequest,
};
use protocol::messages::{
    begin_quorum_epoch_request as begin, end_quorum_epoch_request as end, vote_request as vote,
};
use uuid::Uuid;

use super::configs::{describe, resource, sorted};
use super::session::{CONTROLLER, Session, s};

pub(super) fn script(session: &mut Session) {
    brokers(session);
    raft(session);
}

fn brokers(session: &mut Session) {
    for (label, id, epoch) in [("unknown broker", 7, 5), ("wrong epoch", 1, 99_999)] {
        let request = BrokerHeartbeatRequest::default().with_broker_id(BrokerId(id)).with_broker_epoch(epoch);
        for version in [0, 1] {
            session.send(CONTROLLER, version, &request);
            session.receive::<BrokerHeartbeatRequest>(CONTROLLER, version, label, |_| {});
        }
        let request =
            AllocateProducerIdsRequest::default().with_broker_id(BrokerId(id)).with_broker_epoch(epoch);
        session.send(CONTROLLER, 0, &request);
        session.receive::<AllocateProducerIdsRequest>(CONTROLLER, 0, label, |_| {});
        let topic = alter::TopicData::default().with_topic_id(Uuid::from_u128(77));
        let request = AlterPartitionRequest::default()
            .with_broker_id(BrokerId(id))
            .with_broker_epoch(epoch)
            .with_topics(vec![topic]);
        for version in [2, 3] {
            session.send(CONTROLLER, version, &request);
            session.receive::<AlterPartitionRequest>(CONTROLLER, version, label, |_| {});
        }
        let request =
            AssignReplicasToDirsRequest::default().with_broker_id(BrokerId(id)).with_broker_epoch(epoch);
        session.send(CONTROLLER, 0, &request);
        session.receive::<AssignReplicasToDirsRequest>(CONTROLLER, 0, label, |_| {});
    }
    for (label, cluster) in [("other cluster", "another"), ("no features", crate::node::CLUSTER_ID)] {
        let request = BrokerRegistrationRequest::default()
            .with_broker_id(BrokerId(9))
            .with_cluster_id(s(cluster))
            .with_incarnation_id(Uuid::from_u128(99));
        for version in [0, 4] {
            session.send(CONTROLLER, version, &request);
            session.receive::<BrokerRegistrationRequest>(CONTROLLER, version, label, |_| {});
        }
    }
}

fn raft(session: &mut Session) {
    let metadata = || TopicName(s("__cluster_metadata"));
    for (label, cluster) in [("other cluster", "another"), ("old epoch", crate::node::CLUSTER_ID)] {
        let partition = vote::PartitionData::default().with_replica_id(BrokerId(5));
        let topic =
            vote::TopicData::default().with_topic_name(metadata()).with_partitions(vec![partition.clone()]);
        let request = VoteRequest::default().with_cluster_id(Some(s(cluster))).with_topics(vec![topic]);
        for version in [0, 2] {
            session.send(CONTROLLER, version, &request);
            session.receive::<VoteRequest>(CONTROLLER, version, label, |_| {});
        }
        let partition = begin::PartitionData::default().with_leader_id(BrokerId(5));
        let topic = begin::TopicData::default().with_topic_name(metadata()).with_partitions(vec![partition]);
        let request =
            BeginQuorumEpochRequest::default().with_cluster_id(Some(s(cluster))).with_topics(vec![topic]);
        for version in [0, 1] {
            session.send(CONTROLLER, version, &request);
            session.receive::<BeginQuorumEpochRequest>(CONTROLLER, version, label, |_| {});
        }
        let partition = end::PartitionData::default().with_leader_id(BrokerId(5));
        let topic = end::TopicData::default().with_topic_name(metadata()).with_partitions(vec![partition]);
        let request =
            EndQuorumEpochRequest::default().with_cluster_id(Some(s(cluster))).with_topics(vec![topic]);
        for version in [0, 1] {
            session.send(CONTROLLER, version, &request);
            session.receive::<EndQuorumEpochRequest>(CONTROLLER, version, label, |_| {});
        }
    }
    configs(session);
    let topic = vote::TopicData::default()
        .with_topic_name(TopicName(s("other")))
        .with_partitions(vec![vote::PartitionData::default()]);
    session.send(CONTROLLER, 2, &VoteRequest::default().with_topics(vec![topic]));
    session.receive::<VoteRequest>(CONTROLLER, 2, "other topic", |_| {});
    session.send(CONTROLLER, 2, &VoteRequest::default());
    session.receive::<VoteRequest>(CONTROLLER, 2, "no topic", |_| {});
}

/// DescribeConfigs, which a controller answers for itself.
fn configs(session: &mut Session) {
    let keys: &[&str] = &["num.partitions", "node.id", "log.retention.ms"];
    for version in [1, 4] {
        for (label, kind, name) in [
            ("itself", 4, "1"),
            ("all", 4, ""),
            ("another", 4, "7"),
            ("topic", 2, "alter"),
            ("unknown topic", 2, "unknown"),
            ("kind 99", 99, ""),
        ] {
            let only = (kind == 4).then_some(keys);
            session.send(CONTROLLER, version, &describe(vec![resource(kind, name, only)]));
            let label = format!("controller: {label}");
            session.receive::<DescribeConfigsRequest>(CONTROLLER, version, &label, sorted);
        }
    }
}
