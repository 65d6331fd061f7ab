//! What hostile bytes must not do, as functions of those bytes.
//!
//! A [`Target`] takes any bytes and panics if an invariant breaks; each file of `targets` says which. [`check`] runs
//! it under the limits that hold for all: memory at most [`AMPLIFICATION`] times the input and the target's own
//! constant, processor time at most [`CPU_LIMIT`]. `cargo xtask fuzz` lets libFuzzer look for such bytes, guided by
//! coverage; the test `replay` runs the corpus and some mutants of it.

mod mutate;
mod scratch;
mod source;
mod targets;

use std::time::Duration;

use peak_alloc::PeakAlloc;
use rustix::time::{ClockId, clock_gettime};

pub use mutate::Mutator;
pub use targets::TARGETS;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// How many bytes of memory each byte of input may become.
pub const AMPLIFICATION: usize = 64;
/// Processor time of one run. A run takes microseconds; without optimization some milliseconds.
pub const CPU_LIMIT: Duration = Duration::from_secs(if cfg!(debug_assertions) { 5 } else { 1 });

/// Something that is to be given any bytes.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name, also that of its folder in the corpus.
    pub name: &'static str,
    /// Panics if the bytes break an invariant.
    pub run: fn(&[u8]),
    /// Bytes of memory that a run may hold at once beside [`AMPLIFICATION`] times the input: buffers whose size does
    /// not depend on it.
    pub allowance: usize,
    /// Longest input that is worth trying, in bytes.
    pub max_len: usize,
}

/// The target with this name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

/// Runs a target on `input` under its limits.
///
/// Memory is counted for the whole process: only one run at a time.
/// Panics if an invariant or a limit is broken.
pub fn check(target: &Target, input: &[u8]) {
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    let started = cpu_time();
    (target.run)(input);
    let spent = cpu_time().saturating_sub(started);
    let held = ALLOCATOR.peak_usage().saturating_sub(before);
    let bound = input.len() * AMPLIFICATION + target.allowance;
    assert!(held <= bound, "{}: {held} bytes held for {} bytes, {bound} allowed", target.name, input.len());
    assert!(spent <= CPU_LIMIT, "{}: {spent:?} for {} bytes", target.name, input.len());
}

fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}
