//! What is left after a crash, and after a disk changed what was written.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use minikafka_storage::names::FileKind;
use minikafka_storage::{Log, LogConfig, OpenArgs, OpenError, RecoveryReport};
use protocol::ErrorCode;
use protocol::batch::BatchBuilder;

use super::{NOW, append, batch, open, read_all};

fn config() -> LogConfig {
    LogConfig { segment_bytes: 3000, index_interval_bytes: 300, ..LogConfig::default() }
}

/// A log with batches of two records and 271 bytes, over several segments, not closed.
fn written(temp: &Path) -> (PathBuf, Vec<u8>, usize) {
    let dir = temp.join("t-0");
    let (mut log, _) = open(&dir, &config(), OpenArgs::new_log(NOW));
    for _ in 0..27 {
        append(&mut log, 2, 90);
    }
    let all = read_all(&log, 0, 1 << 20);
    (dir, all, batch(2, 90, NOW).len())
}

fn crashed(dir: &Path, recovery_point: i64) -> (Log, RecoveryReport) {
    open(dir, &config(), OpenArgs { recovery_point, clean_shutdown: false, ..OpenArgs::new_log(NOW) })
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let mut logs: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .collect();
    logs.sort();
    logs
}

#[test]
fn a_torn_tail_is_cut_off_wherever_it_tore() {
    let temp = super::temp_dir();
    let (dir, all, size) = written(temp.path());
    let active = segments(&dir).pop().unwrap();
    let good = fs::read(&active).unwrap();
    for cut in [1, 30, 61, 62, size / 2, size - 1] {
        let mut torn = good.clone();
        torn.truncate(good.len() - size + cut);
        fs::write(&active, &torn).unwrap();
        let (log, report) = crashed(&dir, 0);
        assert_eq!(report.torn_bytes, cut as u64);
        assert_eq!(report.quarantined, []);
        assert_eq!(log.log_end_offset(), 52);
        assert_eq!(read_all(&log, 0, 1000), all[..all.len() - size]);
    }
    // Zeros, garbage and a half-written batch of garbage after good batches are no batches either.
    for tail in [vec![0; 5000], vec![0xff; 777], good[10..150].to_vec()] {
        let mut torn = good.clone();
        torn.extend_from_slice(&tail);
        fs::write(&active, &torn).unwrap();
        let (log, report) = crashed(&dir, 0);
        assert_eq!((report.torn_bytes, log.log_end_offset()), (tail.len() as u64, 54));
        assert_eq!(read_all(&log, 0, 1000), all);
        assert!(!report.proved_loss);
    }
}

#[test]
fn appends_go_on_after_a_recovery() {
    let temp = super::temp_dir();
    let (dir, all, _) = written(temp.path());
    let (mut log, report) = crashed(&dir, 0);
    assert_eq!(report.scanned_segments, segments(&dir).len());
    let info = append(&mut log, 2, 90);
    assert_eq!(info.first_offset, 54);
    assert!(read_all(&log, 0, 1000).starts_with(&all));
    log.set_high_watermark(56);
    log.close().unwrap();
    let (log, report) = open(&dir, &config(), OpenArgs { high_watermark: 56, ..OpenArgs::new_log(NOW) });
    assert_eq!(report, RecoveryReport::default());
    assert_eq!(log.log_end_offset(), 56);
}

#[test]
fn only_segments_from_the_recovery_point_on_are_scanned() {
    let temp = super::temp_dir();
    let (dir, ..) = written(temp.path());
    let (log, report) = crashed(&dir, 45);
    assert_eq!(report.scanned_segments, 1);
    assert_eq!(log.recovery_point(), 45);
}

