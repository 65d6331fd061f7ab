//! P19: an acknowledged change of topics stays.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::facts::Facts;
use super::{Event, Rule, TopicEvent};

/// P19.
pub const RULE: Rule = Rule {
    name: "P19",
    statement: "a topic whose creation was acknowledged is in every later list, with its id, until its deletion is \
                asked for; one whose deletion was acknowledged is in none",
    source: "Apache Kafka: the metadata log is committed by a majority before an answer",
    check,
};

fn check(facts: &Facts) -> Vec<String> {
    let mut topics: Vec<_> = facts.events.iter().filter_map(topic_event).collect();
    topics.sort_by_key(|(at, _)| *at);
    let mut live: BTreeMap<&str, Uuid> = BTreeMap::new();
    let mut deleted: BTreeSet<&str> = BTreeSet::new();
    let mut broken = Vec::new();
    for (at, what) in topics {
        match what {
            TopicEvent::Created(name, id) => drop(live.insert(name, *id)),
            TopicEvent::Deleting(name) => drop(live.remove(name.as_str())),
            TopicEvent::Deleted(name) => drop(deleted.insert(name)),
            TopicEvent::Listed(list) => {
                let missing = live.iter().filter(|(name, id)| list.get(**name) != Some(id));
                broken.extend(
                    missing.map(|(name, id)| format!("{name} {id} was created and is not there at {at}")),
                );
                let risen = deleted.iter().filter(|name| list.contains_key(**name));
                broken.extend(risen.map(|name| format!("{name} was deleted and is there at {at}")));
            }
        }
    }
    broken
}

/// A list counts when it was asked for, everything else when it was answered; a deletion when it was asked for.
fn topic_event(event: &Event) -> Option<(u64, &TopicEvent)> {
    match event {
        Event::Topics { began, what: what @ (TopicEvent::Listed(_) | TopicEvent::Deleting(_)), .. } => {
            Some((*began, what))
        }
        Event::Topics { at, what, .. } => Some((*at, what)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::made_up::*;
    use super::*;

    #[test]
    fn finds_lost_and_risen_topics() {
        let event = |at, what| Event::Topics { began: at, at: at + 5, what };
        let id = Uuid::from_u128(7);
        let created = event(0, TopicEvent::Created("a".into(), id));
        let list = |ids: &[(&str, Uuid)]| {
            event(30, TopicEvent::Listed(ids.iter().map(|(name, id)| ((*name).to_owned(), *id)).collect()))
        };
        assert_kept(&RULE, &[created.clone(), list(&[("a", id)])]);
        assert_broken(&RULE, &[created.clone(), list(&[])], "was created");
        assert_broken(&RULE, &[created.clone(), list(&[("a", Uuid::from_u128(8))])], "was created");
        let deleting =
            [event(10, TopicEvent::Deleting("a".into())), event(12, TopicEvent::Deleted("a".into()))];
        assert_kept(&RULE, &[std::slice::from_ref(&created), &deleting[..1], &[list(&[])]].concat());
        assert_kept(&RULE, &[std::slice::from_ref(&created), &deleting[..1], &[list(&[("a", id)])]].concat());
        assert_broken(&RULE, &[&[created], &deleting[..], &[list(&[("a", id)])]].concat(), "was deleted");
    }
}
