//! Making the log shorter at either end: truncation, retention, log start; and beginning a new segment.

use super::Log;
use super::api::DoomedFiles;
use super::error::StorageError;
use crate::names::FileKind;
use crate::segment::Segment;

impl Log {
    /// Begins a new segment at the log end, unless the active one is empty; returns its base offset.
    pub fn roll(&mut self, now_ms: i64) -> Result<i64, StorageError> {
        self.roll_at(self.log_end_offset, now_ms)?;
        Ok(self.active().base_offset())
    }

    /// Begins a new segment whose first offset will be `base_offset`, at or above the log end.
    pub(super) fn roll_at(&mut self, base_offset: i64, now_ms: i64) -> Result<(), StorageError> {
        let active = self.active_mut();
        if active.base_offset() == base_offset && active.size() == 0 {
            return Ok(());
        }
        active.seal()?;
        self.snapshot_producers(base_offset)?;
        self.begin_segment(base_offset, now_ms)
    }

    /// Makes a new segment the active one.
    fn begin_segment(&mut self, base_offset: i64, now_ms: i64) -> Result<(), StorageError> {
        if self.active().size() == 0
            && let Some(empty) = self.segments.pop()
        {
            // Its first batch would begin above the base it was created with.
            for path in empty.doom()? {
                super::inventory::remove(&path)?;
            }
        }
        let segment = Segment::create(&self.dir, base_offset, &self.config, now_ms)?;
        self.segments.push(segment);
        // Nothing is below the first segment, and the next open will see it so.
        let first = self.segments[0].base_offset();
        self.log_start_offset = self.log_start_offset.max(first);
        self.log_end_offset = self.log_end_offset.max(first);
        self.high_watermark = self.high_watermark.max(first);
        self.dir_changes += 1;
        self.opened_sealed.store(true, std::sync::atomic::Ordering::Relaxed);
        Ok(())
    }

    /// Removes everything from `offset` on (a follower that diverged). A batch that holds `offset` in its middle goes
    /// as a whole. The files of removed segments are in the answer.
    pub fn truncate_to(&mut self, offset: i64) -> Result<DoomedFiles, StorageError> {
        if offset >= self.log_end_offset {
            // A leader that was replaced before it wrote anything noted its epoch at the log end all the same, and the
            // next leader's log may have none of it there (Kafka's `UnifiedLog.truncateTo`).
            self.truncate_epochs_from(self.log_end_offset)?;
            return Ok(DoomedFiles::default());
        }
        if offset <= self.segments[0].base_offset() {
            return self.truncate_fully_and_start_at(offset);
        }
        self.generation += 1;
        self.cancel_swap()?;
        let mut doomed = DoomedFiles::default();
        while self.active().base_offset() >= offset && self.segments.len() > 1 {
            if let Some(segment) = self.segments.pop() {
                self.doom_segment(&segment, &mut doomed)?;
            }
        }
        let end = self.active_mut().truncate_to(offset)?;
        if self.active_mut().next_offset()?.is_some_and(|next_offset| next_offset < end) {
            // The cut is in a gap: only the name of a segment keeps where the log ends now.
            self.begin_segment(end, 0)?;
        }
        self.log_end_offset = end;
        self.log_start_offset = self.log_start_offset.min(end);
        self.high_watermark = self.high_watermark.clamp(self.log_start_offset, end);
        self.recovery_point = self.recovery_point.min(end);
        self.clean_offset = self.clean_offset.min(end);
        self.truncate_epochs_from(end)?;
        self.truncate_producers()?;
        Ok(doomed)
    }

    /// Empties the log and lets it start at `offset`.
    pub fn truncate_fully_and_start_at(&mut self, offset: i64) -> Result<DoomedFiles, StorageError> {
        let offset = offset.max(0);
        self.generation += 1;
        self.cancel_swap()?;
        let mut doomed = DoomedFiles::default();
        for segment in std::mem::take(&mut self.segments) {
            self.doom_segment(&segment, &mut doomed)?;
        }
        // The time is not known here and does not matter: an empty segment is not rolled by age.
        self.segments.push(Segment::create(&self.dir, offset, &self.config, 0)?);
        self.dir_changes += 1;
        self.log_start_offset = offset;
        self.log_end_offset = offset;
        self.high_watermark = offset;
        self.recovery_point = self.recovery_point.min(offset);
        self.clean_offset = 0;
        self.clear_epochs()?;
        self.clear_producers(&mut doomed)?;
        Ok(doomed)
    }