#[test]
fn damage_in_the_middle_is_taken_out_and_kept_aside() {
    let temp = super::temp_dir();
    let (dir, all, size) = written(temp.path());
    // In the first of several segments: a flipped bit in the records of the third batch.
    let first = &segments(&dir)[0];
    let mut bytes = fs::read(first).unwrap();
    bytes[2 * size + 100] ^= 4;
    fs::write(first, &bytes).unwrap();
    let (log, report) = crashed(&dir, 0);
    let [damage] = &report.quarantined[..] else { panic!("{report:?}") };
    assert_eq!((damage.first_offset, damage.next_offset, damage.bytes), (4, 6, size as u64));
    assert_eq!(fs::read(&damage.file).unwrap(), bytes[2 * size..3 * size]);
    let expected = [&all[..2 * size], &all[3 * size..]].concat();
    assert_eq!(read_all(&log, 0, 1000), expected, "nothing else is lost, nothing bad is served");
    let slice = log.read(4, 1, i64::MAX, true).unwrap();
    assert_eq!(slice.read().unwrap()[..8], 6_i64.to_be_bytes(), "goes on behind the gap");
    drop(log);
    let (log, report) = crashed(&dir, 0);
    assert_eq!(report.quarantined, [], "done once");
    assert_eq!(log.log_end_offset(), 54);
}

#[test]
fn damage_at_the_end_of_a_sealed_segment_costs_no_later_segment() {
    let temp = super::temp_dir();
    let (dir, all, size) = written(temp.path());
    let first = &segments(&dir)[0];
    let len = fs::metadata(first).unwrap().len() as usize;
    let mut bytes = fs::read(first).unwrap();
    bytes[len - 1] ^= 1;
    fs::write(first, &bytes).unwrap();
    let (log, report) = crashed(&dir, 0);
    assert_eq!((report.torn_bytes, report.quarantined.len()), (0, 1));
    assert_eq!(read_all(&log, 0, 1000), [&all[..len - size], &all[len..]].concat());
}

#[test]
fn a_bad_tail_below_the_recovery_point_was_not_torn() {
    let temp = super::temp_dir();
    let (dir, all, size) = written(temp.path());
    let active = segments(&dir).pop().unwrap();
    let mut bytes = fs::read(&active).unwrap();
    let len = bytes.len();
    bytes[len - 1] ^= 1;
    fs::write(&active, &bytes).unwrap();
    let (log, report) = crashed(&dir, 54);
    assert_eq!((report.torn_bytes, report.quarantined.len(), report.proved_loss), (0, 1, true));
    assert_eq!(read_all(&log, 0, 1000), all[..all.len() - size]);
}

#[test]
fn a_flipped_offset_condemns_its_own_batch_only() {
    let temp = super::temp_dir();
    let (dir, all, size) = written(temp.path());
    let first = &segments(&dir)[0];
    for byte in [6, 7] {
        let good = fs::read(first).unwrap();
        let mut bytes = good.clone();
        // Batch 3 has base offset 6: 262 or 4 afterwards, with the right checksum.
        bytes[3 * size + byte] ^= if byte == 6 { 1 } else { 2 };
        fs::write(first, &bytes).unwrap();
        let (log, report) = crashed(&dir, 0);
        let [damage] = &report.quarantined[..] else { panic!("{report:?}") };
        assert_eq!((damage.first_offset, damage.next_offset), (6, 8));
        assert_eq!(read_all(&log, 0, 1000), [&all[..3 * size], &all[4 * size..]].concat());
        drop(log);
        fs::write(first, &good).unwrap();
    }
}

/// Reads that begin at each offset give its batch, or an error where it is damaged.
fn assert_readable(log: &Log, all: &[u8], size: usize, damaged: Range<i64>) {
    for offset in 0..54 {
        match log.read(offset, 1, i64::MAX, true) {
            Ok(slice) => {
                assert!(!damaged.contains(&offset), "offset {offset} is given out");
                assert_eq!(
                    slice.read().unwrap(),
                    all[offset as usize / 2 * size..][..size],
                    "offset {offset}"
                );
            }
            Err(error) => {
                assert_eq!(error.code(), ErrorCode::CORRUPT_MESSAGE, "offset {offset}");
                assert!(damaged.contains(&offset), "offset {offset}: {error}");
            }
        }
    }
}

