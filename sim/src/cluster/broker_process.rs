//! The broker of a process: its replicas, and the tasks around them as steps.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use broker::simulation::{Broker, Replica, ReplicaState};
use controller::Subscription;
use metadata::MetadataDelta;
use planted::Bug;
use raft::rng::Rng;
use uuid::Uuid;

use super::data_log::DataLog;
use super::fetchers::Fetchers;
use super::lifecycle::Lifecycle;
use super::plan::LAG_MAX_MS;
use super::proposals::Proposals;
use super::rpc::{Ask, Told};
use super::serving::Serving;

/// Topic and index of a partition.
pub(crate) type Key = (Uuid, i32);

const CHECKPOINT_MS: i64 = 700;

/// What of a broker outlives its process.
#[derive(Debug, Default)]
pub(super) struct BrokerDisk {
    pub(super) logs: BTreeMap<Key, DataLog>,
    pub(super) high_watermarks: BTreeMap<Key, i64>,
    /// The broker epoch of the last life, if it ended in order.
    pub(super) clean_epoch: Option<i64>,
}

/// What a step may look at and leave behind.
pub(super) struct Step<'a> {
    pub(super) id: i32,
    /// Steady time of the node.
    pub(super) now: i64,
    pub(super) rng: &'a mut Rng,
    pub(super) disk: &'a mut BrokerDisk,
    /// The active controller, as far as the node knows.
    pub(super) controller: Option<i32>,
    pub(super) out: Vec<Out>,
}

/// What a broker wants done.
#[derive(Debug)]
pub(super) enum Out {
    /// Ask a node; the answer comes back with the number of the call.
    Call { call: u64, to: i32, ask: Ask },
    /// Answer a request.
    Reply { request: u64, told: Told },
    /// The process ends in good order.
    Exit,
}

pub(super) struct BrokerProcess {
    pub(super) broker: Broker,
    pub(super) replicas: BTreeMap<Key, Replica<DataLog>>,
    /// What replicas were before each change of the metadata, since the simulation looked last: one event may apply
    /// several.
    pub(super) passed: Vec<(Key, ReplicaState)>,
    subscription: Subscription,
    /// Committed metadata on its way to the replicas, with the time of its arrival.
    deltas: VecDeque<(i64, Arc<MetadataDelta>)>,
    pub(super) lifecycle: Lifecycle,
    pub(super) fetchers: Fetchers,
    pub(super) proposals: Proposals,
    pub(super) serving: Serving,
    shrink_at: i64,
    checkpoint_at: i64,
    last_call: u64,
}

impl BrokerProcess {
    pub(super) fn start(
        broker: Broker,
        subscription: Subscription,
        incarnation: Uuid,
        step: &mut Step<'_>,
    ) -> BrokerProcess {
        let now = step.now;
        BrokerProcess {
            broker,
            replicas: BTreeMap::new(),
            passed: Vec::new(),
            subscription,
            deltas: VecDeque::new(),
            lifecycle: Lifecycle::new(incarnation, step.disk.clean_epoch.take(), now),
            fetchers: Fetchers::default(),
            proposals: Proposals::default(),
            serving: Serving::default(),
            shrink_at: now + LAG_MAX_MS / 2,
            checkpoint_at: now + CHECKPOINT_MS,
            last_call: 0,
        }
    }

    /// A number for a call.
    pub(super) fn next_call(&mut self) -> u64 {
        self.last_call += 1;
        self.last_call
    }

    /// Whether the replicas are as the metadata was when the broker was registered, at least.
    fn has_caught_up(&self) -> bool {
        let needed = self.lifecycle.registered_at();
        needed >= 0 && self.broker.image().provenance.last_offset >= needed
    }

    /// The metadata up to the registration is applied as one change.
    fn join_start(&mut self) {
        if self.has_caught_up() || planted::is(Bug::StaleStart) {
            return;
        }
        while self.deltas.len() > 1 && !self.has_caught_up_with_front() {
            let Some((_, first)) = self.deltas.pop_front() else { return };
            let Some((_, next)) = self.deltas.front_mut() else { return };
            *next = Arc::new(MetadataDelta::between(first.before().clone(), next.after().clone()));
        }
    }

    fn has_caught_up_with_front(&self) -> bool {
        let needed = self.lifecycle.registered_at();
        let reaches = |(_, delta): &(i64, Arc<MetadataDelta>)| delta.after().provenance.last_offset >= needed;
        needed >= 0 && (planted::is(Bug::StaleStart) || self.deltas.front().is_some_and(reaches))
    }

