//! What every client must be able to do, written once; a client differs only in what it cannot express ([`Traits`]).
//!
//! Before the restart: create topics; with every codec produce keys, headers, timestamps, nulls and empties to three
//! partitions and read them back byte-equal; a group of one, two, three, two and one members that split the partitions,
//! read everything exactly once and commit. After it: the live member goes on where it was, a new member starts at the
//! committed offsets, and all records are still there.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use crate::program::{Event, Program};

/// How long a group may take to reach a state.
const SETTLE: Duration = Duration::from_secs(90);
/// Partitions of every topic here.
const PARTITIONS: i32 = 3;
/// Time of the first record, in milliseconds.
const FIRST_TIME: i64 = 1_700_000_000_000;

/// What a client can express.
#[derive(Clone, Copy, Debug)]
pub struct Traits {
    /// Codecs, in the order in which they are produced.
    pub codecs: &'static [&'static str],
    /// The caller sets the records' timestamps.
    pub timestamps: bool,
    /// Keys and header values may be any bytes (otherwise text).
    pub binary: bool,
    /// An empty key differs from none, an empty header value from a null one.
    pub empties: bool,
    /// A header value may be null.
    pub null_headers: bool,
    /// Partitions of a member that ends are given to the rest within the test (not so when the client gives no way to leave).
    pub groups: bool,
}

impl Traits {
    /// A client that can do everything.
    pub const ALL: Traits = Traits {
        codecs: &["none", "gzip", "snappy", "lz4", "zstd"],
        timestamps: true,
        binary: true,
        empties: true,
        null_headers: true,
        groups: true,
    };
}

/// A client in the middle of the list, and what it must find next.
pub struct Session {
    name: &'static str,
    traits: Traits,
    program: Program,
    written: Vec<Value>,
    group: Group,
}

/// The test's view of a group: who owns what, which records are expected, seen and committed.
#[derive(Default)]
struct Group {
    owners: BTreeMap<String, Vec<i32>>,
    expected: BTreeSet<(i32, i64)>,
    seen: BTreeSet<(i32, i64)>,
    committed: BTreeSet<(i32, i64)>,
    /// A member that lost its connection may start over at the committed offsets: kafkajs does.
    may_reread_uncommitted: bool,
}

impl Session {
    /// Starts the list with a program that runs already.
    pub fn new(name: &'static str, traits: Traits, program: Program) -> Session {
        Session { name, traits, program, written: Vec::new(), group: Group::default() }
    }

    /// The client's name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Everything up to the restart of the node.
    pub fn before_restart(&mut self) -> Result<(), String> {
        self.write_and_read()?;
        if self.traits.groups {
            self.grow_and_shrink()?;
        }
        Ok(())
    }

    /// Everything after it.
    pub fn after_restart(&mut self) -> Result<(), String> {
        self.group.may_reread_uncommitted = true;
        if self.traits.groups {
            self.produce_to_group(6)?;
            self.settle("the live member after the restart", &[("m1", 3)])?;
            self.commit(&["m1"])?;
            self.leave("m1")?;
            self.new_member_goes_on()?;
        }
        self.read_back("after the restart")
    }

    /// Ends the member that [`Session::before_restart`] leaves in the group.
    pub fn leave_first_member(&mut self) -> Result<(), String> {
        self.leave("m1")
    }

    /// With another program (perhaps of another client) on the same data: all records are there, and a new member of
    /// the group starts where the last one committed.
    pub fn go_on(&mut self, program: Program) -> Result<(), String> {
        self.program = program;
        self.read_back("by another program")?;
        if self.traits.groups { self.new_member_goes_on() } else { Ok(()) }
    }

    fn new_member_goes_on(&mut self) -> Result<(), String> {
        self.produce_to_group(3)?;
        self.join("m4")?;
        self.settle("a new member at the committed offsets", &[("m4", 3)])?;
        self.commit(&["m4"])?;
        self.leave("m4")
    }

    fn topic(&self, what: &str) -> String {
        format!("{}-{what}", self.name)
    }

    fn write_and_read(&mut self) -> Result<(), String> {
        let topic = self.topic("codecs");
        self.program.call("create", json!({"topic": topic, "partitions": PARTITIONS}))?;
        for codec in self.traits.codecs {
            let mut records = corpus(self.traits, codec);
            let sent = json!({"topic": topic, "codec": codec, "records": records});
            let answer = self.program.call("produce", sent).map_err(|e| format!("{codec}: {e}"))?;
            let offsets = answer["offsets"].as_array().cloned().unwrap_or_default();
            if offsets.len() != records.len() {
                return Err(format!(
                    "{codec}: {} records sent, {} offsets answered",
                    records.len(),
                    offsets.len()
                ));
            }
            for (record, offset) in records.iter_mut().zip(offsets) {
                record["o"] = offset;
            }
            self.written.extend(records);
        }
        self.read_back("at first")
    }

