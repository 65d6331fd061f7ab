//! Test suites of other projects: fetched by each language's ordinary client, run by `tests/compat/runner`.
//!
//! Their code stays below `target/test-setup/compat`. Suites that no registry has are run from a checkout that an
//! environment variable names; `tests/compat/README.md` says which.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::setup::{self, unless_stamped};
use crate::shell::{Failed, Shell};

const KAFKA_PYTHON: &str = "kafka-python==3.0.12";
const KAFKA_GO: &str = "github.com/segmentio/kafka-go@v0.4.51";

/// Fetches the suites and runs them, or the one that is named.
pub(crate) fn run(shell: &Shell, options: &[&str]) -> Result<(), Failed> {
    let (mut suites, mut flags) = (Vec::new(), Vec::new());
    let mut rest = options.iter();
    while let Some(option) = rest.next() {
        match *option {
            "--suite" => suites.push(*rest.next().ok_or_else(|| Failed("--suite needs a name".to_owned()))?),
            "--write" => flags.push("--write"),
            other => return Err(Failed(format!("{other} is no option of compat"))),
        }
    }
    let wants = |suite: &str| suites.is_empty() || suites.contains(&suite);
    setup::run(shell)?;
    if wants("kafka-python") || wants("aiokafka") || wants("confluent") {
        let dir = folder(shell, "python");
        setup::virtual_environment(shell, &dir, "tests/compat/python-requirements.txt")?;
    }
    if wants("kafka-python") {
        kafka_python(shell)?;
    }
    if wants("kafka-go") {
        kafka_go(shell)?;
    }
    if wants("rdkafka") {
        rdkafka(shell)?;
    }
    shell.run("cargo", &["build", "--release", "-p", "minikafka-node"])?;
    let mut words = vec!["run", "-q", "-p", "minikafka-tests", "--example", "compat", "--"];
    words.extend(suites);
    words.extend(flags);
    shell.run("cargo", &words)
}

fn folder(shell: &Shell, name: &str) -> PathBuf {
    shell.setup_dir().join("compat").join(name)
}

/// Its source package holds its tests.
fn kafka_python(shell: &Shell) -> Result<(), Failed> {
    let dir = folder(shell, "kafka-python");
    let python = folder(shell, "python").join("bin/python").display().to_string();
    unless_stamped(&dir, &[], KAFKA_PYTHON, || {
        let words =
            ["-m", "pip", "download", "-q", "--no-binary", ":all:", "--no-deps", "-d", ".", KAFKA_PYTHON];
        shell.run_in(&dir, &[], &python, &words)?;
        let archive = only(&dir, ".tar.gz")?;
        shell.run_in(&dir, &[], "tar", &["xzf", &archive, "--strip-components=1"])
    })
}

/// A module's sources hold its tests. They are built here, since the run itself has no network.
fn kafka_go(shell: &Shell) -> Result<(), Failed> {
    let dir = folder(shell, "kafka-go");
    let env = [("GOFLAGS", "-mod=mod")];
    unless_stamped(&dir, &[], KAFKA_GO, || {
        let text = shell.read("go", &["mod", "download", "-json", KAFKA_GO])?;
        let module: Value =
            serde_json::from_str(&text).map_err(|e| Failed(format!("go mod download: {e}")))?;
        copy_writable(shell, Path::new(module["Dir"].as_str().unwrap_or_default()), &dir)
    })?;
    shell.run_in(&dir, &env, "go", &["test", "-run=^$", "-count=1", "./..."])
}

/// The crate's sources, which cargo has for our own client, hold its tests.
fn rdkafka(shell: &Shell) -> Result<(), Failed> {
    let manifest = shell.root().join("tests/clients/rdkafka/Cargo.toml").display().to_string();
    let words = ["metadata", "--format-version", "1", "--locked", "--manifest-path", &manifest];
    let text = shell.read("cargo", &words)?;
    let metadata: Value = serde_json::from_str(&text).map_err(|e| Failed(format!("cargo metadata: {e}")))?;
    let mut packages = metadata["packages"].as_array().into_iter().flatten();
    let package = packages.find(|package| package["name"] == "rdkafka");
    let path = package.and_then(|package| package["manifest_path"].as_str());
    let path = path.and_then(|path| Path::new(path).parent());
    let sources = path.ok_or_else(|| Failed("cargo does not know where rdkafka is".to_owned()))?;
    let dir = folder(shell, "rdkafka");
    unless_stamped(&dir, &[], &sources.display().to_string(), || copy_writable(shell, sources, &dir))?;
    let target = folder(shell, "rdkafka-target").display().to_string();
    let env = [("CARGO_TARGET_DIR", target.as_str()), ("CARGO_PROFILE_DEV_DEBUG", "0")];
    shell.run_in(&dir, &env, "cargo", &["test", "-q", "--tests", "--no-run"])
}

fn copy_writable(shell: &Shell, from: &Path, to: &Path) -> Result<(), Failed> {
    let (from, to) = (format!("{}/.", from.display()), to.display().to_string());
    shell.run("cp", &["-r", &from, &to])?;
    shell.run("chmod", &["-R", "u+w", &to])
}

/// The only file in `dir` whose name ends so.
fn only(dir: &Path, end: &str) -> Result<String, Failed> {
    let entries = fs::read_dir(dir).map_err(|e| Failed(format!("{}: {e}", dir.display())))?;
    let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut names = names.filter(|name| name.ends_with(end));
    names.next().ok_or_else(|| Failed(format!("no {end} in {}", dir.display())))
}
