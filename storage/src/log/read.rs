//! Reading: from offsets and timestamps to places in files.

use std::sync::atomic::Ordering;

use protocol::batch::{BatchHeader, HEADER_SIZE, RecordStream};
use protocol::compress::{LOG_RATIO, max_decompressed, with_decompressor};

use super::Log;
use super::api::{LogSlice, OffsetPosition, TimestampOffset};
use super::error::{ReadError, StorageError};
use crate::names::FileKind;
use crate::scan::{BatchScan, Depth, Step};
use crate::segment::{Found, Segment};

impl Log {
    /// Finds the batches from the one with `offset` on, at most `max_bytes` of one segment, all below
    /// `upper_bound` (an offset, exclusive: high watermark, last stable offset or log end).
    ///
    /// With `min_one_batch` the first batch is whole even if it is larger than `max_bytes`; without, a first batch that
    /// does not fit gives an empty slice, as nobody can use a piece of it. Empty too if `offset` is at or above the
    /// bound but not above the log end.
    pub fn read(
        &self,
        offset: i64,
        max_bytes: usize,
        upper_bound: i64,
        min_one_batch: bool,
    ) -> Result<LogSlice, ReadError> {
        self.check_range(offset)?;
        let bound = upper_bound.min(self.log_end_offset);
        if offset >= bound {
            return self.empty_slice(offset);
        }
        let mut at = self.segment_index(offset);
        let found = loop {
            match self.find_in(at, offset)? {
                Some(found) => break found,
                // The rest of the segment was compacted away.
                None if at + 1 < self.segments.len() => at += 1,
                None => return self.empty_slice(offset),
            }
        };
        let segment = &self.segments[at];
        if found.base_offset >= bound {
            return self.empty_slice(offset);
        }
        let first_bytes = (found.end - found.position) as usize;
        if max_bytes < first_bytes && !min_one_batch {
            return self.empty_slice(offset);
        }
        let end_of_segment = self.segments.get(at + 1).map_or(self.log_end_offset, Segment::base_offset);
        let limit = max_bytes.max(first_bytes);
        let mut end = segment.size();
        let mut upper_offset = end_of_segment;
        if bound < end_of_segment {
            if let Some(bound_at) = self.find_in(at, bound)? {
                end = bound_at.position;
            }
            upper_offset = bound;
        }
        let limit_of_segment = self.segments.get(at + 1).map_or(i64::MAX, Segment::base_offset);
        let wanted = end.min(found.position.saturating_add(limit as u64));
        let good_end = segment.plausible_end(&found, wanted, limit_of_segment)?;
        if good_end < wanted {
            let len = (good_end - found.position) as usize;
            return Ok(LogSlice { segment: segment.file()?, position: found.position, len, upper_offset });
        }
        if limit as u64 >= end.saturating_sub(found.position) {
            let len = end.saturating_sub(found.position) as usize;
            return Ok(LogSlice { segment: segment.file()?, position: found.position, len, upper_offset });
        }
        if let Some(bound) = segment.offset_bound(found.position + limit as u64) {
            upper_offset = upper_offset.min(bound);
        }
        Ok(LogSlice { segment: segment.file()?, position: found.position, len: limit, upper_offset })
    }

    fn empty_slice(&self, offset: i64) -> Result<LogSlice, ReadError> {
        let active = self.active();
        Ok(LogSlice { segment: active.file()?, position: active.size(), len: 0, upper_offset: offset })
    }

    fn check_range(&self, offset: i64) -> Result<(), ReadError> {
        let (log_start_offset, log_end_offset) = (self.log_start_offset, self.log_end_offset);
        if offset < log_start_offset || offset > log_end_offset {
            return Err(ReadError::OutOfRange { offset, log_start_offset, log_end_offset });
        }
        Ok(())
    }

    /// Index of the segment whose range of offsets has `offset`.
    pub(super) fn segment_index(&self, offset: i64) -> usize {
        if offset >= self.active().base_offset() {
            return self.segments.len() - 1;
        }
        self.segments.partition_point(|segment| segment.base_offset() <= offset).saturating_sub(1)
    }

    /// [`Segment::find`], remembering that a sealed segment was opened.
    fn find_in(&self, at: usize, offset: i64) -> Result<Option<Found>, ReadError> {
        if at + 1 < self.segments.len() {
            self.opened_sealed.store(true, Ordering::Relaxed);
        }
        let limit = self.segments.get(at + 1).map_or(i64::MAX, Segment::base_offset);
        self.segments[at].find(offset, limit)
    }

    /// Where the batch with `offset` begins (the end of the active segment for the log end).
    pub fn position_of(&self, offset: i64) -> Result<OffsetPosition, ReadError> {
        self.check_range(offset)?;
        if offset < self.log_end_offset {
            for at in self.segment_index(offset)..self.segments.len() {
                if let Some(found) = self.find_in(at, offset)? {
                    let segment_base_offset = self.segments[at].base_offset();
                    return Ok(OffsetPosition { segment_base_offset, position: found.position });
                }
            }
        }
        let active = self.active();
        Ok(OffsetPosition { segment_base_offset: active.base_offset(), position: active.size() })
    }

