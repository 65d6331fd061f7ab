//! The store of KRaft mode: the Raft node, its log and its election state (`quorum-state`).
//!
//! Invariants: the effects of a step are carried out in order, before the next step; election state and log are on
//! disk before anything that depends on them leaves this node: a request, an answer, committed records.
//! IO: blocking, on the controller's own thread.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use metadata::image::Provenance;
use protocol::records::Record;
use raft::{Address, Effect, Input, Node, OffsetAndEpoch, Peer, QuorumState};
use storage::StorageError;
use tokio::sync::{mpsc, oneshot, watch};

use super::{AppendError, CommittedBatch, MetadataStore, StoreEvent, UpgradeError};
use crate::controller::LeaderAndEpoch;
use crate::kraft_log::KraftLog;
use crate::metrics::{Metrics, RaftSnapshot};
use crate::raft_peers::{Answered, RaftPeers};
use crate::snapshot_file::{self, Header};

/// Bytes read from the log at a time.
const READ_BYTES: usize = 1 << 20;

/// The most bytes that a record adds to its value, and a batch to its records.
const RECORD_OVERHEAD_MAX: usize = 24;
const BATCH_OVERHEAD: usize = 61;

/// How long a stop waits for peers to hear of it.
const LEAVE_MS: i64 = 1_000;

/// What others ask of the Raft node.
#[derive(Debug)]
pub(crate) enum RaftCommand {
    /// A request of the Raft protocol.
    Request {
        /// Name of the listener it came in on.
        listener: String,
        /// The request.
        request: raft::message::Request,
        /// Where the answer goes.
        reply: oneshot::Sender<raft::message::Response>,
    },
    /// The state of the quorum; nothing on a node that does not lead.
    Describe(oneshot::Sender<Option<raft::QuorumDescription>>),
}

/// What the store needs of a metadata log beyond what Raft needs.
pub trait MetadataLog: raft::Log {
    /// The election state that was written last.
    ///
    /// # Errors
    /// It cannot be read or understood.
    fn read_quorum_state(&self) -> io::Result<Option<QuorumState>>;

    /// Replaces the election state; it is durable when this returns.
    ///
    /// # Errors
    /// The log is not to be used any more.
    fn write_quorum_state(&mut self, state: &QuorumState) -> io::Result<()>;

    /// Makes everything that was flushed durable.
    ///
    /// # Errors
    /// The log is not to be used any more.
    fn sync(&mut self) -> Result<(), StorageError>;

    /// Flushes and closes.
    ///
    /// # Errors
    /// What was not durable may be lost.
    fn close(&mut self) -> Result<(), StorageError>;

    /// The bytes of a whole snapshot.
    ///
    /// # Errors
    /// There is no such snapshot, or it cannot be read.
    fn snapshot_bytes(&self, id: OffsetAndEpoch) -> io::Result<Vec<u8>>;

    /// Makes `bytes` durable as the snapshot `id`.
    ///
    /// # Errors
    /// The snapshot does not exist; the log is as before.
    fn write_snapshot(&mut self, id: OffsetAndEpoch, bytes: &[u8], last_time_ms: i64) -> io::Result<()>;
}

/// The way of requests to other nodes.
pub(crate) trait Peers {
    /// Sends a request.
    fn send(&mut self, id: u64, to: Peer, address: Address, request: raft::message::Request);

    /// The next answer. May be dropped while it waits, without loss.
    fn next(&mut self) -> impl Future<Output = Answered>;
}

