//! On which processors the servers and the generator run.

use std::io;

use clap::ValueEnum;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Where everything runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Placement {
    /// Server and generator share one processor: processor times repeat within a few percent.
    Same,
    /// Wherever the kernel puts them: throughput of the whole machine.
    Free,
}

impl Placement {
    /// Its name in the table.
    pub fn name(self) -> &'static str {
        match self {
            Placement::Same => "same",
            Placement::Free => "free",
        }
    }
}

/// The processors of this thread and of all that it starts; what they were before comes back on drop.
pub struct Pinned(CpuSet);

impl Pinned {
    /// Pins the calling thread.
    pub fn to(placement: Placement) -> io::Result<Pinned> {
        let before = sched_getaffinity(None)?;
        if placement == Placement::Same {
            let first = (0..CpuSet::MAX_CPU).find(|i| before.is_set(*i)).unwrap_or(0);
            let mut one = CpuSet::new();
            one.set(first);
            sched_setaffinity(None, &one)?;
        }
        Ok(Pinned(before))
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        let _ = sched_setaffinity(None, &self.0);
    }
}
