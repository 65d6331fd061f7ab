//! What is below any high watermark is committed: the same on every replica, for good. More is committed only by a leader
//! whose ISR has the minimum.
//!
//! Source: NoCommittedRecordLost, LogMatching up to the high watermark, MinIsrRecoveryQuorum of the model of KIP-966.

use broker::simulation::ReplicaState;

use super::{Held, Observed, Seen};
use crate::cluster::{Key, World};

/// Takes in that a high watermark went up since `before`; true if that commits more.
pub(super) fn extend(
    observed: &mut Observed,
    world: &World,
    id: i32,
    key: Key,
    before: Seen,
    state: &ReplicaState,
) -> bool {
    let from = before.high_watermark;
    let committed = observed.committed.entry(key).or_default();
    let old_end = committed.len();
    let held: Vec<Held> = world
        .with_data_log(id, key, |log| {
            let below = log.entries.iter().take(state.high_watermark as usize).skip(from as usize);
            below.map(|entry| (entry.epoch, entry.id)).collect()
        })
        .unwrap_or_default();
    for (offset, held) in (from as usize..).zip(held) {
        match committed.get(offset) {
            Some(known) => {
                assert_eq!(
                    held, *known,
                    "{key:?}: replica {id} has something else below its high watermark, at {offset}"
                );
            }
            None => {
                // A leader may commit, and then hear that it is none any more, before it is looked at.
                assert!(
                    state.leads || before.leads,
                    "{key:?}: replica {id} takes {offset} for committed, which no leader has said"
                );
                committed.push(held);
            }
        }
    }
    let is_more = committed.len() > old_end;
    if is_more {
        let needed = observed.min_isr;
        assert!(
            // It may have committed just before it heard of a smaller ISR.
            state.isr.len().max(before.in_sync) >= needed || !state.leads,
            "{key:?}: leader {id} commits {old_end} with ISR {:?}, of {needed} at least",
            state.isr
        );
    }
    is_more
}
