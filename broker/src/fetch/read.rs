//! Reading the partitions of a fetch, in order, within its limits.

use std::io;
use std::sync::Arc;

use protocol::{ErrorCode, StrBytes};
use storage::LogSlice;
use storage::txn_index::AbortedTxn;

use crate::clock;
use crate::context::Context;
use crate::fetch::session::{PartitionKey, PartitionRequest};
use crate::metrics::Flow;
use crate::replica::leader::FollowerFetch;
use crate::replica::manager::ReplicaManager;
use crate::replica::partition::{Offsets, Partition, PartitionState, ReadBound, Reader, Role};

/// Limits of a whole request.
pub(crate) struct Limits {
    /// Bytes of records in the answer; the first non-empty partition may exceed it by its first batch.
    pub(crate) max_bytes: usize,
    /// Up to where the reader may read.
    pub(crate) bound: ReadBound,
    /// Version of the request.
    pub(crate) version: i16,
    /// The follower that asks; `None` for a consumer.
    pub(crate) follower: Option<FollowerId>,
    /// Rack of a consumer that wants to read near by, if this node has a selector of replicas (KIP-392).
    pub(crate) rack: Option<StrBytes>,
}

/// A broker that fetches for its replicas.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FollowerId {
    pub(crate) id: i32,
    /// Epoch of its registration; -1 before version 15.
    pub(crate) broker_epoch: i64,
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
    /// The reader is a follower.
    pub(crate) to_follower: bool,
    /// The reader is a follower whose replica is throttled: what it is sent counts.
    pub(crate) is_throttled: bool,
    /// The replica that the consumer should read from instead.
    pub(crate) preferred: Option<i32>,
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
            to_follower: false,
            is_throttled: false,
            preferred: None,
            aborted: None,
            slice: None,
            owner: None,
            behind: false,
        }
    }

    fn set_offsets(&mut self, offsets: &Offsets) {
        self.high_watermark = offsets.high_watermark;
        self.last_stable = offsets.last_stable;
        self.log_start = offsets.log_start;
    }

    /// Bytes of records.
    pub(crate) fn len(&self) -> usize {
        self.slice.as_ref().map_or(0, |slice| slice.len)
    }

    /// The answer must not wait for more.
    pub(crate) fn is_urgent(&self) -> bool {
        self.error != ErrorCode::NONE || self.diverging.is_some() || self.preferred.is_some() || self.behind
    }

    /// An incremental answer must name the partition.
    pub(crate) fn is_noteworthy(&self) -> bool {
        let leads_on = self.diverging.is_some() || self.preferred.is_some();
        self.len() > 0 || self.error != ErrorCode::NONE || leads_on
    }
}

