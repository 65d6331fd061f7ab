//! Produce and fetch at full load: each round on a fresh topic, or all fetches on one that is filled first.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use minikafka_tests::process;

use crate::cell::{Cell, Kind};
use crate::frames::Frames;
use crate::load::{Limit, Load, Walk};
use crate::plan::Plan;
use crate::server::{Server, Side};
use crate::topic::Topics;
use crate::turns::{self, Rounds};
use crate::usage::{self, Span, Syscalls};

/// A log does not get larger in a round.
const PARTITION_BYTES: u64 = 256 << 20;
/// What a round writes in all.
const ROUND_BYTES: u64 = 1 << 30;
/// The part of a round that runs before it, unmeasured, on the same connections.
const WARM_PART: u64 = 20;
/// Requests under way where a topic is filled for fetches, by one client.
const FILL_IN_FLIGHT: usize = 32;
/// And the most of them.
const FILL_REQUESTS: u64 = 100_000;

/// Measures a cell on all servers; the columns are those of [`crate::section::REQUESTS`]
/// and of [`crate::section::REPLICATED`].
pub fn run(cell: &Cell, plan: &Plan, servers: &[Server]) -> io::Result<Rounds> {
    let mut stages = Vec::new();
    for server in servers {
        let mut stage = Stage::set(cell, plan, server)?;
        if server.side == Side::Kafka {
            let warm = Instant::now() + plan.jvm_warm;
            while Instant::now() < warm {
                stage.round()?;
            }
        }
        stages.push(stage);
    }
    // The first round finds cold code and cold connections.
    let mut rounds = turns::run(stages.len(), 1, plan.rounds, |side| stages[side].round())?;
    for (stage, rounds) in stages.iter_mut().zip(&mut rounds) {
        let (calls, futex) = if plan.syscalls { stage.syscalls()? } else { (f64::NAN, f64::NAN) };
        for columns in rounds {
            columns[7] = calls;
            columns[8] = futex;
        }
        stage.clear()?;
    }
    Ok(rounds)
}

/// Rounds of one cell on one server, measured by nobody, as long as `more` wants after so many of them.
pub fn repeat(
    cell: &Cell,
    plan: &Plan,
    server: &Server,
    mut more: impl FnMut(usize) -> io::Result<bool>,
) -> io::Result<()> {
    let mut stage = Stage::set(cell, plan, server)?;
    let mut rounds = 0;
    while more(rounds)? {
        stage.round()?;
        rounds += 1;
    }
    stage.clear()
}

/// A cell on one server.
struct Stage<'a> {
    cell: &'a Cell,
    plan: &'a Plan,
    server: &'a Server,
    topics: Topics<'a>,
    batch: Bytes,
    records: u32,
    /// For fetches, the topic that all rounds read, and its requests in one partition.
    filled: Option<(String, u64)>,
    /// What a round wrote last: the next one gets as many warm pages.
    written: u64,
}

impl<'a> Stage<'a> {
    fn set(cell: &'a Cell, plan: &'a Plan, server: &'a Server) -> io::Result<Stage<'a>> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let (batch, records) = cell.shape.batch(now.as_millis() as i64);
        let topics = Topics::of(server)?;
        let written = PARTITION_BYTES;
        let mut stage = Stage { cell, plan, server, topics, batch, records, filled: None, written };
        if cell.kind == Kind::Fetch {
            let name = stage.topics.create(cell.partitions)?;
            let batches = (stage.most_requests().min(FILL_REQUESTS) / cell.partitions as u64).max(1);
            let frames = Frames::produce(&name, cell.partitions, &stage.batch, -1);
            let mut load = Load::connect(&server.addresses(), 1, FILL_IN_FLIGHT, frames, Walk::NONE)?;
            let requests = batches * cell.partitions as u64;
            load.burst(Limit { requests, time: Duration::MAX })?;
            stage.filled = Some((name, batches));
        }
        Ok(stage)
    }

    /// What the bounds on a log and on a round leave.
    fn most_requests(&self) -> u64 {
        let bytes = ROUND_BYTES.min(PARTITION_BYTES * self.cell.partitions as u64);
        (bytes / self.batch.len() as u64).max(1)
    }

