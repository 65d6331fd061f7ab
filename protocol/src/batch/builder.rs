//! Builds a batch record by record.

use bytes::{BufMut, BytesMut};

use super::record::{RecordRef, put_record, put_record_ref};
use super::{
    CONTROL, DELETE_HORIZON, HEADER_SIZE, LENGTH_OVERHEAD, LOG_APPEND_TIME, MAGIC, NO_LEADER_EPOCH,
    NO_PRODUCER_EPOCH, NO_PRODUCER_ID, NO_SEQUENCE, NO_TIMESTAMP, TRANSACTIONAL, patch_crc,
};
use crate::compress::{Codec, compress_into};

/// A record to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RecordData<'a> {
    /// The key; `None` is null.
    pub key: Option<&'a [u8]>,
    /// The value; `None` is null.
    pub value: Option<&'a [u8]>,
    /// Key and nullable value of each header.
    pub headers: &'a [(&'a [u8], Option<&'a [u8]>)],
}

/// Builds one batch. The first record's timestamp is the base that the others refer to.
///
/// Not checked: that offsets rise, that the records fit into 2^31-1 bytes.
#[derive(Debug, Clone)]
pub struct BatchBuilder {
    base_offset: i64,
    leader_epoch: i32,
    codec: Codec,
    level: Option<i32>,
    flags: i16,
    producer_id: i64,
    producer_epoch: i16,
    base_sequence: i32,
    append_time: Option<i64>,
    base_timestamp: Option<i64>,
    max_timestamp: i64,
    last_offset_delta: Option<i32>,
    next_offset_delta: i32,
    count: i32,
    /// Room for the header, then the records, not compressed.
    bytes: BytesMut,
}

impl Default for BatchBuilder {
    fn default() -> Self {
        BatchBuilder::new(0)
    }
}

impl BatchBuilder {
    /// An uncompressed batch of no producer, without a leader epoch, whose first offset is `base_offset`.
    pub fn new(base_offset: i64) -> Self {
        let mut bytes = BytesMut::with_capacity(256);
        bytes.put_bytes(0, HEADER_SIZE);
        BatchBuilder {
            base_offset,
            leader_epoch: NO_LEADER_EPOCH,
            codec: Codec::None,
            level: None,
            flags: 0,
            producer_id: NO_PRODUCER_ID,
            producer_epoch: NO_PRODUCER_EPOCH,
            base_sequence: NO_SEQUENCE,
            append_time: None,
            base_timestamp: None,
            max_timestamp: NO_TIMESTAMP,
            last_offset_delta: None,
            next_offset_delta: 0,
            count: 0,
            bytes,
        }
    }

    /// Sets the leader epoch.
    pub fn leader_epoch(mut self, leader_epoch: i32) -> Self {
        self.leader_epoch = leader_epoch;
        self
    }

    /// Sets the codec and its level; `None` is Kafka's default level.
    pub fn codec(mut self, codec: Codec, level: Option<i32>) -> Self {
        (self.codec, self.level) = (codec, level);
        self
    }

    /// Sets the producer.
    pub fn producer(mut self, producer_id: i64, producer_epoch: i16, base_sequence: i32) -> Self {
        (self.producer_id, self.producer_epoch, self.base_sequence) =
            (producer_id, producer_epoch, base_sequence);
        self
    }

    /// Makes it part of a transaction.
    pub fn transactional(mut self, transactional: bool) -> Self {
        self.flags = if transactional { self.flags | TRANSACTIONAL } else { self.flags & !TRANSACTIONAL };
        self
    }

    /// Makes it a batch of control records.
    pub fn control(mut self) -> Self {
        self.flags |= CONTROL;
        self
    }

    /// Stamps it with the append time (ms) instead of the records' timestamps.
    pub fn append_time(mut self, now_ms: i64) -> Self {
        self.flags |= LOG_APPEND_TIME;
        self.append_time = Some(now_ms);
        self
    }

    /// Sets the delete horizon (ms), which becomes the base timestamp. Before the first record.
    pub fn delete_horizon(mut self, horizon_ms: i64) -> Self {
        self.flags |= DELETE_HORIZON;
        self.base_timestamp = Some(horizon_ms);
        self
    }

