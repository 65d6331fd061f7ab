//! One replica of a partition on this node: its log, its role, and who waits for it.
//!
//! Everything that changes together is under one short lock, which is never held across an await: the log, the
//! role and the epochs. The high watermark and the log end are also readable without it.
//!
//! Invariants: log start <= last stable offset <= high watermark <= log end; only a leader appends for clients;
//! the high watermark of a leader moves only while the in-sync set has `min.insync.replicas` members (KIP-966).

mod following;
mod in_sync;
mod reading;

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use metadata::partition::PartitionRegistration;
use parking_lot::{Mutex, MutexGuard};
use protocol::ErrorCode;
use storage::{
    AppendArgs, AppendError, AppendInfo, AppendOrigin, Log, LogSlice, ReadError, StorageError, TopicPartition,
};
use uuid::Uuid;

use crate::config::TopicSettings;
use crate::metadata_cache::MetadataCache;
use crate::metrics::{Flow, Traffic};
use crate::replica::leader::Leadership;
use crate::replica::log::ReplicaLog;
use crate::replica::manager::FoundLog;
use crate::replica::waiters::Waiters;

pub(crate) use following::{LeaderOffsets, Truncation, append_copied};
pub(crate) use in_sync::{CommittedIsr, IsrProposal};
pub(crate) use reading::Reader;

/// What this replica is.
#[derive(Debug)]
pub(crate) enum Role {
    /// Not told yet, or the partition has no leader.
    None,
    Leader(Leadership),
    Follower,
}

/// The mutable part of a partition.
pub(crate) struct PartitionState<L = Log> {
    pub(crate) log: L,
    pub(crate) role: Role,
    pub(crate) leader: i32,
    pub(crate) leader_epoch: i32,
    pub(crate) partition_epoch: i32,
    pub(crate) isr: Vec<i32>,
    pub(crate) replicas: Vec<i32>,
    pub(crate) settings: Arc<TopicSettings>,
    /// How often the log was truncated: what was read before may not be in it any more.
    pub(crate) truncations: u64,
    /// When the log was synced last, for `flush.ms`.
    pub(crate) flushed_at_ms: i64,
}

/// Looks at a taken lock before the thread sleeps: some 50 us.
const LOCK_LOOKS: usize = 100;
/// Pauses of the processor between two looks.
const LOOK_SPINS: usize = 16;

/// One replica of a partition.
pub(crate) struct Partition<L = Log> {
    /// Topic and index.
    pub(crate) name: TopicPartition,
    /// Id of the topic.
    pub(crate) topic_id: Uuid,
    /// Which of the node's log directories holds it.
    log_dir: AtomicUsize,
    /// Held by whoever replaces files of the log: compaction, and a move to another directory.
    pub(crate) files: Mutex<()>,
    node_id: i32,
    metadata: Arc<MetadataCache>,
    state: Mutex<PartitionState<L>>,
    high_watermark: AtomicI64,
    log_end_offset: AtomicI64,
    offline: AtomicBool,
    deleted: AtomicBool,
    /// The segment whose damage was told last, -1 before.
    damage_told: AtomicI64,
    pub(crate) waiters: Arc<Waiters>,
    /// What went in and out.
    pub(crate) traffic: Traffic,
    /// Told of every new high watermark: the group coordinator, on the partitions that are its log.
    on_commit: OnceLock<OnCommit>,
}

type OnCommit = Box<dyn Fn(i64) + Send + Sync>;

/// Offsets of a partition at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Offsets {
    pub(crate) log_start: i64,
    pub(crate) last_stable: i64,
    pub(crate) high_watermark: i64,
    pub(crate) log_end: i64,
}

/// Up to where a reader may read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadBound {
    HighWatermark,
    LastStableOffset,
    LogEnd,
}

