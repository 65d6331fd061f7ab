//! A consumer gets what is committed, in order, from whichever replica it reads.
//!
//! Source: ConsistentRead of the model of KIP-966; P2 and P9 (nothing is read before it is committed, nothing is skipped).

use super::Held;
use crate::cluster::Key;

pub(super) fn check(committed: Option<&Vec<Held>>, key: Key, offset: i64, held: Held) {
    let known = committed.and_then(|committed| committed.get(offset as usize));
    assert_eq!(
        Some(&held),
        known,
        "{key:?}: a consumer got something at {offset} that is not committed there"
    );
}
