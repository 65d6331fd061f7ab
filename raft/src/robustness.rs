//! Whatever a peer or client sends, a node answers or ignores: it does not panic, stop or contradict its disk.

use bytes::Bytes;
use proptest::prelude::*;
use uuid::Uuid;

use crate::memory_log::MemoryLog;
use crate::message::*;
use crate::sole_voter::sole_config;
use crate::voters::{Voter, VoterSet};
use crate::{
    Effect, Endpoint, Input, Node, OffsetAndEpoch, QuorumState, ReplicaKey, SendError, batch, control,
};
use protocol::ErrorCode;

fn edge_i32() -> impl Strategy<Value = i32> {
    prop_oneof![Just(-1), Just(i32::MIN), Just(i32::MAX), Just(i32::MAX - 1), 0..4i32]
}

fn edge_i64() -> impl Strategy<Value = i64> {
    prop_oneof![Just(-1), Just(i64::MIN), Just(i64::MAX), 0..20i64]
}

fn key() -> impl Strategy<Value = ReplicaKey> {
    (edge_i32(), 0..4u128).prop_map(|(id, directory)| ReplicaKey::new(id, Uuid::from_u128(directory)))
}

fn endpoints() -> impl Strategy<Value = Vec<Endpoint>> {
    let endpoint = |port| Endpoint { name: "CONTROLLER".into(), host: "h".into(), port };
    proptest::collection::vec((0..3u16).prop_map(endpoint), 0..2)
}

fn position() -> impl Strategy<Value = OffsetAndEpoch> {
    (edge_i64(), edge_i32()).prop_map(|(offset, epoch)| OffsetAndEpoch { offset, epoch })
}

fn code() -> impl Strategy<Value = ErrorCode> {
    prop_oneof![Just(0i16), Just(0), Just(0), Just(6), Just(35), Just(74), Just(75), Just(98), any::<i16>()]
        .prop_map(ErrorCode)
}

fn leader() -> impl Strategy<Value = CurrentLeader> {
    (edge_i32(), edge_i32(), endpoints()).prop_map(|(id, epoch, mut endpoints)| CurrentLeader {
        id: (id >= 0).then_some(id),
        epoch,
        endpoint: endpoints.pop(),
    })
}

fn records() -> impl Strategy<Value = Bytes> {
    let valid =
        (edge_i64(), edge_i32(), any::<bool>(), 0..3usize).prop_map(|(base, epoch, control, count)| {
            let value = Bytes::from_static(b"value");
            batch::encode(base, epoch, 0, control, &vec![(None, value); count]).freeze()
        });
    let leader_change = (0..20i64, 0..4i32).prop_map(|(base, epoch)| {
        control::encode_batch(base, epoch, 0, &[control::leader_change(1, &[1], &[1])]).freeze()
    });
    let noise = proptest::collection::vec(any::<u8>(), 0..100).prop_map(Bytes::from);
    prop_oneof![valid, leader_change, noise, Just(Bytes::new())]
}