impl<L: ReplicaLog> Partition<L> {
    /// A replica whose log was just opened or created.
    pub(crate) fn new(
        name: TopicPartition,
        topic_id: Uuid,
        found: FoundLog<L>,
        node_id: i32,
        metadata: Arc<MetadataCache>,
        settings: Arc<TopicSettings>,
    ) -> Self {
        let FoundLog { log_dir, log, high_watermark, .. } = found;
        let high_watermark = high_watermark.clamp(log.log_start_offset(), log.log_end_offset());
        Self {
            name,
            topic_id,
            log_dir: AtomicUsize::new(log_dir),
            files: Mutex::new(()),
            node_id,
            metadata,
            high_watermark: AtomicI64::new(high_watermark),
            log_end_offset: AtomicI64::new(log.log_end_offset()),
            offline: AtomicBool::new(false),
            deleted: AtomicBool::new(false),
            damage_told: AtomicI64::new(-1),
            state: Mutex::new(PartitionState {
                log,
                role: Role::None,
                leader: -1,
                leader_epoch: -1,
                partition_epoch: -1,
                isr: Vec::new(),
                replicas: Vec::new(),
                settings,
                truncations: 0,
                flushed_at_ms: crate::clock::now_ms(),
            }),
            waiters: Arc::new(Waiters::default()),
            traffic: Traffic::default(),
            on_commit: OnceLock::new(),
        }
    }

