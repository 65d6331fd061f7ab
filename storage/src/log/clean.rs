//! The log's part in its compaction: what there is to clean, and taking in what was cleaned ([`crate::compaction`]).

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::Ordering;

use super::Log;
use super::api::DoomedFiles;
use super::error::{ReadError, StorageError};
use super::inventory::remove;
use crate::compaction::swap::{self, Rename};
use crate::compaction::{CleanError, Cleanable, CleanedGroup, CleaningJob, LastOfProducer, Source};
use crate::segment::Segment;

impl Log {
    /// Below it the log was cleaned, as far as is known.
    pub fn clean_offset(&self) -> i64 {
        self.clean_offset
    }

    /// Sets where cleaning goes on, from the `cleaner-offset-checkpoint`.
    pub fn set_clean_offset(&mut self, offset: i64) {
        self.clean_offset = offset;
    }

    /// What there is to clean; `None` if `cleanup.policy` does not say `compact`. Reads little or nothing.
    pub fn cleanable(&mut self, now_ms: i64) -> Result<Option<Cleanable>, StorageError> {
        if !self.config.cleanup_compact {
            return Ok(None);
        }
        let in_log = self.log_start_offset..=self.log_end_offset;
        let first_dirty_offset =
            if in_log.contains(&self.clean_offset) { self.clean_offset } else { self.log_start_offset };
        let active = self.segments.len() - 1;
        let first_dirty = self.segment_index(first_dirty_offset).min(active);
        let mut end = self.segment_index(self.last_stable_offset()).max(first_dirty);
        if self.config.min_compaction_lag_ms > 0 {
            let young = now_ms.saturating_sub(self.config.min_compaction_lag_ms);
            for at in first_dirty..end {
                let segment = &self.segments[at];
                if segment.largest().map_err(|e| segment.as_storage_error(e))?.timestamp > young {
                    end = at;
                    break;
                }
            }
            self.opened_sealed.store(true, Ordering::Relaxed);
        }
        let bytes = |segments: &[Segment]| segments.iter().map(Segment::size).sum();
        let clean = self.segments.partition_point(|segment| segment.base_offset() < first_dirty_offset);
        Ok(Some(Cleanable {
            first_dirty_offset,
            first_uncleanable_offset: self.segments[end].base_offset(),
            clean_bytes: bytes(&self.segments[..clean]),
            cleanable_bytes: bytes(&self.segments[first_dirty..end]),
            overdue_ms: self.overdue_ms(first_dirty, end, now_ms)?,
            min_dirty_permille: self.config.min_cleanable_dirty_permille,
        }))
    }

    /// By how much the oldest of these segments has passed `max.compaction.lag.ms`.
    fn overdue_ms(&mut self, from: usize, to: usize, now_ms: i64) -> Result<i64, StorageError> {
        let limit = self.config.max_compaction_lag_ms.max(0);
        let mut overdue = 0;
        if limit < i64::MAX {
            for segment in &mut self.segments[from..to] {
                let first = segment.first_timestamp()?;
                if first > 0 {
                    overdue = overdue.max(now_ms.saturating_sub(limit).saturating_sub(first));
                }
            }
            self.opened_sealed.store(true, Ordering::Relaxed);
        }
        Ok(overdue)
    }

    /// Collects what a cleaning needs, which then works without the log.
    pub(crate) fn prepare_cleaning(&self, cleanable: &Cleanable) -> Result<CleaningJob, CleanError> {
        let upper_bound = cleanable.first_uncleanable_offset;
        let pairs = self.segments.iter().zip(self.segments.iter().skip(1));
        let below = pairs.take_while(|(segment, _)| segment.base_offset() < upper_bound);
        let sources: Vec<Source> = below
            .map(|(segment, next)| Source {
                base_offset: segment.base_offset(),
                next_base_offset: next.base_offset(),
                size: segment.size(),
            })
            .collect();
        let Some(first) = sources.first() else { return Err(CleanError::Stale) };
        let aborted = self.aborted_transactions(first.base_offset, upper_bound).map_err(|e| match e {
            ReadError::Io(e) => CleanError::Io(e),
            other => {
                CleanError::Corrupt { base_offset: first.base_offset, position: 0, reason: other.to_string() }
            }
        })?;
        let producers = self.producers().producers().into_iter().map(|(id, entry)| {
            let last_data_offset = entry.batches().last().map(|batch| batch.last_offset);
            let last_data_offset = last_data_offset.filter(|offset| *offset >= 0);
            (id, LastOfProducer { last_data_offset, producer_epoch: entry.producer_epoch })
        });
        Ok(CleaningJob {
            dir: self.dir.clone(),
            config: self.config.clone(),
            generation: self.generation,
            sources,
            first_dirty_offset: cleanable.first_dirty_offset,
            upper_bound,
            aborted,
            producers: producers.collect(),
        })
    }

