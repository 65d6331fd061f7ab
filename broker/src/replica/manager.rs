//! The replicas of this node: found by topic name or id, made and removed as the metadata says.
//!
//! One owner: only the metadata applier adds and removes replicas ([`ReplicaManager::apply`]); everyone else looks
//! them up. A directory that fails an IO operation goes offline with everything in it, the others serve on; what
//! fails because its replica was deleted meanwhile fails alone.
//!
//! Invariant: a replica that counts as in-sync is never begun anew, empty, because its directory is missing.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use dashmap::DashMap;
use metadata::delta::MetadataDelta;
use metadata::image::{MetadataImage, resource_type};
use metadata::local::{DroppedReplica, LocalPartition};
use metadata::partition::PartitionRegistration;
use parking_lot::{Mutex, RwLock};
use protocol::{ErrorCode, StrBytes};
use storage::dirs::{Checkpoint, write_partition_metadata};
use storage::{AppendError, Log, ReadError, StorageError, TopicPartition};
use tokio::sync::{mpsc, watch};
use uuid::Uuid;

use crate::config::{SettingsSource, TopicSettings};
use crate::fetch::session::TopicKey;
use crate::follower::FollowOrder;
use crate::metadata_cache::MetadataCache;
use crate::metrics::Traffic;
use crate::replica::checkpoints::Checkpoints;
pub(crate) use crate::replica::dir_state::DirState;
use crate::replica::moves::Move;
use crate::replica::partition::{Applied, IsrProposal, Partition};

/// Flushes that may wait for the background task; those beyond are left to the next checkpoint.
const FLUSH_QUEUE: usize = 1024;
/// Suffix of the folder of a deleted replica, and of one that no metadata claims.
pub(super) const DELETE: &str = "delete";
pub(super) const STRAY: &str = "stray";

/// The replicas of one topic on this node, by partition number; `None` where it has none.
struct HostedTopic {
    id: Uuid,
    partitions: RwLock<Vec<Option<Arc<Partition>>>>,
}

/// A log found on disk that no metadata has claimed yet.
pub(crate) struct FoundLog<L = Log> {
    pub(crate) topic_id: Option<Uuid>,
    pub(crate) log_dir: usize,
    pub(crate) log: L,
    /// As the checkpoint has it.
    pub(crate) high_watermark: i64,
}

/// A leadership that came or went, for the coordinators.
pub(crate) struct LeadershipChange {
    pub(crate) partition: Arc<Partition>,
    pub(crate) leads: bool,
    /// The replica is gone from this node.
    pub(crate) is_deleted: bool,
}

/// A segment to be synced after a roll.
pub(crate) struct FlushRequest {
    pub(crate) partition: Arc<Partition>,
    pub(crate) up_to: i64,
}

/// A replica whose directory the controller does not know.
pub(crate) struct DirAssignment {
    pub(crate) topic_id: Uuid,
    pub(crate) partition: i32,
    pub(crate) dir: Uuid,
}

/// Where the manager leaves work for the background tasks.
pub(crate) struct Outlets {
    /// Folders of deleted replicas, with the `file.delete.delay.ms` of their topic.
    pub(crate) removed: mpsc::UnboundedSender<(PathBuf, i64)>,
    pub(crate) assignments: mpsc::UnboundedSender<DirAssignment>,
    /// At most [`FLUSH_QUEUE`]: flushes beyond are left to the next one.
    pub(crate) flushes: mpsc::Sender<FlushRequest>,
    /// At most one for each led partition.
    pub(crate) isr_proposals: mpsc::UnboundedSender<IsrProposal>,
    /// Whom the replicas follow.
    pub(crate) follow_orders: mpsc::UnboundedSender<FollowOrder>,
    /// Replicas that are to go to another directory.
    pub(crate) moves: mpsc::UnboundedSender<Arc<Move>>,
}

/// The other ends of [`Outlets`].
pub(crate) struct Inlets {
    pub(crate) removed: mpsc::UnboundedReceiver<(PathBuf, i64)>,
    pub(crate) assignments: mpsc::UnboundedReceiver<DirAssignment>,
    pub(crate) flushes: mpsc::Receiver<FlushRequest>,
    pub(crate) isr_proposals: mpsc::UnboundedReceiver<IsrProposal>,
    pub(crate) follow_orders: mpsc::UnboundedReceiver<FollowOrder>,
    pub(crate) moves: mpsc::UnboundedReceiver<Arc<Move>>,
}

