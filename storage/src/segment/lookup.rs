//! Finding batches in a segment, and the indexes that help with it: loading, checking, rebuilding.

use std::path::PathBuf;
use std::sync::Arc;

use protocol::batch::BatchHeader;

use super::{Indexes, Largest, Lazy, Segment, SegmentFile, time_entry};
use crate::index::{OffsetEntry, OffsetIndex, TimeIndex};
use crate::log::{ReadError, StorageError};
use crate::names::FileKind;
use crate::scan::{BatchScan, Depth, Plausible, Step};

/// A batch in a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    /// First byte.
    pub(crate) position: u64,
    /// Byte after the last.
    pub(crate) end: u64,
    /// Its first offset.
    pub(crate) base_offset: i64,
}

impl Indexes {
    /// Empty indexes with empty files.
    pub(super) fn create(path: impl Fn(FileKind) -> PathBuf) -> Result<Indexes, StorageError> {
        let failed = || StorageError::of("create", path(FileKind::Index));
        Ok(Indexes {
            offsets: OffsetIndex::create(path(FileKind::Index)).map_err(failed())?,
            times: TimeIndex::create(path(FileKind::TimeIndex)).map_err(failed())?,
            bytes_since_entry: 0,
        })
    }

    /// Takes note of the batch at `position`, the one after those noted so far.
    ///
    /// An entry that cannot be written now stays in memory; syncing the index will tell.
    pub(super) fn note(
        &mut self,
        segment_base: i64,
        interval: u32,
        header: &BatchHeader,
        position: u64,
        largest: &mut Largest,
    ) {
        let last_offset = header.last_offset();
        if header.max_timestamp > largest.timestamp {
            *largest = Largest { timestamp: header.max_timestamp, offset: last_offset };
        }
        if self.bytes_since_entry > u64::from(interval) {
            let entry =
                OffsetEntry { relative: (last_offset - segment_base) as u32, position: position as u32 };
            let written = self.offsets.push(entry).and(self.times.push(time_entry(segment_base, *largest)));
            if let Err(e) = written {
                tracing::warn!(path = %self.offsets.path().display(), error = %e, "index entries not written yet");
            }
            self.bytes_since_entry = 0;
        }
        self.bytes_since_entry += header.size() as u64;
    }

    /// Adds the final time entry and writes what is only in memory.
    pub(super) fn complete(&mut self, segment_base: i64, largest: Largest) -> Result<(), StorageError> {
        let done = self.times.push(time_entry(segment_base, largest)).and(self.offsets.write());
        done.and(self.times.write()).map_err(StorageError::of("write", self.offsets.path()))
    }
}

impl Segment {
    /// The first batch whose last offset is at least `offset`; `None` if all are below it. `limit` is the base offset of
    /// the next segment.
    pub(crate) fn find(&self, offset: i64, limit: i64) -> Result<Option<Found>, ReadError> {
        if let Some((position, base_offset, end)) = self.tail.find(offset) {
            return Ok(Some(Found { position, end: end.unwrap_or(self.size), base_offset }));
        }
        let mut lazy = self.lazy.lock();
        self.load(&mut lazy)?;
        match self.find_from_index(&mut lazy, offset, limit)? {
            Some(answer) => Ok(answer),
            None => {
                self.rebuild(&mut lazy, "an entry does not fit the log")?;
                self.find_from_index(&mut lazy, offset, limit)?.ok_or_else(|| self.corrupt(0))
            }
        }
    }

