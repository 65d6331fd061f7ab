//! A disk that is full or broken: nothing acknowledged is lost, its directory goes offline and everyone is told, the
//! other directory serves on. Without its metadata the node ends.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use minikafka_tests::faults::{Injection, SmallDisk};
use minikafka_tests::ledger::{Ledger, Value};
use minikafka_tests::node::{Node, PATIENCE, Target};
use minikafka_tests::wire::{Wire, batch};
use protocol::ErrorCode;
use tempfile::TempDir;

/// A node with two log directories and a topic in each.
struct Disks {
    node: Node,
    /// The second log directory; the first one also holds the metadata.
    other: PathBuf,
    metadata: PathBuf,
    /// What the topic in the second directory acknowledged.
    failing: Writer,
    /// Likewise in the first one.
    healthy: Writer,
    // Dropped after the node.
    disk: Option<SmallDisk>,
    _temporary: TempDir,
}

/// A producer that notes what was acknowledged to it.
struct Writer {
    topic: &'static str,
    ledger: Ledger,
    life: u32,
    sequence: i32,
}

impl Writer {
    fn new(topic: &'static str) -> Writer {
        Writer { topic, ledger: Ledger::new(topic, 0), life: 0, sequence: 0 }
    }

    /// Produces one batch.
    fn write(&mut self, wire: &mut Wire, count: i32, padding: usize) -> ErrorCode {
        let (life, from) = (self.life, self.sequence);
        let values: Vec<Value> =
            (from..from + count).map(|sequence| Value { life, sequence, padding }).collect();
        let texts: Vec<String> = values.iter().map(|value| value.text()).collect();
        let records: Bytes = batch(&texts);
        let (error, base) = wire.produce(self.topic, 0, records).expect("an answer to Produce");
        if error == ErrorCode::NONE {
            self.sequence += count;
            self.ledger.acknowledge(base, values);
        } else {
            // It may be in the log all the same, or not.
            self.life += 1;
            self.sequence = 0;
        }
        error
    }
}

impl Disks {
    /// `mib`: the second directory is a file system of this size, if the system allows to mount one.
    fn start(mib: Option<u32>) -> Disks {
        let temporary = tempfile::Builder::new().prefix("minikafka-test-").tempdir().expect("a directory");
        let root = temporary.path().canonicalize().expect("it is there");
        let (metadata, other) = (root.join("data"), root.join("other"));
        let disk = mib.and_then(|mib| SmallDisk::mount(&other, mib));
        let node = Node::at(Target::Ours, &root, &[]);
        node.set("log.dirs", Some(&format!("{},{}", metadata.display(), other.display())));
        node.format();
        let node = node.started();
        let mut wire = Wire::connect(&node.bootstrap()).expect("the node listens");
        for topic in ["a", "b"] {
            assert_eq!(wire.create_topic(topic, 1).expect("an answer"), ErrorCode::NONE);
        }
        let [mut failing, mut healthy] =
            if other.join("a-0").is_dir() { ["a", "b"] } else { ["b", "a"] }.map(Writer::new);
        assert!(other.join(format!("{}-0", failing.topic)).is_dir(), "each directory got a topic");
        for writer in [&mut failing, &mut healthy] {
            assert_eq!(writer.write(&mut wire, 10, 100), ErrorCode::NONE);
            // Large enough to be sent by the kernel.
            assert_eq!(writer.write(&mut wire, 10, 10_000), ErrorCode::NONE);
        }
        Disks { node, other, metadata, failing, healthy, disk, _temporary: temporary }
    }

    fn wire(&self) -> Wire {
        Wire::connect(&self.node.bootstrap()).expect("the node listens")
    }

