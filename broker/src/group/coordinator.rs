//! The shell around the shards: locks, timers, and requests that wait.
//!
//! A request is handled when a method is called; the [`Reply`] it returns only waits. So requests of one connection
//! take effect in their order, and a dropped reply cancels nothing.
//!
//! One mutex per shard, held for one event, across the append, never across an await. Lock order: shard, then the
//! partition's log (inside [`OffsetsLog::append`]), and alarms last. One task ([`GroupCoordinator::run`]) sleeps
//! until the earliest timer of all shards; without members or offsets there is none.

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dashmap::DashMap;
use parking_lot::{Mutex, MutexGuard};
use protocol::ErrorCode;
use protocol::batch::BatchBuilder;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::classic::{JoinReply, JoinRequest, LeaveRequest, LeaveResult, SyncReply, SyncRequest, Token};
use super::load::Load;
use super::modern::ConsumerEpochs;
use super::records::Entry;
use super::reply::Reply;
use super::shard::{
    Answer, CommitRequest, Cx, DescribedGroup, FetchedOffset, ListedGroup, Shard, ShardLog, Wait,
};
use super::{Appended, GroupConfig, Now, OffsetsLog, TopicLookup, partition_for, write_error};

/// Topics of one group's fetch with their partitions, in the order asked for or, for all, by name.
pub type FetchedTopics = Vec<(Arc<str>, Vec<FetchedOffset>)>;

/// The coordinator of every group whose partition of `__consumer_offsets` this broker leads.
pub struct GroupCoordinator {
    config: Arc<GroupConfig>,
    log: Arc<dyn OffsetsLog>,
    topics: Arc<dyn TopicLookup>,
    shards: DashMap<i32, Arc<Cell>>,
    partitions: AtomicI32,
    next_token: AtomicU64,
    started: Instant,
    /// (tick, partition): when a shard wants to be looked at.
    alarms: Mutex<BTreeSet<(i64, i32)>>,
    alarm_changed: Notify,
}

struct Cell {
    partition: i32,
    /// As told; may be ahead of what the shard has taken in.
    high_watermark: AtomicI64,
    taken_in: AtomicI64,
    inner: Mutex<Inner>,
}

struct Inner {
    state: CellState,
    waiting: HashMap<Token, oneshot::Sender<Answer>>,
    alarm: Option<i64>,
}

enum CellState {
    Loading {
        epoch: i32,
    },
    Active(Box<Shard>),
    /// Leadership went, at or before this epoch.
    Resigned {
        epoch: i32,
    },
}

impl CellState {
    fn epoch(&self) -> i32 {
        match self {
            CellState::Loading { epoch } | CellState::Resigned { epoch } => *epoch,
            CellState::Active(shard) => shard.epoch,
        }
    }
}

/// The log of one partition.
struct PartitionLog<'a> {
    log: &'a dyn OffsetsLog,
    partition: i32,
}

impl ShardLog for PartitionLog<'_> {
    fn append(&self, leader_epoch: i32, entries: &[Entry], now: Now) -> Result<Appended, ErrorCode> {
        // Kafka's coordinator numbers its records from 0, without a producer id.
        let mut batch = BatchBuilder::new(0).producer(-1, -1, 0);
        for entry in entries {
            batch.push_pair(now.wall_ms, Some(&entry.key), entry.value.as_deref());
        }
        self.log.append(self.partition, leader_epoch, batch.build())
    }
}

impl GroupCoordinator {
    /// A coordinator that leads nothing yet; [`GroupCoordinator::run`] must be spawned for its timers.
    pub fn new(config: GroupConfig, log: Arc<dyn OffsetsLog>, topics: Arc<dyn TopicLookup>) -> Arc<Self> {
        Arc::new(Self {
            partitions: AtomicI32::new(config.offsets_partitions),
            config: Arc::new(config),
            log,
            topics,
            shards: DashMap::new(),
            next_token: AtomicU64::new(0),
            started: Instant::now(),
            alarms: Mutex::new(BTreeSet::new()),
            alarm_changed: Notify::new(),
        })
    }

