//! The replicas of this node: found by topic name or id, made and removed as the metadata says.
//!
//! One owner: only the metadata applier adds and removes replicas ([`ReplicaManager::apply`]); everyone else looks
//! them up. A directory that fails an IO operation goes offline with everything in it, the others serve on.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use dashmap::DashMap;
use metadata::delta::MetadataDelta;
use metadata::image::MetadataImage;
use metadata::local::LocalPartition;
use parking_lot::Mutex;
use protocol::ErrorCode;
use storage::dirs::write_partition_metadata;
use storage::{AppendError, Log, OpenArgs, ReadError, StorageError, TopicPartition};
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::clock;
use crate::config::SettingsSource;
use crate::fetch::session::TopicKey;
use crate::metadata_cache::MetadataCache;
pub(crate) use crate::replica::dir_state::DirState;
use crate::replica::partition::{Applied, Partition};

/// Flushes that may wait for the background task; those beyond are left to the next checkpoint.
const FLUSH_QUEUE: usize = 1024;
/// Suffix of the folder of a deleted replica, and of one that no metadata claims.
const DELETE: &str = "delete";
const STRAY: &str = "stray";

/// The replicas of one topic on this node.
struct HostedTopic {
    id: Uuid,
    /// By partition number; `None` where this node has no replica.
    partitions: Vec<Option<Arc<Partition>>>,
}

/// A log found on disk that no metadata has claimed yet.
pub(crate) struct FoundLog {
    pub(crate) topic_id: Option<Uuid>,
    pub(crate) log_dir: usize,
    pub(crate) log: Log,
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

/// All replicas of the node.
pub(crate) struct ReplicaManager {
    node_id: i32,
    dirs: Vec<DirState>,
    by_name: DashMap<Arc<str>, Arc<HostedTopic>>,
    by_id: DashMap<Uuid, Arc<HostedTopic>>,
    found: Mutex<HashMap<TopicPartition, FoundLog>>,
    metadata: Arc<MetadataCache>,
    settings: Arc<SettingsSource>,
    flushes: mpsc::Sender<FlushRequest>,
    /// Folders of deleted replicas, with the `file.delete.delay.ms` of their topic.
    removed: mpsc::UnboundedSender<(PathBuf, i64)>,
    dir_failed: tokio::sync::Notify,
}

impl ReplicaManager {
    /// Takes over directories and the logs found in them. The receiver feeds the background flusher.
    pub(crate) fn new(
        node_id: i32,
        dirs: Vec<DirState>,
        found: HashMap<TopicPartition, FoundLog>,
        metadata: Arc<MetadataCache>,
        settings: Arc<SettingsSource>,
        removed: mpsc::UnboundedSender<(PathBuf, i64)>,
    ) -> (Self, mpsc::Receiver<FlushRequest>) {
        let (flushes, receiver) = mpsc::channel(FLUSH_QUEUE);
        let manager = Self {
            node_id,
            dirs,
            by_name: DashMap::new(),
            by_id: DashMap::new(),
            found: Mutex::new(found),
            metadata,
            settings,
            flushes,
            removed,
            dir_failed: tokio::sync::Notify::new(),
        };
        (manager, receiver)
    }

    /// The log directories, in the order of the configuration.
    pub(crate) fn dirs(&self) -> &[DirState] {
        &self.dirs
    }

    /// Every replica.
    pub(crate) fn all(&self) -> Vec<Arc<Partition>> {
        self.by_id
            .iter()
            .flat_map(|topic| topic.partitions.iter().flatten().cloned().collect::<Vec<_>>())
            .collect()
    }

    /// The replica of a partition, or Kafka's code for what stands in the way.
    pub(crate) fn by_name(&self, topic: &str, partition: i32) -> Result<Arc<Partition>, ErrorCode> {
        let hosted = self.by_name.get(topic).map(|entry| entry.value().clone());
        hosted.and_then(|hosted| hosted.partition(partition)).ok_or_else(|| {
            let image = self.metadata.image();
            match image.topics.by_name(topic).and_then(|t| t.partition(partition)) {
                Some(_) => ErrorCode::NOT_LEADER_OR_FOLLOWER,
                None => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
            }
        })
    }

    /// Likewise by topic id.
    pub(crate) fn by_id(&self, topic: Uuid, partition: i32) -> Result<Arc<Partition>, ErrorCode> {
        let hosted = self.by_id.get(&topic).map(|entry| entry.value().clone());
        hosted.and_then(|hosted| hosted.partition(partition)).ok_or_else(|| {
            let image = self.metadata.image();
            match image.topics.by_id(topic) {
                Some(t) if t.partition(partition).is_some() => ErrorCode::NOT_LEADER_OR_FOLLOWER,
                Some(_) => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
                None => ErrorCode::UNKNOWN_TOPIC_ID,
            }
        })
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
        let mut changes = Vec::new();
        for dropped in &local.deletes {
            let partition = TopicPartition::new(&dropped.topic, dropped.partition);
            changes.extend(self.drop_replica(dropped.topic_id, &partition));
        }
        for mine in local.leads.iter().chain(&local.follows) {
            match self.apply_partition(mine, delta.after()) {
                Ok(change) => changes.extend(change),
                Err(error) => tracing::error!("{}-{}: {error}", mine.topic, mine.partition),
            }
        }
        if !delta.changes.configs.is_empty() {
            self.reconfigure(delta.after());
        }
        changes
    }

