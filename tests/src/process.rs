//! What Linux tells about a process: memory, processor time, system calls.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::output::Output;

/// Resident memory in KiB.
pub fn resident_kib(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process lives");
    let line = text.lines().find(|l| l.starts_with("VmRSS:")).expect("every process has VmRSS");
    line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("VmRSS is a number of KiB")
}

/// Processor time of all threads so far.
pub fn processor_time(pid: u32) -> Duration {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("the process lives");
    let nanos = |task: fs::DirEntry| -> u64 {
        let text = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        text.split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(0)
    };
    Duration::from_nanos(tasks.flatten().map(nanos).sum())
}

/// A system call as strace prints it: thread, name and the whole line.
#[derive(Clone, Debug)]
pub struct Call {
    /// The thread.
    pub thread: u32,
    /// The call's name.
    pub name: String,
    /// Arguments and result.
    pub line: String,
}

/// A running strace of all threads of a process.
pub struct Strace {
    child: Child,
    stderr: Output,
    file: tempfile::NamedTempFile,
}

impl Strace {
    /// Attaches; returns when system calls are being recorded.
    pub fn attach(pid: u32) -> Strace {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        let mut child = Command::new("strace")
            .args(["-f", "-s", "16", "-o"])
            .arg(file.path())
            .args(["-p", &pid.to_string()])
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("strace starts");
        let stderr = Output::default();
        stderr.follow(child.stderr.take().expect("stderr is piped"));
        let attached = stderr.wait(0, Duration::from_secs(20), |l| l.contains("attached").then_some(()));
        attached.expect("strace attaches");
        Strace { child, stderr, file }
    }

    /// Detaches and gives what was recorded; a call that another thread's interrupted counts once.
    pub fn finish(mut self) -> Vec<Call> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("strace lives");
        assert!(self.stderr.wait_end(Duration::from_secs(20)), "strace ends");
        let _ = self.child.wait();
        let text = fs::read_to_string(self.file.path()).expect("strace wrote its file");
        text.lines().filter_map(parse).collect()
    }
}

fn parse(line: &str) -> Option<Call> {
    let (thread, rest) = line.split_once(' ')?;
    let rest = rest.trim_start();
    let name = rest.split('(').next()?;
    // Signals, exits and the second half of an interrupted call have no name in front of a parenthesis.
    let named = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    named.then(|| Call { thread: thread.parse().unwrap_or(0), name: name.to_owned(), line: rest.to_owned() })
}

/// How often each call occurs.
pub fn tally(calls: &[Call]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for call in calls {
        *counts.entry(call.name.as_str()).or_default() += 1;
    }
    counts
}

/// Waits until the process has not used the processor for `quiet`; gives up after `limit`.
pub fn wait_idle(pid: u32, quiet: Duration, limit: Duration) {
    let deadline = Instant::now() + limit;
    let mut before = processor_time(pid);
    while Instant::now() < deadline {
        std::thread::sleep(quiet);
        let now = processor_time(pid);
        // A thread that ends takes its time with it: less than before is no sign of rest.
        if now.checked_sub(before).is_some_and(|used| used < quiet / 500) {
            return;
        }
        before = now;
    }
}

/// Largest resident memory in KiB since the start or [`reset_peak`].
pub fn peak_kib(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process lives");
    let line = text.lines().find(|l| l.starts_with("VmHWM:")).expect("every process has VmHWM");
    line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("VmHWM is a number of KiB")
}

/// Makes the peak that of this moment.
pub fn reset_peak(pid: u32) {
    fs::write(format!("/proc/{pid}/clear_refs"), "5").expect("the peak of a child can be reset");
}

/// Lets this process have as many open files as the system allows.
pub fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).expect("the limit can be raised");
}
