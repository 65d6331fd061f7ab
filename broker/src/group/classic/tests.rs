//! The rules of the classic protocol, one test each, in virtual time.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use protocol::ErrorCode;

use super::super::timers::Timers;
use super::*;

#[derive(Clone, Debug, PartialEq)]
enum Answer {
    Join(JoinReply),
    Sync(SyncReply),
}

/// A group with a clock, timers and a log that commits at once unless `hold` is set.
struct Sim {
    group: ClassicGroup,
    now: i64,
    settings: Settings,
    timers: Timers<Timer>,
    answers: BTreeMap<Token, Answer>,
    written: Vec<StoredGroup>,
    held: Vec<AfterWrite>,
    hold: bool,
    next: u64,
}

impl Sim {
    fn new() -> Self {
        Self {
            group: ClassicGroup::new(Now::default()),
            now: 0,
            settings: Settings { initial_rebalance_delay_ms: 3_000, max_size: 100 },
            timers: Timers::new(),
            answers: BTreeMap::new(),
            written: Vec::new(),
            held: Vec::new(),
            hold: false,
            next: 0,
        }
    }

    fn at(&self) -> Now {
        Now { ticks_ms: self.now, wall_ms: 1_000_000 + self.now }
    }

    fn token(&mut self) -> Token {
        self.next += 1;
        Token(self.next)
    }

    fn run(&mut self, effects: Vec<Effect>) {
        let mut queue = std::collections::VecDeque::from(effects);
        while let Some(effect) = queue.pop_front() {
            match effect {
                Effect::Join(token, reply) => {
                    assert!(self.answers.insert(token, Answer::Join(reply)).is_none(), "answered twice");
                }
                Effect::Sync(token, reply) => {
                    assert!(self.answers.insert(token, Answer::Sync(reply)).is_none(), "answered twice");
                }
                Effect::SetTimer(timer, at) => self.timers.set(timer, at),
                Effect::CancelTimer(timer) => self.timers.cancel(&timer),
                Effect::Write(stored, after) => {
                    self.written.push(stored);
                    if self.hold {
                        self.held.push(after);
                    } else {
                        let mut out = Vec::new();
                        self.group.written(after, Ok(()), self.at(), &self.settings, &mut out);
                        queue.extend(out);
                    }
                }
            }
            self.group.check();
        }
    }

    /// Completes the writes that were held back.
    fn complete(&mut self, outcome: Result<(), ErrorCode>) {
        for after in std::mem::take(&mut self.held) {
            let mut out = Vec::new();
            self.group.written(after, outcome, self.at(), &self.settings, &mut out);
            self.run(out);
        }
    }

    fn pass(&mut self, ms: i64) {
        let end = self.now + ms;
        while let Some(at) = self.timers.next_ms().filter(|at| *at <= end) {
            self.now = at.max(self.now);
            if let Some(timer) = self.timers.pop_due(self.now) {
                let mut out = Vec::new();
                self.group.expired(timer, self.at(), &self.settings, &mut out);
                self.run(out);
            }
        }
        self.now = end;
    }

    fn send_join(&mut self, request: JoinRequest) -> Token {
        let token = self.token();
        let mut out = Vec::new();
        let (now, settings) = (self.at(), self.settings);
        self.group.join(request, token, now, &settings, &mut out);
        self.run(out);
        token
    }

    fn join(&mut self, id: &str) -> Token {
        self.send_join(member(id))
    }