    /// Hands every log the settings of its topic.
    pub(crate) fn reconfigure(&self, image: &MetadataImage) {
        for partition in self.all() {
            partition.set_settings(&self.settings.topic(image, &partition.name.topic));
        }
    }

    fn apply_partition(
        &self,
        mine: &LocalPartition,
        image: &MetadataImage,
    ) -> Result<Option<LeadershipChange>, ReplicaError> {
        let partition = match self.hosted(mine.topic_id, mine.partition) {
            Some(partition) => partition,
            None => self.add_replica(mine, image)?,
        };
        let applied = match partition.apply(&mine.state) {
            Ok(applied) => applied,
            Err(error) => {
                self.storage_failed(&partition, &error);
                return Err(error.into());
            }
        };
        Ok(match applied {
            Applied::Unchanged => None,
            Applied::Leads => Some(LeadershipChange { partition, leads: true, is_deleted: false }),
            Applied::Resigned => Some(LeadershipChange { partition, leads: false, is_deleted: false }),
        })
    }

    fn hosted(&self, topic_id: Uuid, partition: i32) -> Option<Arc<Partition>> {
        self.by_id.get(&topic_id).and_then(|topic| topic.partition(partition))
    }

    /// Opens the log that was found on disk, or makes a new one.
    fn add_replica(
        &self,
        mine: &LocalPartition,
        image: &MetadataImage,
    ) -> Result<Arc<Partition>, ReplicaError> {
        let name = TopicPartition::new(&mine.topic, mine.partition);
        let settings = self.settings.topic(image, &mine.topic);
        let found = self.found.lock().remove(&name);
        let usable = found.filter(|found| found.topic_id.is_none_or(|id| id == mine.topic_id));
        let found = match usable {
            Some(mut found) => {
                found.log.set_config(settings.log.clone());
                if found.topic_id.is_none() {
                    write_partition_metadata(found.log.dir(), mine.topic_id)?;
                }
                found
            }
            None => self.create_log(mine, &name, settings.log.clone())?,
        };
        let partition = Arc::new(Partition::new(
            name,
            mine.topic_id,
            found.log_dir,
            self.node_id,
            found.log,
            found.high_watermark,
            settings,
        ));
        self.insert(&partition);
        Ok(partition)
    }

    fn create_log(
        &self,
        mine: &LocalPartition,
        name: &TopicPartition,
        config: storage::LogConfig,
    ) -> Result<FoundLog, ReplicaError> {
        let log_dir = self.choose_dir(mine).ok_or(ReplicaError::NoDirectory)?;
        let dir = &self.dirs[log_dir];
        let path = dir.dir.partition_path(name);
        if path.exists() {
            // The folder of an older topic of the same name, whose deletion was cut short.
            dir.dir.mark_dir(&path, name, random_uuid(), STRAY)?;
        }
        let (log, _) = Log::open(&path, config, OpenArgs::new_log(clock::now_ms()))?;
        write_partition_metadata(&path, mine.topic_id)?;
        Ok(FoundLog { topic_id: Some(mine.topic_id), log_dir, log, high_watermark: 0 })
    }

    /// The directory that the controller assigned, or the one with the fewest replicas.
    fn choose_dir(&self, mine: &LocalPartition) -> Option<usize> {
        let place = mine.state.replicas.iter().position(|id| *id == self.node_id);
        let assigned = place.and_then(|at| mine.state.directories.get(at));
        let online = |at: &usize| !self.dirs[*at].is_offline();
        let by_id = (0..self.dirs.len()).filter(online).find(|at| assigned == Some(&self.dirs[*at].id));
        by_id.or_else(|| {
            let mut counts = vec![0usize; self.dirs.len()];
            if self.dirs.len() > 1 {
                self.all().iter().for_each(|p| counts[p.log_dir] += 1);
            }
            (0..self.dirs.len()).filter(online).min_by_key(|at| counts[*at])
        })
    }

    fn insert(&self, partition: &Arc<Partition>) {
        let before = self.by_id.get(&partition.topic_id).map(|topic| topic.partitions.clone());
        let mut partitions = before.unwrap_or_default();
        let at = usize::try_from(partition.name.partition).expect("partition numbers are not negative");
        if partitions.len() <= at {
            partitions.resize(at + 1, None);
        }
        partitions[at] = Some(partition.clone());
        let topic = Arc::new(HostedTopic { id: partition.topic_id, partitions });
        self.by_id.insert(partition.topic_id, topic.clone());
        self.by_name.insert(partition.name.topic.clone(), topic);
    }

