//! One segment: a `.log` file with its sparse indexes.
//!
//! Invariants: `size` bytes of the file are whole batches with increasing offsets, from `base_offset` on; what the
//! file has beyond that is the rest of a failed write and never read. Files and indexes of a segment are opened when
//! they are first used. An index is checked when it is loaded and its entries when they are used; one that does not
//! fit the `.log` file is written anew from it.

mod cleaned;
mod file;
mod lookup;
mod tail;
mod trust;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use protocol::batch::{self, BatchHeader};

pub(crate) use cleaned::CleanedSegment;
pub use file::SegmentFile;

use crate::config::LogConfig;
use crate::index::{OffsetIndex, TimeEntry, TimeIndex};
use crate::log::StorageError;
use crate::names::FileKind;
use tail::Tail;
use trust::Walked;

pub(crate) use lookup::Found;

/// A segment. Shared access is for reads, `&mut` for the one writer.
#[derive(Debug)]
pub(crate) struct Segment {
    dir: Arc<Path>,
    base_offset: i64,
    size: u64,
    /// When it was begun or opened, for rolling where there are no timestamps.
    created_ms: i64,
    /// Largest timestamp of the first append, once it is known.
    first_timestamp: Option<i64>,
    /// `index.interval.bytes`.
    interval: u32,
    /// The last write failed and could not be cut off yet.
    torn: bool,
    /// From here on every batch was written or checked since the log was opened.
    trusted_from: u64,
    walked: Mutex<Walked>,
    lazy: Mutex<Lazy>,
    tail: Tail,
}

/// What is opened on first use.
#[derive(Debug, Default)]
struct Lazy {
    file: Option<Arc<SegmentFile>>,
    indexes: Option<Indexes>,
    /// Largest timestamp and the last offset of its batch, once found out; kept when the indexes are let go.
    largest: Option<Largest>,
}

/// Both indexes.
#[derive(Debug)]
struct Indexes {
    offsets: OffsetIndex,
    times: TimeIndex,
    /// Bytes of the batches from the one of the last entry on.
    bytes_since_entry: u64,
}

/// The largest timestamp of a segment (-1: none) and the last offset of the first batch that has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Largest {
    pub(crate) timestamp: i64,
    pub(crate) offset: i64,
}

impl Segment {
    /// Creates the files of an empty segment; whatever was under their names is gone.
    pub(crate) fn create(
        dir: &Arc<Path>,
        base_offset: i64,
        config: &LogConfig,
        now_ms: i64,
    ) -> Result<Segment, StorageError> {
        let segment = Segment::existing(dir, base_offset, 0, config, now_ms);
        let path = segment.path(FileKind::Log);
        let file = SegmentFile::open(&path, base_offset, true).map_err(StorageError::of("create", &path))?;
        if file.len().map_err(StorageError::of("stat", &path))? > 0 {
            file.set_len(0).map_err(StorageError::of("truncate", &path))?;
        }
        let indexes = Indexes::create(|kind| segment.path(kind))?;
        let largest = Some(Largest { timestamp: -1, offset: base_offset });
        *segment.lazy.lock() = Lazy { file: Some(Arc::new(file)), indexes: Some(indexes), largest };
        Ok(segment)
    }

    /// A segment whose files are there; opens nothing.
    pub(crate) fn existing(
        dir: &Arc<Path>,
        base_offset: i64,
        size: u64,
        config: &LogConfig,
        now_ms: i64,
    ) -> Segment {
        Segment {
            dir: dir.clone(),
            base_offset,
            size,
            created_ms: now_ms,
            first_timestamp: None,
            interval: config.index_interval_bytes,
            torn: false,
            trusted_from: size,
            walked: Mutex::default(),
            lazy: Mutex::default(),
            tail: Tail::default(),
        }
    }

    pub(crate) fn base_offset(&self) -> i64 {
        self.base_offset
    }

    /// Bytes of good batches.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// The path of one of the segment's files.
    pub(crate) fn path(&self, kind: FileKind) -> PathBuf {
        self.dir.join(kind.name(self.base_offset))
    }

    /// The open `.log` file.
    pub(crate) fn file(&self) -> Result<Arc<SegmentFile>, StorageError> {
        self.file_in(&mut self.lazy.lock())
    }

