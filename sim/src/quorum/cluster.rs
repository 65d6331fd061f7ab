//! All replicas, the network between them, and the order of events.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{BufMut, Bytes, BytesMut};
use uuid::Uuid;

use super::machine::Machine;
use super::replica::Replica;
use crate::invariants::quorum::{Observed, UpView, View, membership};
use crate::network::Network;
use raft::effect::Effect;
use raft::input::{Input, SendError};
use raft::memory_log::MemoryLog;
use raft::message::{Request, Response};
use raft::node::{Node, RoleName};
use raft::quorum_state::QuorumState;
use raft::replica::{Address, Endpoint, OffsetAndEpoch, ReplicaKey};
use raft::rng::Rng;
use raft::snapshot::BOOTSTRAP_ID;
use raft::voters::{Voter, VoterSet};
use raft::{Config, control};

pub(super) const LISTENER: &str = "CONTROLLER";
const FIRST_PORT: u16 = 9000;
/// The longest delay while all is well.
pub(super) const CALM_DELAY_MS: u64 = 5;

pub(super) struct Cluster {
    pub(super) now: i64,
    pub(super) rng: Rng,
    pub(super) replicas: BTreeMap<i32, Replica>,
    pub(super) network: Network,
    /// Nodes of a release without pre-votes.
    pub(super) old: BTreeSet<i32>,
    pub(super) observed: Observed,
    pub(super) replies: Vec<Response>,
    queue: BTreeMap<(i64, u64), Event>,
    /// Requests that were delivered and not answered, with whom they were for.
    requests: BTreeMap<u64, (i32, Origin)>,
    next_id: u64,
    /// Whether every event is printed.
    pub(super) trace: bool,
}

#[derive(Debug, Clone, Copy)]
struct Origin {
    from: i32,
    incarnation: u64,
    send_id: u64,
}

#[derive(Debug)]
enum Event {
    Request { origin: Origin, to: i32, request: Request },
    Response { origin: Origin, result: Result<Response, SendError> },
    Start(i32),
}

pub(super) fn endpoint(id: i32) -> Endpoint {
    Endpoint { name: LISTENER.into(), host: "localhost".into(), port: FIRST_PORT + id as u16 }
}

pub(super) fn directory(id: i32) -> Uuid {
    Uuid::from_u128(1000 + id as u128)
}

fn voter(id: i32, dynamic: bool) -> Voter {
    let directory_id = dynamic.then(|| directory(id));
    let key = ReplicaKey { id, directory_id };
    Voter { key, endpoints: vec![endpoint(id)], min_kraft_version: 0, max_kraft_version: i16::from(dynamic) }
}

impl Cluster {
    /// Voters are 1.., observers 101.., all down. With `dynamic`, the voters have a bootstrap snapshot.
    pub(super) fn new(seed: u64, voters: i32, observers: i32, dynamic: bool) -> Cluster {
        let mut rng = Rng::new(seed);
        let set = VoterSet::new((1..=voters).map(|id| voter(id, dynamic)));
        let mut replicas = BTreeMap::new();
        let ids = || (1..=voters).chain(101..101 + observers);
        for id in ids() {
            let mut config = Config::new(id, directory(id), "cluster", rng.next_u64());
            config.listeners = vec![endpoint(id)];
            config.clean_interval_ms = 2000;
            config.retention_bytes = 1000;
            config.fetch_max_bytes = 300;
            let mut log = MemoryLog::default();
            if dynamic {
                config.bootstrap_servers = ids().map(|id| endpoint(id).address()).collect();
                if id <= voters {
                    log.add_snapshot(BOOTSTRAP_ID, control::snapshot_header_batch(0, 0, 0, 1, Some(&set)));
                }
            } else {
                config.static_voters = set.clone();
                config.can_be_voter = id <= voters;
            }
            replicas.insert(id, Replica::new(config, log));
        }
        let mut cluster = Cluster {
            now: 1_000_000,
            rng,
            replicas,
            network: Network::calm(CALM_DELAY_MS),
            old: BTreeSet::new(),
            observed: Observed::new(dynamic),
            replies: Vec::new(),
            queue: BTreeMap::new(),
            requests: BTreeMap::new(),
            next_id: 0,
            trace: false,
        };
        for id in cluster.ids() {
            let delay = cluster.rng.below(100) as i64;
            cluster.push(delay, Event::Start(id));
        }
        cluster
    }

