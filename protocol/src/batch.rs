//! Record batches, format version 2: reading, checking, patching in place and building.
//!
//! ```text
//!   0 base offset      8 length      12 leader epoch   16 magic   17 CRC-32C of everything from 21 on
//!  21 attributes      23 last offset delta             27 base timestamp         35 max timestamp
//!  43 producer id     51 producer epoch                53 base sequence          57 record count
//!  61 records, compressed as one blob if the attributes name a codec
//! ```
//!
//! Base offset and leader epoch lie outside of the CRC: a leader sets both without computing it again.
//!
//! Invariants: nothing here copies or allocates, except [`BatchBuilder`] and [`RawBatch::open_records`] on a
//! compressed batch; no length or count is believed before the bytes are there. Batches of the formats 0 and 1 are
//! told apart ([`BatchError::Legacy`]) and passed through, never read further (KIP-724).
//! Source: Kafka's `DefaultRecordBatch`, `ByteBufferLogInputStream`.

mod builder;
mod record;
mod stream;
mod varint;

pub use builder::{BatchBuilder, RecordData};
pub use record::{HeaderRef, Headers, RecordFormatError, RecordRef, Records, put_record, record_size};
pub use stream::{RecordSkim, RecordStream, RecordStreamError};
pub use varint::{put_varint, put_varlong, varint_size, varlong_size};

use crate::compress::{self, Codec, DecompressError};

/// Bytes before the records.
pub const HEADER_SIZE: usize = 61;
/// Bytes that the length field does not count: itself and the base offset.
pub const LENGTH_OVERHEAD: usize = 12;
/// Bytes needed to tell size and magic of a batch of any format.
pub const PREFIX_SIZE: usize = 17;
/// Smallest batch of any format that the length field may announce.
const MIN_LENGTH: i32 = 14;
/// The format that is written.
pub const MAGIC: i8 = 2;

/// No producer id.
pub const NO_PRODUCER_ID: i64 = -1;
/// No producer epoch.
pub const NO_PRODUCER_EPOCH: i16 = -1;
/// No sequence number.
pub const NO_SEQUENCE: i32 = -1;
/// No timestamp.
pub const NO_TIMESTAMP: i64 = -1;
/// No leader epoch.
pub const NO_LEADER_EPOCH: i32 = -1;

const AT_LENGTH: usize = 8;
const AT_LEADER_EPOCH: usize = 12;
const AT_MAGIC: usize = 16;
const AT_CRC: usize = 17;
const AT_ATTRIBUTES: usize = 21;
const AT_MAX_TIMESTAMP: usize = 35;

const CODEC_MASK: i16 = 0x07;
const LOG_APPEND_TIME: i16 = 0x08;
const TRANSACTIONAL: i16 = 0x10;
const CONTROL: i16 = 0x20;
const DELETE_HORIZON: i16 = 0x40;

/// What is wrong with the bytes of a batch. All are CORRUPT_MESSAGE, except `Legacy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// Fewer bytes than a header has.
    #[error("record batch is corrupt: {0} bytes are fewer than its header")]
    TooShort(usize),
    /// The length field is too small for any batch, or for this format.
    #[error("record batch is corrupt: its size field says {0}")]
    Size(i32),
    /// There is no such format.
    #[error("record batch is corrupt: its magic is {0}")]
    Magic(i8),
    /// A batch of format 0 or 1, which only passes through.
    #[error("record batch has the old format {0}")]
    Legacy(i8),
    /// The bytes are not those that were sent.
    #[error("record is corrupt (stored crc = {stored}, computed crc = {computed})")]
    Crc {
        /// As stored.
        stored: u32,
        /// Of the bytes.
        computed: u32,
    },
}

/// Whose clock a batch's timestamps are from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TimestampType {
    /// The producer's.
    #[default]
    CreateTime,
    /// The leader's, one for the whole batch: its max timestamp.
    LogAppendTime,
}

