//! Why an append is refused, and the records that are to blame.

use protocol::ErrorCode;
use protocol::batch::{BatchError, OpenRecordsError, RecordFormatError, RecordStreamError};
use protocol::compress::DecompressError;

use crate::names::TopicPartition;

/// At most this many records are named in the message.
const NAMED_RECORDS: usize = 3;

/// Why an append is refused. Nothing of it may be appended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ValidateError {
    /// The bytes are not a batch, or not the one that was sent (CORRUPT_MESSAGE).
    #[error(transparent)]
    Batch(BatchError),
    /// A rule for batches (INVALID_RECORD).
    #[error("{0}")]
    Invalid(String),
    /// The records are not in their format, or not as many as announced (INVALID_RECORD).
    #[error(transparent)]
    Format(#[from] RecordFormatError),
    /// Rules for records (INVALID_TIMESTAMP if a timestamp is among them, else INVALID_RECORD).
    #[error("{message}")]
    Records {
        /// The code.
        code: ErrorCode,
        /// For `error_message` of the answer.
        message: String,
        /// For `record_errors` of the answer (Produce 8).
        errors: Vec<RecordError>,
    },
    /// A batch is larger than `max.message.bytes` (MESSAGE_TOO_LARGE).
    #[error(
        "The record batch size in the append is {size} bytes which exceeds the maximum configured value of {limit}."
    )]
    TooLarge {
        /// Bytes of the batch.
        size: usize,
        /// `max.message.bytes`.
        limit: usize,
    },
    /// Zstandard before Produce 7 (UNSUPPORTED_COMPRESSION_TYPE).
    #[error("Produce requests with version {0} are not allowed to use ZStandard compression")]
    UnsupportedCompression(i16),
    /// The records cannot be decompressed. Kafka has no code for that: UNKNOWN_SERVER_ERROR; MESSAGE_TOO_LARGE if only
    /// the limit is exceeded, upon which producers split a batch.
    #[error("Failed to decompress record stream: {0}")]
    Decompress(#[from] DecompressError),
}

impl ValidateError {
    /// The code for the Produce answer.
    pub fn code(&self) -> ErrorCode {
        match self {
            ValidateError::Batch(_) => ErrorCode::CORRUPT_MESSAGE,
            ValidateError::Invalid(_) | ValidateError::Format(_) => ErrorCode::INVALID_RECORD,
            ValidateError::Records { code, .. } => *code,
            ValidateError::TooLarge { .. } => ErrorCode::MESSAGE_TOO_LARGE,
            ValidateError::UnsupportedCompression(_) => ErrorCode::UNSUPPORTED_COMPRESSION_TYPE,
            ValidateError::Decompress(DecompressError::TooLarge(_)) => ErrorCode::MESSAGE_TOO_LARGE,
            ValidateError::Decompress(_) => ErrorCode::UNKNOWN_SERVER_ERROR,
        }
    }

    /// The records that are to blame, by their place in the batch.
    pub fn record_errors(&self) -> &[RecordError] {
        match self {
            ValidateError::Records { errors, .. } => errors,
            _ => &[],
        }
    }
}

impl From<BatchError> for ValidateError {
    fn from(error: BatchError) -> Self {
        match error {
            BatchError::Legacy(magic) => invalid(format!("Batch magic {magic} is not supported")),
            error => ValidateError::Batch(error),
        }
    }
}

impl From<RecordStreamError> for ValidateError {
    fn from(error: RecordStreamError) -> Self {
        match error {
            RecordStreamError::Record(error) => error.into(),
            RecordStreamError::Decompress(error) => error.into(),
        }
    }
}

impl From<OpenRecordsError> for ValidateError {
    fn from(error: OpenRecordsError) -> Self {
        match error {
            OpenRecordsError::Batch(error) => error.into(),
            OpenRecordsError::Decompress(error) => error.into(),
        }
    }
}

pub(super) fn invalid(message: String) -> ValidateError {
    ValidateError::Invalid(message)
}

/// A record that is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordError {
    /// Its place in the batch.
    pub batch_index: i32,
    /// Why.
    pub problem: RecordProblem,
}

/// Why a record is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordProblem {
    /// No key, in a compacted topic.
    NoKey,
    /// The timestamp is out of the topic's range (all in ms).
    Timestamp {
        /// The record's.
        timestamp: i64,
        /// The record's, as it was sent.
        offset: i64,
        /// Smallest one that is taken.
        earliest: i64,
        /// Largest one that is taken.
        latest: i64,
    },
    /// The producer set the timestamp type to LogAppendTime.
    TimestampType {
        /// The record's, as it was sent.
        offset: i64,
    },
}

impl RecordError {
    /// For `batch_index_error_message` of the answer.
    pub fn message(&self, topic_partition: &TopicPartition) -> String {
        match self.problem {
            RecordProblem::NoKey => format!(
                "Compacted topic cannot accept message without key in topic partition {topic_partition}"
            ),
            RecordProblem::Timestamp { timestamp, offset, earliest, latest } => format!(
                "Timestamp {timestamp} of message with offset {offset} is out of range. \
                 The timestamp should be within [{earliest}, {latest}]"
            ),
            RecordProblem::TimestampType { offset } => format!(
                "Invalid timestamp type in message with offset {offset}. \
                 Producer should not set timestamp type to LogAppendTime."
            ),
        }
    }
}

/// Collects the refused records of a batch.
#[derive(Debug, Default)]
pub(super) struct Problems(Vec<RecordError>);

impl Problems {
    #[cold]
    pub(super) fn push(&mut self, batch_index: i32, problem: RecordProblem) {
        self.0.push(RecordError { batch_index, problem });
    }

    pub(super) fn into_result(self, topic_partition: &TopicPartition) -> Result<(), ValidateError> {
        let Problems(errors) = self;
        if errors.is_empty() {
            return Ok(());
        }
        if errors.iter().any(|error| error.problem != RecordProblem::NoKey) {
            let message = "One or more records have been rejected due to invalid timestamp".into();
            return Err(ValidateError::Records { code: ErrorCode::INVALID_TIMESTAMP, message, errors });
        }
        let named: Vec<_> = errors
            .iter()
            .take(NAMED_RECORDS)
            .map(|error| {
                let message = error.message(topic_partition);
                format!("RecordError(batchIndex={}, message='{message}')", error.batch_index)
            })
            .collect();
        let message = format!(
            "One or more records have been rejected due to {} record errors in total, \
             and only showing the first three errors at most: [{}]",
            errors.len(),
            named.join(", ")
        );
        Err(ValidateError::Records { code: ErrorCode::INVALID_RECORD, message, errors })
    }
}
