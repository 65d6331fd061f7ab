//! A Raft node among peers that say anything.
//!
//! Invariants, those of the simulator in `raft` that one node can be held to: epoch and high watermark never fall; at
//! most one vote per epoch; a vote and a leader are persisted before anybody is told; the high watermark lies in
//! the log; epochs in the log never fall; a request is answered once; only a leader that asks to remove what is
//! committed stops a node; what was persisted starts again.

use std::collections::BTreeSet;

use bytes::Bytes;
use protocol::ErrorCode;
use raft::memory_log::MemoryLog;
use raft::message::*;
use raft::{
    Config, Effect, Endpoint, Fault, Input, Log, Node, OffsetAndEpoch, QuorumState, ReplicaKey, SendError,
    StartError, Voter, VoterSet, batch, control,
};
use uuid::Uuid;

use crate::source::Source;

/// Events of one run; more teach nothing new.
const MAX_EVENTS: u64 = 300;

/// Voters, then events.
pub(super) fn run(input: &[u8]) {
    let mut source = Source::new(input);
    let config = config(&mut source);
    let Ok((node, effects)) = Node::start(config, MemoryLog::default(), None, 0) else {
        panic!("an empty log can be started")
    };
    let mut bench = Bench {
        node,
        now: 0,
        sent: Vec::new(),
        open: BTreeSet::new(),
        persisted: QuorumState::default(),
        epoch: 0,
        high_watermark: -1,
    };
    let mut effects = effects;
    for id in 0..MAX_EVENTS {
        if !bench.carry_out(effects) {
            return;
        }
        bench.check();
        if source.is_empty() {
            break;
        }
        effects = bench.event(id, &mut source);
    }
}

fn endpoint(port: u16) -> Endpoint {
    Endpoint { name: "CONTROLLER".into(), host: "h".into(), port }
}

fn config(source: &mut Source<'_>) -> Config {
    let voters = 1 + source.below(3) as i32;
    let mut config = Config::new(1 + source.below(4) as i32 % 4, Uuid::from_u128(1), "cluster", 7);
    config.listeners = vec![endpoint(1)];
    config.clean_interval_ms = 2_000;
    config.retention_bytes = 500;
    config.fetch_max_bytes = 300;
    config.can_be_voter = config.node_id <= voters;
    config.static_voters = VoterSet::new((1..=voters).map(|id| Voter {
        key: ReplicaKey { id, directory_id: None },
        endpoints: vec![endpoint(id as u16)],
        min_kraft_version: 0,
        max_kraft_version: 1,
    }));
    config
}

struct Bench {
    node: Node<MemoryLog>,
    now: i64,
    /// Ids of requests that were sent, the newest last.
    sent: Vec<(u64, Request)>,
    /// Requests to the node that it has not answered.
    open: BTreeSet<u64>,
    persisted: QuorumState,
    epoch: i32,
    high_watermark: i64,
}

impl Bench {
    fn event(&mut self, id: u64, source: &mut Source<'_>) -> Vec<Effect> {
        let input = match source.below(12) {
            0..4 => {
                self.open.insert(id);
                Input::Request { id, listener: "CONTROLLER".into(), request: self.request(source) }
            }
            4..7 => match self.sent.pop() {
                Some((id, request)) => Input::Response { id, result: Ok(self.response(&request, source)) },
                None => Input::Tick,
            },
            7 => match self.sent.pop() {
                Some((id, _)) => Input::Response { id, result: Err(SendError::Disconnected) },
                None => Input::Tick,
            },
            8 => Input::Append {
                id,
                epoch: self.epoch(source),
                batches: vec![vec![Bytes::from_static(b"value")]],
            },
            9 if source.flag() => return self.restart(),
            9 => match source.below(4) {
                0 => Input::Resign { epoch: self.epoch(source) },
                1 => return self.snapshot(),
                _ => Input::UpgradeKRaftVersion {
                    id,
                    epoch: self.epoch(source),
                    level: source.short(),
                    validate_only: source.flag(),
                },
            },
            _ => {
                self.now += [1, 50, 500, 2_500][source.below(4)];
                Input::Tick
            }
        };
        self.node.step(input, self.now)
    }

