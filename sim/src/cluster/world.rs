//! All machines, the network between them, and the order of events.

use std::collections::BTreeMap;

use controller::machine::Output;
use raft::SendError;
use raft::rng::Rng;

use super::admin::Admin;
use super::broker_process::{Ending, Out, Step};
use super::clients::Clients;
use super::node::{Node, Process, may_fail};
use super::plan::{LISTENER, Plan, node_at};
use super::rpc::{Answer, Ask, Caller, Told};
use crate::invariants::replication::Observed;
use crate::network::Network;

/// The longest delay while all is well.
pub(super) const CALM_DELAY_MS: u64 = 3;

pub(crate) struct World {
    pub(super) plan: Plan,
    pub(super) now: i64,
    pub(super) rng: Rng,
    pub(super) nodes: BTreeMap<i32, Node>,
    pub(super) network: Network,
    pub(super) clients: Clients,
    pub(super) admin: Admin,
    pub(crate) observed: Observed,
    queue: BTreeMap<(i64, u64), Event>,
    /// Requests that were delivered and not answered: at which node, of whom.
    open: BTreeMap<u64, (i32, Caller)>,
    next_id: u64,
    trace: bool,
}

/// What reaches a node.
#[derive(Debug, Clone)]
pub(crate) enum Delivery {
    Request { caller: Caller, ask: Ask },
    Answer { caller: Caller, answer: Answer },
}

#[derive(Debug)]
enum Event {
    ToNode(i32, Delivery),
    ToClient(Caller, Answer),
    Start(i32),
}

impl World {
    pub(super) fn new(seed: u64, trace: bool) -> World {
        let mut rng = Rng::new(seed ^ 0x5151_5151);
        let plan = Plan::new(&mut rng);
        let nodes = plan.nodes().into_iter().map(|id| (id, Node::new(id, &plan, &mut rng))).collect();
        let clients = Clients::new(&mut rng);
        let mut world = World {
            now: 0,
            rng,
            nodes,
            network: Network::calm(CALM_DELAY_MS),
            clients,
            admin: Admin::default(),
            observed: Observed::new(plan.min_isr),
            queue: BTreeMap::new(),
            open: BTreeMap::new(),
            next_id: 0,
            trace,
            plan,
        };
        world.note(|| format!("{:?}", world.plan));
        for id in world.ids() {
            let delay = world.rng.below(100) as i64;
            world.push(delay, Event::Start(id));
        }
        world
    }

    pub(super) fn ids(&self) -> Vec<i32> {
        self.nodes.keys().copied().collect()
    }

    /// Prints a line of the run, if it is traced.
    pub(crate) fn note(&self, line: impl FnOnce() -> String) {
        if self.trace {
            eprintln!("{:>7} {}", self.now, line());
        }
    }

    /// A new number.
    pub(super) fn next_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// Runs until `until` or until `done` says so after an event; whether it did.
    pub(super) fn run(&mut self, until: i64, mut done: impl FnMut(&mut World) -> bool) -> bool {
        loop {
            let node = self.nodes.values().map(|node| (node.wakes(self.now), node.id)).min();
            let (wake_at, id) = node.unwrap_or((i64::MAX, 0));
            let queued = self.queue.first_key_value().map_or(i64::MAX, |((time, _), _)| *time);
            let client_at = self.clients.next_deadline().min(self.admin.next_deadline()).max(self.now);
            let next = wake_at.min(queued).min(client_at);
            if next > until {
                self.now = self.now.max(until);
                return false;
            }
            self.now = self.now.max(next);
            if wake_at <= next {
                self.wake(id);
            } else if queued <= next {
                let (_, event) = self.queue.pop_first().unwrap();
                self.deliver(event);
            } else {
                self.tick_clients();
                self.tick_admin();
            }
            self.check();
            if done(self) {
                return true;
            }
        }
    }

