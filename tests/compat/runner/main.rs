//! Test suites of other projects, each run against a fresh node: `cargo xtask compat [--suite NAME] [--write]`.
//!
//! A suite runs in a network namespace of its own with nothing but the loopback interface, so that the ports it wants
//! are free and nothing outside is reached. What does not pass must be listed in `tests/compat/README.md`, with the
//! reason; what is listed there must not pass. `MINIKAFKA_TEST_TARGET=apache` runs a suite against Apache Kafka
//! instead, and compares with nothing. The output of a suite is kept in `<target>/compat/<suite>.log`.

mod listed;
mod outcome;
mod python;
mod suites;

use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Instant;

use minikafka_tests::node::Target;
use minikafka_tests::setup;
use outcome::{Outcome, Verdict};
use suites::{SUITES, Suite};

/// Set in the process that runs inside the namespace.
const INSIDE: &str = "MINIKAFKA_COMPAT_INSIDE";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let only: Vec<&str> = words.iter().map(String::as_str).filter(|word| !word.starts_with("--")).collect();
    if let Some(unknown) = only.iter().find(|word| !SUITES.iter().any(|suite| suite.name == **word)) {
        let names: Vec<&str> = SUITES.iter().map(|suite| suite.name).collect();
        eprintln!("no suite {unknown}; there are {}", names.join(", "));
        return ExitCode::from(2);
    }
    let chosen = SUITES.iter().filter(|suite| only.is_empty() || only.contains(&suite.name));
    if std::env::var_os(INSIDE).is_some() {
        chosen.for_each(|suite| outcome::write(&report_of(suite), &(suite.run)(suite)));
        return ExitCode::SUCCESS;
    }
    std::fs::create_dir_all(directory()).expect("the directory of the results can be made");
    let mut is_right = true;
    let mut rows = Vec::new();
    for suite in chosen {
        let Some(outcomes) = run_apart(suite) else {
            is_right = false;
            continue;
        };
        println!("{}", listed::row(suite, &outcomes));
        is_right &= Target::from_env() == Target::Apache || listed::compare(suite, &outcomes);
        rows.push((suite, outcomes));
    }
    if words.iter().any(|word| word == "--write") {
        listed::write_rows(&rows);
    }
    ExitCode::from(u8::from(!is_right))
}

/// Where logs and reports are kept.
fn directory() -> PathBuf {
    setup::target().join("compat")
}

fn report_of(suite: &Suite) -> PathBuf {
    directory().join(format!("{}.jsonl", suite.name))
}

/// Runs one suite in a namespace of its own; `None` when it could not be run.
fn run_apart(suite: &Suite) -> Option<Vec<Outcome>> {
    if let Some(why) = suite.missing() {
        println!("{}: not run: {why}", suite.name);
        return None;
    }
    let started = Instant::now();
    let report = report_of(suite);
    let _ = std::fs::remove_file(&report);
    let this = std::env::current_exe().expect("the path of the running program");
    let status = Command::new("unshare")
        .args(["--net", "--", "sh", "-c", "ip link set lo up && exec \"$0\" \"$@\""])
        .arg(this)
        .arg(suite.name)
        .env(INSIDE, "1")
        .status();
    if !status.as_ref().is_ok_and(|status| status.success()) {
        println!("{}: cannot be run (as root, with unshare and ip?): {status:?}", suite.name);
        return None;
    }
    let outcomes = outcome::read(&report);
    println!("{}: {} s", suite.name, started.elapsed().as_secs());
    for outcome in outcomes.iter().filter(|o| o.verdict != Verdict::Pass) {
        println!("  {} {}: {}", outcome.verdict.word(), outcome.test, outcome.why);
    }
    Some(outcomes)
}
