//! Reading the partitions of a fetch, in order, within its limits.

use std::io;
use std::sync::Arc;

use protocol::ErrorCode;
use storage::LogSlice;
use storage::txn_index::AbortedTxn;

use crate::context::Context;
use crate::fetch::session::{PartitionKey, PartitionRequest};
use crate::metrics::Flow;
use crate::replica::manager::ReplicaManager;
use crate::replica::partition::{Partition, PartitionState, ReadBound};

/// Limits of a whole request.
pub(crate) struct Limits {
    /// Bytes of records in the answer; the first non-empty partition may exceed it by its first batch.
    pub(crate) max_bytes: usize,
    /// Up to where the reader may read.
    pub(crate) bound: ReadBound,
    /// Version of the request.
    pub(crate) version: i16,
    /// Which replica asks; negative for a consumer.
    pub(crate) replica_id: i32,
}

/// What a fetch found in one partition.
pub(crate) struct ReadResult {
    pub(crate) key: PartitionKey,
    pub(crate) error: ErrorCode,
    pub(crate) high_watermark: i64,
    pub(crate) last_stable: i64,
    pub(crate) log_start: i64,
    /// Epoch and end offset where the reader's log parts from this one (KIP-595).
    pub(crate) diverging: Option<(i32, i64)>,
    /// `None` unless the reader asked for committed transactions only.
    pub(crate) aborted: Option<Vec<AbortedTxn>>,
    /// Where the records are.
    pub(crate) slice: Option<LogSlice>,
    /// Whose records they are.
    pub(crate) owner: Option<Owner>,
    /// The reader's offset is not in the active segment: waiting would not fill the answer.
    pub(crate) behind: bool,
}

/// The replica that records are read from, to be told if its disk fails.
#[derive(Clone)]
pub(crate) struct Owner {
    partition: Arc<Partition>,
    replicas: Arc<ReplicaManager>,
}

impl Owner {
    /// The file cannot be read; gives the code for the answer.
    pub(crate) fn failed(&self, error: io::Error) -> ErrorCode {
        self.replicas.send_failed(&self.partition, error)
    }
}

impl ReadResult {
    fn failed(key: PartitionKey, error: ErrorCode) -> Self {
        Self {
            key,
            error,
            high_watermark: -1,
            last_stable: -1,
            log_start: -1,
            diverging: None,
            aborted: None,
            slice: None,
            owner: None,
            behind: false,
        }
    }

    /// Bytes of records.
    pub(crate) fn len(&self) -> usize {
        self.slice.as_ref().map_or(0, |slice| slice.len)
    }

    /// The answer must not wait for more.
    pub(crate) fn is_urgent(&self) -> bool {
        self.error != ErrorCode::NONE || self.diverging.is_some() || self.behind
    }

    /// An incremental answer must name the partition.
    pub(crate) fn is_noteworthy(&self) -> bool {
        self.len() > 0 || self.error != ErrorCode::NONE || self.diverging.is_some()
    }
}

/// Reads every partition of the request in its order.
pub(crate) fn read_all(ctx: &Context, partitions: &[PartitionRequest], limits: &Limits) -> Vec<ReadResult> {
    let mut left = limits.max_bytes;
    let mut is_first = true;
    let mut results = Vec::with_capacity(partitions.len());
    for request in partitions {
        let result = match ctx.replicas.find(&request.key.0, request.key.1) {
            Ok(partition) => {
                let max_bytes = usize::try_from(request.max_bytes).unwrap_or(0).min(left);
                read_one(ctx, &partition, request, limits, max_bytes, is_first).unwrap_or_else(|error| {
                    if error == ErrorCode::CORRUPT_MESSAGE {
                        partition.traffic.add(Flow::FetchFailures, 1);
                    }
                    ReadResult::failed(request.key.clone(), error)
                })
            }
            // Nothing was read: the list is empty then, where it is null after a read that failed.
            Err(error) => {
                ctx.replicas.elsewhere.add(Flow::FetchRequests, 1);
                ReadResult { aborted: Some(Vec::new()), ..ReadResult::failed(request.key.clone(), error) }
            }
        };
        left = left.saturating_sub(result.len());
        is_first &= result.len() == 0;
        results.push(result);
    }
    results
}

fn read_one(
    ctx: &Context,
    partition: &Arc<Partition>,
    request: &PartitionRequest,
    limits: &Limits,
    max_bytes: usize,
    min_one_batch: bool,
) -> Result<ReadResult, ErrorCode> {
    if partition.is_offline() {
        return Err(ErrorCode::KAFKA_STORAGE_ERROR);
    }
    let state = partition.lock();
    // Only here, under the lock.
    partition.traffic.add_locked(Flow::FetchRequests, 1);
    if partition.is_deleted() {
        return Err(ErrorCode::NOT_LEADER_OR_FOLLOWER);
    }
    state.check_epoch(request.current_leader_epoch)?;
    if limits.replica_id >= 0 && !state.replicas.contains(&limits.replica_id) {
        return Err(match request.current_leader_epoch {
            0.. => ErrorCode::UNKNOWN_LEADER_EPOCH,
            _ => ErrorCode::NOT_LEADER_OR_FOLLOWER,
        });
    }
    let is_follower_read = limits.version >= 11 && limits.bound != ReadBound::LogEnd;
    if !state.is_leader() && !is_follower_read {
        return Err(ErrorCode::NOT_LEADER_OR_FOLLOWER);
    }
    let offsets = partition.offsets(&state);
    let mut result = ReadResult::failed(request.key.clone(), ErrorCode::NONE);
    result.high_watermark = offsets.high_watermark;
    result.last_stable = offsets.last_stable;
    result.log_start = offsets.log_start;
    if let Some(diverging) = diverging(&state, request)? {
        result.diverging = Some(diverging);
        return Ok(result);
    }
    let slice = partition
        .read(&state, request.fetch_offset, max_bytes, limits.bound, min_one_batch)
        .map_err(|error| ctx.replicas.read_failed(partition, &error))?;
    if limits.bound == ReadBound::LastStableOffset {
        let upper = if slice.len == 0 { request.fetch_offset } else { slice.upper_offset };
        let aborted = state.log.aborted_transactions(request.fetch_offset, upper);
        result.aborted = Some(aborted.map_err(|e| ctx.replicas.read_failed(partition, &e))?);
    }
    result.behind = slice.len > 0 && slice.segment.base_offset() != state.log.active_segment_base_offset();
    result.slice = Some(slice);
    result.owner = Some(Owner { partition: partition.clone(), replicas: ctx.replicas.clone() });
    Ok(result)
}

/// Where the reader's log and this one part, if its last epoch says that they do.
fn diverging(state: &PartitionState, request: &PartitionRequest) -> Result<Option<(i32, i64)>, ErrorCode> {
    if request.last_fetched_epoch < 0 {
        return Ok(None);
    }
    if request.fetch_offset < state.log.log_start_offset() {
        return Err(ErrorCode::OFFSET_OUT_OF_RANGE);
    }
    let (epoch, end) =
        state.log.end_offset_for_epoch(request.last_fetched_epoch).ok_or(ErrorCode::OFFSET_OUT_OF_RANGE)?;
    let parts = epoch < request.last_fetched_epoch || end < request.fetch_offset;
    Ok(parts.then_some((epoch, end)))
}
