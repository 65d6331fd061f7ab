//! Rolling, truncation, retention and log start.

use std::fs;

use minikafka_storage::{AppendError, AppendOrigin, LogConfig, OpenArgs};
use protocol::batch::BatchBuilder;

use super::{LEADER, NOW, append, batch, open, read_all};

#[test]
fn segments_are_rolled_by_size_time_index_and_offset_range() {
    let temp = super::temp_dir();
    let base = LogConfig { segment_bytes: 1000, ..LogConfig::default() };
    let (mut log, _) = open(&temp.path().join("size-0"), &base, OpenArgs::new_log(NOW));
    let size = batch(1, 400, NOW).len();
    assert_eq!(append(&mut log, 1, 400).rolled_at, None);
    assert_eq!(append(&mut log, 1, 1000 - 2 * size + 400).rolled_at, None, "exactly full is not too full");
    assert_eq!(append(&mut log, 1, 1).rolled_at, Some(2));
    let error = log.append_as_leader(&mut batch(1, 2000, NOW), LEADER).unwrap_err();
    assert!(matches!(error, AppendError::TooLarge { limit: 1000, .. }), "{error}");

    let config = LogConfig { segment_ms: 1000, ..LogConfig::default() };
    let (mut log, _) = open(&temp.path().join("time-0"), &config, OpenArgs::new_log(NOW));
    let mut at = |timestamp| log.append_as_leader(&mut batch(1, 1, timestamp), LEADER).unwrap().rolled_at;
    assert_eq!(at(NOW), None);
    assert_eq!(at(NOW + 1000), None);
    assert_eq!(at(NOW + 1001), Some(2));
    assert_eq!(at(NOW + 5), None, "older records roll nothing");

    let config = LogConfig { segment_index_bytes: 36, index_interval_bytes: 0, ..LogConfig::default() };
    let (mut log, _) = open(&temp.path().join("index-0"), &config, OpenArgs::new_log(NOW));
    let rolled: Vec<_> = (0..11).filter_map(|_| append(&mut log, 1, 1).rolled_at).collect();
    assert_eq!(rolled, [5, 10], "four index entries, none for the first batch");

    let (mut log, _) = open(&temp.path().join("range-0"), &LogConfig::default(), OpenArgs::new_log(NOW));
    append(&mut log, 1, 1);
    let mut far = BatchBuilder::new(i64::from(i32::MAX) + 1);
    far.push_pair(NOW, None, None);
    let info = log.append_as_follower(&far.build(), NOW).unwrap();
    assert_eq!((info.first_offset, info.rolled_at), (1 << 31, Some(1 << 31)));
}

#[test]
fn a_follower_takes_batches_as_they_are_and_in_order() {
    let temp = super::temp_dir();
    let config = LogConfig { segment_bytes: 1000, ..LogConfig::default() };
    let (mut leader, _) = open(&temp.path().join("leader-0"), &LogConfig::default(), OpenArgs::new_log(NOW));
    let (mut follower, _) = open(&temp.path().join("follower-0"), &config, OpenArgs::new_log(NOW));
    for i in 0..30 {
        let args =
            minikafka_storage::AppendArgs { leader_epoch: i / 10, origin: AppendOrigin::Client, now_ms: NOW };
        leader.append_as_leader(&mut batch(3, 100, NOW), args).unwrap();
    }
    let all = read_all(&leader, 0, 1 << 20);
    let info = follower.append_as_follower(&all[..all.len() - 3], NOW).unwrap();
    assert_eq!((info.first_offset, info.last_offset), (0, 86), "the batch that is cut off is left out");
    assert_eq!(follower.end_offset_for_epoch(1), Some((1, 60)));
    let wrong = follower.append_as_follower(&all, NOW).unwrap_err();
    assert!(matches!(wrong, AppendError::OffsetOrder { expected: 87, found: 0 }), "{wrong}");
    let last = all.len() * 29 / 30;
    follower.append_as_follower(&all[last..], NOW).unwrap();
    assert_eq!(read_all(&follower, 0, 1 << 20), all);
    let mut bad = all[last..].to_vec();
    bad[..8].copy_from_slice(&90_i64.to_be_bytes());
    bad[100] ^= 1;
    assert!(matches!(follower.append_as_follower(&bad, NOW), Err(AppendError::Malformed(_))));
}

#[test]
fn truncation_at_the_log_end_drops_an_epoch_that_wrote_nothing() {
    let temp = super::temp_dir();
    let (mut log, _) = open(&temp.path().join("t-0"), &LogConfig::default(), OpenArgs::new_log(NOW));
    append(&mut log, 5, 1);
    let (wrote, end) = (log.latest_epoch(), log.log_end_offset());
    let next = wrote.unwrap() + 1;
    log.assign_leader_epoch(next, end).unwrap();
    assert_eq!(log.latest_epoch(), Some(next));
    assert!(log.truncate_to(end).unwrap().is_empty());
    assert_eq!((log.latest_epoch(), log.log_end_offset()), (wrote, end));
}

