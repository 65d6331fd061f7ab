//! A classic consumer group under any sequence of requests, timeouts and outcomes of writes.
//!
//! Invariants: a parked request is answered exactly once, and in the end without a change of the coordinator; a
//! group that is stored and loaded is the same; the generation never falls.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use broker::group::Now;
use broker::group::classic::{
    AfterWrite, ClassicGroup, Effect, JoinRequest, LeaveRequest, Settings, SyncRequest, Timer, Token,
};
use bytes::Bytes;
use protocol::ErrorCode;

use crate::source::Source;

/// Operations on one group; more teach nothing new.
const MAX_OPERATIONS: usize = 200;

/// Settings, then operations.
pub(super) fn run(input: &[u8]) {
    let mut source = Source::new(input);
    let settings = Settings {
        initial_rebalance_delay_ms: [0, 3_000, 100_000][source.below(3)],
        max_size: [usize::MAX, 2, 1, 3][source.below(4)],
    };
    let mut bench = Bench {
        group: ClassicGroup::new(Now::default()),
        settings,
        now: Now::default(),
        timers: BTreeMap::new(),
        parked: BTreeSet::new(),
        writes: VecDeque::new(),
        ids: Vec::new(),
        tokens: 0,
        generation: 0,
    };
    for _ in 0..MAX_OPERATIONS {
        if source.is_empty() {
            break;
        }
        bench.act(&mut source);
    }
    bench.end();
}

/// A group with what its coordinator keeps for it.
struct Bench {
    group: ClassicGroup,
    settings: Settings,
    now: Now,
    timers: BTreeMap<Timer, i64>,
    /// Requests that were not answered yet.
    parked: BTreeSet<Token>,
    writes: VecDeque<AfterWrite>,
    /// Member ids that were given out.
    ids: Vec<Arc<str>>,
    tokens: u64,
    generation: i32,
}

impl Bench {
    fn act(&mut self, source: &mut Source<'_>) {
        match source.below(8) {
            0 | 1 => self.join(source),
            2 => self.sync(source),
            3 => {
                let (member, instance) = (self.member(source), instance(source));
                let generation = self.some_generation(source);
                self.step(|group, now, _, out| {
                    let _ = group.heartbeat(&member, instance.as_deref(), generation, now, out);
                    let _ = group.check_commit(&member, instance.as_deref(), generation, false);
                    group.committed(&member, now, out);
                });
            }
            4 => {
                let leaving = (0..=source.below(2))
                    .map(|_| LeaveRequest { member_id: self.member(source), instance_id: instance(source) });
                let leaving = leaving.collect();
                self.step(|group, now, settings, out| drop(group.leave(leaving, now, settings, out)));
            }
            5 => {
                let ms = [1, 1_000, 6_000, 60_000][source.below(4)];
                self.pass(ms);
            }
            6 => self.write_done(source.flag()),
            _ => self.next_timer(),
        }
    }

    fn join(&mut self, source: &mut Source<'_>) {
        let id: Arc<str> = format!("m{}", self.ids.len()).into();
        let count = source.below(4);
        let mut names = BTreeSet::new();
        let protocols = (0..count).filter_map(|_| {
            let name: Arc<str> = ["range", "sticky", ""][source.below(3)].into();
            let len = source.below(12);
            let metadata = Bytes::copy_from_slice(source.bytes(len));
            names.insert(name.clone()).then_some((name, metadata))
        });
        let protocols = protocols.collect();
        let request = JoinRequest {
            member_id: self.member(source),
            new_member_id: id.clone(),
            instance_id: instance(source),
            client_id: "client".into(),
            client_host: "/127.0.0.1".into(),
            session_timeout_ms: 6_000 + source.below(256) as i32 * 1_000,
            rebalance_timeout_ms: source.int(),
            protocol_type: ["consumer", "consumer", "connect", ""][source.below(4)].into(),
            protocols,
            requires_member_id: source.flag(),
            can_skip_assignment: source.flag(),
        };
        self.ids.push(id);
        let token = self.park();
        self.step(|group, now, settings, out| group.join(request, token, now, settings, out));
    }

