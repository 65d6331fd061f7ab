//! Where decisions become durable.
//!
//! ```text
//!   append ─▶ queued ──flush──▶ durable here ──next──▶ Committed
//! ```
//! Several appends share one flush. What was appended takes effect in the order of the calls.

pub mod kraft;
#[cfg(test)]
pub(crate) mod memory;

use std::future::Future;

use metadata::image::Provenance;
use protocol::records::Record;

/// The most records that one batch may hold (Kafka's `MAX_RECORDS_PER_USER_OP`).
pub const MAX_RECORDS_PER_BATCH: usize = 10_000;

/// Why records cannot be appended. Nothing of them was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// This node does not lead.
    #[error("this node is not the active controller")]
    Fenced,
    /// A batch would exceed 8 MiB.
    #[error("the records do not fit one batch")]
    TooLarge,
    /// A record cannot be written at the finalized `metadata.version`.
    #[error("a record has a field that its version lacks")]
    Unrepresentable,
}

/// Committed records, in the order of the log.
#[derive(Clone, Debug, PartialEq)]
pub struct CommittedBatch {
    /// Offset of the first record.
    pub base_offset: i64,
    /// Offset of the last record, those of a control batch included.
    pub last_offset: i64,
    /// Epoch in which they were written.
    pub epoch: i32,
    /// Append time in ms since 1970.
    pub timestamp_ms: i64,
    /// The records; empty for a control batch.
    pub records: Vec<Record>,
}

/// What a store reports.
#[derive(Debug)]
pub enum StoreEvent {
    /// Others' records, or those found in the log at start: durable and committed.
    Observed(Vec<CommittedBatch>),
    /// Everything known is void; these are the records of a snapshot.
    Snapshot {
        /// How far it goes.
        provenance: Provenance,
        /// Its records.
        records: Vec<Record>,
    },
    /// This node decides from now on. Everything that is committed was observed before.
    Leading {
        /// Raft epoch, or controller epoch.
        epoch: i32,
    },
    /// Everything appended below this offset is committed.
    Committed(i64),
    /// Another node said how much it knows to be committed.
    Heard,
    /// This node does not decide any more; appends that are not committed have an unknown fate.
    Fenced,
    /// The store has stopped in good order.
    Stopped,
    /// The store cannot go on.
    Failed(String),
}

/// Why the level of `kraft.version` was not raised.
pub type UpgradeError = raft::UpgradeError;

/// A log of decisions with one writer at a time.
pub trait MetadataStore {
    /// Queues records behind all that was appended before; each inner list is one atomic batch. Returns the offset of
    /// the last record.
    ///
    /// # Errors
    /// Nothing was queued: see [`AppendError`].
    fn append(&mut self, batches: &[Vec<Record>], metadata_version: i16) -> Result<i64, AppendError>;

    /// Makes what is queued durable.
    fn flush(&mut self);

    /// The next event. May be dropped while it waits, without loss.
    fn next(&mut self) -> impl Future<Output = StoreEvent>;

    /// Writes a snapshot that ends before `end_offset`, which is committed, and lets the log forget what it covers.
    fn write_snapshot(
        &mut self,
        end_offset: i64,
        last_timestamp_ms: i64,
        records: &[Record],
        metadata_version: i16,
    );

    /// Offset that the next record gets, while this node decides: the store may write records of its own in between.
    fn end_offset(&self) -> i64;

    /// Bytes appended or observed so far, to tell when a snapshot is due.
    fn bytes_written(&self) -> u64;

    /// The finalized `kraft.version`, and the ids of the voters.
    fn quorum(&self) -> (i16, Vec<i32>);

    /// Whether a node is known to know that everything below this offset is committed.
    fn is_known_to(&self, node_id: i32, offset: i64) -> bool;

    /// Raises the level of `kraft.version`, or only checks whether that would succeed. Nothing may be queued.
    ///
    /// # Errors
    /// The voters cannot work with it, or not now.
    fn upgrade_kraft_version(&mut self, level: i16, validate_only: bool) -> Result<(), UpgradeError>;

    /// Begins to stop in good order; ends with [`StoreEvent::Stopped`].
    fn shutdown(&mut self);
}