    /// [`Segment::find`] by the index; the outer `None` if the index entry turned out to be wrong.
    ///
    /// An offset whose batch is damaged is an error; those behind it are found.
    fn find_from_index(
        &self,
        lazy: &mut Lazy,
        offset: i64,
        limit: i64,
    ) -> Result<Option<Option<Found>>, ReadError> {
        let file = self.file_in(lazy)?;
        let entry = lazy.indexes.as_ref().and_then(|indexes| self.entry_before(indexes, offset));
        let start = entry.map_or(0, |e| u64::from(e.position));
        let begin = if entry.is_some() { None } else { Some(self.base_offset) };
        let mut walk = self.walk(&file, start, begin, limit);
        let mut first = true;
        loop {
            let step = walk.step().map_err(StorageError::of("read", self.path(FileKind::Log)))?;
            let misled = |batch: &Plausible| {
                batch.position != start || entry.is_some_and(|e| !self.entry_fits(e, &batch.header))
            };
            if first && entry.is_some() && step.as_ref().is_none_or(misled) {
                return Ok(None);
            }
            first = false;
            let Some(batch) = step else {
                return if walk.ended_damaged() { Err(self.corrupt(self.size)) } else { Ok(Some(None)) };
            };
            if batch.header.last_offset() >= offset {
                let base_offset = batch.header.base_offset;
                if base_offset > offset && batch.after_damage {
                    return Err(self.corrupt(batch.position));
                }
                return Ok(Some(Some(Found { position: batch.position, end: batch.end, base_offset })));
            }
        }
    }

    /// The entry to begin a search for `offset` at. Where the headers may be wrong it is the one before the last, so
    /// that the batch of the last is compared with the one before it.
    fn entry_before(&self, indexes: &Indexes, offset: i64) -> Option<OffsetEntry> {
        let last = indexes.offsets.floor(|e| i64::from(e.relative) + self.base_offset <= offset)?;
        match u64::from(last.position) >= self.trusted_from {
            true => Some(last),
            false => indexes.offsets.floor(|e| e.relative < last.relative),
        }
    }

    /// An entry points to the batch with its offset, or to the first of an append that ended with it.
    fn entry_fits(&self, entry: OffsetEntry, header: &BatchHeader) -> bool {
        let offset = i64::from(entry.relative) + self.base_offset;
        header.base_offset >= self.base_offset && header.last_offset() <= offset
    }

    /// Largest timestamp of the segment.
    pub(crate) fn largest(&self) -> Result<Largest, ReadError> {
        let mut lazy = self.lazy.lock();
        if let Some(largest) = lazy.largest {
            return Ok(largest);
        }
        self.load(&mut lazy)?;
        Ok(lazy.largest.unwrap_or(Largest { timestamp: -1, offset: self.base_offset }))
    }

    /// An offset that is above every batch beginning before `position`; `None` if the index does not know one.
    pub(crate) fn offset_bound(&self, position: u64) -> Option<i64> {
        let lazy = self.lazy.lock();
        let entry = lazy.indexes.as_ref()?.offsets.ceiling(|e| u64::from(e.position) < position)?;
        Some(i64::from(entry.relative) + self.base_offset)
    }

    /// Where a search for the first record with a timestamp of at least `timestamp` may begin.
    pub(crate) fn time_floor(&self, timestamp: i64) -> Result<u64, ReadError> {
        let mut lazy = self.lazy.lock();
        self.load(&mut lazy)?;
        let floor =
            |lazy: &Lazy| lazy.indexes.as_ref().and_then(|i| i.times.floor(|e| e.timestamp < timestamp));
        let Some(entry) = floor(&lazy) else { return Ok(0) };
        let file = self.file_in(&mut lazy)?;
        if !lazy.indexes.as_ref().is_some_and(|indexes| self.time_entry_fits(&file, indexes, entry)) {
            self.rebuild(&mut lazy, "a time entry does not fit the log")?;
        }
        let Some(entry) = floor(&lazy) else { return Ok(0) };
        let offset = i64::from(entry.relative) + self.base_offset;
        Ok(self.find_from_index(&mut lazy, offset, i64::MAX)?.flatten().map_or(0, |found| found.position))
    }

    /// The header of the first batch.
    pub(crate) fn first_header(&self) -> Result<Option<BatchHeader>, StorageError> {
        let file = self.file()?;
        let mut scan = BatchScan::new(&file, 0, self.size, Depth::Header);
        match scan.step().map_err(StorageError::of("read", self.path(FileKind::Log)))? {
            Step::Batch(header) => Ok(Some(header)),
            _ => Ok(None),
        }
    }

