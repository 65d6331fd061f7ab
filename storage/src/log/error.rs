//! What can go wrong with a log, one enum per operation.

use std::io;
use std::path::PathBuf;

use protocol::ErrorCode;

use crate::producer_state::ProducerError;

/// An IO error with the operation and the path: the caller takes the log directory offline.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} {path}: {source}")]
pub struct StorageError {
    /// What was tried, as a verb ("write", "open", "sync").
    pub operation: &'static str,
    /// File or directory.
    pub path: PathBuf,
    /// The operating system's answer.
    #[source]
    pub source: io::Error,
}

impl StorageError {
    /// Wraps `source`; made for `map_err(StorageError::of("write", path))`.
    pub fn of(operation: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> StorageError {
        let path = path.into();
        move |source| StorageError { operation, path, source }
    }

    /// No space left, or a quota or file size limit was hit.
    pub fn is_disk_full(&self) -> bool {
        matches!(
            self.source.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
        )
    }
}

/// Why a log could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// IO error: take the directory offline.
    #[error(transparent)]
    Io(#[from] StorageError),
    /// What was on the disk is not there any more, in a log that must not lose anything
    /// ([`crate::OpenArgs::durable_end`]). Nothing was changed.
    #[error(
        "{path} is damaged or cut off at byte {position}: offset {first_offset} cannot be read, and all below \
         {durable_end} were on the disk; nothing was changed"
    )]
    Damaged {
        /// The segment.
        path: PathBuf,
        /// First bad byte.
        position: u64,
        /// First offset that is missing.
        first_offset: i64,
        /// See [`crate::OpenArgs::durable_end`].
        durable_end: i64,
    },
    /// The folder holds something that cannot be a replica log.
    #[error("{path}: {reason}")]
    NotALog {
        /// The folder or file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// Why nothing was appended.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// IO error: nothing was acknowledged, take the directory offline (KAFKA_STORAGE_ERROR).
    #[error(transparent)]
    Io(#[from] StorageError),
    /// An earlier fsync failed; only a restart, which reads back what is on the disk, helps (KAFKA_STORAGE_ERROR).
    #[error("the log is closed to writes since a sync failed: {0}")]
    Poisoned(String),
    /// All batches together exceed `segment.bytes` (RECORD_LIST_TOO_LARGE).
    #[error("message batch size is {size} bytes, more than the segment size of {limit}")]
    TooLarge {
        /// Bytes given.
        size: usize,
        /// `segment.bytes`.
        limit: u32,
    },
    /// Offsets of a follower append do not increase or start below the log end (UNKNOWN_SERVER_ERROR).
    #[error("offset {found} where at least {expected} was expected")]
    OffsetOrder {
        /// Smallest offset that would have been right.
        expected: i64,
        /// What the batch says.
        found: i64,
    },
    /// The bytes are not whole batches (CORRUPT_MESSAGE).
    #[error("malformed batch: {0}")]
    Malformed(String),
    /// A producer's epoch, sequence or transaction does not fit.
    #[error(transparent)]
    Producer(#[from] ProducerError),
}

impl AppendError {
    /// The code for the Produce answer.
    pub fn code(&self) -> ErrorCode {
        match self {
            AppendError::Io(_) | AppendError::Poisoned(_) => ErrorCode::KAFKA_STORAGE_ERROR,
            AppendError::TooLarge { .. } => ErrorCode::RECORD_LIST_TOO_LARGE,
            AppendError::OffsetOrder { .. } => ErrorCode::UNKNOWN_SERVER_ERROR,
            AppendError::Malformed(_) => ErrorCode::CORRUPT_MESSAGE,
            AppendError::Producer(error) => error.code(),
        }
    }
}

/// Why a read has no data.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// IO error: take the directory offline (KAFKA_STORAGE_ERROR).
    #[error(transparent)]
    Io(#[from] StorageError),
    /// Below the log start or above the log end (OFFSET_OUT_OF_RANGE).
    #[error("offset {offset} is outside of {log_start_offset} to {log_end_offset}")]
    OutOfRange {
        /// Asked for.
        offset: i64,
        /// First offset that there is.
        log_start_offset: i64,
        /// Next offset to be appended.
        log_end_offset: i64,
    },
    /// What is on the disk at this offset is not a batch (CORRUPT_MESSAGE).
    #[error("segment {base_offset} is corrupt at position {position}")]
    Corrupt {
        /// The segment.
        base_offset: i64,
        /// Byte in its `.log` file.
        position: u64,
    },
}

impl ReadError {
    /// The code for the answer.
    pub fn code(&self) -> ErrorCode {
        match self {
            ReadError::Io(_) => ErrorCode::KAFKA_STORAGE_ERROR,
            ReadError::OutOfRange { .. } => ErrorCode::OFFSET_OUT_OF_RANGE,
            ReadError::Corrupt { .. } => ErrorCode::CORRUPT_MESSAGE,
        }
    }
}
