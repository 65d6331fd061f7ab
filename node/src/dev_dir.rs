//! The data directory of `minikafka dev`: given, or temporary and removed at the end.
//!
//! A killed process leaves its temporary directory behind; the next one that starts removes it. The lock in
//! the directory tells a leftover from one in use, so nobody removes what another process works on: a
//! directory is made and locked before anything is put into it, and one that was taken away in between is
//! made again.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use storage::StorageError;
use storage::dirs::{DirError, LogDir};
use uuid::Uuid;

const PREFIX: &str = "minikafka-dev-";

/// A directory that goes with the process.
pub(crate) struct TemporaryDir {
    path: PathBuf,
}

impl TemporaryDir {
    /// Makes a directory under the system's temporary one, and removes leftovers there. The lock of the new
    /// one comes with it.
    ///
    /// # Errors
    ///
    /// The directory cannot be made.
    pub(crate) fn create(random_id: impl Fn() -> Uuid) -> Result<(Self, LogDir), DirError> {
        let parent = std::env::temp_dir();
        remove_leftovers(&parent);
        loop {
            let path = parent.join(format!("{PREFIX}{}", random_id().simple()));
            // Made here, because a log directory that is made when it is opened is made durable, which takes ms.
            let made = DirBuilder::new().mode(0o700).create(&path);
            made.map_err(|source| {
                DirError::Io(StorageError { operation: "create", path: path.clone(), source })
            })?;
            match LogDir::open(&path) {
                Ok(lock) if path.join(".lock").exists() => return Ok((Self { path }, lock)),
                // Another process took it for a leftover.
                Ok(_) | Err(DirError::Locked(_)) => {}
                Err(e) => return Err(e),
            }
        }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for TemporaryDir {
    fn drop(&mut self) {
        if let Err(e) = fs::remove_dir_all(&self.path) {
            tracing::warn!("The temporary directory {} could not be removed: {e}", self.path.display());
        }
    }
}

/// Removes the directories of processes that were killed.
fn remove_leftovers(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        let ours = entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX));
        // Without a lock file it is about to be locked by its maker.
        if ours && entry.path().join(".lock").is_file() && LogDir::open(&entry.path()).is_ok() {
            // What cannot be removed now, another user's for one, stays for another start.
            drop(fs::remove_dir_all(entry.path()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leftovers_go_and_live_ones_stay() {
        let parent = tempfile::tempdir().unwrap();
        let leftover = parent.path().join(format!("{PREFIX}1"));
        let live = parent.path().join(format!("{PREFIX}2"));
        let other = parent.path().join("other");
        drop(LogDir::open(&leftover).unwrap());
        let lock = LogDir::open(&live).unwrap();
        drop(LogDir::open(&other).unwrap());
        remove_leftovers(parent.path());
        assert!(!leftover.exists() && live.exists() && other.exists());
        drop(lock);
    }
}
