//! The log cleaner: compacts the logs of topics with `cleanup.policy` compact, the dirtiest first.
//!
//! One task. While no topic is compacted it waits for the metadata to change; else it looks every
//! `log.cleaner.backoff.ms`, and goes on at once as long as there is something to clean. The work is done on the pool
//! for blocking calls; a partition's lock is held for short moments only ([`storage::compaction`]).

use std::collections::HashSet;
use std::hash::RandomState;
use std::sync::Arc;

use parking_lot::MutexGuard;
use storage::DoomedFiles;
use storage::compaction::{CleanArgs, CleanError, Cleanable, clean, dirtiest};
use storage::dirs::Checkpoint;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::clock;
use crate::context::Context;
use crate::maintenance::{blocking, millis};
use crate::replica::manager::ReplicaManager;
use crate::replica::partition::Partition;

/// Runs until cancelled; ends at once with `log.cleaner.enable=false`.
pub(crate) async fn run(ctx: Arc<Context>, cancel: CancellationToken) {
    if !ctx.settings().log_cleaner_enable {
        return;
    }
    let mut cleaner = Cleaner { ctx: ctx.clone(), cancel: cancel.clone(), uncleanable: HashSet::new() };
    loop {
        let mut configs = ctx.metadata.changed();
        let idle = !ctx.replicas.all().iter().any(|p| p.settings().log.cleanup_compact);
        tokio::select! {
            () = cancel.cancelled() => return,
            _ = configs.changed(), if idle => continue,
            () = tokio::time::sleep(millis(ctx.settings().log_cleaner_backoff_ms)), if !idle => {}
        }
        let mut cleaned = true;
        while cleaned && !cancel.is_cancelled() {
            (cleaner, cleaned) = blocking(move || {
                let cleaned = cleaner.clean_dirtiest();
                (cleaner, cleaned)
            })
            .await;
        }
    }
}

struct Cleaner {
    ctx: Arc<Context>,
    cancel: CancellationToken,
    /// Partitions whose files are not as they should be: not tried again before a restart, as in Kafka.
    uncleanable: HashSet<(Uuid, i32)>,
}

impl Cleaner {
    /// Cleans one log; false if none is due, or if it did not work out.
    fn clean_dirtiest(&mut self) -> bool {
        let replicas = &self.ctx.replicas;
        let hosted = replicas.all().into_iter().filter(|p| !p.is_offline() && !self.is_uncleanable(p));
        let logs = hosted.filter_map(|p| Some((p.clone(), cleanable(replicas, &p)?)));
        let Some((partition, cleanable)) = dirtiest(logs) else { return false };
        let settings = self.ctx.settings();
        let args = CleanArgs {
            now_ms: clock::now_ms(),
            memory_bytes: u64::try_from(settings.log_cleaner_dedupe_buffer_size).unwrap_or(0),
            load_factor: settings.log_cleaner_io_buffer_load_factor,
            hashers: [RandomState::new(), RandomState::new()],
            stop: &|| self.cancel.is_cancelled() || partition.is_deleted() || is_moving(replicas, &partition),
        };
        let _files = partition.files.lock();
        let lock = || MutexGuard::map(partition.lock(), |state| &mut state.log);
        let mut doomed = DoomedFiles::default();
        let cleaned = clean(lock, &cleanable, args, &mut doomed);
        let delay_ms = partition.settings().log.file_delete_delay_ms;
        doomed.paths.into_iter().for_each(|path| replicas.remove_later(path, delay_ms));
        match cleaned {
            Ok(cleaned) => {
                tracing::info!(
                    partition = %partition.name, from = cleanable.first_dirty_offset, to = cleaned.end_offset,
                    bytes_before = cleaned.bytes_before, bytes_after = cleaned.bytes_after, "compacted a log"
                );
                replicas.write_checkpoint(Checkpoint::Cleaner);
                true
            }
            Err(error) => {
                self.failed(&partition, &error);
                false
            }
        }
    }

    fn failed(&mut self, partition: &Partition, error: &CleanError) {
        match error {
            CleanError::Stale | CleanError::Stopped => {
                tracing::debug!(partition = %partition.name, "compaction ended early: {error}");
            }
            CleanError::Io(error) if error.is_disk_full() => {
                tracing::warn!(partition = %partition.name, "compaction waits for space: {error}");
            }
            CleanError::Io(error) => {
                self.ctx.replicas.storage_failed(partition, error);
            }
            CleanError::Corrupt { .. } | CleanError::MapTooSmall => {
                tracing::error!(
                    partition = %partition.name, "the partition is not compacted any more until a restart: {error}"
                );
                self.uncleanable.insert((partition.topic_id, partition.name.partition));
            }
        }
    }

    fn is_uncleanable(&self, partition: &Partition) -> bool {
        self.uncleanable.contains(&(partition.topic_id, partition.name.partition))
    }
}

/// Whether the replica is on its way to another directory: until it is there, its files stay as they are.
fn is_moving(replicas: &ReplicaManager, partition: &Partition) -> bool {
    replicas.move_of(partition).is_some()
}

/// What there is to clean in a log; `None` if it is not to be compacted.
fn cleanable(replicas: &ReplicaManager, partition: &Partition) -> Option<Cleanable> {
    if is_moving(replicas, partition) {
        return None;
    }
    let found = partition.lock().log.cleanable(clock::now_ms());
    match found {
        Ok(cleanable) => cleanable,
        Err(error) => {
            replicas.storage_failed(partition, &error);
            None
        }
    }
}
