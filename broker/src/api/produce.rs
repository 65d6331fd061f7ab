//! Produce (key 0), versions 3-13.
//!
//! The hot path: the request is read where it lies in the connection's buffer, each batch is checked by its header
//! and CRC, gets its offset and leader epoch written in place, and goes to the file with one write. Nothing is
//! decoded or copied. acks=all is answered when the high watermark passes the batch; with a single in-sync
//! replica that is at once.
//!
//! - Exactly one batch of magic 2 per partition; transactional batches answer
//!   TRANSACTIONAL_ID_AUTHORIZATION_FAILED until transactions are served.
//! - acks=0 gets no answer; on an error the connection is closed, so that the client notices.
//! - v5 log_start_offset; v7 zstd; v8 record errors and message; v10 leader hints; v13 topic ids (KIP-516).

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use compact_str::CompactString;
use net::{Outbox, Outcome};
use protocol::ErrorCode;
use protocol::request::HeaderView;
use smallvec::SmallVec;
use storage::AppendOrigin;
use storage::validate::{self, ValidateError};
use uuid::Uuid;

use crate::api::begin_response;
use crate::clock;
use crate::context::{AnswerContext, Context};
use crate::metrics::{Flow, codes};
use crate::replica::log::ReplicaLog;
use crate::replica::partition::{Partition, PartitionState};
use crate::replica::waiters::Wait;
use crate::wire::{FieldReader, FieldWriter};

/// First version with compact fields and tagged fields.
const FLEXIBLE: i16 = 9;
/// The client id of Kafka's own tools, which may write to internal topics.
const ADMIN_CLIENT_ID: &str = "__admin_client";

/// Batches up to this size are written without telling the runtime that this may take a while.
const INLINE_BYTES: usize = 256 * 1024;

/// What a request says of one partition.
pub(crate) struct PartitionData {
    pub(crate) index: i32,
    pub(crate) records: Option<Range<usize>>,
}

/// What became of one partition's batch.
pub(crate) struct PartitionResult {
    pub(crate) index: i32,
    pub(crate) error: ErrorCode,
    pub(crate) base_offset: i64,
    pub(crate) log_append_time: i64,
    pub(crate) log_start_offset: i64,
    /// Place in the batch and reason of each refused record.
    pub(crate) record_errors: Vec<(i32, String)>,
    pub(crate) message: Option<String>,
    /// The partition, and the high watermark that commits the batch; acks=all only.
    pub(crate) committed_at: Option<(Arc<Partition>, i64)>,
}

/// A topic as the request names it, with what became of its partitions.
pub(crate) struct TopicResult {
    pub(crate) name: Option<CompactString>,
    pub(crate) id: Option<Uuid>,
    pub(crate) partitions: SmallVec<[PartitionResult; 1]>,
}

/// A request that was walked through.
pub(crate) struct Request {
    pub(crate) acks: i16,
    pub(crate) timeout: Duration,
    pub(crate) topics: Topics,
}

/// Most requests have one topic with one partition: nothing is allocated for them.
pub(crate) type Topics = SmallVec<[TopicResult; 1]>;

/// Handles a Produce request whose header was read already. Followers are to be told of what is in `grown` then.
pub(crate) fn handle(
    ctx: &Arc<Context>,
    header: &HeaderView,
    frame: &mut [u8],
    grown: &mut Vec<Arc<Partition>>,
    out: &mut Outbox,
) -> Outcome {
    let (version, correlation_id) = (header.api_version, header.correlation_id);
    let Some(request) = run(ctx, header, frame, grown) else {
        return Outcome::Close(format!("undecodable Produce v{version} request"));
    };
    if request.acks == 0 {
        let failed = request.topics.iter().flat_map(|t| &t.partitions).find(|p| p.error != ErrorCode::NONE);
        return match failed {
            None => Outcome::Unanswered,
            Some(failed) => Outcome::Close(format!(
                "a produce with acks=0 from client {:?} failed with {}",
                header.client_id(frame).unwrap_or_default(),
                failed.error.name()
            )),
        };
    }
    if request.topics.iter().flat_map(|t| &t.partitions).all(PartitionResult::is_settled) {
        encode(&**ctx, version, correlation_id, &request.topics, out);
        return Outcome::Answered;
    }
    let ctx = ctx.clone();
    // From now on, however long the answers before this one take.
    let deadline = tokio::time::Instant::now() + request.timeout;
    Outcome::Pending(Box::pin(async move {
        let topics = wait_until_committed(request, deadline).await;
        let mut out = Outbox::new();
        encode(&*ctx, version, correlation_id, &topics, &mut out);
        Some(out)
    }))
}