/// A Raft node with its surroundings.
pub(crate) struct KraftStore<L = KraftLog, P = RaftPeers> {
    node: Node<L>,
    peers: P,
    inbox: mpsc::Receiver<RaftCommand>,
    leader: watch::Sender<LeaderAndEpoch>,
    now_ms: fn() -> i64,
    waiting: HashMap<u64, oneshot::Sender<raft::message::Response>>,
    last_id: u64,
    queued: Vec<Vec<Bytes>>,
    /// Offset behind all that is queued.
    queued_end: i64,
    leading: Option<i32>,
    /// Offset up to which the log was reported.
    observed: i64,
    events: VecDeque<StoreEvent>,
    bytes_written: u64,
    metrics: Arc<Metrics>,
    /// Since when there is no leader.
    leaderless_since: Option<Instant>,
    /// What became of the last upgrade of `kraft.version`.
    upgraded: Option<Result<(), UpgradeError>>,
    /// A write failed: the process is about to end.
    has_failed: bool,
    /// When a stop ends although peers have not answered.
    leave_by: Option<i64>,
}

impl<L: MetadataLog, P: Peers> KraftStore<L, P> {
    /// Starts the Raft node on its log; elects itself at once if it is the only voter. To be called within the
    /// runtime that carries the connections to the peers.
    ///
    /// # Errors
    /// A log that cannot be used.
    pub(crate) fn start(
        config: raft::Config,
        log: L,
        peers: P,
        inbox: mpsc::Receiver<RaftCommand>,
        leader: watch::Sender<LeaderAndEpoch>,
        now_ms: fn() -> i64,
        metrics: Arc<Metrics>,
    ) -> Result<Self, String> {
        let leaderless_since = Some(Instant::now());
        let quorum_state = log.read_quorum_state().map_err(|error| error.to_string())?;
        let (node, effects) =
            Node::start(config, log, quorum_state, now_ms()).map_err(|error| error.to_string())?;
        let mut store = Self {
            node,
            peers,
            inbox,
            leader,
            now_ms,
            waiting: HashMap::new(),
            last_id: 0,
            queued: Vec::new(),
            queued_end: 0,
            leading: None,
            observed: 0,
            events: VecDeque::new(),
            bytes_written: 0,
            metrics,
            leaderless_since,
            upgraded: None,
            has_failed: false,
            leave_by: None,
        };
        store.perform(effects);
        Ok(store)
    }

    /// Gives the Raft node one input, and carries out what it wants.
    pub(crate) fn step(&mut self, input: Input) {
        if self.has_failed {
            return;
        }
        let effects = self.node.step(input, (self.now_ms)());
        self.perform(effects);
    }

    /// Carries out effects in order.
    fn perform(&mut self, effects: Vec<Effect>) {
        let mut left = VecDeque::from(effects);
        while let Some(effect) = left.pop_front() {
            if let Err(reason) = self.perform_one(effect, &left) {
                self.fail(reason);
                #[cfg(feature = "planted-bugs")]
                if planted::is(planted::Bug::FailedWriteForgotten) {
                    self.has_failed = false;
                    continue;
                }
                return;
            }
        }
        self.tell_leader();
        self.show();
    }

    /// Nothing leaves this node any more: what it rests on may not be on the disk.
    fn fail(&mut self, reason: String) {
        self.has_failed = true;
        self.events.clear();
        self.events.push_back(StoreEvent::Failed(reason));
    }

    /// Shows the state of the Raft node to others, and how long an election took that is over.
    fn show(&mut self) {
        let raft = RaftSnapshot::of(&self.node);
        match (raft.leader_id, self.leaderless_since) {
            (None, None) => self.leaderless_since = Some(Instant::now()),
            (Some(_), Some(since)) => {
                self.metrics.elections.add(since.elapsed());
                self.leaderless_since = None;
            }
            _ => {}
        }
        self.metrics.set_raft(raft);
    }

