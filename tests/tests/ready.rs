//! Ready means ready: no retriable error after CreateTopics has returned, nor for a group that joins the moment the
//! port accepts.
//!
//! Apache Kafka does not promise this: run against it, these tests only count what it answers.

use std::time::Duration;

use bytes::Bytes;
use minikafka_tests::node::{Node, Target};
use minikafka_tests::wire::{Wire, batch, name};
use protocol::messages::join_group_request::JoinGroupRequestProtocol;
use protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use protocol::messages::{
    FindCoordinatorRequest, GroupId, HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest,
    OffsetCommitRequest, SyncGroupRequest,
};
use protocol::{ErrorCode, StrBytes};

/// Topics, and connections to each with one produce and one fetch: 10,000 requests.
const TOPICS: usize = 1000;
const CONNECTIONS: usize = 5;

/// Fails on ours; only counted for Apache Kafka.
fn judge(what: &str, unexpected: &[String]) {
    match Target::from_env() {
        Target::Ours => assert!(
            unexpected.is_empty(),
            "{what}: {} times, first {:?}",
            unexpected.len(),
            unexpected.first()
        ),
        Target::Apache => println!("{what}: Apache Kafka answers with an error {} times", unexpected.len()),
    }
}

#[test]
fn ten_thousand_requests_right_after_create_topics() {
    let mut node = Node::fresh(Target::from_env(), &[]);
    let topics = if node.target() == Target::Ours { TOPICS } else { TOPICS / 20 };
    let address = node.bootstrap();
    let mut admin = Wire::connect(&address).expect("the node listens");
    let mut unexpected = Vec::new();
    let mut note = |what: &str, error: ErrorCode| {
        if error != ErrorCode::NONE {
            unexpected.push(format!("{what}: {error:?}"));
        }
    };
    for i in 0..topics {
        let topic = format!("fresh-{i}");
        assert_eq!(admin.create_topic(&topic, 1).expect("an answer"), ErrorCode::NONE);
        for j in 0..CONNECTIONS {
            let mut wire = Wire::connect(&address).expect("the node listens");
            let value = format!("{i}/{j}");
            let (error, base) = wire.produce(&topic, 0, batch(&[&value])).expect("an answer to Produce");
            note("Produce", error);
            let (error, _, records) = wire.fetch(&topic, 0, j as i64, 1 << 20).expect("an answer to Fetch");
            note("Fetch", error);
            if error == ErrorCode::NONE && base == j as i64 {
                assert!(records.len() > 61, "{topic}: record {j} was acknowledged and is not there");
            }
        }
    }
    judge("after CreateTopics", &unexpected);
    node.stop();
}

#[test]
fn auto_created_topics_are_there_when_metadata_names_them() {
    let mut node = Node::fresh(Target::from_env(), &[]);
    let address = node.bootstrap();
    let mut unexpected = Vec::new();
    for i in 0..50 {
        let topic = format!("auto-{i}");
        let mut wire = Wire::connect(&address).expect("the node listens");
        let mut errors = wire.metadata(&topic).expect("an answer to Metadata");
        errors.push(wire.produce(&topic, 0, batch(&["value"])).expect("an answer to Produce").0);
        unexpected
            .extend(errors.iter().filter(|e| **e != ErrorCode::NONE).map(|e| format!("{topic}: {e:?}")));
    }
    judge("after auto-creation", &unexpected);
    node.stop();
}

#[test]
fn a_group_that_joins_the_moment_the_port_accepts() {
    let mut node = Node::prepared(Target::from_env(), &[]);
    node.format();
    let rounds = if node.target() == Target::Ours { 10 } else { 2 };
    let mut unexpected = Vec::new();
    for round in 0..rounds {
        node.spawn();
        let (mut wire, _) =
            Wire::connect_soon(&node.bootstrap(), Duration::from_secs(60)).expect("the port opens");
        for (what, error) in join(&mut wire, round) {
            // Every member must be given its id first: that answer is part of the protocol.
            if error != ErrorCode::NONE && error != ErrorCode::MEMBER_ID_REQUIRED {
                unexpected.push(format!("round {round}, {what}: {error:?}"));
            }
        }
        if round % 2 == 0 { node.kill() } else { node.stop() }
    }
    judge("right after the start", &unexpected);
}

/// One member's way through a group: each request's name and error.
fn join(wire: &mut Wire, round: i64) -> Vec<(&'static str, ErrorCode)> {
    let text = StrBytes::from_static_str;
    let group = GroupId(text("early"));
    let mut errors = Vec::new();
    let find = FindCoordinatorRequest::default().with_key_type(0).with_coordinator_keys(vec![text("early")]);
    let found = wire.call(4, &find).expect("an answer to FindCoordinator");
    errors.push(("FindCoordinator", ErrorCode(found.coordinators[0].error_code)));

    let range = JoinGroupRequestProtocol::default()
        .with_name(text("range"))
        .with_metadata(Bytes::from_static(b"\0\0"));
    let mut request = JoinGroupRequest::default()
        .with_group_id(group.clone())
        .with_session_timeout_ms(10_000)
        .with_rebalance_timeout_ms(10_000)
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![range]);
    let mut joined = wire.call(9, &request).expect("an answer to JoinGroup");
    errors.push(("JoinGroup", ErrorCode(joined.error_code)));
    request.member_id = joined.member_id.clone();
    joined = wire.call(9, &request).expect("an answer to JoinGroup");
    errors.push(("JoinGroup with the id", ErrorCode(joined.error_code)));

    let (generation, member) = (joined.generation_id, joined.member_id);
    let all = SyncGroupRequestAssignment::default()
        .with_member_id(member.clone())
        .with_assignment(Bytes::from_static(b"\0\0"));
    let sync = SyncGroupRequest::default()
        .with_group_id(group.clone())
        .with_generation_id(generation)
        .with_member_id(member.clone())
        .with_protocol_type(Some(text("consumer")))
        .with_protocol_name(Some(text("range")))
        .with_assignments(vec![all]);
    let synced = wire.call(5, &sync).expect("an answer to SyncGroup");
    errors.push(("SyncGroup", ErrorCode(synced.error_code)));
    let beat = HeartbeatRequest::default()
        .with_group_id(group.clone())
        .with_generation_id(generation)
        .with_member_id(member.clone());
    let beaten = wire.call(4, &beat).expect("an answer to Heartbeat");
    errors.push(("Heartbeat", ErrorCode(beaten.error_code)));

    let topic = wire.metadata("early").expect("an answer to Metadata");
    errors.extend(topic.into_iter().map(|e| ("Metadata", e)));
    let partition = OffsetCommitRequestPartition::default()
        .with_committed_offset(round)
        .with_committed_metadata(Some(text("")));
    let topic = OffsetCommitRequestTopic::default().with_name(name("early")).with_partitions(vec![partition]);
    let commit = OffsetCommitRequest::default()
        .with_group_id(group.clone())
        .with_generation_id_or_member_epoch(generation)
        .with_member_id(member.clone())
        .with_topics(vec![topic]);
    let committed = wire.call(8, &commit).expect("an answer to OffsetCommit");
    errors.push(("OffsetCommit", ErrorCode(committed.topics[0].partitions[0].error_code)));
    use protocol::messages::leave_group_request::MemberIdentity;
    let leaving = MemberIdentity::default().with_member_id(member);
    let leave = LeaveGroupRequest::default().with_group_id(group).with_members(vec![leaving]);
    let left = wire.call(4, &leave).expect("an answer to LeaveGroup");
    errors.push(("LeaveGroup", ErrorCode(left.error_code)));
    errors
}