/// The header of a batch of format 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of the first record.
    pub base_offset: i64,
    /// Bytes of the batch after this field.
    pub batch_length: i32,
    /// Epoch of the leader that appended it, -1 if unknown.
    pub partition_leader_epoch: i32,
    /// CRC-32C of the bytes from the attributes on.
    pub crc: u32,
    /// Codec and flags.
    pub attributes: i16,
    /// Last offset minus base offset; compaction leaves it as it was.
    pub last_offset_delta: i32,
    /// What the records' timestamp deltas are added to (ms); with a delete horizon that time.
    pub base_timestamp: i64,
    /// Largest timestamp (ms), or the append time.
    pub max_timestamp: i64,
    /// The producer, -1 if it is neither idempotent nor transactional.
    pub producer_id: i64,
    /// The producer's epoch, -1 without a producer id.
    pub producer_epoch: i16,
    /// Sequence number of the first record, -1 without one.
    pub base_sequence: i32,
    /// Number of records.
    pub records_count: i32,
}

impl BatchHeader {
    /// Reads the header at the front of `bytes`; the rest of the batch need not be there.
    pub fn parse(bytes: &[u8]) -> Result<BatchHeader, BatchError> {
        if bytes.len() < HEADER_SIZE {
            if bytes.len() >= PREFIX_SIZE {
                let (_, magic) = prefix(bytes)?;
                if magic != MAGIC {
                    return Err(BatchError::Legacy(magic));
                }
            }
            return Err(BatchError::TooShort(bytes.len()));
        }
        let (size, magic) = prefix(bytes)?;
        if magic != MAGIC {
            return Err(BatchError::Legacy(magic));
        }
        let batch_length = i32_at(bytes, AT_LENGTH);
        if size < HEADER_SIZE {
            return Err(BatchError::Size(batch_length));
        }
        Ok(BatchHeader {
            base_offset: i64_at(bytes, 0),
            batch_length,
            partition_leader_epoch: i32_at(bytes, AT_LEADER_EPOCH),
            crc: i32_at(bytes, AT_CRC).cast_unsigned(),
            attributes: i16_at(bytes, AT_ATTRIBUTES),
            last_offset_delta: i32_at(bytes, 23),
            base_timestamp: i64_at(bytes, 27),
            max_timestamp: i64_at(bytes, AT_MAX_TIMESTAMP),
            producer_id: i64_at(bytes, 43),
            producer_epoch: i16_at(bytes, 51),
            base_sequence: i32_at(bytes, 53),
            records_count: i32_at(bytes, 57),
        })
    }

    /// Bytes of the whole batch.
    pub fn size(&self) -> usize {
        LENGTH_OVERHEAD + self.batch_length.max(0).cast_unsigned() as usize
    }

    /// Offset of the last record.
    pub fn last_offset(&self) -> i64 {
        self.base_offset.wrapping_add(i64::from(self.last_offset_delta))
    }

    /// Offset after the last record.
    pub fn next_offset(&self) -> i64 {
        self.last_offset().wrapping_add(1)
    }

    /// How the records are compressed; `None` for a number without a meaning.
    pub fn codec(&self) -> Option<Codec> {
        Codec::from_id((self.attributes & CODEC_MASK) as u8)
    }

    /// Whose timestamps they are.
    pub fn timestamp_type(&self) -> TimestampType {
        if self.attributes & LOG_APPEND_TIME == 0 {
            TimestampType::CreateTime
        } else {
            TimestampType::LogAppendTime
        }
    }

    /// Part of a transaction (its markers, too).
    pub fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL != 0
    }

    /// Holds control records.
    pub fn is_control(&self) -> bool {
        self.attributes & CONTROL != 0
    }

    /// When compaction may drop the tombstones and markers in it (KIP-534), ms.
    pub fn delete_horizon_ms(&self) -> Option<i64> {
        (self.attributes & DELETE_HORIZON != 0).then_some(self.base_timestamp)
    }

    /// Sent by an idempotent or transactional producer.
    pub fn has_producer_id(&self) -> bool {
        self.producer_id > NO_PRODUCER_ID
    }

    /// Sequence number of the last record, -1 without one.
    pub fn last_sequence(&self) -> i32 {
        if self.base_sequence == NO_SEQUENCE {
            NO_SEQUENCE
        } else {
            increment_sequence(self.base_sequence, self.last_offset_delta)
        }
    }

    /// Timestamp of a record of this batch (ms).
    pub fn timestamp_of(&self, record: &RecordRef<'_>) -> i64 {
        self.timestamp_of_delta(record.timestamp_delta)
    }

    /// Timestamp of a record with this delta (ms).
    pub fn timestamp_of_delta(&self, timestamp_delta: i64) -> i64 {
        match self.timestamp_type() {
            TimestampType::CreateTime => self.base_timestamp.wrapping_add(timestamp_delta),
            TimestampType::LogAppendTime => self.max_timestamp,
        }
    }
}

