//! A walk over the headers of a segment that does not trust them: what cannot be right is passed over.
//!
//! A batch's checksum does not cover its base offset and its length. A wrong length leads to bytes that are no batch;
//! then the next good one is searched. A wrong base offset is below that of the batch before or above that of the one
//! behind. So a batch is given out only when the one behind it was looked at; where the two do not fit, the checksum
//! tells which of them is wrong.

use std::io;

use protocol::batch::BatchHeader;

use super::search::{Bounds, Search, good_at};
use super::{BatchScan, Depth, Step};
use crate::segment::SegmentFile;

/// A batch whose header fits those around it; its records were not looked at.
#[derive(Debug, Clone)]
pub(crate) struct Plausible {
    pub(crate) header: BatchHeader,
    pub(crate) position: u64,
    /// Byte after the last.
    pub(crate) end: u64,
    /// Bytes before it, back to the batch before or to where the walk began, are damaged.
    pub(crate) after_damage: bool,
}

/// Positions in the file of a walk.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WalkEnds {
    /// Where it ends.
    pub(crate) size: u64,
    /// From here on batches are known to be good.
    pub(crate) trusted_from: u64,
}

/// The walk.
#[derive(Debug)]
pub(crate) struct Walk<'a> {
    file: &'a SegmentFile,
    scan: BatchScan<'a>,
    search: Search<'a>,
    bounds: Bounds,
    size: u64,
    trusted_from: u64,
    /// The offset after the batch before; `None` if that is not known.
    next_offset: Option<i64>,
    damaged: bool,
}

impl<'a> Walk<'a> {
    /// Begins at `position`, where a batch begins with an offset of at least `next_offset`, `None`
    /// takes the first batch as it is. From `trusted_from` on nothing is compared with what is behind it.
    pub(crate) fn new(
        file: &'a SegmentFile,
        position: u64,
        ends: WalkEnds,
        next_offset: Option<i64>,
        bounds: Bounds,
    ) -> Walk<'a> {
        let WalkEnds { size, trusted_from } = ends;
        let scan = BatchScan::new(file, position, size, Depth::Header);
        let search = Search::new(file, size, bounds);
        Walk { file, scan, search, bounds, size, trusted_from, next_offset, damaged: false }
    }

    /// The next batch; `None` at the end.
    pub(crate) fn step(&mut self) -> io::Result<Option<Plausible>> {
        loop {
            let step = self.scan.step()?;
            let (position, end) = (self.scan.position(), self.scan.next_position());
            match step {
                Step::End => return Ok(None),
                Step::Batch(header) if self.fits(&header)? => {
                    self.scan.seek(end);
                    self.next_offset = Some(header.next_offset());
                    let after_damage = std::mem::take(&mut self.damaged);
                    return Ok(Some(Plausible { header, position, end, after_damage }));
                }
                Step::Batch(_) | Step::Bad(_) => {
                    self.damaged = true;
                    let next_offset = self.next_offset.unwrap_or(self.bounds.base_offset);
                    let found = self.search.next_good(position + 1, next_offset)?;
                    self.scan.seek(found.map_or(self.size, |(position, _)| position));
                }
            }
        }
    }

    /// Whether there is damage behind the batch that was given out last; to be asked at the end.
    pub(crate) fn ended_damaged(&self) -> bool {
        self.damaged
    }

    /// The offset after the batch that was given out last.
    pub(crate) fn next_offset(&self) -> Option<i64> {
        self.next_offset
    }

    /// Whether a header fits what is before it and what is behind it.
    fn fits(&mut self, header: &BatchHeader) -> io::Result<bool> {
        let next_offset = self.next_offset.unwrap_or(header.base_offset);
        if header.base_offset < next_offset || !self.bounds.hold(header) {
            return Ok(false);
        }
        let position = self.scan.position();
        if position >= self.trusted_from {
            return Ok(true);
        }
        let behind = match self.scan.step()? {
            Step::End => return Ok(true),
            Step::Batch(behind) if behind.base_offset >= header.next_offset() => return Ok(true),
            Step::Batch(behind) => Some(behind.base_offset),
            Step::Bad(_) => None,
        };
        // With a good checksum the length is right, and the offset too unless it leaves a gap that the one behind fills.
        let fills_gap =
            behind.is_some_and(|behind| behind >= next_offset && header.base_offset > next_offset);
        Ok(!fills_gap && good_at(self.file, position, self.size)?)
    }
}
