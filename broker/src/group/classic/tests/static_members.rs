//! The rules of static members (KIP-345), one test each.

use protocol::ErrorCode;

use super::super::*;
use super::simulated_group::{Sim, member, metadata, static_member};

#[test]
fn a_stable_static_member_comes_back_without_a_rebalance() {
    let mut sim = Sim::new();
    sim.send_join(static_member("a1", "A"));
    sim.send_join(static_member("b1", "B"));
    sim.pass(6_000);
    sim.send_sync("b1", 1, &[]);
    sim.send_sync("a1", 1, &[("a1", "for A"), ("b1", "for B")]);
    let b2 = sim.send_join(static_member("b2", "B"));
    let reply = sim.joined(b2);
    assert_eq!((reply.error, reply.generation, reply.skip_assignment), (ErrorCode::NONE, 1, false));
    assert_eq!((&*reply.leader, &*reply.member_id), ("a1", "b2"));
    let sync = sim.send_sync("b2", 1, &[]);
    assert_eq!(sim.synced(sync).assignment, "for B");
    let mut out = Vec::new();
    let old = sim.group.heartbeat("b1", Some("B"), 1, sim.at(), &mut out);
    assert_eq!(old, ErrorCode::FENCED_INSTANCE_ID);
    assert_eq!(sim.group.heartbeat("b1", None, 1, sim.at(), &mut out), ErrorCode::UNKNOWN_MEMBER_ID);
    let ids: Vec<&str> =
        sim.written.last().unwrap().members.iter().map(|member| &*member.member_id).collect();
    assert_eq!(ids, ["a1", "b2"]);
}

#[test]
fn a_static_leader_comes_back_and_must_not_assign() {
    for can_skip_assignment in [true, false] {
        let mut sim = Sim::new();
        sim.send_join(static_member("a1", "A"));
        sim.pass(3_000);
        sim.send_sync("a1", 1, &[("a1", "for A")]);
        let a2 = sim.send_join(JoinRequest { can_skip_assignment, ..static_member("a2", "A") });
        let reply = sim.joined(a2);
        assert_eq!((reply.error, reply.generation), (ErrorCode::NONE, 1));
        assert_eq!(reply.skip_assignment, can_skip_assignment);
        assert_eq!(&*reply.leader, if can_skip_assignment { "a2" } else { "a1" });
        assert_eq!(reply.members.len(), usize::from(can_skip_assignment));
    }
}

#[test]
fn a_static_members_return_that_cannot_be_written_is_undone() {
    let mut sim = Sim::new();
    sim.send_join(static_member("a1", "A"));
    sim.pass(3_000);
    sim.send_sync("a1", 1, &[("a1", "for A")]);
    let before = sim.group.clone();
    sim.hold = true;
    let a2 = sim.send_join(static_member("a2", "A"));
    assert!(sim.waits(a2));
    sim.complete(Err(ErrorCode::NOT_COORDINATOR));
    let reply = sim.joined(a2);
    assert_eq!((reply.error, &*reply.member_id, &*reply.leader), (ErrorCode::NOT_COORDINATOR, "", "a1"));
    assert_eq!(sim.group, before);
    sim.pass(9_000);
    assert_eq!(sim.heartbeat("a1", 1), ErrorCode::NONE);
}

