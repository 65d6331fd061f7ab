//! The rounds of a cell: every side in turn, forwards and backwards, each on a fresh topic.

use std::fs;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use minikafka_tests::process;
use minikafka_tests::wire::Wire;

use crate::cell::{Cell, Kind};
use crate::frames::Frames;
use crate::load::{Limit, Load, Walk};
use crate::server::{Server, Side};
use crate::topic;
use crate::usage::{self, Syscalls, Usage};

/// A log does not get larger in a round.
const PARTITION_BYTES: u64 = 256 << 20;
/// What a round writes in all.
const ROUND_BYTES: u64 = 1 << 30;
/// The part of a round that runs before it, unmeasured, on the same connections.
const WARM_PART: u64 = 20;
/// Requests under way where a topic is filled for fetches, by one client.
const FILL_IN_FLIGHT: usize = 32;

/// How a cell is measured.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Rounds of each side.
    pub rounds: usize,
    /// The longest round.
    pub time: Duration,
    /// Produce's `acks`: -1 for all.
    pub acks: i16,
    /// Whether a short round more counts system calls.
    pub syscalls: bool,
}

/// One measured round.
#[derive(Clone, Copy, Debug)]
pub struct Round {
    /// Requests answered.
    pub requests: u64,
    /// Bytes of records, headers of batches included.
    pub bytes: u64,
    /// Records.
    pub records: u64,
    /// From the first request to the last answer.
    pub wall: Duration,
    /// What the server used.
    pub usage: Usage,
    /// Processors that neither server nor generator used, but others did: 0.1 is a tenth of one.
    pub others: f64,
}

/// All rounds of one side.
#[derive(Clone, Debug)]
pub struct Measured {
    /// Who.
    pub side: Side,
    /// In the order in which they ran; the nth of each side ran side by side.
    pub rounds: Vec<Round>,
    /// System calls and futex calls of a request, where counted.
    pub syscalls: Option<(f64, f64)>,
    /// Resident memory after the last round, and the largest so far, in KiB.
    pub resident_kib: (u64, u64),
}

/// Measures a cell on all servers.
pub fn run(cell: &Cell, plan: &Plan, servers: &[Server], names: &mut u32) -> io::Result<Vec<Measured>> {
    let mut stages = Vec::new();
    for server in servers {
        stages.push(Stage::set(cell, plan, server, names)?);
    }
    let mut rounds = vec![Vec::new(); servers.len()];
    for round in 0..=plan.rounds {
        let forwards = round % 2 == 0;
        for i in 0..stages.len() {
            let i = if forwards { i } else { stages.len() - 1 - i };
            let measured = stages[i].round(names)?;
            // The first round finds cold code and cold connections.
            if round > 0 {
                rounds[i].push(measured);
            }
        }
    }
    let mut all = Vec::new();
    for (mut stage, rounds) in stages.into_iter().zip(rounds) {
        let syscalls = if plan.syscalls { stage.syscalls(names).ok() } else { None };
        let pid = stage.server.pid();
        let resident_kib = (process::resident_kib(pid), usage::peak_kib(pid));
        all.push(Measured { side: stage.server.side, rounds, syscalls, resident_kib });
        stage.clear()?;
    }
    Ok(all)
}

/// A cell on one server.
struct Stage<'a> {
    cell: &'a Cell,
    plan: &'a Plan,
    server: &'a Server,
    address: SocketAddr,
    wire: Wire,
    batch: Bytes,
    records: u32,
    /// For fetches, the topic that all rounds read, and its requests in one partition.
    filled: Option<(String, u64)>,
}

impl<'a> Stage<'a> {
    fn set(cell: &'a Cell, plan: &'a Plan, server: &'a Server, names: &mut u32) -> io::Result<Stage<'a>> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let (batch, records) = cell.shape.batch(now.as_millis() as i64);
        let (address, wire) = (server.address(), server.wire()?);
        let mut stage = Stage { cell, plan, server, address, wire, batch, records, filled: None };
        if cell.kind == Kind::Fetch {
            let name = stage.topic(names)?;
            let batches = (stage.most_requests() / cell.partitions as u64).clamp(1, 100_000);
            let frames = Frames::produce(&name, cell.partitions, &stage.batch, -1);
            let mut load = Load::connect(address, 1, FILL_IN_FLIGHT, frames, Walk { step: 0, end: 0 })?;
            let requests = batches * cell.partitions as u64;
            load.burst(Limit { requests, time: Duration::MAX })?;
            stage.filled = Some((name, batches));
        }
        Ok(stage)
    }