    /// Loads the indexes and finds out the largest timestamp, if that was not done yet.
    fn load(&self, lazy: &mut Lazy) -> Result<(), ReadError> {
        if lazy.indexes.is_some() && lazy.largest.is_some() {
            return Ok(());
        }
        let file = self.file_in(lazy)?;
        let failed = || StorageError::of("read", self.path(FileKind::Index));
        let offsets = OffsetIndex::load(self.path(FileKind::Index)).map_err(failed())?;
        let times = TimeIndex::load(self.path(FileKind::TimeIndex)).map_err(failed())?;
        let (Some(offsets), Some(times)) = (offsets, times) else {
            return self.rebuild(lazy, "missing or not increasing");
        };
        let mut indexes = Indexes { offsets, times, bytes_since_entry: 0 };
        match self.check(&file, &mut indexes)? {
            Some(largest) => {
                lazy.indexes = Some(indexes);
                lazy.largest = Some(largest);
                Ok(())
            }
            None => self.rebuild(lazy, "does not fit the log"),
        }
    }

    /// Compares the last entries with the batches they stand for and walks from there to the end.
    /// Returns the largest timestamp, or `None` if something does not fit.
    fn check(&self, file: &Arc<SegmentFile>, indexes: &mut Indexes) -> Result<Option<Largest>, ReadError> {
        let mut largest = Largest { timestamp: -1, offset: self.base_offset };
        if let Some(&entry) = indexes.times.entries().last() {
            if !self.time_entry_fits(file, indexes, entry) {
                return Ok(None);
            }
            largest =
                Largest { timestamp: entry.timestamp, offset: i64::from(entry.relative) + self.base_offset };
        }
        let entry = indexes.offsets.entries().last().copied();
        let start = entry.map_or(0, |e| u64::from(e.position));
        if entry.is_some() && start >= self.size {
            return Ok(None);
        }
        indexes.bytes_since_entry = self.size - start;
        let mut scan = BatchScan::new(file, start, self.size, Depth::Header);
        loop {
            match scan.step().map_err(StorageError::of("read", self.path(FileKind::Log)))? {
                Step::Batch(header) => {
                    if scan.position() == start && entry.is_some_and(|e| !self.entry_fits(e, &header)) {
                        return Ok(None);
                    }
                    if header.max_timestamp > largest.timestamp {
                        largest = Largest { timestamp: header.max_timestamp, offset: header.last_offset() };
                    }
                }
                Step::End => return Ok(Some(largest)),
                Step::Bad(_) => return Ok(None),
            }
        }
    }

    /// A time entry has the largest timestamp of the batch that holds its offset.
    fn time_entry_fits(&self, file: &SegmentFile, indexes: &Indexes, entry: crate::index::TimeEntry) -> bool {
        let offset = i64::from(entry.relative) + self.base_offset;
        let floor = indexes.offsets.floor(|e| e.relative <= entry.relative);
        let start = floor.map_or(0, |e| u64::from(e.position));
        let mut scan = BatchScan::new(file, start, self.size, Depth::Header);
        while let Ok(Step::Batch(header)) = scan.step() {
            if header.last_offset() >= offset {
                return header.base_offset <= offset && header.max_timestamp == entry.timestamp;
            }
        }
        false
    }

    /// Writes both indexes anew from the batches.
    fn rebuild(&self, lazy: &mut Lazy, why: &'static str) -> Result<(), ReadError> {
        tracing::warn!(index = %self.path(FileKind::Index).display(), why, "rebuilding the indexes of a segment");
        Ok(self.write_new_indexes(lazy)?)
    }

