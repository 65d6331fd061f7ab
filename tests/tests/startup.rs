//! How quick and how small: start to accept, to the first acknowledged record, memory and processor time when idle;
//! and the system calls of the hot path.
//!
//! The bars are those of the project; they hold for the release build on an otherwise idle machine, and are asserted
//! by `cargo xtask bench startup` only: a test must not depend on what else the machine does.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use minikafka_tests::node::{Node, Target};
use minikafka_tests::process::{self, Strace, tally};
use minikafka_tests::wire::{Wire, batch};
use protocol::ErrorCode;

/// Starts measured; the best one counts, since anything else on the machine only makes them slower.
const STARTS: usize = 7;

/// What one test measures another one must not disturb.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn is_ours() -> bool {
    Target::from_env() == Target::Ours
}

#[test]
fn first_record_and_idle() {
    let _alone = alone();
    let mut node = Node::prepared(Target::from_env(), &[]);
    node.format();
    let (mut accept, mut record) = (Duration::MAX, Duration::MAX);
    for i in 0..if is_ours() { STARTS } else { 1 } {
        let started = Instant::now();
        node.spawn();
        let (mut wire, connected) =
            Wire::connect_soon(&node.bootstrap(), Duration::from_secs(60)).expect("it listens");
        let topic = format!("first-{i}");
        while wire.create_topic(&topic, 1).expect("an answer") != ErrorCode::NONE {}
        while wire.produce(&topic, 0, batch(&["value"])).expect("an answer").0 != ErrorCode::NONE {}
        record = record.min(started.elapsed());
        accept = accept.min(connected - started);
        node.stop();
    }
    node.start();
    process::wait_idle(node.pid(), Duration::from_millis(500), Duration::from_secs(10));
    let window = Duration::from_secs(4);
    let before = process::processor_time(node.pid());
    std::thread::sleep(window);
    let busy = (process::processor_time(node.pid()) - before).as_secs_f64() / window.as_secs_f64() * 100.0;
    let resident = process::resident_kib(node.pid());
    println!(
        "start to accept {accept:?}, to the first acknowledged record {record:?}; idle {resident} KiB, {busy:.3} % of a core"
    );
    // Time is judged by `cargo xtask bench startup` alone, which runs on a machine that does nothing else.
    if is_ours() && std::env::var_os("MINIKAFKA_JUDGE_TIMES").is_some() {
        assert!(accept <= Duration::from_millis(15), "accepts after {accept:?}");
        assert!(record <= Duration::from_millis(60), "first record after {record:?}");
        assert!(resident <= 12 * 1024, "{resident} KiB when idle");
        assert!(busy < 0.1, "{busy:.3} % of a core when idle");
    }
    node.stop();
}

#[test]
fn system_calls_of_a_produce() {
    let _alone = alone();
    let mut node = Node::fresh(Target::from_env(), &[]);
    let mut wire = Wire::connect(&node.bootstrap()).expect("it listens");
    wire.create_topic("hot", 1).expect("an answer");
    let records = batch(&[vec![b'x'; 16 << 10]]);
    let mut produce = |n: usize| {
        for _ in 0..n {
            while wire.produce("hot", 0, records.clone()).expect("an answer").0 != ErrorCode::NONE {}
        }
    };
    produce(50);
    let strace = Strace::attach(node.pid());
    produce(200);
    let calls = strace.finish();
    let counts = tally(&calls);
    println!("200 produces of 16 KiB: {counts:?}");
    if is_ours() {
        let wanted =
            ["recvfrom", "pwritev", "pwrite64", "sendto", "writev", "sendmsg", "epoll_wait", "epoll_pwait"];
        let others: Vec<_> = counts.iter().filter(|(name, n)| **n >= 50 && !wanted.contains(name)).collect();
        assert!(others.is_empty(), "repeats besides: {others:?}");
        let count = |names: &[&str]| names.iter().filter_map(|n| counts.get(n)).sum::<usize>();
        assert!(
            (190..=210).contains(&count(&["pwritev", "pwrite64"])),
            "one write to the file each: {counts:?}"
        );
        assert!(
            (190..=210).contains(&count(&["sendto", "writev", "sendmsg"])),
            "one answer each: {counts:?}"
        );
        assert!(count(&["recvfrom"]) <= 620, "a few reads each: {counts:?}");
    }
    node.stop();
}

#[test]
fn system_calls_of_a_fetch() {
    let _alone = alone();
    let mut node = Node::fresh(Target::from_env(), &[]);
    let mut wire = Wire::connect(&node.bootstrap()).expect("it listens");
    wire.create_topic("hot", 1).expect("an answer");
    for _ in 0..20 {
        let records = batch(&[vec![b'x'; 128 << 10]]);
        while wire.produce("hot", 0, records.clone()).expect("an answer").0 != ErrorCode::NONE {}
    }
    let mut fetch = |n: usize| {
        for _ in 0..n {
            let (error, _, bytes) = wire.fetch("hot", 0, 0, 1 << 20).expect("an answer");
            assert_eq!(error, ErrorCode::NONE);
            assert!(bytes.len() > 900_000, "{} bytes", bytes.len());
        }
    };
    fetch(10);
    let strace = Strace::attach(node.pid());
    fetch(100);
    let calls = strace.finish();
    let counts = tally(&calls);
    println!("100 fetches of 1 MiB: {counts:?}");
    if is_ours() {
        assert!(counts.get("sendfile").is_some_and(|n| *n >= 100), "records leave by sendfile: {counts:?}");
        assert!(
            !counts.contains_key("pread64") && !counts.contains_key("preadv"),
            "nothing is read: {counts:?}"
        );
    }
    node.stop();
}
