//! How far the metadata log is on the disk, kept beside it: what lies below must be there at the next start.
//!
//! From the log alone a record that was acknowledged and then cut off cannot be told from one that was never written
//! whole. The number is kept as Kafka keeps it for other logs, in a `recovery-point-offset-checkpoint`; Kafka passes
//! over it in this folder. It is written in place and not synced: it survives the process, and after a loss of power it
//! may be missing or too low, which costs the check and nothing else.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Kafka's name for such a file (`LogManager.RECOVERY_POINT_CHECKPOINT_FILE`).
const FILE_NAME: &str = "recovery-point-offset-checkpoint";
const BEFORE: &str = "0\n1\n__cluster_metadata 0 ";

/// The content, always as long.
fn text(offset: i64) -> String {
    format!("{BEFORE}{offset:020}\n")
}

/// The file.
#[derive(Debug)]
pub(super) struct SyncedEnd {
    file: File,
    offset: i64,
}

impl SyncedEnd {
    /// What the file says; 0 if there is none. One that cannot be made out says nothing.
    pub(super) fn read(dir: &Path) -> io::Result<i64> {
        let path = dir.join(FILE_NAME);
        let text = match fs::read(&path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(0),
            Err(e) => return Err(e),
        };
        let offset = text.strip_prefix(BEFORE).and_then(|rest| rest.trim_end().parse().ok());
        Ok(offset.unwrap_or_else(|| {
            tracing::warn!(path = %path.display(), "The end of the metadata log cannot be checked");
            0
        }))
    }

    /// Opens the file to be written; it says `offset` then.
    pub(super) fn open(dir: &Path, offset: i64) -> io::Result<SyncedEnd> {
        let file = OpenOptions::new().create(true).write(true).truncate(false).open(dir.join(FILE_NAME))?;
        let mut synced_end = SyncedEnd { file, offset };
        synced_end.set(offset)?;
        synced_end.file.set_len(text(offset).len() as u64)?;
        Ok(synced_end)
    }

    /// Everything below `offset` is on the disk.
    pub(super) fn set(&mut self, offset: i64) -> io::Result<()> {
        self.offset = offset;
        self.file.write_all_at(text(offset).as_bytes(), 0)
    }

    /// The log is going to end at `offset`.
    pub(super) fn lower(&mut self, offset: i64) -> io::Result<()> {
        if offset < self.offset { self.set(offset) } else { Ok(()) }
    }
}
