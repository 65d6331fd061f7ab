//! Two logs that have a record of the same epoch at an offset have the same record there, and the same before it.
//!
//! Source: LogMatching of the replication models; KIP-101, KIP-279.

use std::collections::HashMap;

use crate::cluster::{Key, World};

pub(super) fn check(
    written: &mut HashMap<(Key, i64, i32), (u64, i32)>,
    world: &World,
    id: i32,
    key: Key,
    from: i64,
) {
    world.with_data_log(id, key, |log| {
        let from = from as usize;
        for (offset, entry) in log.entries.iter().enumerate().skip(from) {
            let before = offset.checked_sub(1).map_or(-1, |before| log.entries[before].epoch);
            let known = *written.entry((key, offset as i64, entry.epoch)).or_insert((entry.id, before));
            assert_eq!(
                known,
                (entry.id, before),
                "{key:?}: replica {id} has another record of epoch {} at {offset}, or another epoch before it",
                entry.epoch
            );
        }
    });
}
