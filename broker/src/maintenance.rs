//! Work that no request waits for: syncing rolled segments, checkpoints, retention, and removing deleted files.
//!
//! One task with one timer for the whole node; file work runs on the pool for blocking calls, so that a slow disk
//! holds up neither requests nor the timers of others.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use storage::dirs::{Checkpoint, remove_dir};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::context::Context;
use crate::replica::manager::{FlushRequest, ReplicaManager};
use crate::replica::partition::Partition;

/// How often `flush.ms` is looked at.
const FLUSH_CHECK: Duration = Duration::from_millis(100);

/// Files and folders that wait for their removal.
#[derive(Default)]
struct Doomed {
    heap: BinaryHeap<Reverse<(Instant, Vec<PathBuf>)>>,
}

impl Doomed {
    fn add(&mut self, paths: Vec<PathBuf>, delay_ms: i64) {
        if !paths.is_empty() {
            let delay = Duration::from_millis(u64::try_from(delay_ms).unwrap_or(0));
            self.heap.push(Reverse((Instant::now() + delay, paths)));
        }
    }

    fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    fn take_due(&mut self) -> Vec<PathBuf> {
        let mut due = Vec::new();
        while self.next().is_some_and(|at| at <= Instant::now()) {
            if let Some(Reverse((_, paths))) = self.heap.pop() {
                due.extend(paths);
            }
        }
        due
    }
}

/// Runs until cancelled. `removed` brings the folders of deleted replicas with their `file.delete.delay.ms`.
pub(crate) async fn run(
    ctx: Arc<Context>,
    mut flushes: mpsc::Receiver<FlushRequest>,
    mut removed: mpsc::UnboundedReceiver<(PathBuf, i64)>,
    cancel: CancellationToken,
) {
    let settings = ctx.settings();
    let mut high_watermarks = every(settings.replica_high_watermark_checkpoint_interval_ms);
    let mut recovery_points = every(i64::from(settings.log_flush_offset_checkpoint_interval_ms));
    let mut log_starts = every(i64::from(settings.log_flush_start_offset_checkpoint_interval_ms));
    let first_check = Instant::now() + millis(settings.log_initial_task_delay_ms);
    let mut retention = interval_at(first_check, millis(settings.log_retention_check_interval_ms));
    retention.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut doomed = Doomed::default();
    loop {
        let replicas = ctx.replicas.clone();
        let next_removal = doomed.next();
        tokio::select! {
            () = cancel.cancelled() => return,
            Some(request) = flushes.recv() => blocking(move || flush(&replicas, &request)).await,
            Some((path, delay_ms)) = removed.recv() => doomed.add(vec![path], delay_ms),
            _ = high_watermarks.tick() => {
                blocking(move || replicas.write_checkpoint(Checkpoint::HighWatermark)).await;
            }
            _ = recovery_points.tick() => {
                blocking(move || replicas.write_checkpoint(Checkpoint::RecoveryPoint)).await;
            }
            _ = log_starts.tick() => {
                blocking(move || replicas.write_checkpoint(Checkpoint::LogStart)).await;
            }
            _ = retention.tick() => {
                for (paths, delay_ms) in blocking(move || apply_retention(&replicas)).await {
                    doomed.add(paths, delay_ms);
                }
            }
            () = until(next_removal) => {
                let due = doomed.take_due();
                blocking(move || due.iter().for_each(remove)).await;
            }
        }
    }
}

/// Flushes logs with `flush.ms` set; its own task, since it looks often. Ends at once if no topic sets it.
pub(crate) async fn flush_by_time(ctx: Arc<Context>, cancel: CancellationToken) {
    loop {
        let mut configs = ctx.metadata.changed();
        let timed: Vec<_> =
            ctx.replicas.all().into_iter().filter(|p| p.settings().log.flush_ms < i64::MAX).collect();
        tokio::select! {
            () = cancel.cancelled() => return,
            // Nothing to watch: sleep until the metadata changes.
            _ = configs.changed(), if timed.is_empty() => {}
            () = tokio::time::sleep(FLUSH_CHECK), if !timed.is_empty() => {
                let replicas = ctx.replicas.clone();
                blocking(move || timed.iter().for_each(|p| flush_if_due(&replicas, p))).await;
            }
        }
    }
}

pub(crate) fn millis(ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(1).max(1))
}

fn every(period_ms: i64) -> tokio::time::Interval {
    let period = millis(period_ms);
    let mut interval = interval_at(Instant::now() + period, period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(e) => std::panic::resume_unwind(e.into_panic()),
    }
}

/// Syncs the log below `up_to` without holding its lock meanwhile.
pub(crate) fn flush(replicas: &ReplicaManager, request: &FlushRequest) {
    let partition = &request.partition;
    let job = {
        let mut state = partition.lock();
        state.flushed_at_ms = clock::now_ms();
        state.log.prepare_flush(request.up_to)
    };
    let done = job.and_then(|job| match job {
        Some(job) => {
            let began = std::time::Instant::now();
            let result = job.run();
            partition.traffic.flushed(began);
            partition.lock().log.complete_flush(job, result)
        }
        None => Ok(()),
    });
    if let Err(error) = done {
        replicas.storage_failed(partition, &error);
    }
}

fn flush_if_due(replicas: &ReplicaManager, partition: &Arc<Partition>) {
    let up_to = {
        let state = partition.lock();
        let log_end = state.log.log_end_offset();
        let due = clock::now_ms().saturating_sub(state.flushed_at_ms) >= state.settings.log.flush_ms;
        (due && state.log.recovery_point() < log_end).then_some(log_end)
    };
    if let Some(up_to) = up_to {
        flush(replicas, &FlushRequest { partition: partition.clone(), up_to });
    }
}

/// Removes old segments of every log, and what its readers and producers left in memory. Returns the files to delete
/// and when.
fn apply_retention(replicas: &ReplicaManager) -> Vec<(Vec<PathBuf>, i64)> {
    let mut doomed = Vec::new();
    for partition in replicas.all().iter().filter(|p| !p.is_offline()) {
        let mut state = partition.lock();
        let delay_ms = state.settings.log.file_delete_delay_ms;
        let now_ms = clock::now_ms();
        state.log.producers_mut().remove_expired(now_ms);
        let removed = state.log.release_sealed().and_then(|()| state.log.apply_retention(now_ms));
        drop(state);
        match removed {
            Ok(files) => doomed.push((files.paths, delay_ms)),
            Err(error) => {
                replicas.storage_failed(partition, &error);
            }
        }
    }
    doomed
}

fn remove(path: &PathBuf) {
    let removed = if path.is_dir() {
        remove_dir(path).map_err(|e| e.to_string())
    } else {
        match std::fs::remove_file(path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(format!("{}: {e}", path.display())),
            _ => Ok(()),
        }
    };
    if let Err(e) = removed {
        tracing::warn!("{e}");
    }
}