    fn file_in(&self, lazy: &mut Lazy) -> Result<Arc<SegmentFile>, StorageError> {
        if let Some(file) = &lazy.file {
            return Ok(file.clone());
        }
        let path = self.path(FileKind::Log);
        let file = Arc::new(
            SegmentFile::open(&path, self.base_offset, false).map_err(StorageError::of("open", path))?,
        );
        lazy.file = Some(file.clone());
        Ok(file)
    }

    /// Lets go of open files and loaded indexes; they are opened again when needed.
    pub(crate) fn release(&mut self) -> Result<(), StorageError> {
        self.write_indexes()?;
        let lazy = self.lazy.get_mut();
        lazy.file = None;
        lazy.indexes = None;
        Ok(())
    }

    /// Whether files or indexes are open.
    pub(crate) fn is_loaded(&self) -> bool {
        let lazy = self.lazy.lock();
        lazy.file.is_some() || lazy.indexes.is_some()
    }

    /// Must the next append of `bytes` bytes, with offsets up to `last_offset`, go to a new segment?
    pub(crate) fn should_roll(
        &mut self,
        config: &LogConfig,
        bytes: usize,
        last_offset: i64,
        max_timestamp: i64,
        now_ms: i64,
    ) -> Result<bool, StorageError> {
        if self.size + bytes as u64 > u64::from(config.segment_bytes) {
            return Ok(self.size > 0);
        }
        if self.size == 0 {
            return Ok(last_offset - self.base_offset > i64::from(i32::MAX));
        }
        let first = self.first_timestamp()?;
        let age = if first >= 0 && max_timestamp >= 0 {
            max_timestamp.saturating_sub(first)
        } else {
            now_ms.saturating_sub(self.created_ms)
        };
        if age > config.segment_ms.saturating_sub(self.jitter(config)) {
            return Ok(true);
        }
        if last_offset - self.base_offset > i64::from(i32::MAX) {
            return Ok(true);
        }
        self.indexes_full(config.segment_index_bytes)
    }