#[test]
fn a_static_member_with_another_choice_of_protocol_rebalances() {
    let mut sim = Sim::new();
    sim.send_join(static_member("a1", "A"));
    sim.pass(3_000);
    sim.send_sync("a1", 1, &[("a1", "for A")]);
    let other = vec![("sticky".into(), metadata("t"))];
    // It must share a protocol with the group as it is, itself included.
    let apart = sim.send_join(JoinRequest { protocols: other, ..static_member("a2", "A") });
    assert_eq!(sim.joined(apart).error, ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
    let swapped = vec![("roundrobin".into(), metadata("t")), ("range".into(), metadata("t"))];
    let a2 = sim.send_join(JoinRequest { protocols: swapped, ..static_member("a2", "A") });
    assert_eq!((sim.joined(a2).generation, sim.joined(a2).protocol.as_deref()), (2, Some("roundrobin")));
}

#[test]
fn a_static_member_that_comes_back_in_completing_rebalances() {
    let mut sim = Sim::new();
    sim.send_join(static_member("a1", "A"));
    let b1 = sim.send_join(static_member("b1", "B"));
    sim.pass(6_000);
    assert_eq!(sim.joined(b1).generation, 1);
    let sync = sim.send_sync("b1", 1, &[]);
    let b2 = sim.send_join(static_member("b2", "B"));
    assert_eq!(sim.synced(sync).error, ErrorCode::FENCED_INSTANCE_ID);
    assert!(sim.waits(b2));
    assert_eq!(sim.group.state(), State::PreparingRebalance);
}

#[test]
fn static_members_stay_when_they_do_not_rejoin() {
    let mut sim = Sim::new();
    let lasting =
        |id: &str, instance: &str| JoinRequest { session_timeout_ms: 300_000, ..static_member(id, instance) };
    sim.send_join(lasting("a1", "A"));
    sim.send_join(lasting("b1", "B"));
    sim.pass(6_000);
    sim.send_sync("b1", 1, &[]);
    sim.send_sync("a1", 1, &[]);
    let changed = JoinRequest { protocols: vec![("range".into(), metadata("u"))], ..member("b1") };
    let b =
        sim.send_join(JoinRequest { instance_id: Some("B".into()), session_timeout_ms: 300_000, ..changed });
    sim.pass(60_000);
    let reply = sim.joined(b);
    assert_eq!((reply.generation, &*reply.leader, reply.members.len()), (2, "b1", 2));
}

/// With the timeouts that clients send the join timer would be due again at once, for ever.
#[test]
fn a_rebalance_that_waits_for_static_members_takes_its_time() {
    let mut sim = Sim::new();
    let hasty = |id: &str, instance: &str| JoinRequest {
        rebalance_timeout_ms: if id == "a1" { 0 } else { -1 },
        session_timeout_ms: 300_000,
        ..static_member(id, instance)
    };
    sim.send_join(hasty("a1", "A"));
    sim.send_join(hasty("b1", "B"));
    sim.send_join(hasty("c1", "C"));
    sim.now += 3_000;
    let mut out = Vec::new();
    sim.group.expired(Timer::Join, sim.at(), &sim.settings, &mut out);
    sim.run(out);
    sim.send_sync("a1", 1, &[]);
    sim.send_sync("b1", 1, &[]);
    sim.send_sync("c1", 1, &[]);
    assert_eq!(sim.leave("", Some("A")), ErrorCode::NONE);
    let (mut out, began) = (Vec::new(), sim.now);
    sim.group.expired(Timer::Join, sim.at(), &sim.settings, &mut out);
    let next = out.iter().find_map(|effect| match effect {
        Effect::SetTimer(Timer::Join, at) => Some(*at - began),
        _ => None,
    });
    assert_eq!(next, Some(MIN_STATIC_WAIT_MS));
    sim.run(out);
    sim.pass(300_000);
    assert_eq!(sim.group.state(), State::Empty, "the sessions end");
}

#[test]
fn static_members_leave_by_instance_id_only_when_told() {
    let mut sim = Sim::new();
    sim.send_join(static_member("a1", "A"));
    sim.pass(3_000);
    assert_eq!(sim.leave("", Some("B")), ErrorCode::UNKNOWN_MEMBER_ID);
    assert_eq!(sim.leave("x", Some("A")), ErrorCode::FENCED_INSTANCE_ID);
    assert_eq!(sim.leave("", Some("A")), ErrorCode::NONE);
    assert_eq!(sim.group.state(), State::Empty);
}