/// The channels between the manager and the background tasks.
pub(crate) fn channels() -> (Outlets, Inlets) {
    let (removed, removed_in) = mpsc::unbounded_channel();
    let (assignments, assignments_in) = mpsc::unbounded_channel();
    let (flushes, flushes_in) = mpsc::channel(FLUSH_QUEUE);
    let (isr_proposals, proposals_in) = mpsc::unbounded_channel();
    let (follow_orders, orders_in) = mpsc::unbounded_channel();
    let (moves, moves_in) = mpsc::unbounded_channel();
    let inlets = Inlets {
        removed: removed_in,
        assignments: assignments_in,
        flushes: flushes_in,
        isr_proposals: proposals_in,
        follow_orders: orders_in,
        moves: moves_in,
    };
    (Outlets { removed, assignments, flushes, isr_proposals, follow_orders, moves }, inlets)
}

/// All replicas of the node.
pub(crate) struct ReplicaManager {
    pub(super) node_id: i32,
    pub(super) dirs: Vec<DirState>,
    /// Keys are names and ids of topics that exist, so that nobody can choose them to collide for long.
    by_name: DashMap<Arc<str>, Arc<HostedTopic>, foldhash::fast::RandomState>,
    by_id: DashMap<Uuid, Arc<HostedTopic>, foldhash::fast::RandomState>,
    pub(super) found: Mutex<HashMap<TopicPartition, Vec<FoundLog>>>,
    /// Replicas that should be here and could not be opened.
    unavailable: Mutex<HashSet<(Uuid, i32)>>,
    metadata: Arc<MetadataCache>,
    settings: Arc<SettingsSource>,
    checkpoints: Checkpoints,
    pub(super) outlets: Outlets,
    /// Copies found on disk, of moves between directories that were cut short.
    pub(super) futures: Mutex<HashMap<TopicPartition, FoundLog>>,
    /// Replicas that are being moved between directories.
    pub(super) moves: Mutex<HashMap<(Uuid, i32), Arc<Move>>>,
    /// Directories that were chosen for replicas that are not here yet.
    pub(super) preferred_dirs: Mutex<HashMap<TopicPartition, usize>>,
    /// What went in and out of replicas that are gone, and requests for partitions that are not here.
    pub(crate) elsewhere: Traffic,
    /// Counts the directories that failed.
    dir_failures: watch::Sender<usize>,
}

impl ReplicaManager {
    /// Takes over directories and the logs found in them.
    pub(crate) fn new(
        node_id: i32,
        dirs: Vec<DirState>,
        found: HashMap<TopicPartition, Vec<FoundLog>>,
        futures: HashMap<TopicPartition, FoundLog>,
        metadata: Arc<MetadataCache>,
        settings: Arc<SettingsSource>,
        outlets: Outlets,
    ) -> Self {
        Self {
            node_id,
            dirs,
            by_name: DashMap::default(),
            by_id: DashMap::default(),
            found: Mutex::new(found),
            futures: Mutex::new(futures),
            moves: Mutex::default(),
            preferred_dirs: Mutex::default(),
            unavailable: Mutex::default(),
            metadata,
            settings,
            checkpoints: Checkpoints::default(),
            outlets,
            elsewhere: Traffic::default(),
            dir_failures: watch::Sender::new(0),
        }
    }

    /// The log directories, in the order of the configuration.
    pub(crate) fn dirs(&self) -> &[DirState] {
        &self.dirs
    }

    /// Every replica.
    pub(crate) fn all(&self) -> Vec<Arc<Partition>> {
        let mut all = Vec::new();
        for topic in &self.by_id {
            all.extend(topic.partitions.read().iter().flatten().cloned());
        }
        all
    }

    /// The replica of a partition, or Kafka's code for what stands in the way.
    pub(crate) fn by_name(&self, topic: &str, partition: i32) -> Result<Arc<Partition>, ErrorCode> {
        let hosted = self.by_name.get(topic).and_then(|hosted| hosted.partition(partition));
        hosted.ok_or_else(|| {
            let image = self.metadata.image();
            match image.topics.by_name(topic) {
                Some(t) if t.partition(partition).is_some() => self.why_not_hosted(t.id, partition),
                _ => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
            }
        })
    }

