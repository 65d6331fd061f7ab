//! The controller's loop: one task that owns the tip image, decides, and publishes what is committed.
//!
//! ```text
//!   requests ─┐                                     ┌─▶ tip image (decide here)
//!   timers ───┼─▶ Event ─▶ decide(tip, event) ─▶ records
//!   store ────┘                                     └─▶ store.append ─▶ Committed ─▶ publish, then answer
//! ```
//!
//! Invariants: decisions are made on the tip, only committed metadata is published; an answer leaves after everything
//! that it rests on is committed and published; a lost leadership drops the tip and all that waits.
//! Group commit: all requests that have arrived are decided and appended before one flush.

mod dead_brokers;
mod decision;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use metadata::loader::Loader;
use metadata::{MetadataDelta, MetadataImage};
use protocol::ErrorCode;
use protocol::messages::ControllerRegistrationRequest;
use protocol::records::Record;
use raft::Address;
use tokio::sync::{mpsc, oneshot};

use crate::api_error::ApiError;
use crate::closer_look::{BrokerConnections, CloserLooks, Unreachable};
use crate::decide::Rules;
use crate::entropy::Entropy;
use crate::event::{Event, Request, Response};
use crate::held::Held;
use crate::liveness::Liveness;
use crate::metrics::Metrics;
use crate::publisher::Publisher;
use crate::refusal::refuse;
use crate::store::{MetadataStore, StoreEvent};

/// Requests decided before the store is flushed.
const GROUP_MAX: usize = 1_024;
/// How often leaderless partitions are looked at for unclean elections.
const UNCLEAN_CHECK_MS: i64 = 300_000;

/// A request on its way through the loop.
#[derive(Debug)]
pub(crate) struct Command {
    /// Version of the request.
    pub(crate) version: i16,
    /// The request.
    pub(crate) request: Request,
    /// Where the answer goes; nobody may be waiting any more.
    pub(crate) reply: oneshot::Sender<Answered>,
}

/// An answer with what it rests on.
#[derive(Debug)]
pub(crate) struct Answered {
    /// The answer.
    pub(crate) response: Response,
    /// Offset of the last record that it rests on; -1 if none.
    pub(crate) committed_offset: i64,
    /// True if this controller is not the active one, and decided nothing.
    pub(crate) is_refused: bool,
}

/// Who leads the quorum, as far as this node knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeaderAndEpoch {
    /// The active controller, if known.
    pub leader_id: Option<i32>,
    /// Its epoch.
    pub epoch: i32,
    /// Where it is reached on the listener of the quorum, if known.
    pub address: Option<Address>,
}

/// When the controller acts by itself; times in ms, `None` for never.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Periods {
    /// Preferred leaders are elected again.
    pub(crate) rebalance_ms: Option<i64>,
    /// NoOp records.
    pub(crate) idle_ms: Option<i64>,
    /// A snapshot at least so often, if there is something new.
    pub(crate) snapshot_ms: Option<i64>,
    /// A snapshot after so many bytes.
    pub(crate) snapshot_bytes: u64,
}

/// Everything the loop needs.
pub(crate) struct Setup {
    pub(crate) rules: Rules,
    pub(crate) periods: Periods,
    pub(crate) entropy: Entropy,
    /// Records of `bootstrap.checkpoint`, for an empty log.
    pub(crate) bootstrap: Vec<Record>,
    /// This controller's own registration.
    pub(crate) registration: ControllerRegistrationRequest,
    pub(crate) publisher: Arc<Publisher>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) commands: mpsc::Receiver<Command>,
    /// The connections of brokers to this controller, and those brokers whose last one ended.
    pub(crate) brokers: Arc<BrokerConnections>,
    pub(crate) departures: mpsc::Receiver<i32>,
    /// Resolved to stop in good order.
    pub(crate) stop: oneshot::Receiver<()>,
    /// A steady clock in ms.
    pub(crate) now_ms: fn() -> i64,
}

