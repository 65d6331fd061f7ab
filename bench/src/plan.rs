//! How much is measured: rounds, their length, and what the clients ask for.

use std::time::Duration;

/// The same for all cells of a run.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Measured rounds of each side.
    pub rounds: usize,
    /// The longest round.
    pub time: Duration,
    /// Produce's `acks`: 1, or -1 for all.
    pub acks: i16,
    /// Whether a short round more counts system calls, with `perf stat`.
    pub syscalls: bool,
    /// How long each cell runs on a JVM before it is measured.
    pub jvm_warm: Duration,
    /// What the restarts find on the disk.
    pub restart_bytes: u64,
}
