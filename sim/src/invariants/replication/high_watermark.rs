//! A leader's high watermark never goes down while its epoch lasts; no replica's is beyond its log.
//!
//! Source: P12; `Partition.maybeIncrementLeaderHW`.

use broker::simulation::ReplicaState;

use super::Seen;

pub(super) fn check(id: i32, state: &ReplicaState, before: Option<Seen>) {
    let ReplicaState { high_watermark, log_start, log_end, .. } = state;
    assert!(
        (log_start..=log_end).contains(&high_watermark),
        "replica {id}: high watermark {high_watermark} of a log from {log_start} to {log_end}"
    );
    if let Some(before) = before
        && state.leads
        && before.leader_epoch == state.leader_epoch
    {
        let last = before.high_watermark;
        assert!(last <= *high_watermark, "leader {id}: high watermark {high_watermark} after {last}");
    }
}
