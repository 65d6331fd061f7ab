//! Reads by offset and by time.

use std::fs;

use minikafka_storage::log::TimestampOffset;
use minikafka_storage::names::FileKind;
use minikafka_storage::{LogConfig, OpenArgs, ReadError};
use protocol::batch::{BatchBuilder, BatchHeader};
use protocol::compress::Codec;

use super::{LEADER, NOW, append, batch, open, read_all};

fn small() -> LogConfig {
    LogConfig { segment_bytes: 20_000, index_interval_bytes: 500, ..LogConfig::default() }
}

#[test]
fn every_offset_is_found_in_every_segment_before_and_after_a_restart() {
    let temp = super::temp_dir();
    let dir = temp.path().join("t-0");
    let (mut log, _) = open(&dir, &small(), OpenArgs::new_log(NOW));
    let mut bases = Vec::new();
    for i in 0..400 {
        let info = append(&mut log, 1 + i % 5, 20 + i % 90);
        bases.extend((info.first_offset..=info.last_offset).map(|_| info.first_offset));
    }
    assert_eq!(log.log_end_offset(), bases.len() as i64);
    let all = read_all(&log, 0, 1000);
    for round in 0..2 {
        for (offset, base) in bases.iter().enumerate() {
            let slice = log.read(offset as i64, 200, i64::MAX, true).unwrap();
            let header = BatchHeader::parse(&slice.read().unwrap()).unwrap();
            assert_eq!(header.base_offset, *base, "offset {offset}");
        }
        log.set_high_watermark(log.log_end_offset());
        log.close().unwrap();
        let args = OpenArgs { high_watermark: log.log_end_offset(), ..OpenArgs::new_log(NOW) };
        let (again, report) = open(&dir, &small(), args);
        assert_eq!((report, round), (Default::default(), round));
        log = again;
        assert_eq!(log.log_end_offset(), bases.len() as i64);
        assert_eq!(read_all(&log, 0, 1 << 20), all);
        log.release_sealed().unwrap();
    }
}

#[test]
fn bounds_and_limits_are_kafkas() {
    let temp = super::temp_dir();
    let (mut log, _) = open(&temp.path().join("t-0"), &LogConfig::default(), OpenArgs::new_log(NOW));
    let size = batch(2, 100, NOW).len();
    for _ in 0..100 {
        append(&mut log, 2, 100);
    }
    let len = |offset, max, bound, one| log.read(offset, max, bound, one).unwrap().len;
    assert_eq!(len(10, usize::MAX, 20, false), 5 * size);
    assert_eq!(len(11, usize::MAX, 20, false), 5 * size, "the batch that holds 11 comes whole");
    assert_eq!(len(10, usize::MAX, 10, true), 0, "at the bound: empty");
    assert_eq!(len(12, usize::MAX, 10, true), 0, "between bound and end: empty");
    assert_eq!(len(200, 100, i64::MAX, true), 0, "at the end: empty");
    assert_eq!(len(10, size + 7, 200, false), size + 7, "may end within a batch");
    assert_eq!(len(10, size - 1, 200, false), 0, "not the piece of a first batch");
    assert_eq!(len(10, 7, 200, true), size, "at least one whole batch");
    assert_eq!(len(10, 0, 200, false), 0);
    assert!(matches!(
        log.read(201, 1, i64::MAX, true),
        Err(ReadError::OutOfRange { log_end_offset: 200, .. })
    ));
    log.set_high_watermark(200);
    assert!(log.advance_log_start(50).unwrap());
    assert!(matches!(
        log.read(49, 1, i64::MAX, true),
        Err(ReadError::OutOfRange { log_start_offset: 50, .. })
    ));
    let position = |offset| log.position_of(offset).unwrap().position;
    assert_eq!(position(60), 30 * size as u64);
    assert_eq!(position(200), 100 * size as u64);
}

#[test]
fn slices_stay_readable_when_the_log_goes_on() {
    let temp = super::temp_dir();
    let (mut log, _) = open(&temp.path().join("t-0"), &small(), OpenArgs::new_log(NOW));
    append(&mut log, 3, 50);
    let slice = log.read(0, 1 << 20, i64::MAX, true).unwrap();
    let before = slice.read().unwrap();
    append(&mut log, 3, 50);
    log.set_high_watermark(6);
    log.roll(NOW).unwrap();
    log.advance_log_start(6).unwrap();
    let doomed = log.apply_retention(NOW).unwrap();
    assert!(!doomed.is_empty());
    doomed.remove().unwrap();
    assert_eq!(slice.read().unwrap(), before);
}

