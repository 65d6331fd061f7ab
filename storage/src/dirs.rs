//! A log directory: its lock, its identity, the files kept once for all logs in it, the folders of replicas.
//!
//! Invariants: the lock is taken before anything else in the directory is opened or written, so that a second
//! process on the same directory does no harm; it is held until the [`LogDir`] is dropped. Small files are replaced
//! whole ([`crate::durable`]).

mod clean_shutdown;
mod meta_properties;
mod offset_checkpoint;
mod partition_metadata;

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use uuid::Uuid;

use crate::durable;
use crate::log::StorageError;
use crate::names::{PartitionDir, TopicPartition, marked_dir_name};

pub use clean_shutdown::CleanShutdown;
pub use meta_properties::MetaProperties;
pub use partition_metadata::{read_partition_metadata, write_partition_metadata};

/// Folder of the metadata log in the metadata log directory; not a replica of a topic.
pub const CLUSTER_METADATA_DIR: &str = "__cluster_metadata-0";

/// Why a log directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DirError {
    /// IO error: the directory is offline.
    #[error(transparent)]
    Io(#[from] StorageError),
    /// Another process, or this one, has the directory open.
    #[error(
        "Failed to acquire lock on file .lock in {0}. A Kafka instance in another process or thread is using this directory."
    )]
    Locked(PathBuf),
    /// A file of the directory does not say what it should.
    #[error("{path}: {reason}")]
    Malformed {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// The text files of offsets that are kept per directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checkpoint {
    /// `recovery-point-offset-checkpoint`: below it everything is on the disk.
    RecoveryPoint,
    /// `replication-offset-checkpoint`: high watermarks.
    HighWatermark,
    /// `log-start-offset-checkpoint`: only of logs that start above their first segment's base.
    LogStart,
    /// `cleaner-offset-checkpoint`: where compaction goes on.
    Cleaner,
}

impl Checkpoint {
    /// All of them, in the order in which they are written at a stop.
    pub const ALL: [Checkpoint; 4] =
        [Checkpoint::RecoveryPoint, Checkpoint::LogStart, Checkpoint::HighWatermark, Checkpoint::Cleaner];

    /// The file's name.
    pub fn file_name(self) -> &'static str {
        match self {
            Checkpoint::RecoveryPoint => "recovery-point-offset-checkpoint",
            Checkpoint::HighWatermark => "replication-offset-checkpoint",
            Checkpoint::LogStart => "log-start-offset-checkpoint",
            Checkpoint::Cleaner => "cleaner-offset-checkpoint",
        }
    }
}

/// A log directory that this process has locked.
#[derive(Debug)]
pub struct LogDir {
    path: PathBuf,
    /// Closing it releases the lock.
    lock_file: File,
}

