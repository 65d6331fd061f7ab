//! Follows the metadata: each committed change is first made true of the replicas and the coordinators, then
//! published to the API handlers.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use metadata::delta::MetadataDelta;
use metadata::image::{ConfigResource, resource_type};
use storage::TopicPartition;

use crate::bounds;
use crate::context::Context;
use crate::metadata_cache::GROUP_METADATA_TOPIC;
use crate::replica::manager::LeadershipChange;
use crate::replica::partition::Partition;

/// Committed metadata, change by change, in order and without loss. The first delta starts from the empty image.
pub trait MetadataSource: Send + 'static {
    /// The next change; `None` when the node stops. Cancel safe.
    fn next(&mut self) -> Pin<Box<dyn Future<Output = Option<Arc<MetadataDelta>>> + Send + '_>>;
}

/// Applies one change. Blocks on file operations.
pub(crate) fn apply(ctx: &Context, delta: &MetadataDelta) {
    let image = Arc::new(delta.after().clone());
    let is_broker = |r: &ConfigResource| r.kind == resource_type::BROKER;
    if delta.changes.configs.iter().any(is_broker) {
        ctx.settings.store(Arc::new(ctx.settings_source.broker(&image)));
        let (names, exempt) = (ctx.config.listener_names(), Some(&*ctx.config.inter_broker_listener));
        let quotas = ctx.settings_source.with_layers(&image, |layers| {
            bounds::connection_quotas(layers, &names, exempt, ctx.config.capacity)
        });
        ctx.bounds.quotas.set(quotas);
    }
    if let Some(topic) = image.topics.by_name(GROUP_METADATA_TOPIC) {
        ctx.groups.set_offsets_partitions(i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX));
    }
    let changes = ctx.replicas.apply(delta);
    for change in changes.iter().filter(|change| &*change.partition.name.topic == GROUP_METADATA_TOPIC) {
        lead_groups(ctx, change);
    }
    let deleted: Vec<_> = delta.changes.topics_deleted.values().map(|t| t.0.name.to_string()).collect();
    ctx.metadata.publish(image);
    if !delta.changes.brokers.is_empty() {
        // Who is fenced may not join an in-sync set, and what it lacks is waited for no more.
        ctx.replicas.all().iter().for_each(|partition| partition.commit());
    }
    for change in changes.iter().filter(|change| change.is_deleted) {
        change.partition.waiters.wake_all();
    }
    for topic in deleted {
        ctx.groups.topic_deleted(&topic);
    }
}

/// Loads or gives up the groups of one partition.
fn lead_groups(ctx: &Context, change: &LeadershipChange) {
    let partition = &change.partition;
    let index = partition.name.partition;
    let epoch = partition.lock().leader_epoch;
    if !change.leads {
        // Deleted or led by another: a topic of the same name may start over at epoch 0.
        ctx.groups.resign(index, (!change.is_deleted).then_some(epoch));
        return;
    }
    let groups = Arc::downgrade(&ctx.groups);
    partition.on_commit(move |high_watermark| {
        if let Some(groups) = groups.upgrade() {
            groups.on_high_watermark(index, high_watermark);
        }
    });
    let Some(mut load) = ctx.groups.begin_load(index, epoch) else { return };
    for piece in committed_batches(partition) {
        let taken =
            piece.map_err(|e| e.to_string()).and_then(|p| load.batches(&p).map_err(|e| e.to_string()));
        if let Err(error) = taken {
            tracing::error!("{GROUP_METADATA_TOPIC}-{index}: the groups cannot be loaded: {error}");
            ctx.groups.resign(index, Some(epoch));
            return;
        }
    }
    ctx.groups.finish_load(load, partition.high_watermark());
}

/// The committed records of a log in pieces of whole batches.
fn committed_batches(
    partition: &Arc<Partition>,
) -> impl Iterator<Item = Result<Vec<u8>, storage::ReadError>> + '_ {
    const PIECE_BYTES: usize = 1 << 20;
    let mut next = partition.lock().log.log_start_offset();
    std::iter::from_fn(move || {
        let slice = {
            let state = partition.lock();
            partition.read(&state, next, PIECE_BYTES, crate::replica::partition::ReadBound::LogEnd, true)
        };
        let piece = match slice {
            Ok(slice) if slice.len == 0 => return None,
            Ok(slice) => slice.read().map_err(|source| {
                let path = TopicPartition::to_string(&partition.name).into();
                storage::ReadError::Io(storage::StorageError { operation: "read", path, source })
            }),
            Err(error) => return Some(Err(error)),
        };
        Some(piece.and_then(|mut bytes| {
            let whole = whole_batches(&bytes, &mut next);
            if whole == 0 {
                // Going on from the same offset would never end.
                let base_offset = partition.lock().log.active_segment_base_offset();
                return Err(storage::ReadError::Corrupt { base_offset, position: 0 });
            }
            bytes.truncate(whole);
            Ok(bytes)
        }))
    })
}

/// Length of the whole batches at the start of `bytes`; moves `next` behind them.
fn whole_batches(bytes: &[u8], next: &mut i64) -> usize {
    let mut end = 0;
    let mut batches = protocol::batch::batches(bytes);
    while let Some(Ok(batch)) = batches.next() {
        let Ok(header) = batch.header() else { break };
        end = batches.position();
        *next = header.next_offset();
    }
    end
}