/// Reads the request and appends partition by partition.
fn run(
    ctx: &Context,
    header: &HeaderView,
    frame: &mut [u8],
    grown: &mut Vec<Arc<Partition>>,
) -> Option<Request> {
    walk(header.api_version, frame, header.body_start, |acks, topic, data, frame| {
        produce(ctx, header, acks, topic, data, frame, grown)
    })
}

/// Reads the request in `frame` from `body` on and calls `each` with acks, topic and partition, in order. `None` if
/// the bytes are no such request; what comes before the place where that shows was handed out by then.
pub(crate) fn walk(
    version: i16,
    frame: &mut [u8],
    body: usize,
    mut each: impl FnMut(i16, &TopicResult, PartitionData, &mut [u8]) -> PartitionResult,
) -> Option<Request> {
    let flexible = version >= FLEXIBLE;
    let mut fields = FieldReader::new(frame, body, flexible);
    fields.string()?;
    let acks = fields.i16()?;
    let timeout = Duration::from_millis(u64::try_from(fields.i32()?).unwrap_or(0));
    let topic_count = fields.array()?;
    let mut at = fields.position();
    let mut topics = Topics::new();
    for _ in 0..topic_count {
        let mut fields = FieldReader::new(frame, at, flexible);
        let (name, id) = if version >= 13 {
            (None, Some(fields.uuid()?))
        } else {
            (Some(CompactString::from(fields.string()??)), None)
        };
        let mut topic = TopicResult { name, id, partitions: SmallVec::new() };
        let partition_count = fields.array()?;
        at = fields.position();
        for _ in 0..partition_count {
            let mut fields = FieldReader::new(frame, at, flexible);
            let data = PartitionData { index: fields.i32()?, records: fields.bytes_range()? };
            fields.tags()?;
            at = fields.position();
            let result = each(acks, &topic, data, frame);
            topic.partitions.push(result);
        }
        let mut fields = FieldReader::new(frame, at, flexible);
        fields.tags()?;
        at = fields.position();
        topics.push(topic);
    }
    Some(Request { acks, timeout, topics })
}

/// Appends one partition's batch.
fn produce(
    ctx: &Context,
    header: &HeaderView,
    acks: i16,
    topic: &TopicResult,
    data: PartitionData,
    frame: &mut [u8],
    grown: &mut Vec<Arc<Partition>>,
) -> PartitionResult {
    let mut result = PartitionResult::new(data.index);
    if !(-1..=1).contains(&acks) {
        result.error = ErrorCode::INVALID_REQUIRED_ACKS;
        return result;
    }
    let partition = match find(ctx, topic, data.index) {
        Ok(partition) => partition,
        Err(error) => {
            ctx.replicas.elsewhere.add(Flow::ProduceRequests, 1);
            result.error = error;
            return result;
        }
    };
    partition.traffic.add(Flow::ProduceRequests, 1);
    if crate::metadata_cache::is_internal(&partition.name.topic)
        && header.client_id(frame).as_deref() != Some(ADMIN_CLIENT_ID)
    {
        result.error = ErrorCode::INVALID_TOPIC_EXCEPTION;
        return result;
    }
    let Some(records) = data.records.and_then(|range| frame.get_mut(range)) else {
        result.error = ErrorCode::INVALID_RECORD;
        return result;
    };
    let bytes = records.len();
    let mut append = |records| append(ctx, header.api_version, acks, &partition, records, &mut result, grown);
    if records.len() <= INLINE_BYTES {
        append(records);
    } else {
        tokio::task::block_in_place(|| append(records));
    }
    if result.error != ErrorCode::NONE {
        count_failure(&partition, result.error, bytes);
    }
    result
}

