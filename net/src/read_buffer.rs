//! The bytes of a connection that were read and not yet handled.
//!
//!   data: │ handled │ start .. unread bytes .. end │ room to read into │
//!
//! Invariants: `start <= end <= data.len()`; the buffer grows with the bytes that arrived, never with the size
//! that a frame claims; its size is charged to the budget of memory before it is taken; a connection without
//! unread bytes holds no memory, one with the beginning of a frame little more than those bytes.

use std::sync::Arc;

use protocol::frame::{BadSize, frame_size};

use crate::budget::{Charge, MemoryBudget, Purpose};
use crate::pool::{self, BUFFER_BYTES};

/// So few unread bytes are kept in a buffer of their own size while no more arrive.
const STASH_BYTES: usize = 4 * 1024;

/// What the front of the buffer holds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Front {
    /// A whole frame of this many bytes after its size field.
    Frame(usize),
    /// More bytes are needed.
    Partial,
    /// The size field is negative or above the limit.
    BadSize(i32),
}

pub(crate) struct ReadBuffer {
    data: Vec<u8>,
    start: usize,
    end: usize,
    /// What `data` takes from the budget.
    charge: Charge,
}

impl ReadBuffer {
    pub(crate) fn new(budget: &Arc<MemoryBudget>) -> Self {
        Self { data: Vec::new(), start: 0, end: 0, charge: budget.empty() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Looks at the next frame without taking it. `limit` is `socket.request.max.bytes`.
    pub(crate) fn front(&self, limit: usize) -> Front {
        let unread = &self.data[self.start..self.end];
        match frame_size(unread, limit) {
            Ok(Some(size)) if unread.len() - 4 >= size => Front::Frame(size),
            Ok(_) => Front::Partial,
            Err(BadSize(size)) => Front::BadSize(size),
        }
    }

    /// Takes the frame that [`ReadBuffer::front`] announced; the caller may change its bytes.
    pub(crate) fn take_frame(&mut self, size: usize) -> &mut [u8] {
        let at = self.start + 4;
        self.start = at + size;
        assert!(self.start <= self.end, "frame of {size} bytes is not in the buffer");
        &mut self.data[at..at + size]
    }

    /// Puts back the frame that was taken last.
    pub(crate) fn put_back(&mut self, size: usize) {
        self.start -= 4 + size;
    }

    /// Room to read into. Moves unread bytes to the front, or grows the buffer, when there is none.
    ///
    /// `None` while the budget has nothing left.
    pub(crate) fn room(&mut self) -> Option<&mut [u8]> {
        if self.start > 0 && (self.is_empty() || self.end == self.data.len()) {
            self.data.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.end == self.data.len() {
            let grown = match self.wants() {
                Purpose::FirstBuffer => self.take_first(),
                _ => self.grow(),
            };
            if !grown {
                return None;
            }
        }
        Some(&mut self.data[self.end..])
    }

    /// What memory is needed for when there is no room.
    pub(crate) fn wants(&self) -> Purpose {
        if self.data.len() < BUFFER_BYTES { Purpose::FirstBuffer } else { Purpose::Growth }
    }

    /// Takes a buffer from the pool; what was kept in a small one moves over.
    fn take_first(&mut self) -> bool {
        if !self.charge.try_grow(BUFFER_BYTES - self.data.len(), Purpose::FirstBuffer) {
            return false;
        }
        let stash = std::mem::replace(&mut self.data, pool::take());
        self.data[..self.end].copy_from_slice(&stash[..self.end]);
        // Pooled buffers may be larger.
        self.charge.set(self.data.len());
        true
    }

    /// Makes a full buffer larger: up to twice as large, or as the frame in it needs.
    fn grow(&mut self) -> bool {
        let len = self.data.len();
        let frame = self.data.first_chunk::<4>().map_or(0, |size| i32::from_be_bytes(*size));
        let need = usize::try_from(frame).map_or(0, |size| size.saturating_add(4));
        let more = if need > len && need <= 2 * len + len / 4 { need - len } else { len };
        if !self.charge.try_grow(more, Purpose::Growth) {
            return false;
        }
        if self.data.try_reserve_exact(more).is_err() {
            self.charge.set(len);
            return false;
        }
        self.data.resize(len + more, 0);
        true
    }

    /// Counts bytes that were read into [`ReadBuffer::room`].
    pub(crate) fn filled(&mut self, bytes: usize) {
        self.end += bytes;
        assert!(self.end <= self.data.len(), "more bytes filled than there was room");
    }

    /// No more bytes are there for now: gives back the memory that the unread ones do not need.
    pub(crate) fn settle(&mut self) {
        let (unread, held) = (self.end - self.start, self.data.len());
        let small = unread <= STASH_BYTES && held > unread;
        // Left from a large frame that was handled.
        let oversized = held / 8 >= unread.max(BUFFER_BYTES);
        if !small && !oversized {
            return;
        }
        let mut kept = self.data[self.start..self.end].to_vec();
        if !small {
            kept.resize(unread.max(BUFFER_BYTES), 0);
        }
        (self.start, self.end) = (0, unread);
        self.charge.set(kept.len());
        pool::put(std::mem::replace(&mut self.data, kept));
    }
}

impl Drop for ReadBuffer {
    fn drop(&mut self) {
        pool::put(std::mem::take(&mut self.data));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(buffer: &mut ReadBuffer, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = buffer.room().unwrap();
            let n = room.len().min(bytes.len());
            room[..n].copy_from_slice(&bytes[..n]);
            buffer.filled(n);
            bytes = &bytes[n..];
        }
    }

    #[test]
    fn frames_come_out_as_they_went_in() {
        let mut buffer = ReadBuffer::new(&MemoryBudget::new(1 << 30));
        let mut sent = Vec::new();
        for size in [0usize, 1, 100, 70_000, 300_000, 3] {
            sent.extend((size as i32).to_be_bytes());
            sent.extend((0..size).map(|i| i as u8));
        }
        let mut sizes = Vec::new();
        for piece in sent.chunks(1000) {
            fill(&mut buffer, piece);
            while let Front::Frame(size) = buffer.front(1 << 20) {
                let frame = buffer.take_frame(size);
                assert!(frame.iter().enumerate().all(|(i, b)| *b == i as u8));
                sizes.push(size);
            }
        }
        assert_eq!(sizes, [0, 1, 100, 70_000, 300_000, 3]);
        assert!(buffer.is_empty());
        buffer.settle();
        assert!(buffer.data.is_empty());
    }

    #[test]
    fn sizes_out_of_range_are_refused_before_memory_is_taken() {
        for size in [-1i32, i32::MIN, 1025, i32::MAX] {
            let mut buffer = ReadBuffer::new(&MemoryBudget::new(1 << 30));
            fill(&mut buffer, &size.to_be_bytes());
            assert_eq!(buffer.front(1024), Front::BadSize(size));
        }
    }

    #[test]
    fn the_beginning_of_a_frame_keeps_no_large_buffer() {
        let budget = MemoryBudget::new(1 << 20);
        let mut buffer = ReadBuffer::new(&budget);
        fill(&mut buffer, &[&100_000_000i32.to_be_bytes()[..], b"abcd"].concat());
        assert!(budget.used() >= BUFFER_BYTES);
        buffer.settle();
        assert_eq!((buffer.data.len(), budget.used()), (8, 8));
        fill(&mut buffer, b"efgh");
        assert_eq!(&buffer.data[4..12], b"abcdefgh");
        drop(buffer);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn a_large_frame_grows_with_its_bytes_and_stops_at_its_size() {
        let budget = MemoryBudget::new(1 << 30);
        let mut buffer = ReadBuffer::new(&budget);
        let size = 3_000_000usize;
        fill(&mut buffer, &(size as i32).to_be_bytes());
        for sent in (0..size).step_by(50_000) {
            fill(&mut buffer, &[1; 50_000]);
            let most = (sent + 50_000) * 9 / 4 + 4 * BUFFER_BYTES;
            assert!(budget.used() <= most, "{} for {sent}", budget.used());
        }
        assert_eq!(buffer.front(size), Front::Frame(size));
        assert_eq!(budget.used(), size + 4);
    }

    #[test]
    fn without_budget_there_is_no_room() {
        let budget = MemoryBudget::new(100_000);
        let mut first = ReadBuffer::new(&budget);
        assert!(first.room().is_some());
        let mut second = ReadBuffer::new(&budget);
        assert!(second.room().is_none());
        first.settle();
        assert!(second.room().is_some());
    }
}
