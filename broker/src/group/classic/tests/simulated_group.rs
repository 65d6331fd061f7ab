//! A classic group in virtual time: what its tests say to it, and what it answers.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use protocol::ErrorCode;

use super::super::super::timers::Timers;
use super::super::*;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Answer {
    Join(JoinReply),
    Sync(SyncReply),
}

/// A group with a clock, timers and a log that commits at once unless `hold` is set.
pub(super) struct Sim {
    pub(super) group: ClassicGroup,
    pub(super) now: i64,
    pub(super) settings: Settings,
    pub(super) timers: Timers<Timer>,
    pub(super) answers: BTreeMap<Token, Answer>,
    pub(super) written: Vec<StoredGroup>,
    pub(super) held: Vec<AfterWrite>,
    pub(super) hold: bool,
    pub(super) next: u64,
}

impl Sim {
    pub(super) fn new() -> Self {
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

    pub(super) fn at(&self) -> Now {
        Now { ticks_ms: self.now, wall_ms: 1_000_000 + self.now }
    }

    pub(super) fn token(&mut self) -> Token {
        self.next += 1;
        Token(self.next)
    }

    pub(super) fn run(&mut self, effects: Vec<Effect>) {
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
    pub(super) fn complete(&mut self, outcome: Result<(), ErrorCode>) {
        for after in std::mem::take(&mut self.held) {
            let mut out = Vec::new();
            self.group.written(after, outcome, self.at(), &self.settings, &mut out);
            self.run(out);
        }
    }

    pub(super) fn pass(&mut self, ms: i64) {
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

    pub(super) fn send_join(&mut self, request: JoinRequest) -> Token {
        let token = self.token();
        let mut out = Vec::new();
        let (now, settings) = (self.at(), self.settings);
        self.group.join(request, token, now, &settings, &mut out);
        self.run(out);
        token
    }

    pub(super) fn join(&mut self, id: &str) -> Token {
        self.send_join(member(id))
    }

    pub(super) fn send_sync(
        &mut self,
        id: &str,
        generation: i32,
        assignments: &[(&str, &'static str)],
    ) -> Token {
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

    pub(super) fn heartbeat(&mut self, id: &str, generation: i32) -> ErrorCode {
        let mut out = Vec::new();
        let error = self.group.heartbeat(id, None, generation, self.at(), &mut out);
        self.run(out);
        error
    }

    pub(super) fn leave(&mut self, id: &str, instance: Option<&str>) -> ErrorCode {
        let mut out = Vec::new();
        let request = LeaveRequest { member_id: id.into(), instance_id: instance.map(Arc::from) };
        let (now, settings) = (self.at(), self.settings);
        let results = self.group.leave(vec![request], now, &settings, &mut out);
        self.run(out);
        results[0].error
    }

    pub(super) fn joined(&self, token: Token) -> &JoinReply {
        match self.answers.get(&token) {
            Some(Answer::Join(reply)) => reply,
            other => panic!("{token:?}: {other:?}"),
        }
    }

    pub(super) fn synced(&self, token: Token) -> &SyncReply {
        match self.answers.get(&token) {
            Some(Answer::Sync(reply)) => reply,
            other => panic!("{token:?}: {other:?}"),
        }
    }

    pub(super) fn waits(&self, token: Token) -> bool {
        !self.answers.contains_key(&token)
    }

    /// Makes members that have no id yet join, the first rebalance pass and everyone sync; returns their ids.
    pub(super) fn stable(&mut self, ids: &[&str]) {
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
pub(super) fn member(id: &str) -> JoinRequest {
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
pub(super) fn new_member(id: &str) -> JoinRequest {
    JoinRequest { member_id: "".into(), new_member_id: id.into(), ..member(id) }
}

pub(super) fn static_member(id: &str, instance: &str) -> JoinRequest {
    JoinRequest { instance_id: Some(instance.into()), ..new_member(id) }
}

/// A subscription to one topic.
pub(super) fn metadata(topic: &str) -> Bytes {
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
