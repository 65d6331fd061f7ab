//! The suites that pytest runs.

use std::path::{Path, PathBuf};

use minikafka_tests::node::{self, Target};
use minikafka_tests::setup;

use crate::directory;
use crate::outcome::{self, Outcome};
use crate::suites::Suite;

/// The files of aiokafka's tests that talk to a broker, but for those about SASL.
const AIOKAFKA_FILES: [&str; 10] = [
    "admin",
    "client",
    "conn",
    "consumer",
    "coordinator",
    "fetcher",
    "pep492",
    "producer",
    "transactional_consumer",
    "transactional_producer",
];

/// Starts nodes itself, through scripts named like Kafka's.
pub(crate) fn kafka_python(suite: &Suite) -> Vec<Outcome> {
    let sources = suite.sources();
    // What its source package leaves out.
    copy(&ours("kafka-python"), &sources);
    let words = ["test/integration"];
    pytest(suite, &sources, &[&sources], &[("KAFKA_VERSION", setup::KAFKA)], &words)
}

/// Starts a node through the docker client, which is a module of ours.
pub(crate) fn aiokafka(suite: &Suite) -> Vec<Outcome> {
    let checkout = checkout(suite);
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let dir = temporary.path();
    for part in ["tests", "pyproject.toml"] {
        copy(&checkout.join(part), &dir.join(part));
    }
    // Certificates are made inside the container unless the folder is there.
    std::fs::create_dir_all(dir.join("tests/ssl_cert")).expect("a folder can be made");
    let path = format!("{}:{}", ours("aiokafka/bin").display(), std::env::var("PATH").unwrap_or_default());
    let image = format!("--docker-image=minikafka:2.13_{}", setup::KAFKA);
    let files = AIOKAFKA_FILES.map(|file| format!("tests/test_{file}.py"));
    let mut words = vec!["--timeout=60", &image, "--no-pull"];
    words.extend(files.iter().map(String::as_str));
    pytest(suite, dir, &[&ours("aiokafka")], &[("PATH", &path)], &words)
}

/// Takes the node that the environment names.
pub(crate) fn confluent(suite: &Suite) -> Vec<Outcome> {
    let checkout = checkout(suite);
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let dir = temporary.path();
    copy(&checkout.join("tests"), &dir.join("tests"));
    let mut node = suite.node();
    let folders = ["admin", "consumer", "producer"].map(|folder| format!("tests/integration/{folder}"));
    let words: Vec<&str> = ["--timeout=90"].into_iter().chain(folders.iter().map(String::as_str)).collect();
    let env = [("BROKERS", "localhost:9092")];
    let outcomes = pytest(suite, dir, &[&ours("confluent"), dir], &env, &words);
    node.stop();
    outcomes
}

/// Runs pytest in `dir` with our plugin, which writes what became of each test.
fn pytest(
    suite: &Suite,
    dir: &Path,
    modules: &[&Path],
    env: &[(&str, &str)],
    arguments: &[&str],
) -> Vec<Outcome> {
    let python = setup::fetched("compat/python/bin/python").display().to_string();
    let report = directory().join(format!("{}.pytest.jsonl", suite.name));
    let _ = std::fs::remove_file(&report);
    let report_text = report.display().to_string();
    let mut modules: Vec<String> = modules.iter().map(|path| path.display().to_string()).collect();
    modules.push(ours("report").display().to_string());
    let modules = modules.join(":");
    let home = ours("kafka-home").display().to_string();
    let node = setup::minikafka().display().to_string();
    let java = node::java(setup::KAFKA).join(" ");
    let target = if Target::from_env() == Target::Ours { "ours" } else { "apache" };
    let mut all = vec![
        ("PYTHONPATH", modules.as_str()),
        ("MINIKAFKA_REPORT", &report_text),
        ("KAFKA_ROOT", &home),
        ("MINIKAFKA_BIN", &node),
        ("MINIKAFKA_JAVA", &java),
        ("MINIKAFKA_COMPAT_TARGET", target),
    ];
    all.extend(env);
    let mut words =
        vec![python.as_str(), "-m", "pytest", "-v", "-p", "minikafka_report", "-p", "no:cacheprovider"];
    words.extend(arguments);
    suite.logged(dir, &all, &words);
    outcome::read(&report)
}

/// A file or folder of ours in `tests/compat`.
fn ours(relative: &str) -> PathBuf {
    setup::root().join("tests/compat").join(relative)
}

fn checkout(suite: &Suite) -> PathBuf {
    let named = suite.checkout.and_then(std::env::var_os);
    PathBuf::from(named.unwrap_or_else(|| panic!("{} needs a checkout", suite.name)))
}

/// Copies a file, or what is in a folder into another, which is made if it is not there.
fn copy(from: &Path, to: &Path) {
    if !from.is_dir() {
        std::fs::copy(from, to).unwrap_or_else(|e| panic!("{}: {e}", from.display()));
        return;
    }
    std::fs::create_dir_all(to).unwrap_or_else(|e| panic!("{}: {e}", to.display()));
    for entry in std::fs::read_dir(from).unwrap_or_else(|e| panic!("{}: {e}", from.display())) {
        let entry = entry.expect("a folder can be listed");
        copy(&entry.path(), &to.join(entry.file_name()));
    }
}