    /// Likewise by topic id.
    pub(crate) fn by_id(&self, topic: Uuid, partition: i32) -> Result<Arc<Partition>, ErrorCode> {
        let hosted = self.by_id.get(&topic).and_then(|hosted| hosted.partition(partition));
        hosted.ok_or_else(|| {
            let image = self.metadata.image();
            match image.topics.by_id(topic) {
                Some(t) if t.partition(partition).is_some() => self.why_not_hosted(topic, partition),
                Some(_) => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
                None => ErrorCode::UNKNOWN_TOPIC_ID,
            }
        })
    }

    /// Kafka's code for a partition that exists and has no replica here, or none that could be opened.
    fn why_not_hosted(&self, topic: Uuid, partition: i32) -> ErrorCode {
        match self.unavailable.lock().contains(&(topic, partition)) {
            true => ErrorCode::KAFKA_STORAGE_ERROR,
            false => ErrorCode::NOT_LEADER_OR_FOLLOWER,
        }
    }

    /// Likewise, as a fetch names it.
    pub(crate) fn find(&self, topic: &TopicKey, partition: i32) -> Result<Arc<Partition>, ErrorCode> {
        match topic {
            TopicKey::Name(name) => self.by_name(name, partition),
            TopicKey::Id(id) => self.by_id(*id, partition),
        }
    }

    /// Makes the replicas what the delta says. Blocks on file operations; returns leaderships that changed.
    pub(crate) fn apply(&self, delta: &MetadataDelta) -> Vec<LeadershipChange> {
        let local = delta.local_changes(self.node_id);
        let mut changes = self.drop_replicas(&local.deletes);
        let mut settings = SettingsOfTopics { source: &self.settings, image: delta.after(), last: None };
        let is_new = |mine: &&LocalPartition| self.hosted(mine).is_none();
        let new: Vec<_> = local.leads.iter().chain(&local.follows).filter(is_new).collect();
        self.make_logs(&new, &mut settings);
        for mine in local.leads.iter().chain(&local.follows) {
            match self.apply_partition(mine, &mut settings) {
                Ok(change) => {
                    self.unavailable.lock().remove(&(mine.topic_id, mine.partition));
                    changes.extend(change);
                }
                Err(error) => {
                    // Of a directory that just failed a line was written already.
                    if !matches!(error, ReplicaError::Storage(_)) {
                        tracing::error!("{}-{}: {error}", mine.topic, mine.partition);
                    }
                    self.unavailable.lock().insert((mine.topic_id, mine.partition));
                }
            }
        }
        if !delta.changes.configs.is_empty() {
            self.reconfigure(delta);
        }
        changes
    }

    fn drop_replicas(&self, dropped: &[DroppedReplica]) -> Vec<LeadershipChange> {
        if dropped.is_empty() {
            return Vec::new();
        }
        let mut changes = Vec::new();
        for dropped in dropped {
            let partition = TopicPartition::new(&dropped.topic, dropped.partition);
            self.unavailable.lock().remove(&(dropped.topic_id, dropped.partition));
            changes.extend(self.drop_replica(dropped.topic_id, &partition));
        }
        for at in (0..self.dirs.len()).filter(|at| !self.dirs[*at].is_offline()) {
            if let Err(error) = self.dirs[at].dir.sync() {
                self.dir_failed(at, &error);
            }
        }
        // A topic of the same name must not inherit offsets after a crash.
        self.write_checkpoints();
        changes
    }

    fn hosted(&self, mine: &LocalPartition) -> Option<Arc<Partition>> {
        self.by_id.get(&mine.topic_id).and_then(|topic| topic.partition(mine.partition))
    }

    /// Hands every log whose settings may have changed the new ones.
    fn reconfigure(&self, delta: &MetadataDelta) {
        let changed = &delta.changes.configs;
        let all = changed.iter().any(|resource| resource.kind == resource_type::BROKER);
        let topics: Vec<_> = if all {
            self.by_id.iter().map(|topic| topic.value().clone()).collect()
        } else {
            let named = changed.iter().filter(|resource| resource.kind == resource_type::TOPIC);
            named.filter_map(|resource| Some(self.by_name.get(&*resource.name)?.value().clone())).collect()
        };
        for topic in topics {
            let partitions = topic.partitions.read().clone();
            let mut settings = None;
            for partition in partitions.iter().flatten() {
                let compute = || self.settings.topic(delta.after(), &partition.name.topic);
                partition.set_settings(settings.get_or_insert_with(compute));
            }
        }
    }

