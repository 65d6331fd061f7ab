//! A new leader holds all that is committed.
//!
//! Source: LeaderCompleteness of the replication models.

use super::Held;
use crate::cluster::{Key, World};

pub(super) fn check(world: &World, id: i32, key: Key, committed: &[Held]) {
    let lacks = lacks(world, id, key, committed);
    assert!(lacks.is_none(), "{key:?}: leader {id} lacks what is committed: {lacks:?}");
}

/// The last committed offset with what is there instead, if that is something else. Logs that agree on one record agree
/// on those before it.
pub(super) fn lacks(
    world: &World,
    id: i32,
    key: Key,
    committed: &[Held],
) -> Option<(usize, Held, Option<Held>)> {
    let last = committed.len().checked_sub(1)?;
    let held = world.with_data_log(id, key, |log| log.entries.get(last).map(|e| (e.epoch, e.id))).flatten();
    (held != Some(committed[last])).then_some((last, committed[last], held))
}
