//! Opening a log: what is there, what of it is good, where it starts and ends.
//!
//! After a clean stop nothing but headers near the end of the last two segments is read. Without one, every segment from
//! the one with the recovery point on is checked ([`super::recovery`]).

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::Log;
use super::api::{OpenArgs, Quarantined, RecoveryReport};
use super::epochs::Epochs;
use super::error::{OpenError, StorageError};
use super::inventory::{Inventory, remove};
use super::producers::Producers;
use super::recovery::{self, Checked};
use crate::config::LogConfig;
use crate::names::FileKind;
use crate::scan::Bounds;
use crate::segment::Segment;

impl Log {
    /// Opens the log in `dir`, which is created if it is missing, and recovers it if there was no clean shutdown.
    pub fn open(dir: &Path, config: LogConfig, args: OpenArgs) -> Result<(Log, RecoveryReport), OpenError> {
        let args = args.in_range();
        let created = !dir.is_dir();
        if created {
            fs::create_dir(dir).map_err(StorageError::of("create", dir))?;
        }
        let dir: Arc<Path> = Arc::from(dir);
        let inventory = Inventory::take(&dir)?;
        let mut opening = Opening {
            dir,
            config,
            args,
            report: RecoveryReport::default(),
            segments: Vec::new(),
            scanned_from: None,
        };
        opening.report.removed_files = inventory.removed;
        let epochs = Epochs::load(&opening.dir)?;
        let mut found_epochs = Vec::new();
        opening.segments = inventory
            .logs
            .iter()
            .map(|(&base, &size)| Segment::existing(&opening.dir, base, size, &opening.config, args.now_ms))
            .collect();
        let mut log_end_offset = opening.find_end(&mut found_epochs)?;
        opening.check_end(log_end_offset)?;
        if log_end_offset < args.log_start_offset && !opening.segments.is_empty() {
            opening.wipe(log_end_offset)?;
        }
        let Opening { dir, config, mut report, mut segments, scanned_from, .. } = opening;
        if segments.is_empty() {
            segments.push(Segment::create(&dir, args.log_start_offset, &config, args.now_ms)?);
            log_end_offset = args.log_start_offset;
        }
        let log_start_offset = args.log_start_offset.max(segments[0].base_offset());
        let trusted_to = scanned_from.unwrap_or(log_end_offset).min(log_end_offset);
        let epochs = match epochs {
            Some(epochs) => epochs,
            None => Epochs::rebuild(&segments)?,
        };
        let Inventory { snapshots, txn_indexes, .. } = inventory;
        let producers = Producers::new(log_start_offset, &config, snapshots, txn_indexes);
        report.proved_loss |= args.high_watermark > log_end_offset
            || (!args.clean_shutdown && args.recovery_point > log_end_offset);
        let mut log = Log {
            dir,
            config,
            segments,
            log_start_offset,
            high_watermark: args.high_watermark.clamp(log_start_offset, log_end_offset),
            log_end_offset,
            recovery_point: if args.clean_shutdown {
                log_end_offset
            } else {
                args.recovery_point.min(log_end_offset)
            },
            epochs,
            producers,
            poisoned: None,
            dir_changes: u64::from(created),
            dir_synced: 0,
            unsynced_parent: created,
            generation: 0,
            clean_offset: 0,
            swapping: None,
            opened_sealed: AtomicBool::new(false),
        };
        log.restore_epochs(&found_epochs)?;
        log.restore_producers(trusted_to, args.now_ms)?;
        Ok((log, report))
    }
}

/// Checks a segment as if none came after it.
fn check_all(segment: &Segment) -> Result<Checked, StorageError> {
    let bounds = Bounds { base_offset: segment.base_offset(), limit: i64::MAX };
    recovery::check(&*segment.file()?, bounds).map_err(StorageError::of("read", segment.path(FileKind::Log)))
}

/// A log on the way to being open.
struct Opening {
    dir: Arc<Path>,
    config: LogConfig,
    args: OpenArgs,
    report: RecoveryReport,
    segments: Vec<Segment>,
    /// Base offset of the first segment that was checked.
    scanned_from: Option<i64>,
}

impl Opening {
    /// Finds the log end, checking what has to be checked.
    fn find_end(&mut self, epochs: &mut Vec<(i32, i64)>) -> Result<i64, OpenError> {
        let joined = self.drop_false_ends()?;
        let Some(active) = self.segments.last_mut() else { return Ok(self.args.log_start_offset) };
        if self.args.clean_shutdown
            && joined
            && let Some(next_offset) = active.next_offset()?
        {
            return Ok(next_offset);
        }
        let newest = self.segments.len() - 1;
        let first = if self.args.clean_shutdown {
            newest
        } else {
            let point = self.args.recovery_point;
            self.segments.partition_point(|segment| segment.base_offset() <= point).saturating_sub(1)
        };
        let first = if joined { first } else { first.min(newest - 1) };
        let mut next_offset = self.segments[first].base_offset();
        self.scanned_from = Some(next_offset);
        let mut at = first;
        while at < self.segments.len() {
            next_offset = self.recover_segment(at, epochs)?;
            at += 1;
        }
        Ok(next_offset)
    }

