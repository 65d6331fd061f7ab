//! P2: everything that was acknowledged can be read once the cluster is healed, from every replica.

use std::collections::{BTreeMap, BTreeSet};

use super::facts::{Facts, Whole};
use super::{Place, Rule, Value};

/// P2.
pub const RULE: Rule = Rule {
    name: "P2",
    statement: "after the healing, every replica gives out each record that was acknowledged or read before, \
                at its offset",
    source: "Jepsen, jepsen.tests.kafka: unseen; TLA+ of KIP-966: NoCommittedRecordLostGlobally",
    check,
};

fn check(facts: &Facts) -> Vec<String> {
    let mut seen: BTreeMap<&Place, BTreeSet<(i64, Value)>> = BTreeMap::new();
    for poll in &facts.polls {
        let records = poll.records.iter().filter_map(|(offset, value)| Some((*offset, (*value)?)));
        seen.entry(poll.place).or_default().extend(records);
    }
    facts.wholes.iter().flat_map(|whole| missing(facts, whole, &seen)).collect()
}

fn missing(facts: &Facts, whole: &Whole, seen: &BTreeMap<&Place, BTreeSet<(i64, Value)>>) -> Vec<String> {
    let there: BTreeSet<Value> = whole.records.values().flatten().copied().collect();
    let on = format!("on node {} of {:?}", whole.node, whole.place);
    let mut broken = Vec::new();
    for (value, send) in &facts.sends {
        let was_before = send.answered.is_some_and(|at| at <= whole.began);
        if send.place != *whole.place || !send.is_acknowledged() || !was_before {
            continue;
        }
        match send.offset {
            Some(offset) if whole.records.get(&offset) != Some(&Some(*value)) => {
                let instead = whole.records.get(&offset);
                broken.push(format!("{value:?} was acknowledged at {offset}; {instead:?} is there {on}"));
            }
            None if !there.contains(value) => {
                broken.push(format!("{value:?} was acknowledged and is not there {on}"));
            }
            _ => {}
        }
    }
    for (offset, value) in seen.get(whole.place).into_iter().flatten() {
        // A later reader may have seen what came after this look.
        let is_past = whole.records.last_key_value().is_none_or(|(last, _)| last < offset);
        let came_later =
            facts.sends.get(value).is_some_and(|send| send.answered.is_none_or(|at| at > whole.began));
        if whole.records.get(offset) != Some(&Some(*value)) && !(is_past && came_later) {
            broken.push(format!("{value:?} was read at {offset} and is not there {on}"));
        }
    }
    broken.sort();
    broken
}

#[cfg(test)]
mod tests {
    use super::super::made_up::*;
    use super::*;

    #[test]
    fn finds_a_lost_tail() {
        let (a, b) = (value(1, 0), value(1, 1));
        let events = [written(0, a, 0), written(20, b, 1)].concat();
        assert_kept(&RULE, &[events.clone(), whole(40, &[(0, a), (1, b)]).to_vec()].concat());
        assert_broken(&RULE, &[events, whole(40, &[(0, a)]).to_vec()].concat(), "1.0.1 was acknowledged");
    }

    #[test]
    fn finds_a_record_that_moved() {
        let (a, b) = (value(1, 0), value(1, 1));
        let events = [written(0, a, 0), written(20, b, 1), whole(40, &[(0, b), (1, a)])].concat();
        assert_eq!(found(&RULE, &events).len(), 2);
    }

    #[test]
    fn finds_a_record_that_was_read_before_it_was_committed() {
        let (a, b) = (value(1, 0), value(2, 0));
        let mut events = vec![sent(0, a), sent(0, b), polled(10, 0, &[(0, a)])];
        events.extend(whole(40, &[(0, b)]));
        assert_broken(&RULE, &events, "1.0.0 was read");
    }

    #[test]
    fn an_unanswered_write_may_be_missing() {
        assert_kept(&RULE, &[vec![sent(0, value(1, 0))], whole(40, &[]).to_vec()].concat());
    }
}
