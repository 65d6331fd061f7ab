//! Brokers and controllers that are killed, frozen, cut off, full or emptied under load: what clients saw keeps the rules.
//!
//! `MINIKAFKA_CHAOS_ROUNDS`: how many rounds, on a new cluster every so many; unset: a few fixed ones.
//! `MINIKAFKA_CHAOS_SETTINGS`: more settings of the nodes; with `min.insync.replicas=1,unclean.leader.election.enable=true`
//! records are lost, and the rules find them. `MINIKAFKA_CHAOS_FIRST`: number of the first round. `MINIKAFKA_SEED` with the number decides what a round does.

use std::time::Duration;

use minikafka_tests::chaos::{APART, COMBINED, Outcome, Run};

/// The seed, unless told otherwise: a round of a number is the same everywhere.
const SEED: u64 = 1;
/// Rounds on one cluster.
const ROUNDS_EACH: u64 = 10;

#[test]
fn faults_under_load() {
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let seed = number("MINIKAFKA_SEED").unwrap_or(SEED);
    let outcomes = match number("MINIKAFKA_CHAOS_ROUNDS") {
        None => few(seed),
        Some(rounds) => many(seed, number("MINIKAFKA_CHAOS_FIRST").unwrap_or(0), rounds),
    };
    report(outcomes);
}

/// A disk emptied, and all nodes killed; with controllers apart, a broker that lost everything.
fn few(seed: u64) -> Vec<Outcome> {
    let mut outcomes = rounds(seed, &[8, 81]);
    outcomes.extend(rounds(seed, &[51]));
    outcomes
}

fn many(seed: u64, first: u64, rounds_end: u64) -> Vec<Outcome> {
    let all: Vec<u64> = (first..rounds_end).collect();
    all.chunk_by(|a, b| a / ROUNDS_EACH == b / ROUNDS_EACH).flat_map(|chunk| rounds(seed, chunk)).collect()
}

/// Rounds on one cluster; the number of the first says of which nodes.
fn rounds(seed: u64, numbers: &[u64]) -> Vec<Outcome> {
    let roles = if numbers[0] / ROUNDS_EACH % 3 == 2 { APART } else { COMBINED };
    // In a thread of its own, which stays in the network that the run makes.
    std::thread::scope(|scope| {
        let run = scope.spawn(|| {
            let more = std::env::var("MINIKAFKA_CHAOS_SETTINGS").unwrap_or_default();
            let more: Vec<(&str, &str)> = more.split(',').filter_map(|pair| pair.split_once('=')).collect();
            let mut run = Run::start(seed, roles, &more);
            let outcomes = numbers.iter().map(|round| run.round(*round)).collect();
            run.finish();
            outcomes
        });
        run.join().unwrap_or_else(|why| std::panic::resume_unwind(why))
    })
}

fn report(outcomes: Vec<Outcome>) {
    let mut recovered: Vec<Duration> = outcomes.iter().map(|outcome| outcome.recovered).collect();
    recovered.sort();
    let sum: usize = outcomes.iter().map(|outcome| outcome.acknowledged).sum();
    let took: Duration = outcomes.iter().map(|outcome| outcome.took).sum();
    let (half, last) = (recovered[recovered.len() / 2], recovered[recovered.len() - 1]);
    println!(
        "{} rounds in {took:?}: {sum} batches acknowledged; recovered after {half:?} (half), {last:?} (all)",
        outcomes.len()
    );
}