/// Adds to a sequence number, which goes on at 0 after 2^31-1.
pub fn increment_sequence(sequence: i32, increment: i32) -> i32 {
    if sequence > i32::MAX.wrapping_sub(increment) {
        increment.wrapping_sub(i32::MAX.wrapping_sub(sequence)).wrapping_sub(1)
    } else {
        sequence.wrapping_add(increment)
    }
}

/// Subtracts from a sequence number: the inverse of [`increment_sequence`].
pub fn decrement_sequence(sequence: i32, decrement: i32) -> i32 {
    if sequence < decrement {
        i32::MAX.wrapping_sub(decrement.wrapping_sub(sequence)).wrapping_add(1)
    } else {
        sequence.wrapping_sub(decrement)
    }
}

/// A whole batch of any format, where it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawBatch<'a> {
    /// Where it begins in the bytes that were walked.
    pub position: usize,
    /// The batch.
    pub bytes: &'a [u8],
}

impl<'a> RawBatch<'a> {
    /// 0, 1 or 2.
    pub fn magic(&self) -> i8 {
        self.bytes[AT_MAGIC].cast_signed()
    }

    /// The header; [`BatchError::Legacy`] for the old formats.
    pub fn header(&self) -> Result<BatchHeader, BatchError> {
        BatchHeader::parse(self.bytes)
    }

    /// The records of an uncompressed batch; `None` if it is compressed or of an old format.
    pub fn records(&self) -> Option<Records<'a>> {
        let header = self.header().ok()?;
        (header.codec() == Some(Codec::None))
            .then(|| Records::new(header.records_count, &self.bytes[HEADER_SIZE..]))
    }

    /// The records of any batch of format 2: those of a compressed one are put into `scratch`, at most `limit` bytes.
    pub fn open_records<'s>(
        &self,
        limit: usize,
        scratch: &'s mut Vec<u8>,
    ) -> Result<Records<'s>, OpenRecordsError>
    where
        'a: 's,
    {
        let header = self.header()?;
        let body = &self.bytes[HEADER_SIZE..];
        let codec = header.codec().ok_or(DecompressError::Unsupported(header.attributes & CODEC_MASK))?;
        if codec == Codec::None {
            return Ok(Records::new(header.records_count, body));
        }
        scratch.clear();
        compress::decompress_into(codec, body, limit, scratch)?;
        Ok(Records::new(header.records_count, scratch))
    }
}

/// Why the records of a batch cannot be listed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenRecordsError {
    /// The header.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// The compressed records.
    #[error(transparent)]
    Decompress(#[from] DecompressError),
}

/// The whole batches of `bytes`, in order. A batch that is cut off at the end is left out: [`Batches::trailing`].
/// Sizes and magic are checked, CRCs are not. Ends after an error.
pub fn batches(bytes: &[u8]) -> Batches<'_> {
    Batches { bytes, position: 0, failed: false }
}

/// See [`batches`].
#[derive(Debug, Clone)]
pub struct Batches<'a> {
    bytes: &'a [u8],
    position: usize,
    failed: bool,
}

impl Batches<'_> {
    /// Where the next batch begins.
    pub fn position(&self) -> usize {
        self.position
    }

    /// Bytes that were not handed out yet; after the last batch those of a batch that was cut off.
    pub fn trailing(&self) -> usize {
        self.bytes.len() - self.position
    }
}

impl<'a> Iterator for Batches<'a> {
    type Item = Result<RawBatch<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let rest = &self.bytes[self.position..];
        match batch_size(rest) {
            Ok(Some(size)) if size <= rest.len() => {
                let batch = RawBatch { position: self.position, bytes: &rest[..size] };
                self.position += size;
                Some(Ok(batch))
            }
            Ok(_) => None,
            Err(error) => {
                self.failed = true;
                Some(Err(error))
            }
        }
    }
}