    /// Reads the topic of all codecs from its beginning and compares every field of every record.
    fn read_back(&mut self, when: &str) -> Result<(), String> {
        let arguments =
            json!({"topic": self.topic("codecs"), "partitions": PARTITIONS, "count": self.written.len()});
        let answer = self.program.call("consume", arguments)?;
        let mut read = answer["records"].as_array().cloned().unwrap_or_default();
        let mut expected = self.written.clone();
        read.sort_by_key(place);
        expected.sort_by_key(place);
        check_offsets(&expected)?;
        if read.len() != expected.len() {
            return Err(format!("{when}: {} records written, {} read", expected.len(), read.len()));
        }
        for (mut got, mut want) in read.into_iter().zip(expected) {
            if !self.traits.timestamps {
                got["t"] = Value::Null;
                want["t"] = Value::Null;
            }
            if got != want {
                return Err(format!("{when}: read {}, wrote {}", brief(&got), brief(&want)));
            }
        }
        Ok(())
    }

    fn grow_and_shrink(&mut self) -> Result<(), String> {
        let topic = self.topic("group");
        self.program.call("create", json!({"topic": topic, "partitions": PARTITIONS}))?;
        self.produce_to_group(30)?;
        self.join("m1")?;
        self.settle("one member", &[("m1", 3)])?;
        self.commit(&["m1"])?;
        self.join("m2")?;
        self.settle("two members", &[("m1", 0), ("m2", 0)])?;
        self.join("m3")?;
        self.settle("three members", &[("m1", 1), ("m2", 1), ("m3", 1)])?;
        self.produce_to_group(9)?;
        self.settle("three members and new records", &[("m1", 1), ("m2", 1), ("m3", 1)])?;
        self.commit(&["m1", "m2", "m3"])?;
        self.leave("m3")?;
        self.settle("two of three members", &[("m1", 0), ("m2", 0)])?;
        self.leave("m2")?;
        self.settle("one of three members", &[("m1", 3)])?;
        self.produce_to_group(6)?;
        self.settle("one of three members and new records", &[("m1", 3)])?;
        self.commit(&["m1"])
    }

    fn produce_to_group(&mut self, count: usize) -> Result<(), String> {
        let records: Vec<Value> = (0..count).map(|i| plain(i, FIRST_TIME + i as i64)).collect();
        let topic = self.topic("group");
        let answer =
            self.program.call("produce", json!({"topic": topic, "codec": "none", "records": records}))?;
        let offsets = answer["offsets"].as_array().cloned().unwrap_or_default();
        for (record, offset) in records.iter().zip(offsets) {
            let at = (record["p"].as_i64().unwrap_or(-1) as i32, offset.as_i64().unwrap_or(-1));
            if !self.group.expected.insert(at) {
                return Err(format!("partition {} offset {} was given twice", at.0, at.1));
            }
        }
        Ok(())
    }

    fn join(&mut self, member: &str) -> Result<(), String> {
        let arguments =
            json!({"member": member, "group": self.topic("readers"), "topic": self.topic("group")});
        self.group.owners.insert(member.to_owned(), Vec::new());
        self.program.call("join", arguments).map(drop)
    }

    fn commit(&mut self, members: &[&str]) -> Result<(), String> {
        members.iter().try_for_each(|m| self.program.call("commit", json!({"member": m})).map(drop))?;
        self.group.committed = self.group.seen.clone();
        Ok(())
    }

    fn leave(&mut self, member: &str) -> Result<(), String> {
        self.program.call("leave", json!({"member": member}))?;
        self.group.owners.remove(member);
        Ok(())
    }

    /// Waits until the members own all partitions between them (as many as said; 0 means one or more) and have
    /// together seen every expected record; a record seen twice or unexpected is an error.
    fn settle(&mut self, what: &str, members: &[(&str, usize)]) -> Result<(), String> {
        let deadline = Instant::now() + SETTLE;
        while !self.group.is_settled(members) {
            let left = deadline.saturating_duration_since(Instant::now());
            let event = self.program.event(left).map_err(|why| {
                let missing = self.group.expected.difference(&self.group.seen).count();
                format!("{what}: owners {:?}, {missing} records not seen: {why}", self.group.owners)
            })?;
            self.group.note(event).map_err(|why| format!("{what}: {why}"))?;
        }
        Ok(())
    }
}

