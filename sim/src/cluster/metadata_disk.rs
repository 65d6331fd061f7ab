//! The disk of the metadata log: what was not synced is lost in a crash, and any write may be the last one.

use std::io;

use bytes::Bytes;
use controller::MetadataLog;
use raft::log::LogError;
use raft::memory_log::MemoryLog;
use raft::{Log, OffsetAndEpoch, QuorumState, SnapshotChunk, SnapshotInfo};
use storage::StorageError;

/// A log and the election state beside it.
#[derive(Debug, Clone, Default)]
pub(super) struct MetadataDisk {
    pub(super) log: MemoryLog,
    pub(super) quorum_state: Option<QuorumState>,
    /// Something was flushed that is not synced.
    dirty: bool,
    /// States written since the simulation looked last.
    pub(super) written: Vec<QuorumState>,
}

impl MetadataDisk {
    /// The process or the machine ends.
    pub(super) fn crash(&mut self) {
        self.log.crash();
    }
}

impl MetadataLog for MetadataDisk {
    fn read_quorum_state(&self) -> io::Result<Option<QuorumState>> {
        Ok(self.quorum_state.clone())
    }

    fn write_quorum_state(&mut self, state: &QuorumState) -> io::Result<()> {
        if self.log.is_blown() {
            return Err(io::Error::other("crashed"));
        }
        let state = QuorumState::decode(&state.encode()).map_err(io::Error::other)?;
        self.written.push(state.clone());
        self.quorum_state = Some(state);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StorageError> {
        if !std::mem::take(&mut self.dirty) {
            return Ok(());
        }
        self.log.flush().map_err(|error| StorageError::of("sync", "metadata")(io::Error::other(error)))
    }

    fn close(&mut self) -> Result<(), StorageError> {
        self.sync()
    }

    fn snapshot_bytes(&self, id: OffsetAndEpoch) -> io::Result<Vec<u8>> {
        let chunk = self.log.read_snapshot(id, 0, usize::MAX).map_err(io::Error::other)?;
        chunk.map(|chunk| chunk.bytes.to_vec()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn write_snapshot(&mut self, id: OffsetAndEpoch, bytes: &[u8], _: i64) -> io::Result<()> {
        self.log.add_snapshot(id, Bytes::copy_from_slice(bytes));
        Ok(())
    }
}

impl Log for MetadataDisk {
    fn log_start_offset(&self) -> i64 {
        self.log.log_start_offset()
    }

    fn log_end_offset(&self) -> i64 {
        self.log.log_end_offset()
    }

    fn last_epoch(&self) -> Option<i32> {
        self.log.last_epoch()
    }

    fn end_offset_for_epoch(&self, epoch: i32) -> Option<OffsetAndEpoch> {
        self.log.end_offset_for_epoch(epoch)
    }

    fn append(&mut self, batches: &[u8]) -> Result<(), LogError> {
        self.log.append(batches)
    }

    fn flush(&mut self) -> Result<(), LogError> {
        // As the log of a running node: `sync` does it, before anything leaves the node.
        self.dirty = true;
        Ok(())
    }

    fn truncate_to(&mut self, end_offset: i64) -> Result<(), LogError> {
        self.log.truncate_to(end_offset)?;
        self.dirty = true;
        Ok(self.sync().map_err(io::Error::other)?)
    }

    fn read(&self, offset: i64, max_bytes: usize) -> Result<Bytes, LogError> {
        self.log.read(offset, max_bytes)
    }

    fn size(&self) -> u64 {
        self.log.size()
    }

    fn snapshots(&self) -> Vec<SnapshotInfo> {
        self.log.snapshots()
    }

    fn read_snapshot(
        &self,
        id: OffsetAndEpoch,
        position: u64,
        max_bytes: usize,
    ) -> Result<Option<SnapshotChunk>, LogError> {
        self.log.read_snapshot(id, position, max_bytes)
    }

    fn start_snapshot(&mut self, id: OffsetAndEpoch) -> Result<(), LogError> {
        self.log.start_snapshot(id)
    }

    fn append_snapshot(&mut self, id: OffsetAndEpoch, position: u64, bytes: &[u8]) -> Result<(), LogError> {
        self.log.append_snapshot(id, position, bytes)
    }

    fn install_snapshot(&mut self, id: OffsetAndEpoch) -> Result<(), LogError> {
        self.log.install_snapshot(id)
    }

    fn delete_before(&mut self, id: OffsetAndEpoch) -> Result<(), LogError> {
        self.log.delete_before(id)
    }
}
