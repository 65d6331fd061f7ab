//! A shard against a log in memory: rules of commits, deletion and expiry, and random histories.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use protocol::ErrorCode;

use super::super::classic::{JoinRequest, LeaveRequest, State, SyncRequest, Token};
use super::*;

/// A log that keeps everything, and fails or lags on demand.
#[derive(Default)]
pub(in crate::group) struct FakeLog {
    records: RefCell<Vec<Entry>>,
    fail: RefCell<Option<ErrorCode>>,
    /// Where the high watermark stands; `None`: at the end.
    held_at: RefCell<Option<i64>>,
}

impl FakeLog {
    fn high_watermark(&self) -> i64 {
        self.held_at.borrow().unwrap_or(self.records.borrow().len() as i64)
    }
}

impl ShardLog for FakeLog {
    fn append(&self, _leader_epoch: i32, entries: &[Entry], _now: Now) -> Result<Appended, ErrorCode> {
        if let Some(error) = *self.fail.borrow() {
            return Err(error);
        }
        let base_offset = self.records.borrow().len() as i64;
        self.records.borrow_mut().extend_from_slice(entries);
        let end_offset = self.records.borrow().len() as i64;
        Ok(Appended { base_offset, end_offset, high_watermark: self.high_watermark() })
    }
}

/// A shard with its surroundings.
struct World {
    shard: Shard,
    log: FakeLog,
    now: i64,
    answers: HashMap<Token, Answer>,
    next: u64,
}

impl World {
    fn new() -> Self {
        let config = GroupConfig { offsets_retention_ms: 3_600_000, ..GroupConfig::default() };
        Self {
            shard: Shard::new(Arc::new(config), 0),
            log: FakeLog::default(),
            now: 0,
            answers: HashMap::new(),
            next: 0,
        }
    }

    fn token(&mut self) -> Token {
        self.next += 1;
        Token(self.next)
    }

    fn run<R>(&mut self, event: impl FnOnce(&mut Shard, &mut Cx<'_>) -> R) -> R {
        let mut answers = Vec::new();
        let now = Now { ticks_ms: self.now, wall_ms: 1_000_000_000 + self.now };
        let mut cx = Cx { now, log: &self.log, answers: &mut answers };
        let result = event(&mut self.shard, &mut cx);
        self.shard.settle(self.log.high_watermark(), &mut cx);
        for (token, answer) in answers {
            assert!(self.answers.insert(token, answer).is_none(), "{token:?} is answered twice");
        }
        for group in self.shard.groups.values() {
            group.check();
        }
        result
    }

    fn pass(&mut self, ms: i64) {
        let end = self.now + ms;
        while let Some(at) = self.shard.next_timer_ms().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.run(|_, _| ());
        }
        self.now = end;
    }

    fn commit(&mut self, group: &str, topic: &str, offset: i64) -> Result<Wait, ErrorCode> {
        let token = self.token();
        self.run(|shard, cx| shard.commit(group, commit_of(topic, offset), token, cx))
    }

    fn offset(&self, group: &str, topic: &str) -> i64 {
        self.shard.fetch_offset(group, topic, 0, true).offset
    }

    /// What is left of the log when it is read again.
    fn replayed(&self) -> Shard {
        let mut shard = Shard::new(self.shard.config.clone(), 1);
        for (offset, entry) in self.log.records.borrow().iter().enumerate() {
            shard.replay(&entry.key, entry.value.as_deref(), offset as i64, None).unwrap();
        }
        shard
    }
}

fn commit_of(topic: &str, offset: i64) -> CommitRequest<'_> {
    CommitRequest {
        member_id: "",
        instance_id: None,
        generation: -1,
        unknown_group: ErrorCode::ILLEGAL_GENERATION,
        retention_ms: None,
        offsets: vec![PartitionCommit { topic, partition: 0, offset, leader_epoch: -1, metadata: "" }],
    }
}

fn join_of(member_id: &str, new_member_id: &str) -> JoinRequest {
    JoinRequest {
        member_id: member_id.into(),
        new_member_id: new_member_id.into(),
        instance_id: None,
        client_id: "client".into(),
        client_host: "/127.0.0.1".into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 20_000,
        protocol_type: "consumer".into(),
        protocols: vec![("range".into(), Bytes::from_static(&[0, 0, 0, 0, 0, 1, 0, 1, b't']))],
        requires_member_id: false,
        can_skip_assignment: true,
    }
}

