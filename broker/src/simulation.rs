//! Replicas without threads, sockets and files: the running broker's decisions over a log that a simulation brings.
//!
//! What is here only hands arguments on, in the order in which the request handlers, the fetchers and the applier do:
//! leadership, epochs, the high watermark, the in-sync set and truncation are the code of the running broker.

use std::cell::Cell;
use std::sync::Arc;

use metadata::config::StaticConfig;
use metadata::image::MetadataImage;
use metadata::partition::PartitionRegistration;
use protocol::ErrorCode;
use protocol::messages::AlterPartitionRequest;
use protocol::messages::alter_partition_response::PartitionData as PartitionAnswer;
use protocol::messages::fetch_response::{EpochEndOffset, PartitionData};
use storage::{AppendOrigin, TopicPartition};
use uuid::Uuid;

use crate::api::produce;
use crate::bounds::Capacity;
use crate::clock;
use crate::config::{BrokerConfig, SettingsSource};
use crate::follower::answer::{self, Verdict};
use crate::follower::request::Position;
use crate::isr_proposals;
use crate::lifecycle;
use crate::metadata_cache::MetadataCache;
use crate::replica::leader::FollowerFetch;
pub use crate::replica::log::ReplicaLog;
use crate::replica::manager::FoundLog;
use crate::replica::partition::{
    IsrProposal, LeaderOffsets, Partition, PartitionState, ReadBound, Reader, Role, Truncation,
};

thread_local! {
    static NOW_MS: Cell<Option<i64>> = const { Cell::new(None) };
}

/// Sets the clock of the brokers on this thread, in ms.
pub fn set_now_ms(now_ms: i64) {
    NOW_MS.set(Some(now_ms));
}

/// The simulated time, where there is one.
pub(crate) fn simulated_now_ms() -> Option<i64> {
    NOW_MS.get()
}

/// A log whose records can be read.
pub trait ReadableLog: ReplicaLog {
    /// Whole batches from `offset` on, all below `bound`; `None` if the log does not have the offset.
    fn read(&self, offset: i64, bound: i64) -> Option<Vec<u8>>;
}

/// What all replicas of a broker share: what it knows of the cluster, and its settings.
pub struct Broker {
    node_id: i32,
    metadata: Arc<MetadataCache>,
    settings: SettingsSource,
}

impl Broker {
    /// A broker that knows nothing yet.
    pub fn new(node_id: i32, properties: Arc<StaticConfig>) -> Self {
        let config = BrokerConfig {
            capacity: Capacity::default(),
            memory: net::MemoryBudget::new(1 << 20),
            node_id,
            cluster_id: String::new(),
            incarnation_id: Uuid::nil(),
            rack: None,
            listeners: Vec::new(),
            inter_broker_listener: String::new(),
            properties,
        };
        Self { node_id, metadata: Arc::new(MetadataCache::new()), settings: SettingsSource::new(&config) }
    }

    /// Whether a broker with this epoch has to register again, once the controller says that the epoch is stale.
    pub fn is_superseded(&self, epoch: i64) -> bool {
        lifecycle::is_superseded(&self.metadata.image(), self.node_id, epoch)
    }

    /// Publishes an image that the replicas follow already.
    pub fn publish(&self, image: Arc<MetadataImage>) {
        self.metadata.publish(image);
    }

    /// The image that was published last.
    pub fn image(&self) -> Arc<MetadataImage> {
        self.metadata.image()
    }

    /// A replica whose log was found or created, with the high watermark of the checkpoint.
    pub fn open<L: ReadableLog>(
        &self,
        topic: &str,
        topic_id: Uuid,
        index: i32,
        log: L,
        high_watermark: i64,
        image: &MetadataImage,
    ) -> Replica<L> {
        let name = TopicPartition::new(topic, index);
        let found = FoundLog { topic_id: Some(topic_id), log_dir: 0, log, high_watermark };
        let settings = self.settings.topic(image, topic);
        let metadata = self.metadata.clone();
        Replica(Arc::new(Partition::new(name, topic_id, found, self.node_id, metadata, settings)))
    }
}

/// A replica of one partition.
pub struct Replica<L>(Arc<Partition<L>>);

/// What became of a batch of a client that wants it acknowledged by all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Produced {
    /// Offset of the first record.
    pub first_offset: i64,
    /// The high watermark that commits the batch.
    pub committed_at: i64,
}

/// Where a follower stands when it asks for more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked(Position);

impl Asked {
    /// The leader epoch that it follows in.
    pub fn leader_epoch(&self) -> i32 {
        self.0.leader_epoch
    }
}

/// Who asks for records.
#[derive(Clone, Copy, Debug)]
pub enum Asking {
    /// A broker for its replica: id, epoch of its registration, where the replica stands.
    Follower(i32, i64, Asked),
    /// A consumer: offset, and the leader epoch that it believes in or -1.
    Consumer(i64, i32),
}