    pub(super) fn ids(&self) -> Vec<i32> {
        self.replicas.keys().copied().collect()
    }

    pub(super) fn node(&self, id: i32) -> Option<&Node<MemoryLog>> {
        self.replicas[&id].node.as_ref()
    }

    /// The leader of the highest epoch among the running nodes.
    pub(super) fn leader(&self) -> Option<i32> {
        let nodes = self.replicas.values().filter_map(|replica| replica.node.as_ref());
        let leaders = nodes.filter(|node| node.role() == RoleName::Leader);
        leaders.max_by_key(|node| node.epoch()).map(|node| node.config().node_id)
    }

    pub(super) fn note(&self, line: impl FnOnce() -> String) {
        if self.trace {
            eprintln!("{:>8} {}", self.now, line());
        }
    }

    /// Runs until `until` or until `done` says so after an event; whether it did.
    pub(super) fn run(&mut self, until: i64, mut done: impl FnMut(&Cluster) -> bool) -> bool {
        while self.next_time() <= until {
            self.run_one();
            if done(self) {
                return true;
            }
        }
        self.now = self.now.max(until);
        false
    }

    fn next_time(&self) -> i64 {
        let queued = self.queue.first_key_value().map_or(i64::MAX, |((time, _), _)| *time);
        let ticks = self.replicas.values().filter_map(|replica| self.wakes(replica)).min();
        queued.min(ticks.unwrap_or(i64::MAX))
    }

    fn wakes(&self, replica: &Replica) -> Option<i64> {
        let node = replica.node.as_ref()?;
        let held = if replica.held.is_empty() { i64::MAX } else { replica.paused_until };
        Some(node.next_deadline().unwrap_or(i64::MAX).max(replica.paused_until).min(held).max(self.now))
    }

    fn run_one(&mut self) {
        let ticking =
            self.ids().into_iter().filter_map(|id| Some((self.wakes(&self.replicas[&id])?, id))).min();
        let queued = self.queue.first_key_value().map(|(key, _)| *key);
        match (ticking, queued) {
            (Some((time, id)), queued) if queued.is_none_or(|(at, _)| time <= at) => {
                self.now = self.now.max(time);
                self.wake(id);
            }
            (_, Some(key)) => {
                self.now = self.now.max(key.0);
                let event = self.queue.remove(&key).unwrap();
                self.deliver(event);
            }
            _ => {}
        }
        self.check();
    }

