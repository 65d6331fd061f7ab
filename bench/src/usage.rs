//! What a server process has used so far, and what the rest of the machine did meanwhile.

use std::fs;
use std::io;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use minikafka_tests::process;
use rustix::process::{Pid, Signal, kill_process};

/// Of all threads that live.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Processor time.
    pub cpu: Duration,
    /// Context switches because a thread waited.
    pub voluntary: u64,
    /// Context switches because another thread was to run.
    pub involuntary: u64,
}

impl Usage {
    /// Of a process up to now.
    pub fn of(pid: u32) -> Usage {
        let mut usage = Usage { cpu: process::processor_time(pid), ..Usage::default() };
        for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
            let text = fs::read_to_string(task.path().join("status")).unwrap_or_default();
            usage.voluntary += field(&text, "voluntary_ctxt_switches:");
            usage.involuntary += field(&text, "nonvoluntary_ctxt_switches:");
        }
        usage
    }

    /// What was used since `earlier`; a thread that ended meanwhile is not counted.
    pub fn since(self, earlier: Usage) -> Usage {
        Usage {
            cpu: self.cpu.saturating_sub(earlier.cpu),
            voluntary: self.voluntary.saturating_sub(earlier.voluntary),
            involuntary: self.involuntary.saturating_sub(earlier.involuntary),
        }
    }
}

/// The largest resident memory of a process so far, in KiB.
pub fn peak_kib(pid: u32) -> u64 {
    field(&fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default(), "VmHWM:")
}

/// Processor time that the whole machine has used, with what the host took away, in hundredths of a second.
pub fn machine() -> Duration {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = text.lines().next().unwrap_or_default();
    let numbers: Vec<u64> = line.split_whitespace().skip(1).filter_map(|n| n.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal
    let busy = [0, 1, 2, 5, 6, 7].iter().filter_map(|i| numbers.get(*i)).sum::<u64>();
    Duration::from_millis(busy * 10)
}

/// Counts the system calls of a process with `perf stat`, which slows it little; strace would change what is counted.
pub struct Syscalls(Child);

impl Syscalls {
    /// Begins to count.
    pub fn count(pid: u32) -> io::Result<Syscalls> {
        let events = "raw_syscalls:sys_enter,syscalls:sys_enter_futex";
        let child = Command::new("perf")
            .args(["stat", "-x", ",", "-e", events, "-p", &pid.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        // perf does not say when it counts: it does when it has opened its counters and waits.
        std::thread::sleep(Duration::from_millis(300));
        Ok(Syscalls(child))
    }

    /// Ends counting: all calls, and those of futex.
    pub fn finish(self) -> io::Result<(u64, u64)> {
        kill_process(Pid::from_child(&self.0), Signal::INT)?;
        let output = self.0.wait_with_output()?;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        let counts: Vec<u64> = text.lines().filter_map(|l| l.split(',').next()?.parse().ok()).collect();
        match counts[..] {
            [all, futex] => Ok((all, futex)),
            _ => Err(io::Error::other(format!("perf stat says: {}", text.trim()))),
        }
    }
}

fn field(text: &str, key: &str) -> u64 {
    let line = text.lines().find_map(|l| l.strip_prefix(key));
    line.and_then(|l| l.split_whitespace().next()).and_then(|n| n.parse().ok()).unwrap_or(0)
}
