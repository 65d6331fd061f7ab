//! The system calls of the hot path. How long things take is measured by `cargo xtask bench`: a test must not depend
//! on what else the machine does.

use std::sync::{Mutex, MutexGuard, PoisonError};

use minikafka_tests::node::{Node, Target};
use minikafka_tests::process::{Strace, tally};
use minikafka_tests::wire::{Wire, batch};
use protocol::ErrorCode;

/// What one test measures another one must not disturb.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn is_ours() -> bool {
    Target::from_env() == Target::Ours
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
