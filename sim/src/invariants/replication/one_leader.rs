//! In each leader epoch of a partition one broker leads.
//!
//! Source: P18; SingleLeader.

use std::collections::BTreeMap;

use crate::cluster::Key;

pub(super) fn note(leaders: &mut BTreeMap<(Key, i32), i32>, key: Key, epoch: i32, id: i32) {
    let known = *leaders.entry((key, epoch)).or_insert(id);
    assert_eq!(known, id, "{key:?}: two leaders in epoch {epoch}");
}
