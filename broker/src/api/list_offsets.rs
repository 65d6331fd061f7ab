//! ListOffsets (key 2), versions 1-10.
//!
//! Timestamps below zero ask for a place: -1 the end that the reader may see, -2 the log start, -3 the record with
//! the largest timestamp (v7), -4 the local log start (v8), -5 the last tiered offset (v9; nothing is tiered).
//! v2 isolation level; v4 leader epochs; v10 timeout.

use std::collections::HashSet;
use std::sync::Arc;

use protocol::ErrorCode;
use protocol::messages::list_offsets_request::ListOffsetsPartition;
use protocol::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use protocol::messages::{ListOffsetsRequest, ListOffsetsResponse};

use crate::api::Client;
use crate::context::Context;
use crate::replica::partition::{Partition, PartitionState, ReadBound, Role};

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;
/// Replica id of a consumer that may ask any replica.
const DEBUGGING_REPLICA: i32 = -2;

/// Finds offsets by timestamp.
pub(crate) async fn handle(
    ctx: Arc<Context>,
    client: Client,
    request: ListOffsetsRequest,
) -> ListOffsetsResponse {
    let mut seen = HashSet::new();
    let mut duplicates = HashSet::new();
    for topic in &request.topics {
        for partition in &topic.partitions {
            let key = (topic.name.clone(), partition.partition_index);
            if !seen.insert(key.clone()) {
                duplicates.insert(key);
            }
        }
    }
    let bound = match (request.replica_id.0, request.isolation_level) {
        (0.., _) | (DEBUGGING_REPLICA, _) => ReadBound::LogEnd,
        (_, 1) => ReadBound::LastStableOffset,
        _ => ReadBound::HighWatermark,
    };
    let lookup = Lookup {
        ctx: &ctx,
        version: client.version,
        bound,
        any_replica: request.replica_id.0 == DEBUGGING_REPLICA,
    };
    // What is named twice is refused, once.
    let mut refused = HashSet::new();
    let topics = request
        .topics
        .iter()
        .map(|topic| {
            let partitions = topic
                .partitions
                .iter()
                .filter(|p| {
                    let key = (topic.name.clone(), p.partition_index);
                    !duplicates.contains(&key) || refused.insert(key)
                })
                .map(|p| {
                    let is_duplicate = duplicates.contains(&(topic.name.clone(), p.partition_index));
                    let found = if is_duplicate {
                        Err(ErrorCode::INVALID_REQUEST)
                    } else {
                        lookup.find(&topic.name.0, p)
                    };
                    lookup.answer(p.partition_index, found)
                })
                .collect();
            ListOffsetsTopicResponse::default().with_name(topic.name.clone()).with_partitions(partitions)
        })
        .collect();
    ListOffsetsResponse::default().with_topics(topics)
}

struct Found {
    timestamp: i64,
    offset: i64,
    leader_epoch: i32,
}

impl Found {
    const NOTHING: Self = Self { timestamp: -1, offset: -1, leader_epoch: -1 };
}

struct Lookup<'a> {
    ctx: &'a Context,
    version: i16,
    bound: ReadBound,
    any_replica: bool,
}

impl Lookup<'_> {
    fn answer(&self, index: i32, found: Result<Found, ErrorCode>) -> ListOffsetsPartitionResponse {
        let (error, found) = match found {
            Ok(found) => (ErrorCode::NONE, found),
            Err(error) => (error, Found::NOTHING),
        };
        let response = ListOffsetsPartitionResponse::default()
            .with_partition_index(index)
            .with_error_code(error.code())
            .with_timestamp(found.timestamp)
            .with_offset(found.offset);
        if self.version >= 4 { response.with_leader_epoch(found.leader_epoch) } else { response }
    }

    fn find(&self, topic: &str, request: &ListOffsetsPartition) -> Result<Found, ErrorCode> {
        if request.timestamp < lowest_special(self.version) {
            return Err(ErrorCode::UNSUPPORTED_VERSION);
        }
        let partition = self.ctx.replicas.by_name(topic, request.partition_index)?;
        if partition.is_offline() {
            return Err(ErrorCode::KAFKA_STORAGE_ERROR);
        }
        let state = partition.lock();
        state.check_epoch(request.current_leader_epoch)?;
        if !state.is_leader() && !self.any_replica {
            return Err(ErrorCode::NOT_LEADER_OR_FOLLOWER);
        }
        self.look_up(&partition, &state, request.timestamp)
    }

    fn look_up(
        &self,
        partition: &Partition,
        state: &PartitionState,
        timestamp: i64,
    ) -> Result<Found, ErrorCode> {
        let offsets = partition.offsets(state);
        let epoch_of = |offset: i64| state.log.epoch_for_offset(offset).unwrap_or(-1);
        match timestamp {
            LATEST => {
                self.check_high_watermark(state, offsets.high_watermark)?;
                let leader_epoch = state.log.latest_epoch().unwrap_or(-1);
                Ok(Found { timestamp: -1, offset: offsets.bound(self.bound), leader_epoch })
            }
            EARLIEST | EARLIEST_LOCAL => Ok(Found {
                timestamp: -1,
                offset: offsets.log_start,
                leader_epoch: epoch_of(offsets.log_start),
            }),
            LATEST_TIERED => Ok(Found::NOTHING),
            _ => {
                // Reads indexes and opens a batch: it may take a while.
                let found = tokio::task::block_in_place(|| match timestamp {
                    MAX_TIMESTAMP => state.log.offset_of_max_timestamp(),
                    _ => state.log.offset_for_timestamp(timestamp),
                });
                let found = found.map_err(|e| self.ctx.replicas.read_failed(partition, &e))?;
                match found {
                    Some(found) if found.offset < offsets.bound(self.bound) => Ok(Found {
                        timestamp: found.timestamp,
                        offset: found.offset,
                        leader_epoch: found.leader_epoch,
                    }),
                    _ => {
                        self.check_high_watermark(state, offsets.high_watermark)?;
                        Ok(Found::NOTHING)
                    }
                }
            }
        }
    }

    /// A new leader does not know the high watermark until its followers have caught up (KIP-207).
    fn check_high_watermark(&self, state: &PartitionState, high_watermark: i64) -> Result<(), ErrorCode> {
        match &state.role {
            Role::Leader(leadership) if high_watermark < leadership.epoch_start_offset => {
                Err(if self.version >= 5 {
                    ErrorCode::OFFSET_NOT_AVAILABLE
                } else {
                    ErrorCode::LEADER_NOT_AVAILABLE
                })
            }
            _ => Ok(()),
        }
    }
}

/// The lowest special timestamp that a version knows.
fn lowest_special(version: i16) -> i64 {
    match version {
        9.. => LATEST_TIERED,
        8 => EARLIEST_LOCAL,
        7 => MAX_TIMESTAMP,
        _ => EARLIEST,
    }
}
