//! What a partition knows of its producers: the last batches of each, for idempotence, and its open transactions.
//!
//! The leader's order: offsets are assigned, [`ProducerStates::prepare`] checks the batches (or finds that they were
//! sent before), the bytes are written, [`ProducerStates::commit`] makes the change. Followers and recovery call
//! [`ProducerStates::replay`] per batch, which refuses nothing that a leader has accepted.
//!
//! Invariants: of a producer the last 5 batches of its current epoch are known, of which a snapshot keeps one;
//! `ongoing` holds exactly the open transactions of the entries; the first unstable offset is the lowest first offset
//! of a transaction that is open, or ended by a marker that is not below the high watermark.
//! No IO: snapshots are bytes here, their files are the log's.
//! Source: Kafka's `ProducerStateManager`, `ProducerAppendInfo`, `ProducerStateEntry`; KIP-98, KIP-890.

mod append;
pub(crate) mod marker;
mod snapshot;

use std::collections::{BTreeMap, HashMap};

use protocol::ErrorCode;
use protocol::batch::{
    self, BatchError, BatchHeader, NO_PRODUCER_EPOCH, NO_SEQUENCE, NO_TIMESTAMP, RawBatch, decrement_sequence,
};

use self::append::AppendState;
use crate::log::AppendOrigin;
use crate::txn_index::AbortedTxn;

pub use self::append::ProducerUpdate;
pub use self::snapshot::SnapshotError;

/// Number of batches that a producer may have in flight, and that are therefore remembered.
pub const BATCHES_TO_RETAIN: usize = 5;

/// A batch that a producer sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BatchMetadata {
    /// Sequence number of its last record.
    pub last_sequence: i32,
    /// Offset of its last record.
    pub last_offset: i64,
    /// Last offset minus first offset.
    pub offset_delta: i32,
    /// Its largest timestamp, or append time (ms).
    pub timestamp: i64,
}

impl BatchMetadata {
    /// Sequence number of its first record.
    pub fn first_sequence(&self) -> i32 {
        decrement_sequence(self.last_sequence, self.offset_delta)
    }

    /// Offset of its first record.
    pub fn first_offset(&self) -> i64 {
        self.last_offset - i64::from(self.offset_delta)
    }
}

/// What is known of a producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerEntry {
    /// Its epoch, -1 if unknown.
    pub producer_epoch: i16,
    /// Epoch of the coordinator that wrote its last marker, -1 if there is none.
    pub coordinator_epoch: i32,
    /// Timestamp of its last batch or marker (ms).
    pub last_timestamp: i64,
    /// Where its open transaction began.
    pub current_txn_first_offset: Option<i64>,
    /// The first `retained` are in use, oldest first.
    batches: [BatchMetadata; BATCHES_TO_RETAIN],
    retained: usize,
}

impl ProducerEntry {
    fn empty() -> Self {
        ProducerEntry {
            producer_epoch: NO_PRODUCER_EPOCH,
            coordinator_epoch: -1,
            last_timestamp: NO_TIMESTAMP,
            current_txn_first_offset: None,
            batches: [BatchMetadata::default(); BATCHES_TO_RETAIN],
            retained: 0,
        }
    }

    /// Its last batches, oldest first.
    pub fn batches(&self) -> &[BatchMetadata] {
        &self.batches[..self.retained]
    }

    /// Sequence number of its last record, -1 if none is known.
    pub fn last_sequence(&self) -> i32 {
        self.batches().last().map_or(NO_SEQUENCE, |last| last.last_sequence)
    }

    fn set_epoch(&mut self, producer_epoch: i16) {
        if self.producer_epoch != producer_epoch {
            self.producer_epoch = producer_epoch;
            self.retained = 0;
        }
    }

    fn push(&mut self, batch: BatchMetadata) {
        if self.retained == BATCHES_TO_RETAIN {
            self.batches.rotate_left(1);
            self.retained -= 1;
        }
        self.batches[self.retained] = batch;
        self.retained += 1;
    }

