//! What clients of a cluster saw while things went wrong, as a list of events, and the rules that it must keep.
//!
//! Every value is sent once by one process and tells which it is, so that a record that is lost, moved, doubled or made
//! up can be told. Times are microseconds of one clock for all processes of this machine. A rule that cannot be decided
//! from what was seen is kept: a request without an answer may or may not have had its effect.
//!
//! The rules are named as in the usual list of properties of a log (P1 to P22), one file each: its statement, where it
//! comes from, and a test that a history that breaks it is found.

use std::fmt;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

pub mod facts;
#[cfg(test)]
mod made_up;
pub mod p01_acknowledged_writes_stay;
pub mod p02_everything_becomes_readable;
pub mod p03_one_value_per_offset;
pub mod p04_no_duplicates;
pub mod p05_no_phantom_reads;
pub mod p09_consumers_skip_nothing;
pub mod p10_producers_keep_their_order;
pub mod p11_writes_become_visible;
pub mod p12_the_end_never_retreats;
pub mod p16_commits_stay;
pub mod p18_one_leader_per_epoch;
pub mod p19_topics_stay;
pub mod p20_replicas_agree;
pub mod p22_service_returns;

use facts::Facts;

/// Microseconds of the system's monotonic clock, which all processes share.
pub type Micros = u64;

/// The time now.
pub fn now() -> Micros {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000 + now.tv_nsec as u64 / 1000
}

/// A partition.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Its topic.
    pub topic: Arc<str>,
    /// Its index.
    pub partition: i32,
}

impl Place {
    /// A partition of a topic.
    pub fn new(topic: &str, partition: i32) -> Place {
        Place { topic: topic.into(), partition }
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// A record's value: who sent it, in which life, and its number in it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Value {
    /// The process.
    pub process: u32,
    /// Rises when the process begins anew, with a new producer id.
    pub life: u32,
    /// Counts the values of a life.
    pub number: u32,
}

impl Value {
    /// A value from the text in a record; what follows the third number is padding.
    pub fn parse(text: &[u8]) -> Option<Value> {
        let mut parts = std::str::from_utf8(text).ok()?.splitn(4, '.');
        let (process, life) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let number = parts.next()?.parse().ok()?;
        parts.next()?;
        Some(Value { process, life, number })
    }

    /// The text in a record.
    pub fn text(self, padding: usize) -> String {
        format!("{self:?}.{}", "x".repeat(padding))
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.process, self.life, self.number)
    }
}

/// What became of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was acknowledged at this offset; by which broker, in which epoch it was thought to lead, if the client knows.
    Acknowledged {
        /// Offset of the first record; `None` if the broker says only that it is there already.
        offset: Option<i64>,
        /// The broker and its leader epoch.
        leader: Option<(usize, i32)>,
    },
    /// It was not taken, for certain.
    Refused,
    /// The broker says that a batch before this one is missing, and all before it were acknowledged. It says the same of
    /// a batch that it has and does not remember.
    Forgotten,
    /// It may be there or not.
    Unknown,
}

/// A partition's copy on one node: base offset, last offset, leader epoch and checksum of each batch.
pub type Chain = Vec<(i64, i64, i32, u32)>;

