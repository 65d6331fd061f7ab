//! Fetch (key 1), versions 4-18.
//!
//! The answer's fields are written into the outbox by hand, small pieces of a segment are read in beside them,
//! larger ones go out by `sendfile`. A fetch that finds too little registers with its
//! partitions and looks again when an append or a new high watermark wakes it.
//!
//! - The first partition with records returns at least one whole batch, however large; the others fit the limits.
//! - v7 incremental sessions; v9 leader epochs; v11 rack; v12 diverging epochs; v13 topic ids; v15 replica state;
//!   v16 node endpoints; v17 directory id; v18 the replica's high watermark.
//! - A replica that is not assigned to the partition is refused. A follower's offset says what it holds.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use net::{Charge, Outbox, Outcome};
use protocol::messages::FetchRequest;
use protocol::request::HeaderView;
use protocol::{Decodable, ErrorCode, StrBytes};
use tokio::time::Instant;

use crate::clock;
use crate::context::Context;
use crate::fetch::answer::{Answer, encode};
use crate::fetch::read::{FollowerId, Limits, ReadResult, read_all};
use crate::fetch::session::{FetchContext, PartitionRequest, SessionRequest, TopicKey};
use crate::replica::partition::ReadBound;
use crate::replica::waiters::Wait;

/// Records in one answer, however much is asked for: the size field of a frame is 31 bits wide.
const MAX_ANSWER_BYTES: usize = 1 << 30;

/// Up to so many partitions a request is not searched for repeats.
const FEW_PARTITIONS: usize = 64;

/// The only `replica.selector.class` there is, as in Apache Kafka.
pub const RACK_AWARE_SELECTOR: &str = "org.apache.kafka.common.replica.RackAwareReplicaSelector";

/// A fetch that is being served.
struct Fetch {
    ctx: Arc<Context>,
    version: i16,
    correlation_id: i32,
    session: FetchContext,
    limits: Limits,
    min_bytes: usize,
}

/// Handles a Fetch request whose header was read already.
pub(crate) fn handle(
    ctx: &Arc<Context>,
    header: &HeaderView,
    frame: &[u8],
    charge: Charge,
    out: &mut Outbox,
) -> Outcome {
    let mut body = Bytes::copy_from_slice(&frame[header.body_start..]);
    let request = match FetchRequest::decode(&mut body, header.api_version) {
        Ok(request) => request,
        Err(e) => return Outcome::Close(format!("undecodable Fetch v{} request: {e}", header.api_version)),
    };
    let version = header.api_version;
    let follower = follower(&request, version);
    let bytes = |n: i32| usize::try_from(n).unwrap_or(0);
    let max_bytes = bytes(request.max_bytes).min(bytes(ctx.settings().fetch_max_bytes)).min(MAX_ANSWER_BYTES);
    let bound = match request.isolation_level {
        _ if follower.is_some() => ReadBound::LogEnd,
        1 => ReadBound::LastStableOffset,
        _ => ReadBound::HighWatermark,
    };
    let limits = Limits { max_bytes, bound, version, follower, rack: rack(ctx, &request) };
    let min_bytes = bytes(request.min_bytes).min(max_bytes);
    let max_wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0));
    let session = match ctx.sessions.resolve(session_request(version, &request), clock::now_ms()) {
        Ok(session) => session,
        Err(error) => {
            encode(&**ctx, version, header.correlation_id, &Answer::error(error), out);
            return Outcome::Answered;
        }
    };
    let fetch = Fetch {
        ctx: ctx.clone(),
        version,
        correlation_id: header.correlation_id,
        session,
        limits,
        min_bytes,
    };
    let results = read_all(&fetch.ctx, &fetch.session.partitions, &fetch.limits, true);
    if max_wait.is_zero() || fetch.session.partitions.is_empty() || is_enough(&results, min_bytes) {
        fetch.answer(results, out);
        return Outcome::Answered;
    }
    let deadline = Instant::now() + max_wait;
    let wait = Wait::for_bytes(0);
    if let Some(session) = fetch.session.session.as_ref().filter(|_| fetch.limits.follower.is_some()) {
        session.lock().park(&wait);
    }
    Outcome::Pending(Box::pin(async move {
        let results = fetch.wait(&wait, deadline).await;
        let mut out = Outbox::new();
        fetch.answer(results, &mut out);
        drop(charge);
        Some(out)
    }))
}

/// Whether the answer can go out now: enough bytes, or something that the client must hear at once.
fn is_enough(results: &[ReadResult], min_bytes: usize) -> bool {
    let bytes: usize = results.iter().map(ReadResult::len).sum();
    bytes >= min_bytes || results.iter().any(ReadResult::is_urgent)
}

