//! P22: the cluster works again when nothing is broken any more, and no node dies of its own.

use std::collections::BTreeSet;

use super::facts::Facts;
use super::{Event, Micros, Place, Rule};

/// P22.
pub const RULE: Rule = Rule {
    name: "P22",
    statement: "after each healing, every partition takes writes and has all its replicas in sync within the limit; \
                no node ends, panics or stays away without having been told to",
    source: "Jepsen's final reads and writes; TLA+ of KIP-966: fenced brokers return, metadata converges",
    check,
};

fn check(facts: &Facts) -> Vec<String> {
    let mut broken = Vec::new();
    let places = facts.places();
    for (index, event) in facts.events.iter().enumerate() {
        match event {
            Event::Healed { at } => broken.extend(late(facts, &facts.events[index..], *at, &places)),
            Event::Died { node, why, .. } => broken.push(format!("node {node}: {why}")),
            _ => {}
        }
    }
    broken
}

/// Partitions that do not return between this healing and the next fault.
fn late(facts: &Facts, after: &[Event], healed: Micros, places: &BTreeSet<&Place>) -> Vec<String> {
    let limit = facts.limits.recovered.as_micros() as Micros;
    let until = after.iter().take_while(|event| !matches!(event, Event::Faulted { .. }));
    let in_time: BTreeSet<&Place> = until
        .filter_map(|event| match event {
            Event::Writable { at, place } if *at <= healed.saturating_add(limit) => Some(place),
            _ => None,
        })
        .collect();
    let is_late = |place: &&&Place| !in_time.contains(*place);
    places.iter().filter(is_late).map(|place| format!("{place:?} is not writable after {healed}")).collect()
}

#[cfg(test)]
mod tests {
    use super::super::made_up::*;
    use super::*;

    #[test]
    fn finds_a_partition_that_stays_away() {
        let write = written(0, value(1, 0), 0).to_vec();
        let rest = |at| vec![Event::Healed { at: 100 }, Event::Writable { at, place: place() }];
        assert_kept(&RULE, &[write.clone(), rest(1000)].concat());
        assert_broken(&RULE, &[write.clone(), rest(1200)].concat(), "t-0 is not writable");
        let fault = Event::Faulted { at: 500, what: "kill".into(), down: 1 };
        let events = [write, vec![Event::Healed { at: 100 }, fault], rest(1000)].concat();
        assert_broken(&RULE, &events, "not writable after 100");
    }

    #[test]
    fn finds_a_node_that_died() {
        assert_broken(&RULE, &[Event::Died { at: 5, node: 2, why: "panicked".into() }], "node 2: panicked");
    }
}