    /// Where the segments of a group are, if they are still what was cleaned.
    fn place_of(&self, group: &CleanedGroup) -> Result<std::ops::Range<usize>, CleanError> {
        let start = self.segments.partition_point(|segment| segment.base_offset() < group.base_offset());
        let end = start + group.sources.len();
        let unchanged = self.generation == group.generation
            // One more is there: the active segment is never in a group.
            && self.segments.len() > end
            && self.segments[start..end].iter().zip(&group.sources).all(|(segment, source)| {
                segment.base_offset() == source.base_offset && segment.size() == source.size
            });
        if unchanged { Ok(start..end) } else { Err(CleanError::Stale) }
    }

    /// Renames the cleaned files to `.swap`: once the folder is synced they are what a crash leaves. To be followed by
    /// [`Log::complete_swap`].
    pub(crate) fn begin_swap(&mut self, group: &CleanedGroup) -> Result<(), CleanError> {
        self.place_of(group)?;
        self.swapping = Some(group.base_offset());
        let renamed = rename_all(&swap::begin(&group.dir, group.base_offset()))?;
        // Without its `.log` the segments must stay: the folder itself was renamed, say.
        let [log, ..] = swap::swap_files(&group.dir, group.base_offset());
        if renamed.first() == Some(&log) { Ok(()) } else { Err(CleanError::Stale) }
    }

    /// Puts the cleaned segment in the place of the old ones, whose files are in the answer. The caller syncs the
    /// folder before they are removed.
    pub(crate) fn complete_swap(&mut self, group: &CleanedGroup) -> Result<DoomedFiles, CleanError> {
        if self.swapping != Some(group.base_offset()) {
            return Err(CleanError::Stale);
        }
        let place = match self.place_of(group) {
            Ok(place) => place,
            Err(e) => {
                self.cancel_swap()?;
                return Err(e);
            }
        };
        let base_offsets: Vec<i64> = group.sources.iter().map(|source| source.base_offset).collect();
        let mut doomed = DoomedFiles { paths: Vec::new(), log_bytes: group.bytes_before() };
        doomed.paths = rename_all(&swap::remove_old(&self.dir, &base_offsets))?;
        rename_all(&swap::complete(&self.dir, group.base_offset()))?;
        self.swapping = None;
        self.dir_changes += 1;
        let cleaned = Segment::existing(&self.dir, group.base_offset(), group.size(), &self.config, 0);
        self.segments.splice(place, [cleaned]);
        self.replace_producer_files(&base_offsets, group.has_txn_index);
        Ok(doomed)
    }

    /// Ends a swap whose segments are about to change: its files are worth nothing any more.
    pub(super) fn cancel_swap(&mut self) -> Result<(), StorageError> {
        if let Some(base_offset) = self.swapping.take() {
            swap::swap_files(&self.dir, base_offset).iter().try_for_each(remove)?;
        }
        Ok(())
    }

    /// Notes up to where the log was cleaned, unless it was truncated meanwhile.
    pub(crate) fn complete_cleaning(&mut self, job: &CleaningJob, end_offset: i64) {
        if self.generation == job.generation {
            self.clean_offset = end_offset;
        }
    }
}

/// Renames what is there; returns the new paths.
pub(crate) fn rename_all(renames: &[Rename]) -> Result<Vec<PathBuf>, StorageError> {
    let mut renamed = Vec::with_capacity(renames.len());
    for (from, to) in renames {
        match fs::rename(from, to) {
            Ok(()) => renamed.push(to.clone()),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(StorageError::of("rename", from)(e)),
        }
    }
    Ok(renamed)
}