    /// The second directory is offline for everyone, the first one serves on, and the node said so once since line
    /// `from`, with what happened and what to do.
    fn assert_offline(&mut self, from: usize, errno: &str) {
        let mut wire = self.wire();
        assert_eq!(self.failing.write(&mut wire, 1, 10), ErrorCode::KAFKA_STORAGE_ERROR);
        let (error, ..) = wire.fetch(self.failing.topic, 0, 0, 1 << 20).expect("an answer to Fetch");
        assert_eq!(error, ErrorCode::KAFKA_STORAGE_ERROR);
        let of = |dir: &Path| dir.display().to_string();
        let dirs = wire.log_dirs().expect("an answer to DescribeLogDirs");
        assert_eq!(dirs.get(&of(&self.other)), Some(&ErrorCode::KAFKA_STORAGE_ERROR));
        assert_eq!(dirs.get(&of(&self.metadata)), Some(&ErrorCode::NONE));
        // The controller hears of it with the next heartbeat.
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (error, leader, offline) =
                wire.partition(self.failing.topic, 0).expect("an answer to Metadata");
            if (error, leader, offline.len()) == (ErrorCode::LEADER_NOT_AVAILABLE, -1, 1) {
                break;
            }
            assert!(Instant::now() < deadline, "{error:?}, leader {leader}, offline {offline:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(self.healthy.write(&mut wire, 10, 100), ErrorCode::NONE);
        self.healthy.ledger.verify(&mut wire, true);
        let said = |line: &str| line.contains(&of(&self.other)).then_some(());
        self.node.output().wait(from, PATIENCE, said).expect("the node says so");
        let output = self.node.output().text(from);
        let said: Vec<&str> = output.lines().filter(|line| line.contains(&of(&self.other))).collect();
        let [line] = said[..] else { panic!("one line names the directory, and not {said:#?}") };
        assert!(line.contains("ERROR") && line.contains(errno) && line.contains("restart"), "{line}");
        let errors = output.lines().filter(|line| line.contains(" ERROR ")).count();
        assert_eq!(errors, 1, "{output}");
    }

    /// After a restart everything that was acknowledged is there, and both topics take more.
    fn restart_and_verify(&mut self) {
        self.node.restart();
        self.verify();
    }

    fn verify(&mut self) {
        let mut wire = self.wire();
        for writer in [&mut self.failing, &mut self.healthy] {
            writer.ledger.verify(&mut wire, true);
            assert_eq!(writer.write(&mut wire, 10, 100), ErrorCode::NONE);
            writer.ledger.verify(&mut wire, true);
        }
    }
}

#[test]
fn a_full_disk_takes_its_directory_down_and_nothing_else() {
    let mut disks = Disks::start(Some(6));
    let from = disks.node.output().len();
    let mut wire = disks.wire();
    // Where no file system can be mounted, the calls give the error that a full one gives.
    let injection =
        disks.disk.is_none().then(|| Injection::begin(disks.node.pid(), &disks.other, "pwrite64", "ENOSPC"));
    let mut error = ErrorCode::NONE;
    for _ in 0..1_000 {
        error = disks.failing.write(&mut wire, 10, 5_000);
        if error != ErrorCode::NONE {
            break;
        }
    }
    assert_eq!(error, ErrorCode::KAFKA_STORAGE_ERROR);
    disks.assert_offline(from, "No space left on device (os error 28)");
    drop(injection);
    if let Some(disk) = &disks.disk {
        disk.resize(64);
    }
    disks.restart_and_verify();
    disks.node.stop();
}

#[test]
fn a_broken_disk_takes_its_directory_down_whoever_finds_it() {
    let mut disks = Disks::start(None);
    for (calls, padding) in [("pwrite64", 100), ("sendfile", 20_000), ("pread64", 100)] {
        let mut wire = disks.wire();
        let offset = disks.failing.ledger.len() as i64;
        assert_eq!(disks.failing.write(&mut wire, 10, padding), ErrorCode::NONE);
        let from = disks.node.output().len();
        let injection = Injection::begin(disks.node.pid(), &disks.other, calls, "EIO");
        if calls == "pwrite64" {
            assert_eq!(disks.failing.write(&mut wire, 1, 10), ErrorCode::KAFKA_STORAGE_ERROR);
        } else {
            // Once an answer has begun, all that can be done is to end the connection.
            let answer = wire.fetch(disks.failing.topic, 0, offset, 1 << 20);
            assert!(
                answer.as_ref().map_or(true, |a| a.0 == ErrorCode::KAFKA_STORAGE_ERROR),
                "{calls}: {answer:?}"
            );
        }
        disks.assert_offline(from, "os error 5");
        drop(injection);
        disks.restart_and_verify();
    }
    disks.node.stop();
}

#[test]
fn a_sync_that_fails_takes_the_directory_down() {
    let mut disks = Disks::start(None);
    disks.node.set("log.flush.interval.messages", Some("1"));
    disks.node.restart();
    let from = disks.node.output().len();
    let mut wire = disks.wire();
    let injection = Injection::begin(disks.node.pid(), &disks.other, "fdatasync,fsync", "EIO");
    assert_eq!(disks.failing.write(&mut wire, 1, 10), ErrorCode::KAFKA_STORAGE_ERROR);
    disks.assert_offline(from, "os error 5");
    drop(injection);
    disks.restart_and_verify();
    disks.node.stop();
}

#[test]
fn without_its_metadata_the_node_ends_and_says_why() {
    let mut disks = Disks::start(None);
    for (calls, error, errno) in
        [("fdatasync,fsync", "EIO", "os error 5"), ("pwrite64", "ENOSPC", "os error 28")]
    {
        let from = disks.node.output().len();
        let log = disks.metadata.join("__cluster_metadata-0");
        let injection = Injection::begin(disks.node.pid(), &log, calls, error);
        let made = disks.wire().create_topic(&format!("never-{error}"), 1);
        assert!(made.as_ref().map_or(true, |error| *error != ErrorCode::NONE), "{calls}: {made:?}");
        let code = disks.node.wait_end();
        drop(injection);
        let output = disks.node.output().text(from);
        assert!(code.is_some_and(|code| code != 0), "{calls}: exit code {code:?}:\n{output}");
        let clear = |line: &&str| line.contains(&log.display().to_string()) && line.contains(errno);
        assert!(output.lines().any(|line| clear(&line)), "{calls}: no clear message:\n{output}");
        disks.node.start();
        disks.verify();
    }
    disks.node.stop();
}
