//! Making what was appended durable, and the end of a log's life.
//!
//! A sync takes milliseconds, so it can be done without holding the log: [`Log::prepare_flush`] collects open files,
//! [`FlushJob::run`] syncs them, [`Log::complete_flush`] raises the recovery point. A failed sync is final: the log
//! takes no more appends, because the kernel may have dropped the pages and will report the next sync as good.

use std::path::PathBuf;
use std::sync::Arc;

use super::Log;
use super::error::StorageError;
use crate::durable;
use crate::leader_epochs::LEADER_EPOCH_FILE;
use crate::names::FileKind;
use crate::segment::{Segment, SegmentFile};

/// Files to be synced, which may be done without holding the log ([`Log::prepare_flush`]).
#[derive(Debug)]
pub struct FlushJob {
    up_to: i64,
    /// The log's generation when the job was made: a truncation since then makes it worthless.
    generation: u64,
    /// Changes of the folder that the job makes durable.
    dir_changes: u64,
    logs: Vec<(Arc<SegmentFile>, PathBuf)>,
    /// Indexes and producer snapshots of sealed segments; those deleted meanwhile do not matter.
    others: Vec<PathBuf>,
    dirs: Vec<PathBuf>,
}

impl FlushJob {
    /// Syncs the files.
    pub fn run(&self) -> Result<(), StorageError> {
        for (file, path) in &self.logs {
            file.sync().map_err(StorageError::of("sync", path))?;
        }
        for path in &self.others {
            match std::fs::File::open(path) {
                Ok(file) => file.sync_data().map_err(StorageError::of("sync", path))?,
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                Err(e) => return Err(StorageError::of("open", path)(e)),
            }
        }
        for dir in &self.dirs {
            durable::sync_dir(dir)?;
        }
        Ok(())
    }
}

impl Log {
    /// Collects what has to be synced so that everything below `up_to` is durable; `None` if it is already.
    /// Run it without holding the log, then hand it to [`Log::complete_flush`].
    pub fn prepare_flush(&mut self, up_to: i64) -> Result<Option<FlushJob>, StorageError> {
        let up_to = up_to.min(self.log_end_offset);
        if up_to <= self.recovery_point {
            return Ok(None);
        }
        let mut job = FlushJob {
            up_to,
            generation: self.generation,
            dir_changes: self.dir_changes,
            logs: Vec::new(),
            others: Vec::new(),
            dirs: Vec::new(),
        };
        let first = self.segment_index(self.recovery_point.max(self.segments[0].base_offset()));
        let active = self.segments.len() - 1;
        for at in first..self.segments.len() {
            let segment = &mut self.segments[at];
            if segment.base_offset() >= up_to && at > first {
                break;
            }
            job.logs.push((segment.file()?, segment.path(FileKind::Log)));
            if at < active {
                // The active segment is scanned after a crash whatever its index says.
                segment.write_indexes()?;
                let next = self.segments[at + 1].path(FileKind::Snapshot);
                let segment = &self.segments[at];
                job.others.extend(
                    [FileKind::Index, FileKind::TimeIndex, FileKind::TxnIndex].map(|k| segment.path(k)),
                );
                job.others.push(next);
            }
        }
        if self.dir_changes > self.dir_synced {
            job.others.push(self.dir.join(LEADER_EPOCH_FILE));
            job.dirs.push(self.dir.to_path_buf());
        }
        if self.unsynced_parent
            && let Some(parent) = self.dir.parent()
        {
            job.dirs.push(parent.to_path_buf());
        }
        Ok(Some(job))
    }

    /// Raises the recovery point after a flush that went well; closes the log to writes after one that did not.
    pub fn complete_flush(
        &mut self,
        job: FlushJob,
        result: Result<(), StorageError>,
    ) -> Result<(), StorageError> {
        if let Err(e) = result {
            self.poisoned = Some(e.to_string());
            return Err(e);
        }
        self.dir_synced = self.dir_synced.max(job.dir_changes);
        if job.generation == self.generation {
            self.recovery_point = self.recovery_point.max(job.up_to);
            self.unsynced_parent &= job.dirs.len() < 2;
        }
        Ok(())
    }

    /// [`Log::prepare_flush`], [`FlushJob::run`] and [`Log::complete_flush`] in one.
    pub fn flush(&mut self, up_to: i64) -> Result<(), StorageError> {
        if let Some(job) = self.prepare_flush(up_to)? {
            let result = job.run();
            self.complete_flush(job, result)?;
        }
        Ok(())
    }

    /// Why the log takes no appends, if a sync failed.
    pub fn poisoned(&self) -> Option<&str> {
        self.poisoned.as_deref()
    }

    /// Takes a producer snapshot and completes the indexes, so that the next open reads almost nothing; syncs nothing.
    ///
    /// For a clean stop of many logs: [`Log::seal`] each, [`crate::dirs::LogDir::sync_filesystem`] once, then
    /// [`Log::set_flushed`] each, then the checkpoints, then the clean-shutdown mark.
    pub fn seal(&mut self) -> Result<(), StorageError> {
        if let Some(reason) = &self.poisoned {
            let reason = std::io::Error::other(reason.clone());
            return Err(StorageError::of("close", &*self.dir)(reason));
        }
        self.snapshot_producers(self.log_end_offset)?;
        self.segments.iter_mut().try_for_each(Segment::seal)
    }

    /// Notes that everything appended so far was synced by other means.
    pub fn set_flushed(&mut self) {
        self.recovery_point = self.log_end_offset;
        self.dir_synced = self.dir_changes;
        self.unsynced_parent = false;
    }

    /// [`Log::seal`] and [`Log::flush`]. Snapshot and indexes of the end are not synced: they are checked when they
    /// are read, and made anew from the log if need be.
    pub fn close(&mut self) -> Result<(), StorageError> {
        self.seal()?;
        self.flush(i64::MAX)
    }
}