#[test]
fn a_header_that_was_changed_on_the_disk_is_not_given_out_and_costs_no_other_batch() {
    let temp = super::temp_dir();
    let (dir, all, size) = written(temp.path());
    let first = &segments(&dir)[0];
    let good = fs::read(first).unwrap();
    let last = good.len() / size - 1;
    // Bytes 0 to 7 are the base offset, 8 to 11 the length, 16 is the magic byte.
    let flips = [(3, 7, 1), (3, 7, 2), (3, 6, 1), (3, 0, 0x80), (3, 0, 1), (3, 8, 1), (3, 10, 2), (3, 11, 1)];
    let others = [(3, 16, 2), (0, 7, 4), (0, 9, 1), (1, 7, 2), (last, 6, 1), (last, 11, 8), (last, 16, 1)];
    for (batch, byte, bit) in flips.into_iter().chain(others) {
        let mut bytes = good.clone();
        bytes[batch * size + byte] ^= bit;
        fs::write(first, &bytes).unwrap();
        let damaged = 2 * batch as i64..2 * batch as i64 + 2;
        // Nothing in the sealed segment is looked at when the log is opened.
        let (log, report) = crashed(&dir, 50);
        assert_eq!((report.scanned_segments, report.quarantined.len()), (1, 0));
        assert_readable(&log, &all, size, damaged.clone());
        // A long read ends before the damage; the next one tells of it.
        match log.read(0, 1 << 20, i64::MAX, true) {
            Ok(slice) => assert_eq!(slice.read().unwrap(), all[..batch * size], "{batch} {byte} {bit}"),
            Err(error) => assert_eq!((batch, error.code()), (0, ErrorCode::CORRUPT_MESSAGE)),
        }
        assert_readable(&log, &all, size, damaged);
        drop(log);
        fs::write(first, &good).unwrap();
    }
}

#[test]
fn a_log_that_must_not_lose_anything_is_not_opened_without_it() {
    let temp = super::temp_dir();
    let (dir, _, size) = written(temp.path());
    let durable = |durable_end| OpenArgs {
        durable_end: Some(durable_end),
        clean_shutdown: false,
        ..OpenArgs::new_log(NOW)
    };
    let logs = segments(&dir);
    let (first, active) = (&logs[0], logs.last().unwrap());
    let (sealed, tail) = (fs::read(first).unwrap(), fs::read(active).unwrap());
    assert!(tail.len() >= 2 * size, "the active segment has several batches");
    let active_base = 54 - (tail.len() / size) as i64 * 2;
    let flipped = |bytes: &[u8], at: usize| {
        let mut bytes = bytes.to_vec();
        bytes[at] ^= 1;
        bytes
    };
    let refused = |path: &Path, bytes: &[u8], durable_end: i64, first_missing: i64| {
        let good = fs::read(path).unwrap();
        fs::write(path, bytes).unwrap();
        for _ in 0..2 {
            let result = Log::open(&dir, config(), durable(durable_end));
            let Err(OpenError::Damaged { first_offset, .. }) = result else { panic!("{result:?}") };
            assert_eq!(first_offset, first_missing);
            assert_eq!(fs::read(path).unwrap(), bytes, "nothing was changed");
        }
        fs::write(path, good).unwrap();
    };
    refused(active, &tail[..tail.len() - 10], 54, 52);
    refused(active, &tail[..tail.len() - size], 54, 52);
    refused(active, &flipped(&tail, tail.len() - 1), 54, 52);
    // Even where nothing is known to have been on the disk.
    refused(active, &flipped(&tail, 100), 0, active_base);
    refused(first, &flipped(&sealed, 3 * size + 100), 0, 6);
    refused(first, &sealed[..sealed.len() - size], 0, (sealed.len() / size) as i64 * 2 - 2);
    // What was not on the disk yet may be torn.
    fs::write(active, &tail[..tail.len() - 10]).unwrap();
    let (log, report) = open(&dir, &config(), durable(52));
    assert_eq!((log.log_end_offset(), report.torn_bytes), (52, size as u64 - 10));
}

