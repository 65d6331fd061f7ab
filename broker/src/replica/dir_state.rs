//! One log directory of a running node: its lock, its id, its checkpoints, and whether it still works.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use storage::dirs::{Checkpoint, DirError, LogDir};
use storage::{OpenArgs, TopicPartition};
use uuid::Uuid;

/// A locked log directory.
pub(crate) struct DirState {
    pub(crate) dir: LogDir,
    /// `directory.id` of its meta.properties.
    pub(crate) id: Uuid,
    offline: AtomicBool,
    /// How many replicas are in it.
    replicas: AtomicUsize,
}

/// What a directory knew of its logs when the node stopped last.
pub(crate) struct LastState {
    /// Broker epoch of the clean shutdown; `None` after a crash.
    pub(crate) clean_shutdown: Option<i64>,
    log_starts: HashMap<TopicPartition, i64>,
    recovery_points: HashMap<TopicPartition, i64>,
    high_watermarks: HashMap<TopicPartition, i64>,
    clean_offsets: HashMap<TopicPartition, i64>,
}

impl DirState {
    pub(crate) fn new(dir: LogDir, id: Uuid) -> Self {
        Self { dir, id, offline: AtomicBool::new(false), replicas: AtomicUsize::new(0) }
    }

    /// Whether an IO error took the directory out of service.
    pub(crate) fn is_offline(&self) -> bool {
        self.offline.load(Ordering::Acquire)
    }

    /// Takes the directory out of service; true for the first who does.
    pub(crate) fn set_offline(&self) -> bool {
        !self.offline.swap(true, Ordering::AcqRel)
    }

    /// How many replicas are in it.
    pub(crate) fn replicas(&self) -> usize {
        self.replicas.load(Ordering::Relaxed)
    }

    pub(crate) fn add_replica(&self) {
        self.replicas.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn remove_replica(&self) {
        let less = |n: usize| Some(n.saturating_sub(1));
        let _ = self.replicas.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }

    /// The absolute path, as DescribeLogDirs names it.
    pub(crate) fn absolute_path(&self) -> String {
        let path = std::path::absolute(self.dir.path()).unwrap_or_else(|_| PathBuf::from(self.dir.path()));
        path.to_string_lossy().into_owned()
    }

    /// Size and usable bytes of the volume; `None` if the system does not tell.
    pub(crate) fn volume_bytes(&self) -> Option<(i64, i64)> {
        let stat = rustix::fs::statvfs(self.dir.path()).ok()?;
        let bytes = |blocks: u64| i64::try_from(blocks.saturating_mul(stat.f_frsize)).unwrap_or(i64::MAX);
        Some((bytes(stat.f_blocks), bytes(stat.f_bavail)))
    }

    /// Reads the checkpoints and takes the clean-shutdown mark away. A checkpoint that cannot be read is rebuilt
    /// from the logs: it counts as empty, and the shutdown as unclean.
    pub(crate) fn take_last_state(&self) -> Result<LastState, DirError> {
        let mut clean_shutdown = self.dir.take_clean_shutdown()?.map(|mark| mark.broker_epoch);
        let mut read = |kind| {
            self.dir.read_checkpoint(kind).unwrap_or_else(|e| {
                tracing::warn!("{e}; it is rebuilt from the logs");
                clean_shutdown = None;
                HashMap::new()
            })
        };
        let log_starts = read(Checkpoint::LogStart);
        let recovery_points = read(Checkpoint::RecoveryPoint);
        let high_watermarks = read(Checkpoint::HighWatermark);
        // Without it logs are compacted from their start again.
        let clean_offsets = self.dir.read_checkpoint(Checkpoint::Cleaner).unwrap_or_else(|e| {
            tracing::warn!("{e}; it is begun anew");
            HashMap::new()
        });
        Ok(LastState { clean_shutdown, log_starts, recovery_points, high_watermarks, clean_offsets })
    }
}

impl LastState {
    /// Up to where one of the directory's logs was compacted.
    pub(crate) fn clean_offset(&self, partition: &TopicPartition) -> i64 {
        self.clean_offsets.get(partition).copied().unwrap_or(0)
    }

    /// How to open one of the directory's logs.
    pub(crate) fn open_args(&self, partition: &TopicPartition, now_ms: i64) -> OpenArgs {
        let of = |map: &HashMap<TopicPartition, i64>| map.get(partition).copied().unwrap_or(0);
        OpenArgs {
            log_start_offset: of(&self.log_starts),
            recovery_point: of(&self.recovery_points),
            high_watermark: of(&self.high_watermarks),
            clean_shutdown: self.clean_shutdown.is_some(),
            durable_end: None,
            now_ms,
        }
    }
}
