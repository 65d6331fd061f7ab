//! Replicas on their way from one log directory of the node to another (KIP-113): the copy that is being made.
//!
//! The copy lies in a folder of its own (`<topic>-<partition>.<id>-future`), is filled from the replica's log and, once
//! it has all of it, takes its place under the partition's lock.
//!
//! Invariants: the replica stays what it is until the copy has everything and is synced; nobody replaces files of a log
//! whose copy is being made. Lock order: the copy, then the partition.
//! Source: Kafka's `Partition.maybeReplaceCurrentWithFutureReplica`, `LogManager.replaceCurrentWithFutureLog`.

use std::collections::hash_map::Entry;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use parking_lot::Mutex;
use storage::dirs::{DirError, write_partition_metadata};
use storage::names::marked_dir_name;
use storage::{AppendError, Log, OpenArgs, OpenError, ReadError, StorageError, TopicPartition};
use uuid::Uuid;

use crate::clock;
use crate::follower::where_logs_part;
use crate::replica::manager::{DELETE, DirAssignment, FoundLog, ReplicaManager, random_uuid};
use crate::replica::partition::{Partition, PartitionState, ReadBound, Role, append_copied};

const FUTURE: &str = "future";
/// What is copied at once.
const PIECE_BYTES: usize = 1 << 20;

/// A replica that is being moved.
pub(crate) struct Move {
    pub(crate) partition: Arc<Partition>,
    /// The directory that it goes to.
    pub(crate) to: usize,
    /// `None` once it is over.
    copy: Mutex<Option<FutureLog>>,
    /// Size and end of the copy, for those who only look.
    size: AtomicU64,
    log_end_offset: AtomicI64,
    /// The controller may have heard of the new directory.
    pub(crate) was_told: AtomicBool,
    /// The controller has noted the new directory.
    pub(crate) is_assigned: AtomicBool,
}

struct FutureLog {
    log: Log,
    /// The count of truncations of the replica up to which the copy was compared with it.
    compared_at: Option<u64>,
}

/// How far a move is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// So many bytes were copied.
    Copied(usize),
    /// The copy has all there is.
    CaughtUp,
    /// The copy is the replica now, or was given up.
    Over,
}

