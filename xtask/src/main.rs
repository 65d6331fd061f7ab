//! Project tasks: `cargo xtask setup|tidy|test|compat|fuzz|sim|soak|failover|bench|profile`.
//!
//! Every command that a task runs is printed first; the first one that fails ends the task with exit code 1.

mod compat;
mod fuzz;
mod setup;
mod shell;
mod tidy;

use std::process::ExitCode;
use std::time::Instant;

use shell::{Failed, Shell};

const USAGE: &str = "\
cargo xtask setup                     fetch what the tests need into target/test-setup (skips what is there)
cargo xtask tidy                      formatting, lints, documentation, sizes, layers
cargo xtask test                      setup, tidy, release build, every test
cargo xtask compat [--suite NAME] [--write]
                                      test suites of other projects; --write renews the table of results
cargo xtask fuzz [--target T] [--seconds N]   libFuzzer over the targets of fuzz/, 60 s each unless told otherwise
cargo xtask fuzz --merge [--target T]  the smallest inputs that reach everything, into fuzz/corpus
cargo xtask sim [--seeds N] [--first S] [--bugs] ...   the cluster under a seeded simulator: `cargo xtask sim help`
cargo xtask soak kill [--rounds N] [--first-round M] [--damage-every K]
                                      kill -9 under load, rounds M to N (0 to 1000); damage to files in one of K (5)
cargo xtask soak chaos [--rounds N] [--first-round M]
                                      clusters whose nodes are killed, frozen, cut off, full: rounds M to N (0 to 200)
cargo xtask failover [OPTIONS]        how long partitions stand still while nodes die, hang, return or are restarted
cargo xtask bench [WHAT] [OPTIONS]    speed beside the floor and Apache Kafka: `cargo xtask bench --help`
cargo xtask profile CELL [OPTIONS]    a flame graph of the node under a cell of the benchmark";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let shell = Shell::new();
    let started = Instant::now();
    let result = match words.as_slice() {
        ["setup"] => setup::run(&shell),
        ["tidy"] => tidy::run(&shell),
        ["test"] => test(&shell),
        ["compat", options @ ..] => compat::run(&shell, options),
        ["fuzz", options @ ..] => match fuzz_options(options) {
            Some(options) => fuzz::run(&shell, &options),
            None => return usage(),
        },
        ["sim", words @ ..] => sim(&shell, words),
        ["soak", "kill", options @ ..] => match soak_options(options) {
            Some(env) => soak_kill(&shell, &env),
            None => return usage(),
        },
        ["soak", "chaos"] => soak_chaos(&shell, "200", "0"),
        ["soak", "chaos", "--rounds", rounds] => soak_chaos(&shell, rounds, "0"),
        ["soak", "chaos", "--rounds", rounds, "--first-round", first] => soak_chaos(&shell, rounds, first),
        ["failover", words @ ..] => failover(&shell, words),
        ["bench", words @ ..] => bench(&shell, words),
        ["profile", words @ ..] => profile(&shell, words),
        _ => return usage(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failed(why)) => {
            eprintln!("xtask: {why} (after {} s)", started.elapsed().as_secs());
            ExitCode::FAILURE
        }
    }
}

fn usage() -> ExitCode {
    eprintln!("{USAGE}");
    ExitCode::from(2)
}

fn fuzz_options<'a>(mut words: &[&'a str]) -> Option<fuzz::Options<'a>> {
    let mut options = fuzz::Options { target: None, seconds: "60", merge: false };
    loop {
        words = match words {
            [] => return Some(options),
            ["--merge", rest @ ..] => {
                options.merge = true;
                rest
            }
            ["--target", name, rest @ ..] => {
                options.target = Some(name);
                rest
            }
            ["--seconds", seconds, rest @ ..] if seconds.parse::<u32>().is_ok() => {
                options.seconds = seconds;
                rest
            }
            _ => return None,
        };
    }
}

