//! The checkpoint files of the log directories, written from the replicas of the moment.
//!
//! Written once after the start, since a file may name replicas that are gone, and then when something changed only,
//! so that an idle node writes nothing.

use std::collections::HashMap;

use parking_lot::Mutex;
use storage::TopicPartition;
use storage::dirs::Checkpoint;

use crate::replica::manager::ReplicaManager;

type Offsets = HashMap<TopicPartition, i64>;

/// What was written last, per directory and kind.
#[derive(Default)]
pub(crate) struct Checkpoints {
    written: Mutex<HashMap<(usize, &'static str), Offsets>>,
}

impl Checkpoints {
    /// Writes one kind of checkpoint in every directory. An IO error takes the directory offline.
    pub(crate) fn write(&self, replicas: &ReplicaManager, kind: Checkpoint) {
        let mut written = self.written.lock();
        let partitions = replicas.all();
        for (at, dir) in replicas.dirs().iter().enumerate().filter(|(_, dir)| !dir.is_offline()) {
            let here = partitions.iter().filter(|p| p.log_dir() == at);
            let offsets: Offsets = here.filter_map(|p| Some((p.name.clone(), offset(p, kind)?))).collect();
            let key = (at, kind.file_name());
            if written.get(&key) == Some(&offsets) {
                continue;
            }
            let entries = offsets.iter().map(|(name, offset)| (name, *offset));
            match dir.dir.write_checkpoint(kind, entries) {
                Ok(()) => {
                    written.insert(key, offsets);
                }
                Err(error) => replicas.dir_failed(at, &error),
            }
        }
    }
}

/// What the checkpoint says of a partition; `None` leaves it out.
fn offset(partition: &crate::replica::partition::Partition, kind: Checkpoint) -> Option<i64> {
    match kind {
        Checkpoint::HighWatermark => Some(partition.high_watermark()),
        Checkpoint::RecoveryPoint => Some(partition.lock().log.recovery_point()),
        Checkpoint::LogStart => {
            let state = partition.lock();
            let start = state.log.log_start_offset();
            // As Kafka: only what the name of the first segment does not say already.
            (start > state.log.first_segment_base_offset()).then_some(start)
        }
        Checkpoint::Cleaner => {
            let state = partition.lock();
            let offset = state.log.clean_offset();
            (state.log.config().cleanup_compact && offset > 0).then_some(offset)
        }
    }
}
