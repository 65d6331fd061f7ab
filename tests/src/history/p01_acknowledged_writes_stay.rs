//! P1: no acknowledged write is lost.

use std::collections::{BTreeMap, BTreeSet};

use super::facts::Facts;
use super::{Event, Micros, Outcome, Place, Rule, Value};

/// P1.
pub const RULE: Rule = Rule {
    name: "P1",
    statement: "a write that was acknowledged, or read by anyone, is read by whoever reads past it; \
                nothing is acknowledged while fewer than min.insync.replicas can hold it",
    source: "Jepsen, jepsen.tests.kafka: lost-write; Apache Kafka, min.insync.replicas",
    check,
};

/// Replicas of a partition, and how many must hold a record before it is acknowledged.
const REPLICAS: usize = 3;
const MIN_IN_SYNC: usize = 2;

fn check(facts: &Facts) -> Vec<String> {
    let mut highest: BTreeMap<&Place, i64> = BTreeMap::new();
    let mut read: BTreeSet<(&Place, Value)> = BTreeSet::new();
    for poll in &facts.polls {
        for (offset, value) in poll.records {
            let highest = highest.entry(poll.place).or_insert(*offset);
            *highest = (*highest).max(*offset);
            read.extend(value.map(|value| (poll.place, value)));
        }
    }
    let mut broken = Vec::new();
    for (value, send) in &facts.sends {
        let passed = send.offset.is_some_and(|offset| highest.get(&send.place).is_some_and(|h| *h > offset));
        if passed && !read.contains(&(&send.place, *value)) {
            broken.push(format!("{value:?} was acknowledged: {send:?}, and passed by readers unseen"));
        }
        // A batch that is there can be refused too: a leader that was stopped and started again knows the last batch of
        // each producer, which is what a snapshot keeps, and not the ones before it.
        if send.outcome == Outcome::Forgotten && !read.contains(&(&send.place, *value)) {
            broken.push(format!("{value:?}: the broker misses what it acknowledged before: {send:?}"));
        }
    }
    broken.sort();
    broken.extend(acknowledged_alone(facts));
    broken
}

/// A batch that is sent and acknowledged while too few replicas run.
fn acknowledged_alone(facts: &Facts) -> Vec<String> {
    let mut broken = Vec::new();
    for (from, to) in too_few(facts.events) {
        let alone = |send: &&super::facts::Send| {
            send.is_acknowledged() && send.sent >= from && send.answered.is_some_and(|at| at <= to)
        };
        if let Some(send) = facts.sends.values().find(alone) {
            broken.push(format!("{send:?} while only one replica ran"));
        }
    }
    broken
}

fn too_few(events: &[Event]) -> Vec<(Micros, Micros)> {
    let mut times = Vec::new();
    let mut since = None;
    for event in events {
        match event {
            Event::Faulted { at, down, .. } if REPLICAS - down < MIN_IN_SYNC => since = since.or(Some(*at)),
            Event::Mending { at } => times.extend(since.take().map(|since| (since, *at))),
            _ => {}
        }
    }
    times
}

#[cfg(test)]
mod tests {
    use super::super::made_up::*;
    use super::*;

    #[test]
    fn finds_a_lost_write() {
        let (a, b, c) = (value(1, 0), value(1, 1), value(1, 2));
        let mut events = [written(0, a, 0), written(20, b, 1), written(40, c, 2)].concat();
        events.push(polled(60, 0, &[(0, a), (1, b), (2, c)]));
        assert_kept(&RULE, &events);
        events.pop();
        events.push(polled(60, 0, &[(0, a), (2, c)]));
        assert_broken(&RULE, &events, "1.0.1 was acknowledged");
    }

    #[test]
    fn what_nobody_passed_may_come_yet() {
        let (a, b) = (value(1, 0), value(1, 1));
        let mut events = [written(0, a, 0), written(20, b, 1)].concat();
        events.push(polled(60, 0, &[(0, a)]));
        assert_kept(&RULE, &events);
    }

    #[test]
    fn finds_a_producer_that_was_forgotten() {
        let a = value(1, 0);
        let mut events = vec![sent(0, a), answered(5, a, Outcome::Forgotten)];
        assert_broken(&RULE, &events, "misses");
        events.push(polled(60, 0, &[(0, a)]));
        assert_kept(&RULE, &events);
    }

    #[test]
    fn finds_an_acknowledgement_by_one_replica() {
        let fault = |down| Event::Faulted { at: 10, what: "kill".into(), down };
        let history = |down, sent| [vec![fault(down)], written(sent, value(1, 0), 0).to_vec()].concat();
        for (down, sent, end, broken) in
            [(2, 20, 40, true), (1, 20, 40, false), (2, 5, 40, false), (2, 20, 25, false)]
        {
            let events = [history(down, sent), vec![Event::Mending { at: end }]].concat();
            assert_eq!(!found(&RULE, &events).is_empty(), broken, "{down} {sent} {end}");
        }
    }
}
