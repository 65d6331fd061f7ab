//! The records of a batch, where they lie.
//!
//! A record is: size (varint), attributes (unused), timestamp delta (varlong), offset delta (varint), key and value
//! (varint length, negative for null), number of headers (varint), and per header key (not null) and value.
//! Source: Kafka's `DefaultRecord`, whose checks are all made here.

use bytes::BufMut;

use super::builder::RecordData;
use super::varint::{put_varint, put_varlong, take_varint, take_varlong, varint_size, varlong_size};

/// What is wrong with the records of a batch; all are INVALID_RECORD.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordFormatError {
    /// The number of records is negative.
    #[error("Found invalid record count {0}")]
    Count(i32),
    /// The records end before there are as many as the header says.
    #[error("Incorrect declared batch size, premature EOF reached")]
    TooFew,
    /// There are more bytes than the records that the header counts.
    #[error("Incorrect declared batch size, records still remaining in file")]
    TooMany,
    /// A record is larger than what is left, or its size is negative.
    #[error("Invalid record size: expected {size} bytes in record payload, but only {left} remain")]
    Size {
        /// As declared.
        size: i32,
        /// Bytes that are left.
        left: usize,
    },
    /// A field does not fit into the record, or a number is too long.
    #[error("Found invalid record structure")]
    Structure,
    /// The number of headers is negative, or larger than the bytes that are left.
    #[error("Found invalid number of record headers {0}")]
    HeaderCount(i32),
    /// A header's key is null.
    #[error("Invalid negative header key size {0}")]
    HeaderKey(i32),
}

/// A record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordRef<'a> {
    /// Unused; producers send 0.
    pub attributes: i8,
    /// Added to the batch's base timestamp (ms).
    pub timestamp_delta: i64,
    /// Added to the batch's base offset.
    pub offset_delta: i32,
    /// The key; `None` is null.
    pub key: Option<&'a [u8]>,
    /// The value; `None` is null, a tombstone if there is a key.
    pub value: Option<&'a [u8]>,
    /// The headers.
    pub headers: Headers<'a>,
    /// Bytes of the record with its size field.
    pub size: usize,
}

/// The headers of a record; they were checked when the record was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Headers<'a> {
    left: usize,
    bytes: &'a [u8],
}

/// A header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeaderRef<'a> {
    /// The key; clients expect UTF-8, brokers do not check it.
    pub key: &'a [u8],
    /// The value; `None` is null.
    pub value: Option<&'a [u8]>,
}

impl<'a> Headers<'a> {
    /// Number of headers that are left.
    pub fn len(&self) -> usize {
        self.left
    }

    /// No headers.
    pub fn is_empty(&self) -> bool {
        self.left == 0
    }

    /// The headers as they are written, without their number.
    pub fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = HeaderRef<'a>;

    fn next(&mut self) -> Option<HeaderRef<'a>> {
        self.left = self.left.checked_sub(1)?;
        take_header(&mut self.bytes).ok()
    }
}

/// The records of a batch. Ends after an error; says so if there are too few or too many bytes.
#[derive(Debug, Clone)]
pub struct Records<'a> {
    left: i32,
    bytes: &'a [u8],
    failed: bool,
}

impl<'a> Records<'a> {
    /// `count` records in `bytes`, which are not compressed (any more).
    pub fn new(count: i32, bytes: &'a [u8]) -> Self {
        Records { left: count, bytes, failed: false }
    }

    fn step(&mut self) -> Result<Option<RecordRef<'a>>, RecordFormatError> {
        if self.left < 0 {
            return Err(RecordFormatError::Count(self.left));
        }
        if self.left == 0 {
            return if self.bytes.is_empty() { Ok(None) } else { Err(RecordFormatError::TooMany) };
        }
        self.left -= 1;
        if self.bytes.is_empty() {
            return Err(RecordFormatError::TooFew);
        }
        take_record(&mut self.bytes).map(Some)
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<RecordRef<'a>, RecordFormatError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let step = self.step();
        self.failed = step.is_err();
        step.transpose()
    }
}

/// Takes a record from the front of `bytes`, with all checks.
pub(super) fn take_record<'a>(bytes: &mut &'a [u8]) -> Result<RecordRef<'a>, RecordFormatError> {
    let before = bytes.len();
    let size = take_varint(bytes).ok_or(RecordFormatError::Structure)?;
    let left = bytes.len();
    let wrong = RecordFormatError::Size { size, left };
    let len = usize::try_from(size).map_err(|_| wrong)?;
    let (mut body, rest) = bytes.split_at_checked(len).ok_or(wrong)?;
    *bytes = rest;
    let record = take_body(&mut body, before - rest.len()).ok_or(RecordFormatError::Structure)?;
    let count = take_varint(&mut body).ok_or(RecordFormatError::Structure)?;
    let count = usize::try_from(count)
        .ok()
        .filter(|&n| n <= body.len())
        .ok_or(RecordFormatError::HeaderCount(count))?;
    let headers = Headers { left: count, bytes: body };
    for _ in 0..count {
        take_header(&mut body)?;
    }
    if !body.is_empty() {
        return Err(RecordFormatError::Structure);
    }
    Ok(RecordRef { headers, ..record })
}

