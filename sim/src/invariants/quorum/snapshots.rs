//! The first snapshot of a log is at or above its start, exactly there when the start is above 0.
//!
//! Source: `RaftEventSimulationTest.SnapshotAtLogStart`.

use raft::Log;

use super::View;

pub(super) fn check(views: &[View<'_>]) {
    for view in views {
        let (id, log) = (view.id, view.log);
        let start = log.log_start_offset();
        match log.snapshots().first().map(|snapshot| snapshot.id) {
            Some(first) if start > 0 => assert_eq!(first.offset, start, "node {id}: first snapshot"),
            Some(first) => assert!(first.offset >= start, "node {id}: first snapshot"),
            None => assert_eq!(start, 0, "node {id}: no snapshot for a log that starts above 0"),
        }
        for snapshot in log.snapshots() {
            if snapshot.id.offset > start
                && let Some(end) = log.end_offset_for_epoch(snapshot.id.epoch)
            {
                assert!(
                    end.offset >= snapshot.id.offset,
                    "node {id}: snapshot {:?} is not of this log",
                    snapshot.id
                );
            }
        }
    }
}