fn sync_of(member_id: &str, generation: i32) -> SyncRequest {
    SyncRequest {
        member_id: member_id.into(),
        instance_id: None,
        generation,
        protocol_type: None,
        protocol: None,
        assignments: HashMap::from([(member_id.into(), Bytes::from_static(b"mine"))]),
    }
}

/// Makes `m` the one stable member of `g`, subscribed to `t`.
fn with_member() -> World {
    let mut world = World::new();
    let token = world.token();
    world.run(|shard, cx| shard.join("g", join_of("", "m"), token, cx));
    world.pass(3_000);
    world.run(|shard, cx| shard.sync("g", sync_of("m", 1), Token(99), cx));
    assert_eq!(world.shard.groups["g"].state(), State::Stable);
    world
}

#[test]
fn a_commit_makes_a_simple_group() {
    let mut world = World::new();
    assert_eq!(world.commit("g", "t", 5), Ok(Wait::No));
    assert_eq!(world.offset("g", "t"), 5);
    let listed = world.shard.list();
    assert_eq!((&*listed[0].protocol_type, listed[0].state, listed[0].group_type), ("", "Empty", "classic"));
    let member = CommitRequest { generation: 3, member_id: "m", ..commit_of("t", 6) };
    let refused = world.run(|shard, cx| shard.commit("other", member, Token(50), cx));
    assert_eq!(refused, Err(ErrorCode::ILLEGAL_GENERATION));
}

#[test]
fn answers_wait_for_the_high_watermark_and_not_for_ever() {
    let mut world = World::new();
    world.log.held_at.replace(Some(0));
    assert_eq!(world.commit("g", "t", 5), Ok(Wait::Yes));
    assert_eq!(world.commit("g", "t", 6), Ok(Wait::Yes));
    assert_eq!(world.answers.len(), 0);
    world.log.held_at.replace(Some(1));
    world.run(|_, _| ());
    assert_eq!(world.answers[&Token(1)], Answer::Done(Ok(())));
    assert!(!world.answers.contains_key(&Token(2)));
    world.pass(5_000);
    assert_eq!(world.answers[&Token(2)], Answer::Done(Err(ErrorCode::REQUEST_TIMED_OUT)));
}

#[test]
fn a_failed_append_changes_nothing() {
    let mut world = World::new();
    world.log.fail.replace(Some(ErrorCode::NOT_ENOUGH_REPLICAS));
    assert_eq!(world.commit("g", "t", 5), Err(ErrorCode::NOT_ENOUGH_REPLICAS));
    let token = world.token();
    world.run(|shard, cx| shard.join("g", join_of("", "m"), token, cx));
    let refused = JoinReply::error("".into(), ErrorCode::COORDINATOR_NOT_AVAILABLE);
    assert_eq!(world.answers[&token], Answer::Join(refused));
    assert!(world.shard.list().is_empty() && world.shard.next_timer_ms().is_none());
}

#[test]
fn a_failed_assignment_is_told_and_retried() {
    let mut world = World::new();
    world.run(|shard, cx| shard.join("g", join_of("", "m"), Token(50), cx));
    world.pass(3_000);
    world.log.fail.replace(Some(ErrorCode::KAFKA_STORAGE_ERROR));
    world.run(|shard, cx| shard.sync("g", sync_of("m", 1), Token(51), cx));
    assert_eq!(world.answers[&Token(51)], Answer::Sync(SyncReply::error(ErrorCode::NOT_COORDINATOR)));
    assert_eq!(world.shard.groups["g"].state(), State::PreparingRebalance);
}

#[test]
fn groups_are_deleted_when_empty() {
    let mut world = with_member();
    let delete = |world: &mut World, id: &str| world.run(|shard, cx| shard.delete_group(id, Token(77), cx));
    assert_eq!(delete(&mut world, "none"), Err(ErrorCode::GROUP_ID_NOT_FOUND));
    assert_eq!(delete(&mut world, "g"), Err(ErrorCode::NON_EMPTY_GROUP));
    let leave = vec![LeaveRequest { member_id: "m".into(), instance_id: None }];
    world.run(|shard, cx| shard.leave("g", leave, cx));
    world.commit("g", "t", 5).unwrap();
    assert_eq!(delete(&mut world, "g"), Ok(Wait::No));
    assert!(world.shard.list().is_empty() && world.shard.offsets.is_empty());
    assert!(world.replayed().list().is_empty());
}

