//! The process as every Prometheus client library shows it, and what was built.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

use super::text::{Kind, Text};

/// Writes the families.
pub(super) fn write(text: &mut Text, started: SystemTime) {
    let version = env!("CARGO_PKG_VERSION");
    text.family("minikafka_build_info", Kind::Gauge, "What is running.")
        .sample(&[("version", version), ("kafka_version", "4.1")], 1);
    let cpu = clock_gettime(ClockId::ProcessCPUTime);
    let cpu = cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9;
    text.counter("process_cpu_seconds_total", "Processor time, of user and system.", cpu);
    let started = started.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    text.gauge("process_start_time_seconds", "When the process began, since 1970.", started);
    // Size and resident pages are the first two words.
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let mut pages = statm.split(' ').map_while(|word| word.parse::<u64>().ok());
    let mut bytes = || pages.next().map(|pages| pages * rustix::param::page_size() as u64);
    if let (Some(size), Some(resident)) = (bytes(), bytes()) {
        text.gauge("process_virtual_memory_bytes", "Address space.", size);
        text.gauge("process_resident_memory_bytes", "Resident memory.", resident);
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        // The directory itself is open while it is read.
        text.gauge("process_open_fds", "Open file descriptors.", open.count().saturating_sub(1));
    }
    if let Some(max) = getrlimit(Resource::Nofile).current {
        text.gauge("process_max_fds", "Bound of open file descriptors.", max);
    }
    if let Ok(threads) = fs::read_dir("/proc/self/task") {
        text.gauge("process_threads", "Threads.", threads.count());
    }
}