impl Group {
    fn note(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::Assigned { member, partitions } => {
                if let Some(owned) = self.owners.get_mut(&member) {
                    *owned = partitions;
                }
            }
            Event::Record { member, partition, offset } => {
                if !self.expected.contains(&(partition, offset)) {
                    return Err(format!(
                        "{member} read partition {partition} offset {offset}, which was not written"
                    ));
                }
                let again = !self.seen.insert((partition, offset));
                let committed = self.committed.contains(&(partition, offset));
                if again && (committed || !self.may_reread_uncommitted) {
                    return Err(format!("{member} read partition {partition} offset {offset} again"));
                }
            }
        }
        Ok(())
    }

    fn is_settled(&self, members: &[(&str, usize)]) -> bool {
        let mut all: Vec<i32> = self.owners.values().flatten().copied().collect();
        all.sort_unstable();
        let enough = |(member, count): &(&str, usize)| {
            self.owners
                .get(*member)
                .is_some_and(|o| if *count == 0 { !o.is_empty() } else { o.len() == *count })
        };
        all.into_iter().eq(0..PARTITIONS) && members.iter().all(enough) && self.seen == self.expected
    }
}

/// Where a record lies.
fn place(record: &Value) -> (i64, i64) {
    (record["p"].as_i64().unwrap_or(-1), record["o"].as_i64().unwrap_or(-1))
}

/// The offsets that the producer was told count up from 0 in each partition.
fn check_offsets(sorted: &[Value]) -> Result<(), String> {
    let mut next = [0; PARTITIONS as usize];
    for record in sorted {
        let (partition, offset) = place(record);
        let expected = &mut next[partition as usize];
        if offset != *expected {
            return Err(format!(
                "partition {partition}: the producer was told offset {offset}, not {expected}"
            ));
        }
        *expected += 1;
    }
    Ok(())
}

fn plain(i: usize, time: i64) -> Value {
    record(i as i32 % PARTITIONS, Some(format!("k{i}").as_bytes()), Some(b"value"), json!([]), time)
}

/// One record in the form the programs take and give: bytes in base64, null where there are none.
fn record(partition: i32, key: Option<&[u8]>, value: Option<&[u8]>, headers: Value, time: i64) -> Value {
    let text = |bytes: Option<&[u8]>| bytes.map(|b| BASE64.encode(b));
    json!({"p": partition, "k": text(key), "v": text(value), "h": headers, "t": time})
}

/// Records of every shape for each partition.
fn corpus(traits: Traits, codec: &str) -> Vec<Value> {
    let every_byte: Vec<u8> = (0..=255).collect();
    let large: Vec<u8> =
        (0..60_000u32).map(|i| if i % 3 == 0 { ((i * i) >> 7) as u8 } else { b'x' }).collect();
    let header = |name: &str, value: &[u8]| json!([name, BASE64.encode(value)]);
    let mut headers = vec![header("codec", codec.as_bytes()), header("twice", b"1"), header("twice", b"2")];
    if traits.binary {
        headers.push(header("binary", &every_byte));
    }
    if traits.empties {
        headers.push(header("empty", b""));
    }
    if traits.null_headers {
        headers.push(json!(["null", null]));
    }
    let mut all = Vec::new();
    for partition in 0..PARTITIONS {
        let mut add = |key: Option<&[u8]>, value: Option<&[u8]>, headers: Value| {
            let time = FIRST_TIME + 1000 * all.len() as i64;
            all.push(record(partition, key, value, headers, time));
        };
        add(None, Some(b"no key"), json!([]));
        add(Some(b"tombstone"), None, json!([]));
        add(Some(b"headers"), Some("größer".as_bytes()), json!(headers));
        add(Some(b"large"), Some(&large), json!([]));
        add(Some(b"any bytes"), Some(&every_byte), json!([]));
        if traits.binary {
            add(Some(&every_byte), Some(b"key of any bytes"), json!([]));
        }
        if traits.empties {
            add(Some(b""), Some(b""), json!([]));
        }
    }
    all
}

fn brief(record: &Value) -> String {
    let text = record.to_string();
    text.char_indices().take_while(|(at, _)| *at < 400).map(|(_, c)| c).collect()
}
