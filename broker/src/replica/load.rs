//! Opening the logs of a node at its start, several at a time.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use storage::dirs::{read_partition_metadata, remove_dir};
use storage::names::PartitionDir;
use storage::{Log, LogConfig, OpenArgs, TopicPartition};

use crate::clock;
use crate::replica::dir_state::{DirState, LastState};
use crate::replica::manager::FoundLog;

/// Folder of the metadata log, which is the controller's.
const METADATA_TOPIC: &str = "__cluster_metadata";
/// Fewer logs than this are opened by the calling thread alone.
const LOGS_PER_THREAD: usize = 64;

/// What the directories hold.
pub(crate) struct Loaded {
    /// More than one per partition only if someone moved folders about.
    pub(crate) logs: HashMap<TopicPartition, Vec<FoundLog>>,
    /// Copies of moves between directories that were cut short.
    pub(crate) futures: HashMap<TopicPartition, FoundLog>,
    /// Broker epoch of the last stop if it was clean in every directory, else -1 (KIP-966).
    pub(crate) previous_broker_epoch: i64,
}

struct Job {
    name: TopicPartition,
    path: PathBuf,
    log_dir: usize,
}

/// Opens every replica found in the directories; a directory that fails is taken offline.
pub(crate) fn load_logs(dirs: &[DirState], config: &LogConfig) -> Loaded {
    let mut states = Vec::new();
    let mut jobs = Vec::new();
    let mut futures = HashMap::new();
    for (log_dir, dir) in dirs.iter().enumerate() {
        match dir.take_last_state().and_then(|last| Ok((last, dir.dir.partition_dirs()?))) {
            Ok((last, found)) => {
                states.push(Some(last));
                for (path, kind) in found {
                    match kind {
                        PartitionDir::Future(name) => {
                            open_future(path, name, log_dir, config, &mut futures);
                        }
                        kind => sort_out(path, kind, log_dir, &mut jobs),
                    }
                }
            }
            Err(error) => {
                tracing::error!("Stopping serving logs in dir {}: {error}", dir.absolute_path());
                dir.set_offline();
                states.push(None);
            }
        }
    }
    let logs = open_all(dirs, &states, &jobs, config);
    let epochs = states.iter().map(|state| state.as_ref().and_then(|s| s.clean_shutdown));
    let previous_broker_epoch = epochs.reduce(|a, b| if a == b { a } else { None }).flatten().unwrap_or(-1);
    Loaded { logs, futures, previous_broker_epoch }
}

fn sort_out(path: PathBuf, kind: PartitionDir, log_dir: usize, jobs: &mut Vec<Job>) {
    match kind {
        PartitionDir::Current(name) if &*name.topic == METADATA_TOPIC => {}
        PartitionDir::Current(name) => jobs.push(Job { name, path, log_dir }),
        PartitionDir::Deleted => {
            if let Err(error) = remove_dir(&path) {
                tracing::warn!("{error}");
            }
        }
        // Kept for a person to look at.
        PartitionDir::Stray(_) | PartitionDir::Future(_) => {
            tracing::warn!("Ignoring {}", path.display());
        }
    }
}

/// A copy that cannot be opened, or is one too many, is made anew.
fn open_future(
    path: PathBuf,
    name: TopicPartition,
    log_dir: usize,
    config: &LogConfig,
    futures: &mut HashMap<TopicPartition, FoundLog>,
) {
    // Nothing is known of it: every byte is looked at.
    let args = OpenArgs { clean_shutdown: false, ..OpenArgs::new_log(clock::now_ms()) };
    let opened = Log::open(&path, config.clone(), args);
    match (opened, read_partition_metadata(&path)) {
        (Ok((log, report)), Ok(topic_id))
            if report.quarantined.is_empty() && !futures.contains_key(&name) =>
        {
            futures.insert(name, FoundLog { topic_id, log_dir, log, high_watermark: 0 });
        }
        _ => {
            tracing::warn!("Removing {}, which is begun anew", path.display());
            if let Err(error) = remove_dir(&path) {
                tracing::warn!("{error}");
            }
        }
    }
}

fn open_all(
    dirs: &[DirState],
    states: &[Option<LastState>],
    jobs: &[Job],
    config: &LogConfig,
) -> HashMap<TopicPartition, Vec<FoundLog>> {
    let logs: Mutex<HashMap<_, Vec<_>>> = Mutex::new(HashMap::with_capacity(jobs.len()));
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            let Some(last) = &states[job.log_dir] else { continue };
            match open(job, last, config) {
                Ok(found) => {
                    let mut logs = logs.lock().unwrap_or_else(|e| e.into_inner());
                    logs.entry(job.name.clone()).or_default().push(found);
                }
                Err(error) => {
                    if dirs[job.log_dir].set_offline() {
                        let dir = dirs[job.log_dir].absolute_path();
                        tracing::error!("Stopping serving logs in dir {dir}: {error}");
                    }
                }
            }
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = jobs.len().div_ceil(LOGS_PER_THREAD).min(cores);
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(work);
        }
        work();
    });
    logs.into_inner().unwrap_or_else(|e| e.into_inner())
}

fn open(job: &Job, last: &LastState, config: &LogConfig) -> Result<FoundLog, Box<dyn std::error::Error>> {
    let topic_id = read_partition_metadata(&job.path)?;
    let (mut log, report) = Log::open(&job.path, config.clone(), last.open_args(&job.name, clock::now_ms()))?;
    log.set_clean_offset(last.clean_offset(&job.name));
    if report.torn_bytes > 0 {
        tracing::info!("{}: {} bytes of an unfinished append were cut off", job.name, report.torn_bytes);
    }
    for damage in &report.quarantined {
        tracing::error!(
            "{}: offsets {} to {} are damaged and will not be served; the bytes are in {}",
            job.name,
            damage.first_offset,
            damage.next_offset - 1,
            damage.file.display()
        );
    }
    let high_watermark = log.high_watermark();
    Ok(FoundLog { topic_id, log_dir: job.log_dir, log, high_watermark })
}