/// An append, or an answer that waits for earlier ones.
struct Pending {
    last_offset: i64,
    deltas: Vec<MetadataDelta>,
    answer: Option<(oneshot::Sender<Answered>, Response)>,
    /// When the records were appended; `None` if there are none.
    appended_at: Option<Instant>,
}

/// What only the active controller has.
struct Active {
    epoch: i32,
    tip: Loader,
    liveness: Liveness,
    pending: VecDeque<Pending>,
    held: Held,
    looks: CloserLooks,
    rebalance_at: Option<i64>,
    unclean_at: i64,
    idle_at: Option<i64>,
}

/// The loop with all that it knows.
pub(crate) struct Controller<S> {
    pub(crate) setup: Setup,
    pub(crate) store: S,
    committed: Loader,
    active: Option<Active>,
    snapshot_offset: i64,
    snapshot_bytes: u64,
    snapshot_due_at: Option<i64>,
}

/// Runs the controller until it is stopped or fails.
///
/// # Errors
/// The store failed, or the log contradicts itself: the process should end.
pub(crate) async fn run<S: MetadataStore>(setup: Setup, store: S) -> Result<(), String> {
    let mut controller = Controller::new(setup, store);
    let result = controller.run().await;
    controller.drop_active();
    controller.setup.publisher.close();
    result
}

enum Wake {
    Stop,
    Store(StoreEvent),
    Command(Command),
    /// The last connection of this broker ended.
    Departure(i32),
    /// A look at a broker is over: whether nobody listens for it, and whether to look again.
    Looked(Unreachable, bool, bool),
    Timer,
    NoMoreCommands,
}

impl<S: MetadataStore> Controller<S> {
    /// A controller that has heard of nothing.
    pub(crate) fn new(setup: Setup, store: S) -> Self {
        let committed = Loader::new(MetadataImage::empty());
        Self {
            setup,
            store,
            committed,
            active: None,
            snapshot_offset: 0,
            snapshot_bytes: 0,
            snapshot_due_at: None,
        }
    }

    /// What decisions are made on, while this node decides.
    #[cfg(feature = "simulation")]
    pub(crate) fn tip(&self) -> Option<&MetadataImage> {
        self.active.as_ref().map(|active| active.tip.image())
    }

    async fn run(&mut self) -> Result<(), String> {
        let mut stopping = false;
        let mut commands_open = true;
        loop {
            let deadline = self.next_deadline();
            let now_ms = (self.setup.now_ms)();
            let wake = tokio::select! {
                biased;
                _ = &mut self.setup.stop, if !stopping => Wake::Stop,
                event = self.store.next() => Wake::Store(event),
                command = self.setup.commands.recv(), if commands_open && !stopping => {
                    command.map_or(Wake::NoMoreCommands, Wake::Command)
                }
                Some(broker) = self.setup.departures.recv() => Wake::Departure(broker),
                (broker, is_gone, again) = next_look(&mut self.active) => {
                    Wake::Looked(broker, is_gone, again)
                }
                () = wait_until(deadline, now_ms) => Wake::Timer,
            };
            let woken = Instant::now();
            match wake {
                Wake::Stop => {
                    stopping = true;
                    self.store.shutdown();
                }
                Wake::Store(StoreEvent::Stopped) => return Ok(()),
                Wake::Store(event) => self.on_store_event(event)?,
                Wake::Command(command) => self.on_commands(command)?,
                Wake::Departure(broker) => self.look_closer(|id| id == broker),
                Wake::Looked(broker, is_gone, again) => self.on_looked(broker, is_gone, again)?,
                Wake::Timer => self.on_timer()?,
                Wake::NoMoreCommands => commands_open = false,
            }
            self.store.flush();
            self.setup.metrics.processing.add(woken.elapsed());
        }
    }

    fn now_ms(&self) -> i64 {
        (self.setup.now_ms)()
    }

