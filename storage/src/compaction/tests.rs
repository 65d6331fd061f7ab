//! Compaction against a consumer's view of the log: whatever is cleaned, crashed and repeated, a consumer that reads
//! only what is committed ends with the same last value per key.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::hash::RandomState;
use std::path::Path;

use proptest::prelude::*;
use protocol::batch::{BatchBuilder, BatchHeader, RecordData, batches};
use protocol::compress::Codec;

use super::*;
use crate::config::LogConfig;
use crate::log::OpenArgs;
use crate::log::rename_all;

const NOW: i64 = 1_700_000_000_000;

fn config() -> LogConfig {
    LogConfig {
        segment_bytes: 1500,
        index_interval_bytes: 200,
        cleanup_compact: true,
        cleanup_delete: false,
        min_cleanable_dirty_permille: 0,
        delete_retention_ms: 1000,
        ..LogConfig::default()
    }
}

fn args(now_ms: i64) -> CleanArgs<'static> {
    let hashers = [RandomState::new(), RandomState::new()];
    CleanArgs { now_ms, memory_bytes: 1 << 20, load_factor: 0.9, hashers, stop: &|| false }
}

fn temp_dir() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap())
}

/// A log with the producers that write it.
struct Bench {
    _temp: tempfile::TempDir,
    dir: std::path::PathBuf,
    log: RefCell<Log>,
    now: i64,
    sequences: HashMap<i64, i32>,
    in_txn: BTreeSet<i64>,
    values: u64,
}

#[derive(Debug, Clone)]
enum Op {
    /// Keys, of which those above 9 are tombstones of `key - 10`; `None` for a record without a key.
    Append {
        producer: i64,
        keys: Vec<Option<u8>>,
        codec: u8,
        append_time: bool,
    },
    End {
        producer: i64,
        abort: bool,
    },
    Roll,
    Clean {
        later: i64,
        restart: bool,
    },
}

/// Producers from this id on are transactional, those from 1 on idempotent.
const TRANSACTIONAL: i64 = 10;

fn op() -> impl Strategy<Value = Op> {
    let keys = proptest::collection::vec(proptest::option::weighted(0.97, 0..14_u8), 1..6);
    let producer = prop_oneof![3 => Just(-1_i64), 2 => 1..3_i64, 3 => TRANSACTIONAL..TRANSACTIONAL + 2];
    let append = (producer, keys, 0..5_u8, any::<bool>());
    prop_oneof![
        12 => append.prop_map(|(producer, keys, codec, append_time)| Op::Append { producer, keys, codec, append_time }),
        4 => (TRANSACTIONAL..TRANSACTIONAL + 2, any::<bool>()).prop_map(|(producer, abort)| Op::End { producer, abort }),
        3 => Just(Op::Roll),
        2 => (0..2500_i64, any::<bool>()).prop_map(|(later, restart)| Op::Clean { later, restart }),
    ]
}

impl Bench {
    fn new() -> Self {
        let temp = temp_dir();
        let dir = temp.path().join("t-0");
        let (log, _) = Log::open(&dir, config(), OpenArgs::new_log(NOW)).unwrap();
        let log = RefCell::new(log);
        Bench {
            _temp: temp,
            dir,
            log,
            now: NOW,
            sequences: HashMap::new(),
            in_txn: BTreeSet::new(),
            values: 0,
        }
    }

    fn append(&mut self, producer: i64, keys: &[Option<u8>], codec: u8, append_time: bool) {
        self.now += 1;
        let mut log = self.log.borrow_mut();
        let mut builder = BatchBuilder::new(log.log_end_offset()).leader_epoch(3);
        builder = builder.codec(Codec::from_id(codec).unwrap(), None);
        if append_time {
            builder = builder.append_time(self.now);
        }
        if producer >= 0 {
            let sequence = self.sequences.entry(producer).or_default();
            builder = builder.producer(producer, 0, *sequence).transactional(producer >= TRANSACTIONAL);
            *sequence += keys.len() as i32;
        }
        if producer >= TRANSACTIONAL {
            self.in_txn.insert(producer);
        }
        for key in keys {
            self.values += 1;
            let value = format!("value {} {}", self.values, "v".repeat((self.values % 90) as usize));
            let value = key.is_none_or(|key| key < 10).then_some(value.as_bytes());
            let key = key.map(|key| [b'k', key % 10]);
            let headers: [(&[u8], _); 1] = [(b"h", Some(&b"x"[..]))];
            let data = RecordData { key: key.as_ref().map(|key| &key[..]), value, headers: &headers };
            builder.push(self.now - (self.values % 3) as i64, &data);
        }
        log.append_as_follower(&builder.build(), self.now).unwrap();
        let end = log.log_end_offset();
        log.set_high_watermark(end);
    }

