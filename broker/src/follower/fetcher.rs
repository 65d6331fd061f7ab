//! The fetcher of one leading broker: one connection, one session, usually one request on its way.
//!
//! A second request is sent before the first is answered only when a partition was newly followed, or left out for a
//! while, as one whose leader did not know yet that it leads: the leader then ends the wait of the first, so that the
//! partition is not held up by the long poll of the others.

use std::cell::LazyCell;
use std::collections::{BTreeMap, VecDeque};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use net::client::{Backoff, ClientError, ClientLimits, Connection};
use protocol::ErrorCode;
use protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use protocol::messages::{BrokerId, FetchResponse, ListOffsetsRequest, TopicName};
use protocol::versions::ApiKey;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Key;
use super::answer::{self, Next};
use super::request::{Asked, Position, Session, Terms};
use crate::clock;
use crate::context::Context;
use crate::replica::partition::Partition;

/// Versions of Fetch that a follower speaks: topics by id, diverging epochs.
const FETCH_VERSIONS: std::ops::RangeInclusive<i16> = 13..=17;
/// Versions of ListOffsets that a follower speaks.
const LIST_OFFSETS_VERSIONS: std::ops::RangeInclusive<i16> = 4..=10;
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
/// First pause before a partition or a leader is tried again; doubles up to `replica.fetch.backoff.ms`.
const RETRY_MIN: Duration = Duration::from_millis(10);
/// After so long a throttled partition is looked at again.
const THROTTLE_PAUSE: Duration = Duration::from_millis(100);
/// Requests on their way.
const IN_FLIGHT_MAX: usize = 2;

/// What a fetcher is told.
pub(super) enum Order {
    Follow { partition: Arc<Partition>, leader_epoch: i32 },
    Drop(Key),
}

struct Followed {
    partition: Arc<Partition>,
    leader_epoch: i32,
    backoff: Backoff,
    paused_until: Option<Instant>,
}

/// Copies the logs that one broker leads.
pub(super) struct Fetcher {
    ctx: Arc<Context>,
    leader: i32,
    followed: BTreeMap<Key, Followed>,
    session: Session,
    /// A partition was followed that no request has named yet.
    has_new: bool,
    /// When the first of the partitions may be asked for again that are left out for a while.
    resume: Option<Instant>,
}

type Answered = Result<FetchResponse, ClientError>;

/// A request on its way, and what it asked.
struct InFlight {
    answer: Pin<Box<dyn Future<Output = Answered> + Send>>,
    answered: Option<Answered>,
    asked: Asked,
}

impl Fetcher {
    pub(super) fn new(ctx: Arc<Context>, leader: i32) -> Self {
        Self {
            ctx,
            leader,
            followed: BTreeMap::new(),
            session: Session::default(),
            has_new: false,
            resume: None,
        }
    }

    /// Runs until cancelled.
    pub(super) async fn run(mut self, mut orders: mpsc::UnboundedReceiver<Order>, cancel: CancellationToken) {
        let mut backoff = Backoff::new(RETRY_MIN, self.backoff_max());
        loop {
            while self.followed.is_empty() {
                tokio::select! {
                    () = cancel.cancelled() => return,
                    Some(order) = orders.recv() => self.obey(order),
                }
            }
            let ended = tokio::select! {
                () = cancel.cancelled() => return,
                ended = self.connect_and_fetch(&mut orders, &mut backoff) => ended,
            };
            let Err(error) = ended else { continue };
            tracing::debug!("leader {}: {error}", self.leader);
            let pause = tokio::time::sleep(backoff.pause(random()));
            tokio::pin!(pause);
            loop {
                tokio::select! {
                    () = cancel.cancelled() => return,
                    () = &mut pause => break,
                    Some(order) = orders.recv() => self.obey(order),
                }
            }
        }
    }

