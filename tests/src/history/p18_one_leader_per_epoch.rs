//! P18: an epoch has one leader, and epochs only rise.

use std::collections::{BTreeMap, HashMap};

use super::facts::{Facts, Whole};
use super::{Event, Outcome, Place, Rule};

/// P18.
pub const RULE: Rule = Rule {
    name: "P18",
    statement: "a leader epoch of a partition, and an epoch of the quorum, has one leader for all who look and for \
                all whose records it wrote; epochs rise along a log",
    source: "KRaft's TLA+: NeverTwoLeadersInSameEpoch; Redpanda and Apache Kafka: SingleLeader",
    check,
};

fn check(facts: &Facts) -> Vec<String> {
    let mut leaders: BTreeMap<(&Place, i32), usize> = BTreeMap::new();
    let mut controllers: BTreeMap<i32, usize> = BTreeMap::new();
    let mut broken = Vec::new();
    for event in facts.events {
        match event {
            Event::Led { place, epoch, leader, .. } => {
                let first = *leaders.entry((place, *epoch)).or_insert(*leader);
                if first != *leader {
                    broken.push(format!("{place:?} epoch {epoch}: {first} and {event:?}"));
                }
            }
            Event::Controlled { epoch, leader, .. } => {
                let first = *controllers.entry(*epoch).or_insert(*leader);
                if first != *leader {
                    broken.push(format!("quorum epoch {epoch}: {first} and {event:?}"));
                }
            }
            _ => {}
        }
    }
    for whole in &facts.wholes {
        broken.extend(writers(facts, whole, &mut leaders));
    }
    broken
}

/// The epochs along a log, and who acknowledged the records of each.
fn writers<'a>(
    facts: &Facts<'a>,
    whole: &Whole<'a>,
    leaders: &mut BTreeMap<(&'a Place, i32), usize>,
) -> Vec<String> {
    let acknowledged: HashMap<i64, usize> = facts
        .sends
        .values()
        .filter(|send| send.place == *whole.place)
        .filter_map(|send| match &send.outcome {
            Outcome::Acknowledged { offset: Some(_), leader: Some((broker, _)) } => {
                Some((send.offset?, *broker))
            }
            _ => None,
        })
        .collect();
    let mut broken = Vec::new();
    let mut highest = i32::MIN;
    for (offset, epoch) in &whole.epochs {
        if *epoch < highest {
            broken.push(format!("{:?}: epoch {epoch} at {offset} behind {highest}", whole.place));
        }
        highest = highest.max(*epoch);
        // A repetition is acknowledged by a later leader than the one that wrote it: that is told from who led then.
        let Some(broker) = acknowledged.get(offset) else { continue };
        let leads_later = leaders
            .range((whole.place, epoch + 1)..)
            .any(|((place, _), leader)| *place == whole.place && leader == broker);
        let first = *leaders.entry((whole.place, *epoch)).or_insert(*broker);
        if first != *broker && !leads_later {
            let node = whole.node;
            broken.push(format!(
                "{:?}: {offset} was acknowledged by {broker}, its epoch {epoch} on node {node} is that of {first}",
                whole.place
            ));
        }
    }
    broken
}

#[cfg(test)]
mod tests {
    use super::super::made_up::*;
    use super::*;

    fn led(epoch: i32, leader: usize) -> Event {
        Event::Led { at: 0, observer: 1, place: place(), epoch, leader }
    }

    #[test]
    fn finds_two_leaders_of_an_epoch() {
        assert_kept(&RULE, &[led(0, 1), led(1, 2), led(0, 1)]);
        assert_broken(&RULE, &[led(0, 1), led(0, 2)], "epoch 0: 1 and");
    }

    #[test]
    fn finds_two_controllers_of_an_epoch() {
        let controlled = |epoch, leader| Event::Controlled { at: 0, observer: 1, epoch, leader };
        assert_kept(&RULE, &[controlled(3, 1), controlled(4, 1)]);
        assert_broken(&RULE, &[controlled(3, 1), controlled(3, 2)], "quorum epoch 3");
    }

    #[test]
    fn finds_a_write_by_another_than_the_leader() {
        let a = value(1, 0);
        let events = [&written(0, a, 0)[..], &whole(50, &[(0, a)])].concat();
        assert_kept(&RULE, &[&[led(0, 1)], &events[..]].concat());
        assert_broken(&RULE, &[&[led(0, 2)], &events[..]].concat(), "acknowledged by 1");
        // Written by 2 and repeated to 1, which leads since.
        assert_kept(&RULE, &[&[led(0, 2), led(1, 1)], &events[..]].concat());
    }

    #[test]
    fn finds_epochs_that_fall() {
        let (a, b) = (value(1, 0), value(1, 1));
        let mut events = whole(50, &[(0, a), (1, b)]).to_vec();
        if let Event::Polled { epochs, .. } = &mut events[0] {
            *epochs = vec![(0, 2), (1, 1)];
        }
        assert_broken(&RULE, &events, "epoch 1 at 1 behind 2");
    }
}