    /// Takes over what became of the log.
    pub(crate) fn on_store_event(&mut self, event: StoreEvent) -> Result<(), String> {
        match event {
            StoreEvent::Observed(batches) => {
                for batch in batches {
                    for (offset, record) in (batch.base_offset..).zip(&batch.records) {
                        self.committed
                            .replay(offset, batch.epoch, batch.timestamp_ms, record)
                            .map_err(|error| format!("metadata log: {error}"))?;
                    }
                    if batch.records.is_empty() {
                        self.committed.skip(batch.last_offset, batch.epoch, batch.timestamp_ms);
                    }
                }
                self.publish_committed();
            }
            StoreEvent::Snapshot { provenance, records } => {
                let mut image = MetadataDelta::new(MetadataImage::empty());
                image.replay_all(&records).map_err(|error| format!("snapshot: {error}"))?;
                image.set_kraft_version(self.store.quorum().0);
                image.set_provenance(
                    provenance.last_offset,
                    provenance.last_epoch,
                    provenance.last_timestamp_ms,
                );
                let image = image.after().clone();
                let before = MetadataImage::clone(&self.setup.publisher.image());
                self.snapshot_offset = image.next_offset();
                self.setup.metrics.set_snapshot_offset(self.snapshot_offset);
                self.committed = Loader::new(image.clone());
                self.setup.publisher.publish(MetadataDelta::between(before, image));
            }
            StoreEvent::Leading { epoch } => self.activate(epoch)?,
            StoreEvent::Committed(high_watermark) => {
                self.note_control_records();
                self.on_committed(high_watermark);
            }
            StoreEvent::Heard => self.release_held(),
            StoreEvent::Fenced => self.drop_active(),
            StoreEvent::Stopped => {}
            StoreEvent::Failed(reason) => return Err(reason),
        }
        Ok(())
    }

    fn publish_committed(&mut self) {
        self.committed.set_kraft_version(self.store.quorum().0);
        for delta in self.committed.publish() {
            self.setup.publisher.publish(delta);
        }
        self.maybe_snapshot();
    }

    fn activate(&mut self, epoch: i32) -> Result<(), String> {
        let now_ms = self.now_ms();
        let mut tip = self.committed.clone();
        let rules = &mut self.setup.rules;
        (rules.kraft_version, rules.quorum) = self.store.quorum();
        tip.set_kraft_version(rules.kraft_version);
        let in_transaction = tip.in_transaction();
        tracing::info!(epoch, next_offset = tip.image().next_offset(), "Becoming the active controller");
        self.setup.metrics.set_active(true);
        self.active = Some(Active {
            epoch,
            liveness: Liveness::new(tip.image(), now_ms),
            tip,
            pending: VecDeque::new(),
            held: Held::default(),
            looks: CloserLooks::default(),
            rebalance_at: self.setup.periods.rebalance_ms.map(|period| now_ms + period),
            unclean_at: now_ms + UNCLEAN_CHECK_MS,
            idle_at: self.setup.periods.idle_ms.map(|period| now_ms + period),
        });
        let bootstrap = self.setup.bootstrap.clone();
        self.decide(&Event::Activated { bootstrap, in_transaction }, None)?;
        self.register_itself()?;
        // Some may have died with the last one.
        self.look_closer(|_| true);
        // What arrived during the start, such as the registration of this node's broker, shares the first flush.
        match self.setup.commands.try_recv() {
            Ok(command) => self.on_commands(command),
            Err(_) => Ok(()),
        }
    }

    /// Every controller registers; the active one does so without a request over the network.
    fn register_itself(&mut self) -> Result<(), String> {
        let registration = self.setup.registration.clone();
        let Some(active) = &self.active else { return Ok(()) };
        let image = active.tip.image();
        let known = image.cluster.controllers.get(&registration.controller_id);
        let done = known.is_some_and(|known| known.incarnation_id == registration.incarnation_id);
        if done || !image.features.metadata_version().is_controller_registration_supported() {
            return Ok(());
        }
        self.decide(&Event::Request { version: 0, request: registration.into() }, None)
    }

