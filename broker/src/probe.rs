//! What an observer may ask of a broker: how far its start is, whether clients may come, and its counters.
//!
//! A probe outlives the broker and keeps nothing of it alive. Everything is computed when asked for.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use metadata::image::MetadataImage;
use protocol::versions::ApiKey;

use crate::context::Context;
use crate::metrics::{ApiSnapshot, ConnectionCounts, FlowCounts, Metrics};
use crate::replica::manager::DirState;
use crate::replica::partition::Partition;

/// How far a broker is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Stage {
    /// Not begun.
    Starting,
    /// The logs are being opened, recovered where the last stop was unclean.
    LoadingLogs,
    /// The controller is asked to take the broker.
    Registering,
    /// The metadata up to the registration is being applied.
    CatchingUp,
    /// The controller is asked to unfence the broker.
    Unfencing,
    /// Clients are served.
    Running,
    /// Clients are no longer served.
    Stopping,
}

const STAGES: [Stage; 7] = [
    Stage::Starting,
    Stage::LoadingLogs,
    Stage::Registering,
    Stage::CatchingUp,
    Stage::Unfencing,
    Stage::Running,
    Stage::Stopping,
];

/// Looks into one broker, from before its start to after its end.
pub struct Probe {
    stage: AtomicU8,
    ctx: OnceLock<Weak<Context>>,
    metrics: Arc<Metrics>,
}

/// Everything that a broker counts, at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Replicas of this node, in the order of topic and partition.
    pub partitions: Vec<PartitionSnapshot>,
    /// Traffic by topic of the replicas that are here.
    pub topics: BTreeMap<Arc<str>, FlowCounts>,
    /// Traffic of all, of replicas that went away too.
    pub traffic: FlowCounts,
    /// Log directories.
    pub dirs: Vec<DirSnapshot>,
    /// Fetch sessions, and partitions in them.
    pub fetch_sessions: (usize, usize),
    /// Sessions that had to go for others.
    pub fetch_session_evictions: u64,
    /// Groups by type and state; empty while some are being loaded.
    pub groups: BTreeMap<(&'static str, &'static str), u64>,
    /// Produce requests that wait for replicas.
    pub waiting_produces: u64,
    /// Fetch requests that wait for records.
    pub waiting_fetches: u64,
    /// Bytes of the budget for requests in flight that are in use, and that it has.
    pub request_memory: (usize, usize),
    /// Last metadata offset that is applied.
    pub applied_offset: i64,
    /// Time of that record in ms since 1970.
    pub applied_timestamp_ms: i64,
}

/// One replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionSnapshot {
    /// Topic.
    pub topic: Arc<str>,
    /// Partition.
    pub partition: i32,
    /// This node leads it.
    pub is_leader: bool,
    /// Its directory failed.
    pub is_offline: bool,
    /// Members of the in-sync set.
    pub in_sync: usize,
    /// Replicas.
    pub replicas: usize,
    /// `min.insync.replicas`, at most the number of replicas.
    pub min_in_sync: usize,
    /// First offset.
    pub log_start: i64,
    /// High watermark.
    pub high_watermark: i64,
    /// Next offset.
    pub log_end: i64,
    /// Bytes of its `.log` files.
    pub bytes: u64,
    /// Number of segments.
    pub segments: usize,
}

/// One log directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirSnapshot {
    /// Absolute path.
    pub path: String,
    /// It failed.
    pub is_offline: bool,
}

impl Stage {
    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Starting => "starting",
            Stage::LoadingLogs => "loading logs",
            Stage::Registering => "registering",
            Stage::CatchingUp => "catching up with the metadata",
            Stage::Unfencing => "waiting to be unfenced",
            Stage::Running => "running",
            Stage::Stopping => "stopping",
        }
    }

    /// The number of Kafka's `BrokerState`.
    pub fn code(self) -> u8 {
        match self {
            Stage::Starting | Stage::LoadingLogs | Stage::Registering => 1,
            Stage::CatchingUp | Stage::Unfencing => 2,
            Stage::Running => 3,
            Stage::Stopping => 7,
        }
    }
}

impl Probe {
    /// For a broker that is to start; `is_scraped` if its counters may be read.
    pub fn new(is_scraped: bool) -> Arc<Self> {
        Arc::new(Self {
            stage: AtomicU8::new(0),
            ctx: OnceLock::new(),
            metrics: Arc::new(Metrics::new(is_scraped)),
        })
    }

    pub(crate) fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    pub(crate) fn enter(&self, stage: Stage) {
        self.stage.store(stage as u8, Ordering::Release);
    }

    pub(crate) fn attach(&self, ctx: &Arc<Context>) {
        // There is one broker to a probe.
        let _ = self.ctx.set(Arc::downgrade(ctx));
        self.enter(Stage::CatchingUp);
    }

    fn ctx(&self) -> Option<Arc<Context>> {
        self.ctx.get()?.upgrade()
    }

    /// How far the broker is.
    pub fn stage(&self) -> Stage {
        STAGES[usize::from(self.stage.load(Ordering::Acquire))]
    }