/// How a follower goes on after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It asks for more.
    Fetch,
    /// It asks again a little later.
    Pause,
    /// It has to find out which offsets the leader has.
    OutOfRange,
    /// It does not follow any more, or not in this epoch.
    Stop,
}

/// A new in-sync set on its way to the controller.
pub struct Proposal<L>(IsrProposal<L>);

impl<L: ReplicaLog> Proposal<L> {
    /// The members of the proposed set.
    pub fn isr(&self) -> Vec<i32> {
        self.0.isr.iter().map(|(id, _)| *id).collect()
    }

    /// Topic and index of its partition.
    pub fn key(&self) -> (Uuid, i32) {
        (self.0.partition.topic_id, self.0.partition.name.partition)
    }

    /// Takes in what the controller says; false if it has to be asked again.
    pub fn settle(&self, answer: &PartitionAnswer) -> bool {
        isr_proposals::settle(&self.0, answer)
    }

    /// The request of broker `node_id` in its epoch.
    pub fn request(&self, node_id: i32, broker_epoch: i64) -> AlterPartitionRequest {
        isr_proposals::request(node_id, broker_epoch, std::slice::from_ref(&self.0))
    }
}

/// What an observer may want to know of a replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaState {
    /// Whether it leads.
    pub leads: bool,
    /// Whether it follows a leader.
    pub follows: bool,
    /// Its leader epoch.
    pub leader_epoch: i32,
    /// Its partition epoch.
    pub partition_epoch: i32,
    /// The in-sync set that it knows to be committed.
    pub isr: Vec<i32>,
    /// That with what was proposed, for a leader: what the high watermark counts.
    pub maximal_isr: Vec<i32>,
    /// What is committed as far as it knows.
    pub high_watermark: i64,
    /// Its log.
    pub log_start: i64,
    /// Offset of the next record.
    pub log_end: i64,
}

impl<L: ReadableLog> Replica<L> {
    /// Makes the replica what the registration says. `Some` if it follows another leader from now on, or nobody.
    ///
    /// # Errors
    /// The disk failed.
    pub fn apply(&self, registration: &PartitionRegistration) -> Result<Option<Option<(i32, i32)>>, String> {
        let applied = self.0.apply(registration).map_err(|error| error.to_string())?;
        Ok(applied.whom_to_follow(registration))
    }

    /// Appends a client's batch, with acks=all.
    ///
    /// # Errors
    /// Kafka's code.
    pub fn produce(&self, records: &mut [u8]) -> Result<Produced, ErrorCode> {
        let mut state = self.0.lock();
        produce::writable(&self.0, &state, -1)?;
        let appended = self.0.append_as_leader(&mut state, records, AppendOrigin::Client, clock::now_ms());
        let info = appended.map_err(|error| error.code())?;
        Ok(Produced { first_offset: info.first_offset, committed_at: info.last_offset + 1 })
    }

    /// What the producer is to be told of its batch below `offset`, `None` while that is not known.
    pub fn committed(&self, offset: i64) -> Option<Result<(), ErrorCode>> {
        produce::committed(&self.0, offset)
    }

    /// Where the replica stands if it follows in that epoch.
    pub fn asks(&self, leader_epoch: i32) -> Option<Asked> {
        let state = self.0.lock();
        answer::is_followed(&state, leader_epoch).then(|| Asked(Position::of(&state)))
    }

    /// Answers a fetch. With `notes_follower` what the follower has counts; it may earn a place in the ISR by that.
    pub fn serve(&self, asking: Asking, notes_follower: bool) -> (PartitionData, Option<Proposal<L>>) {
        let mut data = PartitionData::default()
            .with_partition_index(self.0.name.partition)
            .with_high_watermark(-1)
            .with_last_stable_offset(-1)
            .with_log_start_offset(-1);
        match self.serve_into(asking, notes_follower, &mut data) {
            Ok(proposal) => (data, proposal),
            Err(code) => (data.with_error_code(code.code()), None),
        }
    }

    fn serve_into(
        &self,
        asking: Asking,
        notes_follower: bool,
        data: &mut PartitionData,
    ) -> Result<Option<Proposal<L>>, ErrorCode> {
        let mut state = self.0.lock();
        let reader = reader(asking);
        state.check_reader(&reader)?;
        let diverging = state.diverging(&reader)?;
        let offsets = |data: &mut PartitionData, offsets: crate::replica::partition::Offsets| {
            data.high_watermark = offsets.high_watermark;
            data.last_stable_offset = offsets.last_stable;
            data.log_start_offset = offsets.log_start;
        };
        if let Some((epoch, end_offset)) = diverging {
            offsets(data, self.0.offsets(&state));
            data.diverging_epoch = EpochEndOffset::default().with_epoch(epoch).with_end_offset(end_offset);
            return Ok(None);
        }
        let bound = if reader.follower.is_some() { ReadBound::LogEnd } else { ReadBound::HighWatermark };
        let bound = self.0.offsets(&state).bound(bound);
        let records = state.log.read(reader.fetch_offset, bound).ok_or(ErrorCode::OFFSET_OUT_OF_RANGE)?;
        let mut proposal = None;
        if let Asking::Follower(id, broker_epoch, Asked(position)) = asking
            && notes_follower
        {
            let log_start_offset = position.log_start;
            let fetch = FollowerFetch { id, offset: position.offset, log_start_offset, broker_epoch };
            proposal = self.0.follower_fetched(&mut state, fetch, clock::now_ms())?;
        }
        offsets(data, self.0.offsets(&state));
        data.records = Some(records.into());
        Ok(proposal.map(Proposal))
    }

