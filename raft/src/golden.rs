//! Bytes that Apache Kafka wrote (`testdata/`, from 3.9.2 and 4.1.2), read and written again.

use bytes::Bytes;
use protocol::control::ControlRecord;

use crate::batch::{self, Batch};
use crate::memory_log::MemoryLog;
use crate::quorum_state::QuorumState;
use crate::replica::OffsetAndEpoch;
use crate::snapshot::{BOOTSTRAP_ID, file_name, parse_file_name};
use crate::sole_voter::sole_config;
use crate::voters::VoterSet;
use crate::{Log, Node, RoleName, control};

const STATES: &str = include_str!("../testdata/quorum-states.txt");
const CONTROL_BATCHES: &[u8] = include_bytes!("../testdata/control-batches.log");
const BOOTSTRAP: &[u8] = include_bytes!("../testdata/00000000000000000000-0000000000.checkpoint");

fn all(bytes: &[u8]) -> Vec<Batch<'_>> {
    batch::batches(bytes).map(Result::unwrap).collect()
}

#[test]
fn quorum_states() {
    for line in STATES.lines() {
        assert_eq!(QuorumState::decode(line).unwrap().encode(), line);
    }
}

#[test]
fn broken_quorum_states_are_refused() {
    let v1 = r#"{"leaderId":1,"leaderEpoch":1,"votedId":-1,"votedDirectoryId":"x","data_version":1}"#;
    for text in ["", "{}", "null", r#"{"data_version":2}"#, r#"{"data_version":0}"#, v1] {
        assert!(QuorumState::decode(text).is_err(), "{text}");
    }
}

#[test]
fn control_batches() {
    let batches = all(CONTROL_BATCHES);
    assert_eq!(batches.len(), 7);
    for batch in batches {
        let records: Vec<ControlRecord> =
            control::decode_batch(&batch).unwrap().into_iter().map(|(_, record)| remade(record)).collect();
        let time = batch.max_timestamp_ms();
        let again = control::encode_batch(batch.base_offset(), batch.epoch(), time, &records);
        assert_eq!(again, batch.bytes());
    }
}

/// The same record made by this crate's own functions.
fn remade(record: ControlRecord) -> ControlRecord {
    match record {
        ControlRecord::LeaderChange(record) => {
            let ids = |list: &[protocol::control::LeaderChangeVoter]| -> Vec<i32> {
                list.iter().map(|voter| voter.voter_id).collect()
            };
            control::leader_change(record.leader_id, &ids(&record.voters), &ids(&record.granting_voters))
        }
        ControlRecord::KRaftVoters(record) => control::voters(&control::voter_set(&record)),
        ControlRecord::KRaftVersion(record) => control::kraft_version(record.kraft_version),
        other => other,
    }
}

#[test]
fn bootstrap_snapshot() {
    let batches = all(BOOTSTRAP);
    let records = control::decode_batch(&batches[0]).unwrap();
    let [(_, ControlRecord::SnapshotHeader(header)), _, (_, ControlRecord::KRaftVoters(voters))] =
        &records[..]
    else {
        panic!("{records:?}")
    };
    let voters: VoterSet = control::voter_set(voters);
    let (time, contained) = (batches[0].max_timestamp_ms(), header.last_contained_log_timestamp);
    let mut again = control::snapshot_header_batch(0, time, contained, 1, Some(&voters)).to_vec();
    again.extend(control::snapshot_footer_batch(3, 0, batches[1].max_timestamp_ms()));
    assert_eq!(again, BOOTSTRAP);
}

/// `format --standalone`, then a first start: leader change, level and voters in one batch, as in Apache's log.
#[test]
fn first_batch_of_a_standalone_node() {
    let expected = all(CONTROL_BATCHES)[0];
    let records = control::decode_batch(&expected).unwrap();
    let Some((_, ControlRecord::KRaftVoters(voters))) = records.last() else { panic!("{records:?}") };
    let voters = control::voter_set(voters);
    let own = voters.get(1).unwrap();
    let mut config = sole_config();
    config.directory_id = own.key.directory_or_zero();
    config.static_voters = VoterSet::default();
    config.listeners = own.endpoints.clone();
    let mut log = MemoryLog::default();
    log.add_snapshot(BOOTSTRAP_ID, Bytes::from_static(BOOTSTRAP));
    let (node, effects) = Node::start(config, log, None, expected.max_timestamp_ms()).unwrap();
    assert_eq!(node.role(), RoleName::Leader);
    assert_eq!(node.log().read(0, 1 << 20).unwrap(), expected.bytes());
    let state = effects.iter().rev().find_map(|effect| match effect {
        crate::Effect::PersistQuorumState(state) => Some(state.encode()),
        _ => None,
    });
    assert!(STATES.lines().any(|line| Some(line) == state.as_deref()), "{state:?}");
}

#[test]
fn snapshot_names() {
    let id = OffsetAndEpoch { offset: 340, epoch: 4 };
    assert_eq!(file_name(id), "00000000000000000340-0000000004.checkpoint");
    assert_eq!(parse_file_name(&file_name(id)), Some(id));
    for name in
        ["bootstrap.checkpoint", "340-4.checkpoint", "00000000000000000340-0000000004.checkpoint.part"]
    {
        assert_eq!(parse_file_name(name), None, "{name}");
    }
}
