//! Finding the next good batch behind bytes that are none.

use std::io;

use protocol::batch::{self, BatchHeader};

use super::{BatchScan, Depth, Step, has_offsets};
use crate::segment::SegmentFile;

/// Bytes that are searched at a time.
const SEARCH_CHUNK: usize = 1 << 20;
/// How many times the size of the segment may be read in all to check what was found.
const EFFORT: u64 = 16;

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

/// Searches within one segment.
///
/// Records may hold what looks like headers of large batches, one after the other, each of which is worth a checksum of
/// all that it says to hold; so all searches together read the segment [`EFFORT`] times at most, and then find nothing.
#[derive(Debug)]
pub(crate) struct Search<'a> {
    file: &'a SegmentFile,
    /// Where the segment ends.
    end: u64,
    bounds: Bounds,
    /// Bytes that may still be checked.
    left: u64,
    buffer: Vec<u8>,
}

impl<'a> Search<'a> {
    /// In the first `end` bytes of a segment.
    pub(crate) fn new(file: &'a SegmentFile, end: u64, bounds: Bounds) -> Self {
        Search { file, end, bounds, left: end.saturating_mul(EFFORT), buffer: Vec::new() }
    }

    /// Searches byte by byte from `from` on for a batch that is good in itself and has an offset of at least
    /// `next_offset`; returns its position and base offset.
    pub(crate) fn next_good(&mut self, from: u64, next_offset: i64) -> io::Result<Option<(u64, i64)>> {
        let mut chunk = vec![0; SEARCH_CHUNK.min(self.end.saturating_sub(from) as usize)];
        let mut at = from;
        while self.end.saturating_sub(at) >= batch::HEADER_SIZE as u64 {
            let wanted = (chunk.len() as u64).min(self.end - at) as usize;
            let filled = self.file.read_at(&mut chunk[..wanted], at)?;
            if filled < batch::HEADER_SIZE {
                return Ok(None);
            }
            for start in 0..=filled - batch::HEADER_SIZE {
                // Most positions end here: the magic byte.
                if chunk[start + 16] != 2 {
                    continue;
                }
                let Ok(header) = BatchHeader::parse(&chunk[start..filled]) else { continue };
                let (position, size) = (at + start as u64, header.size());
                let fits = size as u64 <= self.end - position;
                if !fits || header.base_offset < next_offset || !self.bounds.hold(&header) {
                    continue;
                }
                let Some(left) = self.left.checked_sub(size as u64) else {
                    tracing::warn!(position, "giving up the search for the next good batch");
                    return Ok(None);
                };
                self.left = left;
                if self.is_good(position, size)? {
                    return Ok(Some((position, header.base_offset)));
                }
            }
            at += (filled - batch::HEADER_SIZE + 1) as u64;
        }
        Ok(None)
    }

    fn is_good(&mut self, position: u64, size: usize) -> io::Result<bool> {
        if self.buffer.len() < size {
            self.buffer.resize(size, 0);
        }
        let bytes = &mut self.buffer[..size];
        Ok(self.file.read_at(bytes, position)? == size && batch::verify_crc(bytes).is_ok())
    }
}

/// Whether a batch begins at `position` whose checksum is right.
pub(super) fn good_at(file: &SegmentFile, position: u64, end: u64) -> io::Result<bool> {
    Ok(matches!(BatchScan::new(file, position, end, Depth::Checked).step()?, Step::Batch(_)))
}

#[cfg(test)]
mod tests {
    use protocol::batch::{BatchBuilder, patch_base_offset};

    use super::*;

    /// Headers that promise much, each of which would be worth a look, then a batch.
    #[test]
    fn a_search_has_an_end() {
        let temp = tempfile::tempdir().unwrap();
        let mut builder = BatchBuilder::new(0);
        builder.push_pair(0, None, Some(b"value"));
        let mut good = builder.build();
        patch_base_offset(&mut good, 7);
        let mut lure = [0; batch::HEADER_SIZE];
        lure[16] = 2;
        let lures = 500;
        let size = lures * lure.len() + good.len();
        let mut bytes = Vec::new();
        for n in 0..lures {
            let rest = size - n * lure.len() - batch::LENGTH_OVERHEAD;
            lure[8..12].copy_from_slice(&(rest as u32).to_be_bytes());
            bytes.extend_from_slice(&lure);
        }
        bytes.extend_from_slice(&good);
        let path = temp.path().join("0.log");
        std::fs::write(&path, &bytes).unwrap();
        let file = SegmentFile::open(&path, 0, false).unwrap();
        let mut search = Search::new(&file, size as u64, Bounds { base_offset: 0, limit: i64::MAX });
        assert_eq!(search.next_good(1, 0).unwrap(), None, "too dear");
        search.left = u64::MAX;
        assert_eq!(search.next_good(1, 0).unwrap(), Some(((lures * lure.len()) as u64, 7)));
    }
}