    fn send_sync(&mut self, id: &str, generation: i32, assignments: &[(&str, &'static str)]) -> Token {
        let token = self.token();
        let mut out = Vec::new();
        let bytes = |text: &'static str| Bytes::from_static(text.as_bytes());
        let request = SyncRequest {
            member_id: id.into(),
            instance_id: None,
            generation,
            protocol_type: Some("consumer".into()),
            protocol: Some("range".into()),
            assignments: assignments.iter().map(|(id, text)| (Arc::from(*id), bytes(text))).collect(),
        };
        let now = self.at();
        self.group.sync(request, token, now, &mut out);
        self.run(out);
        token
    }

    fn heartbeat(&mut self, id: &str, generation: i32) -> ErrorCode {
        let mut out = Vec::new();
        let error = self.group.heartbeat(id, None, generation, self.at(), &mut out);
        self.run(out);
        error
    }

    fn leave(&mut self, id: &str, instance: Option<&str>) -> ErrorCode {
        let mut out = Vec::new();
        let request = LeaveRequest { member_id: id.into(), instance_id: instance.map(Arc::from) };
        let (now, settings) = (self.at(), self.settings);
        let results = self.group.leave(vec![request], now, &settings, &mut out);
        self.run(out);
        results[0].error
    }

    fn joined(&self, token: Token) -> &JoinReply {
        match self.answers.get(&token) {
            Some(Answer::Join(reply)) => reply,
            other => panic!("{token:?}: {other:?}"),
        }
    }

    fn synced(&self, token: Token) -> &SyncReply {
        match self.answers.get(&token) {
            Some(Answer::Sync(reply)) => reply,
            other => panic!("{token:?}: {other:?}"),
        }
    }

    fn waits(&self, token: Token) -> bool {
        !self.answers.contains_key(&token)
    }

    /// Makes members that have no id yet join, the first rebalance pass and everyone sync; returns their ids.
    fn stable(&mut self, ids: &[&str]) {
        let tokens: Vec<Token> = ids.iter().map(|id| self.send_join(new_member(id))).collect();
        self.pass(10_000);
        for token in &tokens {
            assert_eq!(self.joined(*token).error, ErrorCode::NONE);
        }
        let generation = self.group.generation;
        for id in ids {
            self.send_sync(id, generation, &[("a", "for a"), ("b", "for b"), ("c", "for c")]);
        }
        assert_eq!(self.group.state(), State::Stable);
    }
}

/// The join of a member that has been given the id `id`.
fn member(id: &str) -> JoinRequest {
    JoinRequest {
        member_id: id.into(),
        new_member_id: "unused".into(),
        instance_id: None,
        client_id: "client".into(),
        client_host: "/127.0.0.1".into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 60_000,
        protocol_type: "consumer".into(),
        protocols: vec![("range".into(), metadata("t")), ("roundrobin".into(), metadata("t"))],
        requires_member_id: false,
        can_skip_assignment: true,
    }
}

/// The first join of a member that shall get the id `id`.
fn new_member(id: &str) -> JoinRequest {
    JoinRequest { member_id: "".into(), new_member_id: id.into(), ..member(id) }
}

fn static_member(id: &str, instance: &str) -> JoinRequest {
    JoinRequest { instance_id: Some(instance.into()), ..new_member(id) }
}

/// A subscription to one topic.
fn metadata(topic: &str) -> Bytes {
    let mut bytes = vec![0, 1, 0, 0, 0, 1, 0, topic.len() as u8];
    bytes.extend_from_slice(topic.as_bytes());
    bytes.into()
}

impl ClassicGroup {
    /// The invariants of the module header.
    pub(in crate::group) fn check(&self) {
        assert_eq!(self.joining, self.members.values().filter(|member| member.joining.is_some()).count());
        let syncing = self.members.values().any(|member| member.syncing.is_some());
        assert!(!syncing || self.state == State::CompletingRebalance, "a sync waits in {:?}", self.state);
        let joining_allowed = matches!(self.state, State::PreparingRebalance | State::Stable);
        assert!(self.joining == 0 || joining_allowed, "a join waits in {:?}", self.state);
        let mut support: HashMap<Arc<str>, usize> = HashMap::new();
        for (name, _) in self.members.values().flat_map(|member| &member.protocols) {
            *support.entry(name.clone()).or_default() += 1;
        }
        assert_eq!(self.support, support);
        let common = support.values().any(|count| *count == self.members.len());
        assert!(self.members.is_empty() || common, "no common protocol");
        let statics: BTreeMap<Arc<str>, Arc<str>> = self
            .members
            .iter()
            .filter_map(|(id, member)| Some((member.instance_id.clone()?, id.clone())))
            .collect();
        assert_eq!(self.static_members, statics);
        assert!(self.pending_joins.iter().all(|id| !self.members.contains_key(id)));
        assert!(self.pending_syncs.iter().all(|id| self.members.contains_key(id)));
        assert_eq!(
            self.state == State::Empty,
            self.members.is_empty() && self.state != State::PreparingRebalance
        );
        let leader_is_member = self.leader.as_ref().is_some_and(|leader| self.members.contains_key(leader));
        assert!(self.members.is_empty() || leader_is_member, "leader {:?}", self.leader);
    }
}

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
