//! A well-behaved client beside a hostile one: it produces and fetches small records, and notes its longest pause.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use protocol::ErrorCode;

use crate::node::Node;
use crate::wire::{Wire, batch};

const TOPIC: &str = "beside";

/// What the client saw.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// Requests that it sent.
    pub requests: usize,
    /// The longest time that one of them took.
    pub longest: Duration,
}

/// A client goes on for so many requests after it was told to end: what comes of an attack may come late.
const MORE_REQUESTS: usize = 40;

/// A running client.
pub struct Beside {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Seen>,
}

impl Beside {
    /// Starts on a topic of its own; returns once its first record was read back.
    pub fn start(node: &Node) -> Beside {
        let mut wire = Wire::connect(&node.bootstrap()).expect("the node accepts connections");
        let created = wire.create_topic(TOPIC, 1).expect("a topic can be created");
        assert!(matches!(created, ErrorCode::NONE | ErrorCode::TOPIC_ALREADY_EXISTS), "{created:?}");
        round(&mut wire, &mut Seen { requests: 0, longest: Duration::ZERO });
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut seen = Seen { requests: 0, longest: Duration::ZERO };
            while !stopped.load(Ordering::Relaxed) {
                round(&mut wire, &mut seen);
                std::thread::sleep(Duration::from_millis(1));
            }
            (0..MORE_REQUESTS / 2).for_each(|_| round(&mut wire, &mut seen));
            seen
        });
        Beside { stop, thread }
    }

    /// Ends it. Panics if it saw an error.
    pub fn finish(self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the well-behaved client sees no error")
    }
}

/// Produces a record and reads it back.
fn round(wire: &mut Wire, seen: &mut Seen) {
    let mut timed = |started: Instant| {
        seen.requests += 1;
        seen.longest = seen.longest.max(started.elapsed());
    };
    let started = Instant::now();
    let sent = batch(&[format!("record at {started:?}")]);
    let (error, offset) = wire.produce(TOPIC, 0, sent.clone()).expect("produce is answered");
    assert_eq!(error, ErrorCode::NONE, "produce");
    timed(started);
    let started = Instant::now();
    let (error, _, records) = wire.fetch(TOPIC, 0, offset, 100_000).expect("fetch is answered");
    assert_eq!(error, ErrorCode::NONE, "fetch");
    timed(started);
    // Behind base offset and leader epoch the batch is as it was sent.
    assert_eq!(records.get(16..), sent.get(16..), "the record at {offset}");
}
