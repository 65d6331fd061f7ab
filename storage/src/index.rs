//! The sparse indexes of a segment: offsets to file positions (`.index`) and timestamps to offsets (`.timeindex`).
//!
//! Entries are kept in memory once an index is used and written to the file in groups: an index needs to be complete
//! on the disk only when its segment is synced, because a segment that is not synced is scanned after a crash.
//! Invariants: entries increase strictly; the first `written` entries are in the file, and nothing else is after a
//! [`Index::write`]. What is read from a file is checked, never trusted: a bad one makes [`Index::load`] answer
//! `None`, and users check an entry against the batch it points to.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Unwritten entries before they are written without being asked for.
const GROUP: usize = 512;

/// An entry of fixed size.
pub(crate) trait Entry: Copy + std::fmt::Debug {
    /// Bytes in the file.
    const SIZE: usize;
    /// Appends the entry to `out`.
    fn encode(&self, out: &mut Vec<u8>);
    /// Reads an entry from exactly [`Entry::SIZE`] bytes.
    fn decode(bytes: &[u8]) -> Self;
    /// May come after `previous` (`None`: may be the first).
    fn follows(&self, previous: Option<&Self>) -> bool;
}

/// An offset-index entry: `relative` is an append's last offset less the segment's base, `position` where the append
/// begins in the `.log` file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OffsetEntry {
    pub(crate) relative: u32,
    pub(crate) position: u32,
}

/// A time-index entry: no record up to `relative` has a larger timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TimeEntry {
    pub(crate) timestamp: i64,
    pub(crate) relative: u32,
}

/// The N bytes at `at` of a slice that is long enough.
fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&bytes[at..at + N]);
    array
}

impl Entry for OffsetEntry {
    const SIZE: usize = 8;

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.relative.to_be_bytes());
        out.extend_from_slice(&self.position.to_be_bytes());
    }

    fn decode(bytes: &[u8]) -> Self {
        OffsetEntry {
            relative: u32::from_be_bytes(array(bytes, 0)),
            position: u32::from_be_bytes(array(bytes, 4)),
        }
    }

    fn follows(&self, previous: Option<&Self>) -> bool {
        let in_range =
            self.relative <= i32::MAX as u32 && self.position > 0 && self.position <= i32::MAX as u32;
        in_range && previous.is_none_or(|p| p.relative < self.relative && p.position < self.position)
    }
}

impl Entry for TimeEntry {
    const SIZE: usize = 12;

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.timestamp.to_be_bytes());
        out.extend_from_slice(&self.relative.to_be_bytes());
    }

    fn decode(bytes: &[u8]) -> Self {
        TimeEntry {
            timestamp: i64::from_be_bytes(array(bytes, 0)),
            relative: u32::from_be_bytes(array(bytes, 8)),
        }
    }

    fn follows(&self, previous: Option<&Self>) -> bool {
        let in_range = self.relative <= i32::MAX as u32 && self.timestamp >= 0;
        in_range && previous.is_none_or(|p| p.timestamp < self.timestamp && p.relative <= self.relative)
    }
}

/// An index in memory with its file.
#[derive(Debug)]
pub(crate) struct Index<E> {
    path: PathBuf,
    entries: Vec<E>,
    /// How many of `entries` are in the file.
    written: usize,
    /// The file may be longer than the written entries (preallocated by Kafka, or truncated in memory).
    slack: bool,
}

pub(crate) type OffsetIndex = Index<OffsetEntry>;
pub(crate) type TimeIndex = Index<TimeEntry>;

impl<E: Entry> Index<E> {
    /// An empty index with an empty file.
    pub(crate) fn create(path: PathBuf) -> io::Result<Self> {
        File::create(&path)?;
        Ok(Index { path, entries: Vec::new(), written: 0, slack: false })
    }

    /// Reads the file; `None` if it is missing or its content is no index.
    ///
    /// Zeros after the entries are Kafka's preallocation and not an error.
    pub(crate) fn load(path: PathBuf) -> io::Result<Option<Self>> {
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        let mut entries = Vec::new();
        for chunk in bytes.chunks_exact(E::SIZE) {
            let entry = E::decode(chunk);
            if !entry.follows(entries.last()) {
                break;
            }
            entries.push(entry);
        }
        let used = entries.len() * E::SIZE;
        if bytes[used..].iter().any(|&byte| byte != 0) {
            return Ok(None);
        }
        let written = entries.len();
        Ok(Some(Index { path, entries, written, slack: bytes.len() > used }))
    }

