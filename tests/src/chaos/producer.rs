//! Producers with acks=all that note what they sent and what became of it.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use protocol::ErrorCode;
use protocol::batch::BatchBuilder;
use protocol::compress::Codec;

use super::directory::{Addresses, Directory, Leader};
use crate::history::{Event, History, Outcome, Place, Value, now};
use crate::random::Random;
use crate::wire::{Wire, produce_request};

const IN_FLIGHT: usize = 4;
/// What the broker is told to wait for the other replicas, and how long its answer may take.
const REPLICATED_MS: i32 = 1_000;
const ANSWER: Duration = Duration::from_millis(1_800);
/// Until a producer that was told to stop gives its last batches up.
const DRAIN: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(20);

/// What a producer asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Care {
    /// acks=all, and batches are repeated with their sequence numbers until the producer knows.
    Idempotent,
    /// acks=all, each batch is sent once.
    Once,
    /// acks=1, each batch is sent once: it may be lost, and its acknowledgement says nothing. What of it anyone reads
    /// must stay all the same.
    LeaderOnly,
}

/// A batch without an answer.
struct Batch {
    values: Vec<Value>,
    bytes: Bytes,
}

/// One producer to one partition.
pub struct Producer {
    process: u32,
    place: Place,
    care: Care,
    codec: Option<Codec>,
    producer_id: i64,
    life: u32,
    next: u32,
    in_flight: VecDeque<Batch>,
    directory: Directory,
    history: History,
    random: Random,
}

impl Producer {
    /// A producer that has sent nothing.
    pub fn new(
        process: u32,
        place: Place,
        care: Care,
        brokers: &Addresses,
        history: &History,
        mut random: Random,
    ) -> Producer {
        Producer {
            process,
            care,
            codec: [None, Some(Codec::Lz4), Some(Codec::Zstd)][process as usize % 3],
            producer_id: -1,
            life: 0,
            next: 0,
            in_flight: VecDeque::new(),
            directory: Directory::new(brokers, &place.topic, random.fork()),
            place,
            history: history.clone(),
            random,
        }
    }

    /// Produces until it is told to stop and, if it repeats, knows what became of everything.
    pub fn run(&mut self, stop: &AtomicBool) {
        let mut deadline = None;
        loop {
            if let Some(leader) = self.directory.leader(self.place.partition)
                && self.session(leader, stop).is_ok()
            {
                return;
            }
            if stop.load(Ordering::Relaxed) {
                let deadline = *deadline.get_or_insert_with(|| Instant::now() + DRAIN);
                if !self.is_idempotent() || Instant::now() > deadline {
                    return;
                }
            }
            std::thread::sleep(PAUSE);
            self.directory.refresh();
        }
    }

    /// Sends one batch and waits for its end; for looks whether a partition takes writes.
    pub fn try_once(&mut self) -> bool {
        self.directory.refresh();
        let Some(leader) = self.directory.leader(self.place.partition) else { return false };
        let before = self.next;
        self.in_flight.clear();
        let mut once = || -> io::Result<()> {
            let mut wire = self.directory.connect(leader.node, ANSWER)?;
            let id = self.send_next(&mut wire)?;
            self.take(&mut wire, id, leader)
        };
        once().is_ok() && self.next > before
    }

    /// Produces to one leader until something goes wrong; `Ok` when it was told to stop and nothing is open.
    fn session(&mut self, leader: Leader, stop: &AtomicBool) -> io::Result<()> {
        let mut wire = self.directory.connect(leader.node, ANSWER)?;
        if !self.is_idempotent() {
            self.in_flight.clear();
        } else if self.producer_id < 0 {
            let answer = wire.init_producer_id()?;
            if answer.error_code != 0 {
                return Err(io::ErrorKind::Interrupted.into());
            }
            self.producer_id = answer.producer_id.0;
        }
        let mut ids = VecDeque::new();
        for batch in &self.in_flight {
            ids.push_back(self.send(&mut wire, &batch.bytes)?);
        }
        let window = if self.is_idempotent() { IN_FLIGHT } else { 1 };
        loop {
            let stopped = stop.load(Ordering::Relaxed);
            if stopped && ids.is_empty() {
                return Ok(());
            }
            while !stopped && ids.len() < window {
                ids.push_back(self.send_next(&mut wire)?);
            }
            if let Some(id) = ids.pop_front() {
                self.take(&mut wire, id, leader)?;
            }
            std::thread::sleep(Duration::from_micros(self.random.between(10_000, 50_000)));
        }
    }

    /// The end of the oldest batch; an error ends the session.
    fn take(&mut self, wire: &mut Wire, id: i32, leader: Leader) -> io::Result<()> {
        let (error, base) = wire.produced(id)?;
        let led = Some((leader.node, leader.epoch));
        let outcome = match error {
            ErrorCode::NONE => Outcome::Acknowledged { offset: Some(base), leader: led },
            ErrorCode::DUPLICATE_SEQUENCE_NUMBER => Outcome::Acknowledged { offset: None, leader: led },
            // All before it were acknowledged: batches are sent again from the first one that was not.
            ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER => Outcome::Forgotten,
            ErrorCode::NOT_ENOUGH_REPLICAS if !self.is_idempotent() => Outcome::Refused,
            _ => return Err(io::Error::other(format!("{error:?}"))),
        };
        let batch = self.in_flight.pop_front().expect("an answer belongs to a batch");
        let forgotten = outcome == Outcome::Forgotten;
        let refused = outcome == Outcome::Refused;
        if self.care == Care::LeaderOnly {
            return Ok(());
        }
        self.history.add(Event::Answered { at: now(), first: batch.values[0], outcome });
        if forgotten {
            self.in_flight.clear();
            (self.life, self.next, self.producer_id) = (self.life + 1, 0, -1);
        }
        if forgotten || refused { Err(io::Error::other("not taken")) } else { Ok(()) }
    }

    fn send_next(&mut self, wire: &mut Wire) -> io::Result<i32> {
        let batch = self.next_batch();
        let (values, place) = (batch.values.clone(), self.place.clone());
        self.history.add(Event::Sent { at: now(), place, values, idempotent: self.is_idempotent() });
        let sent = self.send(wire, &batch.bytes);
        self.in_flight.push_back(batch);
        sent
    }

    fn send(&self, wire: &mut Wire, bytes: &Bytes) -> io::Result<i32> {
        let request = produce_request(&self.place.topic, self.place.partition, bytes.clone());
        let acks = if self.care == Care::LeaderOnly { 1 } else { -1 };
        wire.send(9, &request.with_timeout_ms(REPLICATED_MS).with_acks(acks))
    }

    fn is_idempotent(&self) -> bool {
        self.care == Care::Idempotent
    }

    fn next_batch(&mut self) -> Batch {
        let count = self.random.between(1, 7) as u32;
        let first = self.next;
        self.next += count;
        let mut builder = BatchBuilder::new(0);
        if self.is_idempotent() {
            builder = builder.producer(self.producer_id, 0, first as i32);
        }
        if let Some(codec) = self.codec {
            builder = builder.codec(codec, None);
        }
        let values: Vec<Value> = (first..first + count)
            .map(|number| Value { process: self.process, life: self.life, number })
            .collect();
        for value in &values {
            let text = value.text(self.random.between(0, 300) as usize);
            builder.push_pair(now_ms(), None, Some(text.as_bytes()));
        }
        Batch { values, bytes: builder.build().freeze() }
    }
}

/// Records need the time of day.
fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64)
}