    fn apply_partition(
        &self,
        mine: &LocalPartition,
        settings: &mut SettingsOfTopics<'_>,
    ) -> Result<Option<LeadershipChange>, ReplicaError> {
        let partition = match self.hosted(mine) {
            Some(partition) => partition,
            None => self.add_replica(mine, settings.of(&mine.topic))?,
        };
        self.report_dir(mine, &partition);
        let applied = match partition.apply(&mine.state) {
            Ok(applied) => applied,
            Err(error) => {
                self.storage_failed(&partition, &error);
                return Err(error.into());
            }
        };
        self.follow(&partition, applied, &mine.state);
        Ok(match applied {
            Applied::Unchanged | Applied::Follows => None,
            Applied::Leads => Some(LeadershipChange { partition, leads: true, is_deleted: false }),
            Applied::Resigned => Some(LeadershipChange { partition, leads: false, is_deleted: false }),
        })
    }

    /// Sends the fetchers after the leader, or away.
    fn follow(&self, partition: &Arc<Partition>, applied: Applied, state: &PartitionRegistration) {
        let Some(leader) = applied.whom_to_follow(state) else { return };
        // The receiver is gone only while the node stops.
        let _ = self.outlets.follow_orders.send(FollowOrder { partition: partition.clone(), leader });
    }

    /// Tells the controller where the replica is, if that is news (KIP-858).
    fn report_dir(&self, mine: &LocalPartition, partition: &Partition) {
        if self.move_of(partition).is_some() {
            // Whoever moves it tells.
            return;
        }
        let dir = self.dirs[partition.log_dir()].id;
        if mine.state.directory(self.node_id).is_some_and(|assigned| assigned != dir) {
            let (topic_id, partition) = (mine.topic_id, mine.partition);
            // The receiver is gone only while the node stops; it reports at its next start.
            let _ = self.outlets.assignments.send(DirAssignment { topic_id, partition, dir });
        }
    }

    /// Opens the log that was found on disk, or makes a new one.
    fn add_replica(
        &self,
        mine: &LocalPartition,
        settings: Arc<TopicSettings>,
    ) -> Result<Arc<Partition>, ReplicaError> {
        let name = TopicPartition::new(&mine.topic, mine.partition);
        let found = match self.claim(mine, &name) {
            Some(mut found) => {
                found.log.set_config(settings.log.clone());
                if found.topic_id.is_none() {
                    write_partition_metadata(found.log.dir(), mine.topic_id)?;
                }
                found
            }
            None => self.create_log(mine, &name, &settings.log)?,
        };
        let (node_id, metadata) = (self.node_id, self.metadata.clone());
        let partition = Arc::new(Partition::new(name, mine.topic_id, found, node_id, metadata, settings));
        self.insert(&partition);
        if self.dirs[partition.log_dir()].is_offline() {
            // It failed between the opening and the insertion.
            partition.set_offline();
        }
        self.resume_move(&partition);
        Ok(partition)
    }

    /// The log that was found at the start, in the assigned directory if there are several. The others are strays.
    fn claim(&self, mine: &LocalPartition, name: &TopicPartition) -> Option<FoundLog> {
        let mut found = self.found.lock().remove(name)?;
        let assigned = mine.state.directory(self.node_id);
        found.sort_by_key(|log| (assigned != Some(self.dirs[log.log_dir].id), log.topic_id.is_none()));
        let at = found.iter().position(|log| log.topic_id.is_none_or(|id| id == mine.topic_id));
        let claimed = at.map(|at| found.remove(at));
        found.into_iter().for_each(|log| self.mark_stray(name, &log));
        claimed
    }

    fn insert(&self, partition: &Arc<Partition>) {
        let new = || Arc::new(HostedTopic { id: partition.topic_id, partitions: RwLock::default() });
        let topic = self.by_id.entry(partition.topic_id).or_insert_with(new).value().clone();
        let at = usize::try_from(partition.name.partition).expect("partition numbers are not negative");
        let mut partitions = topic.partitions.write();
        if partitions.len() <= at {
            partitions.resize(at + 1, None);
        }
        partitions[at] = Some(partition.clone());
        drop(partitions);
        self.dirs[partition.log_dir()].add_replica();
        self.by_name.insert(partition.name.topic.clone(), topic);
    }

