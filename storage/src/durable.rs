//! Files that are replaced whole, and directories made durable.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::log::StorageError;

/// Replaces the file at `path`: writes `<path>.tmp`, syncs it, renames it, syncs the directory.
///
/// After a crash either the old or the new content is there.
pub fn replace(path: &Path, content: &[u8]) -> Result<(), StorageError> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    let temporary = PathBuf::from(temporary);
    let mut file = File::create(&temporary).map_err(StorageError::of("create", &temporary))?;
    file.write_all(content).map_err(StorageError::of("write", &temporary))?;
    file.sync_all().map_err(StorageError::of("sync", &temporary))?;
    drop(file);
    fs::rename(&temporary, path).map_err(StorageError::of("rename", &temporary))?;
    match path.parent() {
        Some(parent) => sync_dir(parent),
        None => Ok(()),
    }
}

/// Makes creations, renames and removals in a directory durable.
pub fn sync_dir(path: &Path) -> Result<(), StorageError> {
    let dir = File::open(path).map_err(StorageError::of("open", path))?;
    dir.sync_all().map_err(StorageError::of("sync", path))
}
