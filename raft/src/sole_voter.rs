//! A quorum of one: leads at once, commits with its own flush.

use bytes::Bytes;
use uuid::Uuid;

use crate::batch;
use crate::control;
use crate::memory_log::MemoryLog;
use crate::{AppendError, Config, Effect, Endpoint, Input, Log, Node, QuorumState, ReplicaKey, RoleName};
use crate::{Voter, VoterSet};

pub(crate) fn sole_config() -> Config {
    let mut config = Config::new(1, Uuid::from_u128(7), "cluster", 1);
    let endpoint = Endpoint { name: "CONTROLLER".into(), host: "localhost".into(), port: 9093 };
    config.listeners = vec![endpoint.clone()];
    config.static_voters = VoterSet::new([Voter {
        key: ReplicaKey { id: 1, directory_id: None },
        endpoints: vec![endpoint],
        min_kraft_version: 0,
        max_kraft_version: 0,
    }]);
    config
}

#[test]
fn leads_at_once_and_commits() {
    let (mut node, effects) = Node::start(sole_config(), MemoryLog::default(), None, 1000).unwrap();
    assert_eq!((node.role(), node.epoch(), node.high_watermark()), (RoleName::Leader, 1, Some(1)));
    let states: Vec<String> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::PersistQuorumState(state) => Some(state.encode()),
            _ => None,
        })
        .collect();
    assert_eq!(
        states.last().unwrap(),
        r#"{"clusterId":"","leaderId":1,"leaderEpoch":1,"votedId":-1,"appliedOffset":0,"currentVoters":[{"voterId":1}],"data_version":0}"#
    );
    let tail: Vec<String> = effects.iter().rev().take(3).rev().map(|effect| format!("{effect:?}")).collect();
    assert_eq!(
        tail,
        ["LeaderChanged { leader_id: Some(1), epoch: 1 }", "HighWatermark(1)", "Leading { epoch: 1 }"]
    );
    let first = node.log().read(0, 1000).unwrap();
    let first = batch::batches(&first).next().unwrap().unwrap();
    let records = control::decode_batch(&first).unwrap();
    let expected = control::leader_change(1, &[1], &[1]);
    assert_eq!(records, [(0, expected)]);

    let values = |names: &[&'static str]| names.iter().map(|name| Bytes::from(*name)).collect();
    let batches = vec![values(&["a", "b"]), values(&["c"])];
    let effects = node.step(Input::Append { id: 5, epoch: 1, batches }, 1001);
    let seen: Vec<String> = effects.iter().map(|effect| format!("{effect:?}")).collect();
    assert_eq!(seen, ["Appended { id: 5, result: Ok(3) }", "HighWatermark(4)"]);

    let effects = node.step(Input::Append { id: 6, epoch: 0, batches: vec![] }, 1001);
    assert!(matches!(&effects[..], [Effect::Appended { id: 6, result: Err(AppendError::Fenced) }]));
}

#[test]
fn restarts_in_the_next_epoch() {
    let (node, effects) = Node::start(sole_config(), MemoryLog::default(), None, 0).unwrap();
    let state = effects.iter().rev().find_map(|effect| match effect {
        Effect::PersistQuorumState(state) => Some(QuorumState::decode(&state.encode()).unwrap()),
        _ => None,
    });
    let mut log = node.log().clone();
    log.crash();
    let (node, _) = Node::start(sole_config(), log, state, 10).unwrap();
    assert_eq!((node.role(), node.epoch(), node.high_watermark()), (RoleName::Leader, 2, Some(2)));
}