    fn remove(&self, topic_id: Uuid, name: &TopicPartition) -> Option<Arc<Partition>> {
        let topic = self.by_id.get(&topic_id).map(|entry| entry.value().clone())?;
        let partition = topic.partition(name.partition)?;
        let mut partitions = topic.partitions.clone();
        partitions[name.partition as usize] = None;
        if partitions.iter().all(Option::is_none) {
            self.by_id.remove(&topic_id);
            // A topic of the same name may have been created anew already.
            self.by_name.remove_if(&*name.topic, |_, hosted| hosted.id == topic_id);
        } else {
            let topic = Arc::new(HostedTopic { id: topic_id, partitions });
            self.by_id.insert(topic_id, topic.clone());
            self.by_name.insert(name.topic.clone(), topic);
        }
        Some(partition)
    }

    fn drop_replica(&self, topic_id: Uuid, name: &TopicPartition) -> Option<LeadershipChange> {
        let partition = self.remove(topic_id, name)?;
        partition.resign();
        let dir = &self.dirs[partition.log_dir].dir;
        let delay_ms = partition.settings().log.file_delete_delay_ms;
        match dir.mark_dir(&dir.partition_path(name), name, random_uuid(), DELETE) {
            // The receiver is gone only while the node stops; the folder is then removed at the next start.
            Ok(path) => drop(self.removed.send((path, delay_ms))),
            Err(error) => tracing::error!("{name}: {error}"),
        }
        Some(LeadershipChange { partition, leads: false, is_deleted: true })
    }

    /// Logs that no topic of the image owns: renamed, kept for a person to look at, no longer served.
    pub(crate) fn mark_strays(&self) {
        let found: Vec<_> = self.found.lock().drain().collect();
        for (name, found) in found {
            tracing::warn!(
                "Found stray log dir {}: the topic is gone or has another id",
                found.log.dir().display()
            );
            let dir = &self.dirs[found.log_dir].dir;
            let marked = dir.mark_dir(found.log.dir(), &name, random_uuid(), STRAY);
            if let Err(error) = marked {
                tracing::error!("{name}: {error}");
            }
        }
    }

    /// Asks the background task to sync what is below `up_to`; dropped when too many wait.
    pub(crate) fn flush_later(&self, partition: &Arc<Partition>, up_to: i64) {
        let _ = self.flushes.try_send(FlushRequest { partition: partition.clone(), up_to });
    }

    /// Takes the partition's directory offline and gives the code for the answer.
    pub(crate) fn storage_failed(&self, partition: &Partition, error: &StorageError) -> ErrorCode {
        self.dir_failed(partition.log_dir, error);
        ErrorCode::KAFKA_STORAGE_ERROR
    }

    /// Takes a directory out of service, with one line that says why.
    pub(crate) fn dir_failed(&self, log_dir: usize, error: &dyn std::fmt::Display) {
        let dir = &self.dirs[log_dir];
        if !dir.set_offline() {
            return;
        }
        let hint = "its partitions are offline until the node is restarted with a working disk";
        tracing::error!("Stopping serving logs in dir {}: {error}; {hint}", dir.absolute_path());
        for partition in self.all().iter().filter(|p| p.log_dir == log_dir) {
            partition.set_offline();
        }
        self.dir_failed.notify_waiters();
    }

    /// Waits until a directory fails. Several may wait.
    pub(crate) async fn wait_for_dir_failure(&self) {
        self.dir_failed.notified().await;
    }

    /// Ids of the directories that failed.
    pub(crate) fn offline_dirs(&self) -> Vec<Uuid> {
        self.dirs.iter().filter(|dir| dir.is_offline()).map(|dir| dir.id).collect()
    }

    /// Whether an append failed for a reason that concerns its directory.
    pub(crate) fn on_append_error(&self, partition: &Partition, error: &AppendError) {
        if let AppendError::Io(_) | AppendError::Poisoned(_) = error {
            self.dir_failed(partition.log_dir, error);
        }
    }

    /// Kafka's code for a failed read; an IO error takes the directory offline.
    pub(crate) fn read_failed(&self, partition: &Partition, error: &ReadError) -> ErrorCode {
        match error {
            ReadError::OutOfRange { .. } => ErrorCode::OFFSET_OUT_OF_RANGE,
            ReadError::Corrupt { .. } => {
                tracing::error!("{}: {error}", partition.name);
                ErrorCode::CORRUPT_MESSAGE
            }
            ReadError::Io(error) => self.storage_failed(partition, error),
        }
    }
}

impl HostedTopic {
    fn partition(&self, index: i32) -> Option<Arc<Partition>> {
        self.partitions.get(usize::try_from(index).ok()?)?.clone()
    }
}

/// Why a replica could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReplicaError {
    #[error("no log directory is online")]
    NoDirectory,
    #[error(transparent)]
    Dir(#[from] storage::dirs::DirError),
    #[error(transparent)]
    Open(#[from] storage::OpenError),
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// A random id for a renamed folder.
fn random_uuid() -> Uuid {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the system has a random source");
    uuid::Builder::from_random_bytes(bytes).into_uuid()
}
