//! A flame graph of ours under one cell's load: `perf record` by the processor clock, drawn by inferno.

use std::fs;
use std::io::{self, BufReader, Cursor};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use inferno::collapse::Collapse;
use inferno::collapse::perf::Folder;
use inferno::flamegraph;

use crate::cell::Cell;
use crate::plan::Plan;
use crate::requests;
use crate::server::Server;
use crate::usage;

/// Samples of each processor a second; not a round number, so that nothing periodic is in step with it.
const RATE: &str = "1999";

/// Loads the server for `time` and draws where its processor time went.
pub fn run(cell: &Cell, plan: &Plan, server: &Server, time: Duration, out: &Path) -> io::Result<()> {
    let data = out.with_extension("perf.data");
    let mut perf = None;
    let started = Instant::now();
    requests::repeat(cell, plan, server, |rounds| {
        // The first round finds cold code and cold connections.
        if rounds == 1 {
            let mut command = Command::new("perf");
            command.args(["record", "-q", "-e", "cpu-clock", "-F", RATE, "-g", "-o"]).arg(&data);
            command.args(["-p", &usage::list(&server.pids())]).stdin(Stdio::null());
            perf = Some(command.spawn()?);
        }
        Ok(rounds < 2 || started.elapsed() < time)
    })?;
    if let Some(mut perf) = perf {
        usage::interrupt(&mut perf)?;
        perf.wait()?;
    }
    let script = Command::new("perf").args(["script", "-i"]).arg(&data).stderr(Stdio::null()).output()?;
    let mut folded = Vec::new();
    Folder::default().collapse(BufReader::new(Cursor::new(script.stdout)), &mut folded)?;
    if folded.is_empty() {
        return Err(io::Error::other("perf has no samples: may it count here (kernel.perf_event_paranoid)?"));
    }
    let mut options = flamegraph::Options::default();
    options.title = cell.to_string();
    flamegraph::from_reader(&mut options, Cursor::new(folded), fs::File::create(out)?)
        .map_err(io::Error::other)?;
    fs::remove_file(&data)
}
