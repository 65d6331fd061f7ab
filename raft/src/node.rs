//! The Raft node: one replica of the metadata log, voter or observer.
//!
//! ```text
//!   Unattached ──timeout──▶ Prospective ──pre-votes──▶ Candidate ──votes──▶ Leader ──▶ Resigned
//!       ▲ │                   │     ▲                     │                              │
//!       │ └──leader found──▶ Follower ──fetch timeout──┘  └── lost: back to Prospective  │
//!       └──── higher epoch, from any state ──────────────────────────────────────────────┘
//! ```
//!
//! Invariants:
//! - `epoch` never goes down; `voted` changes at most once per epoch, from none.
//! - Leader, vote and epoch are persisted (an effect) before anything that tells others of them.
//! - `high_watermark` never goes down, and the log is never truncated below it.
//! - Observers are only ever Unattached or Follower.

mod begin_end;
mod connections;
mod control_log;
mod describe;
mod election;
mod fetch;
mod follower;
mod leader;
mod membership;
mod poll;
mod role;
mod snapshots;
mod transitions;
mod upgrade;

pub use describe::{QuorumDescription, ReplicaDescription};
pub use role::RoleName;

use crate::config::Config;
use crate::effect::{AppendError, Effect, Fault};
use crate::input::Input;
use crate::log::Log;
use crate::message::{CurrentLeader, Request, Response};
use crate::quorum_state::QuorumState;
use crate::replica::{Endpoint, OffsetAndEpoch, ReplicaKey};
use crate::rng::Rng;
use crate::voters::{VoterHistory, VoterSet};
use connections::Connections;
use protocol::ErrorCode;
use role::{Role, Unattached};

/// Levels of `kraft.version` that this node supports.
pub(crate) const SUPPORTED_KRAFT_VERSIONS: (i16, i16) = (0, 1);

/// One replica of the metadata log.
pub struct Node<L> {
    config: Config,
    log: L,
    rng: Rng,
    now_ms: i64,
    epoch: i32,
    voted: Option<ReplicaKey>,
    role: Role,
    history: VoterHistory,
    high_watermark: Option<i64>,
    persisted: Option<QuorumState>,
    announced_leader: (Option<i32>, i32),
    connections: Connections,
    effects: Vec<Effect>,
    clean_deadline: i64,
    /// How often the leader was taken for dead since it answered last.
    alarms: u32,
    /// Elections lost since this node led or followed last.
    lost_elections: u32,
    stopping: bool,
    stopped: bool,
}

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The log cannot be used.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// The log starts above 0 and no snapshot covers what is missing.
    #[error("the log starts at {log_start_offset}, but there is no snapshot at or above it")]
    NoSnapshot {
        /// Start of the log.
        log_start_offset: i64,
    },
}

impl<L: Log> Node<L> {
    /// Starts a replica on its log and the last `quorum-state`, `None` when there is no such file.
    ///
    /// Reads the control records of the newest snapshot and of the whole log. The effects are to be carried out
    /// before the first step; a sole voter already leads in them.
    pub fn start(
        config: Config,
        log: L,
        quorum_state: Option<QuorumState>,
        now_ms: i64,
    ) -> Result<(Node<L>, Vec<Effect>), StartError> {
        let mut node = Node {
            rng: Rng::new(config.seed),
            now_ms,
            epoch: 0,
            voted: None,
            role: Role::Unattached(Unattached { leader_id: None, election_deadline: i64::MAX }),
            history: VoterHistory::new(config.static_voters.clone()),
            high_watermark: None,
            persisted: quorum_state.clone(),
            announced_leader: (None, 0),
            connections: Connections::default(),
            effects: Vec::new(),
            clean_deadline: now_ms + config.clean_interval_ms,
            alarms: 0,
            lost_elections: 0,
            stopping: false,
            stopped: false,
            config,
            log,
        };
        node.recover_log()?;
        node.restore(quorum_state.unwrap_or_default())?;
        node.poll()?;
        let effects = std::mem::take(&mut node.effects);
        Ok((node, effects))
    }