/// Failures are those that Kafka counts: none that tells a client to look elsewhere, or that it sent what it may not.
fn count_failure(partition: &Partition, error: ErrorCode, bytes: usize) {
    match error {
        ErrorCode::MESSAGE_TOO_LARGE | ErrorCode::RECORD_LIST_TOO_LARGE => {
            partition.traffic.add(Flow::BytesRejected, bytes as u64);
        }
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
        | ErrorCode::UNKNOWN_TOPIC_ID
        | ErrorCode::NOT_LEADER_OR_FOLLOWER
        | ErrorCode::CORRUPT_MESSAGE
        | ErrorCode::KAFKA_STORAGE_ERROR => {}
        _ => partition.traffic.add(Flow::ProduceFailures, 1),
    }
}

fn find(ctx: &Context, topic: &TopicResult, index: i32) -> Result<Arc<Partition>, ErrorCode> {
    match (&topic.name, topic.id) {
        (Some(name), _) => ctx.replicas.by_name(name, index),
        (None, Some(id)) => ctx.replicas.by_id(id, index),
        (None, None) => Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
    }
}

fn append(
    ctx: &Context,
    version: i16,
    acks: i16,
    partition: &Arc<Partition>,
    records: &mut [u8],
    result: &mut PartitionResult,
    grown: &mut Vec<Arc<Partition>>,
) {
    let now_ms = clock::now_ms();
    let settings = partition.settings();
    let args = settings.validate_args(&partition.name, now_ms);
    if let Err(refused) = validate::check_request(version, records) {
        result.error = refused.code();
        return;
    }
    let mut rewritten;
    let records = match validate::validate(records, &args) {
        Ok(validated) if validated.first.is_transactional() => {
            // Nobody can have begun a transaction: transactional ids are not given out yet.
            result.error = ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED;
            return;
        }
        Ok(validated) => match validated.rewritten {
            Some(batch) => {
                rewritten = batch;
                &mut rewritten[..]
            }
            None => &mut records[..validated.len],
        },
        Err(refused) => {
            result.refuse(&refused, partition);
            return;
        }
    };
    let mut state = partition.lock();
    if let Err(error) = writable(partition, &state, acks) {
        result.error = error;
        return;
    }
    match partition.append_as_leader(&mut state, records, AppendOrigin::Client, now_ms) {
        Ok(info) => {
            let is_alone = state.replicas.len() <= 1;
            drop(state);
            if !is_alone && !grown.last().is_some_and(|last| Arc::ptr_eq(last, partition)) {
                grown.push(partition.clone());
            }
            result.base_offset = info.first_offset;
            result.log_append_time = info.log_append_time;
            result.log_start_offset = info.log_start_offset;
            if acks == -1 && partition.high_watermark() <= info.last_offset {
                result.committed_at = Some((partition.clone(), info.last_offset + 1));
            }
            if let Some(rolled_at) = info.rolled_at {
                ctx.replicas.flush_later(partition, rolled_at);
            }
        }
        Err(error) => {
            drop(state);
            result.error = ctx.replicas.append_failed(partition, &error);
            result.log_start_offset = log_start_beside(result.error, partition);
        }
    }
}

/// The log start offset that is told beside an error: none for the errors that Kafka takes for expected ones.
fn log_start_beside(error: ErrorCode, partition: &Partition) -> i64 {
    match error {
        ErrorCode::CORRUPT_MESSAGE
        | ErrorCode::MESSAGE_TOO_LARGE
        | ErrorCode::RECORD_LIST_TOO_LARGE
        | ErrorCode::NOT_LEADER_OR_FOLLOWER
        | ErrorCode::KAFKA_STORAGE_ERROR => -1,
        _ => partition.lock().log.log_start_offset(),
    }
}

/// The checks that Kafka makes before it looks at the records.
pub(crate) fn writable<L: ReplicaLog>(
    partition: &Partition<L>,
    state: &PartitionState<L>,
    acks: i16,
) -> Result<(), ErrorCode> {
    if partition.is_offline() {
        Err(ErrorCode::KAFKA_STORAGE_ERROR)
    } else if !state.is_leader() {
        Err(ErrorCode::NOT_LEADER_OR_FOLLOWER)
    } else if acks == -1 && state.isr.len() < state.min_isr() {
        Err(ErrorCode::NOT_ENOUGH_REPLICAS)
    } else {
        Ok(())
    }
}

