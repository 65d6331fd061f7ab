//! A folder in memory for targets that need files: emptied for each run, removed with the process' thread.

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

thread_local! {
    static FOLDER: RefCell<Option<TempDir>> = const { RefCell::new(None) };
}

/// Calls `f` with an empty folder.
pub(crate) fn with_folder<R>(f: impl FnOnce(&Path) -> R) -> R {
    let root = FOLDER.with_borrow_mut(|folder| {
        folder
            .get_or_insert_with(|| tempfile::tempdir_in(parent()).expect("a folder in memory"))
            .path()
            .to_owned()
    });
    let inner = root.join("t-0");
    let _ = fs::remove_dir_all(&inner);
    fs::create_dir(&inner).expect("the folder is writable");
    f(&inner)
}

/// Where files cost no disk.
fn parent() -> PathBuf {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() }
}