    /// The process ends and comes back with what it had on disk.
    fn restart(&mut self) -> Vec<Effect> {
        let mut log = self.node.log().clone();
        log.crash();
        let config = self.node.config().clone();
        let state = (self.persisted != QuorumState::default()).then(|| self.persisted.clone());
        let started = Node::start(config, log, state, self.now);
        if matches!(&started, Err(StartError::Fault(Fault::NoEpochLeft))) {
            assert_eq!(self.persisted.leader_epoch, i32::MAX, "an epoch is left");
            return vec![Effect::Fault(Fault::NoEpochLeft)];
        }
        let (node, effects) = started.unwrap_or_else(|e| panic!("what was persisted does not start: {e}"));
        assert!(node.epoch() >= self.persisted.leader_epoch, "the epoch falls at a start");
        self.node = node;
        self.sent.clear();
        self.open.clear();
        self.epoch = 0;
        self.high_watermark = -1;
        effects
    }

    /// The state machine writes a snapshot of all that is committed.
    fn snapshot(&mut self) -> Vec<Effect> {
        let newest = self.node.log().snapshots().last().map_or(0, |newest| newest.id.offset);
        let Some(offset) = self.node.high_watermark().filter(|offset| *offset > newest) else {
            return Vec::new();
        };
        let id = OffsetAndEpoch { offset, epoch: self.node.epoch_before(offset) };
        let (level, voters) = self.node.membership_before(offset);
        let mut bytes = control::snapshot_header_batch(id.epoch, 0, 0, level, voters).to_vec();
        let records = batch::batches(&bytes).flatten().last().map_or(1, |batch| batch.next_offset());
        bytes.extend_from_slice(&control::snapshot_footer_batch(records, id.epoch, 0));
        self.node.log_mut().add_snapshot(id, bytes.into());
        self.node.step(Input::SnapshotWritten(id), self.now)
    }

    /// False if the node has stopped.
    fn carry_out(&mut self, effects: Vec<Effect>) -> bool {
        for effect in effects {
            match effect {
                Effect::PersistQuorumState(state) => self.persist(state),
                Effect::Send { id, request, .. } => {
                    self.told(&request);
                    self.sent.push((id, request));
                }
                Effect::Reply { id, response } => {
                    assert!(self.open.remove(&id), "a request is answered twice: {response:?}");
                    self.replied(&response);
                }
                Effect::HighWatermark(offset) => {
                    assert!(offset >= self.high_watermark, "the high watermark falls");
                    self.high_watermark = offset;
                }
                Effect::Fault(fault) => {
                    let is_known = match fault {
                        Fault::TruncationBelowHighWatermark { .. } => true,
                        Fault::NoEpochLeft => self.persisted.leader_epoch == i32::MAX,
                        _ => false,
                    };
                    assert!(is_known, "{fault}");
                    return false;
                }
                Effect::LoadSnapshot(id) => assert!(id.offset >= self.high_watermark),
                Effect::Appended { .. }
                | Effect::Upgraded { .. }
                | Effect::LeaderChanged { .. }
                | Effect::Leading { .. }
                | Effect::ShutdownComplete => {}
            }
        }
        true
    }

    fn persist(&mut self, state: QuorumState) {
        let state = QuorumState::decode(&state.encode()).expect("what is persisted can be read");
        assert!(state.leader_epoch >= self.persisted.leader_epoch, "the persisted epoch falls");
        if state.leader_epoch == self.persisted.leader_epoch {
            if let (Some(before), Some(after)) = (self.persisted.voted, state.voted) {
                // The file of a static quorum has no directories; the quorum may become a dynamic one in between.
                let is_told = before.directory_id.is_some() && after.directory_id.is_some();
                let is_same =
                    before.id == after.id && (!is_told || before.directory_id == after.directory_id);
                assert!(is_same, "two votes in one epoch: {before:?} and {after:?}");
            }
            let (before, after) = (self.persisted.leader_id, state.leader_id);
            assert!(
                before.is_none() || after.is_none() || before == after,
                "two leaders of epoch {}: {before:?} and {after:?}",
                state.leader_epoch
            );
        }
        self.persisted = state;
    }