/// Why a move cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MoveError {
    /// The replica itself cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The copy cannot be written.
    #[error(transparent)]
    Append(#[from] AppendError),
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Dir(#[from] DirError),
}

impl Move {
    fn new(partition: Arc<Partition>, to: usize, log: Log) -> Arc<Self> {
        let (size, end) = (log.size(), log.log_end_offset());
        Arc::new(Self {
            partition,
            to,
            copy: Mutex::new(Some(FutureLog { log, compared_at: None })),
            size: AtomicU64::new(size),
            log_end_offset: AtomicI64::new(end),
            was_told: AtomicBool::new(false),
            is_assigned: AtomicBool::new(false),
        })
    }

    /// Size of the copy in bytes and its end.
    pub(crate) fn size_and_end(&self) -> (u64, i64) {
        (self.size.load(Ordering::Relaxed), self.log_end_offset.load(Ordering::Relaxed))
    }

    /// Copies the next piece of the log. Blocks on files.
    pub(crate) fn copy_piece(&self) -> Result<Progress, MoveError> {
        let mut copy = self.copy.lock();
        let Some(future) = copy.as_mut() else { return Ok(Progress::Over) };
        let progress = future.copy_piece(&self.partition);
        self.size.store(future.log.size(), Ordering::Relaxed);
        self.log_end_offset.store(future.log.log_end_offset(), Ordering::Relaxed);
        progress
    }
}

impl FutureLog {
    fn copy_piece(&mut self, partition: &Partition) -> Result<Progress, MoveError> {
        let (slice, truncations) = {
            let state = partition.lock();
            self.fit(partition, &state)?;
            if self.log.log_end_offset() >= state.log.log_end_offset() {
                return Ok(Progress::CaughtUp);
            }
            let offset = self.log.log_end_offset();
            (partition.read(&state, offset, PIECE_BYTES, ReadBound::LogEnd, true)?, state.truncations)
        };
        let path = || PathBuf::from(partition.name.to_string());
        let records = slice.read().map_err(|e| ReadError::Io(StorageError::of("read", path())(e)))?;
        if partition.lock().truncations != truncations {
            return Ok(Progress::Copied(0));
        }
        append_copied(&mut self.log, &records, clock::now_ms())?;
        Ok(Progress::Copied(records.len()))
    }

    /// Cuts off what the replica does not have any more, at either end.
    fn fit(&mut self, partition: &Partition, state: &PartitionState) -> Result<(), MoveError> {
        let current = &state.log;
        if self.compared_at != Some(state.truncations) {
            while let Some(latest) = self.log.latest_epoch() {
                let end = self.log.log_end_offset();
                let parts = match current.end_offset_for_epoch(latest) {
                    Some((epoch, epoch_end)) if epoch == latest && epoch_end >= end => break,
                    Some((epoch, epoch_end)) => {
                        where_logs_part(self.log.end_offset_for_epoch(epoch), end, epoch, epoch_end)
                    }
                    None => self.log.log_start_offset(),
                };
                if parts >= end {
                    break;
                }
                self.log
                    .truncate_to(parts.max(self.log.log_start_offset()))?
                    .remove()
                    .map_err(of(&self.log))?;
            }
            self.compared_at = Some(state.truncations);
        }
        let start = current.log_start_offset();
        if self.log.log_end_offset() > current.log_end_offset() {
            self.log.truncate_to(current.log_end_offset())?.remove().map_err(of(&self.log))?;
        }
        if self.log.log_end_offset() < start {
            self.log.truncate_fully_and_start_at(start)?.remove().map_err(of(&self.log))?;
        }
        self.log.set_high_watermark(partition.high_watermark());
        if start > self.log.log_start_offset() {
            self.log.advance_log_start(start)?;
        }
        Ok(())
    }
}

/// Names the log whose files could not be removed.
fn of(log: &Log) -> impl FnOnce(std::io::Error) -> StorageError {
    let dir = log.dir().to_path_buf();
    move |error| StorageError::of("remove files of", &dir)(error)
}

impl ReplicaManager {
    /// The move of a replica, if it is being moved.
    pub(crate) fn move_of(&self, partition: &Partition) -> Option<Arc<Move>> {
        self.moves.lock().get(&(partition.topic_id, partition.name.partition)).cloned()
    }

    /// Chooses the directory of a replica that is not here yet, should it come. Only for topics that exist.
    pub(crate) fn prefer_dir(&self, topic: &str, partition: i32, log_dir: usize) {
        self.preferred_dirs.lock().insert(TopicPartition::new(topic, partition), log_dir);
    }

    /// All moves.
    pub(crate) fn moves(&self) -> Vec<Arc<Move>> {
        self.moves.lock().values().cloned().collect()
    }

    /// Has a replica moved to another directory, which must work; a move elsewhere is given up. Blocks on files.
    pub(crate) fn begin_move(&self, partition: &Arc<Partition>, to: usize) -> Result<(), MoveError> {
        if let Some(ongoing) = self.move_of(partition) {
            if ongoing.to == to {
                return Ok(());
            }
            self.give_up(&ongoing);
        }
        if partition.log_dir() == to {
            return Ok(());
        }
        let path = self.dirs[to].dir.path().join(marked_dir_name(&partition.name, random_uuid(), FUTURE));
        let settings = partition.settings();
        let (log, _) = Log::open(&path, settings.log.clone(), OpenArgs::new_log(clock::now_ms()))?;
        write_partition_metadata(&path, partition.topic_id)?;
        self.start_move(partition, to, log);
        Ok(())
    }

    fn start_move(&self, partition: &Arc<Partition>, to: usize, log: Log) {
        tracing::info!("{}: moving to {}", partition.name, self.dirs[to].absolute_path());
        let path = log.dir().to_path_buf();
        let started = Move::new(partition.clone(), to, log);
        match self.moves.lock().entry((partition.topic_id, partition.name.partition)) {
            Entry::Vacant(place) => drop(place.insert(started.clone())),
            // Somebody was quicker.
            Entry::Occupied(_) => return self.doom_folder(&partition.name, to, path, 0),
        }
        // The receiver is gone only while the node stops; the next start finds the copy.
        let _ = self.outlets.moves.send(started);
    }

    /// Goes on with a move that the last stop or crash cut short.
    pub(super) fn resume_move(&self, partition: &Arc<Partition>) {
        let Some(found) = self.futures.lock().remove(&partition.name) else { return };
        let is_mine = found.topic_id == Some(partition.topic_id) && found.log_dir != partition.log_dir();
        if is_mine {
            let mut log = found.log;
            log.set_config(partition.settings().log.clone());
            self.start_move(partition, found.log_dir, log);
        } else {
            self.remove_future(&partition.name, found);
        }
    }

    /// Copies that belong to no replica.
    pub(super) fn remove_stray_futures(&self) {
        let strays: Vec<(TopicPartition, FoundLog)> = self.futures.lock().drain().collect();
        strays.into_iter().for_each(|(name, found)| self.remove_future(&name, found));
    }

    fn remove_future(&self, name: &TopicPartition, found: FoundLog) {
        self.doom_folder(name, found.log_dir, found.log.dir().to_path_buf(), 0);
    }

    /// Renames a folder so that it counts as deleted, and has it removed later.
    fn doom_folder(&self, name: &TopicPartition, log_dir: usize, path: PathBuf, delay_ms: i64) {
        let dir = &self.dirs[log_dir];
        if dir.is_offline() {
            return;
        }
        match dir.dir.mark_dir(&path, name, random_uuid(), DELETE) {
            Ok(path) => self.remove_later(path, delay_ms),
            Err(error) => self.dir_failed(log_dir, &error),
        }
    }

    /// Ends a move without its aim: the replica stays where it is, and the controller hears so.
    pub(crate) fn give_up(&self, ended: &Move) {
        let partition = &ended.partition;
        let future = ended.copy.lock().take();
        self.forget_move(ended);
        if let Some(future) = future {
            tracing::info!("{}: stays in {}", partition.name, self.dirs[partition.log_dir()].absolute_path());
            self.doom_folder(&partition.name, ended.to, future.log.dir().to_path_buf(), 0);
        }
        if ended.was_told.load(Ordering::Acquire) && !partition.is_deleted() {
            self.assign(partition, self.dirs[partition.log_dir()].id);
        }
    }

    /// Tells the controller in which directory the replica is.
    fn assign(&self, partition: &Partition, dir: Uuid) {
        let (topic_id, partition) = (partition.topic_id, partition.name.partition);
        // The receiver is gone only while the node stops; it reports at its next start.
        let _ = self.outlets.assignments.send(DirAssignment { topic_id, partition, dir });
    }

    fn forget_move(&self, ended: &Move) {
        let mut moves = self.moves.lock();
        let key = (ended.partition.topic_id, ended.partition.name.partition);
        if moves.get(&key).is_some_and(|listed| std::ptr::eq(&**listed, ended)) {
            moves.remove(&key);
        }
    }

    /// Makes the copy the replica, if nobody else is replacing files of the log. Blocks on files.
    pub(crate) fn finish_move(&self, ending: &Move) -> Result<Progress, MoveError> {
        let partition = &ending.partition;
        let mut copy = ending.copy.lock();
        let Some(future) = copy.as_mut() else { return Ok(Progress::Over) };
        // Most of it before the lock that clients wait for.
        future.log.flush(future.log.log_end_offset())?;
        let Some(_files) = partition.files.try_lock() else { return Ok(Progress::Copied(0)) };
        let mut state = partition.lock();
        if partition.is_deleted() {
            return Ok(Progress::Copied(0));
        }
        future.fit(partition, &state)?;
        while future.log.log_end_offset() < state.log.log_end_offset() {
            let offset = future.log.log_end_offset();
            let slice = partition.read(&state, offset, PIECE_BYTES, ReadBound::LogEnd, true)?;
            let path = || PathBuf::from(partition.name.to_string());
            let records = slice.read().map_err(|e| ReadError::Io(StorageError::of("read", path())(e)))?;
            append_copied(&mut future.log, &records, clock::now_ms())?;
        }
        let Some(future) = copy.take() else { return Ok(Progress::Over) };
        let (from, old_path) = (partition.log_dir(), state.log.dir().to_path_buf());
        let taken = self.take_place(ending, &mut state, future.log);
        let delay_ms = state.settings.log.file_delete_delay_ms;
        drop(state);
        taken?;
        self.doom_folder(&partition.name, from, old_path, delay_ms);
        self.dirs[from].remove_replica();
        self.dirs[ending.to].add_replica();
        self.forget_move(ending);
        self.write_checkpoints();
        partition.waiters.wake_all();
        tracing::info!("{}: is in {} now", partition.name, self.dirs[ending.to].absolute_path());
        Ok(Progress::Over)
    }

    /// The copy gets the replica's name and its place. The log is opened anew, as its files have another path.
    fn take_place(
        &self,
        ending: &Move,
        state: &mut PartitionState,
        mut future: Log,
    ) -> Result<(), MoveError> {
        let partition = &ending.partition;
        if let Role::Leader(leadership) = &state.role
            && future.latest_epoch().is_none_or(|epoch| epoch < state.leader_epoch)
        {
            future.assign_leader_epoch(state.leader_epoch, leadership.epoch_start_offset)?;
        }
        future.close()?;
        let args = OpenArgs {
            log_start_offset: future.log_start_offset(),
            recovery_point: future.log_end_offset(),
            high_watermark: partition.high_watermark(),
            clean_shutdown: true,
            durable_end: None,
            now_ms: clock::now_ms(),
        };
        let path = future.dir().to_path_buf();
        drop(future);
        let dir = &self.dirs[ending.to].dir;
        let place = dir.partition_path(&partition.name);
        std::fs::rename(&path, &place).map_err(StorageError::of("rename", &path))?;
        dir.sync()?;
        let (mut log, _) = Log::open(&place, state.settings.log.clone(), args)?;
        log.set_high_watermark(partition.high_watermark());
        state.log = log;
        partition.moved_to(ending.to);
        Ok(())
    }
}