    /// Waits until the metadata up to `offset` is applied; at once if there is no broker.
    pub async fn wait_for_metadata(&self, offset: i64) {
        if let Some(ctx) = self.ctx() {
            ctx.metadata.wait_for(offset).await;
        }
    }

    /// Why clients should not come, in words; empty if they may. Metadata that is late is not looked at:
    /// [`Probe::wait_for_metadata`].
    pub fn unready(&self) -> Vec<String> {
        let stage = self.stage();
        let mut reasons = Vec::new();
        if stage != Stage::Running {
            reasons.push(format!("the broker is {}", stage.name()));
        }
        let Some(ctx) = self.ctx() else { return reasons };
        let image = ctx.metadata.image();
        match image.cluster.broker(ctx.config.node_id) {
            None => reasons.push("the broker is not registered".to_owned()),
            Some(broker) if broker.epoch != ctx.lifecycle.epoch() => {
                reasons.push("another process is registered as this broker".to_owned());
            }
            Some(broker) if broker.fenced => reasons.push("the broker is fenced".to_owned()),
            Some(_) => {}
        }
        let session = u64::try_from(ctx.settings().broker_session_timeout_ms).unwrap_or(0);
        if ctx.lifecycle.silent_for() > Duration::from_millis(session) {
            reasons.push("no controller answers the broker's heartbeats".to_owned());
        }
        let (here, wanted) = (ctx.replicas.all().len(), replicas_of(&image, ctx.config.node_id));
        match ctx.replicas.unavailable() {
            0 if here < wanted => reasons.push(format!("{} of {wanted} replicas are loaded", here)),
            0 => {}
            missing => reasons.push(format!("{missing} replicas could not be opened")),
        }
        for dir in ctx.replicas.dirs().iter().filter(|dir| dir.is_offline()) {
            reasons.push(format!("log directory {} is offline", dir.absolute_path()));
        }
        reasons
    }

    /// Requests by API.
    pub fn apis(&self) -> Vec<ApiSnapshot> {
        self.metrics.apis()
    }

    /// (API key, error code, count) of answers with errors.
    pub fn errors(&self) -> Vec<(i16, i16, u64)> {
        self.metrics.errors()
    }

    /// Connections by listener.
    pub fn connections(&self) -> Vec<ConnectionCounts> {
        self.metrics.connections()
    }

    /// The rest; nothing before the logs are loaded and after the end. Locks every replica for a moment.
    pub fn snapshot(&self) -> Option<Snapshot> {
        let ctx = self.ctx()?;
        let mut snapshot = Snapshot { traffic: ctx.replicas.elsewhere.counts(), ..Snapshot::default() };
        for partition in ctx.replicas.all() {
            let counts = partition.traffic.counts();
            snapshot.traffic.add(&counts);
            snapshot.topics.entry(partition.name.topic.clone()).or_default().add(&counts);
            snapshot.partitions.push(PartitionSnapshot::of(&partition));
        }
        snapshot.partitions.sort_unstable_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
        snapshot.dirs = ctx.replicas.dirs().iter().map(DirSnapshot::of).collect();
        snapshot.fetch_sessions = ctx.sessions.size();
        snapshot.fetch_session_evictions = ctx.sessions.evictions();
        for group in ctx.groups.list().unwrap_or_default() {
            *snapshot.groups.entry((group.group_type, group.state)).or_default() += 1;
        }
        snapshot.waiting_produces = self.metrics.waiting(ApiKey::PRODUCE);
        snapshot.waiting_fetches = self.metrics.waiting(ApiKey::FETCH);
        snapshot.request_memory = (ctx.config.memory.used(), ctx.config.memory.limit());
        let provenance = ctx.metadata.image().provenance;
        snapshot.applied_offset = provenance.last_offset;
        snapshot.applied_timestamp_ms = provenance.last_timestamp_ms;
        Some(snapshot)
    }
}

/// How many replicas the metadata places on a node.
fn replicas_of(image: &MetadataImage, node_id: i32) -> usize {
    let partitions = image.topics.iter().flat_map(|topic| topic.partitions.values());
    partitions.filter(|partition| partition.replicas.contains(&node_id)).count()
}

impl PartitionSnapshot {
    fn of(partition: &Partition) -> Self {
        let state = partition.lock();
        Self {
            topic: partition.name.topic.clone(),
            partition: partition.name.partition,
            is_leader: state.is_leader(),
            is_offline: partition.is_offline(),
            in_sync: state.isr.len(),
            replicas: state.replicas.len(),
            min_in_sync: state.min_isr(),
            log_start: state.log.log_start_offset(),
            high_watermark: partition.high_watermark(),
            log_end: state.log.log_end_offset(),
            bytes: state.log.size(),
            segments: state.log.segment_count(),
        }
    }
}

impl DirSnapshot {
    fn of(dir: &DirState) -> Self {
        Self { path: dir.absolute_path(), is_offline: dir.is_offline() }
    }
}
