//! A cleaning on its way: reads segments and writes cleaned ones, without the log.

use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use protocol::batch::{BatchHeader, RawBatch};
use protocol::compress::{LOG_RATIO, max_decompressed};

use super::filter::{LastOfProducer, Outcome, Rules};
use super::offset_map::OffsetMap;
use super::transactions::Transactions;
use super::{CleanArgs, CleanError};
use crate::config::LogConfig;
use crate::log::StorageError;
use crate::names::FileKind;
use crate::scan::{BatchScan, Depth, Step};
use crate::segment::{CleanedSegment, SegmentFile};
use crate::txn_index::AbortedTxn;

/// A sealed segment as it was when the cleaning was prepared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) base_offset: i64,
    /// Base offset of the segment after it.
    pub(crate) next_base_offset: i64,
    pub(crate) size: u64,
}

/// What a cleaning needs to know of its log.
#[derive(Debug)]
pub(crate) struct CleaningJob {
    pub(crate) dir: Arc<Path>,
    pub(crate) config: LogConfig,
    /// The log's generation.
    pub(crate) generation: u64,
    /// From the first segment on up to the one before the first uncleanable offset.
    pub(crate) sources: Vec<Source>,
    pub(crate) first_dirty_offset: i64,
    pub(crate) upper_bound: i64,
    pub(crate) aborted: Vec<AbortedTxn>,
    pub(crate) producers: HashMap<i64, LastOfProducer>,
}

/// A cleaning whose map is complete.
pub(crate) struct Cleaning<'a> {
    job: CleaningJob,
    args: CleanArgs<'a>,
    map: OffsetMap,
    transactions: Transactions,
    /// Groups of sources that are left.
    groups: std::vec::IntoIter<Range<usize>>,
    scratch: Vec<u8>,
}

/// A cleaned segment on the disk, ready to take the place of others.
#[derive(Debug)]
pub(crate) struct CleanedGroup {
    pub(crate) dir: Arc<Path>,
    pub(crate) generation: u64,
    pub(crate) sources: Vec<Source>,
    pub(crate) size: u64,
    pub(crate) has_txn_index: bool,
}

