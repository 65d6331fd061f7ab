//! P11: a reader sees an acknowledged write soon.

use std::collections::BTreeMap;

use super::facts::Facts;
use super::{Micros, Place, Rule};

/// P11.
pub const RULE: Rule = Rule {
    name: "P11",
    statement: "a read that begins at or before an acknowledged offset, longer than the limit after the \
                acknowledgement and after the last fault, finds something",
    source: "Jepsen, jepsen.tests.kafka: realtime-lag",
    check,
};

fn check(facts: &Facts) -> Vec<String> {
    let mut acknowledged: BTreeMap<&Place, Vec<(i64, Micros)>> = BTreeMap::new();
    for send in facts.sends.values().filter(|send| send.is_acknowledged()) {
        if let (Some(offset), Some(at)) = (send.offset, send.answered) {
            acknowledged.entry(&send.place).or_default().push((offset, at));
        }
    }
    let limit = facts.limits.visible.as_micros() as Micros;
    let mut broken = Vec::new();
    for poll in facts.polls.iter().filter(|poll| poll.records.is_empty()) {
        let (Some(position), Some(healed)) = (poll.position, facts.healed_before(poll.began)) else {
            continue;
        };
        let late = |(offset, at): &&(i64, Micros)| {
            *offset >= position && (*at).max(healed).saturating_add(limit) < poll.began
        };
        if let Some((offset, at)) = acknowledged.get(poll.place).and_then(|list| list.iter().find(late)) {
            let what = format!("acknowledged at {at}, healed at {healed}");
            broken.push(format!("{poll:?} does not see {offset}, {what}"));
        }
    }
    broken
}

#[cfg(test)]
mod tests {
    use super::super::Event;
    use super::super::made_up::*;
    use super::*;

    #[test]
    fn finds_a_reader_that_stays_behind() {
        let write = written(0, value(1, 0), 0).to_vec();
        let read = |began| polled(began, 0, &[]);
        assert_kept(&RULE, &[write.clone(), vec![read(50)]].concat());
        assert_broken(&RULE, &[write.clone(), vec![read(500)]].concat(), "does not see 0");
        let fault = Event::Faulted { at: 100, what: "cut".into(), down: 0 };
        let healed = |at| Event::Healed { at };
        assert_kept(&RULE, &[write.clone(), vec![fault.clone(), read(500)]].concat());
        assert_kept(&RULE, &[write.clone(), vec![fault.clone(), healed(450), read(500)]].concat());
        assert_broken(&RULE, &[write, vec![fault, healed(300), read(500)]].concat(), "healed at 300");
    }
}