    fn perform_one(&mut self, effect: Effect, left: &VecDeque<Effect>) -> Result<(), String> {
        match effect {
            Effect::PersistQuorumState(_) if is_superseded(left) => {}
            Effect::PersistQuorumState(state) => {
                self.node.log_mut().write_quorum_state(&state).map_err(|error| error.to_string())?;
            }
            Effect::Send { id, to, address, request } => {
                self.sync()?;
                self.peers.send(id, to, address, request);
            }
            Effect::Reply { id, response } => {
                self.sync()?;
                if let Some(reply) = self.waiting.remove(&id) {
                    // Whoever asked may have gone away.
                    let _ = reply.send(response);
                }
            }
            Effect::Appended { result: Ok(last), .. } if last + 1 == self.queued_end => {}
            Effect::Appended { result: Ok(last), .. } => {
                return Err(format!("appended up to {last} where {} was expected", self.queued_end - 1));
            }
            Effect::Appended { result: Err(error), .. } => {
                tracing::warn!(%error, "Records were not appended");
                self.stop_leading();
            }
            Effect::LeaderChanged { leader_id, epoch } => {
                tracing::info!(?leader_id, epoch, "The quorum has a new leader or epoch");
                if self.leading.is_some_and(|leading| leading != epoch || leader_id.is_none()) {
                    self.stop_leading();
                }
            }
            Effect::HighWatermark(offset) => self.on_high_watermark(offset)?,
            Effect::Leading { epoch } => {
                self.leading = Some(epoch);
                self.queued_end = self.node.log().log_end_offset();
                self.events.push_back(StoreEvent::Leading { epoch });
            }
            Effect::LoadSnapshot(id) => self.load_snapshot(id)?,
            Effect::ShutdownComplete => {
                let left = self.leave();
                self.events.push_back(left);
            }
            Effect::Upgraded { result, .. } => self.upgraded = Some(result.map(|_| ())),
            Effect::Fault(fault) => return Err(fault.to_string()),
        }
        Ok(())
    }

    /// Tells who leads, and where it is reached, if that changed.
    fn tell_leader(&mut self) {
        let (leader_id, endpoint) = match self.node.leader() {
            Some((id, endpoint)) => (Some(id), endpoint.map(|endpoint| endpoint.address())),
            None => (None, None),
        };
        let news = LeaderAndEpoch { leader_id, epoch: self.node.epoch(), address: endpoint };
        self.leader.send_if_modified(|known| {
            let changed = *known != news;
            *known = news;
            changed
        });
    }

    /// The next event, if there is one already.
    pub(crate) fn pop(&mut self) -> Option<StoreEvent> {
        let event = self.events.pop_front()?;
        let leaves = match &event {
            StoreEvent::Committed(_) => true,
            StoreEvent::Observed(batches) => batches.iter().any(|batch| !batch.records.is_empty()),
            _ => false,
        };
        if leaves && let Err(reason) = self.sync() {
            self.fail(reason);
            return self.events.pop_front();
        }
        Some(event)
    }

    fn sync(&mut self) -> Result<(), String> {
        #[cfg(feature = "planted-bugs")]
        if planted::is(planted::Bug::MetadataNotSynced) {
            return Ok(());
        }
        self.node.log_mut().sync().map_err(|error| error.to_string())
    }

    /// The Raft node.
    #[cfg(feature = "simulation")]
    pub(crate) fn node(&self) -> &Node<L> {
        &self.node
    }

    /// The log of the Raft node.
    #[cfg(feature = "simulation")]
    pub(crate) fn log_mut(&mut self) -> &mut L {
        self.node.log_mut()
    }

    /// The way to the peers.
    #[cfg(feature = "simulation")]
    pub(crate) fn peers_mut(&mut self) -> &mut P {
        &mut self.peers
    }

    fn leave(&mut self) -> StoreEvent {
        match self.node.log_mut().close() {
            Ok(()) => StoreEvent::Stopped,
            Err(error) => StoreEvent::Failed(error.to_string()),
        }
    }

    fn stop_leading(&mut self) {
        self.queued.clear();
        if self.leading.take().is_some() {
            self.events.push_back(StoreEvent::Fenced);
        }
    }