#[test]
fn truncation_cuts_batches_epochs_and_files() {
    let temp = super::temp_dir();
    let dir = temp.path().join("t-0");
    let config = LogConfig { segment_bytes: 2000, index_interval_bytes: 300, ..LogConfig::default() };
    let (mut log, _) = open(&dir, &config, OpenArgs::new_log(NOW));
    for i in 0..40 {
        let args = minikafka_storage::AppendArgs { leader_epoch: i / 10, ..LEADER };
        log.append_as_leader(&mut batch(2, 50, NOW), args).unwrap();
    }
    let all = read_all(&log, 0, 1 << 20);
    let size = all.len() / 40;
    log.set_high_watermark(80);
    assert!(log.truncate_to(80).unwrap().is_empty());
    let doomed = log.truncate_to(44).unwrap();
    assert!(doomed.paths.iter().all(|path| path.to_string_lossy().ends_with(".deleted")), "{doomed:?}");
    assert_eq!((log.log_end_offset(), log.high_watermark()), (44, 44));
    assert_eq!(read_all(&log, 0, 500), all[..22 * size]);
    assert_eq!(log.latest_epoch(), Some(2));
    assert_eq!(log.truncate_to(43).unwrap().paths.len(), 0);
    assert_eq!(log.log_end_offset(), 42, "a batch goes as a whole");
    let args = minikafka_storage::AppendArgs { leader_epoch: 7, ..LEADER };
    assert_eq!(log.append_as_leader(&mut batch(2, 50, NOW), args).unwrap().first_offset, 42);
    doomed.remove().unwrap();
    let doomed = log.truncate_fully_and_start_at(1000).unwrap();
    doomed.remove().unwrap();
    assert_eq!((log.log_start_offset(), log.log_end_offset(), log.latest_epoch()), (1000, 1000, None));
    append(&mut log, 1, 1);
    log.set_high_watermark(1001);
    log.close().unwrap();
    let args = OpenArgs { log_start_offset: 1000, high_watermark: 1001, ..OpenArgs::new_log(NOW) };
    let (log, report) = open(&dir, &config, args);
    assert_eq!((report, log.log_end_offset()), (Default::default(), 1001));
}

#[test]
fn retention_goes_by_time_size_and_log_start_below_the_high_watermark() {
    let temp = super::temp_dir();
    let dir = temp.path().join("t-0");
    let config = LogConfig { segment_bytes: 1000, retention_ms: 10_000, ..LogConfig::default() };
    let (mut log, _) = open(&dir, &config, OpenArgs::new_log(NOW));
    let rolled_to = |log: &mut minikafka_storage::Log, count: i64, from: i64| {
        for i in 0..count {
            log.append_as_leader(&mut batch(1, 800, NOW + (from + i) * 1000), LEADER).unwrap();
        }
    };
    rolled_to(&mut log, 10, 0);
    assert!(log.apply_retention(NOW + 100_000).unwrap().is_empty(), "nothing is below the high watermark");
    log.set_high_watermark(5);
    let doomed = log.apply_retention(NOW + 12_500).unwrap();
    assert_eq!(log.log_start_offset(), 3, "0, 1 and 2 are older than ten seconds");
    assert_eq!(doomed.paths.iter().filter(|p| p.to_string_lossy().ends_with(".log.deleted")).count(), 3);
    doomed.remove().unwrap();
    let doomed = log.apply_retention(NOW + 100_000).unwrap();
    doomed.remove().unwrap();
    assert_eq!(log.log_start_offset(), 5, "not above the high watermark");
    log.set_high_watermark(10);
    log.set_config(LogConfig { retention_ms: -1, retention_bytes: 1800, ..config.clone() });
    log.apply_retention(NOW).unwrap().remove().unwrap();
    let left = log.size();
    assert!((1800..1800 + 900).contains(&left), "{left} bytes left");
    log.set_config(LogConfig {
        cleanup_delete: false,
        cleanup_compact: true,
        retention_bytes: 0,
        ..config.clone()
    });
    assert!(log.apply_retention(i64::MAX).unwrap().is_empty(), "compacted topics keep everything");
    log.advance_log_start(9).unwrap();
    log.apply_retention(NOW).unwrap().remove().unwrap();
    assert_eq!(
        fs::read_dir(&dir)
            .unwrap()
            .filter(|e| e.as_ref().unwrap().path().extension() == Some("log".as_ref()))
            .count(),
        1
    );
    log.set_config(config);
    log.apply_retention(NOW + 1_000_000).unwrap().remove().unwrap();
    assert_eq!(
        (log.log_start_offset(), log.log_end_offset(), log.size()),
        (10, 10, 0),
        "the active segment too"
    );
    assert_eq!(append(&mut log, 1, 1).first_offset, 10);
}

#[test]
fn log_start_never_passes_the_high_watermark() {
    let temp = super::temp_dir();
    let (mut log, _) = open(&temp.path().join("t-0"), &LogConfig::default(), OpenArgs::new_log(NOW));
    append(&mut log, 10, 1);
    assert!(!log.advance_log_start(5).unwrap());
    log.set_high_watermark(4);
    assert!(log.advance_log_start(5).unwrap());
    assert_eq!(log.log_start_offset(), 4);
}