    fn backoff_max(&self) -> Duration {
        crate::maintenance::millis(i64::from(self.ctx.settings().replica_fetch_backoff_ms))
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Follow { partition, leader_epoch } => {
                let key = (partition.topic_id, partition.name.partition);
                let backoff = Backoff::new(RETRY_MIN, self.backoff_max());
                self.followed.insert(key, Followed { partition, leader_epoch, backoff, paused_until: None });
                self.has_new = true;
            }
            Order::Drop(key) => drop(self.followed.remove(&key)),
        }
    }

    /// Fetches until the connection ends, or nothing is left to follow.
    async fn connect_and_fetch(
        &mut self,
        orders: &mut mpsc::UnboundedReceiver<Order>,
        backoff: &mut Backoff,
    ) -> Result<(), ClientError> {
        let connection = self.connect().await?;
        let version = connection.versions().best(ApiKey::FETCH, FETCH_VERSIONS);
        let version = version.ok_or(ClientError::UnsupportedVersion { key: ApiKey::FETCH })?;
        self.session.reset();
        let mut in_flight: VecDeque<InFlight> = VecDeque::new();
        while !self.followed.is_empty() {
            while orders.try_recv().map(|order| self.obey(order)).is_ok() {}
            let is_due = self.resume.is_some_and(|at| at <= Instant::now());
            if in_flight.is_empty() || ((self.has_new || is_due) && self.may_overtake(&in_flight)) {
                let positions = self.positions();
                if !positions.is_empty() {
                    in_flight.push_back(self.send(&connection, version, positions));
                }
            }
            let may_send = in_flight.is_empty() || self.may_overtake(&in_flight);
            let next_try = self.resume.filter(|_| may_send);
            tokio::select! {
                answer = front(&mut in_flight) => {
                    let Some(InFlight { asked, .. }) = in_flight.pop_front() else { continue };
                    self.take(&connection, answer?, &asked).await?;
                    backoff.reset();
                }
                Some(order) = orders.recv() => self.obey(order),
                () = until(next_try) => {}
            }
        }
        Ok(())
    }

    /// Whether a request may follow the one that waits.
    fn may_overtake(&self, in_flight: &VecDeque<InFlight>) -> bool {
        self.session.is_open() && in_flight.len() < IN_FLIGHT_MAX
    }

    async fn connect(&self) -> Result<Connection, ClientError> {
        let image = self.ctx.metadata.image();
        let listener = &self.ctx.config.inter_broker_listener;
        let broker = image.cluster.broker(self.leader);
        let endpoint =
            broker.and_then(|broker| broker.listener(listener)).ok_or(ClientError::Disconnected)?;
        let settings = self.ctx.settings();
        let limits = ClientLimits {
            client_id: format!("broker-{}-fetcher-0", self.ctx.config.node_id),
            request_timeout: crate::maintenance::millis(i64::from(settings.replica_socket_timeout_ms)),
            ..ClientLimits::default()
        };
        Connection::open(&endpoint.host, endpoint.port, Arc::new(limits)).await
    }

    /// What to fetch now. Notes when there will be more, if partitions are paused.
    fn positions(&mut self) -> BTreeMap<Key, Position> {
        let now = Instant::now();
        let (me, ctx) = (self.ctx.config.node_id, self.ctx.clone());
        let over_the_rate = LazyCell::new(|| {
            let rate = ctx.settings().follower_replication_throttled_rate;
            ctx.throttles.follower.is_exceeded(rate, clock::now_ms())
        });
        let mut positions = BTreeMap::new();
        let mut resume: Option<Instant> = None;
        self.followed.retain(|key, followed| {
            if let Some(until) = followed.paused_until.filter(|until| *until > now) {
                resume = sooner(resume, until);
                return true;
            }
            followed.paused_until = None;
            let state = followed.partition.lock();
            if !answer::is_followed(&state, followed.leader_epoch) || followed.partition.is_offline() {
                return false;
            }
            let is_throttled = state.settings.follower_throttled.has(key.1, me) && !state.isr.contains(&me);
            if is_throttled && *over_the_rate {
                let until = now + THROTTLE_PAUSE;
                resume = sooner(resume, until);
                return true;
            }
            positions.insert(*key, Position::of(&state));
            true
        });
        self.has_new = false;
        self.resume = resume;
        positions
    }

    fn send(
        &mut self,
        connection: &Connection,
        version: i16,
        positions: BTreeMap<Key, Position>,
    ) -> InFlight {
        let settings = self.ctx.settings();
        let terms = Terms {
            broker_id: self.ctx.config.node_id,
            broker_epoch: self.ctx.lifecycle.epoch(),
            max_wait_ms: settings.replica_fetch_wait_max_ms,
            min_bytes: settings.replica_fetch_min_bytes,
            max_bytes: settings.replica_fetch_response_max_bytes,
            partition_max_bytes: settings.replica_fetch_max_bytes,
        };
        let (request, asked) = self.session.request(version, &terms, positions);
        let connection = connection.clone();
        let answer = Box::pin(async move { connection.request_in(version, &request).await });
        InFlight { answer, answered: None, asked }
    }

    async fn take(
        &mut self,
        connection: &Connection,
        response: FetchResponse,
        asked: &Asked,
    ) -> Result<(), ClientError> {
        match ErrorCode(response.error_code) {
            ErrorCode::NONE => self.session.opened(response.session_id),
            code => {
                // The session is gone, or was mixed up: the next request begins another.
                tracing::debug!("leader {}: {}", self.leader, code.name());
                return Err(ClientError::Disconnected);
            }
        }
        let mut out_of_range = Vec::new();
        for topic in &response.responses {
            for data in &topic.partitions {
                let key = (topic.topic_id, data.partition_index);
                let Some(asked) = asked.get(&key).copied() else { continue };
                let Some(followed) = self.followed.get_mut(&key) else { continue };
                if asked.leader_epoch != followed.leader_epoch {
                    continue;
                }
                match answer::take(&self.ctx, &followed.partition, asked, data) {
                    Next::Fetch => followed.backoff.reset(),
                    Next::Pause => self.resume = sooner(self.resume, followed.pause()),
                    Next::OutOfRange => out_of_range.push(key),
                    Next::Stop => drop(self.followed.remove(&key)),
                }
            }
        }
        for key in out_of_range {
            self.back_into_range(connection, key).await?;
        }
        Ok(())
    }

    /// The leader does not have this log's end: it lost records, or removed those that come next (KIP-101).
    async fn back_into_range(&mut self, connection: &Connection, key: Key) -> Result<(), ClientError> {
        let Some(followed) = self.followed.get(&key) else { return Ok(()) };
        let (partition, leader_epoch) = (followed.partition.clone(), followed.leader_epoch);
        let latest = self.offset(connection, &partition, leader_epoch, LATEST).await?;
        let earliest = self.offset(connection, &partition, leader_epoch, EARLIEST).await?;
        let Some(followed) = self.followed.get_mut(&key) else { return Ok(()) };
        let (Some(latest), Some(earliest)) = (latest, earliest) else {
            self.resume = sooner(self.resume, followed.pause());
            return Ok(());
        };
        let mut state = partition.lock();
        if !answer::is_followed(&state, leader_epoch) {
            drop(state);
            self.followed.remove(&key);
            return Ok(());
        }
        let log_end = state.log.log_end_offset();
        let Some(truncation) = answer::into_range(log_end, earliest, latest) else {
            self.resume = sooner(self.resume, followed.pause());
            return Ok(());
        };
        tracing::warn!(
            "{}: offset {log_end} is out of the leader's range {earliest} to {latest}: {truncation:?}",
            partition.name
        );
        if answer::truncate(&self.ctx, &partition, &mut state, truncation) == Next::Stop {
            drop(state);
            self.followed.remove(&key);
        }
        Ok(())
    }

    /// An offset of the leader's log; `None` if it does not say.
    async fn offset(
        &self,
        connection: &Connection,
        partition: &Partition,
        leader_epoch: i32,
        timestamp: i64,
    ) -> Result<Option<i64>, ClientError> {
        let name = protocol::StrBytes::from_string(partition.name.topic.to_string());
        let request = |_| {
            let asked = ListOffsetsPartition::default()
                .with_partition_index(partition.name.partition)
                .with_current_leader_epoch(leader_epoch)
                .with_timestamp(timestamp);
            let topic = ListOffsetsTopic::default().with_name(TopicName(name)).with_partitions(vec![asked]);
            ListOffsetsRequest::default()
                .with_replica_id(BrokerId(self.ctx.config.node_id))
                .with_topics(vec![topic])
        };
        let (_, response) = connection.request(LIST_OFFSETS_VERSIONS, request).await?;
        let answered = response.topics.iter().flat_map(|topic| &topic.partitions).next();
        Ok(answered.filter(|answer| answer.error_code == 0).map(|answer| answer.offset))
    }
}

