//! Writes to one partition, one record at a time with acks=all, and notes when each was acknowledged and by whom.
//!
//! It retries without end and asks the view of the live nodes for the leader, so that what it sees is the cluster's time
//! and not a client's.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use protocol::ErrorCode;

use super::view::Leaders;
use crate::wire::{Wire, batch, produce_request};

/// Pause between an acknowledgement and the next record.
const PACE: Duration = Duration::from_millis(5);
/// Pause before the next attempt.
const RETRY: Duration = Duration::from_millis(2);
/// How often it looks for another leader while it waits for an answer.
const LOOK: Duration = Duration::from_millis(10);

/// An acknowledged record.
#[derive(Clone, Copy, Debug)]
pub struct Ack {
    /// When the answer was read.
    pub at: Instant,
    /// The broker that gave it.
    pub by: usize,
}

/// What happened to a partition's records.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// In the order of their times.
    pub acks: Vec<Ack>,
    /// How often each error was answered.
    pub errors: BTreeMap<i16, usize>,
}

impl Trace {
    /// From `fault` to the first acknowledgement after it that another broker than `but` gave.
    pub fn first_by_another(&self, fault: Instant, but: usize) -> Option<Duration> {
        self.acks.iter().find(|ack| ack.at > fault && ack.by != but).map(|ack| ack.at - fault)
    }

    /// The longest time without an acknowledgement that ends after `from`.
    pub fn longest_pause(&self, from: Instant) -> Duration {
        let pairs = self.acks.windows(2).filter(|pair| pair[1].at > from);
        pairs.map(|pair| pair[1].at - pair[0].at).max().unwrap_or_default()
    }
}

/// A prober that runs until it is dropped.
pub struct Prober {
    trace: Arc<Mutex<Trace>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Prober {
    /// Begins to write to that partition.
    pub fn start(leaders: Leaders, partition: usize) -> Prober {
        let (trace, stop) = (Arc::<Mutex<Trace>>::default(), Arc::<AtomicBool>::default());
        let (noted, stopping) = (trace.clone(), stop.clone());
        let thread = std::thread::spawn(move || probe(&leaders, partition, &noted, &stopping));
        Prober { trace, stop, thread: Some(thread) }
    }

    /// What happened so far.
    pub fn trace(&self) -> Trace {
        self.trace.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Forgets what happened so far, but for the last acknowledgement.
    pub fn forget(&self) {
        let mut trace = self.trace.lock().unwrap_or_else(PoisonError::into_inner);
        let last = trace.acks.pop();
        *trace = Trace { acks: last.into_iter().collect(), errors: BTreeMap::new() };
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // One that panicked has said so.
            let _ = thread.join();
        }
    }
}

fn probe(leaders: &Leaders, partition: usize, trace: &Mutex<Trace>, stop: &AtomicBool) {
    let mut open: Option<(usize, Wire)> = None;
    while !stop.load(Ordering::Relaxed) {
        let Some((leader, address, _)) = leaders.of(partition) else {
            std::thread::sleep(RETRY);
            continue;
        };
        if open.as_ref().is_none_or(|(id, _)| *id != leader) {
            open = Wire::connect(&address).ok().map(|wire| (leader, wire));
        }
        let Some((_, wire)) = &mut open else {
            std::thread::sleep(RETRY);
            continue;
        };
        let answer = write_one(wire, leaders, partition, leader, stop);
        let at = Instant::now();
        let mut trace = trace.lock().unwrap_or_else(PoisonError::into_inner);
        match answer {
            Ok(Some(ErrorCode::NONE)) => trace.acks.push(Ack { at, by: leader }),
            Ok(Some(error)) => *trace.errors.entry(error.code()).or_insert(0) += 1,
            Ok(None) | Err(_) => open = None,
        }
        let is_acknowledged = matches!(answer, Ok(Some(ErrorCode::NONE)));
        drop(trace);
        std::thread::sleep(if is_acknowledged { PACE } else { RETRY });
    }
}

/// The answer's error; `None` if another leads meanwhile, or the prober is to stop.
fn write_one(
    wire: &mut Wire,
    leaders: &Leaders,
    partition: usize,
    leader: usize,
    stop: &AtomicBool,
) -> io::Result<Option<ErrorCode>> {
    let id = wire.send(9, &produce_request(leaders.topic(), partition as i32, batch(&["probe"])))?;
    loop {
        if wire.is_answered(LOOK)? {
            return wire.produced(id).map(|(error, _)| Some(error));
        }
        let is_other = leaders.of(partition).is_some_and(|(id, ..)| id != leader);
        if is_other || stop.load(Ordering::Relaxed) {
            return Ok(None);
        }
    }
}
