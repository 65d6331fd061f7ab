//! The checks of one append, producer by producer (Kafka's `ProducerAppendInfo`).

use protocol::batch::{BatchHeader, NO_PRODUCER_EPOCH, NO_SEQUENCE, RawBatch};

use super::marker::EndTxn;
use super::{BatchMetadata, ProducerEntry, ProducerError, Verification};
use crate::log::AppendOrigin;

/// A checked change; see [`super::ProducerStates::commit`].
#[derive(Debug, Default)]
#[must_use = "the append is not known before it is committed"]
pub struct ProducerUpdate {
    pub(super) appends: Vec<AppendState>,
    pub(super) completed: Vec<CompletedTxn>,
}

/// A transaction that a marker ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct CompletedTxn {
    pub(super) producer_id: i64,
    pub(super) first_offset: i64,
    pub(super) last_offset: i64,
    pub(super) aborted: bool,
}

/// What an append does to a producer.
#[derive(Debug)]
pub(super) struct AppendState {
    pub(super) producer_id: i64,
    /// The new state, with only the new batches.
    pub(super) entry: ProducerEntry,
    /// First offsets of transactions that it begins.
    pub(super) started: Vec<i64>,
    /// One of its batches is part of a transaction, or its end.
    pub(super) transactional: bool,
    /// Before the append.
    known_epoch: i16,
    known_last_sequence: i32,
    verification: Option<Verification>,
    /// `None` for what is in the log already.
    origin: Option<AppendOrigin>,
}

impl AppendState {
    pub(super) fn new(
        producer_id: i64,
        current: Option<&ProducerEntry>,
        verification: Option<Verification>,
        origin: Option<AppendOrigin>,
    ) -> Self {
        let current = current.copied().unwrap_or_else(ProducerEntry::empty);
        AppendState {
            producer_id,
            entry: ProducerEntry { retained: 0, ..current },
            started: Vec::new(),
            transactional: false,
            known_epoch: current.producer_epoch,
            known_last_sequence: current.last_sequence(),
            verification,
            origin,
        }
    }

    /// Checks a batch and adds it; returns the transaction that it ends.
    pub(super) fn append(
        &mut self,
        header: &BatchHeader,
        batch: &RawBatch<'_>,
    ) -> Result<Option<CompletedTxn>, ProducerError> {
        self.transactional |= header.is_transactional();
        if header.is_control() {
            // Without records the whole transaction was compacted away.
            return match EndTxn::of(header, batch)? {
                Some(marker) => self.append_marker(header, &marker),
                None => Ok(None),
            };
        }
        self.append_data(header)?;
        Ok(None)
    }

    fn append_data(&mut self, header: &BatchHeader) -> Result<(), ProducerError> {
        self.check_epoch(header)?;
        if self.origin == Some(AppendOrigin::Client) {
            self.check_sequence(header)?;
        }
        let offset = header.base_offset;
        match self.entry.current_txn_first_offset {
            Some(_) if !header.is_transactional() && self.origin.is_some() => {
                let reason = "Expected transactional write";
                return Err(ProducerError::TxnState { producer_id: self.producer_id, offset, reason });
            }
            None if header.is_transactional() => {
                self.entry.current_txn_first_offset = Some(offset);
                self.started.push(offset);
            }
            _ => {}
        }
        self.entry.set_epoch(header.producer_epoch);
        self.entry.push(BatchMetadata {
            last_sequence: header.last_sequence(),
            last_offset: header.last_offset(),
            offset_delta: header.last_offset_delta,
            timestamp: header.max_timestamp,
        });
        self.entry.last_timestamp = header.max_timestamp;
        Ok(())
    }

    fn append_marker(
        &mut self,
        header: &BatchHeader,
        marker: &EndTxn,
    ) -> Result<Option<CompletedTxn>, ProducerError> {
        self.check_epoch(header)?;
        let (producer_id, offset) = (self.producer_id, header.base_offset);
        let current = self.entry.coordinator_epoch;
        if marker.coordinator_epoch < current && self.origin.is_some() {
            let epoch = marker.coordinator_epoch;
            return Err(ProducerError::CoordinatorFenced { producer_id, offset, epoch, current });
        }
        // A marker without data has no effect on the last stable offset.
        let completed = self.entry.current_txn_first_offset.map(|first_offset| CompletedTxn {
            producer_id,
            first_offset,
            last_offset: offset,
            aborted: marker.aborted,
        });
        self.entry.set_epoch(header.producer_epoch);
        self.entry.coordinator_epoch = marker.coordinator_epoch;
        self.entry.current_txn_first_offset = None;
        self.entry.last_timestamp = marker.timestamp;
        Ok(completed)
    }

    fn check_epoch(&self, header: &BatchHeader) -> Result<(), ProducerError> {
        let (epoch, current) = (header.producer_epoch, self.entry.producer_epoch);
        if epoch < current && self.origin.is_some() {
            let (producer_id, offset) = (self.producer_id, header.base_offset);
            return Err(ProducerError::Epoch { producer_id, offset, epoch, current });
        }
        Ok(())
    }

    fn check_sequence(&self, header: &BatchHeader) -> Result<(), ProducerError> {
        let sequence = header.base_sequence;
        let out_of_order = |expected_after, meaning| {
            let (producer_id, offset) = (self.producer_id, header.base_offset);
            Err(ProducerError::Sequence { producer_id, offset, sequence, expected_after, meaning })
        };
        if let Some(verification) = self.verification {
            let unknown = self.known_last_sequence == NO_SEQUENCE;
            if verification.supports_epoch_bump && sequence != 0 && unknown {
                return out_of_order(NO_SEQUENCE, "expected 0 of a new transactional producer");
            }
            if sequence > verification.lowest_sequence {
                return out_of_order(verification.lowest_sequence, "earliest seen sequence");
            }
        }
        if header.producer_epoch != self.entry.producer_epoch {
            // A producer that is not known may begin anywhere: its records may have been deleted.
            return if sequence != 0 && self.entry.producer_epoch != NO_PRODUCER_EPOCH {
                out_of_order(NO_SEQUENCE, "expected 0 of a new epoch")
            } else {
                Ok(())
            };
        }
        let last = if self.entry.retained > 0 {
            self.entry.last_sequence()
        } else if header.producer_epoch == self.known_epoch {
            self.known_last_sequence
        } else {
            NO_SEQUENCE
        };
        let follows = i64::from(sequence) == i64::from(last) + 1 || (sequence == 0 && last == i32::MAX);
        if self.known_epoch == NO_PRODUCER_EPOCH || follows {
            Ok(())
        } else {
            out_of_order(last, "current end sequence number")
        }
    }
}
