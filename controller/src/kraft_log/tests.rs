//! What the metadata log does with files that are not as it left them.

use std::fs::{self, OpenOptions};

use protocol::batch::BatchBuilder;
use raft::Log as _;

use super::*;

fn config() -> KraftLogConfig {
    KraftLogConfig { segment_bytes: 1 << 20, segment_ms: i64::MAX, durable: true, now_ms: || 0 }
}

/// Appends a batch of one record and syncs it; gives the size of the file.
fn append(log: &mut KraftLog) -> u64 {
    let mut batch = BatchBuilder::new(log.log_end_offset()).leader_epoch(1);
    batch.push_pair(0, None, Some(b"record"));
    log.append(&batch.build()).unwrap();
    log.flush().unwrap();
    log.sync().unwrap();
    log.size()
}

#[test]
fn what_was_synced_is_there_or_the_log_is_not_opened() {
    let temporary = tempfile::tempdir().unwrap();
    let mut log = KraftLog::open(temporary.path(), config()).unwrap();
    let sizes: Vec<u64> = (0..4).map(|_| append(&mut log)).collect();
    let path = log.dir().join("00000000000000000000.log");
    drop(log);
    let good = fs::read(&path).unwrap();
    for len in [sizes[2], sizes[2] + 1, sizes[0] - 1, 0] {
        OpenOptions::new().write(true).open(&path).unwrap().set_len(len).unwrap();
        // Once refused, it is refused again.
        for _ in 0..2 {
            let error = KraftLog::open(temporary.path(), config()).unwrap_err();
            assert!(matches!(error, OpenError::Damaged(_)), "{error}");
            assert!(error.to_string().starts_with("the metadata log cannot be used"), "{error}");
            assert_eq!(fs::metadata(&path).unwrap().len(), len);
        }
        fs::write(&path, &good).unwrap();
    }
    // A write that was under way and never synced is cut off.
    fs::write(&path, [&good[..], &good[..30]].concat()).unwrap();
    let mut log = KraftLog::open(temporary.path(), config()).unwrap();
    assert_eq!(log.log_end_offset(), 4);
    append(&mut log);
}

#[test]
fn a_log_that_was_cut_on_purpose_is_opened() {
    let temporary = tempfile::tempdir().unwrap();
    let mut log = KraftLog::open(temporary.path(), config()).unwrap();
    for _ in 0..4 {
        append(&mut log);
    }
    log.truncate_to(2).unwrap();
    drop(log);
    let mut log = KraftLog::open(temporary.path(), config()).unwrap();
    assert_eq!(log.log_end_offset(), 2);
    let id = OffsetAndEpoch { offset: 1, epoch: 1 };
    log.start_snapshot(id).unwrap();
    log.install_snapshot(id).unwrap();
    drop(log);
    assert_eq!(KraftLog::open(temporary.path(), config()).unwrap().log_end_offset(), 1);
}

#[test]
fn a_number_that_cannot_be_read_is_written_anew() {
    let temporary = tempfile::tempdir().unwrap();
    let mut log = KraftLog::open(temporary.path(), config()).unwrap();
    append(&mut log);
    let path = log.dir().join("recovery-point-offset-checkpoint");
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(text, "0\n1\n__cluster_metadata 0 00000000000000000001\n");
    drop(log);
    fs::write(&path, "7".repeat(100)).unwrap();
    let mut log = KraftLog::open(temporary.path(), config()).unwrap();
    append(&mut log);
    assert_eq!(fs::read_to_string(&path).unwrap(), text.replace("00001\n", "00002\n"));
}
