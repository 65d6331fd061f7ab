//! Clusters of several processes: the quorum elects, every broker serves, and controllers come and go.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use minikafka_tests::cluster::{Cluster, Quorum, Role, create_topic, metadata, text};
use minikafka_tests::node::{PATIENCE, Target};
use minikafka_tests::wire::{Wire, batch};
use protocol::ErrorCode;
use protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use protocol::messages::{FindCoordinatorRequest, GroupId, OffsetCommitRequest};

const COMBINED: [Role; 3] = [Role::Combined; 3];

/// Creates a topic by one broker, which must serve it at once: every partition has a leader that takes records.
fn create_and_use(cluster: &Cluster, broker: usize, topic: &str) {
    let mut wire = cluster.wire(broker);
    let error = create_topic(&mut wire, topic, 6, 1).expect("an answer to CreateTopics");
    assert_eq!(error, ErrorCode::NONE, "{topic} by broker {broker}");
    let answer = metadata(&mut wire, topic).expect("an answer to Metadata");
    let partitions = &answer.topics[0].partitions;
    assert_eq!((answer.topics[0].error_code, partitions.len()), (0, 6), "{topic} on broker {broker}");
    for partition in partitions {
        let index = partition.partition_index;
        assert_eq!(partition.error_code, 0, "{topic}-{index} on broker {broker}");
        let leader = usize::try_from(partition.leader_id.0).expect("a partition has a leader");
        produce_soon(&mut cluster.wire(leader), topic, index);
    }
}

/// Produces one record as a client does: again while the leader, another broker, has not heard of it.
fn produce_soon(wire: &mut Wire, topic: &str, partition: i32) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (error, _) = wire.produce(topic, partition, batch(&["value"])).expect("an answer to Produce");
        match error {
            ErrorCode::NONE => return,
            error => {
                assert!(error.is_retriable() && Instant::now() < deadline, "{topic}-{partition}: {error:?}")
            }
        }
    }
}

/// How long until a topic can be created by `broker`.
fn next_create(cluster: &Cluster, broker: usize, topic: &str) -> Duration {
    let began = Instant::now();
    let error = create_topic(&mut cluster.wire(broker), topic, 1, 1).expect("an answer to CreateTopics");
    assert!(matches!(error, ErrorCode::NONE | ErrorCode::TOPIC_ALREADY_EXISTS), "{topic}: {error:?}");
    began.elapsed()
}

/// Some broker that is not this one.
fn other_broker(cluster: &Cluster, than: usize) -> usize {
    cluster.brokers().into_iter().find(|id| *id != than).expect("there is another broker")
}

#[test]
fn three_combined_nodes() {
    let mut cluster = Cluster::start(Target::from_env(), &COMBINED, Quorum::Static, &[]);
    for id in 1..=3 {
        create_and_use(&cluster, id, &format!("by-{id}"));
    }
    // Groups have their coordinators on all of the brokers.
    let coordinators: BTreeSet<usize> =
        (0..12).map(|group| commit(&cluster, &format!("group-{group}"))).collect();
    assert!(coordinators.len() > 1, "all groups are with {coordinators:?}");

    let state = cluster.quorum(1);
    assert_eq!((state.voter_ids(), state.observers.len()), (vec![1, 2, 3], 0));
    let killed = state.leader;
    cluster.node_mut(killed).kill();
    let asked = other_broker(&cluster, killed);
    println!(
        "CreateTopics after the kill of the active controller: {:?}",
        next_create(&cluster, asked, "after-kill")
    );
    let after = cluster.quorum(asked);
    assert!(after.leader != killed && after.epoch > state.epoch, "{after:?} after {state:?}");

    cluster.start_all();
    cluster.wait_quorum(asked, |state| state.is_caught_up());
    create_and_use(&cluster, killed, "by-the-returned");

    let leaving = cluster.quorum(asked).leader;
    let asked = other_broker(&cluster, leaving);
    cluster.node_mut(leaving).stop();
    println!(
        "CreateTopics after a clean stop of the active controller: {:?}",
        next_create(&cluster, asked, "after-stop")
    );
    assert_ne!(cluster.quorum(asked).leader, leaving);

    // A controller that lost its disk comes back empty; what is committed comes back to it.
    fs::remove_dir_all(cluster.node(leaving).data()).expect("the data can be removed");
    cluster.format_node(leaving);
    cluster.start_all();
    cluster.wait_quorum(asked, |state| state.is_caught_up());
    create_and_use(&cluster, leaving, "by-the-empty");
}

/// Commits an offset for a group where its coordinator is; gives the coordinator.
fn commit(cluster: &Cluster, group: &str) -> usize {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let request =
            FindCoordinatorRequest::default().with_key_type(0).with_coordinator_keys(vec![text(group)]);
        let answer = cluster.wire(1).call(4, &request).expect("an answer to FindCoordinator");
        let found = &answer.coordinators[0];
        let mut error = ErrorCode(found.error_code);
        if error == ErrorCode::NONE {
            let coordinator = found.node_id.0 as usize;
            let partition =
                OffsetCommitRequestPartition::default().with_partition_index(0).with_committed_offset(1);
            let topic = OffsetCommitRequestTopic::default()
                .with_name(minikafka_tests::wire::name("by-1"))
                .with_partitions(vec![partition]);
            let request = OffsetCommitRequest::default()
                .with_group_id(GroupId(text(group)))
                .with_generation_id_or_member_epoch(-1)
                .with_topics(vec![topic]);
            let answer = cluster.wire(coordinator).call(8, &request).expect("an answer to OffsetCommit");
            error = ErrorCode(answer.topics[0].partitions[0].error_code);
            if error == ErrorCode::NONE {
                return coordinator;
            }
        }
        assert!(error.is_retriable() && Instant::now() < deadline, "{group}: {error:?}");
    }
}

#[test]
fn brokers_and_a_controller_apart() {
    let roles = [Role::Controller, Role::Broker, Role::Broker];
    let mut cluster = Cluster::start(Target::from_env(), &roles, Quorum::Static, &[]);
    create_and_use(&cluster, 2, "by-2");
    create_and_use(&cluster, 3, "by-3");
    let state = cluster.quorum(2);
    let observers: Vec<usize> = state.observers.iter().map(|(id, _)| *id).collect();
    assert_eq!((state.leader, state.voter_ids(), observers), (1, vec![1], vec![2, 3]));
    // Brokers serve on without a controller, and find it when it is back.
    cluster.node_mut(1).kill();
    produce_soon(&mut cluster.wire(2), "by-2", led_by(&cluster, 2, "by-2"));
    cluster.start_all();
    create_and_use(&cluster, 3, "after-the-return");
    // A broker leaves in order, and comes back.
    cluster.node_mut(2).restart();
    create_and_use(&cluster, 2, "after-the-restart");
    cluster.nodes.iter_mut().rev().for_each(|node| node.stop());
}

/// A partition of the topic that the broker leads.
fn led_by(cluster: &Cluster, broker: usize, topic: &str) -> i32 {
    let answer = metadata(&mut cluster.wire(broker), topic).expect("an answer to Metadata");
    let mine = answer.topics[0].partitions.iter().find(|p| p.leader_id.0 as usize == broker);
    mine.expect("the broker leads some partition").partition_index
}
