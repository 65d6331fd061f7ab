//! `raft::Log` over `storage::Log`: the files of `__cluster_metadata-0`.
//!
//! Invariants: what `flush` covered is on the disk after the next [`MetadataLog::sync`], which the store calls before
//! anything that depends on it leaves this node, so that steps without an outside effect share one; a snapshot has its
//! final name only when it is complete and durable; the log starts at 0 or at a snapshot.

mod synced_end;
#[cfg(test)]
mod tests;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use metadata::directory::METADATA_TOPIC_ID;
use protocol::control::ControlRecord;
use raft::log::LogError;
use raft::snapshot::{DELETED_SUFFIX, PARTIAL_SUFFIX, file_name, parse_file_name};
use raft::{OffsetAndEpoch, QuorumState, SnapshotChunk, SnapshotInfo};
use storage::dirs::{CLUSTER_METADATA_DIR, read_partition_metadata};
use storage::{LogConfig, OpenArgs, StorageError, durable};

use self::synced_end::SyncedEnd;
use crate::store::kraft::MetadataLog;

/// The metadata log of this node.
#[derive(Debug)]
pub(crate) struct KraftLog {
    dir: PathBuf,
    log: storage::Log,
    snapshots: Vec<SnapshotInfo>,
    partial: Option<(OffsetAndEpoch, File)>,
    /// Something was flushed that is not synced.
    dirty: bool,
    /// `None` for a directory that does not outlive the process: then nothing is synced.
    synced_end: Option<SyncedEnd>,
    now_ms: fn() -> i64,
}

/// Why the metadata log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The files cannot be read or written.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The directory cannot be used.
    #[error(transparent)]
    Dir(#[from] storage::dirs::DirError),
    /// The log cannot be opened.
    #[error(transparent)]
    Log(#[from] storage::OpenError),
    /// The log or the directory failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// Committed records are missing. Nothing was changed.
    #[error(
        "the metadata log cannot be used: {0}; bring the file back, or restore the folder from another controller"
    )]
    Damaged(#[source] storage::OpenError),
}

/// What a metadata log needs to know of the configuration; sizes in bytes, times in ms.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KraftLogConfig {
    pub(crate) segment_bytes: u32,
    pub(crate) segment_ms: i64,
    /// False for a directory that does not outlive the process: then nothing is synced.
    pub(crate) durable: bool,
    pub(crate) now_ms: fn() -> i64,
}

impl KraftLog {
    /// Opens the log in `metadata_log_dir`, which must be locked by this process.
    pub(crate) fn open(metadata_log_dir: &Path, config: KraftLogConfig) -> Result<Self, OpenError> {
        let dir = metadata_log_dir.join(CLUSTER_METADATA_DIR);
        let existed = dir.is_dir();
        fs::create_dir_all(&dir)?;
        let log_config = LogConfig {
            segment_bytes: config.segment_bytes,
            segment_ms: config.segment_ms,
            retention_ms: -1,
            retention_bytes: -1,
            max_message_bytes: raft::batch::MAX_BATCH_BYTES as u32,
            ..LogConfig::default()
        };
        let now_ms = (config.now_ms)();
        // Never trusts a clean-shutdown mark: that of the directory says nothing about this log.
        let durable_end = SyncedEnd::read(&dir)?;
        let args = OpenArgs {
            clean_shutdown: !existed,
            durable_end: Some(durable_end),
            ..OpenArgs::new_log(now_ms)
        };
        let (log, report) = storage::Log::open(&dir, log_config, args).map_err(|error| match error {
            storage::OpenError::Damaged { .. } => OpenError::Damaged(error),
            error => OpenError::Log(error),
        })?;
        if report.torn_bytes > 0 {
            tracing::warn!(bytes = report.torn_bytes, "Cut a write that was under way off the metadata log");
        }
        if read_partition_metadata(&dir)?.is_none() {
            // Not synced: it always says the same, so it can be written again.
            let text = format!("version: 0\ntopic_id: {}", protocol::base64_id(METADATA_TOPIC_ID));
            fs::write(dir.join("partition.metadata"), text)?;
        }
        let snapshots = find_snapshots(&dir)?;
        // What is there beyond that may not be on the disk yet: the first sync brings it there.
        let synced_end = if config.durable { Some(SyncedEnd::open(&dir, durable_end)?) } else { None };
        let now_ms = config.now_ms;
        let mut opened = Self { dir, log, snapshots, partial: None, dirty: true, synced_end, now_ms };
        opened.skip_to_snapshot()?;
        Ok(opened)
    }

    /// A snapshot beyond the log was installed when the node stopped: the log goes on behind it.
    fn skip_to_snapshot(&mut self) -> Result<(), OpenError> {
        if let Some(newest) = self.snapshots.last()
            && newest.id.offset > self.log.log_end_offset()
        {
            self.log.truncate_fully_and_start_at(newest.id.offset)?.remove()?;
        }
        Ok(())
    }

