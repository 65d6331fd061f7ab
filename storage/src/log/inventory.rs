//! The files in a replica's folder, put in order before the log is opened.
//!
//! Order of the passes, as in Kafka: files of a deletion or of a compaction that was not finished go; a compaction
//! that had finished (`.swap`) is completed; indexes without a segment go.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::error::{OpenError, StorageError};
use crate::names::FileKind;
use crate::scan::{BatchScan, Depth, Step};
use crate::segment::{SegmentFile, doom_file};

/// What is in the folder.
#[derive(Debug, Default)]
pub(super) struct Inventory {
    /// Base offset and size of the `.log` files.
    pub(super) logs: BTreeMap<i64, u64>,
    /// Offsets of the `.snapshot` files, in order.
    pub(super) snapshots: Vec<i64>,
    /// Base offsets of the `.txnindex` files.
    pub(super) txn_indexes: Vec<i64>,
    /// Files removed on the way.
    pub(super) removed: usize,
}

impl Inventory {
    /// Lists the folder and puts it in order.
    pub(super) fn take(dir: &Path) -> Result<Inventory, OpenError> {
        let mut names = list(dir)?;
        let mut removed = 0;
        if names.iter().any(is_unfinished) {
            removed = finish(dir, &names)?;
            names = list(dir)?;
        }
        let mut inventory = Inventory { removed, ..Inventory::default() };
        let mut indexes = Vec::new();
        for name in &names {
            let Some((kind, offset)) = name.to_str().and_then(FileKind::parse) else { continue };
            match kind {
                FileKind::Log => {
                    let path = dir.join(name);
                    let metadata = fs::metadata(&path).map_err(StorageError::of("stat", &path))?;
                    if !metadata.is_file() {
                        return Err(OpenError::NotALog { path, reason: "not a file".into() });
                    }
                    inventory.logs.insert(offset, metadata.len());
                }
                FileKind::Snapshot => inventory.snapshots.push(offset),
                FileKind::TxnIndex => {
                    inventory.txn_indexes.push(offset);
                    indexes.push((offset, name));
                }
                FileKind::Index | FileKind::TimeIndex => indexes.push((offset, name)),
            }
        }
        inventory.snapshots.sort_unstable();
        for (_, name) in indexes.into_iter().filter(|(offset, _)| !inventory.logs.contains_key(offset)) {
            remove(&dir.join(name))?;
            inventory.removed += 1;
        }
        let Inventory { logs, txn_indexes, .. } = &mut inventory;
        txn_indexes.retain(|offset| logs.contains_key(offset));
        Ok(inventory)
    }
}

fn list(dir: &Path) -> Result<Vec<OsString>, StorageError> {
    let entries = fs::read_dir(dir).map_err(StorageError::of("list", dir))?;
    entries.map(|entry| Ok(entry.map_err(StorageError::of("list", dir))?.file_name())).collect()
}

fn is_unfinished(name: &OsString) -> bool {
    let name = name.to_string_lossy();
    [".deleted", ".cleaned", ".swap", ".log.tmp"].iter().any(|suffix| name.ends_with(suffix))
}

/// Completes or drops what a deletion or a compaction left; returns how many files went.
fn finish(dir: &Path, names: &[OsString]) -> Result<usize, StorageError> {
    let offset_of = |name: &str, suffix: &str| FileKind::parse(name.strip_suffix(suffix)?);
    let mut removed = 0;
    let mut smallest_cleaned = i64::MAX;
    let mut swaps = Vec::new();
    for name in names {
        let name = name.to_string_lossy();
        if let Some((_, offset)) = offset_of(&name, ".cleaned") {
            smallest_cleaned = smallest_cleaned.min(offset);
        }
        if name.ends_with(".deleted") || name.ends_with(".cleaned") || name.ends_with(".log.tmp") {
            remove(&dir.join(&*name))?;
            removed += 1;
        } else if let Some((kind, offset)) = offset_of(&name, ".swap") {
            swaps.push((kind, offset, dir.join(&*name)));
        }
    }
    // The highest segment is swapped first, so a `.swap` above a `.cleaned` belongs to a swap that did not happen.
    let (dropped, mut swaps): (Vec<_>, Vec<_>) =
        swaps.into_iter().partition(|(_, offset, _)| *offset >= smallest_cleaned);
    for (_, _, path) in dropped {
        remove(&path)?;
        removed += 1;
    }
    for (_, offset, path) in swaps.iter().filter(|(kind, ..)| *kind == FileKind::Log) {
        let next_offset = next_offset_of(path, *offset)?;
        for name in names {
            if let Some((kind, base)) = name.to_str().and_then(FileKind::parse)
                && kind != FileKind::Snapshot
                && (*offset..next_offset.max(*offset + 1)).contains(&base)
                && let Some(doomed) = doom_file(&dir.join(name))?
            {
                remove(&doomed)?;
                removed += 1;
            }
        }
    }
    // The `.log` goes first: once it has its name, nothing below it is taken for an old file any more.
    swaps.sort_unstable_by_key(|(kind, ..)| *kind != FileKind::Log);
    for (kind, offset, path) in swaps {
        fs::rename(&path, dir.join(kind.name(offset))).map_err(StorageError::of("rename", &path))?;
    }
    Ok(removed)
}

fn next_offset_of(path: &Path, base_offset: i64) -> Result<i64, StorageError> {
    let read = || -> io::Result<i64> {
        let file = SegmentFile::open(path, base_offset, false)?;
        let mut next = base_offset;
        let mut scan = BatchScan::new(&file, 0, file.len()?, Depth::Header);
        while let Step::Batch(header) = scan.step()? {
            next = header.next_offset();
        }
        Ok(next)
    };
    read().map_err(StorageError::of("read", path))
}

/// Removes a file that may be gone already.
pub(super) fn remove(path: &PathBuf) -> Result<(), StorageError> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(StorageError::of("remove", path)(e)),
        _ => Ok(()),
    }
}
