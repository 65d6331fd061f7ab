//! The command as a process: its words, exit codes, and what it leaves behind. Messages of failed starts are
//! those of a running Kafka 4.1.2.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

const FAILED_STARTS: &str = include_str!("../testdata/failed-starts-4.1.2.json");
const CLUSTER: &str = "Z29sZGVuLW1pbmlrYWZrYQ";
const OTHER_CLUSTER: &str = "AAAAAAAAAAAAAAAAAAAAAQ";

/// A folder in which commands run, so that directories have short relative names as in the golden data.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_minikafka"));
        command.args(line.split_whitespace()).current_dir(self.0.path()).env("TMPDIR", self.0.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, line: &str) -> (i32, String) {
        let Output { status, stdout, stderr } = self.command(line).output().unwrap();
        (status.code().unwrap(), String::from_utf8(stdout).unwrap() + &String::from_utf8(stderr).unwrap())
    }

    /// A properties file of a single node on free ports.
    fn properties(&self, file: &str, change: &[(&str, &str)]) {
        let base = [
            ("process.roles", "broker,controller"),
            ("node.id", "1"),
            ("controller.listener.names", "CONTROLLER"),
            ("listeners", "PLAINTEXT://127.0.0.1:0,CONTROLLER://127.0.0.1:0"),
            ("controller.quorum.voters", "1@127.0.0.1:0"),
            ("log.dirs", "good"),
        ];
        let lines = base.iter().chain(change).map(|(key, value)| format!("{key}={value}\n"));
        fs::write(self.path(file), lines.collect::<String>()).unwrap();
    }

    fn start(&self, line: &str) -> Running {
        let mut child = self.command(line).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut seen = String::new();
        for line in lines.by_ref() {
            seen += &(line.unwrap() + "\n");
            if seen.contains("Bootstrap address: ") {
                break;
            }
        }
        assert!(seen.contains("Kafka Server started"), "{seen}");
        // Drained, so that the process never waits for a reader.
        std::thread::spawn(move || lines.for_each(drop));
        Running { child, seen }
    }
}

struct Running {
    child: Child,
    seen: String,
}