    /// The folder of the log.
    #[cfg(test)]
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The log is going to end at `offset`, perhaps before its end.
    fn lower_synced_end(&mut self, offset: i64) -> io::Result<()> {
        self.synced_end.as_mut().map_or(Ok(()), |synced_end| synced_end.lower(offset))
    }

    fn partial_path(&self, id: OffsetAndEpoch) -> PathBuf {
        self.dir.join(format!("{:020}-{:010}{PARTIAL_SUFFIX}", id.offset, id.epoch))
    }

    fn finish_snapshot(&self, id: OffsetAndEpoch, partial: &Path) -> io::Result<()> {
        fs::rename(partial, self.dir.join(file_name(id)))?;
        durable::sync_dir(&self.dir).map_err(|error| error.source)
    }

    fn add_snapshot(&mut self, info: SnapshotInfo) {
        self.snapshots.retain(|known| known.id != info.id);
        self.snapshots.push(info);
        self.snapshots.sort_by_key(|known| known.id);
    }

    fn drop_snapshots_before(&mut self, id: OffsetAndEpoch) -> io::Result<()> {
        let (old, kept) = self.snapshots.iter().copied().partition(|known| known.id < id);
        self.snapshots = kept;
        let old: Vec<SnapshotInfo> = old;
        old.iter().try_for_each(|known| fs::remove_file(self.dir.join(file_name(known.id))))
    }
}

/// The complete snapshots in `dir` by ascending id. Those that were never finished are removed.
fn find_snapshots(dir: &Path) -> io::Result<Vec<SnapshotInfo>> {
    let mut snapshots = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        if name.ends_with(PARTIAL_SUFFIX) || name.ends_with(DELETED_SUFFIX) {
            fs::remove_file(entry.path())?;
        } else if let Some(id) = parse_file_name(name) {
            let last_contained_log_timestamp_ms = header_timestamp(&entry.path())?;
            snapshots.push(SnapshotInfo {
                id,
                size: entry.metadata()?.len(),
                last_contained_log_timestamp_ms,
            });
        }
    }
    snapshots.sort_by_key(|snapshot| snapshot.id);
    Ok(snapshots)
}

