//! What a partition acknowledged, and the look whether it is all there: at its offset, once, as it was sent.
//!
//! A value tells which it is, so that a record at a wrong offset or a second time is known. Where files were damaged on
//! purpose, the ledger is told which offsets were hit ([`Ledger::forgive`]): those records may be missing, but what is
//! given out as good is judged like any other.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use protocol::ErrorCode;
use protocol::batch::{self, BatchHeader, RawBatch};

use crate::wire::Wire;

const FETCH_BYTES: i32 = 1 << 20;
const PROBE_BYTES: i32 = 4096;
const MAX_DECOMPRESSED: usize = 4 << 20;
/// More than a batch of the load takes.
const BATCH_BYTES: u64 = 16 * 1024;

/// A record's value: which life of its producer, which number in it, and how long it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Value {
    /// Rises whenever the producer begins anew.
    pub life: u32,
    /// Counts from 0 in each life.
    pub sequence: i32,
    /// Bytes that say nothing.
    pub padding: usize,
}

impl Value {
    /// What is written into the record.
    pub fn text(self) -> String {
        format!("{}/{}/{}", self.life, self.sequence, "x".repeat(self.padding))
    }

    fn parse(text: &[u8]) -> Option<Value> {
        let mut parts = std::str::from_utf8(text).ok()?.split('/');
        let (life, sequence) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let padding = parts.next()?;
        padding.bytes().all(|b| b == b'x').then_some(Value { life, sequence, padding: padding.len() })
    }
}

/// What one partition acknowledged.
pub struct Ledger {
    topic: String,
    partition: i32,
    acknowledged: BTreeMap<i64, Value>,
    /// Acknowledged and damaged since.
    forgiven: BTreeMap<i64, Value>,
    /// Offsets of damaged batches.
    holes: Vec<Range<i64>>,
    /// What lies below was compared and only a whole look compares it again.
    verified: i64,
    log_start: i64,
}

impl Ledger {
    /// Of a partition that has acknowledged nothing.
    pub fn new(topic: &str, partition: i32) -> Ledger {
        Ledger {
            topic: topic.to_owned(),
            partition,
            acknowledged: BTreeMap::new(),
            forgiven: BTreeMap::new(),
            holes: Vec::new(),
            verified: 0,
            log_start: 0,
        }
    }

    /// Notes records that were acknowledged from `base` on.
    pub fn acknowledge(&mut self, base: i64, values: Vec<Value>) {
        for (offset, value) in (base..).zip(values) {
            let before = self.acknowledged.insert(offset, value);
            assert!(before.is_none(), "{self}: offset {offset} was given to {before:?} and to {value:?}");
        }
    }

    /// Acknowledged records that must be there.
    pub fn len(&self) -> usize {
        self.acknowledged.len()
    }

    /// Whether no record must be there.
    pub fn is_empty(&self) -> bool {
        self.acknowledged.is_empty()
    }

    /// The batch with these offsets was damaged.
    pub fn forgive(&mut self, offsets: Range<i64>) {
        for offset in offsets.clone() {
            if let Some(value) = self.acknowledged.remove(&offset) {
                self.forgiven.insert(offset, value);
            }
        }
        self.verified = self.verified.min(offsets.start);
        self.holes.push(offsets);
    }

    /// An acknowledged offset, to read at.
    pub fn any_offset(&self, number: u64) -> Option<i64> {
        let (first, last) = (*self.acknowledged.first_key_value()?.0, *self.acknowledged.last_key_value()?.0);
        let wanted = first + (number % (last - first + 1) as u64) as i64;
        self.acknowledged.range(wanted..).next().map(|(offset, _)| *offset)
    }

    /// Compares what is there with what was acknowledged since the last look, or with all of it. Gives how many bytes there are, not
    /// too few for those that were damaged, and the log start.
    pub fn verify(&mut self, wire: &mut Wire, whole: bool) -> (u64, i64) {
        let (from, found, bytes) = loop {
            self.note_log_start(wire);
            let from = if whole { self.log_start } else { self.verified.max(self.log_start) };
            if let Some((found, bytes)) = self.read(wire, from, i64::MAX) {
                break (from, found, bytes);
            }
        };
        self.check_order(&found);
        for (offset, value) in self.acknowledged.range(from..) {
            let there = found.get(offset);
            assert_eq!(there, Some(value), "{self}: offset {offset} was acknowledged");
        }
        self.check_places(&found);
        // What was not acknowledged yet may still be found again as a repetition.
        self.verified = self.acknowledged.last_key_value().map_or(0, |(offset, _)| *offset);
        let holes = self.holes.iter().filter(|hole| hole.end > from).count() as u64;
        (bytes + holes * BATCH_BYTES, self.log_start)
    }

