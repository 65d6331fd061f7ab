//! The producers of a log: sequence checks, open transactions, snapshots.

use super::Log;
use super::api::{AppendInfo, AppendOrigin, DoomedFiles};
use super::error::{AppendError, OpenError, StorageError};

#[derive(Debug)]
pub(super) struct Producers;

impl Producers {
    pub(super) fn new() -> Self {
        Producers
    }
}

impl Log {
    pub(super) fn check_producers(
        &mut self,
        _r: &[u8],
        _o: AppendOrigin,
        _now: i64,
    ) -> Result<Option<AppendInfo>, AppendError> {
        Ok(None)
    }
    pub(super) fn replay_producers_of_leader(&mut self, _r: &[u8], _now: i64) -> Result<(), AppendError> {
        Ok(())
    }
    pub(super) fn abandon_producers(&mut self) {}
    pub(super) fn commit_producers(&mut self, _r: &[u8], _first: i64) {}
    pub(super) fn restore_producers(
        &mut self,
        _s: Vec<i64>,
        _t: &[i64],
        _clean: bool,
        _now: i64,
    ) -> Result<(), OpenError> {
        Ok(())
    }
    pub(super) fn snapshot_producers(&mut self) -> Result<(), StorageError> {
        Ok(())
    }
    pub(super) fn snapshot_producers_at(&mut self, _at: i64) -> Result<(), StorageError> {
        Ok(())
    }
    pub(super) fn truncate_producers(&mut self, _end: i64, _d: &mut DoomedFiles) -> Result<(), StorageError> {
        Ok(())
    }
    pub(super) fn clear_producers(&mut self, _d: &mut DoomedFiles) -> Result<(), StorageError> {
        Ok(())
    }
    pub(super) fn drop_snapshots_below(&mut self, _s: i64, _d: &mut DoomedFiles) -> Result<(), StorageError> {
        Ok(())
    }
    pub(super) fn forget_txn_index(&mut self, _base: i64) {}
    /// First offset of the earliest transaction that is open, or ended but not below the high watermark.
    pub fn first_unstable_offset(&self) -> Option<i64> {
        None
    }
}
