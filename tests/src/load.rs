//! Load for a node that is going to be killed: producers, a committer, a maker of topics, each with what was
//! acknowledged to it. Each runs until its connection breaks and goes on where it was in the next round.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use protocol::batch::BatchBuilder;
use protocol::compress::Codec;
use protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use protocol::messages::{FindCoordinatorRequest, GroupId, OffsetCommitRequest, OffsetFetchRequest};
use protocol::{ErrorCode, StrBytes};
use uuid::Uuid;

use crate::ledger::{Ledger, Value};
use crate::node::Target;
use crate::random::Random;
use crate::wire::{Wire, name, produce_request};

const IN_FLIGHT: usize = 5;
const GROUP: &str = "committer";
/// Topics beyond this number are deleted again.
const TOPICS_KEPT: usize = 40;

/// One batch that was sent and not yet acknowledged.
struct Sent {
    values: Vec<Value>,
    batch: Bytes,
}

/// One producer to one partition, across all kills.
pub struct Producer {
    topic: String,
    partition: i32,
    codec: Option<Codec>,
    /// Sends again what was not acknowledged, with the sequence numbers it had. Others begin a new life.
    idempotent: bool,
    producer_id: i64,
    life: u32,
    next_sequence: i32,
    in_flight: VecDeque<Sent>,
    random: Random,
    /// What the partition acknowledged.
    pub ledger: Ledger,
}

impl Producer {
    /// A producer that has sent nothing yet.
    pub fn new(
        topic: &str,
        partition: i32,
        idempotent: bool,
        codec: Option<Codec>,
        random: Random,
    ) -> Producer {
        Producer {
            topic: topic.to_owned(),
            partition,
            codec,
            idempotent,
            producer_id: -1,
            life: 0,
            next_sequence: 0,
            in_flight: VecDeque::new(),
            random,
            ledger: Ledger::new(topic, partition),
        }
    }

    /// What was sent and not acknowledged is not sent again; an idempotent producer gets a new id.
    pub fn begin_anew(&mut self) {
        self.in_flight.clear();
        self.life += 1;
        self.next_sequence = 0;
        self.producer_id = -1;
    }

    /// Produces until the connection breaks; an error answer is a failure of the test.
    pub fn run(&mut self, address: &str) -> io::Result<()> {
        let mut wire = Wire::connect(address)?;
        if !self.idempotent {
            self.begin_anew();
        } else if self.producer_id < 0 {
            let answer = wire.init_producer_id()?;
            check("InitProducerId", ErrorCode(answer.error_code))?;
            self.producer_id = answer.producer_id.0;
        }
        let mut ids = VecDeque::new();
        for sent in &self.in_flight {
            ids.push_back(wire.send(9, &produce_request(&self.topic, self.partition, sent.batch.clone()))?);
        }
        loop {
            while ids.len() < IN_FLIGHT {
                let sent = self.next_batch();
                let request = produce_request(&self.topic, self.partition, sent.batch.clone());
                self.in_flight.push_back(sent);
                ids.push_back(wire.send(9, &request)?);
            }
            let (error, base) = wire.produced(*ids.front().expect("requests are in flight"))?;
            ids.pop_front();
            let first = self.in_flight.front().map(|sent| sent.values[0]);
            check(&format!("{} {first:?}", self.ledger), error)?;
            let sent = self.in_flight.pop_front().expect("an answer belongs to a batch");
            self.ledger.acknowledge(base, sent.values);
            // So that a thousand rounds neither fill the disk nor take the whole processor.
            std::thread::sleep(Duration::from_micros(self.random.between(0, 2_000)));
        }
    }

    fn next_batch(&mut self) -> Sent {
        let count = self.random.between(1, 20) as i32;
        let padding = self.random.between(0, 400) as usize;
        let (life, first) = (self.life, self.next_sequence);
        self.next_sequence += count;
        let values: Vec<Value> =
            (first..first + count).map(|sequence| Value { life, sequence, padding }).collect();
        let mut builder = BatchBuilder::new(0);
        if self.idempotent {
            builder = builder.producer(self.producer_id, 0, first);
        }
        if let Some(codec) = self.codec {
            builder = builder.codec(codec, None);
        }
        for value in &values {
            builder.push_pair(now_ms(), None, Some(value.text().as_bytes()));
        }
        Sent { values, batch: builder.build().freeze() }
    }
}

/// Records need the time of day: a producer whose last record is older than a day is forgotten at a restart.
fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64)
}

