//! Tests of producer states: sequences, transactions, snapshots of Apache Kafka.

use std::collections::HashMap;

use bytes::BytesMut;
use proptest::prelude::*;
use protocol::batch::{BatchBuilder, batches, increment_sequence};

use super::*;

const DAY: i64 = 86_400_000;
const CLIENT: ProducerArgs = ProducerArgs { origin: AppendOrigin::Client, guard: None };
const COORDINATOR: ProducerArgs = ProducerArgs { origin: AppendOrigin::Coordinator, guard: None };

fn data(offset: i64, producer: (i64, i16, i32), count: i32, transactional: bool) -> BytesMut {
    let (id, epoch, sequence) = producer;
    let mut builder = BatchBuilder::new(offset).producer(id, epoch, sequence).transactional(transactional);
    for _ in 0..count {
        builder.push_pair(1000 + offset, None, Some(b"v"));
    }
    builder.build()
}

fn marker(offset: i64, id: i64, epoch: i16, commit: bool, coordinator_epoch: i32) -> BytesMut {
    let key = [0, 0, 0, u8::from(commit)];
    let mut value = vec![0, 0];
    value.extend_from_slice(&coordinator_epoch.to_be_bytes());
    let mut builder = BatchBuilder::new(offset).producer(id, epoch, -1).transactional(true).control();
    builder.push_pair(2000 + offset, Some(&key), Some(&value));
    builder.build()
}

/// A log that only counts.
struct Partition {
    states: ProducerStates,
    end: i64,
}

impl Partition {
    fn new() -> Self {
        Partition { states: ProducerStates::new(0, DAY), end: 0 }
    }

    fn append(&mut self, batch: &[u8], args: ProducerArgs) -> Result<Option<i64>, ProducerError> {
        match self.states.prepare(batch, args)? {
            Prepared::Duplicate(batch) => Ok(Some(batch.first_offset())),
            Prepared::Update(update) => {
                self.end = batches(batch).last().unwrap().unwrap().header().unwrap().next_offset();
                assert!(self.states.commit(update, self.end).len() <= 1);
                Ok(None)
            }
        }
    }

    fn send(&mut self, producer: (i64, i16, i32), count: i32) -> Result<Option<i64>, ErrorCode> {
        self.append(&data(self.end, producer, count, false), CLIENT).map_err(|error| error.code())
    }

    fn send_txn(&mut self, producer: (i64, i16, i32)) -> Result<Option<i64>, ErrorCode> {
        self.append(&data(self.end, producer, 1, true), CLIENT).map_err(|error| error.code())
    }

    fn mark(&mut self, id: i64, epoch: i16, commit: bool, coordinator_epoch: i32) -> Result<(), ErrorCode> {
        let batch = marker(self.end, id, epoch, commit, coordinator_epoch);
        self.append(&batch, COORDINATOR).map(drop).map_err(|error| error.code())
    }
}

fn replay(states: &mut ProducerStates, log: &[u8]) -> Vec<AbortedTxn> {
    batches(log).filter_map(|batch| states.replay(&batch.unwrap()).unwrap()).collect()
}

#[test]
fn golden_snapshots_come_out_of_golden_logs() {
    let mut states = ProducerStates::new(0, DAY);
    replay(&mut states, include_bytes!("../../testdata/txn/plain-0.log"));
    assert_eq!(states.snapshot(), include_bytes!("../../testdata/txn/plain-0.snapshot"));
    assert_eq!(states.map_end_offset(), 11);

    let mut states = ProducerStates::new(0, DAY);
    assert_eq!(replay(&mut states, include_bytes!("../../testdata/txn/txn-0-0.log")), []);
    assert_eq!(states.snapshot(), include_bytes!("../../testdata/txn/txn-0-3.snapshot"));
    assert_eq!(states.first_unstable_offset(), Some(0));
    let aborted = replay(&mut states, include_bytes!("../../testdata/txn/txn-0-3.log"));
    assert_eq!(aborted.len(), 1);
    assert_eq!(&aborted[0].encode(), include_bytes!("../../testdata/txn/txn-0-3.txnindex"));
    assert_eq!(states.snapshot(), include_bytes!("../../testdata/txn/txn-0-9.snapshot"));
    states.on_high_watermark(6);
    assert_eq!(states.first_unstable_offset(), Some(4));
    states.on_high_watermark(9);
    assert_eq!(states.first_unstable_offset(), None);
}