impl CleaningJob {
    /// Reads the dirty part of the log.
    pub(crate) fn start(self, mut args: CleanArgs<'_>) -> Result<Cleaning<'_>, CleanError> {
        let map = self.build_map(&mut args)?;
        if map.latest_offset() < self.first_dirty_offset {
            return Err(CleanError::MapTooSmall);
        }
        let groups = self.groups(map.latest_offset() + 1).into_iter();
        let transactions = Transactions::new(self.aborted.clone());
        Ok(Cleaning { job: self, args, map, transactions, groups, scratch: Vec::new() })
    }

    fn build_map(&self, args: &mut CleanArgs<'_>) -> Result<OffsetMap, CleanError> {
        let start = self.first_dirty_offset;
        let keys = u64::try_from(self.upper_bound.saturating_sub(start)).unwrap_or(0);
        let mut map = OffsetMap::new(args.memory_bytes, args.load_factor, keys, args.hashers.clone());
        let met = self.aborted.iter().filter(|txn| txn.last_offset >= start).copied().collect();
        let mut transactions = Transactions::new(met);
        let mut scratch = Vec::new();
        for source in self.sources.iter().filter(|source| source.next_base_offset > start) {
            let complete = source.walk(&self.dir, args.stop, |header, batch| {
                // A marker ends its transaction as far as the data is concerned; which way does not matter here.
                if header.is_control() {
                    transactions.on_marker(header, Some(true));
                } else if header.last_offset() >= start
                    && !transactions.on_data(header)
                    && !note_keys(&mut map, start, header, batch, &mut scratch)?
                {
                    return Ok(false);
                }
                if header.last_offset() >= start {
                    map.set_latest_offset(header.last_offset());
                }
                Ok(true)
            })?;
            if !complete {
                tracing::debug!(dir = %self.dir.display(), keys = map.len(), "the map of keys is full");
                return Ok(map);
            }
            map.set_latest_offset(source.next_base_offset - 1);
        }
        Ok(map)
    }

    /// Neighbours that fit into one segment together, of those below `end`.
    fn groups(&self, end: i64) -> Vec<Range<usize>> {
        let sizes = |source: &Source| {
            let index = |kind: FileKind| {
                let path = self.dir.join(kind.name(source.base_offset));
                // One that is missing is made anew with the segment.
                std::fs::metadata(path).map_or(0, |metadata| metadata.len())
            };
            [source.size, index(FileKind::Index), index(FileKind::TimeIndex)]
        };
        let index_limit = u64::from(self.config.segment_index_bytes);
        let limits = [u64::from(self.config.segment_bytes), index_limit, index_limit];
        let mut groups: Vec<Range<usize>> = Vec::new();
        let mut used = [0; 3];
        let count = self.sources.partition_point(|source| source.base_offset < end);
        for (at, source) in self.sources[..count].iter().enumerate() {
            let more = sizes(source);
            let fits = (0..3).all(|i| used[i] + more[i] <= limits[i]);
            match groups.last_mut() {
                Some(group) if fits && source.is_in_reach(self.sources[group.start].base_offset) => {
                    group.end = at + 1;
                    (0..3).for_each(|i| used[i] += more[i]);
                }
                _ => {
                    groups.push(at..at + 1);
                    used = more;
                }
            }
        }
        groups
    }
}

/// Notes the keys of a batch; false if the map is full.
fn note_keys(
    map: &mut OffsetMap,
    start: i64,
    header: &BatchHeader,
    batch: &RawBatch<'_>,
    scratch: &mut Vec<u8>,
) -> Result<bool, String> {
    let records = batch.open_records(max_decompressed(batch.bytes.len(), LOG_RATIO), scratch);
    for record in records.map_err(|e| e.to_string())? {
        let record = record.map_err(|e| e.to_string())?;
        let offset = header.base_offset + i64::from(record.offset_delta);
        if let Some(key) = record.key
            && offset >= start
            && !map.put(key, offset)
        {
            return Ok(false);
        }
    }
    Ok(true)
}

impl Cleaning<'_> {
    /// Everything below will have been cleaned.
    pub(crate) fn end_offset(&self) -> i64 {
        self.map.latest_offset() + 1
    }

    /// What it was begun with.
    pub(crate) fn job(&self) -> &CleaningJob {
        &self.job
    }

    /// Cleans the next group that changes; `None` at the end.
    pub(crate) fn next_group(&mut self) -> Result<Option<CleanedGroup>, CleanError> {
        while let Some(group) = self.groups.next() {
            let sources = self.job.sources[group].to_vec();
            let base_offset = sources[0].base_offset;
            match self.clean_group(sources) {
                Ok(Some(group)) => return Ok(Some(group)),
                Ok(None) => CleanedSegment::remove(&self.job.dir, base_offset)?,
                Err(e) => {
                    // The error that counts is the first one; the next open removes what this does not.
                    let _ = CleanedSegment::remove(&self.job.dir, base_offset);
                    return Err(e);
                }
            }
        }
        Ok(None)
    }

