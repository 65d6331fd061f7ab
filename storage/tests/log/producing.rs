//! Producers, transactions and leader epochs through restarts and crashes.

use std::fs;

use bytes::BytesMut;
use minikafka_storage::names::FileKind;
use minikafka_storage::{AppendArgs, AppendError, AppendOrigin, LogConfig, OpenArgs};
use protocol::ErrorCode;
use protocol::batch::BatchBuilder;

use super::{LEADER, NOW, append, open};

const CRASH: OpenArgs = OpenArgs {
    log_start_offset: 0,
    recovery_point: 0,
    high_watermark: 0,
    clean_shutdown: false,
    durable_end: None,
    now_ms: NOW,
};

fn small() -> LogConfig {
    LogConfig { segment_bytes: 600, ..LogConfig::default() }
}

fn sequenced(sequence: i32, transactional: bool) -> BytesMut {
    let mut builder = BatchBuilder::new(0).producer(9, 0, sequence).transactional(transactional);
    for i in 0..2 {
        builder.push_pair(NOW + i, Some(b"k"), Some(b"v"));
    }
    builder.build()
}

fn marker(commit: bool) -> BytesMut {
    let mut builder = BatchBuilder::new(0).producer(9, 0, -1).transactional(true).control();
    let key = [0, 0, 0, u8::from(commit)];
    builder.push_pair(NOW, Some(&key), Some(&[0; 6]));
    builder.build()
}

#[test]
fn duplicates_get_their_first_offsets_before_and_after_a_crash() {
    let temp = super::temp_dir();
    let dir = temp.path().join("t-0");
    let (mut log, _) = open(&dir, &small(), OpenArgs::new_log(NOW));
    for i in 0..20 {
        let info = log.append_as_leader(&mut sequenced(i * 2, false), LEADER).unwrap();
        assert_eq!((info.first_offset, info.duplicate), (i64::from(i) * 2, false));
    }
    let again = |log: &mut minikafka_storage::Log, batches: std::ops::Range<i32>| {
        for i in batches {
            let info = log.append_as_leader(&mut sequenced(i * 2, false), LEADER).unwrap();
            assert!(info.duplicate, "batch {i}");
            assert_eq!(
                (info.first_offset, info.last_offset, info.bytes),
                (i64::from(i) * 2, i64::from(i) * 2 + 1, 0)
            );
        }
        let error = log.append_as_leader(&mut sequenced(44, false), LEADER).unwrap_err();
        assert_eq!(error.code(), ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, "{error}");
        assert_eq!(log.log_end_offset(), 40);
    };
    again(&mut log, 15..20);
    assert!(matches!(log.append_as_leader(&mut sequenced(28, false), LEADER), Err(AppendError::Producer(_))));
    drop(log);
    let (mut log, _) = open(&dir, &small(), CRASH);
    again(&mut log, 15..20);
    // A snapshot that was not synced is garbage after a power failure.
    for entry in fs::read_dir(&dir).unwrap() {
        let path = entry.unwrap().path();
        if path.extension() == Some("snapshot".as_ref()) {
            fs::write(path, [0; 30]).unwrap();
        }
    }
    drop(log);
    let (mut log, _) = open(&dir, &small(), CRASH);
    again(&mut log, 15..20);
    log.set_high_watermark(40);
    log.close().unwrap();
    let (mut log, _) = open(&dir, &small(), OpenArgs { high_watermark: 40, ..OpenArgs::new_log(NOW) });
    again(&mut log, 19..20);
    assert_eq!(log.append_as_leader(&mut sequenced(40, false), LEADER).unwrap().first_offset, 40);
    log.truncate_to(38).unwrap().remove().unwrap();
    assert_eq!(log.append_as_leader(&mut sequenced(38, false), LEADER).unwrap().first_offset, 38);
}