    fn end(&mut self, producer: i64, abort: bool) {
        if !self.in_txn.remove(&producer) {
            return;
        }
        let mut log = self.log.borrow_mut();
        let mut builder = BatchBuilder::new(log.log_end_offset()).leader_epoch(3);
        builder = builder.producer(producer, 0, -1).transactional(true).control();
        builder.push_pair(self.now, Some(&[0, 0, 0, u8::from(!abort)]), Some(&[0, 0, 0, 0, 0, 7]));
        log.append_as_follower(&builder.build(), self.now).unwrap();
        let end = log.log_end_offset();
        log.set_high_watermark(end);
    }

    fn clean(&mut self) {
        let cleanable = self.log.borrow_mut().cleanable(self.now).unwrap().unwrap();
        if !cleanable.is_due() {
            return;
        }
        let before = Seen::of(&self.log.borrow());
        let mut doomed = DoomedFiles::default();
        let cleaned = clean(|| self.log.borrow_mut(), &cleanable, args(self.now), &mut doomed).unwrap();
        assert_eq!(cleaned.end_offset, cleanable.first_uncleanable_offset);
        assert_eq!(self.log.borrow().clean_offset(), cleaned.end_offset);
        let after = Seen::of(&self.log.borrow());
        after.check_cleaned(&before, cleaned.end_offset);
        doomed.remove().unwrap();
        self.check_names();
    }

    /// The folder has the files of the segments and nothing more.
    fn check_names(&self) {
        let names = fs::read_dir(&self.dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
        for name in names {
            let known = crate::names::FileKind::parse(&name).is_some() || name == "leader-epoch-checkpoint";
            assert!(known, "{name}");
        }
    }

    fn restart(&mut self) {
        let clean_offset = self.log.borrow().clean_offset();
        self.log.borrow_mut().close().unwrap();
        let mut log = reopen(&self.dir, true);
        log.set_clean_offset(clean_offset);
        *self.log.borrow_mut() = log;
    }

    fn run(&mut self, op: &Op) {
        match op {
            Op::Append { producer, keys, codec, append_time } => {
                self.append(*producer, keys, *codec, *append_time);
            }
            Op::End { producer, abort } => self.end(*producer, *abort),
            Op::Roll => drop(self.log.borrow_mut().roll(self.now).unwrap()),
            Op::Clean { later, restart } => {
                self.now += later;
                self.clean();
                if *restart {
                    let before = Seen::of(&self.log.borrow());
                    self.restart();
                    assert_eq!(Seen::of(&self.log.borrow()), before);
                }
            }
        }
    }
}

fn reopen(dir: &Path, clean_shutdown: bool) -> Log {
    let args = OpenArgs { high_watermark: i64::MAX, clean_shutdown, ..OpenArgs::new_log(NOW) };
    let (log, report) = Log::open(dir, config(), args).unwrap();
    assert_eq!((report.torn_bytes, report.quarantined), (0, Vec::new()));
    log
}

type Key = Vec<u8>;
/// Key, value, timestamp, header bytes.
type Content = (Option<Key>, Option<Vec<u8>>, i64, Vec<u8>);

/// What can be seen of a log.
#[derive(Debug, PartialEq)]
struct Seen {
    end: i64,
    bytes: Vec<u8>,
    /// All records of data batches by offset.
    records: BTreeMap<i64, Content>,
    /// What a read_committed consumer makes of it: the last value per key and its offset.
    view: BTreeMap<Key, (i64, Vec<u8>)>,
    /// Epoch, last sequence and last offset per producer.
    producers: BTreeMap<i64, (i16, i32, Option<i64>)>,
}

impl Seen {
    fn of(log: &Log) -> Seen {
        let end = log.log_end_offset();
        let bytes = read_all(log);
        let aborted = log.aborted_transactions(0, end).unwrap();
        let mut coming: Vec<_> = aborted.iter().map(|txn| (txn.first_offset, txn.producer_id)).collect();
        coming.sort_unstable();
        let mut aborting = BTreeSet::new();
        let (mut records, mut view) = (BTreeMap::new(), BTreeMap::new());
        let last_stable = log.last_stable_offset();
        for batch in batches(&bytes) {
            let batch = batch.unwrap();
            let header = batch.header().unwrap();
            // As the Java consumer does it.
            while coming.first().is_some_and(|(first, _)| *first <= header.last_offset()) {
                aborting.insert(coming.remove(0).1);
            }
            let mut scratch = Vec::new();
            let mut listed = batch.open_records(1 << 20, &mut scratch).unwrap().map(Result::unwrap);
            if header.is_control() {
                if listed.next().is_some_and(|marker| marker.key == Some(&[0, 0, 0, 0])) {
                    aborting.remove(&header.producer_id);
                }
                continue;
            }
            let visible = !(header.is_transactional() && aborting.contains(&header.producer_id))
                && header.last_offset() < last_stable;
            for record in listed {
                let offset = header.base_offset + i64::from(record.offset_delta);
                let owned = |bytes: &[u8]| bytes.to_vec();
                let (key, value) = (record.key.map(owned), record.value.map(owned));
                if visible && let Some(key) = &key {
                    match &value {
                        Some(value) => drop(view.insert(key.clone(), (offset, value.clone()))),
                        None => drop(view.remove(key)),
                    }
                }
                let content = (key, value, header.timestamp_of(&record), owned(record.headers.as_bytes()));
                assert_eq!(records.insert(offset, content), None);
            }
        }
        let producers = log.producers().producers().into_iter().map(|(id, entry)| {
            let last = entry.batches().last().map(|batch| batch.last_offset);
            (id, (entry.producer_epoch, entry.last_sequence(), last))
        });
        Seen { end, bytes, records, view, producers: producers.collect() }
    }