    /// The settings.
    pub fn config(&self) -> &GroupConfig {
        &self.config
    }

    /// The topics that exist.
    pub(crate) fn topics(&self) -> &dyn TopicLookup {
        &*self.topics
    }

    /// Tells how many partitions `__consumer_offsets` has, once it exists.
    pub fn set_offsets_partitions(&self, count: i32) {
        self.partitions.store(count.max(1), Ordering::Relaxed);
    }

    /// The partition of `__consumer_offsets` that a group belongs to.
    pub fn partition_for(&self, group_id: &str) -> i32 {
        partition_for(group_id, self.partitions.load(Ordering::Relaxed))
    }

    /// Fires timers until cancelled: sessions, rebalances, commit timeouts, retention.
    pub async fn run(self: Arc<Self>, shutdown: CancellationToken) {
        loop {
            let next = self.alarms.lock().first().map(|(at, _)| *at);
            // To the next whole millisecond: a timer that fires early would have to sleep again.
            let wake = next.map(|at| self.started + Duration::from_millis(at.max(0).cast_unsigned()));
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                () = self.alarm_changed.notified() => {}
                () = sleep_until(wake) => self.fire_alarms(),
            }
        }
    }

    fn fire_alarms(&self) {
        let now = self.now().ticks_ms;
        loop {
            let partition = {
                let mut alarms = self.alarms.lock();
                match alarms.first() {
                    Some((at, _)) if *at <= now => alarms.pop_first().map(|(_, partition)| partition),
                    _ => None,
                }
            };
            let Some(partition) = partition else { return };
            if let Some(cell) = self.cell(partition) {
                let mut inner = cell.inner.lock();
                inner.alarm = None;
                let answers = self.settle(&cell, &mut inner);
                self.release(&cell, inner, answers);
            }
        }
    }

    fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now {
            ticks_ms: i64::try_from(self.started.elapsed().as_millis()).unwrap_or(i64::MAX),
            wall_ms: i64::try_from(wall.as_millis()).unwrap_or(i64::MAX),
        }
    }

    fn cell(&self, partition: i32) -> Option<Arc<Cell>> {
        self.shards.get(&partition).map(|cell| cell.value().clone())
    }

    fn token(&self) -> Token {
        Token(self.next_token.fetch_add(1, Ordering::Relaxed))
    }
}

/// Leadership of the partitions of `__consumer_offsets`.
impl GroupCoordinator {
    /// This broker leads a partition from `leader_epoch` on. `None` if there is nothing to read: it led it before
    /// without a break (only the epoch changes), or has heard of a later epoch.
    ///
    /// Until [`GroupCoordinator::finish_load`] its groups answer COORDINATOR_LOAD_IN_PROGRESS.
    pub fn begin_load(&self, partition: i32, leader_epoch: i32) -> Option<Load> {
        let cell =
            self.shards.entry(partition).or_insert_with(|| Arc::new(Cell::new(partition))).value().clone();
        let mut inner = cell.inner.lock();
        if inner.state.epoch() >= leader_epoch {
            return None;
        }
        if let CellState::Active(shard) = &mut inner.state {
            shard.epoch = leader_epoch;
            return None;
        }
        inner.state = CellState::Loading { epoch: leader_epoch };
        cell.high_watermark.store(0, Ordering::SeqCst);
        cell.taken_in.store(0, Ordering::SeqCst);
        Some(Load::new(partition, leader_epoch, self.config.clone()))
    }

    /// The whole log is read: its groups are served from now on, unless leadership went meanwhile.
    pub fn finish_load(&self, load: Load, high_watermark: i64) {
        let Load { partition, mut shard, end_offset, .. } = load;
        let Some(cell) = self.cell(partition) else { return };
        let mut inner = cell.inner.lock();
        if !matches!(inner.state, CellState::Loading { epoch } if epoch == shard.epoch) {
            return;
        }
        cell.high_watermark.fetch_max(high_watermark, Ordering::SeqCst);
        let mut answers = Vec::new();
        let log = PartitionLog { log: &*self.log, partition };
        shard.loaded(
            end_offset,
            high_watermark,
            &mut Cx { now: self.now(), log: &log, answers: &mut answers },
        );
        inner.state = CellState::Active(Box::new(shard));
        answers.append(&mut self.settle(&cell, &mut inner));
        self.release(&cell, inner, answers);
    }