/// Reads every partition of the request in its order.
///
/// `notes_follower` has a follower's offsets noted: they say what it holds, which only a new request can.
pub(crate) fn read_all(
    ctx: &Context,
    partitions: &[PartitionRequest],
    limits: &Limits,
    notes_follower: bool,
) -> Vec<ReadResult> {
    let mut left = limits.max_bytes;
    let mut is_first = true;
    let mut results = Vec::with_capacity(partitions.len());
    for request in partitions {
        let result = match ctx.replicas.find(&request.key.0, request.key.1) {
            Ok(partition) => {
                let max_bytes = usize::try_from(request.max_bytes).unwrap_or(0).min(left);
                let how = ReadOne { max_bytes, min_one_batch: is_first, notes_follower };
                read_one(ctx, &partition, request, limits, how).unwrap_or_else(|error| {
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

struct ReadOne {
    max_bytes: usize,
    min_one_batch: bool,
    notes_follower: bool,
}

fn read_one(
    ctx: &Context,
    partition: &Arc<Partition>,
    request: &PartitionRequest,
    limits: &Limits,
    how: ReadOne,
) -> Result<ReadResult, ErrorCode> {
    if partition.is_offline() {
        return Err(ErrorCode::KAFKA_STORAGE_ERROR);
    }
    let mut state = partition.lock();
    // Only here, under the lock.
    partition.traffic.add_locked(Flow::FetchRequests, 1);
    if partition.is_deleted() {
        return Err(ErrorCode::NOT_LEADER_OR_FOLLOWER);
    }
    let reader = Reader {
        current_leader_epoch: request.current_leader_epoch,
        fetch_offset: request.fetch_offset,
        last_fetched_epoch: request.last_fetched_epoch,
        follower: limits.follower.map(|follower| follower.id),
        is_served_by_followers: limits.version >= 11 && limits.follower.is_none(),
    };
    state.check_reader(&reader)?;
    let mut result = ReadResult::failed(request.key.clone(), ErrorCode::NONE);
    result.preferred = preferred(ctx, &state, request, limits);
    if result.preferred.is_some() {
        result.set_offsets(&partition.offsets(&state));
        return Ok(result);
    }
    result.diverging = state.diverging(&reader)?;
    if result.diverging.is_some() {
        result.set_offsets(&partition.offsets(&state));
        return Ok(result);
    }
    let slice = partition
        .read(&state, request.fetch_offset, how.max_bytes, limits.bound, how.min_one_batch)
        .map_err(|error| ctx.replicas.read_failed(partition, &error))?;
    if let Some(follower) = limits.follower.filter(|_| how.notes_follower) {
        note_follower(ctx, partition, &mut state, request, follower)?;
    }
    result.set_offsets(&partition.offsets(&state));
    if limits.bound == ReadBound::LastStableOffset {
        let upper = if slice.len == 0 { request.fetch_offset } else { slice.upper_offset };
        let aborted = state.log.aborted_transactions(request.fetch_offset, upper);
        result.aborted = Some(aborted.map_err(|e| ctx.replicas.read_failed(partition, &e))?);
    }
    if let Some(follower) = limits.follower {
        result.is_throttled =
            state.settings.leader_throttled.has(partition.name.partition, ctx.config.node_id);
        if result.is_throttled && !state.isr.contains(&follower.id) && is_over_the_rate(ctx) {
            return Ok(result);
        }
    }
    result.behind = slice.len > 0 && slice.segment.base_offset() != state.log.active_segment_base_offset();
    result.slice = Some(slice);
    result.to_follower = limits.follower.is_some();
    result.owner = Some(Owner { partition: partition.clone(), replicas: ctx.replicas.clone() });
    Ok(result)
}

/// Whether throttled followers were sent enough for now.
fn is_over_the_rate(ctx: &Context) -> bool {
    let rate = ctx.settings().leader_replication_throttled_rate;
    ctx.throttles.leader.is_exceeded(rate, clock::now_ms())
}

/// What a follower has: it may commit records, and win the follower a place in the ISR.
fn note_follower(
    ctx: &Context,
    partition: &Arc<Partition>,
    state: &mut PartitionState,
    request: &PartitionRequest,
    follower: FollowerId,
) -> Result<(), ErrorCode> {
    let fetch = FollowerFetch {
        id: follower.id,
        offset: request.fetch_offset,
        log_start_offset: request.log_start_offset,
        broker_epoch: follower.broker_epoch,
    };
    if let Some(proposal) = partition.follower_fetched(state, fetch, clock::now_ms())? {
        ctx.replicas.propose_isr(proposal);
    }
    Ok(())
}

/// The follower that a consumer should rather read from; only a leader knows.
fn preferred(
    ctx: &Context,
    state: &PartitionState,
    request: &PartitionRequest,
    limits: &Limits,
) -> Option<i32> {
    let rack = limits.rack.as_deref()?;
    let Role::Leader(leadership) = &state.role else { return None };
    let is_in_rack = |id, rack: &str| ctx.metadata.is_in_rack(id, rack);
    leadership.preferred(&state.isr, request.fetch_offset, rack, is_in_rack)
}
