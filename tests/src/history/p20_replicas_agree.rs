//! P20: after the healing, all replicas hold the same bytes.

use std::collections::BTreeMap;

use super::facts::Facts;
use super::{Chain, Event, Place, Rule};

/// P20.
pub const RULE: Rule = Rule {
    name: "P20",
    statement: "the batches of a partition have the same offsets, leader epochs and checksums on all its replicas",
    source: "TigerBeetle's storage checker; TLA+ of Kafka's replication: LogMatching",
    check,
};

fn check(facts: &Facts) -> Vec<String> {
    let mut first: BTreeMap<&Place, (usize, &Chain)> = BTreeMap::new();
    let mut broken = Vec::new();
    for event in facts.events {
        let Event::Copied { place, node, chain } = event else { continue };
        let (other, expected) = *first.entry(place).or_insert((*node, chain));
        if let Some(difference) = difference(expected, chain) {
            broken.push(format!("{place:?} on nodes {other} and {node}: {difference}"));
        }
    }
    broken
}

fn difference(one: &Chain, two: &Chain) -> Option<String> {
    let at = (0..one.len().max(two.len())).find(|at| one.get(*at) != two.get(*at))?;
    Some(format!("batch {at} is {:?} and {:?}", one.get(at), two.get(at)))
}

#[cfg(test)]
mod tests {
    use super::super::made_up::*;
    use super::*;

    #[test]
    fn finds_replicas_that_differ() {
        let copied = |node, chain: &[(i64, i64, i32, u32)]| Event::Copied {
            place: place(),
            node,
            chain: chain.to_vec(),
        };
        let chain = [(0, 3, 0, 77), (4, 4, 1, 88)];
        assert_kept(&RULE, &[copied(1, &chain), copied(2, &chain)]);
        assert_broken(&RULE, &[copied(1, &chain), copied(2, &chain[..1])], "batch 1");
        assert_broken(
            &RULE,
            &[copied(1, &chain), copied(3, &[(0, 3, 0, 78), chain[1]])],
            "nodes 1 and 3: batch 0",
        );
        assert_broken(&RULE, &[copied(1, &chain), copied(3, &[(0, 3, 1, 77), chain[1]])], "batch 0");
    }
}