    /// Raises the log start (DeleteRecords, a follower's leader, a snapshot); true if it changed. Never above the
    /// high watermark. Segments below it are removed by the next [`Log::apply_retention`].
    pub fn advance_log_start(&mut self, offset: i64) -> Result<bool, StorageError> {
        let offset = offset.min(self.high_watermark);
        if offset <= self.log_start_offset {
            return Ok(false);
        }
        self.log_start_offset = offset;
        self.truncate_epochs_to(offset)?;
        Ok(true)
    }

    /// Removes segments by time, size and log start, never at or above the high watermark. By time and size only
    /// with `cleanup.policy` delete. The files are renamed; the caller removes them after `file.delete.delay.ms`.
    pub fn apply_retention(&mut self, now_ms: i64) -> Result<DoomedFiles, StorageError> {
        let mut doomed = DoomedFiles::default();
        if self.config.cleanup_delete {
            let limit = self.config.retention_ms;
            if limit >= 0 {
                let end =
                    self.deletable(|log, at| Ok(now_ms.saturating_sub(log.segment_time(at)?) > limit))?;
                self.remove_front(end, now_ms, &mut doomed)?;
            }
            if let Ok(limit) = u64::try_from(self.config.retention_bytes) {
                let mut size = self.size();
                let end = self.deletable(|log, at| {
                    let segment = log.segments[at].size();
                    let fits = size.saturating_sub(segment) >= limit && size > limit;
                    size -= segment;
                    Ok(fits)
                })?;
                self.remove_front(end, now_ms, &mut doomed)?;
            }
        }
        let end = self.deletable(|log, at| {
            Ok(log.segments.get(at + 1).is_some_and(|next| next.base_offset() <= log.log_start_offset))
        })?;
        self.remove_front(end, now_ms, &mut doomed)?;
        Ok(doomed)
    }

    /// How many segments from the first on are below the high watermark and `wanted`.
    fn deletable(
        &mut self,
        mut wanted: impl FnMut(&mut Log, usize) -> Result<bool, StorageError>,
    ) -> Result<usize, StorageError> {
        for at in 0..self.segments.len() {
            let end = self.segments.get(at + 1).map_or(self.log_end_offset, Segment::base_offset);
            let empty_active = at + 1 == self.segments.len() && self.segments[at].size() == 0;
            if end > self.high_watermark || empty_active || !wanted(self, at)? {
                return Ok(at);
            }
        }
        Ok(self.segments.len())
    }

    /// The largest timestamp of a segment, or when its file was changed if it has none.
    fn segment_time(&self, at: usize) -> Result<i64, StorageError> {
        let segment = &self.segments[at];
        let largest = segment.largest().map_err(|e| segment.as_storage_error(e))?;
        if largest.timestamp >= 0 {
            return Ok(largest.timestamp);
        }
        let path = segment.path(FileKind::Log);
        let modified =
            std::fs::metadata(&path).and_then(|m| m.modified()).map_err(StorageError::of("stat", path))?;
        let since = modified.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Ok(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    /// Removes the first `count` segments; the active one is replaced first if it is among them.
    fn remove_front(
        &mut self,
        count: usize,
        now_ms: i64,
        doomed: &mut DoomedFiles,
    ) -> Result<(), StorageError> {
        if count == 0 {
            return Ok(());
        }
        self.cancel_swap()?;
        if count == self.segments.len() {
            self.roll_at(self.log_end_offset, now_ms)?;
        }
        let log_start = self.segments[count].base_offset();
        self.advance_log_start(log_start)?;
        for segment in self.segments.drain(..count).collect::<Vec<_>>() {
            self.doom_segment(&segment, doomed)?;
        }
        self.trim_producers(doomed)
    }

    fn doom_segment(&mut self, segment: &Segment, doomed: &mut DoomedFiles) -> Result<(), StorageError> {
        tracing::info!(log = %segment.path(FileKind::Log).display(), bytes = segment.size(), "deleting a segment");
        doomed.log_bytes += segment.size();
        doomed.paths.extend(segment.doom()?);
        self.forget_txn_index(segment.base_offset());
        Ok(())
    }
}