    fn on_high_watermark(&mut self, offset: i64) -> Result<(), String> {
        if self.leading.is_some() {
            self.observed = offset;
            self.events.push_back(StoreEvent::Committed(offset));
            return Ok(());
        }
        let mut batches = Vec::new();
        while self.observed < offset {
            let bytes = self.node.log().read(self.observed, READ_BYTES).map_err(|error| error.to_string())?;
            let before = self.observed;
            for batch in raft::batch::batches(&bytes) {
                let batch = batch.map_err(|error| error.to_string())?;
                if batch.base_offset() < self.observed || batch.next_offset() > offset {
                    continue;
                }
                self.observed = batch.next_offset();
                self.bytes_written += batch.bytes().len() as u64;
                batches.push(committed_batch(&batch)?);
            }
            if self.observed == before {
                return Err(format!("no batch at offset {before} of the metadata log"));
            }
        }
        if !batches.is_empty() {
            self.events.push_back(StoreEvent::Observed(batches));
        }
        Ok(())
    }

    fn load_snapshot(&mut self, id: OffsetAndEpoch) -> Result<(), String> {
        let name = raft::snapshot::file_name(id);
        let bytes = self.node.log().snapshot_bytes(id).map_err(|error| format!("{name}: {error}"))?;
        let (records, last_timestamp_ms) =
            snapshot_file::decode(&bytes).map_err(|error| format!("{name}: {error}"))?;
        self.observed = id.offset;
        let provenance = Provenance { last_offset: id.offset - 1, last_epoch: id.epoch, last_timestamp_ms };
        self.events.push_back(StoreEvent::Snapshot { provenance, records });
        Ok(())
    }

    /// Takes a request to the Raft node.
    pub(crate) fn on_command(&mut self, command: RaftCommand) {
        match command {
            RaftCommand::Request { listener, request, reply } => {
                self.last_id += 1;
                self.waiting.insert(self.last_id, reply);
                let is_heard = self.leading.is_some() && matches!(request, raft::message::Request::Fetch(_));
                self.step(Input::Request { id: self.last_id, listener, request });
                if is_heard {
                    self.events.push_back(StoreEvent::Heard);
                }
            }
            RaftCommand::Describe(reply) => {
                // Whoever asked may have gone away.
                let _ = reply.send(self.node.describe_quorum());
            }
        }
    }

    async fn wait_for_tick(deadline: Option<i64>, now_ms: i64) {
        match deadline {
            Some(at) => {
                let wait = u64::try_from(at.saturating_sub(now_ms)).unwrap_or(0);
                tokio::time::sleep(std::time::Duration::from_millis(wait)).await;
            }
            None => std::future::pending().await,
        }
    }
}

/// True if the election state is written again before anything leaves this node.
fn is_superseded(left: &VecDeque<Effect>) -> bool {
    let decisive = left.iter().find(|effect| {
        matches!(effect, Effect::PersistQuorumState(_) | Effect::Send { .. } | Effect::Reply { .. })
    });
    matches!(decisive, Some(Effect::PersistQuorumState(_)))
}

fn committed_batch(batch: &raft::batch::Batch<'_>) -> Result<CommittedBatch, String> {
    let mut records = Vec::new();
    if !batch.is_control() {
        let found = batch.records().map_err(|error| error.to_string())?;
        for (offset, (_, value)) in (batch.base_offset()..).zip(found) {
            let (record, _) = Record::decode(value).map_err(|error| format!("offset {offset}: {error}"))?;
            records.push(record);
        }
    }
    Ok(CommittedBatch {
        base_offset: batch.base_offset(),
        last_offset: batch.next_offset() - 1,
        epoch: batch.epoch(),
        timestamp_ms: batch.max_timestamp_ms(),
        records,
    })
}