    /// This broker no longer leads a partition, as of `leader_epoch`: that of the new leader, or its own if its log
    /// failed or could not be loaded; `None` if the partition is deleted. Parked requests get NOT_COORDINATOR, as do
    /// requests from now on.
    pub fn resign(&self, partition: i32, leader_epoch: Option<i32>) {
        let Some(cell) = self.cell(partition) else { return };
        let mut inner = cell.inner.lock();
        if leader_epoch.is_some_and(|epoch| inner.state.epoch() > epoch) {
            return;
        }
        let epoch = leader_epoch.unwrap_or(-1);
        let state = std::mem::replace(&mut inner.state, CellState::Resigned { epoch });
        let mut answers = Vec::new();
        if let CellState::Active(shard) = state {
            shard.unload(ErrorCode::NOT_COORDINATOR, &mut answers);
        }
        self.release(&cell, inner, answers);
    }

    /// The high watermark of a partition has advanced. May be called from anywhere, also inside
    /// [`OffsetsLog::append`]; it never waits for a lock.
    pub fn on_high_watermark(&self, partition: i32, high_watermark: i64) {
        if let Some(cell) = self.cell(partition) {
            cell.high_watermark.fetch_max(high_watermark, Ordering::SeqCst);
            self.catch_up(&cell);
        }
    }

    /// A topic was deleted: so are the offsets that were committed for it.
    pub fn topic_deleted(&self, topic: &str) {
        let cells: Vec<Arc<Cell>> = self.shards.iter().map(|cell| cell.value().clone()).collect();
        for cell in cells {
            let deleted = self.with(&cell, |shard, cx| (shard.topic_deleted(topic, cx), None));
            if let Ok((Err(error), _)) = deleted {
                // The retention check cannot find them as deleted, but as expired.
                tracing::warn!(
                    topic,
                    partition = cell.partition,
                    error = error.name(),
                    "cannot delete offsets of a deleted topic"
                );
            }
        }
    }
}

/// What the API handlers call.
impl GroupCoordinator {
    /// JoinGroup. The group id and the session timeout are checked by the caller.
    pub fn join(&self, group_id: &str, request: JoinRequest) -> Reply<JoinReply> {
        let token = self.token();
        let member_id = request.member_id.clone();
        let parked = self.parked(group_id, token, |shard, cx| shard.join(group_id, request, token, cx));
        parked.map(move |answer| match answer {
            Answer::Join(reply) => reply,
            other => JoinReply::error(member_id, other.error()),
        })
    }

    /// SyncGroup.
    pub fn sync(&self, group_id: &str, request: SyncRequest) -> Reply<SyncReply> {
        let token = self.token();
        let parked = self.parked(group_id, token, |shard, cx| shard.sync(group_id, request, token, cx));
        parked.map(|answer| match answer {
            Answer::Sync(reply) => reply,
            other => SyncReply::error(other.error()),
        })
    }

    /// Heartbeat. A group that is being loaded counts as well.
    pub fn heartbeat(
        &self,
        group_id: &str,
        member_id: &str,
        instance_id: Option<&str>,
        generation: i32,
    ) -> ErrorCode {
        let beat = self.with_group(group_id, |shard, cx| {
            (shard.heartbeat(group_id, member_id, instance_id, generation, cx), None)
        });
        match beat {
            Ok((error, _)) => error,
            Err(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS) => ErrorCode::NONE,
            Err(error) => error,
        }
    }

    /// LeaveGroup; one result per member.
    pub fn leave(&self, group_id: &str, members: Vec<LeaveRequest>) -> Result<Vec<LeaveResult>, ErrorCode> {
        Ok(self.with_group(group_id, |shard, cx| (shard.leave(group_id, members, cx), None))?.0)
    }