impl Fetch {
    /// Reads again whenever the partitions change, until there is enough, the deadline has come or the wait is ended.
    async fn wait(&self, wait: &Arc<Wait>, deadline: Instant) -> Vec<ReadResult> {
        let partitions = self.session.partitions.iter();
        let _places: Vec<_> = partitions
            .filter_map(|p| self.ctx.replicas.find(&p.key.0, p.key.1).ok())
            .map(|partition| partition.waiters.add_fetch(wait, self.limits.follower.is_some()))
            .collect();
        loop {
            // Whatever arrives from here on wakes, so that nothing is missed between the read and the sleep.
            wait.expect(0);
            let results = read_all(&self.ctx, &self.session.partitions, &self.limits, false);
            if is_enough(&results, self.min_bytes) || wait.is_ended() {
                return results;
            }
            if self.limits.bound != ReadBound::LastStableOffset {
                let have: usize = results.iter().map(ReadResult::len).sum();
                wait.expect((self.min_bytes - have) as i64);
            }
            if tokio::time::timeout_at(deadline, wait.woken()).await.is_err() {
                return read_all(&self.ctx, &self.session.partitions, &self.limits, false);
            }
        }
    }

    fn answer(&self, mut results: Vec<ReadResult>, out: &mut Outbox) {
        if let Some(session) = &self.session.session {
            let mut session = session.lock();
            results.retain(|result| {
                let noteworthy = result.is_noteworthy();
                let has_records = result.len() > 0;
                let is_void = result.error != ErrorCode::NONE || result.diverging.is_some();
                let tell = session.tell(
                    &result.key,
                    result.high_watermark,
                    result.log_start,
                    noteworthy,
                    has_records,
                    is_void,
                );
                tell || !self.session.incremental
            });
        }
        let answer = Answer { error: ErrorCode::NONE, session_id: self.session.session_id, results };
        encode(&*self.ctx, self.version, self.correlation_id, &answer, out);
    }
}

/// The rack of a consumer that wants to read near by, if this node is told to help it.
fn rack(ctx: &Context, request: &FetchRequest) -> Option<StrBytes> {
    let is_wanted = !request.rack_id.is_empty()
        && ctx.settings().replica_selector_class.as_deref() == Some(RACK_AWARE_SELECTOR);
    is_wanted.then(|| request.rack_id.clone())
}

/// The broker that fetches for a replica of its own, if it is none of a consumer's.
fn follower(request: &FetchRequest, version: i16) -> Option<FollowerId> {
    let (id, broker_epoch) = match version {
        15.. => (request.replica_state.replica_id.0, request.replica_state.replica_epoch),
        _ => (request.replica_id.0, -1),
    };
    (id >= 0).then_some(FollowerId { id, broker_epoch })
}

/// A partition that is named again replaces what was said of it before, as in Kafka. Few repeats do no harm: then
/// each is answered.
fn keep_last_of_each(partitions: &mut Vec<PartitionRequest>) {
    let mut places = HashMap::with_capacity(partitions.len());
    let mut kept: Vec<PartitionRequest> = Vec::with_capacity(partitions.len());
    for partition in partitions.drain(..) {
        match places.entry(partition.key.clone()) {
            Entry::Occupied(place) => kept[*place.get()] = partition,
            Entry::Vacant(place) => {
                place.insert(kept.len());
                kept.push(partition);
            }
        }
    }
    *partitions = kept;
}

fn session_request(version: i16, request: &FetchRequest) -> SessionRequest {
    let uses_ids = version >= 13;
    let key = |name: &str, id| if uses_ids { TopicKey::Id(id) } else { TopicKey::Name(Arc::from(name)) };
    let mut partitions = Vec::new();
    for topic in &request.topics {
        let topic_key = key(&topic.topic.0, topic.topic_id);
        partitions.extend(topic.partitions.iter().map(|p| PartitionRequest {
            key: (topic_key.clone(), p.partition),
            current_leader_epoch: p.current_leader_epoch,
            fetch_offset: p.fetch_offset,
            last_fetched_epoch: p.last_fetched_epoch,
            log_start_offset: p.log_start_offset,
            max_bytes: p.partition_max_bytes,
        }));
    }
    if partitions.len() > FEW_PARTITIONS {
        keep_last_of_each(&mut partitions);
    }
    let forgotten = request
        .forgotten_topics_data
        .iter()
        .flat_map(|t| {
            let topic_key = key(&t.topic.0, t.topic_id);
            t.partitions.iter().map(move |p| (topic_key.clone(), *p))
        })
        .collect();
    // Before version 7 there are no sessions: the fields hold their defaults, 0 and -1.
    SessionRequest { id: request.session_id, epoch: request.session_epoch, uses_ids, partitions, forgotten }
}