    /// Decides on `command` and on all others that have arrived, before they are flushed together.
    pub(crate) fn on_commands(&mut self, command: Command) -> Result<(), String> {
        let mut next = Some(command);
        for left in (0..GROUP_MAX).rev() {
            let Some(Command { version, request, reply }) = next.take() else { break };
            if self.active.is_some() {
                self.note_successor(&request)?;
                self.decide(&Event::Request { version, request }, Some(reply))?;
            } else {
                // Whoever asked may have gone away.
                let _ = reply.send(refusal(version, &request));
            }
            if left > 0 {
                next = self.setup.commands.try_recv().ok();
            }
        }
        Ok(())
    }

    /// Counts the records that the store wrote by itself, such as a change of the voters: they have offsets too.
    fn note_control_records(&mut self) {
        let now_ms = self.now_ms();
        let Some(active) = &mut self.active else { return };
        let end_offset = self.store.end_offset();
        if active.tip.image().next_offset() >= end_offset {
            return;
        }
        let rules = &mut self.setup.rules;
        (rules.kraft_version, rules.quorum) = self.store.quorum();
        active.tip.set_kraft_version(rules.kraft_version);
        active.tip.skip(end_offset - 1, active.epoch, now_ms);
        let deltas = active.tip.publish();
        active.pending.push_back(Pending {
            last_offset: end_offset - 1,
            deltas,
            answer: None,
            appended_at: None,
        });
    }

    /// Publishes and answers what lies below `high_watermark`.
    fn on_committed(&mut self, high_watermark: i64) {
        let now_ms = self.now_ms();
        let Some(active) = &mut self.active else { return };
        while let Some(pending) = active.pending.pop_front_if(|pending| pending.last_offset < high_watermark)
        {
            if let Some(last) = pending.deltas.last() {
                self.committed = Loader::new(last.after().clone());
            }
            for delta in pending.deltas {
                self.setup.publisher.publish(delta);
            }
            if let Some(appended_at) = pending.appended_at {
                self.setup.metrics.commits.add(appended_at.elapsed());
            }
            match pending.answer {
                Some((reply, response)) if Held::concerns(&response) => {
                    active.held.keep(now_ms, pending.last_offset, reply, response);
                }
                Some((reply, response)) => send(reply, response, pending.last_offset),
                None => {}
            }
        }
        self.release_held();
        self.maybe_snapshot();
    }

    /// Sends the answers that every live broker has heard of; this node's own applies what it is told by itself.
    fn release_held(&mut self) {
        let now_ms = self.now_ms();
        let Some(active) = self.active.as_mut().filter(|active| !active.held.is_empty()) else { return };
        let (store, own) = (&self.store, self.setup.rules.node_id);
        let brokers = active.tip.image().cluster.brokers.values();
        let live: Vec<i32> = brokers.filter(|b| !b.fenced && b.id != own).map(|b| b.id).collect();
        active.held.release(now_ms, |offset| live.iter().all(|id| store.is_known_to(*id, offset)));
    }

    /// Leads no more: the tip and all that waits are void.
    pub(crate) fn drop_active(&mut self) {
        let Some(mut active) = self.active.take() else { return };
        // What is held is committed.
        active.held.release(i64::MAX, |_| true);
        self.setup.metrics.set_active(false);
        tracing::info!(epoch = active.epoch, "No longer the active controller");
        // Who waits for an answer sees its channel close, and answers NOT_CONTROLLER.
        drop(active.pending);
    }

