//! librdkafka's part of a history: a program of `tests/clients` writes and reads, and tells of each step in a line.

use serde_json::{Value as Json, json};

use super::directory::Addresses;
use crate::history::{Event, History, Outcome, Place, Value};
use crate::program::Program;
use crate::setup;

/// The process number of its consumer.
const CONSUMER: u32 = 801;
const PRODUCER: u32 = 800;

/// A running program.
pub struct Foreign {
    program: Program,
    /// Where its consumer is: beside the first broker.
    rack: String,
    lines_read: usize,
}

impl Foreign {
    /// Starts it.
    pub fn start(brokers: &Addresses) -> Foreign {
        let mut command = std::process::Command::new(setup::fetched("python/bin/python"));
        command.arg(setup::client("python").join("chaos.py"));
        let bootstrap: Vec<&str> = brokers.iter().map(|(_, address)| address.as_str()).collect();
        let rack = format!("rack-{}", brokers.first().map_or(0, |(id, _)| *id));
        Foreign { program: Program::start(command, &bootstrap.join(",")), rack, lines_read: 0 }
    }

    /// Begins to write to and to read from a topic.
    pub fn begin(&mut self, topic: &str, partitions: i32) {
        let write = json!({"topic": topic, "partitions": partitions, "process": PRODUCER});
        self.program.call("write", write).expect("the program writes");
        let group = format!("group-{topic}");
        let read = json!({"topic": topic, "group": group, "rack": self.rack});
        self.program.call("read", read).expect("the program reads");
    }

    /// Ends the writing; returns when the end of every record is known, or was given up.
    pub fn flush(&mut self) {
        self.program.call("flush", json!({})).expect("the program flushes");
    }

    /// Ends the reading when it has reached these ends, and notes everything. Gives the partitions whose end it did not reach.
    pub fn finish(&mut self, topic: &str, ends: &[i64], history: &History) -> String {
        let answer = self.program.call("stop", json!({"ends": ends})).expect("the program stops reading");
        let printed = self.program.printed(self.lines_read);
        for line in printed.lines() {
            self.lines_read += 1;
            if let Some(event) = serde_json::from_str(line).ok().and_then(|line| event(topic, &line)) {
                history.add(event);
            }
        }
        match answer["behind"].as_object() {
            Some(behind) if !behind.is_empty() => answer["behind"].to_string(),
            _ => String::new(),
        }
    }
}

fn event(topic: &str, line: &Json) -> Option<Event> {
    let number = |key: &str| line[key].as_i64();
    let time = |key: &str| line[key].as_u64();
    let place = || Some(Place::new(topic, number("p")? as i32));
    let value = || Value::parse(format!("{}.", line["v"].as_str()?).as_bytes());
    Some(match line["e"].as_str()? {
        "sent" => Event::Sent { at: time("at")?, place: place()?, values: vec![value()?], idempotent: true },
        "acked" => Event::Answered {
            at: time("at")?,
            first: value()?,
            outcome: Outcome::Acknowledged { offset: number("o"), leader: None },
        },
        "read" => Event::Polled {
            began: time("began")?,
            at: time("at")?,
            process: CONSUMER,
            generation: number("g")? as u32,
            source: None,
            place: place()?,
            position: None,
            high_watermark: None,
            records: vec![(number("o")?, value())],
            epochs: Vec::new(),
        },
        "commit" => Event::Committed {
            began: time("began")?,
            at: time("at")?,
            place: place()?,
            offset: number("o")?,
            acknowledged: true,
        },
        "committed" => Event::CommitRead { began: time("began")?, place: place()?, offset: number("o")? },
        _ => return None,
    })
}