    /// Connections to a topic, and its name: a fresh one, or the one that is filled.
    fn load(&mut self) -> io::Result<(Load, String)> {
        let Cell { connections, in_flight, partitions, .. } = *self.cell;
        let (name, frames, walk) = match &self.filled {
            None => {
                let name = self.topics.create(partitions)?;
                let frames = Frames::produce(&name, partitions, &self.batch, self.plan.acks);
                (name, frames, Walk::NONE)
            }
            Some((name, batches)) => {
                let frames = Frames::fetch(name, partitions, self.batch.len(), self.batch.len());
                let step = i64::from(self.records);
                (name.clone(), frames, Walk { step, end: step * *batches as i64 })
            }
        };
        let mut load = Load::connect(&self.server.addresses(), connections, in_flight, frames, walk)?;
        // The first request to a partition opens files and fills tables, which is not what is measured.
        load.burst(Limit { requests: partitions as u64, time: Duration::MAX })?;
        Ok((load, name))
    }

    /// Ends what [`Stage::load`] began.
    fn done(&mut self, load: Load, name: &str) -> io::Result<()> {
        drop(load);
        if self.filled.is_none() { self.topics.delete(name) } else { Ok(()) }
    }

    fn round(&mut self) -> io::Result<Vec<f64>> {
        if self.filled.is_none() {
            warm_pages(&self.server.data()[0], self.written)?;
        }
        let most = self.most_requests();
        let (mut load, name) = self.load()?;
        load.burst(Limit { requests: most / WARM_PART, time: self.plan.time / WARM_PART as u32 })?;
        let pids = self.server.pids();
        let span = Span::begin(pids.clone());
        let burst = load.burst(Limit { requests: most - most / WARM_PART, time: self.plan.time })?;
        let (used, others) = span.end(burst.wall);
        self.done(load, &name)?;
        let requests = burst.requests as f64;
        let bytes = requests * self.batch.len() as f64;
        let (cpu, wall) = (used.cpu.as_secs_f64(), burst.wall.as_secs_f64());
        self.written = bytes as u64 * self.cell.kind.replicas();
        Ok(vec![
            cpu * 1e6 / requests,
            cpu * 1e6 / requests,
            cpu * 1e9 / bytes,
            cpu * 1e9 / (requests * f64::from(self.records)),
            requests / wall / 1e3,
            bytes / wall / 1e6,
            used.switches as f64 / requests,
            f64::NAN,
            f64::NAN,
            mib(&pids, process::resident_kib),
            mib(&pids, usage::peak_kib),
            others,
        ])
    }

    /// System calls, and those of futex, for each request: not a number where they cannot be counted.
    fn syscalls(&mut self) -> io::Result<(f64, f64)> {
        let (mut load, name) = self.load()?;
        let (requests, time) = (self.most_requests() / 4, self.plan.time / 4);
        load.burst(Limit { requests: requests / WARM_PART + 1, time })?;
        let Ok(counter) = Syscalls::count(&self.server.pids()) else {
            self.done(load, &name)?;
            return Ok((f64::NAN, f64::NAN));
        };
        let burst = load.burst(Limit { requests: requests + 1, time });
        let counted = counter.finish();
        let requests = burst?.requests as f64;
        self.done(load, &name)?;
        Ok(match counted {
            Ok((calls, futex)) => (calls as f64 / requests, futex as f64 / requests),
            // A perf that was slow to begin: no reason to lose the whole run.
            Err(e) => {
                eprintln!("bench: {name}: system calls are not counted: {e}");
                (f64::NAN, f64::NAN)
            }
        })
    }

    fn clear(&mut self) -> io::Result<()> {
        match self.filled.take() {
            Some((name, _)) => self.topics.delete(&name),
            None => Ok(()),
        }
    }
}

/// What all processes together have, in MiB.
fn mib(pids: &[u32], kib: impl Fn(u32) -> u64) -> f64 {
    pids.iter().map(|pid| kib(*pid)).sum::<u64>() as f64 / 1024.0
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