    /// Takes one event in and gives what is to be done about it, in order. After a fault nothing happens any more.
    ///
    /// `now_ms` must not go back; a smaller value counts as the last one.
    pub fn step(&mut self, input: Input, now_ms: i64) -> Vec<Effect> {
        if self.stopped {
            return Vec::new();
        }
        self.now_ms = self.now_ms.max(now_ms);
        let done = self.handle(input).and_then(|()| self.poll());
        if let Err(fault) = done {
            self.stopped = true;
            self.effects.push(Effect::Fault(fault));
        }
        std::mem::take(&mut self.effects)
    }

    /// When the next [`Input::Tick`] is due, in the time of `now_ms`; `None` when nothing waits.
    pub fn next_deadline(&self) -> Option<i64> {
        if self.stopped {
            return None;
        }
        let deadline =
            self.role_deadline().min(self.connections.next_deadline(self.now_ms)).min(self.clean_deadline);
        (deadline != i64::MAX).then_some(deadline)
    }

    /// The log, to read committed records and snapshots from.
    pub fn log(&self) -> &L {
        &self.log
    }

    /// The log for what is the state machine's part: writing snapshots. The node appends and truncates itself.
    pub fn log_mut(&mut self) -> &mut L {
        &mut self.log
    }

    /// The settings it was started with.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The current epoch.
    pub fn epoch(&self) -> i32 {
        self.epoch
    }

    /// The leader of the epoch, where known; this node also after it resigned (see [`Node::role`]).
    pub fn leader_id(&self) -> Option<i32> {
        self.role.leader_id(self.config.node_id)
    }

    /// The leader, where known and if it still leads, with its endpoint on the listener of the quorum.
    pub fn leader(&self) -> Option<(i32, Option<&Endpoint>)> {
        let leads = matches!(self.role, Role::Leader(_));
        let id = self.leader_id().filter(|id| leads || *id != self.config.node_id)?;
        let endpoints = self.endpoints_of_leader(id);
        Some((id, endpoints.iter().find(|endpoint| endpoint.name == self.config.listener_name)))
    }

    /// Which state the node is in.
    pub fn role(&self) -> RoleName {
        self.role.name()
    }

    /// Offset below which records are committed, where known.
    pub fn high_watermark(&self) -> Option<i64> {
        self.high_watermark
    }

    /// The voters in force: those last in the log, committed or not.
    pub fn voters(&self) -> &VoterSet {
        self.history.voters()
    }

    /// The level of `kraft.version` in force.
    pub fn kraft_version(&self) -> i16 {
        self.history.kraft_version()
    }

    /// The voters and the level of `kraft.version` that a snapshot ending before `end_offset` must hold.
    pub fn membership_before(&self, end_offset: i64) -> (i16, Option<&VoterSet>) {
        (self.history.kraft_version_before(end_offset), self.history.voters_before(end_offset))
    }

    /// Epoch of the record before `end_offset`: with it the id of a snapshot that ends there.
    pub fn epoch_before(&self, end_offset: i64) -> i32 {
        self.epoch_at(end_offset - 1)
    }

    /// Whether this node counts as a voter: it has the controller role and its key is in the set in force.
    pub fn is_voter(&self) -> bool {
        self.config.can_be_voter && self.voters().contains(&self.config.replica_key())
    }

    fn handle(&mut self, input: Input) -> Result<(), Fault> {
        match input {
            Input::Tick => Ok(()),
            Input::Request { id, listener, request } => self.handle_request(id, listener, request),
            Input::Response { id, result } => self.handle_response(id, result),
            Input::Append { id, epoch, batches } => self.handle_append(id, epoch, batches),
            Input::UpgradeKRaftVersion { id, epoch, level, validate_only } => {
                self.handle_upgrade(id, epoch, level, validate_only)
            }
            Input::SnapshotWritten(id) => {
                self.history.trim_before(id.offset - 1);
                Ok(())
            }
            Input::Resign { epoch } => {
                if epoch == self.epoch && matches!(self.role, Role::Leader(_)) {
                    self.become_resigned();
                }
                Ok(())
            }
            Input::Shutdown => {
                self.shut_down();
                Ok(())
            }
        }
    }

