//! Memory and processor time of a server that has partitions and connections, and nothing to do.

use std::fs;
use std::io;
use std::time::Duration;

use minikafka_tests::process;

use crate::plan::Plan;
use crate::server::{Server, Side};
use crate::topic::Topics;
use crate::turns::{self, Rounds};

/// Partitions and connections of each cell.
pub const CELLS: [(usize, usize); 3] = [(0, 1), (1000, 1), (0, 1000)];
/// A server is idle when it has hardly used the processor for so long.
const QUIET: Duration = Duration::from_millis(500);
/// It is measured as it is after so long.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long the processor is watched.
const WINDOW: Duration = Duration::from_secs(5);

/// Measures fresh servers of all sides; the columns are those of [`crate::section::IDLE`].
pub fn run(partitions: usize, connections: usize, plan: &Plan, sides: &[Side]) -> io::Result<Rounds> {
    turns::run(sides.len(), 0, plan.rounds.min(3), |side| round(partitions, connections, sides[side]))
}

fn round(partitions: usize, connections: usize, side: Side) -> io::Result<Vec<f64>> {
    let server = Server::start(side)?;
    if partitions > 0 {
        Topics::of(&server)?.create(partitions)?;
    }
    let mut held = Vec::with_capacity(connections);
    for _ in 0..connections {
        let mut wire = server.wire()?;
        // One request, so that the server has had to do with each; that there is no such topic does not matter.
        wire.fetch("idle", 0, 0, 1)?;
        held.push(wire);
    }
    let pid = server.pid();
    process::wait_idle(pid, QUIET, PATIENCE);
    let before = process::processor_time(pid);
    std::thread::sleep(WINDOW);
    let used = process::processor_time(pid) - before;
    let threads = fs::read_dir(format!("/proc/{pid}/task"))?.count();
    Ok(vec![
        process::resident_kib(pid) as f64 / 1024.0,
        used.as_secs_f64() / WINDOW.as_secs_f64() * 100.0,
        threads as f64,
    ])
}
