//! The classic group protocol, offsets, and the groups' administration.

use bytes::Bytes;
use protocol::messages::join_group_request::JoinGroupRequestProtocol;
use protocol::messages::leave_group_request::MemberIdentity;
use protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use protocol::messages::offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
use protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use protocol::messages::{
    ConsumerGroupDescribeRequest, DeleteGroupsRequest, DescribeGroupsRequest, FindCoordinatorRequest,
    GroupId, HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, ListGroupsRequest,
    ListGroupsResponse, OffsetCommitRequest, OffsetCommitResponse, OffsetDeleteRequest, OffsetFetchRequest,
    OffsetFetchResponse, SyncGroupRequest,
};

use super::session::{Session, s};
use super::topics::topic_name;

fn group(name: &str) -> GroupId {
    GroupId(s(name))
}

/// A member's subscription to `f`, as the consumer protocol has it.
const SUBSCRIPTION: &[u8] = &[0, 0, 0, 0, 0, 1, 0, 1, b'f', 0xff, 0xff, 0xff, 0xff];

fn join(name: &str, member: &str) -> JoinGroupRequest {
    let protocol = |name: &str| {
        JoinGroupRequestProtocol::default().with_name(s(name)).with_metadata(Bytes::from_static(SUBSCRIPTION))
    };
    JoinGroupRequest::default()
        .with_group_id(group(name))
        .with_member_id(s(member))
        .with_session_timeout_ms(30_000)
        .with_rebalance_timeout_ms(30_000)
        .with_protocol_type(s("consumer"))
        .with_protocols(vec![protocol("range"), protocol("roundrobin")])
}

fn by_member(r: &mut JoinGroupResponse) {
    r.members.sort_by(|a, b| a.member_id.cmp(&b.member_id));
}

