//! From exec on a full directory until every partition is served, after a clean stop and after kill -9.
//!
//! A side is filled once and restarted in place; the sides follow each other, since two full directories at once
//! would not leave memory for the pages of both.

use std::io;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use minikafka_tests::process;

use crate::cell::SHAPES;
use crate::frames::Frames;
use crate::load::{Limit, Load, Walk};
use crate::plan::Plan;
use crate::server::{Server, Side};
use crate::topic::{Topics, wait_served};
use crate::turns::Rounds;

/// Partitions of the one topic.
const PARTITIONS: usize = 1000;
/// Requests under way while it is filled.
const IN_FLIGHT: usize = 32;

/// Measures clean and unclean restarts; the columns are those of [`crate::section::RESTART`].
///
/// Gives the rounds after clean stops and those after kills.
pub fn run(plan: &Plan, sides: &[Side]) -> io::Result<[Rounds; 2]> {
    let mut all = [Rounds::new(), Rounds::new()];
    for side in sides {
        let mut server = Server::start(*side)?;
        let topic = fill(&server, plan.restart_bytes)?;
        let rounds = plan.rounds.min(3);
        all[0].push((0..rounds).map(|_| restart(&mut server, &topic, true)).collect::<io::Result<_>>()?);
        all[1].push((0..rounds).map(|_| restart(&mut server, &topic, false)).collect::<io::Result<_>>()?);
    }
    Ok(all)
}

fn fill(server: &Server, bytes: u64) -> io::Result<String> {
    let topic = Topics::of(server)?.create(PARTITIONS)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let (batch, _) = SHAPES[1].batch(now.as_millis() as i64);
    let frames = Frames::produce(&topic, PARTITIONS, &batch, -1);
    let mut load = Load::connect(&server.addresses(), 1, IN_FLIGHT, frames, Walk::NONE)?;
    load.burst(Limit { requests: bytes / batch.len() as u64, time: Duration::MAX })?;
    Ok(topic)
}

fn restart(server: &mut Server, topic: &str, clean: bool) -> io::Result<Vec<f64>> {
    // What is not on the disk yet would be written while the start is measured.
    rustix::fs::sync();
    if clean {
        server.stop();
    } else {
        server.kill();
    }
    let started = Instant::now();
    server.spawn()?;
    let (mut wire, accepted) = server.accepting()?;
    wait_served(&mut wire, topic, 0..PARTITIONS)?;
    let served = started.elapsed();
    let pid = server.pid();
    Ok(vec![
        (accepted - started).as_secs_f64() * 1e3,
        served.as_secs_f64() * 1e3,
        process::processor_time(pid).as_secs_f64(),
        process::resident_kib(pid) as f64 / 1024.0,
    ])
}