/// The closing lines of its output are those of `cargo test`.
fn test(shell: &Shell) -> Result<(), Failed> {
    setup::run(shell)?;
    tidy::run(shell)?;
    shell.run("cargo", &["build", "--release", "-p", "minikafka-node"])?;
    shell.run("cargo", &["test", "--workspace", "--no-fail-fast"])
}

/// Builds the simulation, fast and with every check of the debug build, and hands over to it.
fn sim(shell: &Shell, words: &[&str]) -> Result<(), Failed> {
    shell.run("cargo", &["build", "-q", "--profile", "fuzz", "-p", "minikafka-sim"])?;
    shell.run(&shell.program("fuzz/minikafka-sim"), words)
}

/// The options of a soak as the environment of its test.
fn soak_options<'a>(words: &[&'a str]) -> Option<Vec<(&'static str, &'a str)>> {
    let mut env = vec![("MINIKAFKA_KILL_ROUNDS", "1000")];
    for pair in words.chunks(2) {
        let [option, value] = *pair else { return None };
        value.parse::<u32>().ok()?;
        let name = match option {
            "--rounds" => "MINIKAFKA_KILL_ROUNDS",
            "--first-round" => "MINIKAFKA_KILL_FIRST",
            "--damage-every" => "MINIKAFKA_KILL_DAMAGE_EVERY",
            _ => return None,
        };
        env.push((name, value));
    }
    Some(env)
}

/// The rounds are independent of each other but for the data, so that a run can be taken up at any of them.
fn soak_kill(shell: &Shell, env: &[(&str, &str)]) -> Result<(), Failed> {
    shell.run("cargo", &["build", "--release", "-p", "minikafka-node"])?;
    let test = ["test", "-p", "minikafka-tests", "--test", "kill", "--", "--nocapture"];
    shell.run_with(env, "cargo", &test)
}

/// A round's faults follow from its number, so that one round can be repeated alone.
fn soak_chaos(shell: &Shell, rounds: &str, first: &str) -> Result<(), Failed> {
    shell.run("cargo", &["build", "--release", "-p", "minikafka-node"])?;
    let test = ["test", "-p", "minikafka-tests", "--test", "chaos", "--", "--nocapture"];
    let env = [("MINIKAFKA_CHAOS_ROUNDS", rounds), ("MINIKAFKA_CHAOS_FIRST", first)];
    shell.run_with(&env, "cargo", &test)
}

/// Builds the node and hands over to the program that measures.
fn failover(shell: &Shell, words: &[&str]) -> Result<(), Failed> {
    shell.run("cargo", &["build", "--release", "-p", "minikafka-node"])?;
    shell.run("cargo", &["build", "--release", "-p", "minikafka-tests", "--example", "failover"])?;
    shell.run(&shell.program("release/examples/failover"), words)
}

/// Builds the node and the benchmark and hands over to it.
fn bench(shell: &Shell, words: &[&str]) -> Result<(), Failed> {
    shell.run("cargo", &["build", "--release", "-p", "minikafka-node", "-p", "minikafka-bench"])?;
    shell.run(&shell.program("release/minikafka-bench"), words)
}

/// As [`bench()`], with a node whose stacks perf can walk, in a profile's directory of its own.
fn profile(shell: &Shell, words: &[&str]) -> Result<(), Failed> {
    let node = ["build", "--profile", "profiling", "-p", "minikafka-node"];
    shell.run_with(&[("RUSTFLAGS", "-Cforce-frame-pointers=yes")], "cargo", &node)?;
    shell.run("cargo", &["build", "--release", "-p", "minikafka-bench"])?;
    let program = shell.program("profiling/minikafka");
    let words: Vec<&str> = ["profile"].iter().chain(words).copied().collect();
    shell.run_with(&[("MINIKAFKA_BIN", &program)], &shell.program("release/minikafka-bench"), &words)
}