/// Creates topics and deletes old ones.
pub struct TopicMaker {
    made: u64,
    live: BTreeMap<String, Uuid>,
    deleted: BTreeSet<String>,
    random: Random,
}

impl TopicMaker {
    /// Has made none.
    pub fn new(random: Random) -> TopicMaker {
        TopicMaker { made: 0, live: BTreeMap::new(), deleted: BTreeSet::new(), random }
    }

    /// Topics made so far.
    pub fn made(&self) -> u64 {
        self.made
    }

    /// Creates and deletes until the connection breaks.
    pub fn run(&mut self, address: &str) -> io::Result<()> {
        let mut wire = Wire::connect(address)?;
        loop {
            let topic = format!("made-{:06}", self.made);
            // A kill between the record and the answer leaves the topic behind: the next name is another.
            self.made += 1;
            let (error, id) = wire.create_topic_with_id(&topic, 1)?;
            assert_eq!(error, ErrorCode::NONE, "{topic}");
            self.live.insert(topic, id);
            if self.live.len() > TOPICS_KEPT
                && let Some((oldest, _)) = self.live.pop_first()
            {
                assert_eq!(wire.delete_topic(&oldest)?, ErrorCode::NONE, "{oldest}");
                self.deleted.insert(oldest);
            }
            std::thread::sleep(Duration::from_micros(self.random.between(0, 30_000)));
        }
    }

    /// Every topic whose creation was acknowledged is there, with its id, and none whose deletion was.
    pub fn verify(&self, wire: &mut Wire) {
        let there = wire.all_topics().expect("an answer to Metadata");
        for (topic, id) in &self.live {
            assert_eq!(there.get(topic), Some(id), "{topic} was created");
        }
        let risen = self.deleted.iter().find(|topic| there.contains_key(*topic));
        assert_eq!(risen, None, "a topic was deleted");
    }
}

/// Commits rising offsets of a group without members.
pub struct Committer {
    topic: String,
    /// The last offset that was acknowledged, -1 before.
    pub committed: i64,
    random: Random,
}

impl Committer {
    /// Commits offsets of partition 0 of `topic`.
    pub fn new(topic: &str, random: Random) -> Committer {
        Committer { topic: topic.to_owned(), committed: -1, random }
    }

    /// Commits until the connection breaks.
    pub fn run(&mut self, address: &str) -> io::Result<()> {
        let mut wire = Wire::connect(address)?;
        loop {
            let partition = OffsetCommitRequestPartition::default()
                .with_partition_index(0)
                .with_committed_offset(self.committed + 1)
                .with_committed_metadata(Some(StrBytes::from_static_str("")));
            let topic = OffsetCommitRequestTopic::default()
                .with_name(name(&self.topic))
                .with_partitions(vec![partition]);
            let request = OffsetCommitRequest::default()
                .with_group_id(GroupId(StrBytes::from_static_str(GROUP)))
                .with_generation_id_or_member_epoch(-1)
                .with_topics(vec![topic]);
            let error = ErrorCode(wire.call(8, &request)?.topics[0].partitions[0].error_code);
            if error == ErrorCode::NONE {
                self.committed += 1;
            } else {
                assert!(error.is_retriable(), "commit: {error:?}");
            }
            std::thread::sleep(Duration::from_micros(self.random.between(0, 4_000)));
        }
    }

    /// The newest acknowledged offset, or one committed after it, is there. Of damaged offsets `left` is what is still
    /// to be found.
    pub fn verify(&mut self, wire: &mut Wire, left: Option<i64>) {
        let found = self.fetch(wire);
        let expected = left.map_or(self.committed, |left| left.min(self.committed));
        assert!(found >= expected, "offset {expected} was committed, {found} is there");
        self.committed = found;
    }

    fn fetch(&self, wire: &mut Wire) -> i64 {
        let topic =
            OffsetFetchRequestTopics::default().with_name(name(&self.topic)).with_partition_indexes(vec![0]);
        let group = OffsetFetchRequestGroup::default()
            .with_group_id(GroupId(StrBytes::from_static_str(GROUP)))
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

    /// Makes the offsets topic exist.
    pub fn find_coordinator(wire: &mut Wire) {
        let key = StrBytes::from_static_str(GROUP);
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
}

/// An error that may be tried again ends the connection; only Apache Kafka gives one right after its start.
fn check(what: &str, error: ErrorCode) -> io::Result<()> {
    let early = Target::from_env() == Target::Apache && error.is_retriable();
    assert!(error == ErrorCode::NONE || early, "{what}: {error:?}");
    if early { Err(io::ErrorKind::Interrupted.into()) } else { Ok(()) }
}
