//! Small histories for the rules' tests.

use std::time::Duration;

use super::facts::Facts;
use super::{Event, Limits, Micros, Outcome, Place, Rule, Value};

pub(crate) const LIMITS: Limits =
    Limits { visible: Duration::from_micros(100), recovered: Duration::from_micros(1000) };

pub(crate) fn place() -> Place {
    Place::new("t", 0)
}

pub(crate) fn value(process: u32, number: u32) -> Value {
    Value { process, life: 0, number }
}

/// A batch of one value, idempotent.
pub(crate) fn sent(at: Micros, value: Value) -> Event {
    Event::Sent { at, place: place(), values: vec![value], idempotent: true }
}

pub(crate) fn answered(at: Micros, first: Value, outcome: Outcome) -> Event {
    Event::Answered { at, first, outcome }
}

/// Acknowledged by broker 1 in epoch 0.
pub(crate) fn acknowledged(at: Micros, value: Value, offset: i64) -> Event {
    answered(at, value, Outcome::Acknowledged { offset: Some(offset), leader: Some((1, 0)) })
}

/// Sent at `at`, acknowledged ten later.
pub(crate) fn written(at: Micros, value: Value, offset: i64) -> [Event; 2] {
    [sent(at, value), acknowledged(at + 10, value, offset)]
}

/// A read by process 50 that took ten, from epoch 0, of what is committed.
pub(crate) fn polled(began: Micros, position: i64, records: &[(i64, Value)]) -> Event {
    polled_by(50, began, position, records)
}

pub(crate) fn polled_by(process: u32, began: Micros, position: i64, records: &[(i64, Value)]) -> Event {
    let end = records.last().map_or(position, |last| last.0 + 1);
    Event::Polled {
        began,
        at: began + 10,
        process,
        generation: 0,
        source: Some(1),
        place: place(),
        position: Some(position),
        high_watermark: Some(end),
        records: records.iter().map(|(offset, value)| (*offset, Some(*value))).collect(),
        epochs: records.iter().map(|(offset, _)| (*offset, 0)).collect(),
    }
}

/// A replica that was read whole at the end, on node 1.
pub(crate) fn whole(began: Micros, records: &[(i64, Value)]) -> [Event; 2] {
    let read = Event::ReadWhole { began, process: 90, place: place(), node: 1 };
    [polled_by(90, began, 0, records), read]
}

/// What a rule says of a history.
pub(crate) fn found(rule: &Rule, events: &[Event]) -> Vec<String> {
    (rule.check)(&Facts::new(events, LIMITS))
}

/// A good history passes.
#[track_caller]
pub(crate) fn assert_kept(rule: &Rule, events: &[Event]) {
    assert_eq!(found(rule, events), Vec::<String>::new());
}

/// The rule finds exactly one violation, which says this.
#[track_caller]
pub(crate) fn assert_broken(rule: &Rule, events: &[Event], what: &str) {
    let found = found(rule, events);
    assert!(found.len() == 1 && found[0].contains(what), "{found:?}");
}
