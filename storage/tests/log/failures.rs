//! Disks that are full or fail.

use std::io;
use std::process::Command;

use minikafka_storage::log::StorageError;
use minikafka_storage::{AppendError, LogConfig, OpenArgs};

use super::{LEADER, NOW, append, batch, open, read_all};

const CHILD: &str = "MINIKAFKA_FULL_DISK_DIR";

/// Runs [`full_disk`] in a process whose files cannot grow beyond 64 KiB: writes become short, then fail.
#[test]
fn a_full_disk_neither_acknowledges_nor_corrupts() {
    let temp = super::temp_dir();
    let binary = std::env::current_exe().unwrap();
    // An ignored signal stays ignored across exec, so that the write fails instead of killing the process.
    let script = "trap '' XFSZ; ulimit -f 128; exec \"$0\" --exact failures::full_disk --ignored --nocapture";
    let output =
        Command::new("sh").arg("-c").arg(script).arg(binary).env(CHILD, temp.path()).output().unwrap();
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    // Whatever was acknowledged is there, with and without a recovery.
    let dir = temp.path().join("t-0");
    let acknowledged: i64 =
        std::fs::read_to_string(temp.path().join("acknowledged")).unwrap().parse().unwrap();
    for clean_shutdown in [true, false] {
        let (log, report) =
            open(&dir, &LogConfig::default(), OpenArgs { clean_shutdown, ..OpenArgs::new_log(NOW) });
        assert_eq!((log.log_end_offset(), report.torn_bytes), (acknowledged, 0));
        read_all(&log, 0, 1 << 20);
    }
}

#[test]
#[ignore = "run by a_full_disk_neither_acknowledges_nor_corrupts"]
fn full_disk() {
    let temp = std::path::PathBuf::from(std::env::var_os(CHILD).unwrap());
    let (mut log, _) = open(&temp.join("t-0"), &LogConfig::default(), OpenArgs::new_log(NOW));
    let error = loop {
        match log.append_as_leader(&mut batch(1, 900, NOW), LEADER) {
            Ok(info) => assert_eq!(info.last_offset + 1, log.log_end_offset()),
            Err(error) => break error,
        }
    };
    assert!(matches!(&error, AppendError::Io(e) if e.is_disk_full()), "{error}");
    let end = log.log_end_offset();
    assert!(log.append_as_leader(&mut batch(1, 5000, NOW), LEADER).is_err());
    assert_eq!(log.log_end_offset(), end);
    // Where there is room again, appends go on behind the last good batch.
    assert_eq!(append(&mut log, 1, 1).first_offset, end);
    read_all(&log, 0, 1 << 20);
    std::fs::write(temp.join("acknowledged"), (end + 1).to_string()).unwrap();
}

#[test]
fn a_failed_sync_closes_the_log_to_writes() {
    let temp = super::temp_dir();
    let (mut log, _) = open(&temp.path().join("t-0"), &LogConfig::default(), OpenArgs::new_log(NOW));
    append(&mut log, 1, 1);
    log.flush(1).unwrap();
    assert_eq!(log.recovery_point(), 1);
    append(&mut log, 1, 1);
    let job = log.prepare_flush(i64::MAX).unwrap().unwrap();
    let failure = StorageError::of("sync", "somewhere")(io::Error::from_raw_os_error(5));
    assert!(log.complete_flush(job, Err(failure)).is_err());
    assert_eq!(log.recovery_point(), 1);
    let error = log.append_as_leader(&mut batch(1, 1, NOW), LEADER).unwrap_err();
    assert!(matches!(error, AppendError::Poisoned(_)), "{error}");
    assert!(log.poisoned().is_some());
    assert!(log.close().is_err(), "no clean stop either");
    assert_eq!(log.read(0, 1000, i64::MAX, true).unwrap().len, batch(1, 1, NOW).len() * 2, "reads go on");
}

#[test]
fn a_flush_that_a_truncation_overtook_proves_nothing() {
    let temp = super::temp_dir();
    let (mut log, _) = open(&temp.path().join("t-0"), &LogConfig::default(), OpenArgs::new_log(NOW));
    for _ in 0..4 {
        append(&mut log, 1, 1);
    }
    let job = log.prepare_flush(i64::MAX).unwrap().unwrap();
    assert!(log.truncate_to(2).unwrap().is_empty());
    for _ in 0..4 {
        append(&mut log, 1, 1);
    }
    let result = job.run();
    log.complete_flush(job, result).unwrap();
    assert_eq!(log.recovery_point(), 0);
    log.flush(i64::MAX).unwrap();
    assert_eq!(log.recovery_point(), 6);
    assert!(log.prepare_flush(i64::MAX).unwrap().is_none());
}
