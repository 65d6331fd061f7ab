//! One node of the quorum without threads, sockets and files: the controller's loop over the Raft node, driven input by
//! input. What decides is the code of the running node; a simulation brings the network, the disk and the clock.
//!
//! Invariant: nothing here waits, and the time is that of [`set_now_ms`].

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;

use metadata::MetadataImage;
use protocol::StrBytes;
use protocol::features::{FEATURES, MetadataVersion};
use protocol::messages::ControllerRegistrationRequest;
use protocol::messages::controller_registration_request::Feature;
use raft::message::{Request as RaftRequest, Response as RaftResponse};
use raft::{Address, Input, Node, Peer, SendError};
use tokio::sync::{mpsc, oneshot, watch};

use crate::closer_look::{BrokerConnection, BrokerConnections};
use crate::controller::{Answered, Command, Controller, LeaderAndEpoch, Periods, Setup};
use crate::decide::Rules;
use crate::entropy::Entropy;
use crate::event::{Request, Response};
use crate::format::bootstrap_records;
use crate::metrics::Metrics;
use crate::publisher::{Publisher, Subscription};
use crate::raft_peers::Answered as PeerAnswer;
use crate::store::MetadataStore as _;
use crate::store::kraft::{KraftStore, MetadataLog, Peers, RaftCommand};

/// Requests that may wait; one does, since each is taken at once.
const COMMANDS: usize = 16;

thread_local! {
    static NOW_MS: Cell<i64> = const { Cell::new(0) };
}

/// Sets the clock of the machines on this thread, in ms.
pub fn set_now_ms(now_ms: i64) {
    NOW_MS.set(now_ms);
}

fn now_ms() -> i64 {
    NOW_MS.get()
}

/// What a machine is told at start.
#[derive(Debug)]
pub struct MachineArgs {
    /// Of the Raft node.
    pub raft: raft::Config,
    /// Of the controller.
    pub rules: Rules,
    /// Seed of its random choices and ids.
    pub seed: [u8; 32],
    /// Feature levels beside `metadata.version` that the first controller writes.
    pub features: BTreeMap<String, i16>,
    /// Brokers that count as connected all the time: nobody looks closer at a broker whose connections ended.
    pub brokers: Vec<i32>,
    /// Preferred leaders are elected again so often, in ms; `None` for never.
    pub rebalance_ms: Option<i64>,
    /// A snapshot after so many bytes.
    pub snapshot_bytes: u64,
}

/// What a machine wants done.
#[derive(Debug)]
pub enum Output {
    /// Ask another node; the answer comes back to [`Machine::raft_answer`] with the id.
    Send {
        /// Names the request.
        id: u64,
        /// Where the other node is reached.
        address: Address,
        /// The request.
        request: RaftRequest,
    },
    /// The answer to [`Machine::raft_request`].
    RaftReply {
        /// As the request was named.
        id: u64,
        /// The answer.
        response: RaftResponse,
    },
    /// The answer to [`Machine::request`]; `None` if this is not the active controller, or was not for long enough.
    Reply {
        /// As the request was named.
        id: u64,
        /// The answer.
        response: Option<Response>,
    },
}

/// Requests on their way out.
#[derive(Debug, Default)]
struct Outbox {
    sent: Vec<Output>,
}

impl Peers for Outbox {
    fn send(&mut self, id: u64, _: Peer, address: Address, request: RaftRequest) {
        self.sent.push(Output::Send { id, address, request });
    }

    async fn next(&mut self) -> PeerAnswer {
        std::future::pending().await
    }
}

/// One node of the quorum.
pub struct Machine<L: MetadataLog> {
    controller: Controller<KraftStore<L, Outbox>>,
    waiting: BTreeMap<u64, oneshot::Receiver<Answered>>,
    raft_waiting: BTreeMap<u64, oneshot::Receiver<RaftResponse>>,
    publisher: Arc<Publisher>,
    leader: watch::Receiver<LeaderAndEpoch>,
    // The other ends; kept open.
    _open: Vec<BrokerConnection>,
    _commands: mpsc::Sender<Command>,
    _stop: oneshot::Sender<()>,
    _raft: mpsc::Sender<RaftCommand>,
}

impl<L: MetadataLog> Machine<L> {
    /// Starts a node on its log, as a process does.
    ///
    /// # Errors
    /// A log that cannot be used.
    pub fn start(args: MachineArgs, log: L) -> Result<Self, String> {
        let (leader_sender, leader) = watch::channel(LeaderAndEpoch::default());
        let (raft, raft_inbox) = mpsc::channel(COMMANDS);
        let (commands, command_receiver) = mpsc::channel(COMMANDS);
        let (stop, stop_receiver) = oneshot::channel();
        let (publisher, metrics) = (Arc::new(Publisher::new()), Arc::new(Metrics::default()));
        let mut entropy = Entropy::from_seed(args.seed);
        let (connections, departures) = BrokerConnections::new();
        let open = args.brokers.iter().map(|broker| BrokerConnection::new(&connections, *broker)).collect();
        let registration = ControllerRegistrationRequest::default()
            .with_controller_id(args.rules.node_id)
            .with_incarnation_id(entropy.id())
            .with_features(features());
        let setup = Setup {
            rules: args.rules,
            periods: Periods {
                rebalance_ms: args.rebalance_ms,
                idle_ms: None,
                snapshot_ms: None,
                snapshot_bytes: args.snapshot_bytes,
            },
            entropy,
            bootstrap: bootstrap_records(MetadataVersion::LATEST_PRODUCTION, &args.features, []),
            registration,
            publisher: Arc::clone(&publisher),
            metrics: Arc::clone(&metrics),
            brokers: connections,
            departures,
            commands: command_receiver,
            stop: stop_receiver,
            now_ms,
        };
        let peers = Outbox::default();
        let store = KraftStore::start(args.raft, log, peers, raft_inbox, leader_sender, now_ms, metrics)?;
        let mut machine = Self {
            controller: Controller::new(setup, store),
            waiting: BTreeMap::new(),
            raft_waiting: BTreeMap::new(),
            publisher,
            leader,
            _open: open,
            _commands: commands,
            _stop: stop,
            _raft: raft,
        };
        machine.settle()?;
        Ok(machine)
    }

