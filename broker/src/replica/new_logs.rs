//! New logs for new replicas.
//!
//! Each new log costs two syncs of its own (`partition.metadata` and its folder) and shares the file system's journal
//! with the others: several at once wait for the same writes of the journal, one after another each for its own.

use std::sync::atomic::{AtomicUsize, Ordering};

use metadata::directory::is_reserved;
use metadata::local::LocalPartition;
use storage::dirs::write_partition_metadata;
use storage::{Log, LogConfig, OpenArgs, OpenError, TopicPartition};
use uuid::Uuid;

use crate::clock;
use crate::replica::manager::{FoundLog, ReplicaError, ReplicaManager, STRAY, SettingsOfTopics, random_uuid};

/// Threads that make logs at once.
const MAKERS: usize = 16;

/// A log that is to be made.
struct NewLog<'a> {
    mine: &'a LocalPartition,
    name: TopicPartition,
    log_dir: usize,
    config: LogConfig,
}

impl ReplicaManager {
    /// Makes the logs of several new replicas at once and leaves them with those that were found on disk. One that
    /// fails is left out: it is tried again, and its failure told, when its replica is added.
    pub(super) fn make_logs(&self, new: &[&LocalPartition], settings: &mut SettingsOfTopics<'_>) {
        let mut used: Vec<usize> = self.dirs.iter().map(|dir| dir.replicas()).collect();
        let mut orders = Vec::new();
        for mine in new {
            let name = TopicPartition::new(&mine.topic, mine.partition);
            if self.found.lock().contains_key(&name) {
                continue;
            }
            let Ok(log_dir) = self.dir_for(mine, &used) else { continue };
            used[log_dir] += 1;
            orders.push(NewLog { mine, name, log_dir, config: settings.of(&mine.topic).log.clone() });
        }
        if orders.len() < 2 {
            return;
        }
        let next = AtomicUsize::new(0);
        let make = || {
            while let Some(order) = orders.get(next.fetch_add(1, Ordering::Relaxed)) {
                let NewLog { mine, name, log_dir, config } = order;
                if let Ok(log) = self.make_log(*log_dir, mine.topic_id, name, config) {
                    self.found.lock().entry(name.clone()).or_default().push(log);
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..MAKERS.min(orders.len()) {
                scope.spawn(make);
            }
            make();
        });
    }

    /// Makes a new log in the best directory that works.
    pub(super) fn create_log(
        &self,
        mine: &LocalPartition,
        name: &TopicPartition,
        config: &LogConfig,
    ) -> Result<FoundLog, ReplicaError> {
        loop {
            let used: Vec<usize> = self.dirs.iter().map(|dir| dir.replicas()).collect();
            let log_dir = self.dir_for(mine, &used)?;
            match self.make_log(log_dir, mine.topic_id, name, config) {
                Ok(log) => return Ok(log),
                Err(error @ ReplicaError::Open(OpenError::NotALog { .. })) => return Err(error),
                Err(error) => self.dir_failed(log_dir, &error),
            }
        }
    }

    /// The directory for a new log: the assigned one, else of those that work the one with the fewest replicas.
    fn dir_for(&self, mine: &LocalPartition, used: &[usize]) -> Result<usize, ReplicaError> {
        let name = TopicPartition::new(&mine.topic, mine.partition);
        let assigned = mine.state.directory(self.node_id).filter(|id| !is_reserved(*id));
        if let Some(copy) = self.futures.lock().get(&name)
            && mine.state.isr.contains(&self.node_id)
        {
            // The directory that it was to leave is gone, and the copy may lack what the ISR has.
            return Err(ReplicaError::DirectoryMissing(format!("beside {}", copy.log.dir().display())));
        }
        let online = || (0..self.dirs.len()).filter(|at| !self.dirs[*at].is_offline());
        let of_assigned = online().find(|at| assigned == Some(self.dirs[*at].id));
        match assigned {
            Some(assigned) if of_assigned.is_none() && mine.state.isr.contains(&self.node_id) => {
                Err(ReplicaError::DirectoryMissing(protocol::base64_id(assigned)))
            }
            _ => {
                let preferred =
                    self.preferred_dirs.lock().remove(&name).filter(|at| online().any(|o| o == *at));
                let least_used = || online().min_by_key(|at| used[*at]);
                of_assigned.or(preferred).or_else(least_used).ok_or(ReplicaError::NoDirectory)
            }
        }
    }

    fn make_log(
        &self,
        log_dir: usize,
        topic_id: Uuid,
        name: &TopicPartition,
        config: &LogConfig,
    ) -> Result<FoundLog, ReplicaError> {
        let dir = &self.dirs[log_dir].dir;
        let path = dir.partition_path(name);
        if path.exists() {
            // The folder of an older topic of the same name, whose deletion was cut short.
            dir.mark_dir(&path, name, random_uuid(), STRAY)?;
        }
        let (log, _) = Log::open(&path, config.clone(), OpenArgs::new_log(clock::now_ms()))?;
        write_partition_metadata(&path, topic_id)?;
        Ok(FoundLog { topic_id: Some(topic_id), log_dir, log, high_watermark: 0 })
    }
}