    /// Reads only the last entry: the outer `None` if the file is missing or obviously not cut to its used size, the
    /// inner one if it is empty.
    pub(crate) fn last_on_disk(path: &Path) -> io::Result<Option<Option<E>>> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        let mut bytes = [0; 16];
        let bytes = &mut bytes[..E::SIZE];
        let len = file.metadata()?.len();
        if len == 0 {
            return Ok(Some(None));
        }
        if len % E::SIZE as u64 != 0 {
            return Ok(None);
        }
        file.read_exact_at(bytes, len - E::SIZE as u64)?;
        let entry = E::decode(bytes);
        Ok(entry.follows(None).then_some(Some(entry)))
    }

    /// All entries, written or not.
    pub(crate) fn entries(&self) -> &[E] {
        &self.entries
    }

    /// Adds an entry that [`Entry::follows`] the last one (others are left out) and writes a full group.
    pub(crate) fn push(&mut self, entry: E) -> io::Result<()> {
        if entry.follows(self.entries.last()) {
            self.entries.push(entry);
        }
        if self.entries.len() - self.written >= GROUP { self.write() } else { Ok(()) }
    }

    /// Writes what is not in the file yet. After an error the same is written again by the next call.
    pub(crate) fn write(&mut self) -> io::Result<()> {
        if self.written == self.entries.len() && !self.slack {
            return Ok(());
        }
        let mut bytes = Vec::with_capacity((self.entries.len() - self.written) * E::SIZE);
        for entry in &self.entries[self.written..] {
            entry.encode(&mut bytes);
        }
        let file = File::options().write(true).create(true).truncate(false).open(&self.path)?;
        file.write_all_at(&bytes, (self.written * E::SIZE) as u64)?;
        if self.slack {
            file.set_len((self.entries.len() * E::SIZE) as u64)?;
            self.slack = false;
        }
        self.written = self.entries.len();
        Ok(())
    }

    /// Drops all entries from the first one that `keep` refuses on.
    pub(crate) fn truncate_where(&mut self, keep: impl Fn(&E) -> bool) -> io::Result<()> {
        let end = self.entries.partition_point(keep);
        self.entries.truncate(end);
        if self.written > end {
            self.written = end;
            self.slack = true;
        }
        self.write()
    }

    /// The greatest entry that `below` holds for, given that it holds for a prefix of the entries.
    pub(crate) fn floor(&self, below: impl Fn(&E) -> bool) -> Option<E> {
        self.entries[..self.entries.partition_point(below)].last().copied()
    }

    /// The first entry that `below` does not hold for.
    pub(crate) fn ceiling(&self, below: impl Fn(&E) -> bool) -> Option<E> {
        self.entries.get(self.entries.partition_point(below)).copied()
    }

    /// The file's path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_survive_the_file_and_zeros_after_them_do_not_matter() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.index");
        let mut index = OffsetIndex::create(path.clone()).unwrap();
        for i in 1..=600 {
            index.push(OffsetEntry { relative: i * 3, position: i * 5000 }).unwrap();
        }
        assert_eq!(fs::metadata(&path).unwrap().len(), 512 * 8, "written in groups");
        index.write().unwrap();
        let mut bytes = fs::read(&path).unwrap();
        assert_eq!(&bytes[..8], &[0, 0, 0, 3, 0, 0, 19, 136]);
        assert_eq!(OffsetIndex::last_on_disk(&path).unwrap().flatten().unwrap().relative, 1800);
        bytes.resize(8192, 0);
        fs::write(&path, &bytes).unwrap();
        assert!(OffsetIndex::last_on_disk(&path).unwrap().is_none(), "not cut to size: must be loaded");
        let mut index = OffsetIndex::load(path.clone()).unwrap().unwrap();
        assert_eq!(index.entries().len(), 600);
        assert_eq!(index.floor(|e| e.relative <= 7).unwrap().relative, 6);
        assert!(index.floor(|e| e.relative <= 2).is_none());
        assert_eq!(index.ceiling(|e| e.position < 5001).unwrap().position, 10_000);
        index.truncate_where(|e| e.relative < 10).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().len(), 3 * 8);
    }

    #[test]
    fn garbage_is_no_index() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.timeindex");
        assert!(TimeIndex::load(path.clone()).unwrap().is_none(), "missing");
        let mut index = TimeIndex::create(path.clone()).unwrap();
        index.push(TimeEntry { timestamp: 1000, relative: 5 }).unwrap();
        index.push(TimeEntry { timestamp: 1000, relative: 9 }).unwrap();
        index.push(TimeEntry { timestamp: 1001, relative: 9 }).unwrap();
        index.write().unwrap();
        let good = fs::read(&path).unwrap();
        assert_eq!(good.len(), 24, "an entry whose timestamp does not grow is left out");
        let mut swapped = good[12..].to_vec();
        swapped.extend_from_slice(&good[..12]);
        for bad in [&swapped[..], &good[1..], &[7; 13]] {
            fs::write(&path, bad).unwrap();
            assert!(TimeIndex::load(path.clone()).unwrap().is_none());
        }
    }
}