    /// Takes in a leader's answer.
    ///
    /// # Errors
    /// The disk failed, or the leader sent what does not fit.
    pub fn take(&self, asked: Asked, data: &PartitionData) -> Result<Next, String> {
        let mut state = self.0.lock();
        let truncation = match answer::judge(&state, asked.0, data) {
            Verdict::NotFollowed | Verdict::Refused(ErrorCode::FENCED_LEADER_EPOCH) => return Ok(Next::Stop),
            Verdict::Overtaken => return Ok(Next::Fetch),
            Verdict::Refused(ErrorCode::OFFSET_OUT_OF_RANGE) => return Ok(Next::OutOfRange),
            Verdict::Refused(_) => return Ok(Next::Pause),
            Verdict::Truncate(to) => Truncation::To(to),
            verdict @ (Verdict::Append | Verdict::OffsetsOnly) => {
                let is_whole = verdict == Verdict::Append;
                let records = data.records.as_deref().filter(|_| is_whole).unwrap_or_default();
                let records = answer::up_to_epoch(records, state.leader_epoch);
                let (high_watermark, log_start) = (data.high_watermark, data.log_start_offset);
                let leader = LeaderOffsets { high_watermark, log_start };
                let appended = self.0.append_as_follower(&mut state, records, leader, clock::now_ms());
                return appended.map(|_| Next::Fetch).map_err(|error| error.to_string());
            }
        };
        self.cut(&mut state, truncation)?;
        Ok(Next::Fetch)
    }

    /// The offsets of a leader's log, for a follower in that epoch that is out of range: first and next.
    pub fn range(&self, leader_epoch: i32) -> Result<(i64, i64), ErrorCode> {
        let state = self.0.lock();
        state.check_epoch(leader_epoch)?;
        if !state.is_leader() {
            return Err(ErrorCode::NOT_LEADER_OR_FOLLOWER);
        }
        Ok((state.log.log_start_offset(), state.log.log_end_offset()))
    }

    /// Brings the replica back into the leader's range of offsets; false if it does not follow in that epoch.
    ///
    /// # Errors
    /// The disk failed.
    pub fn back_into_range(&self, leader_epoch: i32, earliest: i64, latest: i64) -> Result<bool, String> {
        let mut state = self.0.lock();
        if !answer::is_followed(&state, leader_epoch) {
            return Ok(false);
        }
        if let Some(truncation) = answer::into_range(state.log.log_end_offset(), earliest, latest) {
            self.cut(&mut state, truncation)?;
        }
        Ok(true)
    }

    fn cut(&self, state: &mut PartitionState<L>, truncation: Truncation) -> Result<(), String> {
        let doomed = self.0.truncate(state, truncation).map_err(|error| error.to_string())?;
        doomed.remove().map_err(|error| error.to_string())
    }

    /// Proposes an in-sync set without those that lag, if there are any.
    pub fn shrink_isr(&self) -> Option<Proposal<L>> {
        self.0.shrink_isr(clock::now_ms()).map(Proposal)
    }

    /// The replica at this moment.
    pub fn state(&self) -> ReplicaState {
        let state = self.0.lock();
        let mut maximal_isr = state.isr.clone();
        if let Role::Leader(leadership) = &state.role {
            maximal_isr.extend(leadership.proposed().iter().filter(|id| !state.isr.contains(id)));
        }
        ReplicaState {
            leads: state.is_leader(),
            follows: state.role.is_follower(),
            leader_epoch: state.leader_epoch,
            partition_epoch: state.partition_epoch,
            isr: state.isr.clone(),
            maximal_isr,
            high_watermark: self.0.high_watermark(),
            log_start: state.log.log_start_offset(),
            log_end: state.log.log_end_offset(),
        }
    }

    /// Looks at the log, or does to it what happens to disks.
    pub fn with_log<T>(&self, f: impl FnOnce(&mut L) -> T) -> T {
        f(&mut self.0.lock().log)
    }
}

fn reader(asking: Asking) -> Reader {
    match asking {
        Asking::Follower(id, _, Asked(position)) => Reader {
            current_leader_epoch: position.leader_epoch,
            fetch_offset: position.offset,
            last_fetched_epoch: position.last_epoch,
            follower: Some(id),
            is_served_by_followers: false,
        },
        Asking::Consumer(fetch_offset, current_leader_epoch) => Reader {
            current_leader_epoch,
            fetch_offset,
            last_fetched_epoch: -1,
            follower: None,
            is_served_by_followers: true,
        },
    }
}