    fn topic(&mut self, names: &mut u32) -> io::Result<String> {
        *names += 1;
        let name = format!("bench-{names}");
        topic::create(&mut self.wire, &name, self.cell.partitions)?;
        Ok(name)
    }

    /// What the bounds on a log and on a round leave.
    fn most_requests(&self) -> u64 {
        let bytes = ROUND_BYTES.min(PARTITION_BYTES * self.cell.partitions as u64);
        (bytes / self.batch.len() as u64).max(1)
    }

    fn load(&self, topic: &str) -> io::Result<Load> {
        let Cell { connections, in_flight, partitions, .. } = *self.cell;
        let (frames, walk) = match &self.filled {
            None => {
                (Frames::produce(topic, partitions, &self.batch, self.plan.acks), Walk { step: 0, end: 0 })
            }
            Some((_, batches)) => {
                let least = self.batch.len();
                let frames = Frames::fetch(topic, partitions, self.batch.len(), least);
                let step = i64::from(self.records);
                (frames, Walk { step, end: step * *batches as i64 })
            }
        };
        Load::connect(self.address, connections, in_flight, frames, walk)
    }

    /// One round on a topic of its own, or on the filled one.
    fn round(&mut self, names: &mut u32) -> io::Result<Round> {
        let most = self.most_requests();
        let name = match &self.filled {
            Some((name, _)) => name.clone(),
            None => {
                warm_pages(&self.server.data(), most * self.batch.len() as u64)?;
                self.topic(names)?
            }
        };
        let mut load = self.load(&name)?;
        load.burst(Limit { requests: most / WARM_PART, time: self.plan.time / WARM_PART as u32 })?;
        let pid = self.server.pid();
        let mine = std::process::id();
        let (before, me, machine) = (Usage::of(pid), Usage::of(mine), usage::machine());
        let burst = load.burst(Limit { requests: most - most / WARM_PART, time: self.plan.time })?;
        let used = Usage::of(pid).since(before);
        let known = used.cpu + Usage::of(mine).since(me).cpu;
        let others = usage::machine().saturating_sub(machine).saturating_sub(known);
        drop(load);
        if self.filled.is_none() {
            topic::delete(&mut self.wire, &name, &self.server.data())?;
        }
        Ok(Round {
            requests: burst.requests,
            bytes: burst.requests * self.batch.len() as u64,
            records: burst.requests * u64::from(self.records),
            wall: burst.wall,
            usage: used,
            others: others.as_secs_f64() / burst.wall.as_secs_f64(),
        })
    }

    /// System calls, and those of futex, for each request.
    fn syscalls(&mut self, names: &mut u32) -> io::Result<(f64, f64)> {
        let name = match &self.filled {
            Some((name, _)) => name.clone(),
            None => self.topic(names)?,
        };
        let mut load = self.load(&name)?;
        let time = self.plan.time / 4;
        let requests = self.most_requests();
        load.burst(Limit { requests: requests / WARM_PART, time })?;
        let counter = Syscalls::count(self.server.pid())?;
        let burst = load.burst(Limit { requests: requests / 4, time });
        let counts = counter.finish()?;
        let requests = burst?.requests as f64;
        drop(load);
        if self.filled.is_none() {
            topic::delete(&mut self.wire, &name, &self.server.data())?;
        }
        Ok((counts.0 as f64 / requests, counts.1 as f64 / requests))
    }

    fn clear(&mut self) -> io::Result<()> {
        match self.filled.take() {
            Some((name, _)) => topic::delete(&mut self.wire, &name, &self.server.data()),
            None => Ok(()),
        }
    }
}

/// Writes and removes a file of this size, so that the round finds pages that the host has given already.
fn warm_pages(dir: &Path, bytes: u64) -> io::Result<()> {
    let path = dir.with_extension("warm");
    let block = vec![1; 1 << 20];
    let mut file = fs::File::create(&path)?;
    for _ in 0..bytes.div_ceil(block.len() as u64) {
        file.write_all(&block)?;
    }
    drop(file);
    fs::remove_file(&path)
}
