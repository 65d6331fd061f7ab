//! Record batches as the metadata log has them: magic 2, uncompressed, no producer, all timestamps equal.
//!
//! One batch is one atomic unit. Readers check what Apache's reader checks for framing: whole batches, CRC32C.

use bytes::{BufMut, Bytes, BytesMut};

/// Largest batch that the metadata log takes.
pub const MAX_BATCH_BYTES: usize = 8 * 1024 * 1024;

const HEADER_BYTES: usize = 61;
/// Offset and length fields, which `batchLength` does not count.
const PREFIX_BYTES: usize = 12;
const CRC_START: usize = 21;
const CONTROL_ATTRIBUTE: i16 = 0x20;
const COMPRESSION_MASK: i16 = 0x07;

/// Bytes that are no valid piece of a metadata log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// A length field does not fit the bytes.
    #[error("malformed batch at position {position}")]
    Malformed {
        /// Byte position of the batch in the input.
        position: usize,
    },
    /// The checksum does not fit the bytes.
    #[error("wrong checksum in the batch at offset {base_offset}")]
    WrongCrc {
        /// Base offset of the batch.
        base_offset: i64,
    },
    /// A batch does not start where the one before it ended.
    #[error("batch at offset {found} where {expected} was expected")]
    Gap {
        /// Offset that should come next.
        expected: i64,
        /// Base offset that came.
        found: i64,
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
    let mut out = BytesMut::with_capacity(HEADER_BYTES + records.iter().map(record_bound).sum::<usize>());
    out.put_i64(base_offset);
    out.put_i32(0);
    out.put_i32(epoch);
    out.put_i8(2);
    out.put_u32(0);
    out.put_i16(if control { CONTROL_ATTRIBUTE } else { 0 });
    out.put_i32(records.len() as i32 - 1);
    out.put_i64(timestamp_ms);
    out.put_i64(timestamp_ms);
    out.put_i64(-1);
    out.put_i16(-1);
    out.put_i32(-1);
    out.put_i32(records.len() as i32);
    let mut body = BytesMut::new();
    for (delta, (key, value)) in records.iter().enumerate() {
        body.clear();
        body.put_i8(0);
        put_varint(&mut body, 0);
        put_varint(&mut body, delta as i64);
        put_varint(&mut body, key.as_ref().map_or(-1, |key| key.len() as i64));
        body.put_slice(key.as_deref().unwrap_or_default());
        put_varint(&mut body, value.len() as i64);
        body.put_slice(value);
        put_varint(&mut body, 0);
        put_varint(&mut out, body.len() as i64);
        out.put_slice(&body);
    }
    let length = (out.len() - PREFIX_BYTES) as i32;
    out[8..12].copy_from_slice(&length.to_be_bytes());
    let crc = crc32c(&out[CRC_START..]);
    out[17..21].copy_from_slice(&crc.to_be_bytes());
    out
}

/// An upper bound of the size of a batch with these records.
pub fn size_bound(records: &[KeyValue]) -> usize {
    HEADER_BYTES + records.iter().map(record_bound).sum::<usize>()
}

fn record_bound((key, value): &KeyValue) -> usize {
    key.as_ref().map_or(0, Bytes::len) + value.len() + 24
}

/// One whole batch within a larger piece of bytes.
#[derive(Debug, Clone, Copy)]
pub struct Batch<'a> {
    bytes: &'a [u8],
}

impl<'a> Batch<'a> {
    /// Offset of the first record.
    pub fn base_offset(&self) -> i64 {
        i64::from_be_bytes(self.array(0))
    }

    /// Offset after the last record.
    pub fn next_offset(&self) -> i64 {
        self.base_offset() + i64::from(i32::from_be_bytes(self.array(23))) + 1
    }

    /// Epoch of the leader that wrote it.
    pub fn epoch(&self) -> i32 {
        i32::from_be_bytes(self.array(12))
    }

