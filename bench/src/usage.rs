//! What the processes of a server have used so far, and what the rest of the machine did meanwhile.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// perf that does not end when asked to is asked again after this.
const ASK_AGAIN: Duration = Duration::from_millis(100);
/// And ended by force after this.
const PATIENCE: Duration = Duration::from_secs(10);

/// What was used, by all threads together.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Processor time.
    pub cpu: Duration,
    /// Context switches, those because a thread waited and those because another one was to run.
    pub switches: u64,
}

/// What each thread of some processes has used up to now.
struct Threads(BTreeMap<u32, Usage>);

impl Threads {
    fn of(pids: &[u32]) -> Threads {
        let tasks = pids.iter().flat_map(|pid| fs::read_dir(format!("/proc/{pid}/task")));
        let tasks = tasks.flatten().flatten();
        let thread = |task: fs::DirEntry| {
            let read = |file: &str| fs::read_to_string(task.path().join(file)).unwrap_or_default();
            let cpu = read("schedstat").split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(0);
            let status = read("status");
            let keys = ["voluntary_ctxt_switches:", "nonvoluntary_ctxt_switches:"];
            let switches = keys.iter().map(|key| field(&status, key)).sum();
            let id = task.file_name().to_string_lossy().parse().ok()?;
            Some((id, Usage { cpu: Duration::from_nanos(cpu), switches }))
        };
        Threads(tasks.filter_map(thread).collect())
    }

    /// What the threads that live now have used since `earlier`. One that ended meanwhile is not counted: the
    /// connections of a round live as long as it.
    fn since(&self, earlier: &Threads) -> Usage {
        let mut sum = Usage::default();
        for (id, now) in &self.0 {
            let before = earlier.0.get(id).copied().unwrap_or_default();
            sum.cpu += now.cpu.saturating_sub(before.cpu);
            sum.switches += now.switches.saturating_sub(before.switches);
        }
        sum
    }
}

/// A stretch of time in which a server is watched.
pub struct Span {
    pids: Vec<u32>,
    server: Threads,
    generator: Threads,
    machine: Duration,
}

impl Span {
    /// From now on; `pids` are the processes of the server.
    pub fn begin(pids: Vec<u32>) -> Span {
        let generator = Threads::of(&[std::process::id()]);
        Span { server: Threads::of(&pids), pids, generator, machine: machine() }
    }

    /// Up to now: what the server used, and how many processors neither it nor this process used, but others did.
    pub fn end(self, wall: Duration) -> (Usage, f64) {
        let server = Threads::of(&self.pids).since(&self.server);
        let generator = Threads::of(&[std::process::id()]).since(&self.generator);
        let others = machine().saturating_sub(self.machine).saturating_sub(server.cpu + generator.cpu);
        (server, others.as_secs_f64() / wall.as_secs_f64())
    }
}

/// The largest resident memory of a process so far, in KiB.
pub fn peak_kib(pid: u32) -> u64 {
    field(&fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default(), "VmHWM:")
}

/// Processor time that the whole machine has used, with what the host took away, in hundredths of a second.
fn machine() -> Duration {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = text.lines().next().unwrap_or_default();
    let numbers: Vec<u64> = line.split_whitespace().skip(1).filter_map(|n| n.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal
    let busy = [0, 1, 2, 5, 6, 7].iter().filter_map(|i| numbers.get(*i)).sum::<u64>();
    Duration::from_millis(busy * 10)
}

/// Counts the system calls of processes with `perf stat`, which slows it little; strace would change what is counted.
pub struct Syscalls(Child);

impl Syscalls {
    /// Begins to count.
    pub fn count(pids: &[u32]) -> io::Result<Syscalls> {
        let events = "raw_syscalls:sys_enter,syscalls:sys_enter_futex";
        let child = Command::new("perf")
            .args(["stat", "-x", ",", "-e", events, "-p", &list(pids)])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        // perf does not say when it counts: it does when it has opened its counters and waits.
        std::thread::sleep(Duration::from_millis(300));
        Ok(Syscalls(child))
    }

    /// Ends counting: all calls, and those of futex.
    pub fn finish(mut self) -> io::Result<(u64, u64)> {
        interrupt(&mut self.0)?;
        let output = self.0.wait_with_output()?;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        let counts: Vec<u64> = text.lines().filter_map(|l| l.split(',').next()?.parse().ok()).collect();
        match counts[..] {
            [all, futex] => Ok((all, futex)),
            _ => Err(io::Error::other(format!("perf stat says: {}", text.trim()))),
        }
    }
}

/// Process ids as perf takes them.
pub fn list(pids: &[u32]) -> String {
    pids.iter().map(u32::to_string).collect::<Vec<_>>().join(",")
}

/// Ends perf as Ctrl-C does, so that it writes what it has.
///
/// A perf that has not come to its signal handlers yet ignores SIGINT where this program was started with it ignored,
/// as a script's `&` does: so it is asked more than once, and at last ended by force.
pub fn interrupt(perf: &mut Child) -> io::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while perf.try_wait()?.is_none() {
        if Instant::now() > deadline {
            return perf.kill();
        }
        kill_process(Pid::from_child(perf), Signal::INT)?;
        std::thread::sleep(ASK_AGAIN);
    }
    Ok(())
}

fn field(text: &str, key: &str) -> u64 {
    let line = text.lines().find_map(|l| l.strip_prefix(key));
    line.and_then(|l| l.split_whitespace().next()).and_then(|n| n.parse().ok()).unwrap_or(0)
}
