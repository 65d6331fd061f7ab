//! P9: a consumer reads one record after the other.

use std::collections::HashMap;

use super::Rule;
use super::facts::Facts;

/// P9.
pub const RULE: Rule = Rule {
    name: "P9",
    statement: "within an answer, and from one to the next while its partitions stay its own, a consumer's offsets \
                rise by one, beginning with the position that it asked for",
    source: "Jepsen, jepsen.tests.kafka: poll-skip, nonmonotonic-poll, int-poll-skip, int-nonmonotonic-poll",
    check,
};

fn check(facts: &Facts) -> Vec<String> {
    let mut next: HashMap<_, i64> = HashMap::new();
    let mut broken = Vec::new();
    for poll in &facts.polls {
        let consumer = (poll.process, poll.generation, poll.place);
        let mut expected = poll.position.or(next.get(&consumer).copied());
        for (offset, _) in poll.records {
            if expected.is_some_and(|expected| expected != *offset) {
                let who = format!("{consumer:?} at {} from {:?}", poll.at, poll.source);
                broken.push(format!("{who}: offset {offset} instead of {expected:?}"));
            }
            expected = Some(offset + 1);
        }
        if let Some(expected) = expected {
            next.insert(consumer, expected);
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
    fn finds_skips_and_returns() {
        let (a, b) = (value(1, 0), value(1, 1));
        let foreign = |mut event: Event| {
            if let Event::Polled { position, .. } = &mut event {
                *position = None;
            }
            event
        };
        assert_kept(&RULE, &[polled(0, 0, &[(0, a)]), foreign(polled(20, 0, &[(1, b)]))]);
        assert_broken(&RULE, &[polled(0, 0, &[(0, a), (2, b)])], "offset 2 instead of Some(1)");
        assert_broken(&RULE, &[polled(0, 3, &[(4, b)])], "offset 4 instead of Some(3)");
        assert_broken(&RULE, &[polled(0, 0, &[(0, a)]), foreign(polled(20, 0, &[(0, a)]))], "offset 0");
    }

    #[test]
    fn another_assignment_may_begin_elsewhere() {
        let mut again = polled(20, 0, &[(0, value(1, 0))]);
        if let Event::Polled { position, generation, .. } = &mut again {
            (*position, *generation) = (None, 1);
        }
        assert_kept(&RULE, &[polled(0, 0, &[(0, value(1, 0))]), again]);
    }
}