    /// What `segment.jitter.ms` takes off this segment's life: spread by name, since nothing here is random.
    fn jitter(&self, config: &LogConfig) -> i64 {
        let limit = config.segment_jitter_ms.min(config.segment_ms);
        if limit <= 0 {
            return 0;
        }
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for byte in self.dir.as_os_str().as_encoded_bytes().iter().chain(&self.base_offset.to_be_bytes()) {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
        (hash % limit as u64) as i64
    }

    /// Largest timestamp of the first batch, -1 if there is none.
    pub(crate) fn first_timestamp(&mut self) -> Result<i64, StorageError> {
        if let Some(timestamp) = self.first_timestamp {
            return Ok(timestamp);
        }
        let timestamp = self.first_header()?.map_or(-1, |header| header.max_timestamp);
        self.first_timestamp = Some(timestamp);
        Ok(timestamp)
    }

    /// Writes whole batches with rising offsets at the end and indexes them.
    ///
    /// After an error the segment is as before: the file is cut back now, or before the next append.
    pub(crate) fn append(
        &mut self,
        config: &LogConfig,
        records: &[u8],
        max_timestamp: i64,
    ) -> Result<(), StorageError> {
        let file = self.file_in_mut()?;
        self.mend(&file)?;
        self.load_for_append()?;
        self.interval = config.index_interval_bytes;
        if let Err(e) = file.write_at(records, self.size) {
            self.torn = true;
            // If this fails too, the next append tries again before it writes.
            let _ = self.mend(&file);
            return Err(StorageError::of("write", self.path(FileKind::Log))(e));
        }
        if self.size == 0 {
            self.first_timestamp = Some(max_timestamp);
        }
        for batch in batch::batches(records).flatten() {
            if let Ok(header) = batch.header() {
                self.note_batch(&header, self.size + batch.position as u64);
            }
        }
        self.size += records.len() as u64;
        Ok(())
    }

    /// Updates timestamps, indexes and tail for the batch at `position`, the end of those noted so far.
    fn note_batch(&mut self, header: &BatchHeader, position: u64) {
        let (base_offset, interval) = (self.base_offset, self.interval);
        let lazy = self.lazy.get_mut();
        if let Some(indexes) = &mut lazy.indexes {
            let largest = lazy.largest.get_or_insert(Largest { timestamp: -1, offset: base_offset });
            indexes.note(base_offset, interval, header, position, largest);
        }
        self.tail.push(header.base_offset, header.last_offset(), position);
    }

    /// Cuts off what a failed write left.
    fn mend(&mut self, file: &SegmentFile) -> Result<(), StorageError> {
        if self.torn {
            file.set_len(self.size).map_err(StorageError::of("truncate", self.path(FileKind::Log)))?;
            self.torn = false;
        }
        Ok(())
    }

    fn file_in_mut(&mut self) -> Result<Arc<SegmentFile>, StorageError> {
        match &self.lazy.get_mut().file {
            Some(file) => Ok(file.clone()),
            None => self.file(),
        }
    }

    /// Writes index entries that are only in memory.
    pub(crate) fn write_indexes(&mut self) -> Result<(), StorageError> {
        let path = self.path(FileKind::Index);
        match &mut self.lazy.get_mut().indexes {
            Some(indexes) => {
                indexes.offsets.write().and(indexes.times.write()).map_err(StorageError::of("write", path))
            }
            None => Ok(()),
        }
    }

    /// Completes the indexes with the final time entry and cuts them to size: the segment is rolled or closed.
    pub(crate) fn seal(&mut self) -> Result<(), StorageError> {
        if self.lazy.get_mut().indexes.is_none() {
            return Ok(());
        }
        let base_offset = self.base_offset;
        let lazy = self.lazy.get_mut();
        if let (Some(indexes), Some(largest)) = (&mut lazy.indexes, lazy.largest) {
            indexes.complete(base_offset, largest)?;
        }
        Ok(())
    }

    /// Cuts the segment so that the batch with `offset` and all after it are gone; returns the last offset kept + 1
    /// (the base offset if nothing is).
    pub(crate) fn truncate_to(&mut self, offset: i64) -> Result<i64, StorageError> {
        let Some(found) = self.locate(offset)? else {
            return Ok(offset);
        };
        let cut = found.base_offset.min(offset);
        self.cut(found.position, cut)?;
        Ok(cut)
    }

    /// Cuts the file at `position`, where the batch with `offset` begins.
    pub(crate) fn cut(&mut self, position: u64, offset: i64) -> Result<(), StorageError> {
        let path = self.path(FileKind::Log);
        let file = self.file_in_mut()?;
        file.set_len(position).map_err(StorageError::of("truncate", &path))?;
        self.size = position;
        self.trusted_from = self.trusted_from.min(position);
        *self.walked.get_mut() = Walked::default();
        self.torn = false;
        self.tail.clear();
        let base_offset = self.base_offset;
        let lazy = self.lazy.get_mut();
        if let Some(indexes) = &mut lazy.indexes {
            let keep = |relative: u32| i64::from(relative) + base_offset < offset;
            let offsets =
                indexes.offsets.truncate_where(|e| keep(e.relative) && u64::from(e.position) < position);
            let times = indexes.times.truncate_where(|e| keep(e.relative));
            offsets.and(times).map_err(StorageError::of("truncate", path))?;
        }
        lazy.largest = None;
        // Loaded anew before the next use, which finds out the largest timestamp and the bytes since the last entry.
        lazy.indexes = None;
        if position == 0 {
            self.first_timestamp = None;
        }
        Ok(())
    }

    /// Renames the files to `*.deleted`; returns their new paths.
    pub(crate) fn doom(&self) -> Result<Vec<PathBuf>, StorageError> {
        let mut paths = Vec::with_capacity(FileKind::SEGMENT.len());
        for kind in FileKind::SEGMENT {
            paths.extend(doom_file(&self.path(kind))?);
        }
        Ok(paths)
    }
}

/// Renames a file to `<name>.deleted`; `None` if it is not there.
pub(crate) fn doom_file(path: &Path) -> Result<Option<PathBuf>, StorageError> {
    let mut to = path.as_os_str().to_owned();
    to.push(".deleted");
    let to = PathBuf::from(to);
    match fs::rename(path, &to) {
        Ok(()) => Ok(Some(to)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(StorageError::of("rename", path)(e)),
    }
}

fn time_entry(base_offset: i64, largest: Largest) -> TimeEntry {
    TimeEntry { timestamp: largest.timestamp, relative: (largest.offset - base_offset) as u32 }
}