    /// When [`Controller::on_timer`] is due.
    pub(crate) fn next_deadline(&self) -> Option<i64> {
        let active = self.active.as_ref()?;
        let timeout_ms = self.setup.rules.session_timeout_ms;
        let expiry = active.liveness.next_expiry(active.tip.image(), timeout_ms).map(|(at, _)| at);
        let several_brokers = active.tip.image().cluster.brokers.len() > 1;
        // With one broker nothing can move, so nothing wakes up for it.
        let periodic = [active.rebalance_at, Some(active.unclean_at)].into_iter().filter(|_| several_brokers);
        let all = periodic.chain([expiry, active.idle_at, self.snapshot_due_at, active.held.next_deadline()]);
        all.flatten().min()
    }

    /// Does what is due.
    pub(crate) fn on_timer(&mut self) -> Result<(), String> {
        self.release_held();
        let now_ms = self.now_ms();
        self.decide(&Event::SessionsDue, None)?;
        let Some(active) = &mut self.active else { return Ok(()) };
        let mut due = Vec::new();
        if active.rebalance_at.is_some_and(|at| at <= now_ms) {
            active.rebalance_at = self.setup.periods.rebalance_ms.map(|period| now_ms + period);
            due.push(Event::RebalanceDue);
        }
        if active.unclean_at <= now_ms {
            active.unclean_at = now_ms + UNCLEAN_CHECK_MS;
            due.push(Event::UncleanElectionDue);
        }
        if active.idle_at.is_some_and(|at| at <= now_ms) {
            due.push(Event::Idle);
        }
        for event in due {
            self.decide(&event, None)?;
        }
        self.maybe_snapshot();
        Ok(())
    }

    /// Writes a snapshot of the committed image if enough is new.
    fn maybe_snapshot(&mut self) {
        let image = self.committed.image();
        let new_records = image.next_offset() > self.snapshot_offset;
        if !new_records
            || self.committed.in_transaction()
            || image.features.finalized_metadata_version.is_none()
        {
            return;
        }
        let now_ms = (self.setup.now_ms)();
        if self.snapshot_due_at.is_none() {
            self.snapshot_due_at = self.setup.periods.snapshot_ms.map(|period| now_ms + period);
        }
        let new_bytes = self.store.bytes_written().saturating_sub(self.snapshot_bytes);
        let too_old = self.snapshot_due_at.is_some_and(|at| at <= now_ms);
        if new_bytes < self.setup.periods.snapshot_bytes && !too_old {
            return;
        }
        let (end, timestamp_ms) = (image.next_offset(), image.provenance.last_timestamp_ms);
        let records = metadata::snapshot::records(image);
        self.store.write_snapshot(end, timestamp_ms, &records, image.features.metadata_version().0);
        self.snapshot_offset = end;
        self.setup.metrics.set_snapshot_offset(end);
        self.snapshot_bytes = self.store.bytes_written();
        self.snapshot_due_at = None;
    }
}

async fn next_look(active: &mut Option<Active>) -> (Unreachable, bool, bool) {
    match active {
        Some(active) => active.looks.next().await,
        None => std::future::pending().await,
    }
}

fn wait_until(deadline: Option<i64>, now_ms: i64) -> impl Future<Output = ()> {
    let wait = deadline.map(|at| std::time::Duration::from_millis(at.saturating_sub(now_ms).max(0) as u64));
    async move {
        match wait {
            Some(wait) => tokio::time::sleep(wait).await,
            None => std::future::pending().await,
        }
    }
}

fn send(reply: oneshot::Sender<Answered>, response: Response, committed_offset: i64) {
    // Whoever asked may have gone away.
    let _ = reply.send(Answered { response, committed_offset, is_refused: false });
}

/// The answer of a controller that is not the active one.
pub(crate) fn refusal(version: i16, request: &Request) -> Answered {
    let response = refuse(version, request, &not_controller());
    Answered { response, committed_offset: -1, is_refused: true }
}

/// What a request gets that this node may not decide.
fn not_controller() -> ApiError {
    ApiError::new(ErrorCode::NOT_CONTROLLER, "This controller is not the active controller.")
}
