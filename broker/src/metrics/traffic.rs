//! Bytes, messages and requests of one partition (`BrokerTopicMetrics`), and what else is counted of it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Bytes of batches that were appended.
    BytesIn,
    /// Bytes of batches that were sent to consumers.
    BytesOut,
    /// Bytes of batches that were refused as too large.
    BytesRejected,
    /// Records that were appended.
    MessagesIn,
    /// Partitions named in Produce requests.
    ProduceRequests,
    /// Of these, those that failed for a reason that a client cannot be blamed for, as Kafka counts.
    ProduceFailures,
    /// Reads of a partition for Fetch requests; a fetch that waits reads again.
    FetchRequests,
    /// Of these, those that failed for such a reason.
    FetchFailures,
    /// Times that the log was synced.
    Flushes,
    /// Nanoseconds that this took.
    FlushNanoseconds,
    /// Times that the in-sync set lost members while this replica led.
    IsrShrinks,
    /// Likewise that it won members.
    IsrExpands,
    /// Bytes of batches that were copied from the leader.
    ReplicationBytesIn,
    /// Bytes of batches that were sent to followers.
    ReplicationBytesOut,
}

const FLOWS: usize = 14;

/// The counters of one partition.
#[derive(Debug, Default)]
pub(crate) struct Traffic([AtomicU64; FLOWS]);

/// [`Traffic`] at one moment, or of several partitions together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowCounts([u64; FLOWS]);

impl Traffic {
    /// Adds to a counter.
    pub(crate) fn add(&self, flow: Flow, n: u64) {
        self.0[flow as usize].fetch_add(n, Ordering::Relaxed);
    }

    /// Adds to a counter that is only added to under one lock, which the caller holds: no locked instruction.
    pub(crate) fn add_locked(&self, flow: Flow, n: u64) {
        let counter = &self.0[flow as usize];
        counter.store(counter.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// The log was synced, since this moment.
    pub(crate) fn flushed(&self, began: Instant) {
        self.add(Flow::Flushes, 1);
        self.add(Flow::FlushNanoseconds, u64::try_from(began.elapsed().as_nanos()).unwrap_or(0));
    }

    /// Adds all of what was counted elsewhere.
    pub(crate) fn take_over(&self, counts: FlowCounts) {
        for (counter, n) in self.0.iter().zip(counts.0) {
            counter.fetch_add(n, Ordering::Relaxed);
        }
    }

    /// All counters.
    pub(crate) fn counts(&self) -> FlowCounts {
        FlowCounts(std::array::from_fn(|at| self.0[at].load(Ordering::Relaxed)))
    }
}

impl FlowCounts {
    /// One counter.
    pub fn get(&self, flow: Flow) -> u64 {
        self.0[flow as usize]
    }

    /// Adds all of `other`.
    pub fn add(&mut self, other: &Self) {
        for (sum, n) in self.0.iter_mut().zip(other.0) {
            *sum += n;
        }
    }
}
