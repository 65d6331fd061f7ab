//! Committed records -> deltas that are whole: metadata transactions are published once, or not at all (KIP-868).
//!
//! ```text
//!   records   A B [Begin C D End] E        [Begin F Abort]
//!   deltas    (A B)          (C D) (E)     nothing
//! ```
//! The tip of a controller uses it too, since it must be able to drop an open transaction.

use protocol::records::Record;

use crate::delta::MetadataDelta;
use crate::image::MetadataImage;
use crate::replay::ReplayError;

/// Replays records in order and hands out deltas at batch boundaries.
#[derive(Clone, Debug)]
pub struct Loader {
    ready: Vec<MetadataDelta>,
    delta: MetadataDelta,
    /// The image to go back to if the open transaction is aborted.
    transaction: Option<MetadataImage>,
}

/// Why a record could not be loaded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// The record contradicts the image.
    #[error("offset {offset}: {source}")]
    Replay {
        /// Offset of the record.
        offset: i64,
        /// What is wrong.
        source: ReplayError,
    },
    /// A transaction begins in a transaction, or ends without one.
    #[error("offset {0}: misplaced transaction record")]
    MisplacedTransaction(i64),
}

impl Loader {
    /// A loader that goes on where `image` ends.
    pub fn new(image: MetadataImage) -> Self {
        Self { ready: Vec::new(), delta: MetadataDelta::new(image), transaction: None }
    }

    /// The newest image, what is not yet handed out or still in a transaction included.
    pub fn image(&self) -> &MetadataImage {
        self.delta.after()
    }

    /// True while a transaction is open.
    pub fn in_transaction(&self) -> bool {
        self.transaction.is_some()
    }

    /// Replays the record at `offset`.
    ///
    /// # Errors
    /// A log that no controller wrote.
    pub fn replay(
        &mut self,
        offset: i64,
        epoch: i32,
        timestamp_ms: i64,
        record: &Record,
    ) -> Result<(), LoadError> {
        match record {
            Record::BeginTransaction(_) if self.transaction.is_none() => {
                self.split();
                self.transaction = Some(self.delta.after().clone());
            }
            Record::EndTransaction(_) if self.transaction.is_some() => self.transaction = None,
            Record::AbortTransaction(_) if self.transaction.is_some() => {
                let before = self.transaction.take().unwrap_or_default();
                self.delta = MetadataDelta::new(before);
            }
            Record::BeginTransaction(_) | Record::EndTransaction(_) | Record::AbortTransaction(_) => {
                return Err(LoadError::MisplacedTransaction(offset));
            }
            other => self.delta.replay(other).map_err(|source| LoadError::Replay { offset, source })?,
        }
        self.delta.set_provenance(offset, epoch, timestamp_ms);
        Ok(())
    }

    /// Notes a control record, which has an offset but no metadata.
    pub fn skip(&mut self, offset: i64, epoch: i32, timestamp_ms: i64) {
        self.delta.set_provenance(offset, epoch, timestamp_ms);
    }

    /// Notes the level of `kraft.version`; handed out with the next record.
    pub fn set_kraft_version(&mut self, level: i16) {
        self.delta.set_kraft_version(level);
    }

    /// Hands out what is whole: to be called at the end of a batch.
    pub fn publish(&mut self) -> Vec<MetadataDelta> {
        if self.transaction.is_none() {
            self.split();
        }
        std::mem::take(&mut self.ready)
    }

    fn split(&mut self) {
        if self.delta.after().provenance == self.delta.before().provenance {
            return;
        }
        let next = MetadataDelta::new(self.delta.after().clone());
        self.ready.push(std::mem::replace(&mut self.delta, next));
    }
}

#[cfg(test)]
mod tests {
    use protocol::records::{
        AbortTransactionRecord, BeginTransactionRecord, EndTransactionRecord, ProducerIdsRecord, Record,
    };

    use super::*;

    fn ids(next_producer_id: i64) -> Record {
        Record::ProducerIds(ProducerIdsRecord { next_producer_id, ..Default::default() })
    }

    fn feed(loader: &mut Loader, records: &[Record]) {
        for record in records {
            let offset = loader.image().next_offset();
            loader.replay(offset, 1, 0, record).unwrap();
        }
    }

    #[test]
    fn a_transaction_is_published_once() {
        let (begin, end) = (BeginTransactionRecord::default(), EndTransactionRecord::default());
        let mut loader = Loader::new(MetadataImage::empty());
        feed(&mut loader, &[ids(1), Record::BeginTransaction(begin), ids(2)]);
        let published = loader.publish();
        assert_eq!(published.len(), 1);
        assert_eq!(published[0].after().next_producer_id, 1);
        assert_eq!(loader.publish().len(), 0);
        feed(&mut loader, &[ids(3), Record::EndTransaction(end)]);
        let published = loader.publish();
        assert_eq!(published.len(), 1);
        assert_eq!((published[0].before().next_producer_id, published[0].after().next_producer_id), (1, 3));
    }

    #[test]
    fn an_aborted_transaction_leaves_no_trace() {
        let mut loader = Loader::new(MetadataImage::empty());
        feed(&mut loader, &[ids(1), Record::BeginTransaction(BeginTransactionRecord::default()), ids(2)]);
        feed(&mut loader, &[Record::AbortTransaction(AbortTransactionRecord::default())]);
        let published = loader.publish();
        assert_eq!(published.last().unwrap().after().next_producer_id, 1);
        assert_eq!(published.last().unwrap().after().provenance.last_offset, 3);
        let end = Record::EndTransaction(EndTransactionRecord::default());
        assert!(loader.replay(4, 1, 0, &end).is_err());
    }
}