#[test]
fn producers_behind_damage_are_known() {
    let temp = super::temp_dir();
    let dir = temp.path().join("t-0");
    let (mut log, _) = open(&dir, &config(), OpenArgs::new_log(NOW));
    let mut size = 0;
    for producer_id in 1..=27 {
        let mut builder = BatchBuilder::new(0).producer(producer_id, 0, 0);
        builder.push_pair(NOW, None, Some(&[b'x'; 150]));
        let mut bytes = builder.build();
        log.append_as_leader(&mut bytes, super::LEADER).unwrap();
        size = bytes.len();
    }
    drop(log);
    for path in fs::read_dir(&dir).unwrap().map(|e| e.unwrap().path()) {
        if path.extension().is_some_and(|e| e == "snapshot") {
            fs::remove_file(path).unwrap();
        }
    }
    let first = &segments(&dir)[0];
    let mut bytes = fs::read(first).unwrap();
    // The length of the third batch.
    bytes[2 * size + 10] ^= 1;
    fs::write(first, bytes).unwrap();
    let (log, _) = crashed(&dir, 26);
    assert_eq!(log.producers().len(), 26, "all but the one whose batch is damaged");
}

#[test]
fn missing_files_are_made_anew_and_strays_removed() {
    let temp = super::temp_dir();
    let (dir, all, _) = written(temp.path());
    let (mut log, _) = crashed(&dir, 0);
    log.set_high_watermark(54);
    log.close().unwrap();
    drop(log);
    fs::remove_file(dir.join(FileKind::Index.name(0))).unwrap();
    let active = segments(&dir).pop().unwrap();
    fs::remove_file(active.with_extension("index")).unwrap();
    for stray in
        ["00000000000000099999.index", "00000000000000000000.log.deleted", "00000000000000000000.log.cleaned"]
    {
        fs::write(dir.join(stray), "x").unwrap();
    }
    let (log, report) = open(&dir, &config(), OpenArgs { high_watermark: 54, ..OpenArgs::new_log(NOW) });
    assert_eq!((report.removed_files, report.scanned_segments), (3, 1));
    assert_eq!(read_all(&log, 0, 1000), all);
    assert!(!dir.join("00000000000000099999.index").exists());
    assert!(fs::metadata(dir.join(FileKind::Index.name(0))).unwrap().len() > 0);
}

/// A file with a segment's name that begins below the log's end, after a clean stop and after a crash.
#[test]
fn a_last_segment_that_is_not_of_this_log_hides_nothing() {
    for (clean_shutdown, content) in
        [(true, vec![]), (true, vec![0xee; 700]), (false, vec![]), (false, vec![0xee; 700])]
    {
        let temp = super::temp_dir();
        let dir = temp.path().join("t-0");
        let whole = LogConfig { segment_bytes: 1 << 20, ..config() };
        let (mut log, _) = open(&dir, &whole, OpenArgs::new_log(NOW));
        for _ in 0..27 {
            append(&mut log, 2, 90);
        }
        let all = read_all(&log, 0, 1 << 20);
        log.set_high_watermark(54);
        log.close().unwrap();
        drop(log);
        fs::write(dir.join(FileKind::Log.name(20)), &content).unwrap();
        let args = OpenArgs { clean_shutdown, high_watermark: 54, ..OpenArgs::new_log(NOW) };
        let (mut log, report) = open(&dir, &whole, args);
        assert_eq!((log.log_end_offset(), log.high_watermark()), (54, 54), "{clean_shutdown}");
        assert_eq!(report.quarantined.len(), usize::from(!content.is_empty()));
        assert!(report.quarantined.iter().all(|q| fs::read(&q.file).unwrap() == content));
        assert!(!report.proved_loss);
        assert_eq!(append(&mut log, 2, 90).first_offset, 54);
        assert!(read_all(&log, 0, 1000).starts_with(&all));
        assert_eq!(segments(&dir).len(), 1);
    }
}