    /// When the next step is due, in steady time.
    pub(super) fn next_deadline(&self) -> i64 {
        if self.lifecycle.epoch() < 0 {
            return self.lifecycle.next_deadline();
        }
        let is_ripe = self.has_caught_up_with_front();
        let delta = self.deltas.front().filter(|_| is_ripe).map_or(i64::MAX, |(at, _)| *at);
        if !self.has_caught_up() {
            return self.lifecycle.next_deadline().min(delta);
        }
        let own = delta.min(self.shrink_at).min(self.checkpoint_at);
        let calls = self.lifecycle.next_deadline().min(self.proposals.next_deadline());
        own.min(calls).min(self.fetchers.next_deadline()).min(self.serving.next_deadline())
    }

    /// Does what is due.
    pub(super) fn tick(&mut self, step: &mut Step<'_>) -> Result<(), String> {
        self.tick_lifecycle(step);
        // As the running broker starts: registered, then caught up with that, then busy, then unfenced, then serving.
        self.join_start();
        while self.has_caught_up_with_front()
            && let Some((_, delta)) = self.deltas.pop_front_if(|(at, _)| *at <= step.now)
        {
            self.apply(&delta, step)?;
        }
        if !self.has_caught_up() {
            return Ok(());
        }
        if self.shrink_at <= step.now {
            self.shrink_at = step.now + LAG_MAX_MS / 2;
            let shrunk: Vec<_> = self.replicas.values().filter_map(Replica::shrink_isr).collect();
            self.proposals.extend(shrunk, step.now);
        }
        if self.checkpoint_at <= step.now {
            self.checkpoint_at = step.now + CHECKPOINT_MS;
            self.checkpoint(step);
            if step.rng.below(4) == 0 {
                self.replicas.values().for_each(|replica| replica.with_log(DataLog::set_flushed));
            }
        }
        self.tick_proposals(step);
        self.tick_fetchers(step);
        self.tick_serving(step);
        Ok(())
    }

    /// Takes in what the controller of the process has published; the replicas hear of it a little later.
    pub(super) fn hear(&mut self, step: &mut Step<'_>) {
        while let Some(delta) = self.subscription.try_next() {
            let delay = match step.rng.below(20) {
                0 => step.rng.below(400),
                1..6 => step.rng.below(20),
                _ => 0,
            };
            let after = self.deltas.back().map_or(0, |(at, _)| *at);
            self.deltas.push_back(((step.now + delay as i64).max(after), delta));
        }
    }

    /// Makes the replicas what the metadata says, as the running broker's applier and manager do.
    fn apply(&mut self, delta: &MetadataDelta, step: &mut Step<'_>) -> Result<(), String> {
        let local = delta.local_changes(step.id);
        for dropped in &local.deletes {
            let key = (dropped.topic_id, dropped.partition);
            self.replicas.remove(&key);
            self.fetchers.follow(key, None, step.now);
            step.disk.logs.remove(&key);
            step.disk.high_watermarks.remove(&key);
        }
        for mine in local.leads.iter().chain(&local.follows) {
            let key = (mine.topic_id, mine.partition);
            let replica = match self.replicas.get(&key) {
                Some(replica) => {
                    self.passed.push((key, replica.state()));
                    replica
                }
                None => {
                    let log = step.disk.logs.remove(&key).unwrap_or_default();
                    let high_watermark = step.disk.high_watermarks.get(&key).copied().unwrap_or(0);
                    let (topic, image) = (mine.topic.as_str(), delta.after());
                    let opened =
                        self.broker.open(topic, mine.topic_id, mine.partition, log, high_watermark, image);
                    self.replicas.entry(key).or_insert(opened)
                }
            };
            if let Some(leader) = replica.apply(&mine.state)? {
                self.fetchers.follow(key, leader, step.now);
            }
        }
        self.broker.publish(Arc::new(delta.after().clone()));
        Ok(())
    }

    fn checkpoint(&self, step: &mut Step<'_>) {
        for (key, replica) in &self.replicas {
            step.disk.high_watermarks.insert(*key, replica.state().high_watermark);
        }
    }

    /// The process ends; what it kept goes to the disk, or is lost.
    pub(super) fn end(self, disk: &mut BrokerDisk, ending: Ending, rng: &mut Rng) {
        for (key, replica) in &self.replicas {
            let mut log = replica.with_log(std::mem::take);
            match ending {
                Ending::Clean => {
                    log.set_flushed();
                    disk.high_watermarks.insert(*key, replica.state().high_watermark);
                }
                Ending::Killed => log.crash(false, rng),
                Ending::PowerLost => log.crash(true, rng),
            }
            disk.logs.insert(*key, log);
        }
        if ending == Ending::Clean {
            disk.clean_epoch = Some(self.lifecycle.epoch());
        }
    }
}

/// How a process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    Clean,
    Killed,
    PowerLost,
}
