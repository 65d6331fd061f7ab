//! A segment that compaction writes, under the names `*.cleaned`, unknown to the log until it is swapped in.

use std::fs::{self, File};
use std::io;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use protocol::batch::BatchHeader;

use super::{Indexes, Largest};
use crate::log::StorageError;
use crate::names::FileKind;
use crate::txn_index::{AbortedTxn, TransactionIndex, TxnIndexError};

/// Bytes that are written at a time.
const WRITE_CHUNK: usize = 256 * 1024;

/// The files on the way.
#[derive(Debug)]
pub(crate) struct CleanedSegment {
    dir: Arc<Path>,
    base_offset: i64,
    out: BufWriter<File>,
    size: u64,
    interval: u32,
    indexes: Indexes,
    largest: Largest,
    txns: TransactionIndex,
}

impl CleanedSegment {
    /// The path of one of the files.
    pub(crate) fn path(dir: &Path, kind: FileKind, base_offset: i64) -> PathBuf {
        dir.join(kind.name(base_offset) + ".cleaned")
    }

    /// Creates the files; `interval` is `index.interval.bytes`.
    pub(crate) fn create(
        dir: &Arc<Path>,
        base_offset: i64,
        interval: u32,
    ) -> Result<CleanedSegment, StorageError> {
        Self::remove(dir, base_offset)?;
        let path = |kind| Self::path(dir, kind, base_offset);
        let file =
            File::create(path(FileKind::Log)).map_err(StorageError::of("create", path(FileKind::Log)))?;
        Ok(CleanedSegment {
            dir: dir.clone(),
            base_offset,
            out: BufWriter::with_capacity(WRITE_CHUNK, file),
            size: 0,
            interval,
            indexes: Indexes::create(path)?,
            largest: Largest { timestamp: -1, offset: base_offset },
            txns: TransactionIndex::open(path(FileKind::TxnIndex)).map_err(as_storage_error)?,
        })
    }

    /// Removes what an earlier attempt left.
    pub(crate) fn remove(dir: &Path, base_offset: i64) -> Result<(), StorageError> {
        for kind in FileKind::SEGMENT {
            let path = Self::path(dir, kind, base_offset);
            match fs::remove_file(&path) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => {
                    return Err(StorageError::of("remove", path)(e));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Bytes appended.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Appends a batch with offsets above those before.
    pub(crate) fn append(&mut self, header: &BatchHeader, bytes: &[u8]) -> Result<(), StorageError> {
        let path = Self::path(&self.dir, FileKind::Log, self.base_offset);
        self.out.write_all(bytes).map_err(StorageError::of("write", path))?;
        self.indexes.note(self.base_offset, self.interval, header, self.size, &mut self.largest);
        self.size += bytes.len() as u64;
        Ok(())
    }

    /// Adds an aborted transaction whose marker was appended.
    pub(crate) fn index_aborted(&mut self, txn: &AbortedTxn) -> Result<(), StorageError> {
        self.txns.append(txn)
    }

    /// Completes the files and makes them durable. `modified` is what the `.log` file tells of its age, for retention
    /// of segments without timestamps. Says whether there is a transaction index.
    pub(crate) fn finish(mut self, modified: Option<SystemTime>) -> Result<bool, StorageError> {
        let path = |kind| Self::path(&self.dir, kind, self.base_offset);
        self.indexes.complete(self.base_offset, self.largest)?;
        self.txns.flush()?;
        for kind in [FileKind::Index, FileKind::TimeIndex] {
            let synced = File::open(path(kind)).and_then(|file| file.sync_all());
            synced.map_err(StorageError::of("sync", path(kind)))?;
        }
        self.out.flush().map_err(StorageError::of("write", path(FileKind::Log)))?;
        let file = self.out.get_ref();
        if let Some(modified) = modified {
            file.set_modified(modified).map_err(StorageError::of("touch", path(FileKind::Log)))?;
        }
        file.sync_all().map_err(StorageError::of("sync", path(FileKind::Log)))?;
        Ok(self.txns.exists())
    }
}

fn as_storage_error(error: TxnIndexError) -> StorageError {
    match error {
        TxnIndexError::Io(e) => e,
        TxnIndexError::Corrupt { path, reason } => {
            StorageError::of("read", path)(io::Error::new(io::ErrorKind::InvalidData, reason))
        }
    }
}