    fn sync(&mut self, source: &mut Source<'_>) {
        let mut assignments = HashMap::new();
        for _ in 0..source.below(3) {
            let len = source.below(8);
            assignments.insert(self.member(source), Bytes::copy_from_slice(source.bytes(len)));
        }
        let request = SyncRequest {
            member_id: self.member(source),
            instance_id: instance(source),
            generation: self.some_generation(source),
            protocol_type: source.flag().then(|| "consumer".into()),
            protocol: source.flag().then(|| "range".into()),
            assignments,
        };
        let token = self.park();
        self.step(|group, now, _, out| group.sync(request, token, now, out));
    }

    /// One that was given out, as a rule.
    fn member(&self, source: &mut Source<'_>) -> Arc<str> {
        match usize::from(source.byte()) {
            0..64 => "".into(),
            64..70 => "stranger".into(),
            // From the last one back.
            n => self.ids.iter().rev().nth((n - 70) % self.ids.len().max(1)).cloned().unwrap_or_default(),
        }
    }

    fn some_generation(&self, source: &mut Source<'_>) -> i32 {
        match source.byte() {
            0 => source.int(),
            1 => self.generation - 1,
            _ => self.generation,
        }
    }

    fn park(&mut self) -> Token {
        self.tokens += 1;
        self.parked.insert(Token(self.tokens));
        Token(self.tokens)
    }

    fn step(&mut self, event: impl FnOnce(&mut ClassicGroup, Now, &Settings, &mut Vec<Effect>)) {
        let mut out = Vec::new();
        event(&mut self.group, self.now, &self.settings, &mut out);
        self.carry_out(out);
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Join(token, _) | Effect::Sync(token, _) => {
                    assert!(self.parked.remove(&token), "a request is answered twice: {token:?}");
                }
                Effect::Write(stored, after) => {
                    let again = ClassicGroup::from_stored(stored.clone()).stored();
                    // A timeout of -1 is what records of old versions have.
                    if stored.members.iter().all(|member| member.rebalance_timeout_ms != -1) {
                        assert_eq!(again, stored);
                    }
                    assert!(stored.generation >= self.generation, "the generation falls");
                    self.generation = stored.generation;
                    self.writes.push_back(after);
                }
                Effect::SetTimer(timer, at) => drop(self.timers.insert(timer, at)),
                Effect::CancelTimer(timer) => drop(self.timers.remove(&timer)),
            }
        }
        self.generation = self.generation.max(self.group.stored().generation);
    }

    fn write_done(&mut self, well: bool) {
        let Some(after) = self.writes.pop_front() else { return };
        let outcome = if well { Ok(()) } else { Err(ErrorCode::NOT_COORDINATOR) };
        self.step(|group, now, settings, out| group.written(after, outcome, now, settings, out));
    }

    fn pass(&mut self, ms: i64) {
        let until = self.now.ticks_ms + ms;
        while let Some((timer, at)) = self.first_timer().filter(|(_, at)| *at <= until) {
            self.fire(timer, at);
        }
        self.now = Now { ticks_ms: until, wall_ms: until };
    }

    fn next_timer(&mut self) {
        if let Some((timer, at)) = self.first_timer() {
            self.fire(timer, at);
        }
    }

    fn first_timer(&self) -> Option<(Timer, i64)> {
        self.timers.iter().min_by_key(|(_, at)| **at).map(|(timer, at)| (timer.clone(), *at))
    }

    fn fire(&mut self, timer: Timer, at: i64) {
        self.timers.remove(&timer);
        let ticks_ms = self.now.ticks_ms.max(at);
        self.now = Now { ticks_ms, wall_ms: ticks_ms };
        self.step(|group, now, settings, out| group.expired(timer, now, settings, out));
    }

    /// All writes succeed and all clients are gone: every timer runs out.
    fn end(mut self) {
        let mut left = 100 * (MAX_OPERATIONS + self.ids.len());
        while !self.timers.is_empty() || !self.writes.is_empty() {
            left = left.checked_sub(1).expect("timers run out in the end");
            self.write_done(true);
            self.next_timer();
        }
        assert_eq!(self.parked, BTreeSet::new(), "requests that nobody answers");
        self.step(|group, _, _, out| group.unload(ErrorCode::NOT_COORDINATOR, out));
        let mut loaded = ClassicGroup::from_stored(self.group.stored());
        loaded.loaded(self.now, &self.settings, &mut Vec::new());
    }
}

fn instance(source: &mut Source<'_>) -> Option<Arc<str>> {
    match source.byte() {
        0..160 => None,
        n => Some(["i0", "i1"][usize::from(n) % 2].into()),
    }
}
