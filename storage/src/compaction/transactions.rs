//! Transactions along a walk over a log: whose data was aborted, and which markers have nothing left to mark.
//!
//! Source: Kafka's `CleanedTransactionMetadata`.

use std::collections::{HashMap, HashSet};

use protocol::batch::BatchHeader;

use crate::txn_index::AbortedTxn;

/// The transactions that are open at the current batch of a walk by rising offsets.
#[derive(Debug, Default)]
pub(crate) struct Transactions {
    /// Producers whose data was met and whose commit marker was not yet.
    committed: HashSet<i64>,
    /// Aborted transactions that have begun, and whether data of them was met.
    aborted: HashMap<i64, (AbortedTxn, bool)>,
    /// Those that have not begun; the earliest comes last.
    coming: Vec<AbortedTxn>,
}

/// What is to be done with a marker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Marker {
    /// Data of its transaction is there.
    Needed,
    /// Likewise, and the transaction was aborted: its index entry stays as well.
    NeededAborted(AbortedTxn),
    /// No data is left: it goes when its time has come.
    Idle,
}

impl Transactions {
    /// A walk that will meet these aborted transactions.
    pub(crate) fn new(mut aborted: Vec<AbortedTxn>) -> Self {
        aborted.sort_unstable_by_key(|txn| std::cmp::Reverse(txn.first_offset));
        Transactions { coming: aborted, ..Transactions::default() }
    }

    /// Steps over a data batch; true if it belongs to an aborted transaction.
    pub(crate) fn on_data(&mut self, header: &BatchHeader) -> bool {
        self.begin_up_to(header.last_offset());
        if !header.is_transactional() {
            return false;
        }
        match self.aborted.get_mut(&header.producer_id) {
            Some((_, met)) => {
                *met = true;
                true
            }
            None => {
                self.committed.insert(header.producer_id);
                false
            }
        }
    }

    /// Steps over a control batch. `aborts` is what its marker says, `None` without one (an empty batch).
    pub(crate) fn on_marker(&mut self, header: &BatchHeader, aborts: Option<bool>) -> Marker {
        self.begin_up_to(header.last_offset());
        let idle_unless = |needed: bool| if needed { Marker::Needed } else { Marker::Idle };
        match aborts {
            Some(true) => match self.aborted.remove(&header.producer_id) {
                Some((txn, true)) => Marker::NeededAborted(txn),
                // Without its index entry the data counted as committed; it must not lose its marker, or the
                // transaction would be open again after a recovery.
                _ => idle_unless(self.committed.remove(&header.producer_id)),
            },
            Some(false) => idle_unless(self.committed.remove(&header.producer_id)),
            None => Marker::Idle,
        }
    }

    fn begin_up_to(&mut self, offset: i64) {
        while let Some(txn) = self.coming.pop_if(|txn| txn.first_offset <= offset) {
            self.aborted.entry(txn.producer_id).or_insert((txn, false));
        }
    }
}
