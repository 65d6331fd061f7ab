//! The records of a compressed batch without their contents, read while they are decompressed.
//!
//! Memory is one piece of decompressed bytes, however large the records are. The checks are those of
//! [`super::Records`].

use super::record::{RecordFormatError, take_record};
use super::varint::{MAX_VARINT, MAX_VARLONG, take_varint, unzigzag, unzigzag32};
use crate::compress::{DecompressError, Pieces};

/// What is told of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordSkim {
    /// Unused; producers send 0. Bits 0 to 2 were a codec in old formats and must not be set within a compressed batch.
    pub attributes: i8,
    /// Added to the batch's base timestamp (ms).
    pub timestamp_delta: i64,
    /// Added to the batch's base offset.
    pub offset_delta: i32,
    /// The key is not null.
    pub has_key: bool,
    /// Bytes of the record with its size field.
    pub size: usize,
}

/// What is wrong with compressed records.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordStreamError {
    /// A record.
    #[error(transparent)]
    Record(#[from] RecordFormatError),
    /// What holds them.
    #[error(transparent)]
    Decompress(#[from] DecompressError),
}

/// Reads records one by one. The number of records is the caller's to count: at the end of the batch it must find
/// [`RecordStream::at_end`].
#[derive(Debug)]
pub struct RecordStream<'p, 'd> {
    pieces: &'p mut Pieces<'d>,
    /// Bytes taken so far.
    taken: u64,
    /// Of the current record.
    body_left: u64,
}

impl<'p, 'd> RecordStream<'p, 'd> {
    /// The records that `pieces` hold.
    pub fn new(pieces: &'p mut Pieces<'d>) -> Self {
        RecordStream { pieces, taken: 0, body_left: 0 }
    }

    /// Whether nothing is left.
    pub fn at_end(&mut self) -> Result<bool, DecompressError> {
        Ok(self.pieces.peek()?.is_empty())
    }

    /// The next record.
    pub fn next_record(&mut self) -> Result<RecordSkim, RecordStreamError> {
        let piece = self.pieces.peek()?;
        if piece.is_empty() {
            return Err(RecordFormatError::TooFew.into());
        }
        let mut body = piece;
        let size = take_varint(&mut body).and_then(|size| usize::try_from(size).ok());
        if size.is_none_or(|size| size > body.len()) {
            return self.next_across_pieces();
        }
        let record = take_record(&mut { piece })?;
        let skim = RecordSkim {
            attributes: record.attributes,
            timestamp_delta: record.timestamp_delta,
            offset_delta: record.offset_delta,
            has_key: record.key.is_some(),
            size: record.size,
        };
        self.taken += skim.size as u64;
        self.pieces.consume(skim.size);
        Ok(skim)
    }

    /// The next record, byte by byte, since it may not lie within one piece.
    fn next_across_pieces(&mut self) -> Result<RecordSkim, RecordStreamError> {
        let start = self.taken;
        self.body_left = u64::from(MAX_VARINT);
        let size = unzigzag32(self.varint(MAX_VARINT)?);
        self.body_left = u64::try_from(size).map_err(|_| RecordFormatError::Size { size, left: 0 })?;
        let attributes = self.byte()?.cast_signed();
        let timestamp_delta = unzigzag(self.varint(MAX_VARLONG)?);
        let offset_delta = unzigzag32(self.varint(MAX_VARINT)?);
        let has_key = self.skip_field()?;
        self.skip_field()?;
        let count = unzigzag32(self.varint(MAX_VARINT)?);
        if u64::try_from(count).map_or(true, |n| n > self.body_left) {
            return Err(RecordFormatError::HeaderCount(count).into());
        }
        for _ in 0..count {
            let key_size = unzigzag32(self.varint(MAX_VARINT)?);
            let key_size = u64::try_from(key_size).map_err(|_| RecordFormatError::HeaderKey(key_size))?;
            self.skip(key_size)?;
            self.skip_field()?;
        }
        if self.body_left != 0 {
            return Err(RecordFormatError::Structure.into());
        }
        let size = (self.taken - start) as usize;
        Ok(RecordSkim { attributes, timestamp_delta, offset_delta, has_key, size })
    }

    /// Skips a nullable field; whether it is not null.
    fn skip_field(&mut self) -> Result<bool, RecordStreamError> {
        match u64::try_from(unzigzag32(self.varint(MAX_VARINT)?)) {
            Ok(len) => self.skip(len).map(|()| true),
            Err(_) => Ok(false),
        }
    }

    fn varint(&mut self, max: u32) -> Result<u64, RecordStreamError> {
        let mut value = 0u64;
        for i in 0..max {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f).wrapping_shl(7 * i);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(RecordFormatError::Structure.into())
    }

    #[inline]
    fn byte(&mut self) -> Result<u8, RecordStreamError> {
        self.body_left = self.body_left.checked_sub(1).ok_or(RecordFormatError::Structure)?;
        let byte = *self.pieces.peek()?.first().ok_or(RecordFormatError::TooFew)?;
        self.pieces.consume(1);
        self.taken += 1;
        Ok(byte)
    }

    fn skip(&mut self, len: u64) -> Result<(), RecordStreamError> {
        self.body_left = self.body_left.checked_sub(len).ok_or(RecordFormatError::Structure)?;
        self.taken += len;
        let mut left = len;
        while left > 0 {
            let there = self.pieces.peek()?.len();
            if there == 0 {
                return Err(RecordFormatError::TooFew.into());
            }
            let step = left.min(there as u64);
            self.pieces.consume(step as usize);
            left -= step;
        }
        Ok(())
    }
}
