//! A walk over the batches of a `.log` file, header by header or with every byte checked.
//!
//! Reads by `pread` through one buffer. Nothing is allocated beyond the bytes that the file has.

mod search;
mod walk;

use std::io;

use protocol::batch::{self, BatchError, BatchHeader};

pub(crate) use self::search::{Bounds, Search};
pub(crate) use self::walk::{Plausible, Walk, WalkEnds};
use crate::names::MAX_END_OFFSET;
use crate::segment::SegmentFile;

/// Buffer of a walk over headers: an index interval.
const HEADER_CHUNK: usize = 4096;
/// Buffer of a walk over whole batches.
const BATCH_CHUNK: usize = 256 * 1024;

/// The batch says that it has format 0 or 1, which is not served.
pub(crate) const OLD_FORMAT: &str = "message format 0 or 1";

/// How much of a batch is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    /// The header only.
    Header,
    /// All bytes, and the CRC.
    Checked,
}

/// What a step of the walk came to.
#[derive(Debug)]
pub(crate) enum Step {
    /// A batch that lies within the file.
    Batch(BatchHeader),
    /// The end, at the end of a batch.
    End,
    /// No batch; the walk cannot go on by itself.
    Bad(&'static str),
}

/// The walk.
#[derive(Debug)]
pub(crate) struct BatchScan<'a> {
    file: &'a SegmentFile,
    depth: Depth,
    end: u64,
    /// Where the next step begins.
    next: u64,
    /// Where the last step began.
    position: u64,
    buffer: Vec<u8>,
    /// File position of the buffer's first byte, and how many bytes of it are filled.
    buffer_at: u64,
    filled: usize,
}

impl<'a> BatchScan<'a> {
    /// Begins at `position`; bytes from `end` on do not count.
    pub(crate) fn new(file: &'a SegmentFile, position: u64, end: u64, depth: Depth) -> Self {
        let (next, buffer_at) = (position, position);
        BatchScan { file, depth, end, next, position, buffer: Vec::new(), buffer_at, filled: 0 }
    }

    /// Where the batch of the last step begins.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// Where the batch of the last step ends.
    pub(crate) fn next_position(&self) -> u64 {
        self.next
    }

    /// The batch of the last step, of a walk with [`Depth::Checked`].
    pub(crate) fn batch_bytes(&self) -> &[u8] {
        let start = self.position.saturating_sub(self.buffer_at) as usize;
        let end = self.next.saturating_sub(self.buffer_at) as usize;
        self.buffer.get(start..end).unwrap_or_default()
    }

    /// Goes on elsewhere.
    pub(crate) fn seek(&mut self, position: u64) {
        self.next = position;
    }

    /// Looks at the batch that begins where the last one ended.
    pub(crate) fn step(&mut self) -> io::Result<Step> {
        self.position = self.next;
        let left = self.end.saturating_sub(self.position);
        if left == 0 {
            return Ok(Step::End);
        }
        if left < batch::HEADER_SIZE as u64 {
            return Ok(Step::Bad("cut off within a header"));
        }
        if !self.fill(batch::HEADER_SIZE)? {
            return Ok(Step::Bad("cut off within a header"));
        }
        let start = (self.position - self.buffer_at) as usize;
        let header = match BatchHeader::parse(&self.buffer[start..self.filled]) {
            Ok(header) if has_offsets(&header) => header,
            Err(BatchError::Legacy(_)) => return Ok(Step::Bad(OLD_FORMAT)),
            _ => return Ok(Step::Bad("no batch header")),
        };
        let size = header.size();
        if size as u64 > left {
            return Ok(Step::Bad("cut off within a batch"));
        }
        if self.depth == Depth::Checked {
            if !self.fill(size)? {
                return Ok(Step::Bad("cut off within a batch"));
            }
            let start = (self.position - self.buffer_at) as usize;
            if batch::verify_crc(&self.buffer[start..start + size]).is_err() {
                return Ok(Step::Bad("checksum does not match"));
            }
        }
        self.next = self.position + size as u64;
        Ok(Step::Batch(header))
    }

    /// Makes `len` bytes from the current position on available, `len` not more than the file has.
    fn fill(&mut self, len: usize) -> io::Result<bool> {
        let available = (self.buffer_at + self.filled as u64).saturating_sub(self.position);
        if self.position >= self.buffer_at && available >= len as u64 {
            return Ok(true);
        }
        let chunk = if self.depth == Depth::Header { HEADER_CHUNK } else { BATCH_CHUNK };
        let wanted = (chunk.max(len) as u64).min(self.end - self.position) as usize;
        if self.buffer.len() < wanted {
            self.buffer.resize(wanted, 0);
        }
        self.buffer_at = self.position;
        self.filled = self.file.read_at(&mut self.buffer[..wanted], self.position)?;
        Ok(self.filled >= len)
    }
}

/// Whether a batch has an offset, and all of its offsets can be counted.
pub(crate) fn has_offsets(header: &BatchHeader) -> bool {
    let delta = i64::from(header.last_offset_delta);
    header.base_offset >= 0 && delta >= 0 && header.base_offset < MAX_END_OFFSET - delta
}
