//! The voters in force are those last in the log, or in the snapshot below it, or the configured ones.

use protocol::control::ControlRecord;

use raft::Log;
use raft::Node;
use raft::batch;
use raft::control;
use raft::memory_log::MemoryLog;
use raft::voters::VoterSet;

pub(crate) fn check(id: i32, node: &Node<MemoryLog>, configured: &VoterSet) {
    // A failed write leaves the log ahead of the node, which is about to end.
    if !node.log().is_blown() {
        let written = last_written(node.log()).unwrap_or_else(|| configured.clone());
        assert_eq!(node.voters(), &written, "node {id}: voters in force");
    }
}

fn last_written(log: &MemoryLog) -> Option<VoterSet> {
    let snapshot = log.snapshots().last().map(|snapshot| log.read_snapshot(snapshot.id, 0, usize::MAX));
    let snapshot = snapshot.map(|chunk| chunk.unwrap().unwrap().bytes).unwrap_or_default();
    let records = log.read(log.log_start_offset(), usize::MAX).unwrap();
    let mut last = None;
    for batch in batch::batches(&snapshot).chain(batch::batches(&records)).map(Result::unwrap) {
        if batch.is_control() {
            for (_, record) in control::decode_batch(&batch).unwrap() {
                if let ControlRecord::KRaftVoters(record) = record {
                    last = Some(control::voter_set(&record));
                }
            }
        }
    }
    last
}