impl LogDir {
    /// Creates the directory if it is missing and locks it. Reads and writes nothing else.
    pub fn open(path: &Path) -> Result<LogDir, DirError> {
        if !path.is_dir() {
            fs::create_dir_all(path).map_err(StorageError::of("create", path))?;
            if let Some(parent) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
                durable::sync_dir(parent)?;
            }
        }
        let lock_path = path.join(".lock");
        let lock = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&lock_path)
            .map_err(StorageError::of("open", &lock_path))?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(DirError::Locked(path.to_path_buf())),
            Err(e) => return Err(StorageError::of("lock", &lock_path)(e.into()).into()),
        }
        lock_as_java(&lock, path, &lock_path)?;
        Ok(LogDir { path: path.to_path_buf(), lock_file: lock })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads `meta.properties`; `None` if the directory is not formatted.
    pub fn meta_properties(&self) -> Result<Option<MetaProperties>, DirError> {
        MetaProperties::read(&self.path)
    }

    /// Replaces `meta.properties`.
    pub fn write_meta_properties(&self, properties: &MetaProperties) -> Result<(), DirError> {
        Ok(durable::replace(&self.path.join(meta_properties::FILE), properties.to_text().as_bytes())?)
    }

    /// Reads and removes the clean-shutdown mark, and makes the removal durable before anything can be written.
    pub fn take_clean_shutdown(&self) -> Result<Option<CleanShutdown>, DirError> {
        clean_shutdown::take(&self.path)
    }

    /// Leaves the clean-shutdown mark; to be called after everything else was flushed and checkpointed.
    pub fn write_clean_shutdown(&self, broker_epoch: i64) -> Result<(), DirError> {
        clean_shutdown::write(&self.path, broker_epoch)
    }

    /// Reads a checkpoint file; empty if it is missing.
    ///
    /// [`DirError::Malformed`] need not stop a start: all of them can be found out again from the logs, at the
    /// price of a full scan.
    pub fn read_checkpoint(&self, kind: Checkpoint) -> Result<HashMap<TopicPartition, i64>, DirError> {
        offset_checkpoint::read(&self.path.join(kind.file_name()))
    }

    /// Replaces a checkpoint file.
    pub fn write_checkpoint<'a>(
        &self,
        kind: Checkpoint,
        entries: impl IntoIterator<Item = (&'a TopicPartition, i64)>,
    ) -> Result<(), DirError> {
        let text = offset_checkpoint::encode(entries);
        Ok(durable::replace(&self.path.join(kind.file_name()), text.as_bytes())?)
    }

    /// The folders of replicas, without the metadata log's, in no order.
    ///
    /// A folder with a name that is none of Kafka's is an error, as in Kafka; files and dot folders are passed over.
    pub fn partition_dirs(&self) -> Result<Vec<(PathBuf, PartitionDir)>, DirError> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(StorageError::of("list", &self.path))? {
            let entry = entry.map_err(StorageError::of("list", &self.path))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let passed = name.starts_with('.')
                || ["lost+found", "remote-log-index-cache", CLUSTER_METADATA_DIR].contains(&&*name);
            if passed || !entry.file_type().map_err(StorageError::of("stat", entry.path()))?.is_dir() {
                continue;
            }
            match PartitionDir::parse(&name) {
                Some(dir) => found.push((entry.path(), dir)),
                None => {
                    return Err(DirError::Malformed {
                        path: entry.path(),
                        reason: "the folder's name is not in the form topic-partition or topic-partition.uniqueId-delete; \
                                 log directories must hold nothing but Kafka's own folders"
                            .into(),
                    });
                }
            }
        }
        Ok(found)
    }

    /// The folder of a replica, whether it exists or not.
    pub fn partition_path(&self, partition: &TopicPartition) -> PathBuf {
        self.path.join(partition.to_string())
    }

    /// Renames the folder of a replica so that it counts as deleted (`delete`), stray (`stray`) or being moved
    /// (`future`); the caller removes a deleted one later with [`remove_dir`]. `id` must be new. The new name is durable
    /// after [`LogDir::sync`].
    pub fn mark_dir(
        &self,
        dir: &Path,
        partition: &TopicPartition,
        id: Uuid,
        mark: &str,
    ) -> Result<PathBuf, DirError> {
        let to = self.path.join(marked_dir_name(partition, id, mark));
        fs::rename(dir, &to).map_err(StorageError::of("rename", dir))?;
        Ok(to)
    }

    /// Makes everything written to the file system of the directory durable, at once: at a stop this takes less time
    /// than a sync per file. Linux reports write errors since 5.8.
    pub fn sync_filesystem(&self) -> Result<(), DirError> {
        rustix::fs::syncfs(&self.lock_file).map_err(|e| StorageError::of("sync", &self.path)(e.into()))?;
        Ok(())
    }

    /// Makes folders that were created, renamed or removed in the directory durable.
    pub fn sync(&self) -> Result<(), DirError> {
        Ok(durable::sync_dir(&self.path)?)
    }
}

/// Removes a folder with everything in it; one that is gone already does not matter.
pub fn remove_dir(path: &Path) -> Result<(), StorageError> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(StorageError::of("remove", path)(e)),
        _ => Ok(()),
    }
}

/// Takes the lock that Java's `FileChannel.tryLock` takes (a POSIX record lock), so that a Kafka on the JVM and this
/// process keep each other out too. It is lost when the process closes any other descriptor of the file, which is why
/// the `flock` is the one that counts between processes of ours.
fn lock_as_java(lock: &File, dir: &Path, lock_path: &Path) -> Result<(), DirError> {
    match rustix::fs::fcntl_lock(lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::ACCESS | rustix::io::Errno::AGAIN) => Err(DirError::Locked(dir.to_path_buf())),
        Err(e) => Err(StorageError::of("lock", lock_path)(e.into()).into()),
    }
}