    /// Whether the last segment begins where the one before it ends or above; false also if that end cannot be told.
    ///
    /// Kafka believes the mark of a clean stop, and the name of a file. A file that is not of this log would then hide
    /// all from its base offset on, and new records would get offsets that are taken. So a last segment without a
    /// single good batch goes, if what the one before it holds has no fault and no gap.
    fn drop_false_ends(&mut self) -> Result<bool, OpenError> {
        loop {
            let [.., before, last] = &mut self.segments[..] else { return Ok(true) };
            let next_offset = before.next_offset()?;
            before.release()?;
            match next_offset {
                Some(next_offset) if next_offset > last.base_offset() => {}
                found => return Ok(found.is_some()),
            }
            let (path, file) = (last.path(FileKind::Log), last.file()?);
            let beside = check_all(last)?;
            let whole = check_all(before)?;
            before.release()?;
            let is_false = beside.next_offset == last.base_offset();
            let is_sound = whole.damage.is_empty() && !whole.has_gap;
            if self.args.durable_end.is_some() || !is_false || !is_sound {
                return Ok(false);
            }
            tracing::error!(log = %path.display(), "a segment without records begins below the log's end, and goes");
            if !beside.damage.is_empty() {
                let quarantined = recovery::quarantine(&path, &file, &beside)?;
                self.report_damage(&path, quarantined);
            }
            self.drop_segments_after(self.segments.len() - 2)?;
        }
    }

    /// Refuses a log that ended later than it does now.
    fn check_end(&self, log_end_offset: i64) -> Result<(), OpenError> {
        match self.args.durable_end {
            Some(durable_end) if log_end_offset < durable_end => Err(OpenError::Damaged {
                path: self.segments.last().map_or(self.dir.to_path_buf(), |s| s.path(FileKind::Log)),
                position: self.segments.last().map_or(0, Segment::size),
                first_offset: log_end_offset,
                durable_end,
            }),
            _ => Ok(()),
        }
    }

    /// Checks a segment, takes out what is bad and writes its indexes; returns the offset after its last.
    fn recover_segment(&mut self, at: usize, epochs: &mut Vec<(i32, i64)>) -> Result<i64, OpenError> {
        let segment = &self.segments[at];
        let base_offset = segment.base_offset();
        let limit = self.segments.get(at + 1).map_or(i64::MAX, Segment::base_offset);
        let path = segment.path(FileKind::Log);
        let file = segment.file()?;
        let checked =
            recovery::check(&file, Bounds { base_offset, limit }).map_err(StorageError::of("read", &path))?;
        if let Some(durable_end) = self.args.durable_end {
            self.refuse_damage(at, &checked, durable_end)?;
        }
        self.report.scanned_segments += 1;
        self.report.rebuilt_indexes.push(base_offset);
        let mut size = checked.file_size;
        if !checked.damage.is_empty() {
            match checked.bad_end() {
                Some(end) if self.is_torn(at, &checked) => {
                    tracing::warn!(log = %path.display(), position = end, "cutting off a write that was not completed");
                    self.report.torn_bytes += size - end;
                    size = end;
                    self.drop_segments_after(at)?;
                }
                _ => {
                    let quarantined = recovery::quarantine(&path, &file, &checked)?;
                    size -= quarantined.iter().map(|q| q.bytes).sum::<u64>();
                    self.report_damage(&path, quarantined);
                }
            }
        }
        for &(epoch, offset) in &checked.epochs {
            if epochs.last().is_none_or(|(latest, _)| *latest < epoch) {
                epochs.push((epoch, offset));
            }
        }
        let mut segment = Segment::existing(&self.dir, base_offset, size, &self.config, self.args.now_ms);
        segment.recover()?;
        self.segments[at] = segment;
        if at + 1 < self.segments.len() {
            self.segments[at].release()?;
        }
        Ok(checked.next_offset)
    }

    /// A bad end is a torn write if nothing good follows it and it is not below what had been synced.
    fn is_torn(&self, at: usize, checked: &Checked) -> bool {
        let followed = self.segments[at + 1..].iter().any(|segment| segment.size() > 0);
        let synced = checked.next_offset < self.args.recovery_point || self.args.clean_shutdown;
        let keep = checked.damage.iter().any(|damage| damage.keep);
        !followed && !synced && !keep
    }

    /// Nothing may be missing or be taken out of this log but a write that was not completed.
    fn refuse_damage(&self, at: usize, checked: &Checked, durable_end: i64) -> Result<(), OpenError> {
        let limit = self.segments.get(at + 1).map(Segment::base_offset);
        let is_short = limit.is_some_and(|limit| checked.next_offset < limit);
        let torn = self.is_torn(at, checked) && checked.bad_end().is_some();
        let first = checked.damage.first();
        if checked.has_gap || is_short || first.is_some() && (!torn || checked.next_offset < durable_end) {
            return Err(OpenError::Damaged {
                path: self.segments[at].path(FileKind::Log),
                position: first.map_or(checked.file_size, |damage| damage.bytes.start),
                first_offset: first.map_or(checked.next_offset, |damage| damage.first_offset),
                durable_end,
            });
        }
        Ok(())
    }

    fn report_damage(&mut self, path: &Path, quarantined: Vec<Quarantined>) {
        for q in &quarantined {
            tracing::error!(
                log = %path.display(), first_offset = q.first_offset, next_offset = q.next_offset, bytes = q.bytes,
                copy = %q.file.display(), "damaged bytes were taken out of the log"
            );
        }
        self.report.quarantined.extend(quarantined);
    }

    /// The segments after a torn one are empty: they were begun, but nothing in them got to the disk. A false one holds
    /// nothing that is not kept aside.
    fn drop_segments_after(&mut self, at: usize) -> Result<(), StorageError> {
        for segment in self.segments.drain(at + 1..) {
            for path in segment.doom()? {
                remove(&path)?;
            }
        }
        Ok(())
    }

    /// Removes all segments: the log ends below its start, so nothing of it counts.
    fn wipe(&mut self, log_end_offset: i64) -> Result<(), StorageError> {
        self.report.wiped_at = Some(log_end_offset);
        self.report.proved_loss = true;
        for segment in self.segments.drain(..) {
            for path in segment.doom()? {
                remove(&path)?;
                self.report.removed_files += 1;
            }
        }
        Ok(())
    }
}
