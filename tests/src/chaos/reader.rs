//! Consumers that read to the high watermark, from leaders or from any replica, and note what they saw.

use std::collections::BTreeMap;
use std::io;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use protocol::ErrorCode;
use protocol::batch::{self, RawBatch};
use protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use protocol::messages::{BrokerId, FetchRequest, ListOffsetsRequest};

use super::directory::{Addresses, Directory};
use crate::history::{Event, History, Micros, Place, Value, now};
use crate::random::Random;
use crate::wire::{Wire, name};

/// The latest offset.
const LATEST: i64 = -1;
/// How long a fetch waits for records.
const WAIT_MS: i32 = 20;
const MAX_BYTES: i32 = 1 << 20;
const MAX_DECOMPRESSED: usize = 4 << 20;
const PAUSE: Duration = Duration::from_millis(15);
/// How long readers have to reach the end.
const CATCH_UP: Duration = Duration::from_secs(30);

/// Where the partitions end, once nothing is written any more.
pub type Ends = Mutex<Option<BTreeMap<i32, i64>>>;

/// One consumer of some partitions of a topic.
pub struct Reader {
    process: u32,
    topic: String,
    positions: BTreeMap<i32, i64>,
    /// Reads from any replica; else from leaders, with their epochs, and asks for the latest offsets as well.
    anywhere: bool,
    directory: Directory,
    history: History,
}

impl Reader {
    /// A reader that begins at the first offset.
    pub fn new(
        process: u32,
        topic: &str,
        partitions: impl Iterator<Item = i32>,
        anywhere: bool,
        brokers: &Addresses,
        history: &History,
        random: Random,
    ) -> Reader {
        Reader {
            process,
            topic: topic.to_owned(),
            positions: partitions.map(|partition| (partition, 0)).collect(),
            anywhere,
            directory: Directory::new(brokers, topic, random),
            history: history.clone(),
        }
    }

