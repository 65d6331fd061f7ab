//! From exec on an empty, formatted directory to the first accepted connection, and to the first acknowledged record.

use std::io;
use std::time::Instant;

use minikafka_tests::wire::batch;
use protocol::ErrorCode;

use crate::plan::Plan;
use crate::server::{Server, Side};
use crate::turns::{self, Rounds};

/// The topic of the first record.
const TOPIC: &str = "first";

/// Measures starts of all sides; the columns are those of [`crate::section::STARTUP`].
pub fn run(plan: &Plan, sides: &[Side]) -> io::Result<Rounds> {
    turns::run(sides.len(), 0, plan.rounds, |side| round(sides[side]))
}

fn round(side: Side) -> io::Result<Vec<f64>> {
    let mut server = Server::prepare(side)?;
    let started = Instant::now();
    server.spawn()?;
    let (mut wire, accepted) = server.accepting()?;
    // A server that accepts but is not ready yet says so; the topic may be there when its answer is not.
    let made = |error| matches!(error, ErrorCode::NONE | ErrorCode::TOPIC_ALREADY_EXISTS);
    while !made(wire.create_topic(TOPIC, 1)?) {}
    while wire.produce(TOPIC, 0, batch(&["value"]))?.0 != ErrorCode::NONE {}
    let record = started.elapsed();
    server.stop();
    Ok([accepted - started, record].map(|time| time.as_secs_f64() * 1e3).to_vec())
}
