//! The log against a list of batches, through every operation, restarts and crashes.

use std::fs;

use minikafka_storage::{Log, LogConfig, OpenArgs};
use proptest::prelude::*;
use protocol::batch::BatchHeader;

use super::{LEADER, NOW, batch, open, read_all};

#[derive(Debug, Clone)]
enum Op {
    Append {
        count: usize,
        size: usize,
        later: i64,
    },
    AppendWithGap {
        gap: i64,
        count: usize,
    },
    Roll,
    Flush,
    Truncate {
        back: i64,
    },
    Start {
        up: i64,
    },
    Retain,
    Restart,
    /// Stops without a close; `torn` bytes of a next batch had got to the disk.
    Crash {
        torn: usize,
    },
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (1..6_usize, 0..300_usize, 0..5000_i64).prop_map(|(count, size, later)| Op::Append { count, size, later }),
        1 => (1..20_i64, 1..4_usize).prop_map(|(gap, count)| Op::AppendWithGap { gap, count }),
        1 => Just(Op::Roll),
        1 => Just(Op::Flush),
        1 => (0..40_i64).prop_map(|back| Op::Truncate { back }),
        1 => (0..20_i64).prop_map(|up| Op::Start { up }),
        1 => Just(Op::Retain),
        1 => Just(Op::Restart),
        1 => (0..200_usize).prop_map(|torn| Op::Crash { torn }),
    ]
}

#[derive(Debug, Default)]
struct Model {
    /// Base offset, last offset, bytes.
    batches: Vec<(i64, i64, Vec<u8>)>,
    start: i64,
    end: i64,
    recovery_point: i64,
    now: i64,
}

impl Model {
    fn append(&mut self, bytes: &[u8]) {
        let header = BatchHeader::parse(bytes).unwrap();
        self.batches.push((header.base_offset, header.last_offset(), bytes.to_vec()));
        self.end = header.next_offset();
    }

    fn bytes_from(&self, offset: i64) -> Vec<u8> {
        self.batches
            .iter()
            .filter(|(_, last, _)| *last >= offset)
            .flat_map(|(.., bytes)| bytes.clone())
            .collect()
    }
}

fn run(log: &mut Log, model: &mut Model, op: &Op, dir: &std::path::Path, config: &LogConfig) {
    match op {
        Op::Append { count, size, later } => {
            model.now += later;
            let mut bytes = batch(*count, *size, NOW + model.now);
            let info = log.append_as_leader(&mut bytes, LEADER).unwrap();
            assert_eq!(info.first_offset, model.end);
            model.append(&bytes);
        }
        Op::AppendWithGap { gap, count } => {
            let mut bytes = batch(*count, 10, NOW + model.now);
            protocol::batch::patch_base_offset(&mut bytes, model.end + gap);
            protocol::batch::patch_leader_epoch(&mut bytes, 0);
            log.append_as_follower(&bytes, NOW).unwrap();
            model.append(&bytes);
        }
        Op::Roll => {
            log.roll(NOW).unwrap();
        }
        Op::Flush => {
            log.flush(i64::MAX).unwrap();
            model.recovery_point = model.end;
        }
        Op::Truncate { back } => {
            let to = (model.end - back).max(0);
            log.truncate_to(to).unwrap().remove().unwrap();
            if to < model.end {
                model.end = to;
                while let Some((base, ..)) = model.batches.pop_if(|(_, last, _)| *last >= to) {
                    model.end = model.end.min(base);
                }
            }
            if to <= model.start {
                // The log was emptied, or cut to its start.
                model.end = log.log_end_offset();
                model.start = log.log_start_offset();
                assert_eq!(model.start, model.end);
                model.batches.retain(|(_, last, _)| *last < model.end);
            }
            // The batch that held the start may have gone as a whole.
            model.start = model.start.min(model.end);
            assert_eq!(log.log_end_offset(), model.end);
            // With no record left from the start on, what lies between is a gap, which the log may leave out.
            if model.batches.iter().all(|(_, last, _)| *last < model.start) {
                assert!([model.start, model.end].contains(&log.log_start_offset()));
                model.start = log.log_start_offset();
            }
        }
        Op::Start { up } => {
            log.set_high_watermark(model.end);
            log.advance_log_start(model.start + up).unwrap();
            model.start = (model.start + up).min(model.end);
        }
        Op::Retain => log.apply_retention(NOW + model.now).unwrap().remove().unwrap(),
        Op::Restart => {
            log.close().unwrap();
            let args = OpenArgs {
                log_start_offset: model.start,
                high_watermark: model.end,
                ..OpenArgs::new_log(NOW)
            };
            let (again, report) = open(dir, config, args);
            assert_eq!(report, Default::default());
            *log = again;
            model.recovery_point = model.end;
        }
        Op::Crash { torn } => {
            let bytes = &batch(2, 100, NOW)[..*torn];
            let last = fs::read_dir(dir)
                .unwrap()
                .map(|e| e.unwrap().path())
                .filter(|p| p.extension() == Some("log".as_ref()));
            let active = last.max().unwrap();
            fs::write(&active, [fs::read(&active).unwrap(), bytes.to_vec()].concat()).unwrap();
            let args = OpenArgs {
                log_start_offset: model.start,
                recovery_point: model.recovery_point,
                high_watermark: model.end,
                clean_shutdown: false,
                ..OpenArgs::new_log(NOW)
            };
            let (again, report) = open(dir, config, args);
            assert_eq!(
                (report.torn_bytes, report.quarantined, report.proved_loss),
                (*torn as u64, vec![], false)
            );
            *log = again;
        }
    }
}

fn compare(log: &Log, model: &Model) {
    assert_eq!((log.log_start_offset(), log.log_end_offset()), (model.start, model.end));
    if model.start == model.end {
        return;
    }
    assert_eq!(read_all(log, model.start, 700), model.bytes_from(model.start));
    for offset in model.start..model.end {
        let slice = log.read(offset, 1, i64::MAX, true).unwrap();
        let expected = model.batches.iter().find(|(_, last, _)| *last >= offset);
        assert_eq!(slice.read().unwrap(), expected.map(|(.., bytes)| bytes.clone()).unwrap_or_default());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, max_shrink_iters: 500, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn a_log_is_a_list_of_batches(ops in proptest::collection::vec(op(), 1..60)) {
        let temp = super::temp_dir();
        let dir = temp.path().join("t-0");
        let config = LogConfig {
            segment_bytes: 4000,
            segment_ms: 60_000,
            index_interval_bytes: 256,
            retention_ms: -1,
            ..LogConfig::default()
        };
        let (mut log, _) = open(&dir, &config, OpenArgs::new_log(NOW));
        let mut model = Model::default();
        for op in &ops {
            run(&mut log, &mut model, op, &dir, &config);
            model.recovery_point = model.recovery_point.min(model.end);
            compare(&log, &model);
        }
    }
}