#[test]
fn subscribed_offsets_are_kept() {
    let mut world = with_member();
    let commit = CommitRequest { generation: 1, member_id: "m", ..commit_of("u", 5) };
    world.run(|shard, cx| shard.commit("g", commit, Token(50), cx)).unwrap();
    let asked = [("t", 0), ("u", 0), ("v", 0)];
    let (codes, _) = world.run(|shard, cx| shard.delete_offsets("g", &asked, Token(51), cx)).unwrap();
    assert_eq!(codes, [ErrorCode::GROUP_SUBSCRIBED_TO_TOPIC, ErrorCode::NONE, ErrorCode::NONE]);
    assert_eq!(world.offset("g", "u"), -1);
    let unknown = world.run(|shard, cx| shard.delete_offsets("none", &asked, Token(52), cx));
    assert_eq!(unknown, Err(ErrorCode::GROUP_ID_NOT_FOUND));
}

#[test]
fn offsets_expire() {
    let mut world = with_member();
    for topic in ["t", "u"] {
        let commit = CommitRequest { generation: 1, member_id: "m", ..commit_of(topic, 5) };
        world.run(|shard, cx| shard.commit("g", commit, Token(50), cx)).unwrap();
    }
    world.commit("simple", "t", 7).unwrap();
    let short = CommitRequest { retention_ms: Some(60_000), ..commit_of("v", 8) };
    world.run(|shard, cx| shard.commit("simple", short, Token(51), cx)).unwrap();
    let beat = |world: &mut World| {
        world.run(|shard, cx| shard.heartbeat("g", "m", None, 1, cx));
        world.pass(5_000);
    };
    (0..130).for_each(|_| beat(&mut world));
    assert_eq!((world.offset("simple", "v"), world.offset("simple", "t")), (-1, 7));
    (0..720).for_each(|_| beat(&mut world));
    // The member's topic stays; the other and the simple group go.
    assert_eq!((world.offset("g", "t"), world.offset("g", "u")), (5, -1));
    assert_eq!(world.shard.list().len(), 1);
    // The member goes; the offsets count from then.
    world.pass(3_000_000);
    assert_eq!((world.offset("g", "t"), world.shard.list()[0].state), (5, "Empty"));
    world.pass(1_800_000);
    assert!(world.shard.list().is_empty() && world.shard.offsets.is_empty());
    assert_eq!(world.shard.next_timer_ms(), None, "an empty shard costs nothing");
}

#[test]
fn deleted_topics_take_their_offsets_along() {
    let mut world = World::new();
    world.commit("g", "t", 5).unwrap();
    world.commit("g", "u", 6).unwrap();
    world.run(|shard, cx| shard.topic_deleted("t", cx)).unwrap();
    assert_eq!((world.offset("g", "t"), world.offset("g", "u")), (-1, 6));
    assert_eq!(world.replayed().offsets, world.shard.offsets);
}

#[test]
fn a_classic_member_takes_over_a_newer_group() {
    let mut world = World::new();
    let key = |kind: u8, rest: &[u8]| [&[0, kind, 0, 1, b'g'], rest].concat();
    let member = key(5, &[0, 1, b'm']);
    world.shard.replay(&key(3, &[]), Some(&[0, 0, 0, 0, 0, 1, 0]), 0, None).unwrap();
    world.shard.replay(&member, Some(&[]), 1, None).unwrap();
    world.commit("g", "t", 5).unwrap();
    assert_eq!(world.shard.list()[0].group_type, "consumer");
    assert_eq!(
        world.shard.consumer_epochs("g").map(|epochs| (epochs.group, epochs.assignment)),
        Some((1, 0))
    );
    assert_eq!(world.run(|shard, cx| shard.heartbeat("g", "m", None, 1, cx)), ErrorCode::UNKNOWN_MEMBER_ID);
    let token = world.token();
    world.run(|shard, cx| shard.join("g", join_of("", "m"), token, cx));
    assert_eq!(world.shard.list()[0].group_type, "classic");
    assert!(world.shard.consumer_epochs("g").is_none() && world.shard.is_known("g"));
    assert_eq!(world.offset("g", "t"), 5);
    let keys: Vec<Bytes> = world.log.records.borrow().iter().skip(1).map(|entry| entry.key.clone()).collect();
    assert_eq!(keys[..2], [Bytes::from(member), key(3, &[]).into()]);
}

