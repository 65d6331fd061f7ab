//! The files of a replica's folder at open: segments, indexes, snapshots, leader epochs, and what a deletion or a
//! compaction left.
//!
//! Invariants, whatever the files hold: offsets stand in their order; after a recovery of everything, what is served
//! has right checksums and rising offsets; a record that is appended gets the log end for its offset, and is
//! there; after a recovery of everything and a clean stop the next open finds the same log.

use std::cell::RefCell;
use std::fs;
use std::hash::RandomState;
use std::path::Path;

use protocol::batch::{self, BatchBuilder, BatchHeader};
use storage::compaction::{self, CleanArgs};
use storage::{AppendArgs, AppendOrigin, Log, LogConfig, OpenArgs, ReadError};

use super::batches::repair;
use crate::scratch::with_folder;
use crate::source::Source;

const NOW_MS: i64 = 1_700_000_000_000;
/// Files in the folder; more teach nothing new.
const MAX_FILES: usize = 12;

/// Flags and checkpointed offsets, then files: kind, offset in the name, length, content.
pub(super) fn run(input: &[u8]) {
    let mut source = Source::new(input);
    let flags = source.byte();
    let log_start_offset = if flags & 2 == 0 { 0 } else { source.long().max(0) };
    // A negative one stands for a log that must not lose anything.
    let point = if flags & 4 == 0 { 0 } else { source.long() };
    let args = OpenArgs {
        log_start_offset,
        recovery_point: point.max(0),
        high_watermark: source.long(),
        clean_shutdown: flags & 1 != 0,
        durable_end: (point < 0).then(|| point.saturating_neg()),
        now_ms: NOW_MS,
    };
    with_folder(|dir| {
        for _ in 0..MAX_FILES {
            if source.is_empty() {
                break;
            }
            put_file(dir, &mut source, flags & 8 != 0);
        }
        open_and_use(dir, config(flags), args);
    });
}

fn config(flags: u8) -> LogConfig {
    LogConfig {
        segment_bytes: if flags & 16 == 0 { 1 << 30 } else { 512 },
        segment_index_bytes: if flags & 16 == 0 { 10 << 20 } else { 64 },
        index_interval_bytes: if flags & 32 == 0 { 4096 } else { 64 },
        cleanup_compact: flags & 64 != 0,
        retention_bytes: if flags & 128 == 0 { -1 } else { 1024 },
        ..LogConfig::default()
    }
}

fn put_file(dir: &Path, source: &mut Source<'_>, repaired: bool) {
    let kind = source.byte();
    let offset = source.long().max(0);
    let suffix = match kind % 8 {
        0 | 1 => ".log",
        2 => ".index",
        3 => ".timeindex",
        4 => ".txnindex",
        5 => ".snapshot",
        _ => "",
    };
    let mark = ["", "", "", "", ".swap", ".cleaned", ".deleted", ""][usize::from(kind >> 3) % 8];
    let name = match suffix {
        "" => "leader-epoch-checkpoint".to_owned(),
        suffix => format!("{offset:020}{suffix}{mark}"),
    };
    let mut content = source.piece().to_vec();
    if repaired && suffix == ".log" {
        repair(&mut content);
    }
    fs::write(dir.join(name), content).expect("a file in memory");
}

fn open_and_use(dir: &Path, config: LogConfig, args: OpenArgs) {
    let Ok((mut log, _)) = Log::open(dir, config.clone(), args) else { return };
    in_order(&log);
    let checked = !args.clean_shutdown && args.recovery_point == 0;
    read_all(&log, checked);
    look_up(&log);
    if !append(&mut log) {
        return;
    }
    if config.cleanup_compact {
        log = compact(log);
    } else {
        drop(log.apply_retention(NOW_MS).map(|doomed| doomed.remove()));
    }
    read_all(&log, checked);
    let end = log.log_end_offset();
    if let Ok(doomed) = log.truncate_to(end - 1) {
        let _ = doomed.remove();
        in_order(&log);
        assert!(log.log_end_offset() < end.max(1));
    }
    if !append(&mut log) {
        return;
    }
    reopen(dir, log, config, checked);
}

/// Stops cleanly, and opens again.
fn reopen(dir: &Path, mut log: Log, config: LogConfig, checked: bool) {
    let before = read_all(&log, checked);
    let (start, end) = (log.log_start_offset(), log.log_end_offset());
    if log.close().is_err() {
        return;
    }
    drop(log);
    let args = OpenArgs {
        log_start_offset: start,
        recovery_point: end,
        high_watermark: end,
        clean_shutdown: true,
        durable_end: None,
        now_ms: NOW_MS,
    };
    let (mut log, report) = Log::open(dir, config, args).expect("what was closed can be opened");
    let after = read_all(&log, checked);
    if checked {
        assert_eq!(report.wiped_at, None);
        assert_eq!((log.log_start_offset(), log.log_end_offset()), (start, end));
        assert_eq!(after, before, "a clean stop changes the log");
    }
    append(&mut log);
}

