//! What a follower does with a leader's answer for one partition.

use std::sync::Arc;

use protocol::ErrorCode;
use protocol::messages::fetch_response::PartitionData;

use super::request::Position;
use crate::clock;
use crate::context::Context;
use crate::replica::log::ReplicaLog;
use crate::replica::partition::{LeaderOffsets, Partition, PartitionState, Truncation};

/// How it goes on with the partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Fetch on.
    Fetch,
    /// Fetch again a little later.
    Pause,
    /// The leader does not have the offset: ask which it has.
    OutOfRange,
    /// Not followed any more, or not in this epoch, or the disk failed: an order brings it back.
    Stop,
}

/// Appends, truncates, or finds out why neither.
pub(super) fn take(ctx: &Context, partition: &Arc<Partition>, asked: Position, data: &PartitionData) -> Next {
    let mut state = partition.lock();
    match judge(&state, asked, data) {
        Verdict::NotFollowed => Next::Stop,
        Verdict::Overtaken => Next::Fetch,
        Verdict::OffsetsOnly => append(ctx, partition, state, &data.clone().with_records(None)),
        Verdict::Truncate(to) => {
            let (epoch, end_offset) = (data.diverging_epoch.epoch, data.diverging_epoch.end_offset);
            tracing::info!(
                "{}: truncating to offset {to}; the leader ends epoch {epoch} at {end_offset}",
                partition.name
            );
            truncate(ctx, partition, &mut state, Truncation::To(to))
        }
        Verdict::Append => append(ctx, partition, state, data),
        Verdict::Refused(ErrorCode::OFFSET_OUT_OF_RANGE) => Next::OutOfRange,
        Verdict::Refused(ErrorCode::FENCED_LEADER_EPOCH) => {
            tracing::info!("{}: the leader has a newer epoch than {}", partition.name, asked.leader_epoch);
            Next::Stop
        }
        Verdict::Refused(code) => {
            tracing::debug!("{}: not fetched: {}", partition.name, code.name());
            Next::Pause
        }
    }
}

/// What a leader's answer means for a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It does not follow any more, or not in this epoch.
    NotFollowed,
    /// An answer to an earlier request, which a truncation overtook.
    Overtaken,
    /// Likewise an append: what is committed counts all the same, and the leader says it once only.
    OffsetsOnly,
    /// The logs part here.
    Truncate(i64),
    /// Take the records and the leader's offsets.
    Append,
    /// The leader's error.
    Refused(ErrorCode),
}

/// Finds out what `data` means for a replica that asked from `asked` on.
pub(crate) fn judge<L: ReplicaLog>(
    state: &PartitionState<L>,
    asked: Position,
    data: &PartitionData,
) -> Verdict {
    if !is_followed(state, asked.leader_epoch) {
        return Verdict::NotFollowed;
    }
    match ErrorCode(data.error_code) {
        ErrorCode::NONE if state.log.log_end_offset() < asked.offset => Verdict::Overtaken,
        ErrorCode::NONE if state.log.log_end_offset() > asked.offset => Verdict::OffsetsOnly,
        ErrorCode::NONE if data.diverging_epoch.epoch >= 0 => {
            let (epoch, end_offset) = (data.diverging_epoch.epoch, data.diverging_epoch.end_offset);
            let own = state.log.end_offset_for_epoch(epoch);
            Verdict::Truncate(where_logs_part(own, state.log.log_end_offset(), epoch, end_offset))
        }
        ErrorCode::NONE => Verdict::Append,
        code => Verdict::Refused(code),
    }
}

/// How a log that ends at `log_end` comes back into the leader's range; `None` if it lies in it already.
pub(crate) fn into_range(log_end: i64, earliest: i64, latest: i64) -> Option<Truncation> {
    if latest < log_end {
        Some(Truncation::To(latest))
    } else if earliest > log_end {
        Some(Truncation::FullyAndStartAt(earliest))
    } else {
        None
    }
}

/// Whether the replica still follows in this epoch.
pub(crate) fn is_followed<L>(state: &PartitionState<L>, leader_epoch: i32) -> bool {
    state.role.is_follower() && state.leader_epoch == leader_epoch
}