    fn handle_request(&mut self, id: u64, listener: String, request: Request) -> Result<(), Fault> {
        let response = match request {
            Request::Vote(request) => Response::Vote(self.handle_vote(&listener, &request)),
            Request::BeginQuorumEpoch(request) => {
                Response::BeginQuorumEpoch(self.handle_begin_quorum_epoch(&listener, request))
            }
            Request::EndQuorumEpoch(request) => {
                Response::EndQuorumEpoch(self.handle_end_quorum_epoch(&listener, request))
            }
            Request::Fetch(request) => return self.handle_fetch(id, listener, request),
            Request::FetchSnapshot(request) => {
                Response::FetchSnapshot(self.handle_fetch_snapshot(&listener, &request)?)
            }
            Request::AddVoter(request) => return self.handle_add_voter(id, request),
            Request::RemoveVoter(request) => return self.handle_remove_voter(id, &request),
            Request::UpdateVoter(request) => return self.handle_update_voter(id, &listener, request),
            Request::KRaftVersions => {
                let (min, max) = SUPPORTED_KRAFT_VERSIONS;
                Response::KRaftVersions { min, max }
            }
        };
        self.effects.push(Effect::Reply { id, response });
        Ok(())
    }

    fn handle_append(&mut self, id: u64, epoch: i32, batches: Vec<Vec<bytes::Bytes>>) -> Result<(), Fault> {
        let result = if epoch == self.epoch && matches!(self.role, Role::Leader(_)) {
            self.append_data(batches)?
        } else {
            Err(AppendError::Fenced)
        };
        self.effects.push(Effect::Appended { id, result });
        self.leader_log_grew()
    }

    /// What a response says of the leader, with its endpoint for `listener`.
    fn current_leader(&self, listener: &str) -> CurrentLeader {
        let id = self.leader_id();
        let endpoint = id.and_then(|id| {
            let endpoints = self.endpoints_of_leader(id);
            endpoints.iter().find(|endpoint| endpoint.name == listener).cloned()
        });
        CurrentLeader { id, epoch: self.epoch, endpoint }
    }

    fn endpoints_of_leader(&self, id: i32) -> &[Endpoint] {
        if id == self.config.node_id {
            return &self.config.listeners;
        }
        match self.role.leader_endpoints() {
            [] => self.voters().get(id).map_or(&[], |voter| &voter.endpoints),
            endpoints => endpoints,
        }
    }

    fn is_other_cluster(&self, cluster_id: Option<&str>) -> bool {
        cluster_id.is_some_and(|id| id != self.config.cluster_id)
    }

    /// Refuses a request that only the leader of that epoch may answer.
    fn leader_only(&self, epoch: i32) -> Result<(), ErrorCode> {
        if epoch < self.epoch {
            Err(ErrorCode::FENCED_LEADER_EPOCH)
        } else if epoch > self.epoch {
            Err(ErrorCode::UNKNOWN_LEADER_EPOCH)
        } else if self.stopping {
            Err(ErrorCode::BROKER_NOT_AVAILABLE)
        } else if !matches!(self.role, Role::Leader(_)) {
            Err(ErrorCode::NOT_LEADER_OR_FOLLOWER)
        } else {
            Ok(())
        }
    }

    /// Epoch of the last record, or of the newest snapshot when the log holds none, or 0.
    fn last_epoch(&self) -> i32 {
        let snapshot = || self.latest_snapshot().map_or(0, |id| id.epoch);
        self.log.last_epoch().unwrap_or_else(snapshot)
    }

    fn latest_snapshot(&self) -> Option<OffsetAndEpoch> {
        self.log.snapshots().last().map(|snapshot| snapshot.id)
    }

    /// A raised high watermark is told to the state machine.
    fn raise_high_watermark(&mut self, offset: i64) {
        if self.high_watermark.is_none_or(|known| known < offset) {
            self.high_watermark = Some(offset);
            self.effects.push(Effect::HighWatermark(offset));
        }
    }
}
