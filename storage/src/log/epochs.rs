//! The leader epochs of a log and their file.

use std::path::Path;

use super::Log;
use super::error::StorageError;

#[derive(Debug)]
pub(super) struct Epochs;

impl Log {
    pub(super) fn load_epochs(_dir: &Path) -> Result<Epochs, StorageError> {
        Ok(Epochs)
    }
    pub(super) fn restore_epochs(&mut self, _found: &[(i32, i64)]) -> Result<(), StorageError> {
        Ok(())
    }
    /// Notes that the leader of `epoch` begins at `start_offset` (the log end, on becoming leader); durable.
    pub fn assign_leader_epoch(&mut self, epoch: i32, start_offset: i64) -> Result<(), StorageError> {
        let _ = (epoch, start_offset);
        Ok(())
    }

    /// The latest leader epoch that wrote to the log.
    pub fn latest_epoch(&self) -> Option<i32> {
        None
    }

    /// Kafka's end offset for an epoch: (the greatest known epoch <= `epoch`, where it ends); `None` if undefined.
    pub fn end_offset_for_epoch(&self, epoch: i32) -> Option<(i32, i64)> {
        let _ = epoch;
        None
    }
    pub(super) fn truncate_epochs_from(&mut self, _end: i64) -> Result<(), StorageError> {
        Ok(())
    }
    pub(super) fn truncate_epochs_to(&mut self, _start: i64) -> Result<(), StorageError> {
        Ok(())
    }
    pub(super) fn clear_epochs(&mut self) -> Result<(), StorageError> {
        Ok(())
    }
}