/// Size of the batch at the front of `bytes`, from its first [`PREFIX_SIZE`] bytes; `None` if they are not there.
pub fn batch_size(bytes: &[u8]) -> Result<Option<usize>, BatchError> {
    if bytes.len() >= LENGTH_OVERHEAD {
        let length = i32_at(bytes, AT_LENGTH);
        if length < MIN_LENGTH {
            return Err(BatchError::Size(length));
        }
    }
    if bytes.len() < PREFIX_SIZE {
        return Ok(None);
    }
    prefix(bytes).map(|(size, _)| Some(size))
}

/// Size and magic; `bytes` holds at least [`PREFIX_SIZE`].
fn prefix(bytes: &[u8]) -> Result<(usize, i8), BatchError> {
    let length = i32_at(bytes, AT_LENGTH);
    if length < MIN_LENGTH {
        return Err(BatchError::Size(length));
    }
    let magic = bytes[AT_MAGIC].cast_signed();
    if !(0..=MAGIC).contains(&magic) {
        return Err(BatchError::Magic(magic));
    }
    Ok((LENGTH_OVERHEAD + length.cast_unsigned() as usize, magic))
}

/// Checks the CRC of a whole batch of format 2, and that it is one.
pub fn verify_crc(batch: &[u8]) -> Result<(), BatchError> {
    let header = BatchHeader::parse(batch)?;
    if header.size() != batch.len() {
        return Err(BatchError::Size(header.batch_length));
    }
    let computed = compute_crc(batch);
    if computed == header.crc { Ok(()) } else { Err(BatchError::Crc { stored: header.crc, computed }) }
}

/// The CRC-32C that a batch should have.
///
/// Panics if `batch` is shorter than a header.
pub fn compute_crc(batch: &[u8]) -> u32 {
    crc_fast::crc32_iscsi(&batch[AT_ATTRIBUTES..])
}

/// Sets the base offset. The CRC stays right.
///
/// Panics, as the other patches do, if `batch` is shorter than a header.
pub fn patch_base_offset(batch: &mut [u8], base_offset: i64) {
    batch[..8].copy_from_slice(&base_offset.to_be_bytes());
}

/// Sets the leader epoch. The CRC stays right.
pub fn patch_leader_epoch(batch: &mut [u8], leader_epoch: i32) {
    batch[AT_LEADER_EPOCH..AT_LEADER_EPOCH + 4].copy_from_slice(&leader_epoch.to_be_bytes());
}

/// Sets timestamp type and max timestamp, and the CRC if that changed anything; returns whether it did.
pub fn patch_max_timestamp(batch: &mut [u8], timestamp_type: TimestampType, max_timestamp: i64) -> bool {
    let old = i16_at(batch, AT_ATTRIBUTES);
    let new = match timestamp_type {
        TimestampType::CreateTime => old & !LOG_APPEND_TIME,
        TimestampType::LogAppendTime => old | LOG_APPEND_TIME,
    };
    if old == new && i64_at(batch, AT_MAX_TIMESTAMP) == max_timestamp {
        return false;
    }
    // Bits without a meaning go, as in Kafka, which writes the attributes from what it knows.
    let new = new & (CODEC_MASK | LOG_APPEND_TIME | TRANSACTIONAL | CONTROL | DELETE_HORIZON);
    batch[AT_ATTRIBUTES..AT_ATTRIBUTES + 2].copy_from_slice(&new.to_be_bytes());
    batch[AT_MAX_TIMESTAMP..AT_MAX_TIMESTAMP + 8].copy_from_slice(&max_timestamp.to_be_bytes());
    patch_crc(batch);
    true
}

/// Computes and sets the CRC.
pub fn patch_crc(batch: &mut [u8]) {
    let crc = compute_crc(batch);
    batch[AT_CRC..AT_CRC + 4].copy_from_slice(&crc.to_be_bytes());
}

fn i16_at(bytes: &[u8], at: usize) -> i16 {
    i16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn i32_at(bytes: &[u8], at: usize) -> i32 {
    i32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn i64_at(bytes: &[u8], at: usize) -> i64 {
    let mut field = [0; 8];
    field.copy_from_slice(&bytes[at..at + 8]);
    i64::from_be_bytes(field)
}

#[cfg(test)]
mod tests;
