//! The log from outside: against Kafka's own files, against a model, through crashes and failing disks.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "log/directories.rs"]
mod directories;
#[path = "log/failures.rs"]
mod failures;
#[path = "log/golden.rs"]
mod golden;
#[path = "log/model.rs"]
mod model;
#[path = "log/producing.rs"]
mod producing;
#[path = "log/reading.rs"]
mod reading;
#[path = "log/recovery.rs"]
mod recovery;
#[path = "log/trimming.rs"]
mod trimming;

use std::path::Path;

use bytes::BytesMut;
use minikafka_storage::{AppendArgs, AppendInfo, AppendOrigin, Log, LogConfig, OpenArgs, RecoveryReport};
use protocol::batch::BatchBuilder;

/// A folder in memory where there is such a file system: the tests sync a lot.
fn temp_dir() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap())
}

/// The time of the tests.
const NOW: i64 = 1_700_000_000_000;

const LEADER: AppendArgs = AppendArgs { leader_epoch: 0, now_ms: NOW, origin: AppendOrigin::Client };

/// A batch of `count` records with values of `size` bytes and timestamps from `timestamp` on.
fn batch(count: usize, size: usize, timestamp: i64) -> BytesMut {
    let mut builder = BatchBuilder::new(0);
    let value = vec![b'v'; size];
    for i in 0..count {
        builder.push_pair(timestamp + i as i64, Some(format!("k{i}").as_bytes()), Some(&value));
    }
    builder.build()
}

fn append(log: &mut Log, count: usize, size: usize) -> AppendInfo {
    let mut bytes = batch(count, size, NOW);
    log.append_as_leader(&mut bytes, LEADER).unwrap()
}

fn open(dir: &Path, config: &LogConfig, args: OpenArgs) -> (Log, RecoveryReport) {
    Log::open(dir, config.clone(), args).unwrap()
}

/// Everything from `from` to the log end, batch by batch of at most `max_bytes`.
fn read_all(log: &Log, from: i64, max_bytes: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut offset = from;
    while offset < log.log_end_offset() {
        let slice = log.read(offset, max_bytes, i64::MAX, true).unwrap();
        let chunk = slice.read().unwrap();
        assert_eq!(chunk.len(), slice.len);
        let mut whole = 0;
        for batch in protocol::batch::batches(&chunk) {
            let batch = batch.unwrap();
            let header = batch.header().unwrap();
            protocol::batch::verify_crc(batch.bytes).unwrap();
            assert!(header.last_offset() >= offset);
            assert!(
                header.base_offset < slice.upper_offset,
                "{} >= {}",
                header.base_offset,
                slice.upper_offset
            );
            offset = header.next_offset();
            whole = batch.position + batch.bytes.len();
        }
        if whole == 0 {
            break;
        }
        bytes.extend_from_slice(&chunk[..whole]);
    }
    bytes
}