/// A random step: what, who, and how much.
type Step = (u8, u8, u8);

/// Group, member id, instance id, generation.
type Known = (&'static str, Arc<str>, Option<Arc<str>>, i32);

/// Clients that remember what they were told.
struct Clients {
    world: World,
    known: Vec<Known>,
    asked: BTreeSet<Token>,
    joins: HashMap<Token, (&'static str, Option<Arc<str>>)>,
    topic_offset: i64,
}

impl Clients {
    fn new() -> Self {
        let (known, asked, joins) = (Vec::new(), BTreeSet::new(), HashMap::new());
        Self { world: World::new(), known, asked, joins, topic_offset: 0 }
    }

    fn ask(&mut self) -> Token {
        let token = self.world.token();
        self.asked.insert(token);
        token
    }

    fn step(&mut self, (what, who, much): Step) {
        let group = ["g", "h"][usize::from(who % 2)];
        let chosen =
            (!self.known.is_empty()).then(|| self.known[usize::from(who) % self.known.len()].clone());
        match (what, chosen) {
            (0..=2, _) => {
                let token = self.ask();
                let instance = (what == 2).then(|| Arc::from(["A", "B"][usize::from(much % 2)]));
                let id = format!("m{}", token.0);
                let request = JoinRequest {
                    instance_id: instance.clone(),
                    requires_member_id: what == 0,
                    can_skip_assignment: much % 3 == 0,
                    ..join_of("", &id)
                };
                self.joins.insert(token, (group, instance));
                self.world.run(|shard, cx| shard.join(group, request, token, cx));
            }
            (3 | 4, Some((group, id, instance, _))) => {
                let token = self.ask();
                let mut request = JoinRequest { instance_id: instance.clone(), ..join_of(&id, "") };
                if much % 4 == 0 {
                    request.protocols.push(("other".into(), Bytes::new()));
                }
                self.joins.insert(token, (group, instance));
                self.world.run(|shard, cx| shard.join(group, request, token, cx));
            }
            (5 | 6, Some((group, id, instance, generation))) => {
                let token = self.ask();
                let request = SyncRequest { instance_id: instance, ..sync_of(&id, generation) };
                self.world.run(|shard, cx| shard.sync(group, request, token, cx));
            }
            (7, Some((group, id, instance, generation))) => {
                let beat = |shard: &mut Shard, cx: &mut Cx<'_>| {
                    shard.heartbeat(group, &id, instance.as_deref(), generation, cx)
                };
                self.world.run(beat);
            }
            (8, Some((group, id, instance, _))) => {
                let leave = vec![LeaveRequest { member_id: id, instance_id: instance }];
                self.world.run(|shard, cx| shard.leave(group, leave, cx));
            }
            (9, Some((group, id, instance, generation))) => {
                self.topic_offset += 1;
                let instance_id = instance.as_deref();
                let request = CommitRequest {
                    member_id: &id,
                    instance_id,
                    generation,
                    ..commit_of("t", self.topic_offset)
                };
                let token = self.world.token();
                let result = self.world.run(|shard, cx| shard.commit(group, request, token, cx));
                if result == Ok(Wait::Yes) {
                    self.asked.insert(token);
                }
            }
            (14, Some((group, ..))) => {
                for (_, id, instance, generation) in self.of_group(group) {
                    let token = self.ask();
                    let request = SyncRequest { instance_id: instance, ..sync_of(&id, generation) };
                    self.world.run(|shard, cx| shard.sync(group, request, token, cx));
                }
            }
            (15, Some((group, ..))) => {
                for (_, id, instance, _) in self.of_group(group) {
                    let token = self.ask();
                    let request = JoinRequest { instance_id: instance.clone(), ..join_of(&id, "") };
                    self.joins.insert(token, (group, instance));
                    self.world.run(|shard, cx| shard.join(group, request, token, cx));
                }
            }
            (10 | 11, _) => self.administer(what, group, much),
            (12 | 13, _) => {
                self.world.pass([100, 3_000, 3_000, 10_000, 20_000, 600_000][usize::from(much % 6)])
            }
            _ => {}
        }
        self.learn();
    }

    fn of_group(&self, group: &str) -> Vec<Known> {
        self.known.iter().filter(|known| known.0 == group).cloned().collect()
    }

    fn administer(&mut self, what: u8, group: &str, much: u8) {
        let token = self.world.token();
        let topic = ["t", "u"][usize::from(much % 2)];
        let wait = match much % 3 {
            0 => {
                self.topic_offset += 1;
                let request = commit_of(topic, self.topic_offset);
                self.world.run(|shard, cx| shard.commit(group, request, token, cx))
            }
            1 if what == 10 => self.world.run(|shard, cx| shard.delete_group(group, token, cx)),
            1 => self.world.run(|shard, cx| shard.topic_deleted(topic, cx)).map(|()| Wait::No),
            _ => {
                let asked = [(topic, 0)];
                self.world
                    .run(|shard, cx| shard.delete_offsets(group, &asked, token, cx))
                    .map(|(_, wait)| wait)
            }
        };
        if wait == Ok(Wait::Yes) {
            self.asked.insert(token);
        }
    }

    fn learn(&mut self) {
        let mut answers: Vec<_> = std::mem::take(&mut self.world.answers).into_iter().collect();
        answers.sort_unstable_by_key(|(token, _)| *token);
        for (token, answer) in answers {
            assert!(self.asked.remove(&token), "{token:?} was not asked, or is answered again");
            let Answer::Join(reply) = answer else { continue };
            let Some((group, instance)) = self.joins.remove(&token) else { continue };
            if reply.error != ErrorCode::NONE && reply.error != ErrorCode::MEMBER_ID_REQUIRED {
                continue;
            }
            if reply.error == ErrorCode::NONE && !reply.members.is_empty() {
                assert!(reply.members.iter().any(|member| member.member_id == reply.member_id));
            }
            self.known.retain(|(_, id, _, _)| *id != reply.member_id);
            self.known.push((group, reply.member_id, instance, reply.generation));
        }
    }
}

/// A shard that read its log is in the state that wrote it.
fn compare(replayed: &Shard, shard: &Shard) {
    assert_eq!(replayed.offsets, shard.offsets);
    let ids = |shard: &Shard| shard.groups.keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(ids(replayed), ids(shard));
    for (id, group) in &shard.groups {
        let (mut is, mut was) = (group.stored(), replayed.groups[id].stored());
        (is.state_since_ms, was.state_since_ms) = (0, 0);
        match group.state() {
            State::Stable | State::Empty => assert_eq!(is, was),
            State::PreparingRebalance | State::CompletingRebalance => {}
        }
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    // Joins, syncs and short pauses often, so that groups also come to rest.
    let what = prop_oneof![4 => 0u8..16, 1 => 0u8..3, 2 => Just(14), 1 => Just(15), 2 => Just(12)];
    prop::collection::vec((what, any::<u8>(), any::<u8>()), 0..120)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// With a log that works: what is read back is what is there.
    #[test]
    fn the_log_tells_the_state(steps in steps()) {
        let mut clients = Clients::new();
        for step in steps {
            clients.step(step);
            compare(&clients.world.replayed(), &clients.world.shard);
        }
    }

    /// With a log that fails and lags: everyone is answered once, and offsets are still those of the log.
    #[test]
    fn everyone_is_answered_once(steps in steps(), faults in prop::collection::vec((0usize..120, 0u8..4), 0..20)) {
        let mut clients = Clients::new();
        for (at, step) in steps.into_iter().enumerate() {
            for (_, fault) in faults.iter().filter(|(when, _)| *when == at) {
                let log = &clients.world.log;
                match fault {
                    0 => drop(log.fail.replace(Some(ErrorCode::NOT_ENOUGH_REPLICAS))),
                    1 => drop(log.fail.replace(None)),
                    2 => drop(log.held_at.replace(Some(log.records.borrow().len() as i64))),
                    _ => drop(log.held_at.replace(None)),
                }
            }
            clients.step(step);
        }
        prop_assert_eq!(&clients.world.replayed().offsets, &clients.world.shard.offsets);
        let Clients { world, mut asked, .. } = clients;
        let mut answers = Vec::new();
        world.shard.unload(ErrorCode::NOT_COORDINATOR, &mut answers);
        for (token, _) in answers {
            prop_assert!(asked.remove(&token));
        }
        prop_assert!(asked.is_empty(), "never answered: {:?}", asked);
    }
}