    fn views(&self) -> Vec<View<'_>> {
        let views = self.replicas.iter().map(|(id, replica)| View {
            id: *id,
            can_be_voter: replica.config.can_be_voter,
            durable_epoch: replica.quorum_state.as_ref().map_or(0, |state| state.leader_epoch),
            log: replica.log(),
            up: replica.node.as_ref().map(UpView::of),
        });
        views.collect()
    }

    /// Checks every invariant.
    pub(super) fn check(&mut self) {
        let mut observed = std::mem::take(&mut self.observed);
        observed.check(&self.views());
        if observed.is_seldom() {
            self.check_members();
        }
        self.observed = observed;
    }

    /// Checks at the end of a run what is checked seldom.
    pub(super) fn check_all(&mut self) {
        self.check();
        self.observed.check_seldom(&self.views());
        self.check_members();
    }

    fn check_members(&self) {
        for (id, replica) in &self.replicas {
            if let Some(node) = &replica.node {
                membership::check(*id, node, &replica.config.static_voters);
            }
        }
    }

    fn wake(&mut self, id: i32) {
        let held = std::mem::take(&mut self.replicas.get_mut(&id).unwrap().held);
        for input in held {
            self.step(id, input);
        }
        self.step(id, Input::Tick);
    }

    fn deliver(&mut self, event: Event) {
        match event {
            Event::Start(id) => self.start(id),
            Event::Request { origin, to, request } => {
                self.next_id += 1;
                self.requests.insert(self.next_id, (to, origin));
                let id = self.next_id;
                if self.node(to).is_none() {
                    self.respond(to, id, Err(SendError::Disconnected));
                } else {
                    self.step(to, Input::Request { id, listener: LISTENER.into(), request });
                }
            }
            Event::Response { origin, result } => {
                if self.replicas[&origin.from].incarnation == origin.incarnation {
                    self.step(origin.from, Input::Response { id: origin.send_id, result });
                }
            }
        }
    }

    fn push(&mut self, delay: i64, event: Event) {
        self.next_id += 1;
        self.queue.insert((self.now + delay, self.next_id), event);
    }

    /// Gives one input to a node and carries out what it wants.
    pub(super) fn step(&mut self, id: i32, input: Input) {
        let now = self.now;
        let replica = self.replicas.get_mut(&id).unwrap();
        let Some(node) = &mut replica.node else { return };
        if replica.paused_until > now {
            replica.held.push_back(input);
            return;
        }
        let line = if self.trace { format!("{input:?}") } else { String::new() };
        let effects = node.step(input, now);
        self.note(|| {
            let node = self.node(id).unwrap();
            format!(
                "{id} {:?} {} end {} <- {line}",
                node.role(),
                node.epoch(),
                raft::Log::log_end_offset(node.log())
            )
        });
        self.carry_out(id, effects);
    }

    fn carry_out(&mut self, id: i32, effects: Vec<Effect>) {
        for effect in effects {
            let replica = self.replicas.get_mut(&id).unwrap();
            if let Some(left) = &mut replica.effects_left {
                if *left == 0 {
                    return self.crash(id);
                }
                *left -= 1;
            }
            self.note(|| format!("    {id} -> {effect:?}"));
            match effect {
                Effect::PersistQuorumState(state) => self.persist(id, &state),
                Effect::Send { id: send_id, address, request, .. } => {
                    self.send(id, send_id, &address, request)
                }
                Effect::Reply { id: request, response } => self.respond(id, request, Ok(response)),
                Effect::HighWatermark(offset) => self.apply(id, offset),
                Effect::LoadSnapshot(snapshot) => self.load(id, snapshot),
                Effect::Leading { .. } => {
                    let node = self.node(id).unwrap();
                    assert_eq!(node.role(), RoleName::Leader);
                    self.replicas.get_mut(&id).unwrap().leading = true;
                }
                Effect::Fault(fault) => {
                    assert!(self.replicas[&id].log().is_blown(), "{id}: {fault}");
                    return self.crash(id);
                }
                Effect::ShutdownComplete => return self.crash(id),
                Effect::LeaderChanged { .. } => self.replicas.get_mut(&id).unwrap().leading = false,
                Effect::Appended { .. } | Effect::Upgraded { .. } => {}
            }
        }
    }

    fn persist(&mut self, id: i32, state: &QuorumState) {
        let state = QuorumState::decode(&state.encode()).unwrap();
        self.observed.persisted(id, &state);
        self.replicas.get_mut(&id).unwrap().quorum_state = Some(state);
    }

    fn apply(&mut self, id: i32, high_watermark: i64) {
        let replica = self.replicas.get_mut(&id).unwrap();
        let observed = &mut self.observed;
        let log = replica.node.as_ref().map_or(&replica.log_on_disk, |node| node.log());
        replica.machine.apply(log, high_watermark, |offset, chain| observed.committed(id, offset, chain));
    }

    fn load(&mut self, id: i32, snapshot: OffsetAndEpoch) {
        let replica = self.replicas.get_mut(&id).unwrap();
        assert!(!replica.leading, "a leader loads no snapshot");
        replica.machine = Machine::load(replica.log(), snapshot);
        let machine = replica.machine;
        self.observed.committed(id, machine.applied, machine.chain);
    }

    fn send(&mut self, from: i32, send_id: u64, address: &Address, request: Request) {
        let to = i32::from(address.port - FIRST_PORT);
        let origin = Origin { from, incarnation: self.replicas[&from].incarnation, send_id };
        if !self.replicas.contains_key(&to) {
            return self.push(1, Event::Response { origin, result: Err(SendError::Disconnected) });
        }
        if self.old.contains(&to) && matches!(&request, Request::Vote(vote) if vote.pre_vote) {
            return self.push(1, Event::Response { origin, result: Err(SendError::UnsupportedVersion) });
        }
        for delay in self.network.deliveries(Some((from, to)), &mut self.rng) {
            self.push(delay, Event::Request { origin, to, request: request.clone() });
        }
    }

    fn respond(&mut self, from: i32, request: u64, result: Result<Response, SendError>) {
        let Some((_, origin)) = self.requests.remove(&request) else {
            self.replies.extend(result.ok());
            return;
        };
        for delay in self.network.deliveries(Some((from, origin.from)), &mut self.rng) {
            self.push(delay, Event::Response { origin, result: result.clone() });
        }
    }

    pub(super) fn start(&mut self, id: i32) {
        let now = self.now;
        let replica = self.replicas.get_mut(&id).unwrap();
        if replica.node.is_some() {
            return;
        }
        replica.incarnation += 1;
        replica.paused_until = 0;
        replica.effects_left = None;
        replica.leading = false;
        replica.machine = Machine::default();
        replica.config.seed = replica.config.seed.wrapping_add(1);
        let log = std::mem::take(&mut replica.log_on_disk);
        let started = Node::start(replica.config.clone(), log, replica.quorum_state.clone(), now);
        let (node, effects) = started.unwrap_or_else(|error| panic!("{id}: {error}"));
        self.observed.started(id);
        replica.node = Some(node);
        self.note(|| format!("{id} starts"));
        self.carry_out(id, effects);
    }

    /// Ends the process; what was not flushed is lost.
    pub(super) fn crash(&mut self, id: i32) {
        self.note(|| format!("{id} crashes"));
        let replica = self.replicas.get_mut(&id).unwrap();
        let Some(node) = replica.node.take() else { return };
        replica.log_on_disk = node.log().clone();
        replica.log_on_disk.crash();
        replica.held.clear();
        self.requests.retain(|_, (_, origin)| origin.from != id);
        // The connections of a process end with it.
        let unanswered = self.requests.iter().filter(|(_, (to, _))| *to == id);
        for request in unanswered.map(|(request, _)| *request).collect::<Vec<_>>() {
            self.respond(id, request, Err(SendError::Disconnected));
        }
    }

    /// Starts a process that is down after a while.
    pub(super) fn start_later(&mut self, id: i32, delay: i64) {
        self.push(delay, Event::Start(id));
    }

    /// A request of an admin client; the answer is put into `replies`.
    pub(super) fn ask(&mut self, to: i32, request: Request) {
        self.next_id += 1;
        let id = self.next_id;
        self.step(to, Input::Request { id, listener: LISTENER.into(), request });
    }

    /// Appends some records on a node that thinks it is leader.
    pub(super) fn append(&mut self, id: i32) {
        let Some(node) = self.node(id) else { return };
        let epoch = node.epoch();
        let mut batches = Vec::new();
        for _ in 0..1 + self.rng.below(3) {
            let count = 1 + self.rng.below(3);
            batches.push((0..count).map(|_| self.value()).collect());
        }
        self.next_id += 1;
        let append = self.next_id;
        self.step(id, Input::Append { id: append, epoch, batches });
    }

    fn value(&mut self) -> Bytes {
        let mut value = BytesMut::new();
        value.put_u64(self.rng.next_u64());
        value.freeze()
    }

    /// A snapshot of everything that a node has applied.
    pub(super) fn snapshot(&mut self, id: i32) {
        let now = self.now;
        let replica = self.replicas.get_mut(&id).unwrap();
        let Some(node) = &mut replica.node else { return };
        let machine = replica.machine;
        let snapshot = OffsetAndEpoch { offset: machine.applied, epoch: node.epoch_before(machine.applied) };
        let newest = raft::Log::snapshots(node.log()).last().map_or(0, |newest| newest.id.offset);
        if machine.applied <= newest {
            return;
        }
        let (level, voters) = node.membership_before(machine.applied);
        let bytes = machine.snapshot(snapshot.epoch, now, level, voters);
        node.log_mut().add_snapshot(snapshot, bytes);
        self.step(id, Input::SnapshotWritten(snapshot));
    }
}
