//! Record batches as the metadata log has them: magic 2, uncompressed, no producer, all timestamps equal.
//!
//! One batch is one atomic unit. What is read here has its checksum verified: a follower appends nothing else.

use std::ops::RangeInclusive;

use bytes::{Bytes, BytesMut};
use protocol::batch::{self, BatchBuilder, BatchHeader, RawBatch};

use crate::control;

/// Largest batch that the metadata log takes.
pub const MAX_BATCH_BYTES: usize = 8 * 1024 * 1024;

/// Bytes that are no valid piece of a metadata log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// No batch, or not the one that was written.
    #[error(transparent)]
    Batch(#[from] batch::BatchError),
    /// A batch does not start where the one before it ended.
    #[error("batch at offset {found} where {expected} was expected")]
    Gap {
        /// Offset that should come next.
        expected: i64,
        /// Base offset that came.
        found: i64,
    },
    /// A batch of an epoch that is yet to come, or below that of the batch before it.
    #[error("batch at offset {base_offset} is of epoch {epoch}")]
    Epoch {
        /// Base offset of the batch.
        base_offset: i64,
        /// Its epoch.
        epoch: i32,
    },
    /// The records of a control batch cannot be read.
    #[error("malformed control record in the batch at offset {base_offset}")]
    ControlRecord {
        /// Base offset of the batch.
        base_offset: i64,
    },
}

/// Key and value of a record to write.
pub type KeyValue = (Option<Bytes>, Bytes);

/// Key and value of a record read; null is an empty slice.
pub type KeyValueRef<'a> = (&'a [u8], &'a [u8]);

/// Writes one batch with `records` from `base_offset` on.
pub fn encode(
    base_offset: i64,
    epoch: i32,
    timestamp_ms: i64,
    control: bool,
    records: &[KeyValue],
) -> BytesMut {
    let mut builder = BatchBuilder::new(base_offset).leader_epoch(epoch);
    if control {
        builder = builder.control();
    }
    for (key, value) in records {
        builder.push_pair(timestamp_ms, key.as_deref(), Some(value));
    }
    builder.build()
}

/// One whole batch within a larger piece of bytes.
#[derive(Debug, Clone, Copy)]
pub struct Batch<'a> {
    raw: RawBatch<'a>,
    header: BatchHeader,
}

impl<'a> Batch<'a> {
    /// Offset of the first record.
    pub fn base_offset(&self) -> i64 {
        self.header.base_offset
    }

    /// Offset after the last record.
    pub fn next_offset(&self) -> i64 {
        self.header.next_offset()
    }

    /// Epoch of the leader that wrote it.
    pub fn epoch(&self) -> i32 {
        self.header.partition_leader_epoch
    }

    /// Time of its append, in ms.
    pub fn max_timestamp_ms(&self) -> i64 {
        self.header.max_timestamp
    }

    /// Whether it holds control records.
    pub fn is_control(&self) -> bool {
        self.header.is_control()
    }

    /// The whole batch.
    pub fn bytes(&self) -> &'a [u8] {
        self.raw.bytes
    }

    /// Keys and values in order; the metadata log has no compressed batches.
    pub fn records(&self) -> Result<Vec<KeyValueRef<'a>>, BatchError> {
        let error = BatchError::ControlRecord { base_offset: self.base_offset() };
        let pair =
            |record: batch::RecordRef<'a>| (record.key.unwrap_or_default(), record.value.unwrap_or_default());
        let records = self.raw.records().ok_or(error)?;
        records.map(|record| record.map(pair).map_err(|_| error)).collect()
    }
}

/// The whole batches of `input` in order, each with its checksum verified. An incomplete batch at the end is left
/// out, as a Fetch answer may carry one.
pub fn batches(input: &[u8]) -> impl Iterator<Item = Result<Batch<'_>, BatchError>> {
    batch::batches(input).map(|raw| {
        let raw = raw?;
        batch::verify_crc(raw.bytes)?;
        Ok(Batch { raw, header: raw.header()? })
    })
}

/// Checks that the batches follow `expected` without a gap, that their epochs never fall, from the first to the last of
/// `epochs`, and that their control records can be read; gives the length of the whole batches in bytes.
pub fn check_fetched(
    input: &[u8],
    mut expected: i64,
    epochs: RangeInclusive<i32>,
) -> Result<usize, BatchError> {
    let mut least = *epochs.start();
    let mut length = 0;
    for batch in batches(input) {
        let batch = batch?;
        let (base_offset, epoch) = (batch.base_offset(), batch.epoch());
        if base_offset != expected || batch.next_offset() <= expected {
            return Err(BatchError::Gap { expected, found: base_offset });
        }
        if epoch < least || epoch > *epochs.end() {
            return Err(BatchError::Epoch { base_offset, epoch });
        }
        least = epoch;
        if batch.is_control() {
            control::decode_batch(&batch)?;
        }
        expected = batch.next_offset();
        length += batch.bytes().len();
    }
    Ok(length)
}
