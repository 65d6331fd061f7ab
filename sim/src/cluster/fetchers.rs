//! The fetchers of a simulated broker: one request on its way to each leading broker.

use std::collections::BTreeMap;

use broker::simulation::{Asked, Next};
use protocol::messages::fetch_response::PartitionData;

use super::broker_process::{BrokerProcess, Key, Out, Step};
use super::rpc::{Answer, Ask, Told};

const TIMEOUT_MS: i64 = 500;
const RETRY_MS: i64 = 20;

#[derive(Debug, Clone, Copy)]
struct Followed {
    leader: i32,
    leader_epoch: i32,
    paused_until: i64,
}

#[derive(Debug, Default)]
struct InFlight {
    call: u64,
    deadline: i64,
    asked: BTreeMap<Key, Asked>,
}

#[derive(Debug, Default)]
pub(super) struct Fetchers {
    followed: BTreeMap<Key, Followed>,
    in_flight: BTreeMap<i32, InFlight>,
    /// When a leader may be asked again.
    resume: BTreeMap<i32, i64>,
    /// Calls for the range of a leader's offsets, with the epoch.
    ranges: BTreeMap<u64, (Key, i32)>,
}

impl Fetchers {
    /// Whom a replica follows from now on, in which epoch.
    pub(super) fn follow(&mut self, key: Key, leader: Option<(i32, i32)>, now: i64) {
        self.followed.remove(&key);
        if let Some((leader, leader_epoch)) = leader {
            self.followed.insert(key, Followed { leader, leader_epoch, paused_until: 0 });
            self.resume.insert(leader, now);
        }
    }

    pub(super) fn next_deadline(&self) -> i64 {
        let waits = |followed: &Followed| match self.in_flight.get(&followed.leader) {
            Some(in_flight) => in_flight.deadline,
            None => self.resume.get(&followed.leader).copied().unwrap_or(0).max(followed.paused_until),
        };
        self.followed.values().map(waits).min().unwrap_or(i64::MAX)
    }
}

impl BrokerProcess {
    pub(super) fn tick_fetchers(&mut self, step: &mut Step<'_>) {
        let now = step.now;
        self.fetchers.in_flight.retain(|_, in_flight| in_flight.deadline > now);
        let mut leaders: Vec<i32> = self.fetchers.followed.values().map(|followed| followed.leader).collect();
        leaders.sort_unstable();
        leaders.dedup();
        for leader in leaders {
            let resumes = self.fetchers.resume.get(&leader).is_none_or(|at| *at <= now);
            if !self.fetchers.in_flight.contains_key(&leader) && resumes {
                self.fetch(leader, step);
            }
        }
    }

    fn fetch(&mut self, leader: i32, step: &mut Step<'_>) {
        let mut asked = BTreeMap::new();
        let replicas = &self.replicas;
        self.fetchers.followed.retain(|key, followed| {
            if followed.leader != leader || followed.paused_until > step.now {
                return true;
            }
            let asks = replicas.get(key).and_then(|replica| replica.asks(followed.leader_epoch));
            asks.is_some_and(|asks| asked.insert(*key, asks).is_none())
        });
        if asked.is_empty() {
            return;
        }
        let call = self.next_call();
        let partitions = asked.iter().map(|(key, asked)| (*key, *asked)).collect();
        let ask = Ask::Fetch { broker_epoch: self.lifecycle.epoch(), partitions };
        let deadline = step.now + TIMEOUT_MS;
        self.fetchers.in_flight.insert(leader, InFlight { call, deadline, asked });
        step.out.push(Out::Call { call, to: leader, ask });
    }

    /// Takes in an answer; false if it is to another call.
    pub(super) fn fetch_answered(
        &mut self,
        call: u64,
        answer: &Answer,
        step: &mut Step<'_>,
    ) -> Result<bool, String> {
        if let Some((key, leader_epoch)) = self.fetchers.ranges.remove(&call) {
            self.range_answered(key, leader_epoch, answer, step)?;
            return Ok(true);
        }
        let found = self.fetchers.in_flight.iter().find(|(_, in_flight)| in_flight.call == call);
        let Some(leader) = found.map(|(leader, _)| *leader) else { return Ok(false) };
        let in_flight = self.fetchers.in_flight.remove(&leader).unwrap_or_default();
        let Ok(Told::Fetch(answers)) = answer else {
            self.fetchers.resume.insert(leader, step.now + RETRY_MS);
            return Ok(true);
        };
        for (key, data) in answers {
            let Some(asked) = in_flight.asked.get(key) else { continue };
            self.take(leader, *key, *asked, data, step)?;
        }
        Ok(true)
    }

    fn take(
        &mut self,
        leader: i32,
        key: Key,
        asked: Asked,
        data: &PartitionData,
        step: &mut Step<'_>,
    ) -> Result<(), String> {
        let Some(followed) = self.fetchers.followed.get_mut(&key) else { return Ok(()) };
        let Some(replica) = self.replicas.get(&key) else { return Ok(()) };
        if followed.leader != leader || followed.leader_epoch != asked.leader_epoch() {
            return Ok(());
        }
        match replica.take(asked, data)? {
            Next::Fetch => {}
            Next::Pause => followed.paused_until = step.now + RETRY_MS,
            Next::Stop => drop(self.fetchers.followed.remove(&key)),
            Next::OutOfRange => {
                followed.paused_until = step.now + RETRY_MS;
                let leader_epoch = followed.leader_epoch;
                let call = self.next_call();
                self.fetchers.ranges.insert(call, (key, leader_epoch));
                step.out.push(Out::Call { call, to: leader, ask: Ask::Range(key, leader_epoch) });
            }
        }
        Ok(())
    }

    fn range_answered(
        &mut self,
        key: Key,
        leader_epoch: i32,
        answer: &Answer,
        step: &mut Step<'_>,
    ) -> Result<(), String> {
        let Some(followed) = self.fetchers.followed.get_mut(&key) else { return Ok(()) };
        let Some(replica) = self.replicas.get(&key) else { return Ok(()) };
        followed.paused_until = step.now + RETRY_MS;
        if let Ok(Told::Range(Ok((earliest, latest)))) = answer
            && followed.leader_epoch == leader_epoch
            && !replica.back_into_range(leader_epoch, *earliest, *latest)?
        {
            self.fetchers.followed.remove(&key);
        }
        Ok(())
    }
}
