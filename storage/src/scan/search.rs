//! Finding the next good batch behind bytes that are none.

use std::io;

use protocol::batch::{self, BatchHeader};

use super::{BatchScan, Depth, Step, has_offsets};
use crate::segment::SegmentFile;

/// Bytes that are searched at a time.
const SEARCH_CHUNK: usize = 1 << 20;

/// The offsets that a segment may hold.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Its base offset: no smaller offset may be in it.
    pub(crate) base_offset: i64,
    /// The next segment's base offset: no offset from there on may be in it. `i64::MAX` for the last one.
    pub(crate) limit: i64,
}

impl Bounds {
    /// Whether all offsets of a batch may be in the segment.
    pub(crate) fn hold(self, header: &BatchHeader) -> bool {
        has_offsets(header)
            && header.base_offset >= self.base_offset
            && header.last_offset() < self.limit
            && header.last_offset() - self.base_offset <= i64::from(i32::MAX)
    }
}

/// Searches byte by byte from `from` on for a batch that is good in itself and has an offset of at least
/// `next_offset`; returns its position and base offset.
pub(crate) fn find_batch(
    file: &SegmentFile,
    from: u64,
    end: u64,
    next_offset: i64,
    bounds: Bounds,
) -> io::Result<Option<(u64, i64)>> {
    let mut chunk = vec![0; SEARCH_CHUNK.min(end.saturating_sub(from) as usize)];
    let mut at = from;
    while end.saturating_sub(at) >= batch::HEADER_SIZE as u64 {
        let wanted = (chunk.len() as u64).min(end - at) as usize;
        let filled = file.read_at(&mut chunk[..wanted], at)?;
        if filled < batch::HEADER_SIZE {
            return Ok(None);
        }
        for start in 0..=filled - batch::HEADER_SIZE {
            // Most positions end here: the magic byte.
            if chunk[start + 16] != 2 {
                continue;
            }
            let Ok(header) = BatchHeader::parse(&chunk[start..filled]) else { continue };
            let position = at + start as u64;
            let plausible = header.base_offset >= next_offset && bounds.hold(&header);
            if plausible && good_at(file, position, end)? {
                return Ok(Some((position, header.base_offset)));
            }
        }
        at += (filled - batch::HEADER_SIZE + 1) as u64;
    }
    Ok(None)
}

/// Whether a batch begins at `position` whose checksum is right.
pub(super) fn good_at(file: &SegmentFile, position: u64, end: u64) -> io::Result<bool> {
    Ok(matches!(BatchScan::new(file, position, end, Depth::Checked).step()?, Step::Batch(_)))
}