    /// Locks the log and the role. Keep it short: the data path of every client takes this lock.
    ///
    /// A lock that is taken is free again after one `pwrite`. To sleep for that costs more than to look again: two
    /// switches of the thread, and the time slice that a yield gives away.
    pub(crate) fn lock(&self) -> MutexGuard<'_, PartitionState<L>> {
        for _ in 0..LOCK_LOOKS {
            if let Some(state) = self.state.try_lock() {
                return state;
            }
            for _ in 0..LOOK_SPINS {
                std::hint::spin_loop();
            }
        }
        self.state.lock()
    }

    /// Which of the node's log directories holds the replica.
    pub(crate) fn log_dir(&self) -> usize {
        self.log_dir.load(Ordering::Acquire)
    }

    /// The log is in another directory now.
    pub(crate) fn moved_to(&self, log_dir: usize) {
        self.log_dir.store(log_dir, Ordering::Release);
    }

    /// Offset below which every record is committed.
    pub(crate) fn high_watermark(&self) -> i64 {
        self.high_watermark.load(Ordering::Acquire)
    }

    /// Has `on_commit` called with every new high watermark from now on. It must not block. Set once.
    pub(crate) fn on_commit(&self, on_commit: impl Fn(i64) + Send + Sync + 'static) {
        // A second one would be the same: only the applier sets it, for one coordinator.
        let _ = self.on_commit.set(Box::new(on_commit));
    }

    /// Takes the replica out of service: its directory failed.
    pub(crate) fn set_offline(&self) {
        self.offline.store(true, Ordering::Release);
        self.waiters.wake_all();
    }

    /// The replica is no longer this node's; its files go away after this. Who waits for it is to be woken when the
    /// metadata says so too.
    pub(crate) fn delete(&self) {
        self.deleted.store(true, Ordering::Release);
        self.lock().role = Role::None;
    }

    /// Whether the replica is no longer this node's. What fails then is no fault of the disk.
    pub(crate) fn is_deleted(&self) -> bool {
        self.deleted.load(Ordering::Acquire)
    }

    /// Whether damage in this segment is news: readers ask again and again, and one line is enough.
    pub(crate) fn is_new_damage(&self, segment: i64) -> bool {
        self.damage_told.swap(segment, Ordering::Relaxed) != segment
    }

    /// Takes no more appends: whoever waits for the replica must look again.
    pub(crate) fn resign(&self) {
        self.lock().role = Role::None;
        self.waiters.wake_all();
    }

    /// Whether the directory of the replica failed.
    pub(crate) fn is_offline(&self) -> bool {
        self.offline.load(Ordering::Acquire)
    }

    /// Makes this replica what the registration says. Says whether leadership came or went.
    pub(crate) fn apply(&self, registration: &PartitionRegistration) -> Result<Applied, StorageError> {
        let mut state = self.lock();
        let state = &mut *state;
        if registration.partition_epoch < state.partition_epoch {
            return Ok(Applied::Unchanged);
        }
        let is_news = registration.partition_epoch > state.partition_epoch;
        state.partition_epoch = registration.partition_epoch;
        state.replicas = registration.replicas.clone();
        if state.is_leader() && registration.leader == self.node_id {
            let lost = state.isr.iter().any(|id| !registration.isr.contains(id));
            let won = registration.isr.iter().any(|id| !state.isr.contains(id));
            self.traffic.add(Flow::IsrShrinks, lost.into());
            self.traffic.add(Flow::IsrExpands, won.into());
        }
        state.isr = registration.isr.clone();
        #[cfg(feature = "planted-bugs")]
        if planted::is(planted::Bug::LeaderForEver) && state.is_leader() {
            return Ok(Applied::Unchanged);
        }
        let new_epoch = registration.leader_epoch != state.leader_epoch;
        state.leader_epoch = registration.leader_epoch;
        state.leader = registration.leader;
        let applied = if registration.leader == self.node_id {
            self.lead(state, new_epoch, is_news)?
        } else {
            let led = state.is_leader();
            state.role = if registration.leader < 0 { Role::None } else { Role::Follower };
            match state.role.is_follower() {
                _ if led => Applied::Resigned,
                true if new_epoch => Applied::Follows,
                _ => Applied::Unchanged,
            }
        };
        #[cfg(feature = "planted-bugs")]
        if planted::is(planted::Bug::TruncateToHighWatermark)
            && matches!(applied, Applied::Follows | Applied::Resigned)
        {
            self.truncate(state, Truncation::To(self.high_watermark()))?.remove().ok();
        }
        self.commit_what_can_be(state);
        if new_epoch || applied != Applied::Unchanged {
            self.waiters.wake_all();
        }
        Ok(applied)
    }

    fn lead(
        &self,
        state: &mut PartitionState<L>,
        new_epoch: bool,
        is_news: bool,
    ) -> Result<Applied, StorageError> {
        let now_ms = crate::clock::now_ms();
        match &mut state.role {
            Role::Leader(leadership) if !new_epoch => {
                if is_news {
                    leadership.reassigned(&state.replicas, &state.isr, now_ms);
                }
                Ok(Applied::Unchanged)
            }
            _ => {
                let start = state.log.log_end_offset();
                state.log.assign_leader_epoch(state.leader_epoch, start)?;
                let leadership = Leadership::new(self.node_id, start, &state.replicas, &state.isr, now_ms);
                state.role = Role::Leader(leadership);
                Ok(Applied::Leads)
            }
        }
    }

    /// The topic's settings of this moment.
    pub(crate) fn settings(&self) -> Arc<TopicSettings> {
        self.lock().settings.clone()
    }

    /// Hands new topic settings to the log.
    pub(crate) fn set_settings(&self, settings: &Arc<TopicSettings>) {
        let mut state = self.lock();
        state.settings = settings.clone();
        state.log.set_config(settings.log.clone());
        // A lower min.insync.replicas may commit what was held back.
        self.commit_what_can_be(&mut state);
    }

    /// Appends validated batches as leader and wakes who waits for them, but for the followers: that is for the caller to
    /// do once the lock is free ([`Waiters::appended`]).
    ///
    /// Errors are Kafka's codes for a Produce answer; an IO error is reported through `on_io_error`.
    pub(crate) fn append_as_leader(
        &self,
        state: &mut PartitionState<L>,
        records: &mut [u8],
        origin: AppendOrigin,
        now_ms: i64,
    ) -> Result<AppendInfo, AppendError> {
        let args = AppendArgs { leader_epoch: state.leader_epoch, now_ms, origin };
        let info = state.log.append_as_leader(records, args)?;
        if !info.duplicate {
            self.flush_if_many(state)?;
            self.log_end_offset.store(state.log.log_end_offset(), Ordering::Release);
            if self.advance_high_watermark(state, now_ms) {
                let is_alone = state.replicas.len() <= 1;
                self.waiters.readable(if is_alone { info.bytes as i64 } else { i64::MAX });
            }
            // Only here, under the lock.
            self.traffic.add_locked(Flow::BytesIn, info.bytes as u64);
            let messages = info.last_offset - info.first_offset + 1;
            self.traffic.add_locked(Flow::MessagesIn, messages.cast_unsigned());
        }
        Ok(info)
    }

    /// Syncs the log before anyone hears of the append, if `flush.messages` asks for it.
    fn flush_if_many(&self, state: &mut PartitionState<L>) -> Result<(), StorageError> {
        let log_end = state.log.log_end_offset();
        if log_end - state.log.recovery_point() < state.settings.log.flush_messages {
            return Ok(());
        }
        state.flushed_at_ms = crate::clock::now_ms();
        let began = Instant::now();
        let flushed = tokio::task::block_in_place(|| state.log.flush(log_end));
        self.traffic.flushed(began);
        flushed
    }

    /// Moves the high watermark to the smallest log end of the replicas that count; true if it moved.
    fn advance_high_watermark(&self, state: &mut PartitionState<L>, now_ms: i64) -> bool {
        let min_isr = state.min_isr();
        let Role::Leader(leadership) = &state.role else { return false };
        let is_below = state.isr.len() < min_isr;
        #[cfg(feature = "planted-bugs")]
        let is_below = is_below && !planted::is(planted::Bug::CommitBelowMinIsr);
        if is_below {
            return false;
        }
        let (leader_end, lag_max_ms) = (state.log.log_end_offset(), state.settings.replica_lag_max_ms);
        let may_join = |id, epoch| self.metadata.may_join_isr(id, epoch);
        let committed = leadership.committed(&state.isr, leader_end, now_ms, lag_max_ms, may_join);
        if committed > self.high_watermark() {
            self.high_watermark.store(committed, Ordering::Release);
            state.log.set_high_watermark(committed);
            self.waiters.committed(committed);
            if let Some(on_commit) = self.on_commit.get() {
                on_commit(committed);
            }
            return true;
        }
        false
    }

    /// Commits what can be now that other brokers are there than before.
    pub(crate) fn commit(&self) {
        self.commit_what_can_be(&mut self.lock());
    }

    /// Moves the high watermark over what was appended before; by how much is for the readers to find out.
    fn commit_what_can_be(&self, state: &mut PartitionState<L>) {
        if self.advance_high_watermark(state, crate::clock::now_ms()) {
            self.waiters.readable(i64::MAX);
        }
    }

    /// Offsets, all of one moment.
    pub(crate) fn offsets(&self, state: &PartitionState<L>) -> Offsets {
        let high_watermark = self.high_watermark();
        Offsets {
            log_start: state.log.log_start_offset(),
            last_stable: state.log.first_unstable_offset().map_or(high_watermark, |o| o.min(high_watermark)),
            high_watermark,
            log_end: state.log.log_end_offset(),
        }
    }
}