    fn remove(&self, topic_id: Uuid, name: &TopicPartition) -> Option<Arc<Partition>> {
        let topic = self.by_id.get(&topic_id).map(|entry| entry.value().clone())?;
        let mut partitions = topic.partitions.write();
        let partition = partitions.get_mut(usize::try_from(name.partition).ok()?)?.take()?;
        let is_empty = partitions.iter().all(Option::is_none);
        drop(partitions);
        self.dirs[partition.log_dir()].remove_replica();
        if is_empty {
            self.by_id.remove(&topic_id);
            // A topic of the same name may have been created anew already.
            self.by_name.remove_if(&*name.topic, |_, hosted| hosted.id == topic_id);
        }
        Some(partition)
    }

    fn drop_replica(&self, topic_id: Uuid, name: &TopicPartition) -> Option<LeadershipChange> {
        let ongoing = self.moves.lock().get(&(topic_id, name.partition)).cloned();
        if let Some(ongoing) = ongoing {
            self.give_up(&ongoing);
        }
        let partition = self.remove(topic_id, name)?;
        partition.delete();
        let order = FollowOrder { partition: partition.clone(), leader: None };
        // The receiver is gone only while the node stops.
        let _ = self.outlets.follow_orders.send(order);
        self.elsewhere.take_over(partition.traffic.counts());
        if !partition.is_offline() {
            let dir = &self.dirs[partition.log_dir()].dir;
            let delay_ms = partition.settings().log.file_delete_delay_ms;
            match dir.mark_dir(&dir.partition_path(name), name, random_uuid(), DELETE) {
                // The receiver is gone only while the node stops; the folder is then removed at the next start.
                Ok(path) => drop(self.outlets.removed.send((path, delay_ms))),
                Err(error) => self.dir_failed(partition.log_dir(), &error),
            }
        }
        Some(LeadershipChange { partition, leads: false, is_deleted: true })
    }

    /// Logs that no topic of the image owns: renamed, kept for a person to look at, no longer served.
    pub(crate) fn mark_strays(&self) {
        self.remove_stray_futures();
        let found: Vec<_> = self.found.lock().drain().collect();
        for (name, logs) in found {
            logs.iter().for_each(|log| self.mark_stray(&name, log));
        }
    }

    fn mark_stray(&self, name: &TopicPartition, found: &FoundLog) {
        tracing::warn!(
            "Found stray log dir {}: the topic is gone, has another id, or is in another directory",
            found.log.dir().display()
        );
        let dir = &self.dirs[found.log_dir].dir;
        if let Err(error) = dir.mark_dir(found.log.dir(), name, random_uuid(), STRAY) {
            self.dir_failed(found.log_dir, &error);
        }
    }

    /// Writes one kind of checkpoint in every directory that works.
    pub(crate) fn write_checkpoint(&self, kind: Checkpoint) {
        self.checkpoints.write(self, kind);
    }

    /// Writes all of them.
    pub(crate) fn write_checkpoints(&self) {
        for kind in Checkpoint::ALL {
            self.write_checkpoint(kind);
        }
    }

    /// Has the background task remove a file or folder after `delay_ms`.
    pub(crate) fn remove_later(&self, path: PathBuf, delay_ms: i64) {
        // The receiver is gone only while the node stops; the next start removes it.
        let _ = self.outlets.removed.send((path, delay_ms));
    }

    /// Asks the background task to sync what is below `up_to`; dropped when too many wait.
    pub(crate) fn flush_later(&self, partition: &Arc<Partition>, up_to: i64) {
        let _ = self.outlets.flushes.try_send(FlushRequest { partition: partition.clone(), up_to });
    }

    /// Sends the controller a new ISR.
    pub(crate) fn propose_isr(&self, proposal: IsrProposal) {
        // The receiver is gone only while the node stops; the next leader proposes its own.
        let _ = self.outlets.isr_proposals.send(proposal);
    }