    /// Reads until the ends are known and reached.
    pub fn run(&mut self, ends: &Ends) {
        let mut deadline = None;
        loop {
            let partitions: Vec<i32> = self.positions.keys().copied().collect();
            for partition in partitions {
                if self.step(partition).is_err() {
                    self.directory.refresh();
                }
            }
            if let Some(ends) = &*ends.lock().expect("nobody panicked") {
                let deadline = *deadline.get_or_insert_with(|| Instant::now() + CATCH_UP);
                let done = self.positions.iter().all(|(partition, at)| *at >= ends[partition]);
                if done || Instant::now() > deadline {
                    return;
                }
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Every other reader reads up to the last stable offset (`read_committed`), which must keep the same rules.
    fn isolation(&self) -> i8 {
        (self.process % 2) as i8
    }

    /// One read of a partition.
    fn step(&mut self, partition: i32) -> io::Result<()> {
        let leader = self.directory.leader(partition);
        let (node, epoch) = match leader {
            _ if self.anywhere => (self.directory.any(), -1),
            Some(leader) => (leader.node, leader.epoch),
            None => return Err(io::ErrorKind::NotFound.into()),
        };
        let place = Place::new(&self.topic, partition);
        let position = self.positions[&partition];
        let isolation = self.isolation();
        let mut fetch = Fetch { process: self.process, isolation, node, place: &place, epoch, position };
        let history = &self.history;
        position_after(self.directory.with(node, |wire| fetch.once(wire, history))?, |next| {
            self.positions.insert(partition, next);
        })?;
        if !self.anywhere {
            let (began, process) = (now(), self.process);
            let latest = self.directory.with(node, |wire| latest(wire, &place, epoch, isolation))?;
            self.history.add(Event::Ended { began, at: now(), process, place, epoch, latest });
        }
        Ok(())
    }
}

/// An error answer is an error, a new position is taken.
fn position_after(answer: Result<i64, ErrorCode>, take: impl FnOnce(i64)) -> io::Result<()> {
    answer.map(take).map_err(|error| io::Error::other(format!("{error:?}")))
}

/// One partition's fetch.
struct Fetch<'a> {
    process: u32,
    isolation: i8,
    node: usize,
    place: &'a Place,
    /// -1: whatever epoch the broker is in.
    epoch: i32,
    position: i64,
}

impl Fetch<'_> {
    /// Fetches and notes; gives the position after it, or the broker's error.
    fn once(&mut self, wire: &mut Wire, history: &History) -> io::Result<Result<i64, ErrorCode>> {
        let partition = FetchPartition::default()
            .with_partition(self.place.partition)
            .with_current_leader_epoch(self.epoch)
            .with_fetch_offset(self.position)
            .with_partition_max_bytes(MAX_BYTES);
        let topic =
            FetchTopic::default().with_topic(name(&self.place.topic)).with_partitions(vec![partition]);
        let request = FetchRequest::default()
            .with_max_wait_ms(WAIT_MS)
            .with_min_bytes(1)
            .with_max_bytes(MAX_BYTES)
            .with_session_epoch(-1)
            .with_isolation_level(self.isolation)
            .with_topics(vec![topic]);
        let began = now();
        let answer = wire.call(12, &request)?;
        let Some(partition) = answer.responses.first().and_then(|topic| topic.partitions.first()) else {
            return Ok(Err(ErrorCode(answer.error_code)));
        };
        let error = ErrorCode(partition.error_code);
        if error != ErrorCode::NONE {
            return Ok(Err(error));
        }
        let read = read(partition.records.as_deref().unwrap_or_default(), self.position);
        history.add(self.polled(began, partition.high_watermark, read));
        Ok(Ok(self.position))
    }

    fn polled(&mut self, began: Micros, high_watermark: i64, read: Records) -> Event {
        let position = self.position;
        if let Some((last, _)) = read.records.last() {
            self.position = last + 1;
        }
        Event::Polled {
            began,
            at: now(),
            process: self.process,
            generation: 0,
            source: Some(self.node),
            place: self.place.clone(),
            position: Some(position),
            high_watermark: Some(high_watermark),
            records: read.records,
            epochs: read.epochs,
        }
    }
}

/// Records from a position on, and the epochs of their batches.
#[derive(Default)]
struct Records {
    records: Vec<(i64, Option<Value>)>,
    epochs: Vec<(i64, i32)>,
}

/// What a consumer makes of the bytes; a batch that cannot be read is a record that nobody wrote.
fn read(bytes: &[u8], position: i64) -> Records {
    let (mut read, mut rest) = (Records::default(), bytes);
    while let Ok(Some(size)) = batch::batch_size(rest)
        && size <= rest.len()
    {
        let (one, others) = rest.split_at(size);
        rest = others;
        if add(one, position, &mut read).is_none() {
            read.records.push((position, None));
            break;
        }
    }
    read
}

fn add(bytes: &[u8], position: i64, read: &mut Records) -> Option<()> {
    batch::verify_crc(bytes).ok()?;
    let raw = RawBatch { position: 0, bytes };
    let header = raw.header().ok()?;
    read.epochs.push((header.base_offset, header.partition_leader_epoch));
    let mut scratch = Vec::new();
    for record in raw.open_records(MAX_DECOMPRESSED, &mut scratch).ok()? {
        let record = record.ok()?;
        let offset = header.base_offset + i64::from(record.offset_delta);
        if offset >= position {
            read.records.push((offset, record.value.and_then(Value::parse)));
        }
    }
    Some(())
}

/// ListOffsets of the latest offset from the leader of this epoch.
pub fn latest(wire: &mut Wire, place: &Place, epoch: i32, isolation: i8) -> io::Result<i64> {
    let partition = ListOffsetsPartition::default()
        .with_partition_index(place.partition)
        .with_current_leader_epoch(epoch)
        .with_timestamp(LATEST);
    let topic = ListOffsetsTopic::default().with_name(name(&place.topic)).with_partitions(vec![partition]);
    let request = ListOffsetsRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_isolation_level(isolation)
        .with_topics(vec![topic]);
    let answer = wire.call(5, &request)?;
    let partition = answer.topics.first().and_then(|topic| topic.partitions.first());
    match partition {
        Some(partition) if partition.error_code == 0 => Ok(partition.offset),
        _ => Err(io::Error::other("no answer for the partition")),
    }
}

/// Reads a replica from its start to `end`; what it did not give out before the deadline is missing in the history.
pub fn read_whole(
    process: u32,
    place: &Place,
    (node, address): &(usize, String),
    end: i64,
    history: &History,
) {
    let (began, deadline) = (now(), Instant::now() + CATCH_UP);
    let mut fetch = Fetch { process, isolation: 0, node: *node, place, epoch: -1, position: 0 };
    let mut wire = None;
    while fetch.position < end && Instant::now() < deadline {
        let open = wire.take().map_or_else(|| Wire::connect(address), Ok);
        let Ok(mut open) = open else { continue };
        let done = fetch.once(&mut open, history);
        if done.is_ok() {
            wire = Some(open);
        }
        if !matches!(done, Ok(Ok(_))) {
            std::thread::sleep(PAUSE);
        }
    }
    history.add(Event::ReadWhole { began, process, place: place.clone(), node: *node });
}
