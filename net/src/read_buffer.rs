//! The bytes of a connection that were read and not yet handled.
//!
//!   data: │ handled │ start .. unread bytes .. end │ room to read into │
//!
//! Invariants: `start <= end <= data.len()`; the buffer grows with the bytes that arrived, never with the size
//! that a frame claims; a connection without unread bytes holds no memory.

use protocol::frame::{BadSize, frame_size};

use crate::pool;

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

#[derive(Default)]
pub(crate) struct ReadBuffer {
    data: Vec<u8>,
    start: usize,
    end: usize,
}

impl ReadBuffer {
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

    /// Room to read into. Moves unread bytes to the front, or doubles the buffer, when there is none.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        if self.data.is_empty() {
            self.data = pool::take();
        }
        if self.start > 0 && (self.is_empty() || self.end == self.data.len()) {
            self.data.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.end == self.data.len() {
            self.data.resize(self.data.len() * 2, 0);
        }
        &mut self.data[self.end..]
    }

    /// Counts bytes that were read into [`ReadBuffer::room`].
    pub(crate) fn filled(&mut self, bytes: usize) {
        self.end += bytes;
        assert!(self.end <= self.data.len(), "more bytes filled than there was room");
    }

    /// Gives the memory back when nothing is unread.
    pub(crate) fn release(&mut self) {
        if self.is_empty() {
            self.start = 0;
            self.end = 0;
            pool::put(std::mem::take(&mut self.data));
        }
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
            let room = buffer.room();
            let n = room.len().min(bytes.len());
            room[..n].copy_from_slice(&bytes[..n]);
            buffer.filled(n);
            bytes = &bytes[n..];
        }
    }

    #[test]
    fn frames_come_out_as_they_went_in() {
        let mut buffer = ReadBuffer::default();
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
        buffer.release();
        assert!(buffer.data.is_empty());
    }

    #[test]
    fn sizes_out_of_range_are_refused_before_memory_is_taken() {
        for size in [-1i32, i32::MIN, 1025, i32::MAX] {
            let mut buffer = ReadBuffer::default();
            fill(&mut buffer, &size.to_be_bytes());
            assert_eq!(buffer.front(1024), Front::BadSize(size));
        }
    }
}