#[test]
fn golden_snapshots_load_and_go_on() {
    let mut states = ProducerStates::new(0, DAY);
    let snapshot = include_bytes!("../../testdata/txn/txn-1-1.snapshot");
    states.load_snapshot(snapshot, 1, 1_700_000_000_000).unwrap();
    assert_eq!(states.snapshot(), snapshot);
    assert!(!states.needs_snapshot());
    replay(&mut states, include_bytes!("../../testdata/txn/txn-1-1.log"));
    assert_eq!(states.snapshot(), include_bytes!("../../testdata/txn/txn-1-3.snapshot"));
    assert!(states.needs_snapshot());
    assert_eq!((states.first_undecided_offset(), states.len()), (Some(2), 2));
    assert_eq!(states.oldest_txn_timestamp(), Some(1_700_000_000_030));

    let mut later = ProducerStates::new(0, DAY);
    let snapshot = include_bytes!("../../testdata/txn/txn-1-3.snapshot");
    later.load_snapshot(snapshot, 3, i64::MAX).unwrap();
    assert!(later.get(1).is_none(), "expired");
    assert!(later.get(2).is_some(), "an open transaction is kept");
    assert_eq!(later.first_unstable_offset(), Some(2));
}

#[test]
fn damaged_snapshots_change_nothing() {
    let good = include_bytes!("../../testdata/txn/txn-1-3.snapshot");
    let mut states = ProducerStates::new(7, DAY);
    for at in 0..good.len() {
        let mut bad = *good;
        bad[at] ^= 4;
        assert!(states.load_snapshot(&bad, 3, 0).is_err(), "byte {at}");
        assert!(states.load_snapshot(&good[..at], 3, 0).is_err(), "cut at {at}");
    }
    assert_eq!((states.len(), states.map_end_offset()), (0, 7));
}

#[test]
fn sequences() {
    let mut log = Partition::new();
    assert_eq!(log.send((1, 0, 5), 2), Ok(None), "an unknown producer may begin anywhere");
    assert_eq!(log.send((1, 0, 5), 2), Ok(Some(0)), "the same again");
    assert_eq!(log.send((1, 0, 5), 1), Err(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER), "not quite the same");
    assert_eq!(log.send((1, 0, 8), 1), Err(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER));
    assert_eq!(log.send((1, 0, 7), 1), Ok(None));
    assert_eq!(
        log.send((1, 1, 1), 1),
        Err(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER),
        "a new epoch begins at 0"
    );
    assert_eq!(log.send((1, 1, 0), 1), Ok(None));
    assert_eq!(log.send((1, 0, 8), 1), Err(ErrorCode::INVALID_PRODUCER_EPOCH));
    assert_eq!(log.send((1, 0, 7), 1), Err(ErrorCode::INVALID_PRODUCER_EPOCH), "old duplicates are fenced");
    assert_eq!(log.send((2, 0, i32::MAX - 1), 3), Ok(None), "wraps within the batch");
    assert_eq!(log.send((2, 0, 1), 1), Ok(None));
    assert_eq!(log.send((2, 0, i32::MAX - 1), 3), Ok(Some(4)));
    assert_eq!(log.send((3, 0, i32::MAX), 1), Ok(None));
    assert_eq!(log.send((3, 0, 0), 1), Ok(None), "wraps between batches");
}

#[test]
fn coordinators_need_no_sequences() {
    let mut log = Partition::new();
    for _ in 0..2 {
        let batch = data(log.end, (1, 0, -1), 1, false);
        assert_eq!(log.append(&batch, COORDINATOR), Ok(None));
    }
}