impl Followed {
    /// Until when it is left out.
    fn pause(&mut self) -> Instant {
        let until = Instant::now() + self.backoff.pause(random());
        self.paused_until = Some(until);
        until
    }
}

/// The answer to the request that was sent first; never, if there is none. The others are sent meanwhile.
async fn front(in_flight: &mut VecDeque<InFlight>) -> Answered {
    poll_fn(|cx| {
        for request in in_flight.iter_mut().filter(|request| request.answered.is_none()) {
            if let Poll::Ready(answered) = request.answer.as_mut().poll(cx) {
                request.answered = Some(answered);
            }
        }
        let first = in_flight.front_mut().and_then(|first| first.answered.take());
        first.map_or(Poll::Pending, Poll::Ready)
    })
    .await
}

fn sooner(resume: Option<Instant>, until: Instant) -> Option<Instant> {
    Some(resume.map_or(until, |earliest| earliest.min(until)))
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

fn random() -> u32 {
    getrandom::u32().expect("the system has a random source")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_request_goes_out_while_the_one_before_it_waits() {
        let (overtaken, waits) = tokio::sync::oneshot::channel();
        let request = |answer| InFlight { answer, answered: None, asked: Asked::default() };
        let first = request(Box::pin(async { waits.await.map_err(|_| ClientError::Disconnected) }));
        let second = request(Box::pin(async {
            overtaken.send(FetchResponse::default().with_session_id(1)).expect("the first waits");
            Ok(FetchResponse::default().with_session_id(2))
        }));
        let mut in_flight = VecDeque::from([first, second]);
        for session_id in 1..=2 {
            let answered = front(&mut in_flight).await;
            in_flight.pop_front();
            assert_eq!(answered.expect("both are answered").session_id, session_id);
        }
    }
}