    /// Another node asks this one; [`Output::RaftReply`] answers, at once or later.
    ///
    /// # Errors
    /// The process ends: its disk failed, or the log contradicts itself.
    pub fn raft_request(&mut self, id: u64, listener: &str, request: RaftRequest) -> Result<(), String> {
        let (reply, answer) = oneshot::channel();
        self.raft_waiting.insert(id, answer);
        let listener = listener.to_owned();
        self.controller.store.on_command(RaftCommand::Request { listener, request, reply });
        self.settle()
    }

    /// What became of an [`Output::Send`].
    ///
    /// # Errors
    /// As [`Machine::raft_request`].
    pub fn raft_answer(&mut self, id: u64, result: Result<RaftResponse, SendError>) -> Result<(), String> {
        self.controller.store.step(Input::Response { id, result });
        self.settle()
    }

    /// Somebody asks the controller; [`Output::Reply`] answers, at once or later.
    ///
    /// # Errors
    /// As [`Machine::raft_request`].
    pub fn request(&mut self, id: u64, version: i16, request: Request) -> Result<(), String> {
        let (reply, answer) = oneshot::channel();
        self.waiting.insert(id, answer);
        self.controller.on_commands(Command { version, request, reply })?;
        self.settle()
    }

    /// Does what is due.
    ///
    /// # Errors
    /// As [`Machine::raft_request`].
    pub fn tick(&mut self) -> Result<(), String> {
        if self.node().next_deadline().is_some_and(|at| at <= now_ms()) {
            self.controller.store.step(Input::Tick);
            self.settle()?;
        }
        if self.controller.next_deadline().is_some_and(|at| at <= now_ms()) {
            self.controller.on_timer()?;
            self.settle()?;
        }
        Ok(())
    }

    /// When [`Machine::tick`] is due.
    pub fn next_deadline(&self) -> Option<i64> {
        self.node().next_deadline().into_iter().chain(self.controller.next_deadline()).min()
    }

    /// What the machine wants done since the last call, in order.
    pub fn outputs(&mut self) -> Vec<Output> {
        let mut outputs = std::mem::take(&mut self.controller.store.peers_mut().sent);
        self.raft_waiting.retain(|id, answer| match answer.try_recv() {
            Ok(response) => {
                outputs.push(Output::RaftReply { id: *id, response });
                false
            }
            Err(oneshot::error::TryRecvError::Empty) => true,
            Err(oneshot::error::TryRecvError::Closed) => false,
        });
        self.waiting.retain(|id, answer| {
            let response = match answer.try_recv() {
                Ok(answered) if answered.is_refused => None,
                Ok(answered) => Some(answered.response),
                Err(oneshot::error::TryRecvError::Empty) => return true,
                Err(oneshot::error::TryRecvError::Closed) => None,
            };
            outputs.push(Output::Reply { id: *id, response });
            false
        });
        outputs
    }

    /// The committed metadata from now on, as the broker of the node gets it.
    pub fn subscribe(&self) -> Subscription {
        self.publisher.subscribe()
    }

    /// The committed metadata that this node knows.
    pub fn image(&self) -> Arc<MetadataImage> {
        self.publisher.image()
    }

    /// What the active controller decides on, uncommitted records included; `None` on the others.
    pub fn tip(&self) -> Option<&MetadataImage> {
        self.controller.tip()
    }

    /// Who leads the quorum, as far as this node knows.
    pub fn leader(&self) -> LeaderAndEpoch {
        self.leader.borrow().clone()
    }

    /// The Raft node.
    pub fn node(&self) -> &Node<L> {
        self.controller.store.node()
    }

    /// The log, for what happens to disks.
    pub fn log_mut(&mut self) -> &mut L {
        self.controller.store.log_mut()
    }

    /// Lets the controller take up what the store reports, as its loop does.
    fn settle(&mut self) -> Result<(), String> {
        self.controller.store.flush();
        while let Some(event) = self.controller.store.pop() {
            self.controller.on_store_event(event)?;
            self.controller.store.flush();
        }
        Ok(())
    }
}

fn features() -> Vec<Feature> {
    let feature = |known: &protocol::features::Feature| {
        Feature::default()
            .with_name(StrBytes::from_static_str(known.name))
            .with_min_supported_version(known.min)
            .with_max_supported_version(known.max)
    };
    FEATURES.iter().map(feature).collect()
}