    /// Sets the last offset, for a batch whose last records are missing (compaction).
    pub fn last_offset(mut self, last_offset: i64) -> Self {
        self.last_offset_delta = Some((last_offset - self.base_offset) as i32);
        self
    }

    /// Sets the largest timestamp of records that are missing (compaction); those that come count too.
    pub fn max_timestamp(mut self, timestamp: i64) -> Self {
        self.max_timestamp = timestamp;
        self
    }

    /// Appends a record at the next offset.
    pub fn push(&mut self, timestamp: i64, record: &RecordData<'_>) -> &mut Self {
        let delta = self.begin(self.next_offset_delta, timestamp);
        put_record(self.next_offset_delta - 1, delta, record, &mut self.bytes);
        self
    }

    /// Appends a record with key and value and no headers at the next offset.
    pub fn push_pair(&mut self, timestamp: i64, key: Option<&[u8]>, value: Option<&[u8]>) -> &mut Self {
        self.push(timestamp, &RecordData { key, value, headers: &[] })
    }

    /// Appends a record at `offset`, which must be above that of the record before.
    pub fn push_at(&mut self, offset: i64, timestamp: i64, record: &RecordData<'_>) -> &mut Self {
        let offset_delta = (offset - self.base_offset) as i32;
        let delta = self.begin(offset_delta, timestamp);
        put_record(offset_delta, delta, record, &mut self.bytes);
        self
    }

    /// Appends a record that was read, at the next offset, with this timestamp.
    pub fn push_copy(&mut self, timestamp: i64, record: &RecordRef<'_>) -> &mut Self {
        let delta = self.begin(self.next_offset_delta, timestamp);
        put_record_ref(self.next_offset_delta - 1, delta, record, &mut self.bytes);
        self
    }

    /// Appends a record that was read, at `offset`, which must be above that of the record before.
    pub fn push_copy_at(&mut self, offset: i64, timestamp: i64, record: &RecordRef<'_>) -> &mut Self {
        let offset_delta = (offset - self.base_offset) as i32;
        let delta = self.begin(offset_delta, timestamp);
        put_record_ref(offset_delta, delta, record, &mut self.bytes);
        self
    }

    /// Number of records so far.
    pub fn count(&self) -> i32 {
        self.count
    }

    /// Bytes of the batch so far, not compressed.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// No records yet.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The batch.
    pub fn build(mut self) -> BytesMut {
        if self.codec != Codec::None {
            let mut packed = BytesMut::with_capacity(HEADER_SIZE + self.bytes.len() / 2);
            packed.put_bytes(0, HEADER_SIZE);
            compress_into(self.codec, self.level, &self.bytes[HEADER_SIZE..], &mut packed);
            self.bytes = packed;
        }
        self.put_header();
        patch_crc(&mut self.bytes);
        self.bytes
    }

    /// Notes a record; returns its timestamp delta.
    fn begin(&mut self, offset_delta: i32, timestamp: i64) -> i64 {
        let base = *self.base_timestamp.get_or_insert(timestamp);
        self.max_timestamp = self.max_timestamp.max(timestamp);
        self.next_offset_delta = offset_delta.saturating_add(1);
        self.count += 1;
        timestamp.wrapping_sub(base)
    }

    fn put_header(&mut self) {
        let length = i32::try_from(self.bytes.len() - LENGTH_OVERHEAD).unwrap_or(i32::MAX);
        let last_offset_delta = self.last_offset_delta.unwrap_or(self.next_offset_delta - 1);
        let mut header = &mut self.bytes[..HEADER_SIZE];
        header.put_i64(self.base_offset);
        header.put_i32(length);
        header.put_i32(self.leader_epoch);
        header.put_i8(MAGIC);
        header.put_u32(0);
        header.put_i16(self.flags | i16::from(self.codec.id()));
        header.put_i32(last_offset_delta);
        header.put_i64(self.base_timestamp.unwrap_or(NO_TIMESTAMP));
        header.put_i64(self.append_time.unwrap_or(self.max_timestamp));
        header.put_i64(self.producer_id);
        header.put_i16(self.producer_epoch);
        header.put_i32(self.base_sequence);
        header.put_i32(self.count);
    }
}
