//! kill -9 at a random moment under load, round after round: what was acknowledged is there, at its offset, once.
//!
//! Three idempotent producers (up to five batches in flight, resent after each kill with the same sequence numbers),
//! one that creates topics, one that commits offsets. Rounds: `MINIKAFKA_KILL_ROUNDS`, or 8.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use minikafka_tests::node::{Node, Target};
use minikafka_tests::random::Random;
use minikafka_tests::wire::{Wire, name, produce_request};
use protocol::batch::{self, BatchBuilder};
use protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use protocol::messages::{FindCoordinatorRequest, GroupId, OffsetCommitRequest, OffsetFetchRequest};
use protocol::{ErrorCode, StrBytes};

const TOPIC: &str = "kill";
const PRODUCERS: i32 = 3;
const IN_FLIGHT: usize = 5;

/// One batch that was sent and not yet acknowledged.
#[derive(Clone)]
struct Sent {
    sequence: i32,
    values: Vec<Value>,
    batch: Bytes,
}

/// One idempotent producer to one partition, across all kills.
struct Producer {
    partition: i32,
    producer_id: i64,
    next_sequence: i32,
    in_flight: VecDeque<Sent>,
    acknowledged: BTreeMap<i64, Value>,
    /// What lies below this offset was compared; only a full look compares it again.
    verified: i64,
    random: Random,
}

/// A record's value, by which it is known again: its sequence number and how long it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Value {
    sequence: i32,
    padding: usize,
}

impl Value {
    fn text(self) -> String {
        format!("{}/{}", self.sequence, "x".repeat(self.padding))
    }

    fn parse(text: &[u8]) -> Value {
        let text = std::str::from_utf8(text).expect("values are text");
        let (sequence, padding) = text.split_once('/').expect("values have two parts");
        Value { sequence: sequence.parse().expect("the first part is a number"), padding: padding.len() }
    }
}

impl Producer {
    fn new(partition: i32, random: Random) -> Producer {
        Producer {
            partition,
            producer_id: -1,
            next_sequence: 0,
            in_flight: VecDeque::new(),
            acknowledged: BTreeMap::new(),
            verified: 0,
            random,
        }
    }

    /// Produces until the connection breaks; an error answer is a failure of the test.
    fn run(&mut self, address: &str) -> io::Result<()> {
        let mut wire = Wire::connect(address)?;
        if self.producer_id < 0 {
            let answer = wire.init_producer_id()?;
            check("InitProducerId", ErrorCode(answer.error_code))?;
            self.producer_id = answer.producer_id.0;
        }
        let mut ids = VecDeque::new();
        for sent in &self.in_flight {
            ids.push_back(wire.send(9, &produce_request(TOPIC, self.partition, sent.batch.clone()))?);
        }
        loop {
            while ids.len() < IN_FLIGHT {
                let sent = self.next_batch();
                let request = produce_request(TOPIC, self.partition, sent.batch.clone());
                self.in_flight.push_back(sent);
                ids.push_back(wire.send(9, &request)?);
            }
            let (error, base) = wire.produced(*ids.front().expect("requests are in flight"))?;
            ids.pop_front();
            let sequence = self.in_flight.front().map_or(-1, |s| s.sequence);
            check(&format!("partition {} sequence {sequence}", self.partition), error)?;
            let sent = self.in_flight.pop_front().expect("an answer belongs to a batch");
            for (offset, value) in (base..).zip(sent.values) {
                let before = self.acknowledged.insert(offset, value);
                assert!(
                    before.is_none(),
                    "partition {}: offset {offset} was given to {before:?} and to {value:?}",
                    self.partition
                );
            }
        }
    }

    fn next_batch(&mut self) -> Sent {
        let count = self.random.between(1, 20) as i32;
        let padding = self.random.between(0, 400) as usize;
        let sequence = self.next_sequence;
        self.next_sequence += count;
        let values: Vec<Value> =
            (sequence..sequence + count).map(|sequence| Value { sequence, padding }).collect();
        let mut builder = BatchBuilder::new(0).producer(self.producer_id, 0, sequence);
        for value in &values {
            builder.push_pair(now_ms(), None, Some(value.text().as_bytes()));
        }
        Sent { sequence, values, batch: builder.build().freeze() }
    }