/// `LastContainedLogTimestamp` of a snapshot's header, if the first batch can be read.
fn header_timestamp(path: &Path) -> io::Result<Option<i64>> {
    const HEADER_MAX_BYTES: u64 = 64 * 1024;
    let mut start = Vec::new();
    File::open(path)?.take(HEADER_MAX_BYTES).read_to_end(&mut start)?;
    let first = raft::batch::batches(&start).next().and_then(Result::ok);
    let records = first.and_then(|batch| raft::control::decode_batch(&batch).ok()).unwrap_or_default();
    Ok(records.into_iter().find_map(|(_, record)| match record {
        ControlRecord::SnapshotHeader(header) => Some(header.last_contained_log_timestamp),
        _ => None,
    }))
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> LogError {
    LogError(Box::new(error))
}

impl raft::Log for KraftLog {
    fn log_start_offset(&self) -> i64 {
        self.log.log_start_offset()
    }

    fn log_end_offset(&self) -> i64 {
        self.log.log_end_offset()
    }

    fn last_epoch(&self) -> Option<i32> {
        let is_empty = self.log.log_start_offset() == self.log.log_end_offset();
        self.log.latest_epoch().filter(|_| !is_empty)
    }

    fn end_offset_for_epoch(&self, epoch: i32) -> Option<OffsetAndEpoch> {
        self.last_epoch()?;
        let (epoch, offset) = self.log.end_offset_for_epoch(epoch)?;
        Some(OffsetAndEpoch { offset, epoch })
    }

    fn append(&mut self, batches: &[u8]) -> Result<(), LogError> {
        self.log.append_as_follower(batches, (self.now_ms)()).map_err(failed)?;
        Ok(())
    }

    fn flush(&mut self) -> Result<(), LogError> {
        self.dirty = true;
        Ok(())
    }

    fn truncate_to(&mut self, end_offset: i64) -> Result<(), LogError> {
        self.lower_synced_end(end_offset)?;
        self.log.truncate_to(end_offset).map_err(failed)?.remove()?;
        self.dirty = true;
        self.sync().map_err(failed)
    }

    fn read(&self, offset: i64, max_bytes: usize) -> Result<Bytes, LogError> {
        let end = self.log.log_end_offset();
        if offset >= end {
            return Ok(Bytes::new());
        }
        let slice = self.log.read(offset, max_bytes, end, true).map_err(failed)?;
        Ok(Bytes::from(slice.read()?))
    }

    fn size(&self) -> u64 {
        self.log.size()
    }

    fn snapshots(&self) -> Vec<SnapshotInfo> {
        self.snapshots.clone()
    }

    fn read_snapshot(
        &self,
        id: OffsetAndEpoch,
        position: u64,
        max_bytes: usize,
    ) -> Result<Option<SnapshotChunk>, LogError> {
        let Some(known) = self.snapshots.iter().find(|known| known.id == id) else { return Ok(None) };
        let mut file = File::open(self.dir.join(file_name(id)))?;
        file.seek(SeekFrom::Start(position))?;
        let mut bytes = Vec::new();
        file.take(max_bytes as u64).read_to_end(&mut bytes)?;
        Ok(Some(SnapshotChunk { total_size: known.size, bytes: bytes.into() }))
    }

    fn start_snapshot(&mut self, id: OffsetAndEpoch) -> Result<(), LogError> {
        if let Some((old, _)) = self.partial.take() {
            fs::remove_file(self.partial_path(old))?;
        }
        let options = OpenOptions::new().create(true).write(true).truncate(true).open(self.partial_path(id));
        self.partial = Some((id, options?));
        Ok(())
    }

    fn append_snapshot(&mut self, id: OffsetAndEpoch, position: u64, bytes: &[u8]) -> Result<(), LogError> {
        match &mut self.partial {
            Some((partial, file)) if *partial == id => {
                file.seek(SeekFrom::Start(position))?;
                Ok(file.write_all(bytes)?)
            }
            _ => Err(io::Error::other(format!("no snapshot {} is being written", file_name(id))).into()),
        }
    }

    fn install_snapshot(&mut self, id: OffsetAndEpoch) -> Result<(), LogError> {
        let Some((_, file)) = self.partial.take().filter(|(partial, _)| *partial == id) else {
            return Err(io::Error::other(format!("no snapshot {} is being written", file_name(id))).into());
        };
        file.sync_all()?;
        let size = file.metadata()?.len();
        drop(file);
        self.finish_snapshot(id, &self.partial_path(id))?;
        let path = self.dir.join(file_name(id));
        let last_contained_log_timestamp_ms = header_timestamp(&path)?;
        self.add_snapshot(SnapshotInfo { id, size, last_contained_log_timestamp_ms });
        self.lower_synced_end(id.offset)?;
        self.log.truncate_fully_and_start_at(id.offset).map_err(failed)?.remove()?;
        Ok(self.drop_snapshots_before(id)?)
    }

    fn delete_before(&mut self, id: OffsetAndEpoch) -> Result<(), LogError> {
        // A snapshot only ever covers what is committed.
        self.log.set_high_watermark(id.offset);
        self.log.advance_log_start(id.offset).map_err(failed)?;
        self.log.apply_retention((self.now_ms)()).map_err(failed)?.remove()?;
        Ok(self.drop_snapshots_before(id)?)
    }
}

impl MetadataLog for KraftLog {
    fn read_quorum_state(&self) -> io::Result<Option<QuorumState>> {
        match fs::read_to_string(self.dir.join(raft::quorum_state::FILE_NAME)) {
            Ok(text) if text.trim().is_empty() => Ok(None),
            Ok(text) => QuorumState::decode(&text).map(Some).map_err(io::Error::other),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn write_quorum_state(&mut self, state: &QuorumState) -> io::Result<()> {
        let path = self.dir.join(raft::quorum_state::FILE_NAME);
        if self.synced_end.is_some() {
            durable::replace(&path, state.encode().as_bytes()).map_err(|error| error.source)
        } else {
            fs::write(path, state.encode())
        }
    }

    fn sync(&mut self) -> Result<(), StorageError> {
        if std::mem::take(&mut self.dirty)
            && let Some(synced_end) = &mut self.synced_end
        {
            let end = self.log.log_end_offset();
            self.log.flush(end)?;
            synced_end.set(end).map_err(StorageError::of("write", &self.dir))?;
        }
        Ok(())
    }

    fn close(&mut self) -> Result<(), StorageError> {
        self.log.close()
    }

    fn snapshot_bytes(&self, id: OffsetAndEpoch) -> io::Result<Vec<u8>> {
        fs::read(self.dir.join(file_name(id)))
    }

    fn write_snapshot(
        &mut self,
        id: OffsetAndEpoch,
        bytes: &[u8],
        last_contained_log_timestamp_ms: i64,
    ) -> io::Result<()> {
        let partial = self.partial_path(id);
        let mut file = File::create(&partial)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        self.finish_snapshot(id, &partial)?;
        self.add_snapshot(SnapshotInfo {
            id,
            size: bytes.len() as u64,
            last_contained_log_timestamp_ms: Some(last_contained_log_timestamp_ms),
        });
        Ok(())
    }
}