/// The last segment is this log's; what the one before it says to hold of its offsets is not.
#[test]
fn segments_that_overlap_are_not_believed_after_a_clean_stop() {
    let temp = super::temp_dir();
    let (dir, all, size) = written(temp.path());
    let (mut log, _) = crashed(&dir, 0);
    log.set_high_watermark(54);
    log.close().unwrap();
    drop(log);
    let sealed = segments(&dir).into_iter().rev().nth(1).unwrap();
    let mut bytes = fs::read(&sealed).unwrap();
    let last = bytes.len() - size;
    protocol::batch::patch_base_offset(&mut bytes[last..], 53);
    fs::write(&sealed, &bytes).unwrap();
    let (mut log, report) = open(&dir, &config(), OpenArgs { high_watermark: 54, ..OpenArgs::new_log(NOW) });
    assert_eq!(log.log_end_offset(), 54);
    assert_eq!(report.quarantined.len(), 1);
    assert_eq!(append(&mut log, 2, 90).first_offset, 54);
    let read = read_all(&log, 0, 1000);
    assert_eq!(read.len(), all.len(), "one batch less, one more");
}

#[test]
fn offsets_end_before_they_cannot_be_counted() {
    let temp = super::temp_dir();
    let dir = temp.path().join("t-0");
    let args = OpenArgs {
        log_start_offset: i64::MAX,
        recovery_point: i64::MIN,
        high_watermark: i64::MAX,
        ..OpenArgs::new_log(NOW)
    };
    let (mut log, _) = open(&dir, &config(), args);
    assert_eq!((log.log_start_offset(), log.log_end_offset()), (i64::MAX - 1, i64::MAX - 1));
    assert!(log.append_as_leader(&mut batch(1, 1, NOW), super::LEADER).is_err(), "no offset is left");
    drop(log);
    // A batch that says that it lies there is damaged; a segment with such a name is none of ours.
    fs::remove_dir_all(&dir).unwrap();
    let (dir, ..) = written(temp.path());
    let active = segments(&dir).pop().unwrap();
    let good = fs::read(&active).unwrap();
    let mut last = batch(2, 90, NOW);
    protocol::batch::patch_base_offset(&mut last, i64::MAX - 2);
    fs::write(&active, [&good[..], &last].concat()).unwrap();
    fs::write(dir.join(format!("{}.log", i64::MAX)), b"").unwrap();
    let (mut log, report) = crashed(&dir, 0);
    assert_eq!((report.torn_bytes, log.log_end_offset()), (last.len() as u64, 54));
    assert_eq!(append(&mut log, 1, 1).first_offset, 54);
}

#[test]
fn a_log_that_ends_below_its_start_is_emptied() {
    let temp = super::temp_dir();
    let (dir, ..) = written(temp.path());
    let args = OpenArgs { log_start_offset: 100, clean_shutdown: false, ..OpenArgs::new_log(NOW) };
    let (mut log, report) = open(&dir, &config(), args);
    assert_eq!((report.wiped_at, report.proved_loss), (Some(54), true));
    assert_eq!((log.log_start_offset(), log.log_end_offset()), (100, 100));
    assert_eq!(append(&mut log, 1, 1).first_offset, 100);
}

#[test]
fn a_compaction_that_was_decided_is_completed() {
    let temp = super::temp_dir();
    let (dir, all, size) = written(temp.path());
    // The first two segments were compacted into one that keeps the first and the last batch.
    let logs = segments(&dir);
    let two = (fs::metadata(&logs[0]).unwrap().len() + fs::metadata(&logs[1]).unwrap().len()) as usize;
    let kept = [&all[..size], &all[two - size..two]].concat();
    fs::write(dir.join("00000000000000000000.log.swap"), &kept).unwrap();
    let (log, report) = open(&dir, &config(), OpenArgs::new_log(NOW));
    assert!(report.removed_files >= 4, "{report:?}");
    assert_eq!(read_all(&log, 0, 1000), [&kept[..], &all[two..]].concat());
    assert!(!logs[1].exists());
}