    /// Takes over what an append collected.
    fn update(&mut self, next: &ProducerEntry) {
        self.set_epoch(next.producer_epoch);
        for batch in next.batches() {
            self.push(*batch);
        }
        self.coordinator_epoch = next.coordinator_epoch;
        self.current_txn_first_offset = next.current_txn_first_offset;
        self.last_timestamp = next.last_timestamp;
    }

    /// The batch that was sent before with the epoch and sequence numbers of this one.
    fn duplicate_of(&self, header: &BatchHeader) -> Option<BatchMetadata> {
        if header.producer_epoch != self.producer_epoch {
            return None;
        }
        let (first, last) = (header.base_sequence, header.last_sequence());
        self.batches().iter().find(|b| b.first_sequence() == first && b.last_sequence == last).copied()
    }
}

/// Why batches are refused. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProducerError {
    /// The epoch is older than the producer's known one (INVALID_PRODUCER_EPOCH).
    #[error(
        "Epoch of producer {producer_id} at offset {offset} is {epoch}, \
         which is smaller than the last seen epoch {current}"
    )]
    Epoch {
        /// The producer.
        producer_id: i64,
        /// Where the batch would have been.
        offset: i64,
        /// The batch's epoch.
        epoch: i16,
        /// The known epoch.
        current: i16,
    },
    /// Batches are missing before this one (OUT_OF_ORDER_SEQUENCE_NUMBER).
    #[error(
        "Out of order sequence number for producer {producer_id} at offset {offset}: \
         {sequence} (incoming seq. number), {expected_after} ({meaning})"
    )]
    Sequence {
        /// The producer.
        producer_id: i64,
        /// Where the batch would have been.
        offset: i64,
        /// Its first sequence number.
        sequence: i32,
        /// What it was compared with.
        expected_after: i32,
        /// What that is.
        meaning: &'static str,
    },
    /// Outside of the transaction that is open, or inside of one that is not (INVALID_TXN_STATE).
    #[error("{reason} (producer {producer_id} at offset {offset})")]
    TxnState {
        /// The producer.
        producer_id: i64,
        /// Where the batch would have been.
        offset: i64,
        /// What is wrong.
        reason: &'static str,
    },
    /// A marker of a coordinator that was replaced (TRANSACTION_COORDINATOR_FENCED).
    #[error(
        "Invalid coordinator epoch for producerId {producer_id} at offset {offset}: \
         {epoch} (zombie), {current} (current)"
    )]
    CoordinatorFenced {
        /// The producer.
        producer_id: i64,
        /// Where the marker would have been.
        offset: i64,
        /// The marker's epoch.
        epoch: i32,
        /// The known epoch.
        current: i32,
    },
    /// A control batch of a producer that is not a transaction marker (INVALID_RECORD).
    #[error("not a transaction marker: {0}")]
    Marker(&'static str),
    /// Not whole batches of the current format (CORRUPT_MESSAGE).
    #[error(transparent)]
    Batch(#[from] BatchError),
}

impl ProducerError {
    /// The code for the Produce answer.
    pub fn code(&self) -> ErrorCode {
        match self {
            ProducerError::Epoch { .. } => ErrorCode::INVALID_PRODUCER_EPOCH,
            ProducerError::Sequence { .. } => ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER,
            ProducerError::TxnState { .. } => ErrorCode::INVALID_TXN_STATE,
            ProducerError::CoordinatorFenced { .. } => ErrorCode::TRANSACTION_COORDINATOR_FENCED,
            ProducerError::Marker(_) => ErrorCode::INVALID_RECORD,
            ProducerError::Batch(_) => ErrorCode::CORRUPT_MESSAGE,
        }
    }
}

/// Stands for one verification of a transaction with its coordinator (KIP-890): an append is let through only if it
/// comes with the guard that the partition gave out last for that producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerificationGuard(u64);

impl VerificationGuard {
    /// Fits no verification: for appends that need none, since the transaction has begun in the partition.
    pub const NONE: VerificationGuard = VerificationGuard(0);
}

#[derive(Debug, Clone, Copy)]
struct Verification {
    guard: VerificationGuard,
    started_ms: i64,
    lowest_sequence: i32,
    epoch: i16,
    supports_epoch_bump: bool,
}

/// Who appends, and with what proof that its transactions are open.
#[derive(Debug, Clone, Copy)]
pub struct ProducerArgs {
    /// Who appends.
    pub origin: AppendOrigin,
    /// The guard of the request's verification; `None` switches the check off
    /// (`transaction.partition.verification.enable`).
    pub guard: Option<VerificationGuard>,
}

/// What [`ProducerStates::prepare`] found.
#[derive(Debug)]
pub enum Prepared {
    /// All is well; to be committed once the batches are written.
    Update(ProducerUpdate),
    /// A batch was sent before; nothing is to be written, and its first offset and timestamp are the answer.
    Duplicate(BatchMetadata),
}

/// The producers of one partition.
#[derive(Debug)]
pub struct ProducerStates {
    /// By id. It grows in small steps, where a hash table would move a million producers at once, under the log's lock.
    entries: BTreeMap<i64, Box<ProducerEntry>>,
    verifications: HashMap<i64, Verification>,
    last_guard: u64,
    /// First offset → producer.
    ongoing: BTreeMap<i64, i64>,
    /// First offset → offset of the marker.
    unreplicated: BTreeMap<i64, i64>,
    map_end_offset: i64,
    snapshot_offset: i64,
    expiration_ms: i64,
}

impl ProducerStates {
    /// Of a log that starts at `log_start_offset`. Idle producers are forgotten after `expiration_ms`
    /// (`producer.id.expiration.ms`).
    pub fn new(log_start_offset: i64, expiration_ms: i64) -> Self {
        ProducerStates {
            entries: BTreeMap::new(),
            verifications: HashMap::new(),
            last_guard: 0,
            ongoing: BTreeMap::new(),
            unreplicated: BTreeMap::new(),
            map_end_offset: log_start_offset,
            snapshot_offset: log_start_offset,
            expiration_ms,
        }
    }

    /// Checks whole batches that have their offsets but are not written yet, in a leader.
    ///
    /// A batch of a client that was sent before is found before its sequence is checked, and ends the check.
    /// Allocates only if one of the batches has a producer.
    pub fn prepare(&self, records: &[u8], args: ProducerArgs) -> Result<Prepared, ProducerError> {
        let mut update = ProducerUpdate::default();
        for batch in batch::batches(records) {
            let batch = batch?;
            let header = batch.header()?;
            if !header.has_producer_id() {
                continue;
            }
            let entry = self.get(header.producer_id);
            if args.origin == AppendOrigin::Client
                && let Some(duplicate) = entry.and_then(|entry| entry.duplicate_of(&header))
            {
                return Ok(Prepared::Duplicate(duplicate));
            }
            if args.origin != AppendOrigin::RaftLeader {
                self.check_verified(&header, entry, args.guard)?;
            }
            self.collect(&mut update, &header, &batch, Some(args.origin))?;
        }
        Ok(Prepared::Update(update))
    }

    /// Makes the change of an append that was written; the log now ends at `next_offset`. Returns the transactions
    /// that it aborted, to be put into the segment's transaction index.
    pub fn commit(&mut self, update: ProducerUpdate, next_offset: i64) -> Vec<AbortedTxn> {
        for append in &update.appends {
            if append.transactional {
                self.verifications.remove(&append.producer_id);
            }
            match self.entries.get_mut(&append.producer_id) {
                Some(entry) => entry.update(&append.entry),
                None => {
                    self.entries.insert(append.producer_id, Box::new(append.entry));
                }
            }
            for &first_offset in &append.started {
                self.ongoing.insert(first_offset, append.producer_id);
            }
        }
        let mut aborted = Vec::new();
        for txn in update.completed {
            if txn.aborted {
                aborted.push(AbortedTxn {
                    producer_id: txn.producer_id,
                    first_offset: txn.first_offset,
                    last_offset: txn.last_offset,
                    last_stable_offset: self.stable_offset_after(txn.producer_id, txn.last_offset),
                });
            }
            self.ongoing.remove(&txn.first_offset);
            self.unreplicated.insert(txn.first_offset, txn.last_offset);
        }
        self.map_end_offset = next_offset;
        aborted
    }

    /// Takes over a batch that is in the log: replicated, or found by recovery. Only a marker that cannot be read is
    /// an error. Batches of the old formats have no producers.
    pub fn replay(&mut self, batch: &RawBatch<'_>) -> Result<Option<AbortedTxn>, ProducerError> {
        let header = match batch.header() {
            Ok(header) => header,
            Err(BatchError::Legacy(_)) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let mut update = ProducerUpdate::default();
        if header.has_producer_id() {
            self.collect(&mut update, &header, batch, None)?;
        }
        Ok(self.commit(update, header.next_offset()).pop())
    }

    fn collect(
        &self,
        update: &mut ProducerUpdate,
        header: &BatchHeader,
        batch: &RawBatch<'_>,
        origin: Option<AppendOrigin>,
    ) -> Result<(), ProducerError> {
        let at = update.appends.iter().position(|append| append.producer_id == header.producer_id);
        let at = at.unwrap_or_else(|| {
            let current = self.get(header.producer_id);
            let verification = self.verifications.get(&header.producer_id).copied();
            update.appends.push(AppendState::new(header.producer_id, current, verification, origin));
            update.appends.len() - 1
        });
        let completed = update.appends[at].append(header, batch)?;
        update.completed.extend(completed);
        Ok(())
    }

    /// A transactional batch needs an open transaction in this partition, or the guard of the current verification.
    fn check_verified(
        &self,
        header: &BatchHeader,
        entry: Option<&ProducerEntry>,
        guard: Option<VerificationGuard>,
    ) -> Result<(), ProducerError> {
        let Some(guard) = guard else { return Ok(()) };
        let (producer_id, epoch, offset) = (header.producer_id, header.producer_epoch, header.base_offset);
        if !header.is_transactional()
            || header.is_control()
            || self.has_ongoing_transaction(producer_id, epoch)
            || (guard != VerificationGuard::NONE
                && self.verifications.get(&producer_id).is_some_and(|known| known.guard == guard))
        {
            return Ok(());
        }
        // First, since a producer recovers from a stale epoch, and not from the other error.
        match entry {
            Some(entry) if epoch < entry.producer_epoch => {
                Err(ProducerError::Epoch { producer_id, offset, epoch, current: entry.producer_epoch })
            }
            _ => {
                let reason = "Record was not part of an ongoing transaction";
                Err(ProducerError::TxnState { producer_id, offset, reason })
            }
        }
    }

    /// Whether the producer has a transaction open here, under this epoch.
    pub fn has_ongoing_transaction(&self, producer_id: i64, producer_epoch: i16) -> bool {
        let entry = self.entries.get(&producer_id);
        entry.is_some_and(|e| e.current_txn_first_offset.is_some() && e.producer_epoch == producer_epoch)
    }

    /// Begins to verify a transaction before its first append; the lowest sequence number that is tried is kept, and
    /// none above it is taken first. `supports_epoch_bump`: the producer bumps its epoch with each transaction
    /// (KIP-890 part 2, Produce 12). [`VerificationGuard::NONE`] if the transaction is open here already.
    pub fn start_verification(
        &mut self,
        producer_id: i64,
        sequence: i32,
        epoch: i16,
        supports_epoch_bump: bool,
        now_ms: i64,
    ) -> VerificationGuard {
        if self.has_ongoing_transaction(producer_id, epoch) {
            return VerificationGuard::NONE;
        }
        let last_guard = &mut self.last_guard;
        let entry = self.verifications.entry(producer_id).or_insert_with(|| {
            *last_guard += 1;
            Verification {
                guard: VerificationGuard(*last_guard),
                started_ms: now_ms,
                lowest_sequence: sequence,
                epoch,
                supports_epoch_bump,
            }
        });
        if epoch > entry.epoch {
            (entry.epoch, entry.lowest_sequence) = (epoch, sequence);
        } else if epoch == entry.epoch {
            entry.lowest_sequence = entry.lowest_sequence.min(sequence);
        }
        entry.guard
    }

    /// What is known of a producer.
    pub fn get(&self, producer_id: i64) -> Option<&ProducerEntry> {
        self.entries.get(&producer_id).map(Box::as_ref)
    }

    /// All producers by id.
    pub fn producers(&self) -> Vec<(i64, ProducerEntry)> {
        self.entries.iter().map(|(id, entry)| (*id, **entry)).collect()
    }

    /// Number of producers.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// No producers, and no transaction that counts.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.unreplicated.is_empty()
    }

    /// The offset up to which the log is taken in here.
    pub fn map_end_offset(&self) -> i64 {
        self.map_end_offset
    }

    /// Notes that the log ends at `offset` after batches that were not shown to this (they have no producers).
    pub fn set_map_end_offset(&mut self, offset: i64) {
        self.map_end_offset = offset;
    }

    /// The lowest first offset of a transaction that is open, or ended by a marker at or above the high watermark.
    pub fn first_unstable_offset(&self) -> Option<i64> {
        let ongoing = self.ongoing.first_key_value().map(|(first, _)| *first);
        let unreplicated = self.unreplicated.first_key_value().map(|(first, _)| *first);
        [ongoing, unreplicated].into_iter().flatten().min()
    }

    /// The lowest first offset of a transaction that is open: compaction stops there.
    pub fn first_undecided_offset(&self) -> Option<i64> {
        self.ongoing.first_key_value().map(|(first, _)| *first)
    }

    /// Last timestamp (ms) of the producer whose transaction is open longest, to find hanging transactions.
    pub fn oldest_txn_timestamp(&self) -> Option<i64> {
        let (_, producer_id) = self.ongoing.first_key_value()?;
        self.entries.get(producer_id).map(|entry| entry.last_timestamp)
    }

    /// Forgets ended transactions whose marker is below `high_watermark`.
    pub fn on_high_watermark(&mut self, high_watermark: i64) {
        if !self.unreplicated.is_empty() {
            self.unreplicated.retain(|_, marker| *marker >= high_watermark);
        }
    }

    /// Follows the start of the log; `latest_snapshot` is the offset of the newest snapshot file that is left.
    pub fn on_log_start_offset(&mut self, log_start_offset: i64, latest_snapshot: Option<i64>) {
        self.on_high_watermark(log_start_offset);
        self.map_end_offset = self.map_end_offset.max(log_start_offset);
        self.snapshot_offset = latest_snapshot.unwrap_or(log_start_offset);
    }

    /// Forgets producers that are idle for the expiration time and have no open transaction.
    pub fn remove_expired(&mut self, now_ms: i64) {
        let expiration_ms = self.expiration_ms;
        self.entries.retain(|_, entry| !is_expired(entry, now_ms, expiration_ms));
        self.verifications.retain(|_, entry| now_ms.saturating_sub(entry.started_ms) < expiration_ms);
    }

    /// Changes `producer.id.expiration.ms`.
    pub fn set_expiration_ms(&mut self, expiration_ms: i64) {
        self.expiration_ms = expiration_ms;
    }

    /// Forgets everything; the log starts (and so far ends) at `offset`. Then a snapshot may be loaded.
    pub fn clear(&mut self, offset: i64) {
        self.entries.clear();
        self.ongoing.clear();
        self.unreplicated.clear();
        (self.map_end_offset, self.snapshot_offset) = (offset, offset);
    }

    fn stable_offset_after(&self, producer_id: i64, last_offset: i64) -> i64 {
        let next = self.ongoing.iter().find(|(_, other)| **other != producer_id);
        next.map_or(last_offset + 1, |(first, _)| *first)
    }
}

fn is_expired(entry: &ProducerEntry, now_ms: i64, expiration_ms: i64) -> bool {
    entry.current_txn_first_offset.is_none() && now_ms.saturating_sub(entry.last_timestamp) >= expiration_ms
}

#[cfg(test)]
mod tests;