    /// What others hear must be on the disk already.
    fn told(&self, request: &Request) {
        let epoch = match request {
            Request::Vote(vote) if !vote.pre_vote => vote.epoch,
            Request::BeginQuorumEpoch(begin) => begin.leader_epoch,
            _ => return,
        };
        assert!(epoch <= self.persisted.leader_epoch, "epoch {epoch} is told before it is persisted");
    }

    fn replied(&self, response: &Response) {
        if let Response::Vote(vote) = response
            && vote.error == ErrorCode::NONE
            && vote.top_level_error == ErrorCode::NONE
        {
            assert!(
                vote.leader.epoch <= self.persisted.leader_epoch,
                "a vote is told before it is persisted"
            );
        }
    }

    fn check(&mut self) {
        let node = &self.node;
        assert!(node.epoch() >= self.epoch, "the epoch falls");
        self.epoch = node.epoch();
        let end = node.log().log_end_offset();
        let high_watermark = node.high_watermark().unwrap_or(-1);
        assert!(high_watermark <= end, "the high watermark {high_watermark} is above the log end {end}");
        let (mut next, mut epoch) = (node.log().log_start_offset(), 0);
        for (base, after, batch_epoch, _) in node.log().entries() {
            assert!(base == next && after > base && batch_epoch >= epoch, "the log is not in order");
            (next, epoch) = (after, batch_epoch);
        }
        assert!(epoch <= self.epoch, "the log is ahead of the epoch");
    }

    /// The node's epoch or one near it, as a rule.
    fn epoch(&self, source: &mut Source<'_>) -> i32 {
        match source.byte() {
            0..160 => self.node.epoch(),
            160..220 => self.node.epoch().saturating_add(1),
            _ => source.int(),
        }
    }

    /// An offset in the log, as a rule.
    fn offset(&self, source: &mut Source<'_>) -> i64 {
        match source.byte() {
            0..120 => self.node.log().log_end_offset(),
            n @ 120..200 => self.node.log().log_end_offset().saturating_sub(i64::from(n - 120)),
            _ => source.long(),
        }
    }

    fn position(&self, source: &mut Source<'_>) -> OffsetAndEpoch {
        OffsetAndEpoch { offset: self.offset(source), epoch: self.epoch(source) }
    }
}

fn key(source: &mut Source<'_>) -> ReplicaKey {
    ReplicaKey::new(source.int().wrapping_sub(4), Uuid::from_u128(source.below(4) as u128))
}

fn endpoints(source: &mut Source<'_>) -> Vec<Endpoint> {
    (0..source.below(3)).map(|_| endpoint(u16::from(source.byte()))).collect()
}

fn cluster_id(source: &mut Source<'_>) -> Option<String> {
    match source.byte() {
        0..200 => Some("cluster".into()),
        200..250 => None,
        _ => Some(source.text()),
    }
}

fn error(source: &mut Source<'_>) -> ErrorCode {
    match source.byte() {
        0..200 => ErrorCode::NONE,
        _ => ErrorCode(source.short()),
    }
}

impl Bench {
    fn request(&self, source: &mut Source<'_>) -> Request {
        let cluster_id = cluster_id(source);
        match source.below(9) {
            0 | 1 => Request::Vote(VoteRequest {
                cluster_id,
                voter: source.flag().then(|| key(source)),
                epoch: self.epoch(source),
                candidate: key(source),
                last_epoch: self.epoch(source),
                last_offset: self.offset(source),
                pre_vote: source.flag(),
            }),
            2 => Request::BeginQuorumEpoch(BeginQuorumEpochRequest {
                cluster_id,
                voter: source.flag().then(|| key(source)),
                leader_id: key(source).id,
                leader_epoch: self.epoch(source),
                leader_endpoints: endpoints(source),
            }),
            3 => Request::EndQuorumEpoch(EndQuorumEpochRequest {
                cluster_id,
                leader_id: key(source).id,
                leader_epoch: self.epoch(source),
                leader_endpoints: endpoints(source),
                preferred_candidates: (0..source.below(4)).map(|_| key(source)).collect(),
            }),
            4 => Request::Fetch(FetchRequest {
                cluster_id,
                replica: key(source),
                max_wait_ms: source.int(),
                max_bytes: source.int(),
                current_leader_epoch: self.epoch(source),
                fetch_offset: self.offset(source),
                last_fetched_epoch: self.epoch(source),
                high_watermark: source.long(),
            }),
            5 => Request::FetchSnapshot(FetchSnapshotRequest {
                cluster_id,
                replica: key(source),
                max_bytes: source.int(),
                current_leader_epoch: self.epoch(source),
                snapshot_id: self.position(source),
                position: source.long(),
            }),
            6 => Request::AddVoter(AddVoterRequest {
                cluster_id,
                timeout_ms: source.int(),
                voter: key(source),
                endpoints: endpoints(source),
                ack_when_committed: source.flag(),
            }),
            7 => Request::RemoveVoter(RemoveVoterRequest { cluster_id, voter: key(source) }),
            _ => Request::UpdateVoter(UpdateVoterRequest {
                cluster_id,
                current_leader_epoch: self.epoch(source),
                voter: key(source),
                endpoints: endpoints(source),
                min_kraft_version: source.short(),
                max_kraft_version: source.short(),
            }),
        }
    }

