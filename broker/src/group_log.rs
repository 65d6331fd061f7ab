//! The group coordinator's view of the broker: its log partitions and the topics.

use std::sync::Arc;

use bytes::BytesMut;
use protocol::ErrorCode;
use storage::AppendOrigin;

use crate::clock;
use crate::group::{Appended, OFFSETS_TOPIC, OffsetsLog, TopicLookup};
use crate::metadata_cache::MetadataCache;
use crate::replica::manager::ReplicaManager;

/// Appends to the partitions of `__consumer_offsets` that this broker leads.
pub(crate) struct GroupLog {
    pub(crate) replicas: Arc<ReplicaManager>,
}

impl OffsetsLog for GroupLog {
    fn append(&self, partition: i32, leader_epoch: i32, mut batch: BytesMut) -> Result<Appended, ErrorCode> {
        let partition = self.replicas.by_name(OFFSETS_TOPIC, partition)?;
        if partition.is_offline() {
            return Err(ErrorCode::KAFKA_STORAGE_ERROR);
        }
        let mut state = partition.lock();
        if !state.is_leader() || state.leader_epoch != leader_epoch {
            return Err(ErrorCode::NOT_LEADER_OR_FOLLOWER);
        }
        if state.isr.len() < state.min_isr() {
            return Err(ErrorCode::NOT_ENOUGH_REPLICAS);
        }
        if batch.len() > state.settings.log.max_message_bytes as usize {
            return Err(ErrorCode::MESSAGE_TOO_LARGE);
        }
        let appended =
            partition.append_as_leader(&mut state, &mut batch, AppendOrigin::Coordinator, clock::now_ms());
        drop(state);
        match appended {
            Ok(info) => {
                partition.waiters.appended();
                if let Some(rolled_at) = info.rolled_at {
                    self.replicas.flush_later(&partition, rolled_at);
                }
                Ok(Appended {
                    base_offset: info.first_offset,
                    end_offset: info.last_offset + 1,
                    high_watermark: partition.high_watermark(),
                })
            }
            Err(error) => Err(self.replicas.append_failed(&partition, &error)),
        }
    }
}

impl TopicLookup for MetadataCache {
    fn partition_count(&self, topic: &str) -> Option<i32> {
        self.image().topics.by_name(topic).and_then(|t| i32::try_from(t.partitions.len()).ok())
    }
}
