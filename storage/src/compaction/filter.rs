//! What of a batch stays: record by record, and the batch as a whole. Pure.
//!
//! A record stays if no later one has its key. A tombstone stays until the delete horizon of its batch, which the
//! first cleaning that meets it sets (KIP-534); likewise a marker, from when the last data of its transaction is gone.
//! Aborted data goes at once, as do records without a key. A batch that lost records keeps base offset, last offset,
//! producer, sequence and codec. One that lost all of them stays as a header without records if it is the last of an
//! active producer (its sequence and epoch are needed) or the last one below the bound (its offset is).
//! Source: Kafka's `Cleaner`, `MemoryRecords.filterTo`.

use std::collections::HashMap;

use bytes::BytesMut;
use protocol::batch::{BatchBuilder, BatchHeader, RawBatch, RecordRef, TimestampType};
use protocol::compress::{LOG_RATIO, max_decompressed};

use super::offset_map::OffsetMap;
use super::transactions::{Marker, Transactions};
use crate::producer_state::marker::EndTxn;
use crate::txn_index::AbortedTxn;

/// The last thing that an active producer wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LastOfProducer {
    /// Last offset of its last batch; `None` if a marker came later.
    pub(crate) last_data_offset: Option<i64>,
    pub(crate) producer_epoch: i16,
}

/// The rules of one cleaning.
#[derive(Debug)]
pub(crate) struct Rules<'a> {
    pub(crate) map: &'a OffsetMap,
    pub(crate) producers: &'a HashMap<i64, LastOfProducer>,
    /// What begins here is not cleaned.
    pub(crate) upper_bound: i64,
    pub(crate) now_ms: i64,
    /// `delete.retention.ms`.
    pub(crate) delete_retention_ms: i64,
}

/// What becomes of a batch.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It stays as it is.
    Keep,
    /// It stays with other content.
    Rewrite(BytesMut),
    /// It goes.
    Drop,
}

/// What was found out about a batch before its records.
#[derive(Debug, Clone, Copy)]
struct Verdict {
    /// None of the records stays.
    discard: bool,
    /// The batch stays without records.
    keep_empty: bool,
    /// It has a marker that waits for its horizon.
    idle_marker: bool,
}

impl Rules<'_> {
    /// Decides on the next batch of a walk; the aborted transaction is one whose index entry stays. An error says why
    /// the batch cannot be read.
    pub(crate) fn batch(
        &self,
        header: &BatchHeader,
        batch: &RawBatch<'_>,
        transactions: &mut Transactions,
        scratch: &mut Vec<u8>,
    ) -> Result<(Outcome, Option<AbortedTxn>), String> {
        let (verdict, txn) = self.judge(header, batch, transactions);
        let mut kept = Vec::new();
        let mut all = true;
        let mut tombstones = false;
        if verdict.discard {
            all = false;
        } else {
            let records = batch.open_records(max_decompressed(batch.bytes.len(), LOG_RATIO), scratch);
            for record in records.map_err(|e| e.to_string())? {
                let record = record.map_err(|e| e.to_string())?;
                if header.is_control() || self.keeps(header, &record) {
                    tombstones |= record.value.is_none();
                    kept.push(record);
                } else {
                    all = false;
                }
            }
        }
        if kept.is_empty() {
            let outcome = if verdict.keep_empty { empty(header, batch) } else { Outcome::Drop };
            return Ok((outcome, txn));
        }
        let new_horizon = (tombstones || verdict.idle_marker) && header.delete_horizon_ms().is_none();
        if all && !new_horizon {
            return Ok((Outcome::Keep, txn));
        }
        let horizon = if new_horizon {
            Some(self.now_ms.saturating_add(self.delete_retention_ms))
        } else {
            header.delete_horizon_ms()
        };
        Ok((Outcome::Rewrite(rebuild(header, horizon, &kept)), txn))
    }

    fn judge(
        &self,
        header: &BatchHeader,
        batch: &RawBatch<'_>,
        transactions: &mut Transactions,
    ) -> (Verdict, Option<AbortedTxn>) {
        let mut txn = None;
        let (mut discard, mut idle_marker) = (false, false);
        if header.is_control() {
            let marker = match EndTxn::of(header, batch) {
                Ok(marker) => transactions.on_marker(header, marker.map(|marker| marker.aborted)),
                // A control record of another kind.
                Err(_) => Marker::Needed,
            };
            if let Marker::NeededAborted(aborted) = marker {
                txn = Some(aborted);
            }
            idle_marker = marker == Marker::Idle;
            discard = idle_marker && header.delete_horizon_ms().is_some_and(|at| at <= self.now_ms);
        } else if transactions.on_data(header) {
            discard = true;
        }
        let keep_empty = self.is_last_of_producer(header) || header.next_offset() == self.upper_bound;
        (Verdict { discard, keep_empty, idle_marker }, txn)
    }

    fn is_last_of_producer(&self, header: &BatchHeader) -> bool {
        header.has_producer_id()
            && self.producers.get(&header.producer_id).is_some_and(|last| match last.last_data_offset {
                Some(offset) => header.last_offset() == offset,
                None => header.is_control() && header.producer_epoch == last.producer_epoch,
            })
    }

    fn keeps(&self, header: &BatchHeader, record: &RecordRef<'_>) -> bool {
        let offset = header.base_offset + i64::from(record.offset_delta);
        if offset > self.map.latest_offset() {
            return true;
        }
        let Some(key) = record.key else { return false };
        let is_latest = self.map.get(key).is_none_or(|latest| offset >= latest);
        let expired = || header.delete_horizon_ms().is_some_and(|at| at <= self.now_ms);
        is_latest && (record.value.is_some() || !expired())
    }
}

fn builder(header: &BatchHeader) -> BatchBuilder {
    let builder = BatchBuilder::new(header.base_offset)
        .last_offset(header.last_offset())
        .leader_epoch(header.partition_leader_epoch)
        .producer(header.producer_id, header.producer_epoch, header.base_sequence)
        .transactional(header.is_transactional());
    let builder = if header.is_control() { builder.control() } else { builder };
    match header.timestamp_type() {
        TimestampType::CreateTime => builder,
        TimestampType::LogAppendTime => builder.append_time(header.max_timestamp),
    }
}

fn rebuild(header: &BatchHeader, horizon_ms: Option<i64>, records: &[RecordRef<'_>]) -> BytesMut {
    let mut builder = builder(header);
    if let Some(codec) = header.codec() {
        builder = builder.codec(codec, None);
    }
    if let Some(horizon_ms) = horizon_ms {
        builder = builder.delete_horizon(horizon_ms);
    }
    for record in records {
        let offset = header.base_offset + i64::from(record.offset_delta);
        builder.push_copy_at(offset, header.timestamp_of(record), record);
    }
    builder.build()
}

/// The header alone.
fn empty(header: &BatchHeader, batch: &RawBatch<'_>) -> Outcome {
    let bytes = builder(header).max_timestamp(header.max_timestamp).build();
    if bytes == batch.bytes { Outcome::Keep } else { Outcome::Rewrite(bytes) }
}