fn sync(
    name: &str,
    generation: i32,
    member: &str,
    assignments: &[(&str, &'static [u8])],
) -> SyncGroupRequest {
    let assignment = |(member, bytes): &(&str, &'static [u8])| {
        SyncGroupRequestAssignment::default()
            .with_member_id(s(member))
            .with_assignment(Bytes::from_static(bytes))
    };
    SyncGroupRequest::default()
        .with_group_id(group(name))
        .with_generation_id(generation)
        .with_member_id(s(member))
        .with_assignments(assignments.iter().map(assignment).collect())
}

/// SyncGroup from version 5 on, which names the protocol.
fn sync5(
    name: &str,
    generation: i32,
    member: &str,
    assignments: &[(&str, &'static [u8])],
) -> SyncGroupRequest {
    sync(name, generation, member, assignments)
        .with_protocol_type(Some(s("consumer")))
        .with_protocol_name(Some(s("range")))
}

fn heartbeat(name: &str, generation: i32, member: &str) -> HeartbeatRequest {
    HeartbeatRequest::default()
        .with_group_id(group(name))
        .with_generation_id(generation)
        .with_member_id(s(member))
}

fn leave(name: &str, members: &[(&str, Option<&str>)]) -> LeaveGroupRequest {
    let member = |(member, instance): &(&str, Option<&str>)| {
        MemberIdentity::default().with_member_id(s(member)).with_group_instance_id(instance.map(s))
    };
    LeaveGroupRequest::default().with_group_id(group(name)).with_members(members.iter().map(member).collect())
}

pub(super) fn script(session: &mut Session) {
    let ready = FindCoordinatorRequest::default().with_key(s("g")).with_key_type(0);
    session.until(3, &ready, |r| r.error_code == 0);
    session.until(4, &heartbeat("g", 0, "x"), |r| !matches!(r.error_code, 14..=16));
    joins(session);
    members(session);
    statics(session);
    offsets(session);
    describes(session);
    consumer_describes(session);
    deletions(session);
}

/// Joins that are refused, and requests of members that are not.
fn joins(session: &mut Session) {
    for version in [2, 3, 4, 5, 7, 9] {
        let off = [
            ("empty group", join("", "")),
            ("unknown member", join("off", "nobody")),
            ("short session", join("off", "").with_session_timeout_ms(1)),
            ("long session", join("off", "").with_session_timeout_ms(i32::MAX)),
            ("no protocol", join("off", "").with_protocols(vec![])),
            ("no protocol type", join("off", "").with_protocol_type(s(""))),
        ];
        for (label, request) in off {
            session.ask(version, label, &request);
        }
        let v = version.min(5);
        session.ask(v.min(3), &format!("unknown group {version}"), &sync("nowhere", 1, "x", &[]));
        session.ask(v.min(4), &format!("empty group {version}"), &heartbeat("", 1, "x"));
        session.ask(v.min(4), &format!("unknown group {version}"), &heartbeat("nowhere", 1, "x"));
        session.ask(v.min(4), &format!("empty member {version}"), &heartbeat("nowhere", 1, ""));
    }
    for version in [0, 5] {
        session.ask(version, "empty group", &sync("", 1, "x", &[]));
        session.ask(version, "unknown member", &sync("nowhere", 1, "", &[]));
    }
    for version in [0, 2] {
        let request = LeaveGroupRequest::default().with_group_id(group("nowhere")).with_member_id(s("x"));
        session.ask(version, "unknown group", &request);
        session.ask(version, "empty group", &request.with_group_id(group("")));
    }
    for version in [3, 5] {
        session.ask(version, "unknown group", &leave("nowhere", &[("x", None), ("y", Some("i"))]));
        session.ask(version, "empty group", &leave("", &[("x", None)]));
        session.ask(version, "no members", &leave("nowhere", &[]));
    }
}

/// A group of one and then two members, through its whole life.
fn members(session: &mut Session) {
    let g = "g-life";
    let Some(refused) = session.ask_with(9, "life: first without id", &join(g, ""), by_member) else {
        return;
    };
    let one = refused.member_id.to_string();
    session.ask_with(9, "life: first", &join(g, &one), by_member);
    let g1 = |request: &JoinGroupRequest| request.clone();
    session.ask(5, "life: wrong generation", &sync5(g, 9, &one, &[]));
    let other =
        sync(g, 1, &one, &[]).with_protocol_type(Some(s("connect"))).with_protocol_name(Some(s("range")));
    session.ask(5, "life: wrong protocol type", &other);
    let other =
        sync(g, 1, &one, &[]).with_protocol_type(Some(s("consumer"))).with_protocol_name(Some(s("x")));
    session.ask(5, "life: wrong protocol", &other);
    session.ask(4, "life: before sync", &heartbeat(g, 1, &one));
    session.ask(5, "life: nameless", &sync(g, 1, &one, &[]));
    session.ask(5, "life: first", &sync5(g, 1, &one, &[(&one, b"first")]));
    session.ask(5, "life: again", &sync5(g, 1, &one, &[]));
    session.ask(3, "life: old version", &sync(g, 1, &one, &[]));
    for version in [0, 3, 4] {
        session.ask(version, "life: fine", &heartbeat(g, 1, &one));
        session.ask(version, "life: wrong generation", &heartbeat(g, 2, &one));
        session.ask(version, "life: stranger", &heartbeat(g, 1, "stranger"));
    }
    session.ask_with(
        9,
        "life: other protocol type",
        &join(g, "").with_protocol_type(s("connect")),
        by_member,
    );
    let mut strange = join(g, "");
    strange.protocols.truncate(1);
    strange.protocols[0].name = s("sticky");
    session.ask_with(9, "life: other protocol", &strange, by_member);
    session.send(1, 5, &commit(g, 1, &one, &[("f", 0, 5)], None));
    session.receive::<OffsetCommitRequest>(1, 5, "life: member", |_| {});
    session.ask(8, "life: wrong generation", &commit(g, 7, &one, &[("f", 0, 5)], None));
    session.ask(8, "life: stranger", &commit(g, 1, "stranger", &[("f", 0, 5)], None));
    session.ask(8, "life: no member", &commit(g, -1, "", &[("f", 0, 5)], None));
    session.send(1, 2, &join(g, ""));
    session.until(4, &heartbeat(g, 1, &one), |r| r.error_code == 27);
    session.ask(4, "life: rebalancing", &heartbeat(g, 1, &one));
    session.ask(5, "life: rebalancing", &sync5(g, 1, &one, &[]));
    session.ask(8, "life: rebalancing", &commit(g, 1, &one, &[("f", 0, 5)], None));
    describe(session, g, "rebalancing");
    session.ask_with(9, "life: first again", &g1(&join(g, &one)), |r| r.members.clear());
    let Some(second) = session.receive::<JoinGroupRequest>(1, 2, "life: second", |r| r.members.clear())
    else {
        return;
    };
    let two = second.member_id.to_string();
    session.send(1, 4, &sync(g, 2, &two, &[]));
    session.ask(5, "life: both", &sync5(g, 2, &one, &[(&one, b"one"), (&two, b"two")]));
    session.receive::<SyncGroupRequest>(1, 4, "life: second", |_| {});
    describe(session, g, "two members");
    let stable = DeleteGroupsRequest::default().with_groups_names(vec![group(g)]);
    session.ask(2, "not empty", &stable);
    session.ask(0, "life", &delete_offsets(g, &[("f", &[0, 1])]));
    session.ask(5, "life: stranger and second", &leave(g, &[("stranger", None), (&two, None)]));
    session.ask(4, "life: after a leave", &heartbeat(g, 2, &one));
    let last = LeaveGroupRequest::default().with_group_id(group(g)).with_member_id(s(&one));
    session.ask(1, "life: last", &last);
    session.ask(2, "life: last again", &last);
    describe(session, g, "empty");
}

/// Static members.
fn statics(session: &mut Session) {
    let g = "g-static";
    let fixed = |member: &str, instance: &str| join(g, member).with_group_instance_id(Some(s(instance)));
    let Some(first) = session.ask_with(9, "static: first", &fixed("", "a"), by_member) else { return };
    let one = first.member_id.to_string();
    session.ask(5, "static: first", &sync5(g, first.generation_id, &one, &[(&one, b"one")]));
    let Some(again) = session.ask_with(9, "static: again", &fixed("", "a"), by_member) else { return };
    let new = again.member_id.to_string();
    session.ask_with(5, "static: again, older", &fixed("", "a"), |r| r.member_id = s("x"));
    session.ask_with(9, "static: fenced", &fixed(&one, "a"), by_member);
    session.ask_with(9, "static: unknown", &fixed(&new, "b"), by_member);
    let beat = heartbeat(g, first.generation_id, &one).with_group_instance_id(Some(s("a")));
    session.ask(4, "static: fenced", &beat);
    session.ask(4, "static: unknown instance", &beat.clone().with_group_instance_id(Some(s("zz"))));
    session.ask(
        5,
        "static: fenced",
        &sync5(g, first.generation_id, &one, &[]).with_group_instance_id(Some(s("a"))),
    );
    let commit =
        commit(g, first.generation_id, &one, &[("f", 0, 1)], None).with_group_instance_id(Some(s("a")));
    session.ask(8, "static: fenced", &commit);
    session.ask_with(5, "static", &DescribeGroupsRequest::default().with_groups(vec![group(g)]), |r| {
        for member in r.groups.iter_mut().flat_map(|g| &mut g.members) {
            member.member_id = s("x");
        }
    });
    session.ask(5, "static: wrong member", &leave(g, &[(&one, Some("a")), ("", Some("zz"))]));
    session.ask(5, "static: by instance", &leave(g, &[("", Some("a"))]));
}

fn commit(
    name: &str,
    generation: i32,
    member: &str,
    offsets: &[(&str, i32, i64)],
    metadata: Option<&str>,
) -> OffsetCommitRequest {
    let topic = |(topic, partition, offset): &(&str, i32, i64)| {
        let partition = OffsetCommitRequestPartition::default()
            .with_partition_index(*partition)
            .with_committed_offset(*offset)
            .with_committed_metadata(metadata.map(s));
        OffsetCommitRequestTopic::default().with_name(topic_name(topic)).with_partitions(vec![partition])
    };
    OffsetCommitRequest::default()
        .with_group_id(group(name))
        .with_generation_id_or_member_epoch(generation)
        .with_member_id(s(member))
        .with_topics(offsets.iter().map(topic).collect())
}

fn delete_offsets(name: &str, topics: &[(&str, &[i32])]) -> OffsetDeleteRequest {
    let topic = |(name, partitions): &(&str, &[i32])| {
        let partitions =
            partitions.iter().map(|p| OffsetDeleteRequestPartition::default().with_partition_index(*p));
        OffsetDeleteRequestTopic::default().with_name(topic_name(name)).with_partitions(partitions.collect())
    };
    OffsetDeleteRequest::default().with_group_id(group(name)).with_topics(topics.iter().map(topic).collect())
}

fn offsets(session: &mut Session) {
    let sorted = |r: &mut OffsetCommitResponse| r.topics.sort_by(|a, b| a.name.cmp(&b.name));
    for version in [2, 3, 5, 6, 7, 8, 9] {
        for (label, request) in [
            ("one", commit("g-offsets", -1, "", &[("f", 0, 3)], None)),
            ("metadata", commit("g-offsets", -1, "", &[("f", 1, 4)], Some("note"))),
            ("unknown topic", commit("g-offsets", -1, "", &[("unknown", 0, 1), ("f", 0, 3)], None)),
            ("unknown partition", commit("g-offsets", -1, "", &[("f", 9, 1)], None)),
            ("negative offset", commit("g-offsets", -1, "", &[("f", 1, -1)], None)),
            ("empty topic", commit("g-offsets", -1, "", &[("", 0, 1)], None)),
            ("bad topic", commit("g-offsets", -1, "", &[("a b", 0, 1)], None)),
            ("generation of no group", commit("g-none", 3, "x", &[("f", 0, 1)], None)),
            ("member of no group", commit("g-none", -1, "x", &[("f", 0, 1)], None)),
            ("empty group", commit("", -1, "", &[("f", 0, 1)], None)),
            ("no topics", commit("g-offsets", -1, "", &[], None)),
            ("long metadata", commit("g-offsets", -1, "", &[("f", 0, 3)], Some(&"m".repeat(4097)))),
        ] {
            session.ask_with(version, label, &request, sorted);
        }
    }
    let twice = commit("g-offsets", -1, "", &[("f", 0, 3), ("f", 1, 5)], None);
    session.ask_with(9, "topic twice", &twice, sorted);
    fetches(session);
    for (label, request) in [
        ("one", delete_offsets("g-offsets", &[("f", &[0])])),
        ("again", delete_offsets("g-offsets", &[("f", &[0])])),
        ("unknown topic", delete_offsets("g-offsets", &[("unknown", &[0])])),
        ("unknown partition", delete_offsets("g-offsets", &[("f", &[9])])),
        ("unknown group", delete_offsets("nowhere", &[("f", &[0])])),
        ("empty group", delete_offsets("", &[("f", &[0])])),
        ("no topics", delete_offsets("g-offsets", &[])),
        ("no partitions", delete_offsets("g-offsets", &[("f", &[])])),
    ] {
        session.ask(0, label, &request);
    }
}

fn fetches(session: &mut Session) {
    let old = |name: &str, topics: Option<&[(&str, &[i32])]>| {
        let topic = |(name, partitions): &(&str, &[i32])| {
            OffsetFetchRequestTopic::default()
                .with_name(topic_name(name))
                .with_partition_indexes(partitions.to_vec())
        };
        OffsetFetchRequest::default()
            .with_group_id(group(name))
            .with_topics(topics.map(|t| t.iter().map(topic).collect()))
    };
    let sorted = |r: &mut OffsetFetchResponse| {
        r.topics.sort_by(|a, b| a.name.cmp(&b.name));
        for group in &mut r.groups {
            group.topics.sort_by(|a, b| a.name.cmp(&b.name));
            group.topics.iter_mut().for_each(|t| t.partitions.sort_by_key(|p| p.partition_index));
        }
        r.topics.iter_mut().for_each(|t| t.partitions.sort_by_key(|p| p.partition_index));
    };
    for version in [1, 2, 3, 5, 6, 7] {
        for (label, request) in [
            ("two", old("g-offsets", Some(&[("f", &[1, 0])]))),
            ("unknown", old("g-offsets", Some(&[("unknown", &[0]), ("f", &[9])]))),
            ("twice", old("g-offsets", Some(&[("f", &[0]), ("f", &[0])]))),
            ("unknown group", old("nowhere", Some(&[("f", &[0])]))),
            ("empty group", old("", Some(&[("f", &[0])]))),
            ("no topics", old("g-offsets", Some(&[]))),
        ] {
            session.ask_with(version, label, &request, sorted);
        }
        if version >= 2 {
            session.ask_with(version, "all", &old("g-offsets", None), sorted);
            session.ask_with(version, "all of nowhere", &old("nowhere", None), sorted);
        }
    }
    let new = |name: &str, topics: Option<&[(&str, &[i32])]>| {
        let topic = |(name, partitions): &(&str, &[i32])| {
            OffsetFetchRequestTopics::default()
                .with_name(topic_name(name))
                .with_partition_indexes(partitions.to_vec())
        };
        OffsetFetchRequestGroup::default()
            .with_group_id(group(name))
            .with_member_id(None)
            .with_member_epoch(-1)
            .with_topics(topics.map(|t| t.iter().map(topic).collect()))
    };
    for version in [8, 9] {
        for (label, groups) in [
            ("one", vec![new("g-offsets", Some(&[("f", &[0, 1, 9]), ("unknown", &[0])]))]),
            ("two", vec![new("g-offsets", None), new("nowhere", None)]),
            ("unknown", vec![new("nowhere", Some(&[("f", &[0])]))]),
            ("empty group", vec![new("", Some(&[("f", &[0])]))]),
            ("no topics", vec![new("g-offsets", Some(&[]))]),
            ("same twice", vec![new("g-offsets", None), new("g-offsets", Some(&[("f", &[0])]))]),
            ("none", vec![]),
        ] {
            let request = OffsetFetchRequest::default().with_groups(groups).with_require_stable(version > 8);
            session.ask_with(version, label, &request, sorted);
        }
    }
    let member = new("g-offsets", None).with_member_id(Some(s("x"))).with_member_epoch(4);
    session.ask_with(9, "member", &OffsetFetchRequest::default().with_groups(vec![member]), sorted);
}

/// DescribeGroups of one group, members without their order.
fn describe(session: &mut Session, name: &str, label: &str) {
    session.ask_with(
        5,
        &format!("{name} {label}"),
        &DescribeGroupsRequest::default().with_groups(vec![group(name)]),
        |r| {
            for group in &mut r.groups {
                group.members.sort_by(|a, b| a.member_assignment.cmp(&b.member_assignment));
                group.members.iter_mut().for_each(|m| m.member_id = s("x"));
            }
        },
    );
}

/// ConsumerGroupDescribe of what is no consumer group of the newer protocol.
fn consumer_describes(session: &mut Session) {
    let ids = ["g-life", "nowhere", ""];
    for version in [0, 1] {
        for id in ids {
            let request = ConsumerGroupDescribeRequest::default().with_group_ids(vec![group(id)]);
            session.ask(version, &format!("group {id:?}"), &request);
            let request = request.with_include_authorized_operations(true);
            session.ask(version, &format!("operations on group {id:?}"), &request);
        }
        let request =
            ConsumerGroupDescribeRequest::default().with_group_ids(ids.iter().map(|id| group(id)).collect());
        session
            .ask_with(version, "groups", &request, |r| r.groups.sort_by(|a, b| a.group_id.cmp(&b.group_id)));
        session.ask(version, "no groups", &ConsumerGroupDescribeRequest::default());
    }
}

fn describes(session: &mut Session) {
    // Apache Kafka remembers a group that nobody could join.
    let known = |r: &mut ListGroupsResponse| {
        r.groups.retain(|group| group.group_id.as_str() != "off");
        r.groups.sort_by(|a, b| a.group_id.cmp(&b.group_id));
    };
    for version in [0, 2, 3, 4, 5, 6] {
        let request = DescribeGroupsRequest::default()
            .with_groups(["g-life", "nowhere", "", "g-offsets", "g-offsets"].map(group).to_vec());
        session.ask_with(version, "some", &request, |r| r.groups.sort_by(|a, b| a.group_id.cmp(&b.group_id)));
        session.ask(version, "none", &DescribeGroupsRequest::default());
    }
    let operations = DescribeGroupsRequest::default()
        .with_groups(vec![group("g-life"), group("nowhere")])
        .with_include_authorized_operations(true);
    session.ask(5, "operations", &operations);
    for version in [0, 2, 3, 4, 5] {
        let request = ListGroupsRequest::default();
        session.ask_with(version, "all", &request, known);
    }
    for states in [&["Empty"][..], &["empty"], &["Stable", "Dead"], &["nonsense"], &[""]] {
        let request = ListGroupsRequest::default().with_states_filter(states.iter().map(|t| s(t)).collect());
        session.ask_with(4, &format!("{states:?}"), &request, known);
    }
    for types in [&["classic"][..], &["Classic"], &["consumer"], &["nonsense"], &["share"]] {
        let request = ListGroupsRequest::default().with_types_filter(types.iter().map(|t| s(t)).collect());
        session.ask_with(5, &format!("{types:?}"), &request, known);
    }
}

fn deletions(session: &mut Session) {
    let of = |names: &[&str]| {
        DeleteGroupsRequest::default().with_groups_names(names.iter().map(|n| group(n)).collect())
    };
    for version in [0, 2] {
        for (label, names) in
            [("none", &[][..]), ("unknown", &["nowhere"]), ("empty", &[""]), ("twice", &["g-life", "g-life"])]
        {
            session.ask_with(version, label, &of(names), |r| {
                r.results.sort_by(|a, b| (&a.group_id, a.error_code).cmp(&(&b.group_id, b.error_code)));
            });
        }
    }
    session.ask(1, "offsets", &of(&["g-offsets"]));
    session.ask(1, "offsets again", &of(&["g-offsets"]));
}