impl Partition {
    /// Finds the records from `offset` on.
    pub(crate) fn read(
        &self,
        state: &PartitionState,
        offset: i64,
        max_bytes: usize,
        bound: ReadBound,
        min_one_batch: bool,
    ) -> Result<LogSlice, ReadError> {
        let offsets = self.offsets(state);
        state.log.read(offset, max_bytes, offsets.bound(bound), min_one_batch)
    }
}

impl Role {
    pub(crate) fn is_follower(&self) -> bool {
        matches!(self, Self::Follower)
    }
}

impl<L: ReplicaLog> PartitionState<L> {
    /// `min.insync.replicas`, at most the number of replicas.
    pub(crate) fn min_isr(&self) -> usize {
        self.settings.min_insync_replicas().min(self.replicas.len().max(1))
    }

    /// Whether this node leads the partition.
    pub(crate) fn is_leader(&self) -> bool {
        matches!(self.role, Role::Leader(_))
    }

    /// Checks the leader epoch that a client believes in; -1 is not checked (KIP-320).
    pub(crate) fn check_epoch(&self, current_leader_epoch: i32) -> Result<(), ErrorCode> {
        if current_leader_epoch < 0 || current_leader_epoch == self.leader_epoch {
            Ok(())
        } else if current_leader_epoch < self.leader_epoch {
            Err(ErrorCode::FENCED_LEADER_EPOCH)
        } else {
            Err(ErrorCode::UNKNOWN_LEADER_EPOCH)
        }
    }
}

