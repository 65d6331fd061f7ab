//! High watermarks never go down, neither a node's nor from leader to leader; a majority has what is below.
//!
//! Source: `RaftEventSimulationTest.MonotonicHighWatermark` and `MajorityReachedHighWatermark`.

use raft::{Log, RoleName};

use super::{Observed, View};

pub(super) fn check(observed: &mut Observed, views: &[View<'_>]) {
    for view in views {
        let (id, Some(up)) = (view.id, &view.up) else { continue };
        let Some(high_watermark) = up.high_watermark else { continue };
        let last = observed.high_watermarks.insert(id, high_watermark).unwrap_or(0);
        assert!(last <= high_watermark, "node {id}: high watermark {high_watermark} after {last}");
        assert!(high_watermark <= view.log.log_end_offset(), "node {id}: high watermark above its log end");
        let told = up.told_high_watermark;
        if up.role != RoleName::Leader || told < 0 {
            continue;
        }
        let (epoch, before) = observed.leader_high_watermark;
        if up.epoch >= epoch {
            assert!(before <= told, "leader {id}: high watermark {told}, an earlier one had {before}");
            observed.leader_high_watermark = (up.epoch, told);
        }
        if !observed.dynamic {
            let has = |voter: &&i32| views.iter().any(|v| v.id == **voter && v.log.log_end_offset() >= told);
            let count = up.voters.iter().filter(has).count();
            let majority = up.voters.len() / 2 + 1;
            assert!(count >= majority, "leader {id}: {count} voters have what is below {told}");
        }
    }
}