    /// Writes the cleaned segment; `None` if it is the one that was read.
    fn clean_group(&mut self, sources: Vec<Source>) -> Result<Option<CleanedGroup>, CleanError> {
        let Cleaning { job, args, map, transactions, scratch, .. } = self;
        let rules = Rules {
            map,
            producers: &job.producers,
            upper_bound: job.upper_bound,
            now_ms: args.now_ms,
            delete_retention_ms: job.config.delete_retention_ms.max(0),
        };
        let mut out =
            CleanedSegment::create(&job.dir, sources[0].base_offset, job.config.index_interval_bytes)?;
        let mut changed = sources.len() > 1;
        let mut modified = None;
        for source in &sources {
            let mut failed = None;
            source.walk(&job.dir, args.stop, |header, batch| {
                let (outcome, txn) = rules.batch(header, batch, transactions, scratch)?;
                changed |= outcome != Outcome::Keep;
                let written = match outcome {
                    Outcome::Keep => out.append(header, batch.bytes),
                    Outcome::Rewrite(bytes) => {
                        let header = BatchHeader::parse(&bytes).map_err(|e| e.to_string())?;
                        out.append(&header, &bytes)
                    }
                    Outcome::Drop => Ok(()),
                };
                failed = written.and_then(|()| txn.map_or(Ok(()), |txn| out.index_aborted(&txn))).err();
                Ok(failed.is_none())
            })?;
            if let Some(error) = failed {
                return Err(error.into());
            }
            modified = source.modified(&job.dir).or(modified);
        }
        if !changed {
            return Ok(None);
        }
        let size = out.size();
        let has_txn_index = out.finish(modified)?;
        let (dir, generation) = (job.dir.clone(), job.generation);
        Ok(Some(CleanedGroup { dir, generation, sources, size, has_txn_index }))
    }
}

impl Source {
    /// Whether all its offsets can be told relative to `base_offset`.
    fn is_in_reach(&self, base_offset: i64) -> bool {
        self.size == 0 || self.next_base_offset - 1 - base_offset <= i64::from(i32::MAX)
    }

    fn modified(&self, dir: &Path) -> Option<SystemTime> {
        std::fs::metadata(dir.join(FileKind::Log.name(self.base_offset))).and_then(|m| m.modified()).ok()
    }

    /// Calls `visit` with every batch, after checking it, until it returns false; says whether it did not.
    fn walk(
        &self,
        dir: &Path,
        stop: &dyn Fn() -> bool,
        mut visit: impl FnMut(&BatchHeader, &RawBatch<'_>) -> Result<bool, String>,
    ) -> Result<bool, CleanError> {
        let path = dir.join(FileKind::Log.name(self.base_offset));
        let file = match SegmentFile::open(&path, self.base_offset, false) {
            Ok(file) => file,
            // Deleted, or replaced, since the cleaning was prepared.
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(CleanError::Stale),
            Err(e) => return Err(StorageError::of("open", path)(e).into()),
        };
        let mut scan = BatchScan::new(&file, 0, self.size, Depth::Checked);
        let mut next_offset = self.base_offset;
        loop {
            if stop() {
                return Err(CleanError::Stopped);
            }
            let corrupt = |position: u64, reason: String| CleanError::Corrupt {
                base_offset: self.base_offset,
                position,
                reason,
            };
            let step = scan.step().map_err(StorageError::of("read", &path))?;
            let position = scan.position();
            let header = match step {
                Step::End => return Ok(true),
                Step::Bad(reason) => return Err(corrupt(position, reason.into())),
                Step::Batch(header) => header,
            };
            if header.base_offset < next_offset || header.last_offset() >= self.next_base_offset {
                return Err(corrupt(position, format!("offset {} is out of order", header.base_offset)));
            }
            next_offset = header.next_offset();
            let batch = RawBatch { position: 0, bytes: scan.batch_bytes() };
            match visit(&header, &batch) {
                Ok(true) => {}
                Ok(false) => return Ok(false),
                Err(reason) => return Err(corrupt(position, reason)),
            }
        }
    }
}

impl CleanedGroup {
    /// The log's folder.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Base offset of the cleaned segment.
    pub(crate) fn base_offset(&self) -> i64 {
        self.sources[0].base_offset
    }

    /// Bytes of the cleaned segment.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Bytes of the segments that it replaces.
    pub(crate) fn bytes_before(&self) -> u64 {
        self.sources.iter().map(|source| source.size).sum()
    }

    /// Removes the files; the swap was not begun.
    pub(crate) fn discard(&self) -> Result<(), StorageError> {
        CleanedSegment::remove(&self.dir, self.base_offset())
    }
}