#[test]
fn transactions() {
    let mut log = Partition::new();
    assert_eq!(log.send((9, 0, 0), 1), Ok(None));
    assert_eq!(log.send_txn((1, 0, 0)), Ok(None));
    assert_eq!(log.send_txn((1, 0, 1)), Ok(None));
    assert_eq!(log.send_txn((2, 0, 0)), Ok(None));
    assert_eq!(log.send((1, 0, 2), 1), Err(ErrorCode::INVALID_TXN_STATE));
    assert_eq!(log.states.first_unstable_offset(), Some(1));
    assert_eq!(log.mark(1, 0, true, 5), Ok(()));
    assert_eq!(log.states.first_unstable_offset(), Some(1), "not replicated yet");
    log.states.on_high_watermark(5);
    assert_eq!(log.states.first_unstable_offset(), Some(3));
    assert_eq!(log.send_txn((1, 0, 2)), Ok(None));
    assert_eq!(log.mark(1, 0, false, 4), Err(ErrorCode::TRANSACTION_COORDINATOR_FENCED));
    assert_eq!(log.mark(2, 1, false, 5), Ok(()), "a marker may bump the epoch");
    assert_eq!(log.mark(2, 0, false, 5), Err(ErrorCode::INVALID_PRODUCER_EPOCH));
    assert_eq!(log.send_txn((2, 1, 0)), Ok(None));
    assert!(log.states.has_ongoing_transaction(2, 1) && !log.states.has_ongoing_transaction(2, 0));
    log.states.remove_expired(i64::MAX);
    assert_eq!(log.states.producers().iter().map(|(id, _)| *id).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn last_stable_offset_of_aborted_transactions() {
    let mut states = ProducerStates::new(0, DAY);
    let mut log = data(0, (1, 0, 0), 1, true).to_vec();
    log.extend_from_slice(&data(1, (2, 0, 0), 1, true));
    log.extend_from_slice(&marker(2, 2, 0, false, 0));
    log.extend_from_slice(&marker(3, 1, 0, false, 0));
    log.extend_from_slice(&marker(4, 1, 0, false, 0));
    let aborted = replay(&mut states, &log);
    let txn = |producer_id, first_offset, last_offset, last_stable_offset| AbortedTxn {
        producer_id,
        first_offset,
        last_offset,
        last_stable_offset,
    };
    assert_eq!(aborted, [txn(2, 1, 2, 0), txn(1, 0, 3, 4)], "the third marker ends nothing");
}

#[test]
fn replicated_batches_are_never_refused() {
    let mut states = ProducerStates::new(0, DAY);
    let mut log = data(0, (1, 5, 7), 1, true).to_vec();
    log.extend_from_slice(&data(1, (1, 4, 99), 1, false));
    log.extend_from_slice(&marker(2, 1, 3, true, 9));
    log.extend_from_slice(&marker(3, 1, 3, true, 8));
    replay(&mut states, &log);
    assert_eq!(states.get(1).unwrap().producer_epoch, 3);
    assert_eq!(states.map_end_offset(), 4);
    let mut strange = marker(4, 1, 3, true, 8);
    strange.truncate(61);
    strange[8..12].copy_from_slice(&49i32.to_be_bytes());
    let raw = RawBatch { position: 0, bytes: &strange };
    assert!(matches!(states.replay(&raw), Err(ProducerError::Marker(_))));
}

#[test]
fn verification() {
    let mut log = Partition::new();
    let send = |log: &mut Partition, sequence, guard| {
        let batch = data(log.end, (1, 0, sequence), 1, true);
        let args = ProducerArgs { origin: AppendOrigin::Client, guard: Some(guard) };
        log.append(&batch, args).map_err(|error| error.code())
    };
    assert_eq!(send(&mut log, 0, VerificationGuard::NONE), Err(ErrorCode::INVALID_TXN_STATE));
    let guard = log.states.start_verification(1, 3, 0, false, 0);
    assert_eq!(log.states.start_verification(1, 2, 0, false, 0), guard, "another batch of the same producer");
    assert_eq!(send(&mut log, 3, guard), Err(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER), "2 has to be first");
    assert_eq!(send(&mut log, 2, guard), Ok(None));
    assert_eq!(log.states.start_verification(1, 3, 0, false, 0), VerificationGuard::NONE);
    assert_eq!(send(&mut log, 3, VerificationGuard::NONE), Ok(None), "the transaction is open");
    assert_eq!(log.mark(1, 1, true, 0), Ok(()));
    assert_eq!(
        send(&mut log, 4, guard),
        Err(ErrorCode::INVALID_PRODUCER_EPOCH),
        "told before the stale guard"
    );
    let second = log.states.start_verification(1, 0, 1, true, 0);
    assert_ne!(second, guard);
    let bumped = data(log.end, (1, 1, 4), 1, true);
    let args = ProducerArgs { origin: AppendOrigin::Client, guard: Some(second) };
    let refused = log.append(&bumped, args).map_err(|error| error.code());
    assert_eq!(refused, Err(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER));
    log.states.remove_expired(DAY);
    assert!(log.states.verifications.is_empty());
}

#[test]
fn following_the_log() {
    let mut log = Partition::new();
    assert_eq!(log.send_txn((1, 0, 0)), Ok(None));
    log.mark(1, 0, true, 0).unwrap();
    log.states.on_log_start_offset(5, None);
    assert_eq!((log.states.first_unstable_offset(), log.states.map_end_offset()), (None, 5));
    assert!(!log.states.needs_snapshot());
    log.states.set_map_end_offset(8);
    assert!(log.states.needs_snapshot());
    log.states.clear(3);
    assert!(log.states.is_empty() && log.states.map_end_offset() == 3);
}

/// What a producer of the model sent: all batches of its latest epoch that were taken.
#[derive(Default)]
struct Model {
    epoch: i16,
    taken: Vec<(i32, i32, i64)>,
}

impl Model {
    fn expect(&mut self, epoch: i16, first: i32, count: i32, end: i64) -> Result<Option<i64>, ErrorCode> {
        let last = increment_sequence(first, count - 1);
        if self.taken.is_empty() {
            self.epoch = epoch;
        } else if epoch == self.epoch {
            let recent = &self.taken[self.taken.len().saturating_sub(5)..];
            if let Some(same) = recent.iter().find(|batch| (batch.0, batch.1) == (first, last)) {
                return Ok(Some(same.2));
            }
            let previous = self.taken[self.taken.len() - 1].1;
            if first != increment_sequence(previous, 1) {
                return Err(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER);
            }
        } else if epoch < self.epoch {
            return Err(ErrorCode::INVALID_PRODUCER_EPOCH);
        } else if first != 0 {
            return Err(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER);
        } else {
            self.epoch = epoch;
            self.taken.clear();
        }
        self.taken.push((first, last, end));
        Ok(None)
    }
}

proptest! {
    /// Producers that repeat, skip and bump their epochs, near the point where sequence numbers wrap.
    #[test]
    fn sequence_numbers_follow_the_model(
        steps in proptest::collection::vec((0i64..3, 0i16..3, -8i32..3, 1i32..4), 1..80),
    ) {
        let mut log = Partition::new();
        let mut models: HashMap<i64, Model> = HashMap::new();
        let mut next: HashMap<(i64, i16), i32> = HashMap::new();
        for (id, epoch, jump, count) in steps {
            let start = if epoch == 0 { i32::MAX - 5 } else { 0 };
            let expected = *next.get(&(id, epoch)).unwrap_or(&start);
            // Most jumps send what comes next; the others a repetition or a gap.
            let jump = if jump < -4 { 0 } else { jump };
            let first = (i64::from(expected) + i64::from(jump)).rem_euclid(1 << 31) as i32;
            let model = models.entry(id).or_default().expect(epoch, first, count, log.end);
            prop_assert_eq!(log.send((id, epoch, first), count), model);
            if model == Ok(None) {
                next.insert((id, epoch), increment_sequence(first, count));
            }
        }
        // A snapshot keeps what is needed to go on.
        let mut reloaded = Partition { states: ProducerStates::new(0, DAY), end: log.end };
        reloaded.states.load_snapshot(&log.states.snapshot(), log.end, 0).unwrap();
        for (id, model) in &models {
            if let Some((first, last, offset)) = model.taken.last() {
                let count = decrement_sequence(*last, *first) + 1;
                prop_assert_eq!(reloaded.send((*id, model.epoch, *first), count), Ok(Some(*offset)));
                prop_assert_eq!(reloaded.send((*id, model.epoch, increment_sequence(*last, 1)), 1), Ok(None));
            }
        }
    }
}
