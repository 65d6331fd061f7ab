//! The rules of the classic protocol, one test each, in virtual time.

mod simulated_group;
mod static_members;

use protocol::ErrorCode;
use simulated_group::{Sim, member, metadata, new_member, static_member};

use super::*;

#[test]
fn first_rebalance_waits_for_more_members() {
    let mut sim = Sim::new();
    let a = sim.send_join(new_member("a"));
    sim.pass(2_999);
    assert!(sim.waits(a));
    let b = sim.send_join(new_member("b"));
    // A member came within the delay: it is waited for once more.
    sim.pass(3_000);
    assert!(sim.waits(a) && sim.waits(b));
    sim.pass(1);
    let reply = sim.joined(a).clone();
    assert_eq!((reply.error, reply.generation, &*reply.leader), (ErrorCode::NONE, 1, "a"));
    assert_eq!(reply.protocol.as_deref(), Some("range"));
    assert_eq!(reply.members.iter().map(|member| &*member.member_id).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(sim.joined(b).members, []);
    assert_eq!(sim.group.state(), State::CompletingRebalance);
}

#[test]
fn first_rebalance_is_not_extended_beyond_the_rebalance_timeout() {
    let mut sim = Sim::new();
    let request = |id: &str| JoinRequest { rebalance_timeout_ms: 7_000, ..new_member(id) };
    let first = sim.send_join(request("m0"));
    for at in 1..7 {
        sim.pass(1_000);
        sim.send_join(request(&format!("m{at}")));
    }
    sim.pass(999);
    assert!(sim.waits(first));
    sim.pass(1);
    assert_eq!(sim.joined(first).members.len(), 7);
}

#[test]
fn dynamic_members_are_given_an_id_first() {
    let mut sim = Sim::new();
    let first = sim.send_join(JoinRequest { requires_member_id: true, ..new_member("a") });
    assert_eq!(sim.joined(first), &JoinReply::error("a".into(), ErrorCode::MEMBER_ID_REQUIRED));
    assert_eq!(sim.group.state(), State::Empty);
    let second = sim.send_join(JoinRequest { requires_member_id: true, ..member("a") });
    sim.pass(3_000);
    assert_eq!(sim.joined(second).error, ErrorCode::NONE);
}

#[test]
fn an_id_that_is_not_used_is_forgotten() {
    let mut sim = Sim::new();
    sim.send_join(JoinRequest { requires_member_id: true, ..new_member("a") });
    sim.pass(10_000);
    let late = sim.join("a");
    assert_eq!(sim.joined(late).error, ErrorCode::UNKNOWN_MEMBER_ID);
}

#[test]
fn a_pending_id_holds_up_a_later_rebalance() {
    let mut sim = Sim::new();
    sim.stable(&["a"]);
    sim.send_join(JoinRequest { requires_member_id: true, ..new_member("b") });
    let a = sim.join("a");
    assert!(sim.waits(a), "b may still come");
    assert_eq!(sim.leave("b", None), ErrorCode::NONE);
    assert_eq!(sim.joined(a).generation, 2);
}

#[test]
fn sync_gives_each_its_part_and_nothing_to_the_forgotten() {
    let mut sim = Sim::new();
    let (a, b) = (sim.send_join(new_member("a")), sim.send_join(new_member("b")));
    sim.pass(6_000);
    assert_eq!((sim.joined(a).generation, sim.joined(b).generation), (1, 1));
    let b = sim.send_sync("b", 1, &[]);
    assert!(sim.waits(b));
    let a = sim.send_sync("a", 1, &[("a", "all")]);
    assert_eq!(sim.synced(a).assignment, "all");
    assert_eq!(sim.synced(a).protocol.as_deref(), Some("range"));
    assert_eq!(sim.synced(b), &SyncReply { assignment: Bytes::new(), ..sim.synced(a).clone() });
    assert_eq!(sim.group.state(), State::Stable);
    let again = sim.send_sync("a", 1, &[]);
    assert_eq!(sim.synced(again).assignment, "all");
    let record = sim.written.last().unwrap();
    assert_eq!((record.generation, record.members.len(), record.state_since_ms), (1, 2, 1_006_000));
    assert_eq!(record.members[0].assignment, "all");
}

#[test]
fn sync_is_answered_when_the_record_is_committed() {
    let mut sim = Sim::new();
    sim.hold = true;
    sim.send_join(new_member("a"));
    sim.pass(3_000);
    let a = sim.send_sync("a", 1, &[("a", "all")]);
    assert!(sim.waits(a));
    assert_eq!(sim.group.state(), State::CompletingRebalance);
    // Parked requests keep their sessions.
    sim.pass(30_000);
    sim.complete(Ok(()));
    assert_eq!(sim.synced(a).error, ErrorCode::NONE);
    sim.pass(9_999);
    assert_eq!(sim.heartbeat("a", 1), ErrorCode::NONE);
}

#[test]
fn a_failed_write_starts_over() {
    let mut sim = Sim::new();
    sim.hold = true;
    sim.send_join(new_member("a"));
    sim.pass(3_000);
    let a = sim.send_sync("a", 1, &[("a", "all")]);
    sim.complete(Err(ErrorCode::COORDINATOR_NOT_AVAILABLE));
    assert_eq!(sim.synced(a), &SyncReply::error(ErrorCode::COORDINATOR_NOT_AVAILABLE));
    assert_eq!(sim.group.state(), State::PreparingRebalance);
    assert_eq!(sim.heartbeat("a", 1), ErrorCode::REBALANCE_IN_PROGRESS);
}

#[test]
fn a_write_of_an_older_generation_changes_nothing() {
    let mut sim = Sim::new();
    sim.hold = true;
    sim.send_join(new_member("a"));
    sim.pass(3_000);
    let old = sim.send_sync("a", 1, &[("a", "old")]);
    let changed = JoinRequest { protocols: vec![("range".into(), metadata("u"))], ..member("a") };
    let join = sim.send_join(changed);
    assert_eq!(sim.synced(old).error, ErrorCode::REBALANCE_IN_PROGRESS);
    assert_eq!(sim.joined(join).generation, 2);
    sim.complete(Ok(()));
    assert_eq!(sim.group.state(), State::CompletingRebalance);
}

#[test]
fn sync_refusals() {
    let mut sim = Sim::new();
    sim.send_join(new_member("a"));
    sim.pass(3_000);
    let unknown = sim.send_sync("x", 1, &[]);
    assert_eq!(sim.synced(unknown).error, ErrorCode::UNKNOWN_MEMBER_ID);
    let old = sim.send_sync("a", 0, &[]);
    assert_eq!(sim.synced(old).error, ErrorCode::ILLEGAL_GENERATION);
    let token = sim.token();
    let mut out = Vec::new();
    let request = SyncRequest {
        member_id: "a".into(),
        instance_id: None,
        generation: 1,
        protocol_type: Some("consumer".into()),
        protocol: Some("sticky".into()),
        assignments: HashMap::new(),
    };
    sim.group.sync(request, token, Now::default(), &mut out);
    sim.run(out);
    assert_eq!(sim.synced(token).error, ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
    sim.send_join(new_member("b"));
    let late = sim.send_sync("a", 1, &[]);
    assert_eq!(sim.synced(late).error, ErrorCode::REBALANCE_IN_PROGRESS);
}

#[test]
fn a_new_member_makes_the_others_rejoin() {
    let mut sim = Sim::new();
    sim.stable(&["a"]);
    let b = sim.send_join(new_member("b"));
    assert!(sim.waits(b));
    assert_eq!(sim.heartbeat("a", 1), ErrorCode::REBALANCE_IN_PROGRESS);
    let a = sim.join("a");
    assert_eq!((sim.joined(a).generation, sim.joined(b).generation), (2, 2));
    assert_eq!(&*sim.joined(b).leader, "a");
    assert_eq!(sim.heartbeat("a", 1), ErrorCode::ILLEGAL_GENERATION);
    assert_eq!(sim.heartbeat("a", 2), ErrorCode::NONE);
}

#[test]
fn members_that_do_not_rejoin_in_time_are_out_and_leadership_moves() {
    let mut sim = Sim::new();
    sim.stable(&["a", "b"]);
    let b = sim.join("b");
    // "b" is no leader and offers the same: it is sent on with what there is.
    assert_eq!(sim.joined(b).generation, 1);
    let changed = JoinRequest { protocols: vec![("range".into(), metadata("u"))], ..member("b") };
    let b = sim.send_join(changed);
    for _ in 0..11 {
        sim.pass(5_000);
        assert_eq!(sim.heartbeat("a", 1), ErrorCode::REBALANCE_IN_PROGRESS);
    }
    assert!(sim.waits(b));
    sim.pass(5_000);
    let reply = sim.joined(b);
    assert_eq!((reply.generation, &*reply.leader, reply.members.len()), (2, "b", 1));
    assert_eq!(sim.heartbeat("a", 1), ErrorCode::UNKNOWN_MEMBER_ID);
}

#[test]
fn a_silent_member_is_out_after_its_session() {
    let mut sim = Sim::new();
    sim.stable(&["a", "b"]);
    sim.pass(9_000);
    assert_eq!(sim.heartbeat("b", 1), ErrorCode::NONE);
    sim.pass(1_500);
    assert_eq!(sim.heartbeat("a", 1), ErrorCode::UNKNOWN_MEMBER_ID);
    assert_eq!(sim.heartbeat("b", 1), ErrorCode::REBALANCE_IN_PROGRESS);
    let b = sim.join("b");
    assert_eq!((sim.joined(b).generation, &*sim.joined(b).leader), (2, "b"));
}

#[test]
fn the_leader_and_changed_members_rebalance_others_do_not() {
    let mut sim = Sim::new();
    sim.stable(&["a", "b"]);
    let b = sim.join("b");
    assert_eq!((sim.joined(b).generation, sim.joined(b).members.len()), (1, 0));
    assert_eq!(sim.group.state(), State::Stable);
    let a = sim.join("a");
    assert!(sim.waits(a));
    assert_eq!(sim.group.state(), State::PreparingRebalance);
}

#[test]
fn a_repeated_join_in_completing_is_answered_again() {
    let mut sim = Sim::new();
    let a = sim.send_join(new_member("a"));
    sim.pass(3_000);
    let again = sim.join("a");
    assert_eq!(sim.joined(a), sim.joined(again));
    assert_eq!(sim.group.generation, 1);
}

#[test]
fn a_join_on_a_second_connection_releases_the_first() {
    let mut sim = Sim::new();
    sim.stable(&["a", "b"]);
    let first = sim.join("a");
    let second = sim.join("a");
    assert_eq!(sim.joined(first).error, ErrorCode::REBALANCE_IN_PROGRESS);
    assert!(sim.waits(second));
    sim.join("b");
    assert_eq!(sim.joined(second).generation, 2);
}

#[test]
fn the_last_to_leave_empties_the_group() {
    let mut sim = Sim::new();
    sim.stable(&["a", "b"]);
    assert_eq!(sim.leave("x", None), ErrorCode::UNKNOWN_MEMBER_ID);
    assert_eq!(sim.leave("a", None), ErrorCode::NONE);
    assert_eq!(sim.group.state(), State::PreparingRebalance);
    assert_eq!(sim.leave("b", None), ErrorCode::NONE);
    assert_eq!(sim.group.state(), State::Empty);
    let record = sim.written.last().unwrap();
    assert_eq!((record.generation, record.members.len(), &record.protocol), (2, 0, &None));
    assert_eq!((&*record.protocol_type, &record.leader), ("consumer", &None));
    assert_eq!(sim.timers.next_ms(), None, "an empty group costs nothing");
}

#[test]
fn leaving_while_parked_is_answered() {
    let mut sim = Sim::new();
    let (a, b) = (sim.send_join(new_member("a")), sim.send_join(new_member("b")));
    assert_eq!(sim.leave("b", None), ErrorCode::NONE);
    assert_eq!(sim.joined(b), &JoinReply::error("".into(), ErrorCode::UNKNOWN_MEMBER_ID));
    sim.pass(6_000);
    assert_eq!(sim.joined(a).members.len(), 1);
    let c = sim.send_join(new_member("c"));
    let a = sim.join("a");
    assert_eq!((sim.joined(a).generation, sim.joined(c).generation), (2, 2));
    let sync = sim.send_sync("c", 2, &[]);
    assert_eq!(sim.leave("c", None), ErrorCode::NONE);
    assert_eq!(sim.synced(sync).error, ErrorCode::UNKNOWN_MEMBER_ID);
}

#[test]
fn members_that_do_not_sync_are_out() {
    let mut sim = Sim::new();
    let (_, b) = (sim.send_join(new_member("a")), sim.send_join(new_member("b")));
    sim.pass(6_000);
    assert_eq!(sim.joined(b).generation, 1);
    let sync = sim.send_sync("b", 1, &[]);
    for _ in 0..12 {
        assert_eq!(sim.heartbeat("a", 1), ErrorCode::NONE);
        sim.pass(5_000);
    }
    assert_eq!(sim.synced(sync).error, ErrorCode::REBALANCE_IN_PROGRESS);
    assert_eq!(sim.heartbeat("a", 1), ErrorCode::UNKNOWN_MEMBER_ID);
    assert_eq!(sim.heartbeat("b", 1), ErrorCode::REBALANCE_IN_PROGRESS);
}

#[test]
fn protocols_must_meet() {
    let mut sim = Sim::new();
    let none = sim.send_join(JoinRequest { protocols: Vec::new(), ..new_member("a") });
    assert_eq!(sim.joined(none).error, ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
    sim.stable(&["a"]);
    let other = sim.send_join(JoinRequest { protocol_type: "connect".into(), ..new_member("b") });
    assert_eq!(sim.joined(other).error, ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
    let sticky = vec![("sticky".into(), Bytes::new())];
    let apart = sim.send_join(JoinRequest { protocols: sticky, ..new_member("b") });
    assert_eq!(sim.joined(apart).error, ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
}

#[test]
fn the_protocol_with_most_votes_among_the_common_ones_wins() {
    let mut sim = Sim::new();
    let offers = |names: &[&str]| -> Vec<Protocol> {
        names.iter().map(|name| ((*name).into(), metadata("t"))).collect()
    };
    let a = sim.send_join(JoinRequest { protocols: offers(&["x", "range", "sticky"]), ..new_member("a") });
    sim.send_join(JoinRequest { protocols: offers(&["sticky", "range"]), ..new_member("b") });
    sim.send_join(JoinRequest { protocols: offers(&["sticky", "range"]), ..new_member("c") });
    sim.pass(6_000);
    assert_eq!(sim.joined(a).protocol.as_deref(), Some("sticky"));
}

#[test]
fn a_full_group_refuses() {
    let mut sim = Sim::new();
    sim.settings.max_size = 2;
    sim.stable(&["a", "b"]);
    let c = sim.send_join(new_member("c"));
    assert_eq!(sim.joined(c), &JoinReply::error("".into(), ErrorCode::GROUP_MAX_SIZE_REACHED));
    let (a, b) = (sim.join("a"), sim.join("b"));
    assert_eq!((sim.joined(a).generation, sim.joined(b).generation), (2, 2));
}

#[test]
fn a_loaded_group_over_its_size_rebalances_and_drops_the_last() {
    let mut sim = Sim::new();
    sim.stable(&["a", "b", "c"]);
    let mut loaded = Sim::new();
    loaded.settings.max_size = 2;
    loaded.group = ClassicGroup::from_stored(sim.group.stored());
    let mut out = Vec::new();
    let (now, settings) = (loaded.at(), loaded.settings);
    loaded.group.loaded(now, &settings, &mut out);
    loaded.run(out);
    assert_eq!(loaded.group.state(), State::PreparingRebalance);
    let only_range =
        |id: &str| JoinRequest { protocols: vec![("range".into(), metadata("t"))], ..member(id) };
    let (a, b) = (loaded.send_join(only_range("a")), loaded.send_join(only_range("b")));
    let c = loaded.send_join(only_range("c"));
    assert_eq!(loaded.joined(c).error, ErrorCode::GROUP_MAX_SIZE_REACHED);
    assert_eq!((loaded.joined(a).generation, loaded.joined(b).generation), (2, 2));
}

#[test]
fn a_member_that_never_completes_its_first_join_is_dropped() {
    let mut sim = Sim::new();
    sim.stable(&["a"]);
    let slow = JoinRequest { rebalance_timeout_ms: 3_600_000, ..new_member("b") };
    let b = sim.send_join(slow);
    for _ in 0..59 {
        sim.pass(5_000);
        assert_eq!(sim.heartbeat("a", 1), ErrorCode::REBALANCE_IN_PROGRESS);
    }
    assert!(sim.waits(b));
    sim.pass(5_000);
    assert_eq!(sim.joined(b).error, ErrorCode::UNKNOWN_MEMBER_ID);
}

#[test]
fn join_with_a_wrong_identity_is_refused() {
    let mut sim = Sim::new();
    sim.send_join(static_member("a1", "A"));
    sim.pass(3_000);
    let fenced = sim.send_join(JoinRequest { instance_id: Some("A".into()), ..member("other") });
    assert_eq!(sim.joined(fenced), &JoinReply::error("other".into(), ErrorCode::FENCED_INSTANCE_ID));
    let unknown = sim.send_join(JoinRequest { instance_id: Some("Z".into()), ..member("a1") });
    assert_eq!(sim.joined(unknown).error, ErrorCode::UNKNOWN_MEMBER_ID);
}

#[test]
fn commits_are_checked() {
    let mut sim = Sim::new();
    let check = |sim: &Sim, id: &str, generation| sim.group.check_commit(id, None, generation, false);
    assert_eq!(check(&sim, "", -1), Ok(()));
    assert_eq!(check(&sim, "a", 1), Err(ErrorCode::UNKNOWN_MEMBER_ID));
    sim.send_join(new_member("a"));
    sim.pass(3_000);
    assert_eq!(check(&sim, "a", 1), Err(ErrorCode::REBALANCE_IN_PROGRESS));
    assert_eq!(sim.group.check_commit("a", None, 1, true), Ok(()));
    assert_eq!(sim.group.check_commit("", None, -1, true), Ok(()));
    sim.send_sync("a", 1, &[]);
    assert_eq!(check(&sim, "a", 1), Ok(()));
    assert_eq!(check(&sim, "a", 0), Err(ErrorCode::ILLEGAL_GENERATION));
    assert_eq!(check(&sim, "", -1), Err(ErrorCode::UNKNOWN_MEMBER_ID));
    sim.send_join(new_member("b"));
    assert_eq!(check(&sim, "a", 1), Ok(()), "a member may commit before it rejoins");
    sim.pass(9_000);
    let mut out = Vec::new();
    sim.group.committed("a", sim.at(), &mut out);
    sim.run(out);
    sim.pass(9_000);
    assert_eq!(sim.heartbeat("a", 1), ErrorCode::REBALANCE_IN_PROGRESS, "a commit keeps the session");
}

#[test]
fn a_stored_group_comes_back_as_it_was() {
    let mut sim = Sim::new();
    sim.send_join(static_member("a1", "A"));
    sim.send_join(new_member("b"));
    sim.pass(6_000);
    sim.send_sync("b", 1, &[]);
    sim.send_sync("a1", 1, &[("a1", "for A"), ("b", "for b")]);
    let loaded = ClassicGroup::from_stored(sim.group.stored());
    loaded.check();
    assert_eq!(loaded.state(), State::Stable);
    assert_eq!(loaded.stored(), StoredGroup { state_since_ms: 1_006_000, ..sim.group.stored() });
    assert!(loaded.is_subscribed_to("t") && !loaded.is_subscribed_to("u"));
    let mut old = sim.group.stored();
    old.members[0].rebalance_timeout_ms = -1;
    assert_eq!(ClassicGroup::from_stored(old).members["a1"].rebalance_timeout_ms, 10_000);
}

#[test]
fn unloading_answers_everyone() {
    let mut sim = Sim::new();
    let a = sim.send_join(new_member("a"));
    let mut out = Vec::new();
    sim.group.unload(ErrorCode::NOT_COORDINATOR, &mut out);
    sim.run(out);
    assert_eq!(sim.joined(a).error, ErrorCode::NOT_COORDINATOR);
}
