//! Many seeds on several threads, and what is told of them.

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::{Bug, Kind, Violation, run};

const USAGE: &str = "\
cargo xtask sim [--only quorum|cluster] [--seeds N] [--first S] [--threads K]   runs N seeds (1000) from S (0) on
cargo xtask sim --only quorum|cluster --seed S [--bug NAME]      one seed, with every event
cargo xtask sim --bugs [--bug NAME] [--seeds N]                  plants bugs one at a time, N seeds (2000) at most each";

/// Seeds within which a planted bug must be found.
const BUG_SEEDS: u64 = 2_000;
const SEEDS: u64 = 1_000;

/// What is asked for on the command line.
#[derive(Clone, Debug)]
pub struct Options {
    only: Option<Kind>,
    seeds: Option<u64>,
    first: u64,
    threads: usize,
    /// One seed, with its events.
    seed: Option<u64>,
    bug: Option<Bug>,
    bugs: bool,
}

impl Options {
    /// Reads the words of the command line.
    ///
    /// # Errors
    /// How it is used.
    pub fn parse(words: &[String]) -> Result<Options, &'static str> {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let mut options =
            Options { only: None, seeds: None, first: 0, threads, seed: None, bug: None, bugs: false };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            if word == "--bugs" {
                options.bugs = true;
                continue;
            }
            let value = words.next().ok_or(USAGE)?;
            let number = || value.parse::<u64>().map_err(|_| USAGE);
            match word.as_str() {
                "--only" => {
                    options.only =
                        Some(Kind::ALL.into_iter().find(|kind| kind.name() == value).ok_or(USAGE)?);
                }
                "--bug" => {
                    let found = Bug::ALL.iter().find(|bug| bug.name() == value);
                    options.bug = Some(*found.ok_or(USAGE)?);
                }
                "--seeds" => options.seeds = Some(number()?),
                "--first" => options.first = number()?,
                "--seed" => options.seed = Some(number()?),
                "--threads" => options.threads = usize::try_from(number()?.max(1)).map_err(|_| USAGE)?,
                _ => return Err(USAGE),
            }
        }
        Ok(options)
    }

    fn kinds(&self) -> Vec<Kind> {
        Kind::ALL.into_iter().filter(|kind| self.only.is_none_or(|only| only == *kind)).collect()
    }
}

/// Does what is asked for; fails if an invariant was broken, or a planted bug was not found.
pub fn main(options: &Options) -> ExitCode {
    let is_good = match options.seed {
        Some(seed) => options.kinds().into_iter().all(|kind| replay(kind, seed, options.bug)),
        None if options.bugs => find_bugs(options),
        None => options.kinds().into_iter().all(|kind| run_many(kind, options)),
    };
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn replay(kind: Kind, seed: u64, bug: Option<Bug>) -> bool {
    let ended = run(kind, seed, bug, true);
    match &ended {
        Ok(outcome) => println!("{} seed {seed}: {outcome:?}", kind.name()),
        Err(violation) => println!("{} seed {seed}: {}\n{}", kind.name(), violation.place, violation.message),
    }
    ended.is_ok()
}

/// What became of many seeds.
struct Found {
    runs: u64,
    elapsed: Duration,
    /// The first seed, in the order of seeds, that broke something, and what.
    first: Option<(u64, Violation)>,
}

/// Runs seeds until all are run or one breaks something.
fn search(kind: Kind, seeds: std::ops::Range<u64>, threads: usize, bug: Option<Bug>) -> Found {
    let started = Instant::now();
    let next = AtomicU64::new(seeds.start);
    let end = AtomicU64::new(seeds.end);
    let work = || {
        let (mut found, mut runs): (Option<(u64, Violation)>, u64) = (None, 0);
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end.load(Ordering::Relaxed) {
                return (found, runs);
            }
            runs += 1;
            if let Err(violation) = run(kind, seed, bug, false) {
                end.fetch_min(seed, Ordering::Relaxed);
                if found.as_ref().is_none_or(|(known, _)| *known > seed) {
                    found = Some((seed, violation));
                }
            }
        }
    };
    let results: Vec<_> = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().map(|worker| worker.join().expect("a worker catches panics")).collect()
    });
    let runs = results.iter().map(|(_, runs)| runs).sum();
    let first = results.into_iter().filter_map(|(found, _)| found).min_by_key(|(seed, _)| *seed);
    Found { runs, elapsed: started.elapsed(), first }
}

fn run_many(kind: Kind, options: &Options) -> bool {
    let count = options.seeds.unwrap_or(SEEDS);
    let range = options.first..options.first + count;
    let found = search(kind, range.clone(), options.threads, None);
    let seconds = found.elapsed.as_secs_f64();
    println!(
        "{:8} {} seeds from {} on: {} in {seconds:.1} s on {} threads, {:.0} seeds per minute",
        kind.name(),
        found.runs,
        range.start,
        if found.first.is_some() { "BROKEN" } else { "no violation" },
        options.threads,
        found.runs as f64 * 60.0 / seconds
    );
    if let Some((seed, violation)) = &found.first {
        println!("  seed {seed}: {}: {}", violation.place, violation.message);
        println!("  replay: cargo xtask sim --only {} --seed {seed}", kind.name());
    }
    found.first.is_none()
}

/// Plants one bug after the other; each must be found.
fn find_bugs(options: &Options) -> bool {
    let seeds = options.seeds.unwrap_or(BUG_SEEDS);
    let mut all_found = true;
    for bug in Bug::ALL.iter().copied().filter(|bug| options.bug.is_none_or(|only| only == *bug)) {
        let hit = options.kinds().into_iter().rev().find_map(|kind| {
            let found = search(kind, options.first..options.first + seeds, options.threads, Some(bug));
            found.first.map(|(seed, violation)| (kind, seed, violation, found.elapsed))
        });
        all_found &= hit.is_some();
        match hit {
            Some((kind, seed, violation, elapsed)) => {
                let file = violation.place.rsplit('/').next().unwrap_or_default();
                let seconds = elapsed.as_secs_f64();
                let message: String = violation.message.chars().take(120).collect();
                println!(
                    "{:28} {} seed {seed:4} ({seconds:.1} s)  {file}: {message}",
                    bug.name(),
                    kind.name()
                );
            }
            None => println!("{:28} NOT FOUND in {seeds} seeds", bug.name()),
        }
    }
    all_found
}
