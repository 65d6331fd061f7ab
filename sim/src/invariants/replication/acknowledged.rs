//! A record that was acknowledged with acks=all is committed, at the offset that was told.
//!
//! Source: NoCommittedRecordLost; P1 of the client-side properties (no acknowledged record is lost or moved).

use super::Held;
use crate::cluster::Key;

pub(super) fn check(committed: Option<&Vec<Held>>, key: Key, offset: i64, record: u64) {
    let found = committed.and_then(|committed| committed.get(offset as usize));
    assert!(
        found.is_some_and(|(_, id)| *id == record),
        "{key:?}: record {record} was acknowledged at {offset}, where {found:?} is committed"
    );
}
