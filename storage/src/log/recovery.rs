//! Checking a segment whose writes may not have been complete: what is good, what is torn, what is damaged.
//!
//! A batch that is not whole at the very end of a log is a write that was under way, and is cut off. One that is
//! followed by good batches, or that lies below the recovery point, was written and has changed since: its bytes are
//! copied to a `.quarantined` file and taken out of the segment, which leaves a gap in the offsets as compaction
//! does. Nothing of it is ever served as good data, and no good batch is lost to it.

use std::fs::{self, File};
use std::io;
use std::io::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};

use protocol::batch::BatchHeader;

use super::api::Quarantined;
use super::error::StorageError;
use crate::durable;
use crate::scan::{BatchScan, Bounds, Depth, OLD_FORMAT, Search, Step};
use crate::segment::SegmentFile;

/// Bytes that are copied at a time.
const COPY_CHUNK: usize = 1 << 20;

/// A range of bytes that is no part of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Damage {
    pub(super) bytes: Range<u64>,
    /// First offset that may be missing.
    pub(super) first_offset: i64,
    /// First offset that is there again; equal to `first_offset` at the end of a segment.
    pub(super) next_offset: i64,
    /// It looks like a batch of an old format and must not be lost.
    pub(super) keep: bool,
}

/// What a check found.
#[derive(Debug, Default)]
pub(super) struct Checked {
    /// Bytes of the file.
    pub(super) file_size: u64,
    /// In order; the last one may reach the end of the file.
    pub(super) damage: Vec<Damage>,
    /// One above the last good offset, or the base offset.
    pub(super) next_offset: i64,
    /// Offsets are missing between two batches.
    pub(super) has_gap: bool,
    /// First offset of each leader epoch higher than those before.
    pub(super) epochs: Vec<(i32, i64)>,
}

impl Checked {
    /// Where the good bytes end, if only the end of the file is bad.
    pub(super) fn bad_end(&self) -> Option<u64> {
        match &self.damage[..] {
            [only] if only.bytes.end == self.file_size => Some(only.bytes.start),
            _ => None,
        }
    }
}

/// Reads every byte of a segment.
pub(super) fn check(file: &SegmentFile, bounds: Bounds) -> io::Result<Checked> {
    let file_size = file.len()?;
    let mut checked = Checked { file_size, next_offset: bounds.base_offset, ..Checked::default() };
    let mut scan = BatchScan::new(file, 0, file_size, Depth::Checked);
    let mut search = Search::new(file, file_size, bounds);
    // The batch before, if it begins above the offset that follows its predecessor's: (bytes, that offset).
    let mut leap: Option<(Range<u64>, i64)> = None;
    loop {
        let step = scan.step()?;
        let keep = matches!(step, Step::Bad(OLD_FORMAT));
        let header = match step {
            Step::End => return Ok(checked),
            Step::Batch(header) if bounds.hold(&header) => Some(header),
            Step::Batch(_) | Step::Bad(_) => None,
        };
        let position = scan.position();
        if let Some(header) = &header
            && header.base_offset < checked.next_offset
            && let Some((bytes, before)) = leap.take()
            && header.base_offset >= before
        {
            // The offset is outside of the checksum: the batch before is the one that is wrong, not this one.
            checked.epochs.retain(|(_, first)| *first < before);
            checked.damage.push(Damage {
                bytes,
                first_offset: before,
                next_offset: header.base_offset,
                keep: true,
            });
            checked.next_offset = before;
        }
        match header {
            Some(header) if header.base_offset >= checked.next_offset => {
                leap = (header.base_offset > checked.next_offset)
                    .then(|| (position..scan.next_position(), checked.next_offset));
                note(&mut checked, &header);
            }
            _ => {
                leap = None;
                let found = search.next_good(position + 1, checked.next_offset)?;
                let (end, next_offset) = found.unwrap_or((file_size, checked.next_offset));
                let first_offset = checked.next_offset;
                checked.damage.push(Damage { bytes: position..end, first_offset, next_offset, keep });
                scan.seek(end);
            }
        }
    }
}

fn note(checked: &mut Checked, header: &BatchHeader) {
    checked.has_gap |= header.base_offset > checked.next_offset;
    checked.next_offset = header.last_offset() + 1;
    if checked.epochs.last().is_none_or(|(epoch, _)| *epoch < header.partition_leader_epoch)
        && header.partition_leader_epoch >= 0
    {
        checked.epochs.push((header.partition_leader_epoch, header.base_offset));
    }
}

/// Copies the damaged bytes beside the segment and writes the `.log` file anew without them.
///
/// A crash on the way leaves the old file, and the same is done again.
pub(super) fn quarantine(
    path: &Path,
    file: &SegmentFile,
    checked: &Checked,
) -> Result<Vec<Quarantined>, StorageError> {
    let mut quarantined = Vec::with_capacity(checked.damage.len());
    for damage in &checked.damage {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{}.quarantined", damage.bytes.start));
        let to = PathBuf::from(name);
        write_ranges(&to, file, std::slice::from_ref(&damage.bytes))?;
        quarantined.push(Quarantined {
            first_offset: damage.first_offset,
            next_offset: damage.next_offset,
            file: to,
            bytes: damage.bytes.end - damage.bytes.start,
        });
    }
    let mut good = Vec::new();
    let mut from = 0;
    for damage in &checked.damage {
        good.push(from..damage.bytes.start);
        from = damage.bytes.end;
    }
    good.push(from..checked.file_size);
    let temporary = path.with_extension("log.tmp");
    write_ranges(&temporary, file, &good)?;
    fs::rename(&temporary, path).map_err(StorageError::of("rename", &temporary))?;
    if let Some(dir) = path.parent() {
        durable::sync_dir(dir)?;
    }
    Ok(quarantined)
}

fn write_ranges(to: &Path, from: &SegmentFile, ranges: &[Range<u64>]) -> Result<(), StorageError> {
    let mut out = File::create(to).map_err(StorageError::of("create", to))?;
    let longest = ranges.iter().map(|range| range.end - range.start).max().unwrap_or(0);
    let mut buffer = vec![0; longest.min(COPY_CHUNK as u64) as usize];
    for range in ranges {
        let mut at = range.start;
        while at < range.end {
            let wanted = (buffer.len() as u64).min(range.end - at) as usize;
            let n = from.read_at(&mut buffer[..wanted], at).map_err(StorageError::of("read", to))?;
            if n == 0 {
                return Err(StorageError::of("read", to)(io::ErrorKind::UnexpectedEof.into()));
            }
            out.write_all(&buffer[..n]).map_err(StorageError::of("write", to))?;
            at += n as u64;
        }
    }
    out.sync_all().map_err(StorageError::of("sync", to))
}
