//! `cargo xtask fuzz`: libFuzzer over the targets of `fuzz/`, one after the other, on the stable tool chain.
//!
//! The compiler's coverage pass is turned on by flags that rustc has on every channel; libFuzzer itself comes with the
//! crate `libfuzzer-sys` and is built by `c++`. What is found lives below `target/fuzz-data`: `corpus/TARGET` grows from run
//! to run, `crashes` holds what broke an invariant, `logs` what libFuzzer said. `fuzz/corpus` are the seeds.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::shell::{Failed, Shell};

/// Coverage counters, comparisons and a table of places, as libFuzzer wants them.
const COVERAGE: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
     -Cllvm-args=-sanitizer-coverage-trace-compares";
/// Naming the target keeps the flags away from build scripts.
const TRIPLE: &str = "x86_64-unknown-linux-gnu";
/// Largest seed that `--merge` keeps, and how many bytes of them.
const MAX_SEED: u64 = 8 * 1024;
const MAX_SEEDS: u64 = 40 * 1024;

/// What is asked for on the command line.
pub(crate) struct Options<'a> {
    /// One target; all if `None`.
    pub(crate) target: Option<&'a str>,
    /// Seconds for each target.
    pub(crate) seconds: &'a str,
    /// Put the smallest inputs that reach what the corpus reaches into `fuzz/corpus`, instead of a search.
    pub(crate) merge: bool,
}

/// Searches, and fails at the end if any target broke.
pub(crate) fn run(shell: &Shell, options: &Options<'_>) -> Result<(), Failed> {
    let fuzzer = build(shell)?;
    let mut broken = Vec::new();
    for (name, max_len) in targets(&fuzzer)? {
        if options.target.is_some_and(|wanted| wanted != name) {
            continue;
        }
        let place = Place::new(shell, &name)?;
        if options.merge {
            place.merge(&fuzzer)?;
        } else if !place.search(&fuzzer, options.seconds, &max_len)? {
            broken.push(name);
        }
    }
    match broken.is_empty() {
        true => Ok(()),
        false => Err(Failed(format!("broken: {}; see target/fuzz-data/crashes and logs", broken.join(", ")))),
    }
}

/// Builds the program; its path.
fn build(shell: &Shell) -> Result<PathBuf, Failed> {
    let words = [
        "build",
        "-q",
        "-p",
        "minikafka-fuzz",
        "--profile",
        "fuzz",
        "--features",
        "libfuzzer",
        "--target",
        TRIPLE,
    ];
    shell.run_with(&[("RUSTFLAGS", COVERAGE)], "cargo", &words)?;
    Ok(shell.target().join(TRIPLE).join("fuzz/minikafka-fuzz"))
}

/// Name and longest input of each target.
fn targets(fuzzer: &Path) -> Result<Vec<(String, String)>, Failed> {
    let output = Command::new(fuzzer).arg("list").output();
    let output = output.map_err(|e| Failed(format!("{}: {e}", fuzzer.display())))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let pairs = text.lines().filter_map(|line| line.split_once(' '));
    Ok(pairs.map(|(name, max_len)| (name.to_owned(), max_len.to_owned())).collect())
}

/// Where the files of one target are.
struct Place {
    name: String,
    seeds: PathBuf,
    corpus: PathBuf,
    crashes: PathBuf,
    log: PathBuf,
}

impl Place {
    fn new(shell: &Shell, name: &str) -> Result<Self, Failed> {
        let root = shell.target().join("fuzz-data");
        let place = Place {
            name: name.to_owned(),
            seeds: shell.root().join("fuzz/corpus").join(name),
            corpus: root.join("corpus").join(name),
            crashes: root.join("crashes"),
            log: root.join("logs").join(format!("{name}.log")),
        };
        for dir in [&place.seeds, &place.corpus, &place.crashes, &root.join("logs")] {
            fs::create_dir_all(dir).map_err(|e| Failed(format!("{}: {e}", dir.display())))?;
        }
        Ok(place)
    }

    /// False if an input broke the target.
    fn search(&self, fuzzer: &Path, seconds: &str, max_len: &str) -> Result<bool, Failed> {
        let log = fs::File::create(&self.log).map_err(|e| Failed(format!("{}: {e}", self.log.display())))?;
        let status = Command::new(fuzzer)
            .env("MINIKAFKA_FUZZ_TARGET", &self.name)
            .arg(&self.corpus)
            .arg(&self.seeds)
            .arg(format!("-max_total_time={seconds}"))
            .arg(format!("-max_len={max_len}"))
            .arg(format!("-artifact_prefix={}/{}-", self.crashes.display(), self.name))
            .args(["-timeout=30", "-rss_limit_mb=1024", "-print_final_stats=1", "-use_value_profile=1"])
            // With as many places as a value profile gives, weighing inputs by them costs more than running them.
            .arg("-entropic=0")
            .stdout(Stdio::null())
            .stderr(log)
            .status()
            .map_err(|e| Failed(format!("{}: {e}", fuzzer.display())))?;
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let fact = |name: &str| {
            let line = text.lines().rev().find(|line| line.contains(name)).unwrap_or_default();
            line.split_whitespace().skip_while(|word| !word.contains(name)).nth(1).unwrap_or("?").to_owned()
        };
        println!(
            "{:12} {:>12} runs, {:>6} places reached, corpus {}, {}",
            self.name,
            fact("number_of_executed_units"),
            fact("cov:"),
            fact("corp:"),
            if status.success() { "no crash" } else { "BROKEN" }
        );
        Ok(status.success())
    }

    /// Replaces the seeds: of the inputs that together reach everything, the smallest.
    fn merge(&self, fuzzer: &Path) -> Result<(), Failed> {
        let failed = |e: std::io::Error| Failed(format!("{}: {e}", self.seeds.display()));
        let merged = self.corpus.with_extension("merged");
        let _ = fs::remove_dir_all(&merged);
        fs::create_dir_all(&merged).map_err(failed)?;
        let status = Command::new(fuzzer)
            .env("MINIKAFKA_FUZZ_TARGET", &self.name)
            .args(["-merge=1", "-timeout=30"])
            .args([&merged, &self.corpus, &self.seeds])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .map_err(failed)?;
        if !status.success() {
            return Err(Failed(format!("merging the corpus of {} failed", self.name)));
        }
        let mut found: Vec<(u64, PathBuf)> = fs::read_dir(&merged)
            .map_err(failed)?
            .flatten()
            .filter_map(|entry| Some((entry.metadata().ok()?.len(), entry.path())))
            .collect();
        found.sort();
        let mut left = MAX_SEEDS;
        for (len, path) in found {
            if len > MAX_SEED.min(left) {
                break;
            }
            left -= len;
            let name = path.file_name().unwrap_or_default().to_owned();
            fs::copy(&path, self.seeds.join(name)).map_err(failed)?;
        }
        fs::remove_dir_all(&merged).map_err(failed)
    }
}