    /// The first record with a timestamp of at least `timestamp`; `None` if there is none.
    /// Decompresses at most one batch, with a cap.
    pub fn offset_for_timestamp(&self, timestamp: i64) -> Result<Option<TimestampOffset>, ReadError> {
        for segment in &self.segments[self.segment_index(self.log_start_offset)..] {
            if segment.size() == 0 || segment.largest()?.timestamp < timestamp {
                continue;
            }
            let found = self.search(segment, segment.time_floor(timestamp)?, |header| {
                header.max_timestamp >= timestamp
                    && header.last_offset() >= self.log_start_offset
                    && header.records_count > 0
            })?;
            let Some((header, bytes)) = found else { continue };
            let first = first_record(&header, &bytes, |offset, at| {
                at >= timestamp && offset >= self.log_start_offset
            });
            if let Some(found) = first.ok_or_else(|| corrupt(segment))? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// The record with the largest timestamp (ListOffsets -3); `None` in an empty log.
    pub fn offset_of_max_timestamp(&self) -> Result<Option<TimestampOffset>, ReadError> {
        let mut best: Option<(i64, usize)> = None;
        for at in self.segment_index(self.log_start_offset)..self.segments.len() {
            let segment = &self.segments[at];
            if segment.size() > 0 {
                let largest = segment.largest()?.timestamp;
                if best.is_none_or(|(timestamp, _)| timestamp < largest) {
                    best = Some((largest, at));
                }
            }
        }
        let Some((timestamp, at)) = best else { return Ok(None) };
        let segment = &self.segments[at];
        let start = segment.time_floor(timestamp)?;
        let found = self
            .search(segment, start, |header| header.max_timestamp >= timestamp && header.records_count > 0)?;
        let Some((header, bytes)) = found else { return Ok(None) };
        first_record(&header, &bytes, |_, at| at >= timestamp).ok_or_else(|| corrupt(segment))
    }

    /// The first batch from `position` on whose header is `wanted`, with its bytes.
    fn search(
        &self,
        segment: &Segment,
        position: u64,
        wanted: impl Fn(&BatchHeader) -> bool,
    ) -> Result<Option<(BatchHeader, Vec<u8>)>, ReadError> {
        let file = segment.file()?;
        let failed = || StorageError::of("read", segment.path(FileKind::Log));
        let mut scan = BatchScan::new(&file, position, segment.size(), Depth::Header);
        loop {
            match scan.step().map_err(failed())? {
                Step::Batch(header) if wanted(&header) => {
                    let mut bytes = vec![0; (scan.next_position() - scan.position()) as usize];
                    let n = file.read_at(&mut bytes, scan.position()).map_err(failed())?;
                    bytes.truncate(n);
                    return Ok(Some((header, bytes)));
                }
                Step::Batch(_) => {}
                Step::End => return Ok(None),
                Step::Bad(_) => {
                    return Err(ReadError::Corrupt {
                        base_offset: segment.base_offset(),
                        position: scan.position(),
                    });
                }
            }
        }
    }

    /// Lets go of the files and indexes of sealed segments that reads have opened; to be called now and then.
    pub fn release_sealed(&mut self) -> Result<(), StorageError> {
        if self.opened_sealed.swap(false, Ordering::Relaxed) {
            let last = self.segments.len() - 1;
            for segment in self.segments[..last].iter_mut().filter(|segment| segment.is_loaded()) {
                segment.release()?;
            }
        }
        Ok(())
    }
}

fn corrupt(segment: &Segment) -> ReadError {
    ReadError::Corrupt { base_offset: segment.base_offset(), position: 0 }
}

/// The first record of a batch that is `wanted` by offset and timestamp; the outer `None` if it cannot be decoded.
fn first_record(
    header: &BatchHeader,
    bytes: &[u8],
    wanted: impl Fn(i64, i64) -> bool,
) -> Option<Option<TimestampOffset>> {
    let (codec, body) = (header.codec()?, bytes.get(HEADER_SIZE..)?);
    with_decompressor(|decompressor| {
        let mut pieces = decompressor.pieces(codec, body, max_decompressed(body.len(), LOG_RATIO));
        let mut records = RecordStream::new(&mut pieces);
        for _ in 0..header.records_count {
            let record = records.next_record().ok()?;
            let offset = header.base_offset.saturating_add(i64::from(record.offset_delta));
            let timestamp = header.timestamp_of_delta(record.timestamp_delta);
            if wanted(offset, timestamp) {
                return Some(Some(TimestampOffset {
                    timestamp,
                    offset,
                    leader_epoch: header.partition_leader_epoch,
                }));
            }
        }
        Some(None)
    })
}