    fn leader(&self, source: &mut Source<'_>) -> CurrentLeader {
        CurrentLeader {
            id: source.flag().then(|| key(source).id).filter(|id| *id >= 0),
            epoch: self.epoch(source),
            endpoint: endpoints(source).pop(),
        }
    }

    /// An answer of the kind that belongs to `request`.
    fn response(&self, request: &Request, source: &mut Source<'_>) -> Response {
        let (top_level_error, error) = (error(source), error(source));
        let leader = self.leader(source);
        match request {
            Request::Vote(_) => {
                Response::Vote(VoteResponse { top_level_error, error, leader, vote_granted: source.flag() })
            }
            Request::BeginQuorumEpoch(_) => {
                Response::BeginQuorumEpoch(QuorumEpochResponse { top_level_error, error, leader })
            }
            Request::EndQuorumEpoch(_) => {
                Response::EndQuorumEpoch(QuorumEpochResponse { top_level_error, error, leader })
            }
            Request::FetchSnapshot(asked) => Response::FetchSnapshot(FetchSnapshotResponse {
                top_level_error,
                error,
                leader,
                snapshot_id: if source.flag() { asked.snapshot_id } else { self.position(source) },
                size: source.long(),
                position: if source.flag() { asked.position } else { source.long() },
                bytes: self.records(source),
            }),
            Request::KRaftVersions => Response::KRaftVersions { min: source.short(), max: source.short() },
            Request::AddVoter(_) => Response::AddVoter(VoterChangeResponse { error }),
            Request::RemoveVoter(_) => Response::RemoveVoter(VoterChangeResponse { error }),
            Request::UpdateVoter(_) => Response::UpdateVoter(UpdateVoterResponse { error, leader }),
            Request::Fetch(_) => Response::Fetch(FetchResponse {
                top_level_error,
                error,
                leader,
                high_watermark: self.offset(source),
                log_start_offset: source.long(),
                diverging_epoch: (source.below(4) == 3).then(|| self.position(source)),
                snapshot_id: (source.below(4) == 3).then(|| self.position(source)),
                records: self.records(source),
            }),
        }
    }

    /// Batches from the log end on, or anything.
    fn records(&self, source: &mut Source<'_>) -> Bytes {
        let (base, epoch) = (self.offset(source), self.epoch(source));
        match source.below(6) {
            0 => Bytes::new(),
            1 | 2 => {
                let values = vec![(None, Bytes::from_static(b"value")); source.below(3)];
                batch::encode(base, epoch, 0, false, &values).freeze()
            }
            3 => control::encode_batch(base, epoch, 0, &[control::leader_change(1, &[1], &[1])]).freeze(),
            4 => {
                let voter = |id| Voter {
                    key: ReplicaKey::new(id, Uuid::from_u128(1)),
                    endpoints: vec![endpoint(id as u16)],
                    min_kraft_version: 0,
                    max_kraft_version: 1,
                };
                let set = VoterSet::new((0..source.below(4) as i32).map(voter));
                let records = [control::kraft_version(source.short()), control::voters(&set)];
                control::encode_batch(base, epoch, 0, &records).freeze()
            }
            _ => {
                let mut bytes = source.piece().to_vec();
                if source.flag() {
                    super::batches::repair(&mut bytes);
                }
                bytes.into()
            }
        }
    }
}