    /// Reads the partition from where it was compared last, or from its start, and compares it with what was
    /// acknowledged.
    fn verify(&mut self, wire: &mut Wire, from: i64) {
        let mut found: BTreeMap<i64, Value> = BTreeMap::new();
        let mut next = from;
        loop {
            let (error, high_watermark, bytes) =
                wire.fetch(TOPIC, self.partition, next, 4 << 20).expect("a fetch");
            assert_eq!(error, ErrorCode::NONE, "fetch of partition {} at {next}", self.partition);
            for batch in batch::batches(&bytes) {
                let batch = batch.expect("fetched batches are whole");
                let first = batch.header().expect("fetched batches have a header").base_offset;
                for record in batch.records().expect("nothing was compressed") {
                    let record = record.expect("fetched records are whole");
                    next = first + i64::from(record.offset_delta);
                    found.insert(next, Value::parse(record.value.unwrap_or_default()));
                    next += 1;
                }
            }
            if next >= high_watermark {
                break;
            }
        }
        // One producer in order: its records follow each other without a gap or a repetition.
        for ((offset, value), (after, next)) in found.iter().zip(found.iter().skip(1)) {
            let what = format!("partition {}: {value:?} at {offset}, {next:?} at {after}", self.partition);
            assert!(next.sequence == value.sequence + 1 && *after == offset + 1, "{what}");
        }
        for (offset, value) in self.acknowledged.range(from..) {
            let there = found.get(offset);
            assert_eq!(there, Some(value), "partition {} offset {offset} was acknowledged", self.partition);
        }
        // What was not acknowledged yet may still be found again as a repetition.
        self.verified = self.acknowledged.last_key_value().map_or(0, |(offset, _)| *offset);
    }
}

/// Records need the time of day: a producer whose last record is older than a day is forgotten at a restart.
fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64)
}

/// Creates topics until the connection breaks.
fn create_topics(address: &str, created: &mut Vec<String>) -> io::Result<()> {
    let mut wire = Wire::connect(address)?;
    loop {
        let topic = format!("made-{}", created.len());
        let error = wire.create_topic(&topic, 1)?;
        // A kill between the record and the answer leaves the topic behind.
        assert!(matches!(error, ErrorCode::NONE | ErrorCode::TOPIC_ALREADY_EXISTS), "{topic}: {error:?}");
        created.push(topic);
    }
}

/// Commits rising offsets of a group without members until the connection breaks.
fn commit_offsets(address: &str, committed: &mut i64) -> io::Result<()> {
    let mut wire = Wire::connect(address)?;
    loop {
        let partition = OffsetCommitRequestPartition::default()
            .with_partition_index(0)
            .with_committed_offset(*committed + 1)
            .with_committed_metadata(Some(StrBytes::from_static_str("")));
        let topic =
            OffsetCommitRequestTopic::default().with_name(name(TOPIC)).with_partitions(vec![partition]);
        let request = OffsetCommitRequest::default()
            .with_group_id(GroupId(StrBytes::from_static_str("committer")))
            .with_generation_id_or_member_epoch(-1)
            .with_topics(vec![topic]);
        let error = ErrorCode(wire.call(8, &request)?.topics[0].partitions[0].error_code);
        if error == ErrorCode::NONE {
            *committed += 1;
        } else {
            assert!(error.is_retriable(), "commit: {error:?}");
        }
    }
}

fn committed_offset(wire: &mut Wire) -> i64 {
    let topic = OffsetFetchRequestTopics::default().with_name(name(TOPIC)).with_partition_indexes(vec![0]);
    let group = OffsetFetchRequestGroup::default()
        .with_group_id(GroupId(StrBytes::from_static_str("committer")))
        .with_topics(Some(vec![topic]));
    let request = OffsetFetchRequest::default().with_groups(vec![group]);
    loop {
        let answer = wire.call(8, &request).expect("an answer to OffsetFetch");
        let error = ErrorCode(answer.groups[0].error_code);
        if error == ErrorCode::NONE {
            return answer.groups[0].topics[0].partitions[0].committed_offset;
        }
        assert!(error.is_retriable(), "OffsetFetch: {error:?}");
    }
}

