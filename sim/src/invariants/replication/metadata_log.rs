//! The committed metadata is the same on every node, for good.
//!
//! Source: MetadataLogMatching of the replication models; `RaftEventSimulationTest.ConsistentCommittedData`.

use super::Observed;
use crate::cluster::World;

pub(super) fn check(observed: &mut Observed, world: &World, id: i32) {
    let Some((log, high_watermark)) = world.metadata_log(id) else { return };
    let from = observed.metadata_marks.insert(id, high_watermark).unwrap_or(0);
    if from >= high_watermark {
        return;
    }
    for (base, next, epoch, bytes) in log.entries() {
        if base >= from && next <= high_watermark {
            // The checksum stands for the content; the epoch is not part of it.
            let crc = u32::from_be_bytes(bytes[17..21].try_into().expect("four bytes"));
            observed.quorum.committed(id, next, u64::from(crc) << 32 | u64::from(epoch.unsigned_abs()));
        }
    }
}
