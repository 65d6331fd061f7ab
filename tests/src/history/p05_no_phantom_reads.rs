//! P5: what is read was written, and is committed.

use super::facts::{Facts, Poll};
use super::{Outcome, Rule};

/// P5.
pub const RULE: Rule = Rule {
    name: "P5",
    statement: "every record that is read was sent before, was not refused, and lies below the high watermark \
                that comes with it",
    source: "Jepsen, jepsen.tests.kafka: G1a; Apache Kafka: consumers read up to the high watermark",
    check,
};

fn check(facts: &Facts) -> Vec<String> {
    facts.polls.iter().flat_map(|poll| phantoms(facts, poll)).collect()
}

fn phantoms(facts: &Facts, poll: &Poll) -> Vec<String> {
    let mut broken = Vec::new();
    for (offset, value) in poll.records {
        let place = format!("{:?} {offset} at {} from {:?}", poll.place, poll.at, poll.source);
        let send = value.and_then(|value| facts.sends.get(&value));
        match send {
            None => broken.push(format!("{place}: {value:?} was sent by nobody")),
            Some(send) if send.outcome == Outcome::Refused => {
                broken.push(format!("{place}: {value:?} was refused: {send:?}"));
            }
            Some(send) if send.sent > poll.at || send.place != *poll.place => {
                broken.push(format!("{place}: {value:?} was not sent there yet: {send:?}"));
            }
            Some(_) => {}
        }
        if poll.high_watermark.is_some_and(|committed| *offset >= committed) {
            broken.push(format!("{place}: above the high watermark {:?}", poll.high_watermark));
        }
    }
    broken
}

#[cfg(test)]
mod tests {
    use super::super::made_up::*;
    use super::*;

    #[test]
    fn finds_what_nobody_sent() {
        let (a, b) = (value(1, 0), value(1, 1));
        let read = polled(20, 0, &[(0, a)]);
        assert_kept(&RULE, &[sent(0, a), read.clone()]);
        assert_broken(&RULE, &[sent(0, b), read.clone()], "by nobody");
        assert_broken(&RULE, &[sent(100, a), read], "not sent there yet");
    }

    #[test]
    fn finds_what_was_refused() {
        let a = value(1, 0);
        let events = [sent(0, a), answered(5, a, Outcome::Refused), polled(20, 0, &[(0, a)])];
        assert_broken(&RULE, &events, "refused");
    }

    #[test]
    fn finds_a_read_above_the_high_watermark() {
        let a = value(1, 0);
        let mut read = polled(20, 0, &[(0, a)]);
        if let super::super::Event::Polled { high_watermark, .. } = &mut read {
            *high_watermark = Some(0);
        }
        assert_broken(&RULE, &[sent(0, a), read], "above the high watermark");
    }
}
