//! P16: a committed offset of a group stays.

use super::facts::Facts;
use super::{Event, Micros, Place, Rule};

/// P16.
pub const RULE: Rule = Rule {
    name: "P16",
    statement: "the committed offset of a group whose commits only rise is never read smaller than what was \
                acknowledged before it was asked for",
    source: "Jepsen, Redpanda 21.10.1: lost commits; Apache Kafka: offsets.commit with acks=all",
    check,
};

fn check(facts: &Facts) -> Vec<String> {
    let mut acknowledged: Vec<(Micros, &Place, i64)> = Vec::new();
    let mut reads = Vec::new();
    for event in facts.events {
        match event {
            Event::Committed { at, place, offset, acknowledged: true, .. } => {
                acknowledged.push((*at, place, *offset));
            }
            Event::CommitRead { began, place, offset } => reads.push((*began, place, *offset)),
            _ => {}
        }
    }
    let lost = |(began, place, read): &(Micros, &Place, i64)| {
        let found = acknowledged
            .iter()
            .find(|(at, where_, offset)| at < began && where_ == place && offset > read)?;
        Some(format!("{place:?}: {read} is read at {began}, {found:?} was acknowledged"))
    };
    reads.iter().filter_map(lost).collect()
}

#[cfg(test)]
mod tests {
    use super::super::made_up::*;
    use super::*;

    #[test]
    fn finds_a_lost_commit() {
        let commit =
            |acknowledged| Event::Committed { began: 0, at: 5, place: place(), offset: 7, acknowledged };
        let read = |began, offset| Event::CommitRead { began, place: place(), offset };
        assert_kept(&RULE, &[commit(true), read(10, 7), read(20, 9), read(3, -1)]);
        assert_kept(&RULE, &[commit(false), read(10, 3)]);
        assert_broken(&RULE, &[commit(true), read(10, 6)], "6 is read");
    }
}
