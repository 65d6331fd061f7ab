//! An open `.log` file.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// The open `.log` file of a segment, shared between the log and reads that are still being sent.
///
/// Stays readable after the segment was renamed or unlinked; after a truncation reads may come back short.
#[derive(Debug)]
pub struct SegmentFile {
    base_offset: i64,
    file: File,
}

impl SegmentFile {
    /// Opens a file for reading and writing, creating it if `create`.
    pub(crate) fn open(path: &Path, base_offset: i64, create: bool) -> io::Result<Self> {
        let file = File::options().read(true).write(true).create(create).truncate(false).open(path)?;
        Ok(SegmentFile { base_offset, file })
    }

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

    /// Writes all bytes at `position`, or fails with some of them written.
    pub(crate) fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, position)
    }

    /// Bytes in the file.
    pub(crate) fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// Cuts the file.
    pub(crate) fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    /// Makes content and size durable.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

impl AsFd for SegmentFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}