impl Running {
    fn signal(&mut self, signal: Signal) -> Option<i32> {
        kill_process(Pid::from_raw(self.child.id() as i32).unwrap(), signal).unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < deadline, "still running after {signal:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn temporary_dirs(parent: &Path) -> usize {
    let entries = fs::read_dir(parent).unwrap().flatten();
    entries.filter(|e| e.file_name().to_string_lossy().starts_with("minikafka-dev-")).count()
}

fn format(place: &Place, file: &str, cluster: &str, options: &str) -> (i32, String) {
    place.run(&format!("storage format -t {cluster} -c {file} {options}"))
}

#[test]
fn failed_starts_say_what_kafka_says() {
    let place = Place::new();
    place.properties("good.properties", &[]);
    place.properties("other.properties", &[("log.dirs", "other")]);
    assert_eq!(format(&place, "good.properties", CLUSTER, "").0, 0);
    assert_eq!(format(&place, "other.properties", OTHER_CLUSTER, "").0, 0);
    let cases: Vec<serde_json::Value> = serde_json::from_str(FAILED_STARTS).unwrap();
    for case in &cases {
        let properties = case["properties"].as_object().unwrap();
        let occupied = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let taken = occupied.local_addr().unwrap().to_string();
        // The golden node's controller port stands for the one that is in use.
        let text = |value: &serde_json::Value| value.as_str().unwrap().replace("127.0.0.1:29801", &taken);
        let mut lines: String =
            properties.iter().map(|(key, value)| format!("{key}={}\n", text(value))).collect();
        if properties["log.dirs"] == "taken" {
            lines = lines.replace("log.dirs=taken", "log.dirs=good");
        }
        fs::write(place.path("case.properties"), lines).unwrap();
        let (code, output) = place.run("start case.properties");
        let message = text(&case["message"]);
        let message = message.trim_end_matches('.');
        assert_eq!(code, 1, "{}: {output}", case["what"]);
        assert!(output.contains(message), "{}: {message}\n{output}", case["what"]);
        assert!(!output.contains("Kafka Server started"), "{}", case["what"]);
    }
    assert!(cases.len() >= 10, "{} cases", cases.len());
    assert!(!place.path("unformatted").exists(), "a failed start makes no directory");
}

#[test]
fn only_zookeeper() {
    let place = Place::new();
    fs::write(place.path("z.properties"), "broker.id=1\nzookeeper.connect=127.0.0.1:1\nlog.dirs=z\n")
        .unwrap();
    let (code, output) = place.run("start z.properties");
    assert!(
        code == 1 && output.contains("zookeeper.connect") && output.contains("not supported"),
        "{output}"
    );
    assert!(!place.path("z").exists());
}

#[test]
fn formatting_says_what_kafka_says() {
    let place = Place::new();
    place.properties("s.properties", &[]);
    let already = "Log directory good is already formatted. Use --ignore-formatted to ignore this directory and \
                   format the others.\n";
    let steps = [
        ("", 0, "Formatting metadata directory good with metadata.version 4.1-IV1.\n"),
        ("", 1, already),
        ("--ignore-formatted", 0, "All of the log directories are already formatted.\n"),
    ];
    for (options, code, words) in steps {
        assert_eq!(format(&place, "s.properties", CLUSTER, options), (code, words.to_owned()), "{options}");
    }
    let (code, output) = format(&place, "s.properties", OTHER_CLUSTER, "-g");
    let wrong =
        format!("Invalid cluster.id in: good/meta.properties. Expected {OTHER_CLUSTER}, but read {CLUSTER}");
    assert!(code == 1 && output.contains(&wrong), "{output}");
    let (code, output) = place.run("storage info -c s.properties");
    let start =
        format!("Found log directory:\n  good\n\nFound metadata: {{cluster.id={CLUSTER}, directory.id=");
    assert!(code == 0 && output.starts_with(&start), "{output}");
    assert!(output.ends_with(", node.id=1, version=1}\n\n"), "{output}");
}

#[test]
fn formatting_a_dynamic_quorum() {
    let place = Place::new();
    let dynamic = [("controller.quorum.voters", ""), ("controller.quorum.bootstrap.servers", "127.0.0.1:9")];
    let file = |name: &str| {
        place.properties(name, &[dynamic[0], dynamic[1], ("log.dirs", name)]);
        name.to_owned()
    };
    let choose = "Because controller.quorum.voters is not set on this controller, you must specify one of the \
                  following: --standalone, --initial-controllers, or --no-initial-controllers.\n";
    assert_eq!(format(&place, &file("a"), CLUSTER, ""), (1, choose.to_owned()));
    let voter = "--initial-controllers 1@127.0.0.1:9093:JEXY6aqzQY-32P5TStzaFg";
    for (name, options, kind, release) in [
        ("standalone", "--standalone", "dynamic metadata voter", "4.1-IV1"),
        ("initial", voter, "dynamic metadata voter", "4.1-IV1"),
        ("none", "--no-initial-controllers", "metadata", "4.1-IV1"),
        ("old", "-N -r 4.0 -f transaction.version=1", "metadata", "4.0-IV3"),
    ] {
        let file = file(&format!("{name}.properties"));
        let expected = format!("Formatting {kind} directory {file} with metadata.version {release}.\n");
        // The directory has the file's name, which is there already: use another.
        let directory = format!("{name}-data");
        let text = fs::read_to_string(place.path(&file)).unwrap();
        fs::write(
            place.path(&file),
            text.replace(&format!("log.dirs={file}"), &format!("log.dirs={directory}")),
        )
        .unwrap();
        let expected = expected.replace(&file, &directory);
        assert_eq!(format(&place, &file, CLUSTER, options), (0, expected), "{options}");
    }
    place.properties("static", &[("log.dirs", "static-data")]);
    let (code, output) = format(&place, "static", CLUSTER, "--standalone");
    let both = "You cannot specify controller.quorum.voters and format the node with --initial-controllers or \
                --standalone. If you want to use dynamic quorum, please remove controller.quorum.voters and \
                specify controller.quorum.bootstrap.servers instead.\n";
    assert_eq!((code, output.as_str()), (1, both));
}

#[test]
fn a_node_stops_in_order_and_nobody_else_gets_its_directory() {
    let place = Place::new();
    place.properties("s.properties", &[("no.such.key", "1")]);
    assert_eq!(format(&place, "s.properties", CLUSTER, "").0, 0);
    let mut node = place.start("start s.properties");
    for words in [
        "Configuration keys that have no effect here: unknown to Kafka: no.such.key",
        "Transitioning from RECOVERY to RUNNING",
        "[KafkaServer id=1] started",
    ] {
        assert!(node.seen.contains(words), "{words}: {}", node.seen);
    }
    let (code, output) = place.run("start s.properties");
    assert!(code == 1 && output.contains("Failed to acquire lock on file .lock in good"), "{output}");
    assert_eq!(node.signal(Signal::TERM), Some(143));
    assert!(place.path("good/.kafka_cleanshutdown").exists());
    let mut node = place.start("start s.properties");
    assert_eq!(node.signal(Signal::INT), Some(130));
}

#[test]
fn dev_removes_its_directory() {
    let place = Place::new();
    let mut killed = place.start("dev --port 0");
    assert_eq!(temporary_dirs(place.0.path()), 1);
    killed.signal(Signal::KILL);
    assert_eq!(temporary_dirs(place.0.path()), 1);
    let mut first = place.start("--port 0");
    let mut second = place.start("dev --port 0");
    assert_eq!(temporary_dirs(place.0.path()), 2, "the leftover is gone");
    assert_eq!(first.signal(Signal::TERM), Some(0));
    assert_eq!(second.signal(Signal::INT), Some(0));
    assert_eq!(temporary_dirs(place.0.path()), 0);
    let port: u16 =
        first.seen.trim_end_matches(" (minikafka)\n").rsplit(':').next().unwrap().parse().unwrap();
    assert_ne!(port, 0);
}

#[test]
fn dev_keeps_given_data() {
    let place = Place::new();
    for _ in 0..2 {
        let mut node = place.start("dev --port 0 --data data");
        assert_eq!(node.signal(Signal::TERM), Some(0));
        assert!(place.path("data/meta.properties").exists());
    }
    let (code, output) = place.run("dev --port 0 --brokers 0");
    assert!(code == 1 && output.contains("--brokers 0"), "{output}");
}

#[test]
fn dev_of_several_brokers_is_one_cluster() {
    let place = Place::new();
    let mut ids = Vec::new();
    for _ in 0..2 {
        let mut cluster = place.start("dev --port 0 --brokers 3 --data data");
        let (_, addresses) = cluster.seen.rsplit_once("Bootstrap address: ").unwrap();
        assert_eq!(addresses.matches("localhost:").count(), 3, "{}", cluster.seen);
        assert_eq!(cluster.seen.matches("Kafka Server started").count(), 3, "{}", cluster.seen);
        assert_eq!(cluster.signal(Signal::TERM), Some(0));
        for node in 1..=3 {
            let text = fs::read_to_string(place.path(&format!("data/{node}/meta.properties"))).unwrap();
            let line = text.lines().find(|line| line.starts_with("cluster.id=")).unwrap();
            ids.push(line.to_owned());
        }
    }
    ids.dedup();
    assert_eq!(ids.len(), 1, "{ids:?}");
    // A node that cannot start ends the others.
    let taken = std::net::TcpListener::bind("[::]:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let (code, output) = place.run(&format!("dev --port {} --brokers 3", port - 1));
    assert!(code == 1 && output.contains(&format!(":{port}")), "{output}");
}
