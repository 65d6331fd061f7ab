//! The leader epochs of a log and their file.
//!
//! The file is written when an epoch is assigned and synced with the data: what a crash takes of it is found again in
//! the headers of the batches that are checked then, and an epoch without a batch is not missed. A file that cannot
//! be read is made anew from all headers.

use std::fs;
use std::io;
use std::path::Path;

use super::Log;
use super::error::StorageError;
use crate::leader_epochs::{EpochEntry, LEADER_EPOCH_FILE, LeaderEpochs};
use crate::names::FileKind;
use crate::scan::{BatchScan, Depth, Step};
use crate::segment::Segment;

/// The epochs with what is known of their file.
#[derive(Debug)]
pub(super) struct Epochs {
    known: LeaderEpochs,
    /// They were found in the batches and are not in the file.
    rebuilt: bool,
}

impl Epochs {
    /// Reads the file; `None` if it is missing or cannot be made out.
    pub(super) fn load(dir: &Path) -> Result<Option<Epochs>, StorageError> {
        let path = dir.join(LEADER_EPOCH_FILE);
        let known = match fs::read(&path) {
            Ok(bytes) => match std::str::from_utf8(&bytes).map(LeaderEpochs::parse) {
                Ok(Ok(known)) => known,
                _ => {
                    tracing::warn!(path = %path.display(), "the leader epochs cannot be read and are made anew");
                    return Ok(None);
                }
            },
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(StorageError::of("read", path)(e)),
        };
        Ok(Some(Epochs { known, rebuilt: false }))
    }

    /// Finds the epochs of all batches.
    pub(super) fn rebuild(segments: &[Segment]) -> Result<Epochs, StorageError> {
        let mut known = LeaderEpochs::new();
        for segment in segments {
            let file = segment.file()?;
            let mut scan = BatchScan::new(&file, 0, segment.size(), Depth::Header);
            let failed = || StorageError::of("read", segment.path(FileKind::Log));
            while let Step::Batch(header) = scan.step().map_err(failed())? {
                if known.latest().is_none_or(|latest| latest.epoch < header.partition_leader_epoch) {
                    known.assign(header.partition_leader_epoch, header.base_offset);
                }
            }
        }
        let rebuilt = known.latest().is_some();
        Ok(Epochs { known, rebuilt })
    }
}

impl Log {
    /// Fits the epochs to the log that was found: `found` are those of the batches that were checked.
    pub(super) fn restore_epochs(&mut self, found: &[(i32, i64)]) -> Result<(), StorageError> {
        // What is cut off here is cut off again by the next open, so that alone is no reason to write.
        self.epochs.known.truncate_from_end(self.log_end_offset);
        self.epochs.known.truncate_from_start(self.log_start_offset);
        let mut assigned = self.epochs.rebuilt;
        for &(epoch, start_offset) in found {
            if self.latest_epoch().is_none_or(|latest| latest < epoch) {
                assigned |= self.epochs.known.assign(epoch, start_offset);
            }
        }
        if assigned { self.write_epochs() } else { Ok(()) }
    }

    /// Notes that the leader of `epoch` begins at `start_offset` (the log end, on becoming leader).
    pub fn assign_leader_epoch(&mut self, epoch: i32, start_offset: i64) -> Result<(), StorageError> {
        if self.latest_epoch() == Some(epoch) || !self.epochs.known.assign(epoch, start_offset) {
            return Ok(());
        }
        self.write_epochs()
    }

    /// The latest leader epoch that wrote to the log, or was assigned.
    pub fn latest_epoch(&self) -> Option<i32> {
        self.epochs.known.latest().map(|latest| latest.epoch)
    }

    /// The leader epochs, oldest first.
    pub fn leader_epochs(&self) -> &[EpochEntry] {
        self.epochs.known.entries()
    }

    /// The leader epoch that wrote `offset`, or would; `None` below the first one.
    pub fn epoch_for_offset(&self, offset: i64) -> Option<i32> {
        self.epochs.known.epoch_for_offset(offset)
    }

    /// Kafka's end offset for an epoch: (the greatest known epoch <= `epoch`, where it ends); `None` if undefined.
    pub fn end_offset_for_epoch(&self, epoch: i32) -> Option<(i32, i64)> {
        self.epochs.known.end_offset_for(epoch, self.log_end_offset)
    }

    pub(super) fn truncate_epochs_from(&mut self, end: i64) -> Result<(), StorageError> {
        if self.epochs.known.truncate_from_end(end) { self.write_epochs() } else { Ok(()) }
    }

    pub(super) fn truncate_epochs_to(&mut self, start: i64) -> Result<(), StorageError> {
        if self.epochs.known.truncate_from_start(start) { self.write_epochs() } else { Ok(()) }
    }

    pub(super) fn clear_epochs(&mut self) -> Result<(), StorageError> {
        if self.epochs.known.clear() { self.write_epochs() } else { Ok(()) }
    }

    /// Replaces the file; it is synced by the next flush.
    fn write_epochs(&mut self) -> Result<(), StorageError> {
        self.dir_changes += 1;
        let path = self.dir.join(LEADER_EPOCH_FILE);
        let temporary = path.with_extension("tmp");
        fs::write(&temporary, self.epochs.known.encode()).map_err(StorageError::of("write", &temporary))?;
        fs::rename(&temporary, &path).map_err(StorageError::of("rename", temporary))
    }
}