impl Offsets {
    /// The offset that a reader stops before.
    pub(crate) fn bound(&self, bound: ReadBound) -> i64 {
        #[cfg(feature = "planted-bugs")]
        if planted::is(planted::Bug::UncommittedRead) {
            return self.log_end;
        }
        match bound {
            ReadBound::HighWatermark => self.high_watermark,
            ReadBound::LastStableOffset => self.last_stable,
            ReadBound::LogEnd => self.log_end,
        }
    }
}

/// What applying a registration changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Applied {
    Unchanged,
    /// This node leads the partition in a new epoch.
    Leads,
    /// This node led it and does so no more.
    Resigned,
    /// The leader that this node follows is new, or has a new epoch.
    Follows,
}

impl Applied {
    /// Whom the replica follows from now on, with the epoch: `Some(None)` for nobody, `None` if that is as it was.
    pub(crate) fn whom_to_follow(self, registration: &PartitionRegistration) -> Option<Option<(i32, i32)>> {
        match self {
            Self::Leads => Some(None),
            _ if registration.leader < 0 => Some(None),
            Self::Follows | Self::Resigned => Some(Some((registration.leader, registration.leader_epoch))),
            Self::Unchanged => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{BrokerConfig, SettingsSource};

    fn partition(dir: &std::path::Path, flush_messages: i64) -> Partition {
        let properties = [("node.id", "1"), ("process.roles", "broker")];
        let properties = properties.map(|(k, v)| (k.to_owned(), v.to_owned())).into_iter().collect();
        let config = BrokerConfig {
            capacity: crate::bounds::Capacity::default(),
            memory: net::MemoryBudget::new(1 << 20),
            node_id: 1,
            cluster_id: String::new(),
            incarnation_id: Uuid::nil(),
            rack: None,
            listeners: Vec::new(),
            inter_broker_listener: String::new(),
            properties: Arc::new(metadata::config::StaticConfig::new(properties).unwrap()),
        };
        let mut settings = SettingsSource::new(&config).default_topic();
        settings.log.flush_messages = flush_messages;
        let args = storage::OpenArgs::new_log(0);
        let (log, _) = Log::open(dir, settings.log.clone(), args).unwrap();
        let name = TopicPartition::new("t", 0);
        let metadata = Arc::new(MetadataCache::new());
        let found = FoundLog { topic_id: None, log_dir: 0, log, high_watermark: 0 };
        let partition = Partition::new(name, Uuid::from_u128(1), found, 1, metadata, Arc::new(settings));
        let registration = PartitionRegistration {
            replicas: vec![1],
            isr: vec![1],
            leader: 1,
            leader_epoch: 0,
            partition_epoch: 0,
            ..PartitionRegistration::default()
        };
        assert_eq!(partition.apply(&registration).unwrap(), Applied::Leads);
        partition
    }

    fn append(partition: &Partition) -> i64 {
        let mut batch = protocol::batch::BatchBuilder::new(0);
        batch.push_pair(0, None, Some(b"v"));
        let mut state = partition.lock();
        partition.append_as_leader(&mut state, &mut batch.build(), AppendOrigin::Client, 0).unwrap();
        state.log.recovery_point()
    }

    #[test]
    fn a_log_is_synced_every_so_many_messages() {
        let dir = tempfile::tempdir().unwrap();
        let partition = partition(&dir.path().join("t-0"), 3);
        let synced: Vec<_> = (0..7).map(|_| append(&partition)).collect();
        assert_eq!(synced, [0, 0, 3, 3, 3, 6, 6]);
        assert_eq!(partition.high_watermark(), 7);
    }
}