    /// Time of its append, in ms.
    pub fn max_timestamp_ms(&self) -> i64 {
        i64::from_be_bytes(self.array(35))
    }

    /// Whether it holds control records.
    pub fn is_control(&self) -> bool {
        self.attributes() & CONTROL_ATTRIBUTE != 0
    }

    /// The whole batch.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Keys and values of an uncompressed batch in order; a null key or value is an empty slice.
    pub fn records(&self) -> Result<Vec<KeyValueRef<'a>>, BatchError> {
        let error = BatchError::ControlRecord { base_offset: self.base_offset() };
        if self.attributes() & COMPRESSION_MASK != 0 {
            return Err(error);
        }
        let mut input = &self.bytes[HEADER_BYTES..];
        let mut records = Vec::new();
        while !input.is_empty() {
            records.push(read_record(&mut input).ok_or(error)?);
        }
        Ok(records)
    }

    fn attributes(&self) -> i16 {
        i16::from_be_bytes(self.array(21))
    }

    fn array<const N: usize>(&self, at: usize) -> [u8; N] {
        let mut array = [0; N];
        array.copy_from_slice(&self.bytes[at..at + N]);
        array
    }
}

/// The whole batches of `input` in order, each with its checksum verified. An incomplete batch at the end is left
/// out, as a Fetch answer may carry one.
pub fn batches(input: &[u8]) -> impl Iterator<Item = Result<Batch<'_>, BatchError>> {
    let mut position = 0;
    std::iter::from_fn(move || {
        let rest = &input[position..];
        if rest.len() < PREFIX_BYTES {
            return None;
        }
        let length = i32::from_be_bytes([rest[8], rest[9], rest[10], rest[11]]);
        let Some(total) = usize::try_from(length).ok().map(|length| length + PREFIX_BYTES) else {
            position = input.len();
            return Some(Err(BatchError::Malformed { position }));
        };
        if total > rest.len() {
            return None;
        }
        let at = position;
        position += total;
        Some(checked(&rest[..total], at))
    })
}

/// Checks that the batches follow `expected` without a gap; gives the length of the whole batches in bytes and
/// the offset after them.
pub fn check_contiguous(input: &[u8], mut expected: i64) -> Result<(usize, i64), BatchError> {
    let mut length = 0;
    for batch in batches(input) {
        let batch = batch?;
        if batch.base_offset() != expected || batch.next_offset() <= expected {
            return Err(BatchError::Gap { expected, found: batch.base_offset() });
        }
        expected = batch.next_offset();
        length += batch.bytes.len();
    }
    Ok((length, expected))
}

fn checked(bytes: &[u8], position: usize) -> Result<Batch<'_>, BatchError> {
    if bytes.len() < HEADER_BYTES || bytes[16] != 2 {
        return Err(BatchError::Malformed { position });
    }
    let batch = Batch { bytes };
    if crc32c(&bytes[CRC_START..]) != u32::from_be_bytes(batch.array(17)) {
        return Err(BatchError::WrongCrc { base_offset: batch.base_offset() });
    }
    Ok(batch)
}

fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, bytes) as u32
}

fn read_record<'a>(input: &mut &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
    let length = usize::try_from(read_varint(input)?).ok()?;
    let mut record = take(input, length)?;
    take(&mut record, 1)?;
    read_varint(&mut record)?;
    read_varint(&mut record)?;
    let mut field = || -> Option<&'a [u8]> {
        let length = read_varint(&mut record)?;
        take(&mut record, usize::try_from(length.max(0)).ok()?)
    };
    Some((field()?, field()?))
}

fn take<'a>(input: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (head, tail) = input.split_at_checked(length)?;
    *input = tail;
    Some(head)
}

fn put_varint(out: &mut BytesMut, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        out.put_u8(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.put_u8(rest as u8);
}

fn read_varint(input: &mut &[u8]) -> Option<i64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, tail) = input.split_first()?;
        *input = tail;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((value >> 1) as i64 ^ -((value & 1) as i64));
        }
    }
    None
}
