//! P10: what was sent later lies later.

use std::collections::HashMap;

use super::facts::{Facts, Send, Whole};
use super::{Micros, Place, Rule, Value};

/// P10.
pub const RULE: Rule = Rule {
    name: "P10",
    statement: "the values of an idempotent producer lie in the order in which it sent them, and a value that was \
                sent after another, anyone's, was acknowledged lies behind it",
    source: "Jepsen, jepsen.tests.kafka: nonmonotonic-send; KIP-98; real time as of a log that is linearizable",
    check,
};

fn check(facts: &Facts) -> Vec<String> {
    let mut broken: Vec<String> = facts.wholes.iter().flat_map(|whole| own_order(facts, whole)).collect();
    broken.extend(facts.places().into_iter().flat_map(|place| real_time(facts, place)));
    broken
}

fn own_order(facts: &Facts, whole: &Whole) -> Vec<String> {
    let mut last: HashMap<(u32, u32), (i64, Value)> = HashMap::new();
    let mut broken = Vec::new();
    for (offset, value) in whole.records.iter().filter_map(|(offset, value)| Some((*offset, (*value)?))) {
        if !facts.sends.get(&value).is_some_and(|send| send.idempotent) {
            continue;
        }
        let before = last.insert((value.process, value.life), (offset, value));
        if let Some((at, earlier)) = before.filter(|(_, earlier)| earlier.number > value.number) {
            broken.push(format!("{:?}: {earlier:?} at {at}, {value:?} at {offset}", whole.place));
        }
    }
    broken
}

/// From the highest offset down: whoever lies behind must not have been acknowledged before this one was sent.
fn real_time(facts: &Facts, place: &Place) -> Vec<String> {
    let own = facts.sends.iter().filter(|(_, send)| send.place == *place && send.is_acknowledged());
    let mut placed: Vec<(i64, &Value, &Send)> =
        own.filter_map(|(value, send)| Some((send.offset?, value, send))).collect();
    placed.sort_by_key(|(offset, value, _)| (*offset, **value));
    let mut first: Option<(Micros, i64, &Value)> = None;
    let mut broken = Vec::new();
    for (offset, value, send) in placed.into_iter().rev() {
        if let Some((at, behind, other)) = first
            && at < send.sent
        {
            broken.push(format!(
                "{place:?}: {value:?} at {offset}, sent after {other:?} at {behind} was there"
            ));
        }
        let answered = send.answered.unwrap_or(Micros::MAX);
        if first.is_none_or(|(at, _, _)| answered < at) {
            first = Some((answered, offset, value));
        }
    }
    broken
}

#[cfg(test)]
mod tests {
    use super::super::made_up::*;
    use super::*;

    #[test]
    fn finds_a_producer_out_of_order() {
        let (a, b) = (value(1, 0), value(1, 1));
        let events = [sent(0, a), sent(1, b)];
        assert_kept(&RULE, &[&events[..], &whole(40, &[(0, a), (1, b)])].concat());
        assert_broken(&RULE, &[&events[..], &whole(40, &[(0, b), (1, a)])].concat(), "1.0.1 at 0");
    }

    #[test]
    fn finds_a_late_write_in_front() {
        let (a, b) = (value(1, 0), value(2, 0));
        assert_kept(&RULE, &[written(0, a, 5), written(20, b, 6)].concat());
        // At the same time either may be first.
        assert_kept(&RULE, &[written(0, a, 5), written(5, b, 4)].concat());
        assert_broken(&RULE, &[written(0, a, 5), written(20, b, 4)].concat(), "2.0.0 at 4");
    }
}