impl<L: MetadataLog, P: Peers> MetadataStore for KraftStore<L, P> {
    fn append(&mut self, batches: &[Vec<Record>], metadata_version: i16) -> Result<i64, AppendError> {
        if self.leading.is_none() {
            return Err(AppendError::Fenced);
        }
        let mut encoded = Vec::with_capacity(batches.len());
        for records in batches {
            let values = records.iter().map(|record| snapshot_file::encode_record(record, metadata_version));
            let values: Vec<Bytes> =
                values.collect::<Result<_, _>>().map_err(|_| AppendError::Unrepresentable)?;
            let bytes: usize = values.iter().map(|value| value.len() + RECORD_OVERHEAD_MAX).sum();
            if bytes + BATCH_OVERHEAD > raft::batch::MAX_BATCH_BYTES {
                return Err(AppendError::TooLarge);
            }
            encoded.push(values);
        }
        if self.queued.is_empty() {
            // Raft may have written control records meanwhile.
            self.queued_end = self.node.log().log_end_offset();
        }
        for values in encoded {
            self.queued_end += values.len() as i64;
            self.bytes_written += values.iter().map(|value| value.len() as u64).sum::<u64>();
            self.queued.push(values);
        }
        Ok(self.queued_end - 1)
    }

    fn flush(&mut self) {
        if self.queued.is_empty() {
            return;
        }
        let batches = std::mem::take(&mut self.queued);
        if let Some(epoch) = self.leading {
            self.last_id += 1;
            self.step(Input::Append { id: self.last_id, epoch, batches });
        }
    }

    async fn next(&mut self) -> StoreEvent {
        loop {
            if let Some(event) = self.pop() {
                return event;
            }
            let deadline = self.node.next_deadline().into_iter().chain(self.leave_by).min();
            let now_ms = (self.now_ms)();
            if self.leave_by.is_some_and(|at| at <= now_ms) {
                self.leave_by = None;
                return self.leave();
            }
            tokio::select! {
                biased;
                (id, result) = self.peers.next() => self.step(Input::Response { id, result }),
                Some(command) = self.inbox.recv() => self.on_command(command),
                () = Self::wait_for_tick(deadline, now_ms) => self.step(Input::Tick),
            }
        }
    }

    fn write_snapshot(
        &mut self,
        end_offset: i64,
        last_timestamp_ms: i64,
        records: &[Record],
        metadata_version: i16,
    ) {
        let id = OffsetAndEpoch { offset: end_offset, epoch: self.node.epoch_before(end_offset) };
        let (kraft_version, voters) = self.node.membership_before(end_offset);
        let header = Header {
            epoch: id.epoch,
            timestamp_ms: (self.now_ms)(),
            last_contained_log_timestamp_ms: last_timestamp_ms,
            kraft_version,
            voters,
        };
        let written = snapshot_file::encode(header, records, metadata_version)
            .map_err(io::Error::other)
            .and_then(|bytes| self.node.log_mut().write_snapshot(id, &bytes, last_timestamp_ms));
        match written {
            Ok(()) => self.step(Input::SnapshotWritten(id)),
            // The log is still whole: the next one may succeed.
            Err(error) => tracing::error!(%error, end_offset, "A snapshot of the metadata was not written"),
        }
    }

    fn end_offset(&self) -> i64 {
        if self.queued.is_empty() { self.node.log().log_end_offset() } else { self.queued_end }
    }

    fn bytes_written(&self) -> u64 {
        self.bytes_written
    }

    fn quorum(&self) -> (i16, Vec<i32>) {
        (self.node.kraft_version(), self.node.voters().ids().collect())
    }

    fn is_known_to(&self, node_id: i32, offset: i64) -> bool {
        self.node.high_watermark_known_to(node_id).is_some_and(|known| known >= offset)
    }

    fn upgrade_kraft_version(&mut self, level: i16, validate_only: bool) -> Result<(), UpgradeError> {
        let Some(epoch) = self.leading else { return Err(UpgradeError::Fenced) };
        self.last_id += 1;
        self.step(Input::UpgradeKRaftVersion { id: self.last_id, epoch, level, validate_only });
        // Answered within the step.
        self.upgraded.take().unwrap_or(Err(UpgradeError::Fenced))
    }

    fn shutdown(&mut self) {
        self.flush();
        self.leave_by = Some((self.now_ms)() + LEAVE_MS);
        self.step(Input::Shutdown);
    }
}
