//! Which bytes of a segment may be given out: headers are compared with those around them before the first read.
//!
//! What was written or recovered since the log was opened needs no look. Of the rest, the range that was walked last is
//! remembered, so that readers who follow each other cost one walk. Records are not looked at: their checksum, which
//! the reader checks, covers them, and not their offset.

use std::ops::Range;

use super::{Found, Segment, SegmentFile};
use crate::log::{ReadError, StorageError};
use crate::names::FileKind;
use crate::scan::{Bounds, Walk, WalkEnds};

/// A range of bytes whose headers were compared.
#[derive(Debug, Default)]
pub(super) struct Walked {
    bytes: Range<u64>,
    /// The offset after the last batch of it.
    next_offset: Option<i64>,
}

impl Segment {
    /// Where the plausible batches of a slice from `found` to `end` end: at `end`, or before the first that is damaged.
    /// `limit` is the base offset of the next segment.
    pub(crate) fn plausible_end(&self, found: &Found, end: u64, limit: i64) -> Result<u64, ReadError> {
        let to = end.min(self.trusted_from);
        if found.position >= to {
            return Ok(end);
        }
        let mut walked = self.walked.lock();
        let (mut at, mut next_offset) = (found.position, Some(found.base_offset));
        if walked.bytes.contains(&at) {
            if to <= walked.bytes.end {
                return Ok(end);
            }
            (at, next_offset) = (walked.bytes.end, walked.next_offset);
        } else {
            *walked = Walked { bytes: at..at, next_offset };
        }
        let file = self.file()?;
        let mut walk = self.walk(&file, at, next_offset, limit);
        let failed = || StorageError::of("read", self.path(FileKind::Log));
        while at < to {
            match walk.step().map_err(failed())? {
                Some(batch) if !batch.after_damage => at = batch.end,
                _ => break,
            }
            *walked = Walked { bytes: walked.bytes.start..at, next_offset: walk.next_offset() };
        }
        match at {
            _ if at >= to => Ok(end),
            // Nothing of it can be given out.
            _ if at == found.position => Err(self.corrupt(at)),
            _ => Ok(at),
        }
    }

    /// A walk from the batch at `position`, whose offset is at least `next_offset` (`None`: not known), to the end.
    pub(crate) fn walk<'a>(
        &self,
        file: &'a SegmentFile,
        position: u64,
        next_offset: Option<i64>,
        limit: i64,
    ) -> Walk<'a> {
        let ends = WalkEnds { size: self.size, trusted_from: self.trusted_from };
        Walk::new(file, position, ends, next_offset, Bounds { base_offset: self.base_offset, limit })
    }
}
