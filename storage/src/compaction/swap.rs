//! The renames that put a cleaned segment in the place of others, as a list, so that a test can stop anywhere.
//!
//! What a crash leaves is put right when the log is opened ([`crate::log`], its inventory): while a `.cleaned` file is
//! there the old files count, once all are `.swap` the new ones do. The `.log` gets its final name first: until then
//! recovery takes every final name in its range for an old file.

use std::path::{Path, PathBuf};

use crate::names::FileKind;
use crate::segment::CleanedSegment;

/// A step: what to rename, and to what. The file need not be there.
pub(crate) type Rename = (PathBuf, PathBuf);

/// The name of a cleaned file that has yet to take the place of others.
fn swap_path(dir: &Path, kind: FileKind, base_offset: i64) -> PathBuf {
    dir.join(kind.name(base_offset) + ".swap")
}

/// `.cleaned` to `.swap`.
pub(crate) fn begin(dir: &Path, base_offset: i64) -> Vec<Rename> {
    let rename = |kind| (CleanedSegment::path(dir, kind, base_offset), swap_path(dir, kind, base_offset));
    FileKind::SEGMENT.map(rename).into()
}

/// Old files to `.deleted`, with the producer snapshots of segments that are no more.
pub(crate) fn remove_old(dir: &Path, base_offsets: &[i64]) -> Vec<Rename> {
    let mut renames = Vec::new();
    for (at, &base_offset) in base_offsets.iter().enumerate() {
        let snapshot = (at > 0).then_some(FileKind::Snapshot);
        for kind in FileKind::SEGMENT.into_iter().chain(snapshot) {
            let name = kind.name(base_offset);
            renames.push((dir.join(&name), dir.join(name + ".deleted")));
        }
    }
    renames
}

/// `.swap` to the final names.
pub(crate) fn complete(dir: &Path, base_offset: i64) -> Vec<Rename> {
    let rename = |kind: FileKind| (swap_path(dir, kind, base_offset), dir.join(kind.name(base_offset)));
    FileKind::SEGMENT.map(rename).into()
}

/// The files of a swap that has begun.
pub(crate) fn swap_files(dir: &Path, base_offset: i64) -> [PathBuf; 4] {
    FileKind::SEGMENT.map(|kind| swap_path(dir, kind, base_offset))
}
