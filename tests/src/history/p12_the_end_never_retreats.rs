//! P12: the end of a partition, as clients are told it, never goes back.

use std::collections::HashMap;

use super::facts::Facts;
use super::{Event, Micros, Place, Rule};

/// P12.
pub const RULE: Rule = Rule {
    name: "P12",
    statement: "of a client that follows the leader epochs, a later ListOffsets gives no smaller end, and none that \
                lies before what was acknowledged in this epoch or an earlier one before it was asked for",
    source: "Apache Kafka, KIP-207: OFFSET_NOT_AVAILABLE until the new leader's high watermark is known",
    check,
};

fn check(facts: &Facts) -> Vec<String> {
    let mut ends: Vec<_> = facts.events.iter().filter_map(ended).collect();
    ends.sort_by_key(|end| end.at);
    let mut latest: HashMap<(u32, &Place), &End> = HashMap::new();
    let mut broken = Vec::new();
    for end in &ends {
        if let Some(before) = latest.insert((end.process, end.place), end)
            && before.latest > end.latest
        {
            broken.push(format!("{end:?} after {before:?}"));
        }
        let hidden = facts.sends.values().find(|send| {
            send.is_acknowledged()
                && send.epoch.is_some_and(|epoch| epoch <= end.epoch)
                && send.place == *end.place
                && send.answered.is_some_and(|at| at < end.began)
                && send.offset.is_some_and(|offset| offset >= end.latest)
        });
        broken.extend(hidden.map(|send| format!("{end:?} hides {send:?}")));
    }
    broken
}

#[derive(Debug)]
struct End<'a> {
    began: Micros,
    at: Micros,
    process: u32,
    place: &'a Place,
    epoch: i32,
    latest: i64,
}

fn ended(event: &Event) -> Option<End<'_>> {
    match event {
        Event::Ended { began, at, process, place, epoch, latest } => {
            Some(End { began: *began, at: *at, process: *process, place, epoch: *epoch, latest: *latest })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::made_up::*;
    use super::*;

    fn end(began: Micros, epoch: i32, latest: i64) -> Event {
        Event::Ended { began, at: began + 10, process: 60, place: place(), epoch, latest }
    }

    #[test]
    fn finds_an_end_that_goes_back() {
        assert_kept(&RULE, &[end(0, 1, 5), end(20, 2, 5), end(40, 2, 6)]);
        assert_broken(&RULE, &[end(0, 1, 5), end(20, 2, 4)], "after");
    }

    #[test]
    fn finds_an_end_that_hides_a_write() {
        let write = written(0, value(1, 0), 5);
        assert_kept(&RULE, &[&write[..], &[end(20, 0, 6)]].concat());
        assert_broken(&RULE, &[&write[..], &[end(20, 0, 5)]].concat(), "hides");
        // A leader that was replaced and does not know it yet.
        assert_kept(&RULE, &[&write[..], &[end(20, -1, 5)]].concat());
        assert_kept(&RULE, &[&write[..], &[end(5, 0, 5)]].concat());
    }
}
