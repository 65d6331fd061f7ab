//! Every seed once, and some mutants of each: what `cargo xtask fuzz` does for hours, in a few seconds.
//!
//! `MINIKAFKA_FUZZ_SEED=n` gives other mutants, `MINIKAFKA_FUZZ_SECONDS=n` makes them for that long for each target.
//! What breaks a target is printed in hex.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use minikafka_fuzz::{Mutator, TARGETS, Target, check};

/// Mutants of each target, the same ones in every run.
const MUTANTS: usize = 400;

#[test]
fn seeds_and_mutants_break_nothing() {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seed = number("MINIKAFKA_FUZZ_SEED").unwrap_or(1);
    let time = number("MINIKAFKA_FUZZ_SECONDS").map(Duration::from_secs);
    // Memory is counted for the whole process, so all targets are one test.
    let broken: Vec<&str> =
        TARGETS.iter().filter(|target| !survives(target, seed, time)).map(|target| target.name).collect();
    assert!(broken.is_empty(), "broken: {broken:?}");
}

fn survives(target: &Target, seed: u64, time: Option<Duration>) -> bool {
    let seeds = seeds(target);
    assert!(!seeds.is_empty(), "no seeds of {}", target.name);
    let mut mutator = Mutator::new(seed);
    let started = Instant::now();
    let mutants =
        (0..).take_while(|n| time.map_or(*n < MUTANTS, |time| started.elapsed() < time)).map(|_| {
            let (input, other) = (mutator.below(seeds.len()), mutator.below(seeds.len()));
            mutator.mutant(&seeds[input], &seeds[other], target.max_len)
        });
    seeds.iter().all(|input| holds(target, input)) && mutants.into_iter().all(|input| holds(target, &input))
}

fn seeds(target: &Target) -> Vec<Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name);
    let mut paths: Vec<_> =
        fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).expect("a seed can be read")).collect()
}

fn holds(target: &Target, input: &[u8]) -> bool {
    let result = catch_unwind(AssertUnwindSafe(|| check(target, input)));
    if result.is_err() {
        let hex: String = input.iter().map(|byte| format!("{byte:02x}")).collect();
        eprintln!("{} is broken by {hex}", target.name);
    }
    result.is_ok()
}