    /// Takes the partition's directory offline and gives the code for the answer. If the partition was deleted
    /// meanwhile, its files are gone for a good reason.
    pub(crate) fn storage_failed(&self, partition: &Partition, error: &dyn std::fmt::Display) -> ErrorCode {
        if partition.is_deleted() {
            return ErrorCode::NOT_LEADER_OR_FOLLOWER;
        }
        self.dir_failed(partition.log_dir(), error);
        ErrorCode::KAFKA_STORAGE_ERROR
    }

    /// Records that had been found could not be read when they were to be sent: as [`ReplicaManager::storage_failed`].
    pub(crate) fn send_failed(&self, partition: &Partition, error: std::io::Error) -> ErrorCode {
        let dir = &self.dirs[partition.log_dir()].dir;
        self.storage_failed(partition, &StorageError::of("read", dir.partition_path(&partition.name))(error))
    }

    /// Takes a directory out of service, with one line that says why.
    pub(crate) fn dir_failed(&self, log_dir: usize, error: &dyn std::fmt::Display) {
        let dir = &self.dirs[log_dir];
        if !dir.set_offline() {
            return;
        }
        let hint = "its partitions are offline until the node is restarted with a working disk";
        tracing::error!("Stopping serving logs in dir {}: {error}; {hint}", dir.absolute_path());
        for partition in self.all().iter().filter(|p| p.log_dir() == log_dir) {
            partition.set_offline();
        }
        self.dir_failures.send_modify(|failures| *failures += 1);
    }

    /// Tells when a directory fails.
    pub(crate) fn dir_failures(&self) -> watch::Receiver<usize> {
        self.dir_failures.subscribe()
    }

    /// Replicas that should be here and could not be opened.
    pub(crate) fn unavailable(&self) -> usize {
        self.unavailable.lock().len()
    }

    /// Ids of the directories that failed.
    pub(crate) fn offline_dirs(&self) -> Vec<Uuid> {
        self.dirs.iter().filter(|dir| dir.is_offline()).map(|dir| dir.id).collect()
    }

    /// Kafka's code for a failed append; an IO error takes the directory offline.
    pub(crate) fn append_failed(&self, partition: &Partition, error: &AppendError) -> ErrorCode {
        match error {
            AppendError::Io(_) | AppendError::Poisoned(_) => self.storage_failed(partition, error),
            _ => error.code(),
        }
    }

    /// Kafka's code for a failed read; an IO error takes the directory offline.
    pub(crate) fn read_failed(&self, partition: &Partition, error: &ReadError) -> ErrorCode {
        match error {
            ReadError::OutOfRange { .. } => ErrorCode::OFFSET_OUT_OF_RANGE,
            ReadError::Corrupt { base_offset, .. } => {
                if partition.is_new_damage(*base_offset) {
                    tracing::error!("{}: {error}; what is damaged is not served", partition.name);
                }
                ErrorCode::CORRUPT_MESSAGE
            }
            ReadError::Io(error) => self.storage_failed(partition, error),
        }
    }
}

impl HostedTopic {
    fn partition(&self, index: i32) -> Option<Arc<Partition>> {
        self.partitions.read().get(usize::try_from(index).ok()?)?.clone()
    }
}

/// Computes the settings of a topic once for all its partitions that follow each other.
pub(super) struct SettingsOfTopics<'a> {
    source: &'a SettingsSource,
    image: &'a MetadataImage,
    last: Option<(StrBytes, Arc<TopicSettings>)>,
}

impl SettingsOfTopics<'_> {
    pub(super) fn of(&mut self, topic: &StrBytes) -> Arc<TopicSettings> {
        match &self.last {
            Some((name, settings)) if name == topic => settings.clone(),
            _ => {
                let settings = self.source.topic(self.image, topic);
                self.last = Some((topic.clone(), settings.clone()));
                settings
            }
        }
    }
}

/// Why a replica could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReplicaError {
    #[error("no log directory is online")]
    NoDirectory,
    #[error(
        "its log directory {0} is offline or gone, and an in-sync replica is not begun anew: bring the directory back"
    )]
    DirectoryMissing(String),
    #[error(transparent)]
    Dir(#[from] storage::dirs::DirError),
    #[error(transparent)]
    Open(#[from] storage::OpenError),
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// A random id for a renamed folder.
pub(super) fn random_uuid() -> Uuid {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the system has a random source");
    uuid::Builder::from_random_bytes(bytes).into_uuid()
}