fn request() -> BoxedStrategy<Request> {
    let vote = (key(), edge_i32(), key(), edge_i32(), edge_i64(), any::<bool>()).prop_map(
        |(voter, epoch, candidate, last_epoch, last_offset, pre_vote)| {
            let voter = (voter.id >= 0).then_some(voter);
            Request::Vote(VoteRequest {
                cluster_id: None,
                voter,
                epoch,
                candidate,
                last_epoch,
                last_offset,
                pre_vote,
            })
        },
    );
    let begin =
        (edge_i32(), edge_i32(), endpoints()).prop_map(|(leader_id, leader_epoch, leader_endpoints)| {
            let cluster_id = None;
            let voter = None;
            Request::BeginQuorumEpoch(BeginQuorumEpochRequest {
                cluster_id,
                voter,
                leader_id,
                leader_epoch,
                leader_endpoints,
            })
        });
    let end = (edge_i32(), edge_i32(), proptest::collection::vec(key(), 0..4)).prop_map(
        |(leader_id, leader_epoch, preferred_candidates)| {
            let leader_endpoints = Vec::new();
            let cluster_id = None;
            Request::EndQuorumEpoch(EndQuorumEpochRequest {
                cluster_id,
                leader_id,
                leader_epoch,
                leader_endpoints,
                preferred_candidates,
            })
        },
    );
    let fetch = (key(), edge_i32(), edge_i32(), edge_i32(), edge_i64(), edge_i32()).prop_map(
        |(replica, max_wait_ms, max_bytes, current_leader_epoch, fetch_offset, last_fetched_epoch)| {
            Request::Fetch(FetchRequest {
                cluster_id: None,
                replica,
                max_wait_ms,
                max_bytes,
                current_leader_epoch,
                fetch_offset,
                last_fetched_epoch,
                high_watermark: -1,
            })
        },
    );
    let snapshot = (key(), edge_i32(), edge_i32(), position(), edge_i64()).prop_map(
        |(replica, max_bytes, current_leader_epoch, snapshot_id, position)| {
            Request::FetchSnapshot(FetchSnapshotRequest {
                cluster_id: None,
                replica,
                max_bytes,
                current_leader_epoch,
                snapshot_id,
                position,
            })
        },
    );
    prop_oneof![vote.boxed(), begin.boxed(), end.boxed(), fetch.boxed(), snapshot.boxed(), voter_change()]
        .boxed()
}

fn voter_change() -> BoxedStrategy<Request> {
    let add = (edge_i32(), key(), endpoints(), any::<bool>()).prop_map(
        |(timeout_ms, voter, endpoints, ack_when_committed)| {
            Request::AddVoter(AddVoterRequest {
                cluster_id: None,
                timeout_ms,
                voter,
                endpoints,
                ack_when_committed,
            })
        },
    );
    let remove = key().prop_map(|voter| Request::RemoveVoter(RemoveVoterRequest { cluster_id: None, voter }));
    let update = (edge_i32(), key(), endpoints()).prop_map(|(current_leader_epoch, voter, endpoints)| {
        Request::UpdateVoter(UpdateVoterRequest {
            cluster_id: None,
            current_leader_epoch,
            voter,
            endpoints,
            min_kraft_version: 0,
            max_kraft_version: 1,
        })
    });
    prop_oneof![add.boxed(), remove.boxed(), update.boxed()].boxed()
}

fn response() -> BoxedStrategy<Response> {
    let none = ErrorCode::NONE;
    let vote = (code(), leader(), any::<bool>()).prop_map(move |(error, leader, vote_granted)| {
        Response::Vote(VoteResponse { top_level_error: none, error, leader, vote_granted })
    });
    let fetch = (
        code(),
        leader(),
        edge_i64(),
        proptest::option::of(position()),
        proptest::option::of(position()),
        records(),
    )
        .prop_map(move |(error, leader, high_watermark, diverging_epoch, snapshot_id, records)| {
            Response::Fetch(FetchResponse {
                top_level_error: none,
                error,
                leader,
                high_watermark,
                log_start_offset: 0,
                diverging_epoch,
                snapshot_id,
                records,
            })
        });
    let snapshot = (code(), leader(), position(), edge_i64(), edge_i64(), records()).prop_map(
        move |(error, leader, snapshot_id, size, position, bytes)| {
            Response::FetchSnapshot(FetchSnapshotResponse {
                top_level_error: none,
                error,
                leader,
                snapshot_id,
                size,
                position,
                bytes,
            })
        },
    );
    let begin = (code(), leader()).prop_map(move |(error, leader)| {
        Response::BeginQuorumEpoch(QuorumEpochResponse { top_level_error: none, error, leader })
    });
    let versions = (any::<i16>(), any::<i16>()).prop_map(|(min, max)| Response::KRaftVersions { min, max });
    prop_oneof![1 => vote.boxed(), 3 => fetch.boxed(), 1 => snapshot.boxed(), 1 => begin.boxed(), 1 => versions.boxed()].boxed()
}