/// Something that happened or was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A batch is sent for the first time.
    Sent {
        /// When.
        at: Micros,
        /// Where to.
        place: Place,
        /// Its records, in order.
        values: Vec<Value>,
        /// Whether the client sends it again with the same sequence numbers until it knows.
        idempotent: bool,
    },
    /// The end of the batch that begins with this value; a batch without it is of unknown outcome.
    Answered {
        /// When.
        at: Micros,
        /// The batch's first value.
        first: Value,
        /// What became of it.
        outcome: Outcome,
    },
    /// A consumer's read.
    Polled {
        /// When it was asked for.
        began: Micros,
        /// When the answer was there.
        at: Micros,
        /// The consumer.
        process: u32,
        /// Rises when the consumer's partitions are given to it anew.
        generation: u32,
        /// Who answered, if the consumer knows.
        source: Option<usize>,
        /// Where.
        place: Place,
        /// The offset that it wanted, if the consumer knows.
        position: Option<i64>,
        /// What was committed, as the broker says; `None` if the consumer does not know or the broker gave an error.
        high_watermark: Option<i64>,
        /// What came; `None` for a value that no process writes.
        records: Vec<(i64, Option<Value>)>,
        /// Leader epochs of the batches: first offset and epoch.
        epochs: Vec<(i64, i32)>,
    },
    /// All of a replica's records up to its high watermark were read, when everything was healed.
    ReadWhole {
        /// When the first read was asked for.
        began: Micros,
        /// The process that the reads have in their [`Event::Polled`].
        process: u32,
        /// The partition.
        place: Place,
        /// The replica.
        node: usize,
    },
    /// ListOffsets of the latest offset.
    Ended {
        /// When it was asked for.
        began: Micros,
        /// When the answer was there.
        at: Micros,
        /// The client, whose leader epochs only rise.
        process: u32,
        /// The partition.
        place: Place,
        /// The leader epoch that the client asked for and the broker accepted.
        epoch: i32,
        /// The answer.
        latest: i64,
    },
    /// A broker's view of a partition's leader.
    Led {
        /// When.
        at: Micros,
        /// Who says so.
        observer: usize,
        /// The partition.
        place: Place,
        /// The epoch.
        epoch: i32,
        /// Its leader.
        leader: usize,
    },
    /// A node's view of the active controller.
    Controlled {
        /// When.
        at: Micros,
        /// Who says so.
        observer: usize,
        /// The Raft epoch.
        epoch: i32,
        /// Its leader.
        leader: usize,
    },
    /// A topic was created or deleted, or the list of topics was read.
    Topics {
        /// When it was asked for.
        began: Micros,
        /// When the answer was there.
        at: Micros,
        /// What was done or seen.
        what: TopicEvent,
    },
    /// A group's offset was committed; the answer said so, or none came.
    Committed {
        /// When it was asked for.
        began: Micros,
        /// When the answer was there.
        at: Micros,
        /// The partition.
        place: Place,
        /// The offset.
        offset: i64,
        /// Whether it was acknowledged.
        acknowledged: bool,
    },
    /// The group's committed offset was read.
    CommitRead {
        /// When it was asked for.
        began: Micros,
        /// The partition.
        place: Place,
        /// The offset, -1 if there is none.
        offset: i64,
    },
    /// A replica's log as it lies on its disk, when everything was healed.
    Copied {
        /// The partition.
        place: Place,
        /// The replica.
        node: usize,
        /// What it holds.
        chain: Chain,
    },
    /// Something was broken.
    Faulted {
        /// When it was done.
        at: Micros,
        /// In words.
        what: String,
        /// Brokers, of those that hold a partition, that certainly cannot copy it from now to the next `Mending`.
        down: usize,
    },
    /// Something begins to be mended.
    Mending {
        /// When.
        at: Micros,
    },
    /// Everything is mended: from now on the cluster must recover.
    Healed {
        /// When.
        at: Micros,
    },
    /// A partition took a write and has all its replicas in sync after a [`Event::Healed`].
    Writable {
        /// When.
        at: Micros,
        /// The partition.
        place: Place,
    },
    /// A node ended, panicked or does not come up, without having been told to.
    Died {
        /// When it was found.
        at: Micros,
        /// The node.
        node: usize,
        /// What is known.
        why: String,
    },
}

/// What was done with topics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TopicEvent {
    /// It was created, with its id.
    Created(String, uuid::Uuid),
    /// Its deletion began; whether it happens is not known yet.
    Deleting(String),
    /// It was deleted.
    Deleted(String),
    /// A broker's list of all topics, when everything was healed.
    Listed(std::collections::BTreeMap<String, uuid::Uuid>),
}

/// The list of events, filled by many threads.
#[derive(Clone, Default)]
pub struct History(Arc<Mutex<Vec<Event>>>);

impl History {
    /// Adds an event.
    pub fn add(&self, event: Event) {
        self.0.lock().expect("no client panicked while it wrote").push(event);
    }

    /// All events so far.
    pub fn events(&self) -> Vec<Event> {
        self.0.lock().expect("no client panicked while it wrote").clone()
    }

    /// Writes the events, one a line.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        self.events().iter().try_for_each(|event| writeln!(out, "{event:?}"))
    }
}

/// How long things may take before they count as a violation; generous, since machines are loaded.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// From the acknowledgement of a write, or the end of all faults, to the write's being visible (P11).
    pub visible: Duration,
    /// From the end of all faults until every partition takes writes and is in sync (P22).
    pub recovered: Duration,
}

/// A rule: the name of the property, what it says, where it comes from, and the search for violations.
pub struct Rule {
    /// P1 to P22.
    pub name: &'static str,
    /// What must hold.
    pub statement: &'static str,
    /// Who says so.
    pub source: &'static str,
    /// Finds the violations.
    pub check: fn(&Facts) -> Vec<String>,
}

/// All rules.
pub const RULES: &[Rule] = &[
    p01_acknowledged_writes_stay::RULE,
    p02_everything_becomes_readable::RULE,
    p03_one_value_per_offset::RULE,
    p04_no_duplicates::RULE,
    p05_no_phantom_reads::RULE,
    p09_consumers_skip_nothing::RULE,
    p10_producers_keep_their_order::RULE,
    p11_writes_become_visible::RULE,
    p12_the_end_never_retreats::RULE,
    p16_commits_stay::RULE,
    p18_one_leader_per_epoch::RULE,
    p19_topics_stay::RULE,
    p20_replicas_agree::RULE,
    p22_service_returns::RULE,
];

/// Violations of all rules, each with its rule's name.
pub fn violations(events: &[Event], limits: Limits) -> Vec<String> {
    let facts = Facts::new(events, limits);
    let of = |rule: &Rule| -> Vec<String> {
        (rule.check)(&facts).into_iter().map(|what| format!("{}: {what}", rule.name)).collect()
    };
    RULES.iter().flat_map(of).collect()
}