    fn wake(&mut self, id: i32) {
        let held = std::mem::take(&mut self.nodes.get_mut(&id).unwrap().held);
        for delivery in held {
            self.deliver_to(id, delivery);
            self.check();
        }
        self.touch(id, |_, _| Ok(()));
    }

    fn deliver(&mut self, event: Event) {
        match event {
            Event::Start(id) => self.start(id),
            Event::ToClient(caller, answer) => self.client_answered(caller, answer),
            Event::ToNode(id, delivery) => {
                let node = self.nodes.get_mut(&id).unwrap();
                if node.process.is_some() && node.paused_until > self.now {
                    node.held.push_back(delivery);
                } else {
                    self.deliver_to(id, delivery);
                }
            }
        }
    }

    fn deliver_to(&mut self, id: i32, delivery: Delivery) {
        match delivery {
            Delivery::Request { caller, ask } => {
                let request = self.next_id();
                self.open.insert(request, (id, caller));
                if self.nodes[&id].process.is_none() {
                    return self.respond(request, Err(SendError::Disconnected));
                }
                let is_for_broker = !matches!(ask, Ask::Raft(_) | Ask::Controller(..));
                if is_for_broker && !self.nodes[&id].serves() {
                    return self.respond(request, Err(SendError::Disconnected));
                }
                self.touch(id, |process, step| match (ask, &mut process.broker) {
                    (Ask::Raft(ask), _) => process.machine.raft_request(request, LISTENER, ask),
                    (Ask::Controller(version, ask), _) => process.machine.request(request, version, ask),
                    (ask, Some(broker)) => broker.serve(request, caller.node(), ask, step),
                    (_, None) => Ok(()),
                });
            }
            Delivery::Answer { caller, answer } => {
                let life = self.nodes[&id].life;
                self.touch(id, |process, step| match (caller, &mut process.broker) {
                    (Caller::Raft(_, of, send), _) if of == life => {
                        let response = answer.and_then(|told| match told {
                            Told::Raft(response) => Ok(response),
                            _ => Err(SendError::Disconnected),
                        });
                        process.machine.raft_answer(send, response)
                    }
                    (Caller::Broker(_, of, call), Some(broker)) if of == life => {
                        if !broker.lifecycle_answered(call, &answer, step)
                            && !broker.proposal_answered(call, &answer, step)
                        {
                            broker.fetch_answered(call, &answer, step)?;
                        }
                        Ok(())
                    }
                    _ => Ok(()),
                });
            }
        }
    }