    /// Reads once at `offset`, by whatever index there is, and compares.
    pub fn probe(&self, wire: &mut Wire, offset: i64) {
        let Some((found, _)) = self.read(wire, offset, offset + 1) else { return };
        assert_eq!(found.get(&offset), self.acknowledged.get(&offset), "{self}: a read at offset {offset}");
        self.check_places(&found);
    }

    /// Retention deletes from the front; what it deleted need not be there.
    fn note_log_start(&mut self, wire: &mut Wire) {
        let log_start = wire.log_start(&self.topic, self.partition).expect("an answer to ListOffsets");
        assert!(log_start >= self.log_start, "{self}: the log start went back to {log_start}");
        self.log_start = log_start;
        self.acknowledged = self.acknowledged.split_off(&log_start);
    }

    /// The records from `from` on, up to the batch before `to`, with the bytes they take; nothing if retention deleted
    /// some of them meanwhile.
    fn read(&self, wire: &mut Wire, from: i64, to: i64) -> Option<(BTreeMap<i64, Value>, u64)> {
        let (mut found, mut read, mut next) = (BTreeMap::new(), 0, from);
        let mut end = to;
        let max_bytes = if to == i64::MAX { FETCH_BYTES } else { PROBE_BYTES };
        while next < end {
            let (error, high_watermark, bytes) =
                wire.fetch(&self.topic, self.partition, next, max_bytes).expect("a fetch");
            if error == ErrorCode::CORRUPT_MESSAGE {
                next = self.after_hole(next, "CORRUPT_MESSAGE");
                continue;
            }
            if error == ErrorCode::OFFSET_OUT_OF_RANGE
                && wire.log_start(&self.topic, self.partition).expect("an answer to ListOffsets") > next
            {
                return None;
            }
            assert_eq!(error, ErrorCode::NONE, "{self}: fetch at {next}");
            end = end.min(high_watermark);
            let before = next;
            let mut rest = &bytes[..];
            while let Ok(Some(size)) = batch::batch_size(rest)
                && size <= rest.len()
            {
                let Some(header) = good_batch(&rest[..size], &mut found) else { break };
                assert!(
                    header.base_offset <= next || self.is_damaged(next..header.base_offset),
                    "{self}: nothing between {next} and {}",
                    header.base_offset
                );
                next = next.max(header.next_offset());
                read += size as u64;
                rest = &rest[size..];
            }
            if next == before && next < end {
                next = self.after_hole(next, "no good batch");
            }
        }
        Some((found, read))
    }

    fn after_hole(&self, offset: i64, what: &str) -> i64 {
        let end = self.holes.iter().filter(|hole| hole.contains(&offset)).map(|hole| hole.end).max();
        end.unwrap_or_else(|| panic!("{self}: {what} at {offset}, where nothing was damaged"))
    }

    fn is_damaged(&self, offsets: Range<i64>) -> bool {
        self.holes.iter().any(|hole| hole.start < offsets.end && offsets.start < hole.end)
    }

    /// One producer in order: its records follow each other without a gap or a repetition.
    fn check_order(&self, found: &BTreeMap<i64, Value>) {
        for ((offset, value), (after, next)) in found.iter().zip(found.iter().skip(1)) {
            let what = format!("{self}: {value:?} at {offset}, {next:?} at {after}");
            assert!((next.life, next.sequence) > (value.life, value.sequence), "{what}");
            let follows = match next.life == value.life {
                true => next.sequence == value.sequence + 1,
                false => next.sequence == 0,
            };
            let whole = follows && *after == offset + 1;
            assert!(whole || self.is_damaged(*offset..after + 1), "{what}");
        }
    }

    /// No record is given out at another offset than its own, damaged or not.
    fn check_places(&self, found: &BTreeMap<i64, Value>) {
        let known: HashMap<&Value, i64> =
            self.forgiven.iter().map(|(offset, value)| (value, *offset)).collect();
        for (offset, value) in found {
            let own = known.get(value).copied().unwrap_or(*offset);
            assert_eq!(own, *offset, "{self}: {value:?} is given out at a wrong offset");
        }
    }
}

impl std::fmt::Display for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// Adds the records of a batch if a client would take it: the checksum is right and everything can be decoded.
fn good_batch(bytes: &[u8], found: &mut BTreeMap<i64, Value>) -> Option<BatchHeader> {
    batch::verify_crc(bytes).ok()?;
    let raw = RawBatch { position: 0, bytes };
    let header = raw.header().ok()?;
    let mut scratch = Vec::new();
    for record in raw.open_records(MAX_DECOMPRESSED, &mut scratch).ok()? {
        let record = record.ok()?;
        let value = Value::parse(record.value?).expect("a batch with the right checksum holds what was sent");
        found.insert(header.base_offset + i64::from(record.offset_delta), value);
    }
    Some(header)
}
