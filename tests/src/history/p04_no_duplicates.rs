//! P4: a value that was sent once, or again with the same sequence number, is there once.

use std::collections::HashMap;

use super::facts::Facts;
use super::{Place, Rule, Value};

/// P4.
pub const RULE: Rule = Rule {
    name: "P4",
    statement: "no value is at two offsets: idempotent producers repeat batches, others send each once",
    source: "Jepsen, jepsen.tests.kafka: duplicate; KIP-98",
    check,
};

fn check(facts: &Facts) -> Vec<String> {
    let mut offsets: HashMap<(&Place, Value), i64> = HashMap::new();
    let mut broken = Vec::new();
    for poll in &facts.polls {
        for (offset, value) in poll.records.iter().filter_map(|(offset, value)| Some((*offset, (*value)?))) {
            let first = *offsets.entry((poll.place, value)).or_insert(offset);
            if first != offset {
                broken.push(format!("{:?}: {value:?} is at {first} and at {offset}", poll.place));
            }
        }
    }
    broken.sort();
    broken.dedup();
    broken
}

#[cfg(test)]
mod tests {
    use super::super::made_up::*;
    use super::*;

    #[test]
    fn finds_a_value_that_is_there_twice() {
        let (a, b) = (value(1, 0), value(1, 1));
        assert_kept(&RULE, &[polled(0, 0, &[(0, a), (1, b)]), polled_by(51, 50, 0, &[(0, a)])]);
        assert_broken(&RULE, &[polled(0, 0, &[(0, a), (1, b), (2, a)])], "at 0 and at 2");
        assert_broken(&RULE, &[polled(0, 0, &[(0, a)]), polled(50, 1, &[(1, a)])], "at 0 and at 1");
    }
}