/// Waits until every batch is committed or the time is up.
async fn wait_until_committed(mut request: Request, deadline: tokio::time::Instant) -> Topics {
    let wait = Wait::for_offsets();
    for result in request.topics.iter_mut().flat_map(|t| &mut t.partitions) {
        let Some((partition, offset)) = result.committed_at.take() else { continue };
        let _place = partition.waiters.add_commit(offset, &wait);
        let verdict = loop {
            match committed(&partition, offset) {
                Some(verdict) => break verdict,
                None if tokio::time::timeout_at(deadline, wait.woken()).await.is_err() => {
                    break Err(ErrorCode::REQUEST_TIMED_OUT);
                }
                None => {}
            }
        };
        if let Err(error) = verdict {
            result.error = error;
            result.base_offset = -1;
        }
    }
    request.topics
}

/// What the producer is to be told of its batch below `offset`, `None` while that is not known.
pub(crate) fn committed<L: ReplicaLog>(
    partition: &Partition<L>,
    offset: i64,
) -> Option<Result<(), ErrorCode>> {
    #[cfg(feature = "planted-bugs")]
    if planted::is(planted::Bug::AckAtAppend) {
        return Some(Ok(()));
    }
    let state = partition.lock();
    if let Err(error) = writable(partition, &state, 1) {
        Some(Err(error))
    } else if partition.high_watermark() < offset {
        None
    } else if state.isr.len() < state.min_isr() {
        Some(Err(ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND))
    } else {
        Some(Ok(()))
    }
}

impl PartitionResult {
    pub(crate) fn new(index: i32) -> Self {
        Self {
            index,
            error: ErrorCode::NONE,
            base_offset: -1,
            log_append_time: -1,
            log_start_offset: -1,
            record_errors: Vec::new(),
            message: None,
            committed_at: None,
        }
    }

    fn is_settled(&self) -> bool {
        self.committed_at.is_none()
    }

    /// Only records that are refused one by one come with words; the rest is told by its code, as Kafka does.
    fn refuse(&mut self, refused: &ValidateError, partition: &Partition) {
        self.error = refused.code();
        self.log_start_offset = log_start_beside(self.error, partition);
        let errors = refused.record_errors();
        self.message = (!errors.is_empty()).then(|| refused.to_string());
        self.record_errors = errors.iter().map(|e| (e.batch_index, e.message(&partition.name))).collect();
    }
}

/// Writes one whole frame.
pub(crate) fn encode(
    beside: &impl AnswerContext,
    version: i16,
    correlation_id: i32,
    topics: &[TopicResult],
    out: &mut Outbox,
) {
    let flexible = version >= FLEXIBLE;
    let mark = begin_response(out, correlation_id, flexible);
    let mut w = FieldWriter::new(out.buffer(), flexible);
    let answered = || topics.iter().filter(|topic| !topic.partitions.is_empty());
    w.array(answered().count());
    let mut leads_elsewhere = Vec::new();
    for topic in answered() {
        match (&topic.name, topic.id) {
            (Some(name), _) => w.string(name),
            (None, id) => w.uuid(id.unwrap_or_default()),
        }
        w.array(topic.partitions.len());
        for result in &topic.partitions {
            codes::note(result.error);
            encode_partition(&mut w, version, result);
            match (version >= 10 && result.error == ErrorCode::NOT_LEADER_OR_FOLLOWER)
                .then(|| beside.leader_of(topic.name.as_deref(), topic.id, result.index))
                .flatten()
            {
                Some(leader) => {
                    w.tags(1);
                    w.tag(0, |w| {
                        w.i32(leader.id);
                        w.i32(leader.epoch);
                        w.no_tags();
                    });
                    leads_elsewhere.push(leader.id);
                }
                None => w.no_tags(),
            }
        }
        w.no_tags();
    }
    w.i32(0);
    let endpoints = if version >= 10 { beside.node_endpoints(&leads_elsewhere) } else { Vec::new() };
    w.node_endpoints(&endpoints);
    out.end_frame(mark);
}

fn encode_partition(w: &mut FieldWriter<'_>, version: i16, result: &PartitionResult) {
    w.i32(result.index);
    w.i16(result.error.code());
    w.i64(result.base_offset);
    w.i64(result.log_append_time);
    if version >= 5 {
        w.i64(result.log_start_offset);
    }
    if version >= 8 {
        w.array(result.record_errors.len());
        for (index, message) in &result.record_errors {
            w.i32(*index);
            w.nullable_string(Some(message));
            w.no_tags();
        }
        w.nullable_string(result.message.as_deref());
    }
}