/// Everything between the size and the headers.
fn take_body<'a>(body: &mut &'a [u8], size: usize) -> Option<RecordRef<'a>> {
    let (&attributes, rest) = body.split_first()?;
    *body = rest;
    Some(RecordRef {
        attributes: attributes.cast_signed(),
        timestamp_delta: take_varlong(body)?,
        offset_delta: take_varint(body)?,
        key: take_nullable(body)?,
        value: take_nullable(body)?,
        headers: Headers::default(),
        size,
    })
}

fn take_nullable<'a>(bytes: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let Ok(len) = usize::try_from(take_varint(bytes)?) else {
        return Some(None);
    };
    let (field, rest) = bytes.split_at_checked(len)?;
    *bytes = rest;
    Some(Some(field))
}

fn take_header<'a>(bytes: &mut &'a [u8]) -> Result<HeaderRef<'a>, RecordFormatError> {
    let len = take_varint(bytes).ok_or(RecordFormatError::Structure)?;
    let key_len = usize::try_from(len).map_err(|_| RecordFormatError::HeaderKey(len))?;
    let (key, rest) = bytes.split_at_checked(key_len).ok_or(RecordFormatError::Structure)?;
    *bytes = rest;
    let value = take_nullable(bytes).ok_or(RecordFormatError::Structure)?;
    Ok(HeaderRef { key, value })
}

/// Bytes that [`put_record`] appends.
pub fn record_size(offset_delta: i32, timestamp_delta: i64, record: &RecordData<'_>) -> usize {
    let body = body_size(offset_delta, timestamp_delta, record);
    varint_size(saturate(body)) + body
}

/// Appends a record. Lengths above 2^31-1 cannot be said and must not occur.
pub fn put_record(offset_delta: i32, timestamp_delta: i64, record: &RecordData<'_>, out: &mut impl BufMut) {
    put_varint(saturate(body_size(offset_delta, timestamp_delta, record)), out);
    out.put_i8(0);
    put_varlong(timestamp_delta, out);
    put_varint(offset_delta, out);
    put_nullable(record.key, out);
    put_nullable(record.value, out);
    put_varint(saturate(record.headers.len()), out);
    for (key, value) in record.headers {
        put_nullable(Some(key), out);
        put_nullable(*value, out);
    }
}

/// Appends a record that was read, under another offset and timestamp.
pub(super) fn put_record_ref(
    offset_delta: i32,
    timestamp_delta: i64,
    record: &RecordRef<'_>,
    out: &mut impl BufMut,
) {
    let data = RecordData { key: record.key, value: record.value, ..RecordData::default() };
    let headers = record.headers;
    let count = saturate(headers.len());
    let body = body_size(offset_delta, timestamp_delta, &data) - varint_size(0)
        + varint_size(count)
        + headers.as_bytes().len();
    put_varint(saturate(body), out);
    out.put_i8(0);
    put_varlong(timestamp_delta, out);
    put_varint(offset_delta, out);
    put_nullable(record.key, out);
    put_nullable(record.value, out);
    put_varint(count, out);
    out.put_slice(headers.as_bytes());
}

fn body_size(offset_delta: i32, timestamp_delta: i64, record: &RecordData<'_>) -> usize {
    let headers: usize =
        record.headers.iter().map(|(key, value)| nullable_size(Some(key)) + nullable_size(*value)).sum();
    1 + varlong_size(timestamp_delta)
        + varint_size(offset_delta)
        + nullable_size(record.key)
        + nullable_size(record.value)
        + varint_size(saturate(record.headers.len()))
        + headers
}

fn nullable_size(field: Option<&[u8]>) -> usize {
    field.map_or(varint_size(-1), |field| varint_size(saturate(field.len())) + field.len())
}

fn put_nullable(field: Option<&[u8]>, out: &mut impl BufMut) {
    match field {
        None => put_varint(-1, out),
        Some(field) => {
            put_varint(saturate(field.len()), out);
            out.put_slice(field);
        }
    }
}

fn saturate(len: usize) -> i32 {
    i32::try_from(len).unwrap_or(i32::MAX)
}