#[test]
fn transactions_bound_stable_reads_and_aborted_ones_are_listed() {
    let temp = super::temp_dir();
    let dir = temp.path().join("t-0");
    let (mut log, _) = open(&dir, &small(), OpenArgs::new_log(NOW));
    let coordinator = AppendArgs { origin: AppendOrigin::Coordinator, ..LEADER };
    append(&mut log, 1, 10);
    let mut sequence = 0;
    for round in 0..6 {
        let first = log.log_end_offset();
        log.append_as_leader(&mut sequenced(sequence, true), LEADER).unwrap();
        sequence += 2;
        assert_eq!(log.first_unstable_offset(), Some(first));
        log.append_as_leader(&mut marker(round % 2 == 0), coordinator).unwrap();
        assert_eq!(log.first_unstable_offset(), Some(first), "the marker is not replicated yet");
        log.set_high_watermark(log.log_end_offset());
        assert_eq!((log.first_unstable_offset(), log.last_stable_offset()), (None, log.high_watermark()));
    }
    log.append_as_leader(&mut sequenced(sequence, true), LEADER).unwrap();
    let end = log.log_end_offset();
    let expected: Vec<_> = [(4, 6), (10, 12), (16, 18)].into();
    let listed = |log: &minikafka_storage::Log, from, to| {
        let found = log.aborted_transactions(from, to).unwrap();
        found.iter().map(|txn| (txn.first_offset, txn.last_offset)).collect::<Vec<_>>()
    };
    assert_eq!(listed(&log, 0, end), expected);
    assert_eq!(listed(&log, 7, end), expected[1..]);
    assert_eq!(listed(&log, 0, 10), expected[..1]);
    drop(log);
    // The index is made anew by a recovery, also where it was damaged.
    for entry in fs::read_dir(&dir).unwrap() {
        let path = entry.unwrap().path();
        if path.extension() == Some("txnindex".as_ref()) {
            fs::write(path, [7; 40]).unwrap();
        }
    }
    let (mut log, _) = open(&dir, &small(), OpenArgs { high_watermark: end, ..CRASH });
    assert_eq!(listed(&log, 0, end), expected);
    assert_eq!(log.last_stable_offset(), 19, "one is still open");
    log.truncate_to(11).unwrap().remove().unwrap();
    assert_eq!(listed(&log, 0, end), expected[..1]);
    assert_eq!(log.last_stable_offset(), 10);
}

#[test]
fn a_damaged_epoch_file_is_made_anew_from_the_batches() {
    let temp = super::temp_dir();
    let dir = temp.path().join("t-0");
    let (mut log, _) = open(&dir, &small(), OpenArgs::new_log(NOW));
    for leader_epoch in [0, 0, 2, 5, 5, 9] {
        let mut builder = BatchBuilder::new(0);
        builder.push_pair(NOW, None, Some(&[1; 100]));
        log.append_as_leader(&mut builder.build(), AppendArgs { leader_epoch, ..LEADER }).unwrap();
    }
    log.set_high_watermark(6);
    log.close().unwrap();
    let epochs = log.leader_epochs().to_vec();
    assert_eq!(
        epochs.iter().map(|e| (e.epoch, e.start_offset)).collect::<Vec<_>>(),
        [(0, 0), (2, 2), (5, 3), (9, 5)]
    );
    let path = dir.join("leader-epoch-checkpoint");
    for damaged in ["", "0\n7\n0 0\n", "\u{0}\u{0}\u{0}"] {
        fs::write(&path, damaged).unwrap();
        let (log, _) = open(&dir, &small(), OpenArgs { high_watermark: 6, ..OpenArgs::new_log(NOW) });
        assert_eq!(log.leader_epochs(), epochs);
        assert_eq!(log.end_offset_for_epoch(3), Some((2, 3)));
    }
    fs::remove_file(&path).unwrap();
    let (log, _) = open(&dir, &small(), OpenArgs { high_watermark: 6, ..OpenArgs::new_log(NOW) });
    assert_eq!(log.leader_epochs(), epochs, "a missing one as well");
    fs::remove_file(&path).unwrap();
    let (log, _) = open(&dir, &small(), OpenArgs { high_watermark: 6, ..CRASH });
    assert_eq!(log.leader_epochs(), epochs, "a recovery finds them too");
    assert!(dir.join(FileKind::Log.name(0)).exists());
}