    /// OffsetCommit, all partitions or none; the answer comes when the offsets are committed in the log.
    pub fn commit(&self, group_id: &str, request: CommitRequest<'_>) -> Reply<Result<(), ErrorCode>> {
        let token = self.token();
        self.written(self.with_group(group_id, |shard, cx| {
            parks(shard.commit(group_id, request, token, cx).map(|wait| ((), wait)), token)
        }))
    }

    /// OffsetFetch of one group; `topics` `None` means all that it has committed.
    ///
    /// Waits until everything it shows is committed in the log, whether or not `require_stable`.
    pub fn fetch(
        &self,
        group_id: &str,
        topics: Option<&[(&str, &[i32])]>,
        require_stable: bool,
    ) -> Reply<Result<FetchedTopics, ErrorCode>> {
        let token = self.token();
        let fetched = self.with_group(group_id, |shard, cx| {
            let fetched = match topics {
                None => shard.fetch_all(group_id, require_stable),
                Some(topics) => topics
                    .iter()
                    .map(|(topic, partitions)| {
                        let fetch =
                            |partition: &i32| shard.fetch_offset(group_id, topic, *partition, require_stable);
                        (Arc::from(*topic), partitions.iter().map(fetch).collect())
                    })
                    .collect(),
            };
            parks(Ok((fetched, shard.wait_committed(token, cx))), token)
        });
        // Consumers before 3.9 do not know COORDINATOR_NOT_AVAILABLE here.
        self.written_or(fetched, |error| match write_error(error) {
            ErrorCode::COORDINATOR_NOT_AVAILABLE => ErrorCode::NOT_COORDINATOR,
            error => error,
        })
    }

    /// OffsetDelete; one code per partition.
    pub fn delete_offsets(
        &self,
        group_id: &str,
        partitions: &[(&str, i32)],
    ) -> Reply<Result<Vec<ErrorCode>, ErrorCode>> {
        let token = self.token();
        self.written(self.with_group(group_id, |shard, cx| {
            parks(shard.delete_offsets(group_id, partitions, token, cx), token)
        }))
    }

    /// DeleteGroups, one group.
    pub fn delete_group(&self, group_id: &str) -> Reply<Result<(), ErrorCode>> {
        let token = self.token();
        self.written(self.with_group(group_id, |shard, cx| {
            parks(shard.delete_group(group_id, token, cx).map(|wait| ((), wait)), token)
        }))
    }

    /// DescribeGroups, one group; GROUP_ID_NOT_FOUND with Kafka's message for one that is no classic group.
    pub fn describe(&self, group_id: &str) -> Result<DescribedGroup, (ErrorCode, Option<String>)> {
        let described = self.with_group(group_id, |shard, _| {
            let group = shard.describe(group_id).ok_or_else(|| match shard.is_modern(group_id) {
                true => format!("Group {group_id} is not a classic group."),
                false => format!("Group {group_id} not found."),
            });
            (group, None)
        });
        match described {
            Ok((group, _)) => group.map_err(|message| (ErrorCode::GROUP_ID_NOT_FOUND, Some(message))),
            Err(error) => Err((error, None)),
        }
    }

    /// ConsumerGroupDescribe, one group; GROUP_ID_NOT_FOUND with Kafka's message for one that is no consumer group.
    pub fn describe_consumer(&self, group_id: &str) -> Result<ConsumerEpochs, (ErrorCode, Option<String>)> {
        let described = self.with_group(group_id, |shard, _| {
            let epochs = shard.consumer_epochs(group_id).ok_or_else(|| match shard.is_known(group_id) {
                true => format!("Group {group_id} is not a consumer group."),
                false => format!("Group {group_id} not found."),
            });
            (epochs, None)
        });
        match described {
            Ok((epochs, _)) => epochs.map_err(|message| (ErrorCode::GROUP_ID_NOT_FOUND, Some(message))),
            Err(error) => Err((error, None)),
        }
    }

