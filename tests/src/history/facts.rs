//! What follows from a history before any rule is asked: who sent what, what became of it, where it was seen.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{Event, Limits, Micros, Outcome, Place, Value};

/// One value, as its sender knows it.
#[derive(Clone, Debug)]
pub struct Send {
    /// Where to.
    pub place: Place,
    /// When it was sent first.
    pub sent: Micros,
    /// When its end was known.
    pub answered: Option<Micros>,
    /// Its offset, if it was acknowledged with one.
    pub offset: Option<i64>,
    /// What became of its batch.
    pub outcome: Outcome,
    /// The leader epoch in which it was acknowledged, or written if that was later than the client thought; `None` if
    /// the client does not say.
    pub epoch: Option<i32>,
    /// Whether the sender repeats it until it knows.
    pub idempotent: bool,
}

impl Send {
    /// Whether it was acknowledged.
    pub fn is_acknowledged(&self) -> bool {
        matches!(self.outcome, Outcome::Acknowledged { .. })
    }
}

/// A read of one partition.
#[derive(Clone, Copy, Debug)]
pub struct Poll<'a> {
    /// When it was asked for.
    pub began: Micros,
    /// When the answer was there.
    pub at: Micros,
    /// The consumer.
    pub process: u32,
    /// Of its assignment.
    pub generation: u32,
    /// Who answered.
    pub source: Option<usize>,
    /// Where.
    pub place: &'a Place,
    /// The offset that was wanted.
    pub position: Option<i64>,
    /// What was committed.
    pub high_watermark: Option<i64>,
    /// What came.
    pub records: &'a [(i64, Option<Value>)],
    /// Leader epochs of the batches.
    pub epochs: &'a [(i64, i32)],
}

/// A whole replica, read after everything was healed.
#[derive(Debug)]
pub struct Whole<'a> {
    /// When the reading began.
    pub began: Micros,
    /// The partition.
    pub place: &'a Place,
    /// The replica.
    pub node: usize,
    /// Its records.
    pub records: BTreeMap<i64, Option<Value>>,
    /// Leader epochs by the first offset of each batch.
    pub epochs: BTreeMap<i64, i32>,
}

/// A history and what follows from it.
pub struct Facts<'a> {
    /// The events, as they were added.
    pub events: &'a [Event],
    /// What counts as too late.
    pub limits: Limits,
    /// Every value that was sent.
    pub sends: HashMap<Value, Send>,
    /// All reads, in the order of their answers.
    pub polls: Vec<Poll<'a>>,
    /// Whole replicas.
    pub wholes: Vec<Whole<'a>>,
    /// Times in which something was broken: from the first fault to the healing.
    pub faults: Vec<(Micros, Micros)>,
}

impl<'a> Facts<'a> {
    /// Sorts a history's events out.
    pub fn new(events: &'a [Event], limits: Limits) -> Facts<'a> {
        let mut polls: Vec<Poll<'a>> = events.iter().filter_map(poll).collect();
        polls.sort_by_key(|poll| poll.at);
        let wholes = wholes(events, &polls);
        let mut sends = sends(events);
        for send in sends.values_mut() {
            send.epoch =
                send.epoch.map(|epoch| written(send, &wholes).map_or(epoch, |written| epoch.max(written)));
        }
        Facts { events, limits, sends, polls, wholes, faults: faults(events) }
    }

    /// Every place that something was sent to.
    pub fn places(&self) -> BTreeSet<&Place> {
        self.sends.values().map(|send| &send.place).collect()
    }

    /// The end of the latest fault that began before `at`; `None` while a fault lasts.
    pub fn healed_before(&self, at: Micros) -> Option<Micros> {
        let mut ends = self.faults.iter().filter(|(began, _)| *began <= at).map(|(_, ended)| *ended);
        ends.try_fold(0, |latest, ended| (ended <= at).then_some(latest.max(ended)))
    }
}

fn poll(event: &Event) -> Option<Poll<'_>> {
    match event {
        Event::Polled {
            began,
            at,
            process,
            generation,
            source,
            place,
            position,
            high_watermark,
            records,
            epochs,
        } => Some(Poll {
            began: *began,
            at: *at,
            process: *process,
            generation: *generation,
            source: *source,
            place,
            position: *position,
            high_watermark: *high_watermark,
            records,
            epochs,
        }),
        _ => None,
    }
}

fn sends(events: &[Event]) -> HashMap<Value, Send> {
    let mut sends = HashMap::new();
    let mut batches: HashMap<Value, &[Value]> = HashMap::new();
    for event in events {
        match event {
            Event::Sent { at, place, values, idempotent } => {
                batches.insert(values[0], values);
                for value in values {
                    let send = Send {
                        place: place.clone(),
                        sent: *at,
                        answered: None,
                        offset: None,
                        outcome: Outcome::Unknown,
                        epoch: None,
                        idempotent: *idempotent,
                    };
                    sends.insert(*value, send);
                }
            }
            Event::Answered { at, first, outcome } => {
                for (index, value) in (0..).zip(batches.get(first).copied().unwrap_or_default()) {
                    let send = sends.get_mut(value).expect("a batch's values were noted with it");
                    send.answered = Some(*at);
                    send.outcome = outcome.clone();
                    if let Outcome::Acknowledged { offset, leader } = outcome {
                        send.offset = offset.map(|offset| offset + index);
                        send.epoch = leader.map(|(_, epoch)| epoch);
                    }
                }
            }
            _ => {}
        }
    }
    sends
}

/// The leader epoch of the batch that holds it.
fn written(send: &Send, wholes: &[Whole]) -> Option<i32> {
    let whole = wholes.iter().find(|whole| *whole.place == send.place)?;
    whole.epochs.range(..=send.offset?).next_back().map(|(_, epoch)| *epoch)
}

fn wholes<'a>(events: &'a [Event], polls: &[Poll<'a>]) -> Vec<Whole<'a>> {
    let whole = |event: &'a Event| match event {
        Event::ReadWhole { began, process, place, node } => {
            let own: Vec<&Poll<'a>> =
                polls.iter().filter(|poll| poll.process == *process && poll.place == place).collect();
            Some(Whole {
                began: *began,
                place,
                node: *node,
                records: own.iter().flat_map(|poll| poll.records.iter().copied()).collect(),
                epochs: own.iter().flat_map(|poll| poll.epochs.iter().copied()).collect(),
            })
        }
        _ => None,
    };
    events.iter().filter_map(whole).collect()
}

fn faults(events: &[Event]) -> Vec<(Micros, Micros)> {
    let mut faults: Vec<(Micros, Micros)> = Vec::new();
    for event in events {
        match event {
            Event::Faulted { at, .. } if faults.last().is_none_or(|last| last.1 != Micros::MAX) => {
                faults.push((*at, Micros::MAX));
            }
            Event::Healed { at } => {
                if let Some(last) = faults.last_mut() {
                    last.1 = last.1.min(*at);
                }
            }
            _ => {}
        }
    }
    faults
}