#[derive(Debug, Clone)]
enum Event {
    Request(Request),
    /// To the last request that was sent.
    Response(Response),
    Failure,
    Wait(i64),
}

fn event() -> BoxedStrategy<Event> {
    prop_oneof![
        request().prop_map(Event::Request),
        response().prop_map(Event::Response),
        Just(Event::Failure),
        (0..2500i64).prop_map(Event::Wait),
    ]
    .boxed()
}

fn start(voters: i32) -> (Node<MemoryLog>, Vec<Effect>) {
    let mut config = sole_config();
    config.directory_id = Uuid::from_u128(1);
    let voter = |id: i32| Voter {
        key: ReplicaKey { id, directory_id: None },
        endpoints: vec![Endpoint { name: "CONTROLLER".into(), host: "h".into(), port: id as u16 }],
        min_kraft_version: 0,
        max_kraft_version: 1,
    };
    config.static_voters = VoterSet::new((1..=voters).map(voter));
    Node::start(config, MemoryLog::default(), None, 0).unwrap()
}

#[test]
fn an_epoch_keeps_its_leader() {
    let (mut node, _) = start(3);
    let begin = BeginQuorumEpochRequest {
        cluster_id: None,
        voter: None,
        leader_id: 87,
        leader_epoch: 5,
        leader_endpoints: Vec::new(),
    };
    let request = Request::BeginQuorumEpoch(begin);
    node.step(Input::Request { id: 1, listener: "CONTROLLER".into(), request }, 0);
    assert_eq!((node.epoch(), node.leader_id()), (5, Some(87)), "known, though nobody says where it is");
    let effects = node.step(Input::Tick, 10_000);
    let asked = effects.iter().find_map(|effect| match effect {
        Effect::Send { id, request: Request::Vote(_), .. } => Some(*id),
        _ => None,
    });
    let endpoint = Endpoint { name: "CONTROLLER".into(), host: "h".into(), port: 2 };
    let answer = VoteResponse {
        top_level_error: ErrorCode::NONE,
        error: ErrorCode::FENCED_LEADER_EPOCH,
        leader: CurrentLeader { id: Some(2), epoch: 5, endpoint: Some(endpoint) },
        vote_granted: false,
    };
    node.step(Input::Response { id: asked.unwrap(), result: Ok(Response::Vote(answer)) }, 10_001);
    assert_eq!((node.epoch(), node.leader_id()), (5, Some(87)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn any_peer(voters in 1..4i32, events in proptest::collection::vec(event(), 1..50)) {
        let (mut node, mut effects) = start(voters);
        let (mut now, mut sent, mut state) = (0, None, QuorumState::default());
        for (id, event) in events.into_iter().enumerate() {
            for effect in effects {
                match effect {
                    Effect::Send { id, .. } => sent = Some(id),
                    Effect::PersistQuorumState(written) => {
                        prop_assert!(written.leader_epoch >= state.leader_epoch);
                        state = written;
                    }
                    _ => {}
                }
            }
            let input = match (event, sent) {
                (Event::Request(request), _) => {
                    Input::Request { id: id as u64, listener: "CONTROLLER".into(), request }
                }
                (Event::Response(response), Some(id)) => Input::Response { id, result: Ok(response) },
                (Event::Failure, Some(id)) => Input::Response { id, result: Err(SendError::Disconnected) },
                (Event::Wait(time), _) => {
                    now += time;
                    Input::Tick
                }
                _ => Input::Tick,
            };
            effects = node.step(input, now);
            // Only a leader that breaks the protocol itself may stop a node.
            let fault = effects.iter().find(|effect| matches!(effect, Effect::Fault(_)));
            if let Some(Effect::Fault(fault)) = fault {
                prop_assert!(matches!(fault, crate::Fault::TruncationBelowHighWatermark { .. }), "{fault}");
                return Ok(());
            }
        }
    }

    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        for batch in batch::batches(&bytes).flatten() {
            let _ = control::decode_batch(&batch);
        }
        if let Ok(text) = std::str::from_utf8(&bytes) {
            let _ = QuorumState::decode(text);
        }
    }
}