#[test]
fn offsets_are_found_by_timestamp_within_batches() {
    let temp = super::temp_dir();
    let dir = temp.path().join("t-0");
    let (mut log, _) = open(&dir, &small(), OpenArgs::new_log(NOW));
    // Record i has timestamp NOW + 10 * i, in batches of four, of every codec, over several segments.
    let codecs = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];
    let noise: Vec<u8> = (0..400_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for i in (0..400).step_by(4) {
        let mut builder = BatchBuilder::new(0).codec(codecs[i / 4 % 5], None);
        for j in 0..4 {
            builder.push_pair(NOW + 10 * (i + j) as i64, None, Some(&noise[..300 + i % 100]));
        }
        log.append_as_leader(&mut builder.build(), LEADER).unwrap();
    }
    assert!(fs::read_dir(&dir).unwrap().count() > 10, "several segments");
    for i in 0..400_i64 {
        let expected = Some(TimestampOffset { timestamp: NOW + 10 * i, offset: i, leader_epoch: 0 });
        assert_eq!(log.offset_for_timestamp(NOW + 10 * i).unwrap(), expected);
        assert_eq!(log.offset_for_timestamp(NOW + 10 * i - 9).unwrap(), expected);
    }
    assert_eq!(log.offset_for_timestamp(NOW + 3991).unwrap(), None);
    assert_eq!(log.offset_of_max_timestamp().unwrap().map(|found| found.offset), Some(399));
    log.set_high_watermark(400);
    log.advance_log_start(102).unwrap();
    assert_eq!(log.offset_for_timestamp(0).unwrap().map(|found| found.offset), Some(102));
}

#[test]
fn the_largest_timestamp_need_not_be_the_last() {
    let temp = super::temp_dir();
    let (mut log, _) = open(&temp.path().join("t-0"), &small(), OpenArgs::new_log(NOW));
    assert_eq!(log.offset_of_max_timestamp().unwrap(), None);
    for timestamp in [NOW + 5, NOW + 90, NOW + 7, NOW + 90] {
        log.append_as_leader(&mut batch(1, 30, timestamp), LEADER).unwrap();
    }
    assert_eq!(log.offset_of_max_timestamp().unwrap().map(|found| found.offset), Some(1));
    assert_eq!(log.offset_for_timestamp(NOW + 6).unwrap().map(|found| found.offset), Some(1));
}

#[test]
fn a_batch_of_log_append_time_has_one_timestamp() {
    let temp = super::temp_dir();
    let (mut log, _) = open(&temp.path().join("t-0"), &small(), OpenArgs::new_log(NOW));
    let mut builder = BatchBuilder::new(0).append_time(NOW + 77);
    for i in 0..3 {
        builder.push_pair(i, None, Some(b"v"));
    }
    let info = log.append_as_leader(&mut builder.build(), LEADER).unwrap();
    assert_eq!(info.log_append_time, NOW + 77);
    let expected = TimestampOffset { timestamp: NOW + 77, offset: 0, leader_epoch: 0 };
    assert_eq!(log.offset_for_timestamp(NOW + 1).unwrap(), Some(expected));
}

#[test]
fn garbled_indexes_are_found_out_and_written_anew() {
    let temp = super::temp_dir();
    let dir = temp.path().join("t-0");
    let (mut log, _) = open(&dir, &small(), OpenArgs::new_log(NOW));
    for i in 0..300 {
        log.append_as_leader(&mut batch(1, 100, NOW + i * 10), LEADER).unwrap();
    }
    log.set_high_watermark(300);
    log.close().unwrap();
    drop(log);
    let paths = [FileKind::Index, FileKind::TimeIndex].map(|kind| dir.join(kind.name(0)));
    let good = paths.clone().map(|path| fs::read(path).unwrap());
    type Garble = fn(&mut Vec<u8>);
    let ways: [(&str, Garble); 7] = [
        ("flipped low bits", |bytes| bytes.iter_mut().skip(7).step_by(8).for_each(|b| *b ^= 0x15)),
        ("one entry off", |bytes| {
            let at = bytes.len() / 24 * 12;
            bytes[at + 7] ^= 1;
        }),
        ("cut off", |bytes| bytes.truncate(bytes.len() - 5)),
        ("empty", Vec::clear),
        ("zeros", |bytes| bytes.fill(0)),
        ("ones", |bytes| bytes.fill(1)),
        ("a page of noise", |bytes| {
            (0..).zip(bytes.iter_mut()).for_each(|(i, b): (u32, _)| *b = ((i * 37) >> 3) as u8)
        }),
    ];
    for (way, garble) in ways {
        for (path, good) in paths.iter().zip(&good) {
            let mut bytes = good.clone();
            garble(&mut bytes);
            fs::write(path, bytes).unwrap();
        }
        let args = OpenArgs { high_watermark: 300, ..OpenArgs::new_log(NOW) };
        let (log, _) = open(&dir, &small(), args);
        assert_eq!(log.log_end_offset(), 300);
        for offset in 0..300 {
            let slice = log.read(offset, 1, i64::MAX, true).unwrap();
            let header = BatchHeader::parse(&slice.read().unwrap()).unwrap();
            assert_eq!(header.base_offset, offset, "{way}");
            let found = log.offset_for_timestamp(NOW + offset * 10 - 3).unwrap().unwrap();
            assert_eq!(found.offset, offset, "{way}");
        }
        for (path, good) in paths.iter().zip(&good) {
            fs::write(path, good).unwrap();
        }
    }
}