    /// Lets a process do something, then all that is due, and carries out what it wants.
    pub(super) fn touch(
        &mut self,
        id: i32,
        f: impl FnOnce(&mut Process, &mut Step<'_>) -> Result<(), String>,
    ) {
        let node = self.nodes.get_mut(&id).unwrap();
        let Some(mut process) = node.process.take() else { return };
        node.set_clocks(self.now);
        let mut step = Step {
            id,
            now: node.clock.steady(self.now),
            rng: &mut self.rng,
            disk: &mut node.broker_disk,
            controller: process.machine.leader().leader_id,
            out: Vec::new(),
        };
        let mut result = f(&mut process, &mut step).and_then(|()| process.machine.tick());
        step.controller = process.machine.leader().leader_id;
        if let Some(broker) = &mut process.broker {
            broker.hear(&mut step);
            result = result.and_then(|()| broker.tick(&mut step));
        }
        let out = step.out;
        let outputs = process.machine.outputs();
        let failed = result.map_err(|why| (why, may_fail(&process))).err();
        node.process = Some(process);
        self.observed.touched.insert(id);
        self.carry_out(id, outputs, out);
        if let Some((why, is_allowed)) = failed {
            assert!(is_allowed, "node {id} ended: {why}");
            self.end(id, Ending::Killed);
            let delay = self.rng.below(2_000) as i64;
            self.start_later(id, delay);
        }
    }

    fn carry_out(&mut self, id: i32, outputs: Vec<Output>, out: Vec<Out>) {
        let life = self.nodes[&id].life;
        for output in outputs {
            match output {
                Output::Send { id: send, address, request } => {
                    let caller = Caller::Raft(id, life, send);
                    self.send(caller, node_at(address.port), Ask::Raft(request));
                }
                Output::RaftReply { id, response } => self.respond(id, Ok(Told::Raft(response))),
                Output::Reply { id, response } => self.respond(id, Ok(Told::Controller(response))),
            }
        }
        for out in out {
            match out {
                Out::Call { call, to, ask } => self.send(Caller::Broker(id, life, call), to, ask),
                Out::Reply { request, told } => self.respond(request, Ok(told)),
                Out::Exit => {
                    self.end(id, Ending::Clean);
                    let delay = self.rng.below(1_000) as i64;
                    self.start_later(id, delay);
                }
            }
        }
    }

    /// Sends a request; it may be lost, come twice, or late.
    pub(super) fn send(&mut self, caller: Caller, to: i32, ask: Ask) {
        self.note(|| format!("{caller:?} -> {to}: {ask:?}"));
        for delay in self.deliveries(caller.node(), Some(to)) {
            let delivery = Delivery::Request { caller, ask: ask.clone() };
            self.push(delay, Event::ToNode(to, delivery));
        }
    }

    fn respond(&mut self, request: u64, answer: Answer) {
        let Some((from, caller)) = self.open.remove(&request) else { return };
        self.note(|| format!("{caller:?} <- {from}: {answer:?}"));
        for delay in self.deliveries(Some(from), caller.node()) {
            let answer = answer.clone();
            let event = match caller.node() {
                Some(node) => Event::ToNode(node, Delivery::Answer { caller, answer }),
                None => Event::ToClient(caller, answer),
            };
            self.push(delay, event);
        }
    }

    /// The delays after which copies of a message arrive; what a process tells itself arrives at once.
    fn deliveries(&mut self, from: Option<i32>, to: Option<i32>) -> Vec<i64> {
        if from == to {
            return vec![0];
        }
        self.network.deliveries(from.zip(to), &mut self.rng)
    }

    fn push(&mut self, delay: i64, event: Event) {
        let id = self.next_id();
        self.queue.insert((self.now + delay, id), event);
    }

    pub(super) fn start(&mut self, id: i32) {
        let node = self.nodes.get_mut(&id).unwrap();
        if node.process.is_some() {
            return;
        }
        node.start(self.now, &self.plan, &mut self.rng).unwrap_or_else(|why| panic!("node {id}: {why}"));
        self.note(|| format!("{id} starts"));
        self.observed.started(id);
        self.touch(id, |_, _| Ok(()));
    }

    /// Starts a process that is down after a while.
    pub(super) fn start_later(&mut self, id: i32, delay: i64) {
        self.push(delay, Event::Start(id));
    }

    /// Ends a process; its connections end with it.
    pub(super) fn end(&mut self, id: i32, ending: Ending) {
        if !self.nodes.get_mut(&id).unwrap().end(ending, &mut self.rng) {
            return;
        }
        self.note(|| format!("{id} ends: {ending:?}"));
        self.observed.touched.insert(id);
        self.open.retain(|_, (_, caller)| caller.node() != Some(id));
        let unanswered = self.open.iter().filter(|(_, (at, _))| *at == id);
        for request in unanswered.map(|(request, _)| *request).collect::<Vec<_>>() {
            self.respond(request, Err(SendError::Disconnected));
        }
    }

    /// Whether all replicas and nodes agree.
    pub(super) fn replicas_agree(&self) -> bool {
        self.observed.agree(self)
    }

    /// Checks what can be checked when all is well.
    pub(super) fn check_at_end(&self) {
        self.observed.check_at_end(self);
    }

    /// Checks every invariant of what the last event changed.
    pub(super) fn check(&mut self) {
        let mut observed = std::mem::take(&mut self.observed);
        observed.check(self);
        self.observed = observed;
    }
}
