//! P3: an offset has one value, for everyone and for ever.

use std::collections::BTreeMap;

use super::facts::Facts;
use super::{Place, Rule, Value};

/// P3.
pub const RULE: Rule = Rule {
    name: "P3",
    statement: "all reads and acknowledgements of an offset, from any replica at any time, have the same value",
    source: "Jepsen, jepsen.tests.kafka: inconsistent-offsets; TLA+ of Kafka's replication: ConsistentRead",
    check,
};

fn check(facts: &Facts) -> Vec<String> {
    let mut values: BTreeMap<(&Place, i64), (Value, String)> = BTreeMap::new();
    let mut broken = Vec::new();
    let mut note = |place, offset, value: Value, who: String| match values.get(&(place, offset)) {
        Some((other, by)) if *other != value => {
            broken.push(format!("{place:?} {offset}: {other:?} {by}, {value:?} {who}"));
        }
        Some(_) => {}
        None => drop(values.insert((place, offset), (value, who))),
    };
    for (value, send) in &facts.sends {
        if let Some(offset) = send.offset {
            note(&send.place, offset, *value, format!("acknowledged at {:?}", send.answered));
        }
    }
    for poll in &facts.polls {
        for (offset, value) in poll.records {
            if let Some(value) = value {
                note(poll.place, *offset, *value, format!("read from {:?} at {}", poll.source, poll.at));
            }
        }
    }
    broken
}

#[cfg(test)]
mod tests {
    use super::super::made_up::*;
    use super::*;

    #[test]
    fn finds_an_offset_with_two_values() {
        let (a, b) = (value(1, 0), value(1, 1));
        let read = polled(30, 0, &[(0, a)]);
        assert_kept(&RULE, &[read.clone(), polled_by(51, 50, 0, &[(0, a)])]);
        assert_broken(&RULE, &[read, polled_by(51, 50, 0, &[(0, b)])], "t-0 0");
    }

    #[test]
    fn finds_an_offset_that_two_writes_were_given() {
        let events = [written(0, value(1, 0), 7), written(0, value(2, 0), 7)].concat();
        assert_broken(&RULE, &events, "t-0 7");
    }
}
