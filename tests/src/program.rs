//! A client program under `tests/clients`, spoken to in JSON lines.
//!
//! Request on its stdin: `{"id":1,"op":"produce",...}`. Answer on its stdout: `{"id":1,...}`, with `"error"` when it failed.
//! In between it may tell what happens to its group members: `{"event":"assigned","member":"m1","partitions":[0,2]}` and
//! `{"event":"record","member":"m1","p":0,"o":17}`. It ends when its stdin does.

use std::io::Write;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::output::Output;

/// How long one request may take on a loaded machine.
const LIMIT: Duration = Duration::from_secs(90);

/// What a group member of a client reports on its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// All partitions that the member owns now.
    Assigned {
        /// The member's name in the test.
        member: String,
        /// Sorted partitions.
        partitions: Vec<i32>,
    },
    /// A record was handed to the member.
    Record {
        /// The member's name in the test.
        member: String,
        /// Its partition.
        partition: i32,
        /// Its offset.
        offset: i64,
    },
}

/// A running client program.
pub struct Program {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Output,
    stderr: Output,
    next_id: u64,
    events_read: usize,
}

impl Program {
    /// Starts the program; its last argument is the bootstrap address.
    pub fn start(mut command: Command, bootstrap: &str) -> Program {
        let mut child = command
            .arg(bootstrap)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("{command:?} cannot be started: {e}"));
        let (stdout, stderr) = (Output::default(), Output::default());
        stdout.follow(child.stdout.take().expect("stdout is piped"));
        stderr.follow(child.stderr.take().expect("stderr is piped"));
        let stdin = child.stdin.take();
        Program { child, stdin, stdout, stderr, next_id: 0, events_read: 0 }
    }

    /// Sends one request and waits for its answer; the error repeats what the program printed.
    pub fn call(&mut self, op: &str, mut arguments: Value) -> Result<Value, String> {
        self.next_id += 1;
        let id = self.next_id;
        arguments["id"] = json!(id);
        arguments["op"] = json!(op);
        let from = self.stdout.len();
        let stdin = self.stdin.as_mut().expect("stdin stays open until the drop");
        writeln!(stdin, "{arguments}").map_err(|e| format!("{op}: {e}\n{}", self.stderr.tail()))?;
        let answer = self.stdout.wait(from, LIMIT, |line| {
            serde_json::from_str::<Value>(line).ok().filter(|value| value["id"] == json!(id))
        });
        match answer {
            Ok((_, value)) if value["error"].is_null() => Ok(value),
            Ok((_, value)) => {
                Err(format!("{op}: {}\n{}", value["error"].as_str().unwrap_or("error"), self.stderr.tail()))
            }
            Err(why) => Err(format!("{op}: no answer: {why}\nstderr:\n{}", self.stderr.tail())),
        }
    }

    /// Everything that it has printed from line `from` on.
    pub fn printed(&self, from: usize) -> String {
        self.stdout.text(from)
    }

    /// The next event, if one comes before `limit`.
    pub fn event(&mut self, limit: Duration) -> Result<Event, String> {
        let (at, event) = self
            .stdout
            .wait(self.events_read, limit, parse_event)
            .map_err(|why| format!("{why}\nstderr:\n{}", self.stderr.tail()))?;
        self.events_read = at + 1;
        Ok(event)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.stdin.take());
        if !self.stdout.wait_end(Duration::from_secs(5)) {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

fn parse_event(line: &str) -> Option<Event> {
    let value: Value = serde_json::from_str(line).ok()?;
    let member = value["member"].as_str().unwrap_or_default().to_owned();
    match value["event"].as_str()? {
        "assigned" => {
            let partitions = value["partitions"].as_array()?.iter().filter_map(Value::as_i64);
            let mut partitions: Vec<i32> = partitions.map(|p| p as i32).collect();
            partitions.sort_unstable();
            Some(Event::Assigned { member, partitions })
        }
        "record" => Some(Event::Record {
            member,
            partition: value["p"].as_i64()? as i32,
            offset: value["o"].as_i64()?,
        }),
        _ => None,
    }
}