    fn write_new_indexes(&self, lazy: &mut Lazy) -> Result<(), StorageError> {
        let file = self.file_in(lazy)?;
        let mut indexes = Indexes::create(|kind| self.path(kind))?;
        let mut largest = Largest { timestamp: -1, offset: self.base_offset };
        let mut walk = self.walk(&file, 0, Some(self.base_offset), i64::MAX);
        let failed = || StorageError::of("read", self.path(FileKind::Log));
        while let Some(batch) = walk.step().map_err(failed())? {
            indexes.note(self.base_offset, self.interval, &batch.header, batch.position, &mut largest);
        }
        indexes.complete(self.base_offset, largest)?;
        lazy.indexes = Some(indexes);
        lazy.largest = Some(largest);
        Ok(())
    }

    /// The offset after the last batch, found near the end: from the last index entry on. `None` if the end of the file
    /// or the index is not as a clean stop leaves it; then the segment has to be recovered.
    pub(crate) fn next_offset(&mut self) -> Result<Option<i64>, StorageError> {
        let index_path = self.path(FileKind::Index);
        let entry = OffsetIndex::last_on_disk(&index_path).map_err(StorageError::of("read", &index_path))?;
        let Some(entry) = entry else { return Ok(None) };
        let start = entry.map_or(0, |e| u64::from(e.position));
        if entry.is_some() && start >= self.size {
            return Ok(None);
        }
        let file = self.file()?;
        let mut next_offset = self.base_offset;
        let mut scan = BatchScan::new(&file, start, self.size, Depth::Header);
        loop {
            match scan.step().map_err(StorageError::of("read", self.path(FileKind::Log)))? {
                Step::Batch(header) => {
                    let misled =
                        scan.position() == start && entry.is_some_and(|e| !self.entry_fits(e, &header));
                    if misled || header.base_offset < next_offset {
                        return Ok(None);
                    }
                    next_offset = header.next_offset();
                }
                Step::End => return Ok(Some(next_offset)),
                Step::Bad(_) => return Ok(None),
            }
        }
    }

    /// After the batches were checked: cuts the file to its size and writes the indexes anew.
    pub(crate) fn recover(&mut self) -> Result<(), StorageError> {
        let file = self.file()?;
        let path = self.path(FileKind::Log);
        if file.len().map_err(StorageError::of("stat", &path))? > self.size {
            file.set_len(self.size).map_err(StorageError::of("truncate", &path))?;
        }
        self.trusted_from = 0;
        let mut lazy = std::mem::take(self.lazy.get_mut());
        let result = self.write_new_indexes(&mut lazy);
        *self.lazy.get_mut() = lazy;
        result
    }

    /// Loads what an append needs.
    pub(super) fn load_for_append(&mut self) -> Result<(), StorageError> {
        let mut lazy = std::mem::take(self.lazy.get_mut());
        let result = self.load(&mut lazy);
        *self.lazy.get_mut() = lazy;
        result.map_err(|e| self.as_storage_error(e))
    }

    /// Are the indexes full, so that the segment must be rolled?
    pub(super) fn indexes_full(&mut self, segment_index_bytes: u32) -> Result<bool, StorageError> {
        self.load_for_append()?;
        let bytes = segment_index_bytes as usize;
        Ok(self.lazy.get_mut().indexes.as_ref().is_some_and(|indexes| {
            indexes.offsets.entries().len() >= bytes / 8 || indexes.times.entries().len() + 1 >= bytes / 12
        }))
    }

    /// [`Segment::find`] for operations that answer damage with an IO error.
    pub(crate) fn locate(&self, offset: i64) -> Result<Option<Found>, StorageError> {
        self.find(offset, i64::MAX).map_err(|e| self.as_storage_error(e))
    }

    pub(crate) fn as_storage_error(&self, error: ReadError) -> StorageError {
        match error {
            ReadError::Io(e) => e,
            other => StorageError::of("read", self.path(FileKind::Log))(std::io::Error::new(
                std::io::ErrorKind::InvalidData,
                other.to_string(),
            )),
        }
    }

    pub(super) fn corrupt(&self, position: u64) -> ReadError {
        ReadError::Corrupt { base_offset: self.base_offset, position }
    }
}