    /// All groups of this broker; COORDINATOR_LOAD_IN_PROGRESS if a partition is being loaded.
    pub fn list(&self) -> Result<Vec<ListedGroup>, ErrorCode> {
        let cells: Vec<Arc<Cell>> = self.shards.iter().map(|cell| cell.value().clone()).collect();
        let mut groups = Vec::new();
        for cell in cells {
            match self.with(&cell, |shard, _| (shard.list(), None)) {
                Ok((mut listed, _)) => groups.append(&mut listed),
                Err(ErrorCode::NOT_COORDINATOR) => {}
                Err(error) => return Err(error),
            }
        }
        groups.sort_unstable_by(|a, b| a.group_id.cmp(&b.group_id));
        Ok(groups)
    }
}

/// What a shard's call gave, and where the answer to its token comes from.
type Called<R> = (R, Option<oneshot::Receiver<Answer>>);

impl GroupCoordinator {
    fn with_group<R>(
        &self,
        group_id: &str,
        call: impl FnOnce(&mut Shard, &mut Cx<'_>) -> (R, Option<Token>),
    ) -> Result<Called<R>, ErrorCode> {
        let cell = self.cell(self.partition_for(group_id)).ok_or(ErrorCode::NOT_COORDINATOR)?;
        self.with(&cell, call)
    }

    /// Runs `call`, which also tells the token for which it has, or will have, an answer.
    fn with<R>(
        &self,
        cell: &Cell,
        call: impl FnOnce(&mut Shard, &mut Cx<'_>) -> (R, Option<Token>),
    ) -> Result<Called<R>, ErrorCode> {
        let mut inner = cell.inner.lock();
        let shard = match &mut inner.state {
            CellState::Active(shard) => shard,
            CellState::Loading { .. } => return Err(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS),
            CellState::Resigned { .. } => return Err(ErrorCode::NOT_COORDINATOR),
        };
        let mut answers = Vec::new();
        let log = PartitionLog { log: &*self.log, partition: cell.partition };
        let (result, parked) = call(shard, &mut Cx { now: self.now(), log: &log, answers: &mut answers });
        let receiver = parked.map(|token| {
            let (sender, receiver) = oneshot::channel();
            inner.waiting.insert(token, sender);
            receiver
        });
        answers.append(&mut self.settle(cell, &mut inner));
        self.release(cell, inner, answers);
        Ok((result, receiver))
    }

    /// Takes in the high watermark, fires due timers, and sets the next alarm.
    fn settle(&self, cell: &Cell, inner: &mut Inner) -> Vec<(Token, Answer)> {
        let mut answers = Vec::new();
        let CellState::Active(shard) = &mut inner.state else { return answers };
        let high_watermark = cell.high_watermark.load(Ordering::SeqCst);
        let log = PartitionLog { log: &*self.log, partition: cell.partition };
        shard.settle(high_watermark, &mut Cx { now: self.now(), log: &log, answers: &mut answers });
        cell.taken_in.store(high_watermark, Ordering::SeqCst);
        // An alarm that has become too early costs one look at the shard; most would only move again.
        if let Some(next) = shard.next_timer_ms()
            && inner.alarm.is_none_or(|at| next < at)
        {
            let mut alarms = self.alarms.lock();
            if let Some(before) = inner.alarm.replace(next) {
                alarms.remove(&(before, cell.partition));
            }
            alarms.insert((next, cell.partition));
            let is_first = alarms.first() == Some(&(next, cell.partition));
            drop(alarms);
            if is_first {
                self.alarm_changed.notify_one();
            }
        }
        answers
    }

    /// Unlocks, sends answers, and takes in what [`GroupCoordinator::on_high_watermark`] could not meanwhile.
    fn release(&self, cell: &Cell, inner: MutexGuard<'_, Inner>, answers: Vec<(Token, Answer)>) {
        deliver(inner, answers);
        self.catch_up(cell);
    }

    /// Whoever sees an advance of the watermark either gets the lock, or leaves it to the holder, who looks again
    /// after unlocking.
    fn catch_up(&self, cell: &Cell) {
        while cell.high_watermark.load(Ordering::SeqCst) > cell.taken_in.load(Ordering::SeqCst) {
            let Some(mut inner) = cell.inner.try_lock() else { return };
            if !matches!(inner.state, CellState::Active(_)) {
                return;
            }
            let answers = self.settle(cell, &mut inner);
            deliver(inner, answers);
        }
    }

    fn parked(
        &self,
        group_id: &str,
        token: Token,
        call: impl FnOnce(&mut Shard, &mut Cx<'_>),
    ) -> Reply<Answer> {
        match self.with_group(group_id, |shard, cx| (call(shard, cx), Some(token))) {
            Ok(((), receiver)) => receive(receiver),
            Err(error) => Reply::ready(Answer::Done(Err(error))),
        }
    }

    fn written<T: Send + 'static>(
        &self,
        called: Result<Called<Result<T, ErrorCode>>, ErrorCode>,
    ) -> Reply<Result<T, ErrorCode>> {
        self.written_or(called, write_error)
    }

    /// The result of a call that may have to wait for the high watermark.
    fn written_or<T: Send + 'static>(
        &self,
        called: Result<Called<Result<T, ErrorCode>>, ErrorCode>,
        map_error: fn(ErrorCode) -> ErrorCode,
    ) -> Reply<Result<T, ErrorCode>> {
        match called {
            Err(error) => Reply::ready(Err(error)),
            Ok((Err(error), _)) => Reply::ready(Err(map_error(error))),
            Ok((Ok(value), None)) => Reply::ready(Ok(value)),
            Ok((Ok(value), receiver)) => receive(receiver).map(move |answer| match answer {
                Answer::Done(Ok(())) => Ok(value),
                other => Err(map_error(other.error())),
            }),
        }
    }
}

impl Answer {
    /// The error of an answer of another kind than was waited for.
    fn error(&self) -> ErrorCode {
        match self {
            Answer::Done(Err(error)) => *error,
            Answer::Done(Ok(())) | Answer::Join(_) | Answer::Sync(_) => ErrorCode::UNKNOWN_SERVER_ERROR,
        }
    }
}

impl Cell {
    fn new(partition: i32) -> Self {
        Self {
            partition,
            high_watermark: AtomicI64::new(0),
            taken_in: AtomicI64::new(0),
            inner: Mutex::new(Inner {
                state: CellState::Resigned { epoch: -1 },
                waiting: HashMap::new(),
                alarm: None,
            }),
        }
    }
}

async fn sleep_until(wake: Option<Instant>) {
    match wake {
        Some(wake) => tokio::time::sleep_until(wake).await,
        None => std::future::pending().await,
    }
}

/// Unlocks a shard and sends its answers.
fn deliver(mut inner: MutexGuard<'_, Inner>, answers: Vec<(Token, Answer)>) {
    let mut ready = Vec::new();
    for (token, answer) in answers {
        ready.extend(inner.waiting.remove(&token).map(|sender| (sender, answer)));
    }
    drop(inner);
    for (sender, answer) in ready {
        // The request's connection may be gone.
        let _ = sender.send(answer);
    }
}

/// Splits what a shard gave into the result and the token that waits.
fn parks<T>(result: Result<(T, Wait), ErrorCode>, token: Token) -> (Result<T, ErrorCode>, Option<Token>) {
    match result {
        Ok((value, wait)) => (Ok(value), (wait == Wait::Yes).then_some(token)),
        Err(error) => (Err(error), None),
    }
}

/// An answer that may be there already.
fn receive(receiver: Option<oneshot::Receiver<Answer>>) -> Reply<Answer> {
    // A sender is dropped unused only together with the coordinator.
    let gone = Answer::Done(Err(ErrorCode::NOT_COORDINATOR));
    let Some(mut receiver) = receiver else { return Reply::ready(gone) };
    match receiver.try_recv() {
        Ok(answer) => Reply::ready(answer),
        Err(oneshot::error::TryRecvError::Closed) => Reply::ready(gone),
        Err(oneshot::error::TryRecvError::Empty) => {
            Reply::Later(Box::pin(async move { receiver.await.unwrap_or(gone) }))
        }
    }
}