#[test]
fn kill_under_load() {
    let mut random = Random::from_env("kill_under_load");
    let rounds: u32 = std::env::var("MINIKAFKA_KILL_ROUNDS").ok().and_then(|r| r.parse().ok()).unwrap_or(8);
    // Small segments and indexes, so that kills also meet rolls; few offsets partitions, so that loading is quick.
    let mut node = Node::fresh(
        Target::from_env(),
        &[("log.segment.bytes", "1048576"), ("log.index.size.max.bytes", "4096")],
    );
    let address = node.bootstrap();
    let mut producers: Vec<Producer> = (0..PRODUCERS).map(|p| Producer::new(p, random.fork())).collect();
    let (mut created, mut committed) = (Vec::new(), -1);
    let mut wire = Wire::connect(&address).expect("the node listens");
    assert_eq!(wire.create_topic(TOPIC, PRODUCERS).expect("an answer"), ErrorCode::NONE);
    find_coordinator(&mut wire);
    for round in 0..rounds {
        let moment = Duration::from_micros(random.between(5_000, 400_000));
        let killed = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for producer in &mut producers {
                let (address, killed) = (&address, &killed);
                scope.spawn(move || until_killed(killed, || producer.run(address)));
            }
            scope.spawn(|| until_killed(&killed, || create_topics(&address, &mut created)));
            scope.spawn(|| until_killed(&killed, || commit_offsets(&address, &mut committed)));
            std::thread::sleep(moment);
            killed.store(true, Ordering::SeqCst);
            node.kill();
        });
        node.start();
        let mut wire = Wire::connect(&address).expect("the node listens again");
        // Everything now and then and at the end, else what is new.
        let full = round % 25 == 24 || round + 1 == rounds;
        for producer in &mut producers {
            let from = if full { 0 } else { producer.verified };
            producer.verify(&mut wire, from);
        }
        let old = if full { 0 } else { created.len().saturating_sub(100) };
        for topic in &created[old..] {
            let errors = wire.metadata(topic).expect("an answer to Metadata");
            assert!(errors.iter().all(|e| *e == ErrorCode::NONE), "{topic} was created: {errors:?}");
        }
        let found = committed_offset(&mut wire);
        assert!(found >= committed, "round {round}: offset {committed} was committed, {found} is there");
        let records: usize = producers.iter().map(|p| p.acknowledged.len()).sum();
        println!(
            "round {round}: killed after {moment:?}; {records} records, {} topics, {committed} commits",
            created.len()
        );
    }
    node.stop();
}

/// An error that may be tried again ends the connection; only Apache Kafka gives one right after its start.
fn check(what: &str, error: ErrorCode) -> io::Result<()> {
    let early = Target::from_env() == Target::Apache && error.is_retriable();
    assert!(error == ErrorCode::NONE || early, "{what}: {error:?}");
    if early { Err(io::ErrorKind::Interrupted.into()) } else { Ok(()) }
}

/// The load may only end because the node was killed.
fn until_killed(killed: &AtomicBool, mut load: impl FnMut() -> io::Result<()>) {
    loop {
        let error = load().expect_err("the load ends with its connection");
        if killed.load(Ordering::SeqCst) {
            return;
        }
        assert_eq!(error.kind(), io::ErrorKind::Interrupted, "the connection broke before the kill: {error}");
    }
}

/// Makes the offsets topic exist.
fn find_coordinator(wire: &mut Wire) {
    let key = StrBytes::from_static_str("committer");
    let request = FindCoordinatorRequest::default().with_key_type(0).with_coordinator_keys(vec![key]);
    loop {
        let answer = wire.call(4, &request).expect("an answer to FindCoordinator");
        let error = ErrorCode(answer.coordinators[0].error_code);
        if error == ErrorCode::NONE {
            return;
        }
        assert!(error.is_retriable(), "FindCoordinator: {error:?}");
    }
}
