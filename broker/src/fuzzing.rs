//! The hand-written parts of Produce and Fetch with plain arguments and results, so that they can be fuzzed.

use std::ops::Range;
use std::sync::Arc;

use net::Outbox;
use protocol::ErrorCode;
use storage::LogSlice;
use storage::txn_index::AbortedTxn;
use uuid::Uuid;

use crate::api::produce::{self, PartitionResult, TopicResult};
use crate::context::{AnswerContext, NodeEndpoint};
use crate::fetch::answer::{self, Answer};
use crate::fetch::read::ReadResult;
use crate::fetch::session::TopicKey;
use crate::metadata_cache::LeaderHint;

/// What the walk over a Produce request finds.
#[derive(Debug)]
pub struct ProduceWalk {
    /// As in the request.
    pub acks: i16,
    /// The topics, in order.
    pub topics: Vec<WalkedTopic>,
}

/// A topic of a Produce request.
#[derive(Debug)]
pub struct WalkedTopic {
    /// Its name, before version 13.
    pub name: Option<String>,
    /// Its id, from version 13 on.
    pub id: Option<Uuid>,
    /// Index of each partition, and where its records lie in the frame.
    pub partitions: Vec<(i32, Option<Range<usize>>)>,
}

/// Walks through a Produce request whose body begins at `body`, as its handler does; `None` if it is malformed.
pub fn walk_produce(version: i16, frame: &mut [u8], body: usize) -> Option<ProduceWalk> {
    let mut found = Vec::new();
    let request = produce::walk(version, frame, body, |_, _, data, _| {
        found.push((data.index, data.records));
        PartitionResult::new(data.index)
    })?;
    let mut found = found.into_iter();
    let topics = request.topics.into_iter().map(|topic| WalkedTopic {
        name: topic.name.map(String::from),
        id: topic.id,
        partitions: found.by_ref().take(topic.partitions.len()).collect(),
    });
    Some(ProduceWalk { acks: request.acks, topics: topics.collect() })
}

/// What answers say of leaders.
#[derive(Debug, Clone, Default)]
pub struct Hints {
    /// Id and epoch of every partition's leader.
    pub leader: Option<(i32, i32)>,
    /// Host, port and rack of every node.
    pub endpoint: Option<(String, i32, Option<String>)>,
}

impl AnswerContext for Hints {
    fn leader_of(&self, _name: Option<&str>, _id: Option<Uuid>, _partition: i32) -> Option<LeaderHint> {
        self.leader.map(|(id, epoch)| LeaderHint { id, epoch })
    }

    fn node_endpoints(&self, ids: &[i32]) -> Vec<NodeEndpoint> {
        let Some((host, port, rack)) = &self.endpoint else { return Vec::new() };
        let of =
            |id: &i32| NodeEndpoint { node_id: *id, host: host.clone(), port: *port, rack: rack.clone() };
        ids.first().map(of).into_iter().collect()
    }

    fn fetched(&self, _result: &ReadResult) {}
}

/// One partition of an answer; a field that the API or its version lacks is not written.
#[derive(Debug, Clone)]
pub struct AnsweredPartition {
    /// The topic's name, where the version has names.
    pub topic: String,
    /// The topic's id, where the version has ids.
    pub topic_id: Uuid,
    /// Partition number.
    pub index: i32,
    /// Error code.
    pub error: i16,
    /// Base offset (Produce), high watermark (Fetch).
    pub offset: i64,
    /// Log append time (Produce), last stable offset (Fetch).
    pub second: i64,
    /// Log start offset.
    pub log_start_offset: i64,
    /// Produce: index and reason of records that were refused.
    pub record_errors: Vec<(i32, String)>,
    /// Produce: what is wrong.
    pub message: Option<String>,
    /// Fetch: epoch and end offset where the logs part.
    pub diverging: Option<(i32, i64)>,
    /// Fetch: producer id and first offset of aborted transactions.
    pub aborted: Option<Vec<(i64, i64)>>,
    /// Fetch: the records.
    pub records: Option<LogSlice>,
}

/// The frame that answers a Produce request; each partition stands in a topic of its own.
pub fn encode_produce(
    version: i16,
    correlation_id: i32,
    all: &[AnsweredPartition],
    hints: &Hints,
) -> Vec<u8> {
    let topics: produce::Topics = all
        .iter()
        .map(|partition| TopicResult {
            name: (version < 13).then(|| partition.topic.as_str().into()),
            id: (version >= 13).then_some(partition.topic_id),
            partitions: smallvec::smallvec![PartitionResult {
                error: ErrorCode(partition.error),
                base_offset: partition.offset,
                log_append_time: partition.second,
                log_start_offset: partition.log_start_offset,
                record_errors: partition.record_errors.clone(),
                message: partition.message.clone(),
                ..PartitionResult::new(partition.index)
            }],
        })
        .collect();
    let mut out = Outbox::new();
    produce::encode(hints, version, correlation_id, &topics, &mut out);
    std::mem::take(out.buffer())
}

/// The frame that answers a Fetch request, and its size with the records that are sent from files and are not in it.
pub fn encode_fetch(
    version: i16,
    correlation_id: i32,
    (error, session_id): (i16, i32),
    all: &[AnsweredPartition],
    hints: &Hints,
) -> (Vec<u8>, usize) {
    let results = all.iter().map(|partition| {
        let topic = match version {
            13.. => TopicKey::Id(partition.topic_id),
            _ => TopicKey::Name(Arc::from(partition.topic.as_str())),
        };
        let aborted = |&(producer_id, first_offset): &(i64, i64)| AbortedTxn {
            producer_id,
            first_offset,
            last_offset: first_offset,
            last_stable_offset: first_offset,
        };
        ReadResult {
            key: (topic, partition.index),
            error: ErrorCode(partition.error),
            high_watermark: partition.offset,
            last_stable: partition.second,
            log_start: partition.log_start_offset,
            diverging: partition.diverging,
            to_follower: false,
            is_throttled: false,
            preferred: None,
            aborted: partition.aborted.as_ref().map(|all| all.iter().map(aborted).collect()),
            slice: partition.records.clone(),
            owner: None,
            behind: false,
        }
    });
    let answer = Answer { error: ErrorCode(error), session_id, results: results.collect() };
    let mut out = Outbox::new();
    answer::encode(hints, version, correlation_id, &answer, &mut out);
    let size = out.len();
    (std::mem::take(out.buffer()), size)
}