fn in_order(log: &Log) {
    let (start, high_watermark, end) = (log.log_start_offset(), log.high_watermark(), log.log_end_offset());
    assert!(0 <= start && start <= high_watermark && high_watermark <= end, "{start} {high_watermark} {end}");
    assert!(log.first_segment_base_offset() <= start);
    assert!(log.last_stable_offset() <= high_watermark);
    let epochs = log.leader_epochs();
    assert!(epochs.is_sorted_by(|a, b| a.epoch < b.epoch && a.start_offset < b.start_offset));
}

/// The base offsets of all batches. `checked`: all of them were checked when the log was opened.
fn read_all(log: &Log, checked: bool) -> Vec<i64> {
    let mut found = Vec::new();
    let mut offset = log.log_start_offset();
    while offset < log.log_end_offset() {
        let slice = match log.read(offset, 4096, log.log_end_offset(), true) {
            Ok(slice) if slice.len > 0 => slice,
            Ok(_) => break,
            Err(ReadError::Corrupt { .. }) if !checked => break,
            Err(e) => panic!("cannot read {offset}: {e}"),
        };
        let bytes = slice.read().expect("a file in memory");
        let before = offset;
        for batch in batch::batches(&bytes).map_while(Result::ok) {
            let Ok(header) = batch.header() else { break };
            if checked {
                batch::verify_crc(batch.bytes).expect("what is served was checked");
                assert!(header.base_offset >= offset || offset == before, "offsets rise");
                assert!(header.last_offset() >= offset && header.next_offset() <= log.log_end_offset());
            }
            found.push(header.base_offset);
            offset = offset.max(header.next_offset());
        }
        if offset == before {
            assert!(!checked, "a read at {offset} leads no further");
            break;
        }
    }
    found
}

/// Lookups answer or fail; what they find lies in the log.
fn look_up(log: &Log) {
    let (start, end) = (log.log_start_offset(), log.log_end_offset());
    for timestamp in [i64::MIN, 0, NOW_MS, i64::MAX] {
        if let Ok(Some(found)) = log.offset_for_timestamp(timestamp) {
            assert!(found.timestamp >= timestamp && found.offset >= start, "{found:?}");
        }
    }
    let _ = log.offset_of_max_timestamp();
    let _ = log.aborted_transactions(start, end);
    let _ = log.position_of(end.midpoint(start));
    for epoch in [0, 1, i32::MAX] {
        let _ = log.end_offset_for_epoch(epoch);
    }
}

/// Appends one record as leader; false if the log takes none (an IO error, or no offset is left).
fn append(log: &mut Log) -> bool {
    let end = log.log_end_offset();
    let mut builder = BatchBuilder::new(0);
    builder.push_pair(NOW_MS, Some(b"key"), Some(b"value"));
    let mut records = builder.build();
    let leader_epoch = log.latest_epoch().unwrap_or(0).max(0);
    let args = AppendArgs { leader_epoch, now_ms: NOW_MS, origin: AppendOrigin::Client };
    let Ok(info) = log.append_as_leader(&mut records, args) else {
        assert_eq!(log.log_end_offset(), end, "a failed append appends nothing");
        return false;
    };
    assert_eq!((info.first_offset, info.last_offset), (end, end));
    assert_eq!(log.log_end_offset(), end + 1);
    log.set_high_watermark(end + 1);
    in_order(log);
    let slice = log.read(end, 1, end + 1, true).expect("what was appended can be read");
    let bytes = slice.read().expect("a file in memory");
    let header = BatchHeader::parse(&bytes).expect("what was appended is a batch");
    assert_eq!((header.base_offset, bytes.len()), (end, records.len()));
    true
}

/// Cleans the log once, if there is something to clean.
fn compact(mut log: Log) -> Log {
    let _ = log.roll(NOW_MS);
    let Ok(Some(cleanable)) = log.cleanable(NOW_MS) else { return log };
    let log = RefCell::new(log);
    let keys = [RandomState::new(), RandomState::new()];
    let args = CleanArgs {
        now_ms: NOW_MS,
        memory_bytes: 64 * 1024,
        load_factor: 0.9,
        hashers: keys,
        stop: &|| false,
    };
    let mut doomed = storage::DoomedFiles::default();
    let before = log.borrow().log_end_offset();
    let _ = compaction::clean(|| log.borrow_mut(), &cleanable, args, &mut doomed);
    let _ = doomed.remove();
    let log = log.into_inner();
    assert_eq!(log.log_end_offset(), before, "compaction keeps the log end");
    in_order(&log);
    log
}