fn append(
    ctx: &Context,
    partition: &Arc<Partition>,
    mut state: parking_lot::MutexGuard<'_, PartitionState>,
    data: &PartitionData,
) -> Next {
    let records = data.records.as_deref().unwrap_or_default();
    let records = up_to_epoch(records, state.leader_epoch);
    let leader = LeaderOffsets { high_watermark: data.high_watermark, log_start: data.log_start_offset };
    match partition.append_as_follower(&mut state, records, leader, clock::now_ms()) {
        Ok(appended) => {
            let is_throttled =
                state.settings.follower_throttled.has(partition.name.partition, ctx.config.node_id);
            drop(state);
            if is_throttled && !records.is_empty() {
                ctx.throttles.follower.record(records.len(), clock::now_ms());
            }
            if let Some(rolled_at) = appended.and_then(|info| info.rolled_at) {
                ctx.replicas.flush_later(partition, rolled_at);
            }
            Next::Fetch
        }
        Err(error) => {
            drop(state);
            match ctx.replicas.append_failed(partition, &error) {
                ErrorCode::KAFKA_STORAGE_ERROR | ErrorCode::NOT_LEADER_OR_FOLLOWER => Next::Stop,
                _ => {
                    tracing::error!("{}: what the leader sent cannot be appended: {error}", partition.name);
                    Next::Pause
                }
            }
        }
    }
}

/// The whole batches of epochs that this follower knows: what a later leader wrote it takes from that leader.
pub(crate) fn up_to_epoch(records: &[u8], leader_epoch: i32) -> &[u8] {
    let mut end = 0;
    for batch in protocol::batch::batches(records).flatten() {
        match batch.header() {
            Ok(header) if header.partition_leader_epoch <= leader_epoch => {
                end = batch.position + batch.bytes.len();
            }
            _ => break,
        }
    }
    &records[..end]
}

/// Where a log that ends at `log_end` stops being the leader's, whose epoch `epoch` ends at `end_offset`.
///
/// `own` is the last epoch up to `epoch` that the log itself has, with its end.
pub(crate) fn where_logs_part(own: Option<(i32, i64)>, log_end: i64, epoch: i32, end_offset: i64) -> i64 {
    let parts = match own {
        Some((own, end)) if own == epoch => end.min(end_offset),
        // What the leader has of an epoch before it has to be asked next.
        Some((_, end)) => end,
        None => end_offset,
    };
    parts.min(log_end)
}

/// Truncates; an IO error takes the directory offline.
pub(super) fn truncate(
    ctx: &Context,
    partition: &Arc<Partition>,
    state: &mut PartitionState,
    truncation: Truncation,
) -> Next {
    match partition.truncate(state, truncation) {
        Ok(doomed) => {
            let delay_ms = state.settings.log.file_delete_delay_ms;
            doomed.paths.into_iter().for_each(|path| ctx.replicas.remove_later(path, delay_ms));
            Next::Fetch
        }
        Err(error) => {
            ctx.replicas.storage_failed(partition, &error);
            Next::Stop
        }
    }
}

#[cfg(test)]
mod tests {
    use protocol::batch::BatchBuilder;

    use super::*;

    #[test]
    fn logs_part_where_the_shorter_of_both_epochs_ends() {
        assert_eq!(where_logs_part(Some((3, 50)), 60, 3, 40), 40, "the leader's epoch is shorter");
        assert_eq!(where_logs_part(Some((3, 50)), 60, 3, 70), 50, "this log's is");
        assert_eq!(where_logs_part(Some((3, 80)), 60, 3, 70), 60, "never behind the log end");
    }

    #[test]
    fn an_epoch_that_this_log_lacks_ends_with_the_one_before() {
        assert_eq!(where_logs_part(Some((2, 30)), 60, 3, 40), 30);
        assert_eq!(where_logs_part(None, 60, 3, 40), 40);
        assert_eq!(where_logs_part(None, 20, 3, 40), 20);
    }

    fn batch(epoch: i32) -> Vec<u8> {
        let mut builder = BatchBuilder::new(0);
        builder.push_pair(1, None, Some(b"value"));
        let mut bytes = builder.build().to_vec();
        // partitionLeaderEpoch, which no checksum covers.
        bytes[12..16].copy_from_slice(&epoch.to_be_bytes());
        bytes
    }

    #[test]
    fn batches_of_later_epochs_and_cut_ones_are_left() {
        let records = [batch(1), batch(2), batch(3)].concat();
        let one = batch(1).len();
        assert_eq!(up_to_epoch(&records, 3), records);
        assert_eq!(up_to_epoch(&records, 2), &records[..2 * one]);
        assert_eq!(up_to_epoch(&records, 0), b"");
        assert_eq!(up_to_epoch(&records[..2 * one + 20], 3), &records[..2 * one]);
    }
}
