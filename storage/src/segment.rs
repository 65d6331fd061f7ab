//! One segment: the `.log` file with its indexes.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;

/// The open `.log` file of a segment, shared between the log and reads that are still being sent.
///
/// Stays readable after the segment was renamed or unlinked; after a truncation reads may come back short.
#[derive(Debug)]
pub struct SegmentFile {
    base_offset: i64,
    file: File,
}

impl SegmentFile {
    /// First offset that the segment may hold, the number in its name.
    pub fn base_offset(&self) -> i64 {
        self.base_offset
    }

    /// Reads at `position` without moving a cursor; fewer bytes than asked for only at the end of the file.
    pub fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let mut done = 0;
        while done < buffer.len() {
            match self.file.read_at(&mut buffer[done..], position + done as u64) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(done)
    }
}

impl AsFd for SegmentFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}