    /// Nothing but superfluous records is missing.
    fn check_cleaned(&self, before: &Seen, clean_end: i64) {
        assert_eq!((self.end, &self.view, &self.producers), (before.end, &before.view, &before.producers));
        for (offset, content) in &self.records {
            assert_eq!(before.records.get(offset), Some(content), "offset {offset}");
        }
        let dirty = |seen: &Seen| seen.records.range(clean_end..).count();
        assert_eq!(dirty(self), dirty(before));
        let mut live = BTreeSet::new();
        for (offset, (key, ..)) in self.records.range(..clean_end) {
            assert!(key.is_some() && live.insert(key), "offset {offset} is superfluous");
        }
    }
}

fn read_all(log: &Log) -> Vec<u8> {
    let (mut bytes, mut offset) = (Vec::new(), 0);
    while offset < log.log_end_offset() {
        let chunk = log.read(offset, 4000, i64::MAX, true).unwrap().read().unwrap();
        let mut whole = 0;
        for batch in batches(&chunk) {
            let batch = batch.unwrap();
            protocol::batch::verify_crc(batch.bytes).unwrap();
            let header: BatchHeader = batch.header().unwrap();
            assert!(header.last_offset() >= offset);
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

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// Crashes at every step of the swap of the next group, with both kinds of recovery.
fn crash_everywhere(bench: &Bench, group: &CleanedGroup) {
    let before = Seen::of(&bench.log.borrow());
    let base_offsets: Vec<i64> = group.sources.iter().map(|source| source.base_offset).collect();
    for steps in 0..100 {
        let temp = temp_dir();
        let dir = temp.path().join("t-0");
        copy(&bench.dir, &dir);
        let plan: Vec<_> = swap::begin(&dir, base_offsets[0])
            .into_iter()
            .chain(swap::remove_old(&dir, &base_offsets))
            .chain(swap::complete(&dir, base_offsets[0]))
            .collect();
        if steps > plan.len() {
            return;
        }
        rename_all(&plan[..steps]).unwrap();
        // The clean case is a stop of the node in between.
        let log = reopen(&dir, steps % 2 == 0);
        let after = Seen::of(&log);
        assert_eq!((after.end, &after.view), (before.end, &before.view), "after {steps} steps");
        assert_eq!(after.producers, before.producers, "after {steps} steps");
        assert!(after.records.keys().all(|offset| before.records.contains_key(offset)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, max_shrink_iters: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_consumer_sees_no_difference(ops in proptest::collection::vec(op(), 1..80)) {
        let mut bench = Bench::new();
        ops.iter().for_each(|op| bench.run(op));
        // Repeated without anything new, it comes to rest.
        bench.log.borrow_mut().roll(NOW).unwrap();
        let mut bytes = Vec::new();
        for round in 0.. {
            bench.log.borrow_mut().set_clean_offset(0);
            bench.clean();
            let again = read_all(&bench.log.borrow());
            if std::mem::replace(&mut bytes, again) == bytes {
                break;
            }
            assert!(round < 6, "it does not come to rest");
        }
        // And what is in memory is what is on the disk.
        let before = Seen::of(&bench.log.borrow());
        let log = reopen(&bench.dir, false);
        prop_assert_eq!(Seen::of(&log), before);
    }

    #[test]
    fn a_crash_loses_nothing(ops in proptest::collection::vec(op(), 10..60), later in 0..3000_i64) {
        let mut bench = Bench::new();
        ops.iter().for_each(|op| bench.run(op));
        bench.log.borrow_mut().roll(NOW).unwrap();
        bench.now += later;
        let mut log = bench.log.borrow_mut();
        let cleanable = log.cleanable(bench.now).unwrap().unwrap();
        if cleanable.is_due() {
            let mut cleaning = log.prepare_cleaning(&cleanable).unwrap().start(args(bench.now)).unwrap();
            drop(log);
            while let Some(group) = cleaning.next_group().unwrap() {
                crash_everywhere(&bench, &group);
                let mut log = bench.log.borrow_mut();
                log.begin_swap(&group).unwrap();
                log.complete_swap(&group).unwrap().remove().unwrap();
            }
        }
    }
}

/// A log of `keys` in one sealed segment.
fn sealed(batches: &[&[u8]]) -> Bench {
    let mut bench = Bench::new();
    for keys in batches {
        bench.append(-1, &keys.iter().copied().map(Some).collect::<Vec<_>>(), 0, false);
    }
    bench.log.borrow_mut().roll(NOW).unwrap();
    bench
}

fn offsets(bench: &Bench) -> Vec<i64> {
    Seen::of(&bench.log.borrow()).records.into_keys().collect()
}

#[test]
fn a_tombstone_outlives_its_horizon_and_not_more() {
    let mut bench = sealed(&[&[1, 2], &[11], &[3]]);
    bench.clean();
    assert_eq!(offsets(&bench), [1, 2, 3], "the value goes, its tombstone stays");
    bench.now += 999;
    bench.log.borrow_mut().set_clean_offset(0);
    bench.clean();
    assert_eq!(offsets(&bench), [1, 2, 3]);
    bench.now += 1;
    bench.log.borrow_mut().set_clean_offset(0);
    bench.clean();
    assert_eq!(offsets(&bench), [1, 3]);
}

#[test]
fn a_map_that_is_too_small_cleans_a_part() {
    let bench = Bench::new();
    for round in 0..3000_i32 {
        let key = round.to_be_bytes();
        let mut log = bench.log.borrow_mut();
        let mut builder = BatchBuilder::new(log.log_end_offset());
        builder.push_pair(NOW, Some(&key), Some(b"v")).push_pair(NOW, Some(&key), Some(b"w"));
        log.append_as_follower(&builder.build(), NOW).unwrap();
        let end = log.log_end_offset();
        log.set_high_watermark(end);
    }
    bench.log.borrow_mut().roll(NOW).unwrap();
    let mut ends = Vec::new();
    loop {
        let cleanable = bench.log.borrow_mut().cleanable(NOW).unwrap().unwrap();
        if cleanable.cleanable_bytes == 0 {
            break;
        }
        let args = CleanArgs { memory_bytes: 0, ..args(NOW) };
        let mut doomed = DoomedFiles::default();
        ends.push(clean(|| bench.log.borrow_mut(), &cleanable, args, &mut doomed).unwrap().end_offset);
        doomed.remove().unwrap();
    }
    assert!(ends.len() > 3 && ends.is_sorted() && ends.last() == Some(&6000), "{ends:?}");
    assert_eq!(offsets(&bench), (0..3000).map(|i| i * 2 + 1).collect::<Vec<_>>());
}

#[test]
fn what_is_young_unstable_or_active_is_left_alone() {
    let mut bench = sealed(&[&[1], &[1]]);
    bench.append(10, &[Some(1)], 0, false);
    bench.log.borrow_mut().roll(NOW).unwrap();
    let cleanable = |bench: &Bench| bench.log.borrow_mut().cleanable(bench.now).unwrap().unwrap();
    assert_eq!(cleanable(&bench).first_uncleanable_offset, 2, "a transaction is open");
    bench.end(10, true);
    assert_eq!(cleanable(&bench).first_uncleanable_offset, 3, "the active segment");
    bench.log.borrow_mut().set_config(LogConfig { min_compaction_lag_ms: 1000, ..config() });
    assert_eq!(cleanable(&bench).first_uncleanable_offset, 0, "too young");
    bench.now += 2000;
    assert_eq!(cleanable(&bench).first_uncleanable_offset, 3);
    let strict = LogConfig { min_cleanable_dirty_permille: 1000, max_compaction_lag_ms: 1500, ..config() };
    bench.log.borrow_mut().set_config(strict);
    assert!(cleanable(&bench).is_due(), "past the maximal lag");
    bench.now -= 1000;
    assert!(!cleanable(&bench).is_due());
    bench.log.borrow_mut().set_config(LogConfig { cleanup_compact: false, ..config() });
    assert_eq!(bench.log.borrow_mut().cleanable(NOW).unwrap(), None);
}

#[test]
fn a_truncation_in_between_wins() {
    for truncate_at in 0..2 {
        let bench = sealed(&[&[1], &[1], &[1]]);
        let mut log = bench.log.borrow_mut();
        let cleanable = log.cleanable(NOW).unwrap().unwrap();
        let mut cleaning = log.prepare_cleaning(&cleanable).unwrap().start(args(NOW)).unwrap();
        let group = cleaning.next_group().unwrap().unwrap();
        if truncate_at == 0 {
            log.truncate_to(2).unwrap().remove().unwrap();
            assert!(matches!(log.begin_swap(&group), Err(CleanError::Stale)));
            group.discard().unwrap();
        } else {
            log.begin_swap(&group).unwrap();
            log.truncate_to(2).unwrap().remove().unwrap();
            assert!(matches!(log.complete_swap(&group), Err(CleanError::Stale)));
        }
        drop(log);
        bench.check_names();
        assert_eq!(offsets(&bench), [0, 1]);
    }
}

#[test]
fn damage_is_left_as_it_is() {
    let bench = sealed(&[&[1], &[1], &[2]]);
    let path = bench.dir.join("00000000000000000000.log");
    let mut bytes = fs::read(&path).unwrap();
    let end = bytes.len();
    bytes[end - 3] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let cleanable = bench.log.borrow_mut().cleanable(NOW).unwrap().unwrap();
    let error = clean(|| bench.log.borrow_mut(), &cleanable, args(NOW), &mut DoomedFiles::default());
    assert!(matches!(error, Err(CleanError::Corrupt { base_offset: 0, .. })), "{error:?}");
    assert_eq!(fs::read(&path).unwrap(), bytes);
    bench.check_names();
}

#[test]
fn the_last_offset_below_the_bound_stays_known() {
    let mut bench = sealed(&[&[1]]);
    bench.append(TRANSACTIONAL, &[Some(2), Some(3)], 0, false);
    bench.append(-1, &[Some(4)], 0, false);
    bench.append(TRANSACTIONAL, &[Some(5), Some(6)], 0, false);
    bench.log.borrow_mut().roll(NOW).unwrap();
    bench.end(TRANSACTIONAL, true);
    // Its producer goes on, so that only the bound keeps the batch.
    bench.append(TRANSACTIONAL, &[Some(7)], 0, false);
    bench.end(TRANSACTIONAL, false);
    bench.clean();
    assert_eq!(offsets(&bench), [0, 3, 7]);
    let bytes = read_all(&bench.log.borrow());
    let headers = batches(&bytes).map(|batch| batch.unwrap().header().unwrap());
    let spans: Vec<_> = headers.map(|h| (h.base_offset, h.last_offset(), h.records_count)).collect();
    assert_eq!(spans, [(0, 0, 1), (3, 3, 1), (4, 5, 0), (6, 6, 1), (7, 7, 1), (8, 8, 1)]);
    let found = bench.log.borrow().offset_for_timestamp(bench.now - 1).unwrap().map(|found| found.offset);
    assert_eq!(found, Some(6), "a batch without records is passed over");
}
