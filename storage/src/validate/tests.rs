//! Tests of validation: each check with its error, codecs, timestamps, batches of Apache Kafka.

use proptest::collection::vec;
use proptest::prelude::*;
use protocol::ErrorCode;
use protocol::batch::{BatchBuilder, RawBatch, RecordData, patch_crc, patch_max_timestamp, verify_crc};

use super::*;

const NOW: i64 = 1_700_000_000_000;
/// Logs that Apache Kafka 4.1.2 wrote: gzip, snappy, lz4, zstd.
const CODECS: [(Codec, &[u8]); 4] = [
    (Codec::Gzip, include_bytes!("../../../protocol/testdata/batches/codecs-0.log")),
    (Codec::Snappy, include_bytes!("../../../protocol/testdata/batches/codecs-1.log")),
    (Codec::Lz4, include_bytes!("../../../protocol/testdata/batches/codecs-2.log")),
    (Codec::Zstd, include_bytes!("../../../protocol/testdata/batches/codecs-3.log")),
];
const APPEND_TIME: &[u8] = include_bytes!("../../../protocol/testdata/batches/appendtime-0.log");

fn tp() -> &'static TopicPartition {
    static TP: std::sync::OnceLock<TopicPartition> = std::sync::OnceLock::new();
    TP.get_or_init(|| TopicPartition::new("t", 0))
}

fn args() -> ValidateArgs<'static> {
    ValidateArgs {
        topic_partition: tp(),
        origin: AppendOrigin::Client,
        now_ms: NOW,
        leader_epoch: 0,
        max_message_bytes: 1 << 20,
        compression: CompressionType::Producer,
        compacted: false,
        timestamp_type: TimestampType::CreateTime,
        timestamp_before_max_ms: i64::MAX,
        timestamp_after_max_ms: 3_600_000,
        max_decompressed_bytes: DEFAULT_MAX_DECOMPRESSED_BYTES,
        open_compressed: true,
    }
}

fn to(codec: Codec) -> CompressionType {
    CompressionType::Codec { codec, level: None }
}

/// Three records with keys, as a client sends them.
fn sent(codec: Codec) -> BytesMut {
    let mut builder = BatchBuilder::new(0).codec(codec, None);
    for (i, key) in ["a", "b", "c"].iter().enumerate() {
        let headers = [(&b"h"[..], None), (&b"i"[..], Some(&b"v"[..]))];
        let data = RecordData { key: Some(key.as_bytes()), value: Some(&[7; 60]), headers: &headers };
        builder.push(NOW - i as i64, &data);
    }
    builder.build()
}

fn edit(codec: Codec, change: impl FnOnce(&mut [u8])) -> BytesMut {
    let mut batch = sent(codec);
    change(&mut batch);
    patch_crc(&mut batch);
    batch
}

fn code(batch: &[u8], args: &ValidateArgs<'_>) -> ErrorCode {
    validate(&mut batch.to_vec(), args).map_or_else(|error| error.code(), |_| ErrorCode::NONE)
}

type Owned = (i64, i32, Option<Vec<u8>>, Option<Vec<u8>>, Vec<u8>);

fn records(batch: &[u8]) -> Vec<Owned> {
    let batch = RawBatch { position: 0, bytes: batch };
    let header = batch.header().unwrap();
    verify_crc(batch.bytes).unwrap();
    let mut scratch = Vec::new();
    let records = batch.open_records(1 << 24, &mut scratch).unwrap();
    records
        .map(|record| {
            let record = record.unwrap();
            let bytes = |field: Option<&[u8]>| field.map(<[u8]>::to_vec);
            let timestamp = header.base_timestamp + record.timestamp_delta;
            let headers = record.headers.as_bytes().to_vec();
            (timestamp, record.offset_delta, bytes(record.key), bytes(record.value), headers)
        })
        .collect()
}

#[test]
fn what_is_right_stays_as_it_is() {
    for codec in Codec::ALL {
        let batch = sent(codec);
        let mut bytes = batch.to_vec();
        bytes.extend_from_slice(&batch[..30]);
        let done = validate(&mut bytes, &args()).unwrap();
        assert_eq!((done.len, done.records, done.max_timestamp), (batch.len(), 3, NOW), "{codec:?}");
        assert!(done.rewritten.is_none());
        assert_eq!(bytes[..done.len], batch);
        assert_eq!(done.log_append_time, -1);
    }
}

#[test]
fn golden_batches_stay_as_they_are() {
    for (codec, golden) in CODECS {
        let mut bytes = golden.to_vec();
        let done = validate(&mut bytes, &args()).unwrap();
        assert_eq!((done.records, done.rewritten), (20, None));
        assert_eq!(bytes, golden, "{codec:?}");
    }
}

#[test]
fn every_compression_type() {
    let (_, gzip) = CODECS[0];
    for (source, golden) in CODECS {
        for target in Codec::ALL {
            let mut bytes = golden.to_vec();
            let done = validate(&mut bytes, &ValidateArgs { compression: to(target), ..args() }).unwrap();
            assert_eq!(done.rewritten.is_some(), source != target);
            let stored = done.rewritten.as_deref().unwrap_or(&bytes);
            let header = BatchHeader::parse(stored).unwrap();
            assert_eq!((header.codec(), header.size()), (Some(target), stored.len()));
            assert_eq!((header.max_timestamp, done.max_timestamp), (NOW + 19, NOW + 19));
            assert_eq!(records(stored), records(gzip), "{source:?} to {target:?}");
        }
    }
    let mut plain = sent(Codec::None);
    let level = CompressionType::Codec { codec: Codec::Gzip, level: Some(9) };
    let done = validate(&mut plain, &ValidateArgs { compression: level, ..args() }).unwrap();
    assert_eq!(records(&done.rewritten.unwrap()), records(&plain));
}

#[test]
fn rewriting_keeps_the_producer() {
    let mut builder = BatchBuilder::new(0).producer(7, 3, 99).transactional(true);
    builder.push_pair(NOW, Some(b"k"), None);
    let done =
        validate(&mut builder.build(), &ValidateArgs { compression: to(Codec::Lz4), ..args() }).unwrap();
    let header = BatchHeader::parse(&done.rewritten.unwrap()).unwrap();
    assert_eq!((header.producer_id, header.producer_epoch, header.base_sequence), (7, 3, 99));
    assert!(header.is_transactional() && !header.is_control());
}

#[test]
fn append_time() {
    let append_time = ValidateArgs { timestamp_type: TimestampType::LogAppendTime, ..args() };
    for codec in Codec::ALL {
        let mut batch = sent(codec);
        let before = records(&batch);
        let done = validate(&mut batch, &ValidateArgs { now_ms: NOW + 5, ..append_time }).unwrap();
        assert_eq!((done.max_timestamp, done.log_append_time), (NOW + 5, NOW + 5));
        let header = BatchHeader::parse(&batch).unwrap();
        assert_eq!((header.timestamp_type(), header.max_timestamp), (TimestampType::LogAppendTime, NOW + 5));
        assert_eq!(records(&batch), before, "deltas stay");
        let other = to(if codec == Codec::Zstd { Codec::Gzip } else { Codec::Zstd });
        let done = validate(&mut sent(codec), &ValidateArgs { compression: other, ..append_time }).unwrap();
        let rewritten = done.rewritten.unwrap();
        assert_eq!(records(&rewritten), before);
        assert_eq!(BatchHeader::parse(&rewritten).unwrap().timestamp_type(), TimestampType::LogAppendTime);
    }
}

#[test]
fn golden_append_time() {
    let header = BatchHeader::parse(APPEND_TIME).unwrap();
    let raw = RawBatch { position: 0, bytes: APPEND_TIME };
    let newest = raw.records().unwrap().map(|r| r.unwrap().timestamp_delta).max().unwrap();
    let mut bytes = APPEND_TIME.to_vec();
    assert!(patch_max_timestamp(&mut bytes, TimestampType::CreateTime, header.base_timestamp + newest));
    let stamped =
        ValidateArgs { timestamp_type: TimestampType::LogAppendTime, now_ms: header.max_timestamp, ..args() };
    validate(&mut bytes, &stamped).unwrap();
    assert_eq!(bytes, APPEND_TIME);
}

#[test]
fn max_timestamp_is_put_right() {
    for codec in Codec::ALL {
        let mut batch = edit(codec, |batch| batch[35..43].copy_from_slice(&5i64.to_be_bytes()));
        let done = validate(&mut batch, &args()).unwrap();
        assert_eq!((done.max_timestamp, done.rewritten), (NOW, None));
        assert_eq!(batch, sent(codec), "{codec:?}");
    }
    let mut lazy = edit(Codec::Zstd, |batch| batch[35..43].copy_from_slice(&5i64.to_be_bytes()));
    let done = validate(&mut lazy, &ValidateArgs { open_compressed: false, ..args() }).unwrap();
    assert_eq!(done.max_timestamp, 5);
}

#[test]
fn batch_rules() {
    let invalid = ErrorCode::INVALID_RECORD;
    let put = |at: usize, bytes: Vec<u8>| {
        move |batch: &mut [u8]| batch[at..at + bytes.len()].copy_from_slice(&bytes)
    };
    for codec in Codec::ALL {
        let cases: [(ErrorCode, BytesMut); 8] = [
            (invalid, edit(codec, put(0, 1i64.to_be_bytes().to_vec()))),
            (invalid, edit(codec, put(57, 0i32.to_be_bytes().to_vec()))),
            (invalid, edit(codec, put(57, 2i32.to_be_bytes().to_vec()))),
            (invalid, edit(codec, put(23, (-1i32).to_be_bytes().to_vec()))),
            (invalid, edit(codec, |batch| batch[22] |= 0x20)),
            (invalid, edit(codec, put(43, 9i64.to_be_bytes().to_vec()))),
            (ErrorCode::UNKNOWN_SERVER_ERROR, edit(codec, |batch| batch[22] |= 7)),
            (ErrorCode::CORRUPT_MESSAGE, {
                let mut batch = sent(codec);
                batch[60] ^= 1;
                batch
            }),
        ];
        for (i, (expected, batch)) in cases.iter().enumerate() {
            assert_eq!(code(batch, &args()), *expected, "{codec:?} {i}");
        }
        // One record less, or more, than the header says.
        for count in [2i32, 4] {
            let batch = edit(codec, |batch| {
                batch[57..61].copy_from_slice(&count.to_be_bytes());
                batch[23..27].copy_from_slice(&(count - 1).to_be_bytes());
            });
            assert_eq!(code(&batch, &args()), invalid, "{codec:?} {count}");
            let other = ValidateArgs { compression: to(Codec::Gzip), ..args() };
            assert_eq!(code(&batch, &other), invalid, "{codec:?} {count}");
        }
        let twice = [&sent(codec)[..], &sent(codec)[..]].concat();
        assert_eq!(code(&twice, &args()), invalid);
        let small = ValidateArgs { max_message_bytes: sent(codec).len() as u32 - 1, ..args() };
        assert_eq!(code(&sent(codec), &small), ErrorCode::MESSAGE_TOO_LARGE);
    }
    assert_eq!(code(&[], &args()), invalid);
    assert_eq!(code(&sent(Codec::None)[..70], &args()), invalid, "nothing is left");
    let mut legacy = sent(Codec::None);
    legacy[16] = 1;
    assert_eq!(code(&legacy, &args()), invalid);
}

#[test]
fn too_large_after_rewriting_or_decompression() {
    let packed = sent(Codec::Gzip);
    let limit = packed.len() as u32 + 10;
    let plain = ValidateArgs { compression: to(Codec::None), max_message_bytes: limit, ..args() };
    assert_eq!(code(&packed, &plain), ErrorCode::MESSAGE_TOO_LARGE);
    for compression in [CompressionType::Producer, to(Codec::None)] {
        let bounded = ValidateArgs { compression, max_decompressed_bytes: 100, ..args() };
        assert_eq!(code(&packed, &bounded), ErrorCode::MESSAGE_TOO_LARGE);
    }
    let broken = edit(Codec::Gzip, |batch| batch[75] ^= 0xff);
    assert_eq!(code(&broken, &args()), ErrorCode::UNKNOWN_SERVER_ERROR);
}

#[test]
fn keys_in_compacted_topics() {
    for codec in Codec::ALL {
        for compression in [CompressionType::Producer, to(Codec::Snappy)] {
            let mut builder = BatchBuilder::new(0).codec(codec, None);
            for i in 0..6u8 {
                builder.push_pair(NOW, (i == 1).then_some(b"k"), None);
            }
            let mut batch = builder.build();
            let compacted = ValidateArgs { compacted: true, compression, ..args() };
            let error = validate(&mut batch, &compacted).unwrap_err();
            assert_eq!(error.code(), ErrorCode::INVALID_RECORD);
            let at: Vec<_> = error.record_errors().iter().map(|error| error.batch_index).collect();
            assert_eq!(at, [0, 2, 3, 4, 5]);
            assert_eq!(
                error.to_string(),
                "One or more records have been rejected due to 5 record errors in total, and only showing the \
                 first three errors at most: [RecordError(batchIndex=0, message='Compacted topic cannot accept \
                 message without key in topic partition t-0'), RecordError(batchIndex=2, message='Compacted topic \
                 cannot accept message without key in topic partition t-0'), RecordError(batchIndex=3, \
                 message='Compacted topic cannot accept message without key in topic partition t-0')]"
            );
            assert_eq!(code(&batch, &args()), ErrorCode::NONE);
        }
    }
}

#[test]
fn timestamps_out_of_range() {
    let late = ValidateArgs { timestamp_before_max_ms: 1, ..args() };
    let early = ValidateArgs { timestamp_after_max_ms: 0, now_ms: NOW - 1, ..args() };
    for codec in Codec::ALL {
        let error = validate(&mut sent(codec), &late).unwrap_err();
        assert_eq!(error.code(), ErrorCode::INVALID_TIMESTAMP);
        assert_eq!(error.to_string(), "One or more records have been rejected due to invalid timestamp");
        let [only] = error.record_errors() else { panic!("{error:?}") };
        assert_eq!(only.batch_index, 2);
        assert_eq!(
            only.message(tp()),
            format!(
                "Timestamp {} of message with offset 2 is out of range. \
                 The timestamp should be within [{}, {}]",
                NOW - 2,
                NOW - 1,
                NOW + 3_600_000
            )
        );
        assert_eq!(validate(&mut sent(codec), &early).unwrap_err().record_errors().len(), 1);
        let any = ValidateArgs { timestamp_type: TimestampType::LogAppendTime, ..late };
        assert_eq!(code(&sent(codec), &any), ErrorCode::NONE);
    }
    let mut unset = BatchBuilder::new(0);
    unset.push_pair(-1, None, None);
    let done = validate(&mut unset.build(), &late).unwrap();
    assert_eq!(done.max_timestamp, -1);
}

#[test]
fn the_append_time_bit_of_a_client() {
    let stamped = |timestamp| {
        let mut builder = BatchBuilder::new(0).append_time(timestamp);
        builder.push_pair(NOW, None, None);
        builder.build()
    };
    let append_time = ValidateArgs { timestamp_type: TimestampType::LogAppendTime, ..args() };
    assert_eq!(code(&stamped(NOW), &append_time), ErrorCode::INVALID_TIMESTAMP);
    assert_eq!(code(&stamped(-1), &args()), ErrorCode::INVALID_TIMESTAMP);
    let mut batch = stamped(NOW);
    validate(&mut batch, &args()).unwrap();
    assert_eq!(BatchHeader::parse(&batch).unwrap().timestamp_type(), TimestampType::CreateTime);
    verify_crc(&batch).unwrap();
}

#[test]
fn inner_offsets_of_old_clients() {
    for codec in Codec::ALL {
        let mut builder = BatchBuilder::new(0).codec(codec, None);
        for offset in [5, 9, 40] {
            builder.push_at(offset, NOW, &RecordData::default());
        }
        let mut batch = builder.last_offset(2).build();
        let done = validate(&mut batch, &args()).unwrap();
        if codec == Codec::None {
            assert!(done.rewritten.is_none(), "Kafka does not look at these");
            continue;
        }
        let rewritten = done.rewritten.unwrap();
        assert_eq!(records(&rewritten).iter().map(|r| r.1).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(BatchHeader::parse(&rewritten).unwrap().codec(), Some(codec));
    }
}

#[test]
fn other_origins() {
    let coordinator = ValidateArgs { origin: AppendOrigin::Coordinator, ..args() };
    let mut marker = BatchBuilder::new(0).producer(1, 0, -1).transactional(true).control();
    marker.push_pair(NOW, Some(&[0, 0, 0, 1]), Some(&[0; 6]));
    let zstd = ValidateArgs { compression: to(Codec::Zstd), ..coordinator };
    let mut both = marker.build();
    let plain = both.len();
    both.unsplit(sent(Codec::None));
    let done = validate(&mut both, &zstd).unwrap();
    let rewritten = done.rewritten.unwrap();
    assert_eq!(rewritten[..plain], both[..plain], "control records are stored as they are");
    assert_eq!(BatchHeader::parse(&rewritten[plain..]).unwrap().codec(), Some(Codec::Zstd));
    assert_eq!((done.records, done.len), (4, both.len()));

    let raft = ValidateArgs { origin: AppendOrigin::RaftLeader, leader_epoch: 4, ..zstd };
    let mut builder = BatchBuilder::new(77).leader_epoch(4);
    builder.push_pair(NOW, None, None);
    let done = validate(&mut builder.build(), &raft).unwrap();
    assert_eq!((done.rewritten, done.records), (None, 1));
    assert_eq!(code(&sent(Codec::None), &raft), ErrorCode::INVALID_RECORD);
}

#[test]
fn request_versions() {
    let request = |version, batch: &[u8]| check_request(version, batch).map_err(|error| error.code());
    let (plain, zstd) = (sent(Codec::None), sent(Codec::Zstd));
    assert_eq!(request(3, &plain), Ok(()));
    assert_eq!(request(7, &zstd), Ok(()));
    assert_eq!(request(6, &zstd), Err(ErrorCode::UNSUPPORTED_COMPRESSION_TYPE));
    assert_eq!(request(3, &[]), Err(ErrorCode::INVALID_RECORD));
    assert_eq!(request(3, &[&plain[..], &plain[..]].concat()), Err(ErrorCode::INVALID_RECORD));
    let mut legacy = plain.clone();
    legacy[16] = 1;
    assert_eq!(request(3, &legacy), Err(ErrorCode::INVALID_RECORD));
    let mut strange = plain;
    strange[16] = 9;
    assert_eq!(request(9, &strange), Err(ErrorCode::CORRUPT_MESSAGE));
}

fn any_compression() -> impl Strategy<Value = CompressionType> {
    let to = proptest::sample::select(&Codec::ALL[..]).prop_map(to);
    prop_oneof![Just(CompressionType::Producer), to]
}

type OwnedPair = (Option<Vec<u8>>, Option<Vec<u8>>);

fn build(codec: Codec, pairs: &[OwnedPair]) -> BytesMut {
    let mut builder = BatchBuilder::new(0).codec(codec, None);
    for (key, value) in pairs {
        builder.push_pair(NOW, key.as_deref(), value.as_deref());
    }
    builder.build()
}

fn any_pair() -> impl Strategy<Value = OwnedPair> {
    let field = |max| proptest::option::of(vec(any::<u8>(), 0..max));
    (field(10), field(100))
}

proptest! {
    #[test]
    fn records_survive(
        source in proptest::sample::select(&Codec::ALL[..]),
        compression in any_compression(),
        pairs in vec(any_pair(), 1..20),
    ) {
        let sent = build(source, &pairs);
        let mut batch = sent.to_vec();
        let done = validate(&mut batch, &ValidateArgs { compression, ..args() }).unwrap();
        prop_assert_eq!(records(done.rewritten.as_deref().unwrap_or(&batch)), records(&sent));
    }

    /// With a CRC that fits, so that the damage gets through to the records.
    #[test]
    fn damage_never_panics(
        source in proptest::sample::select(&Codec::ALL[..]),
        compression in any_compression(),
        pairs in vec(any_pair(), 1..5),
        flips in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        coordinator in any::<bool>(),
    ) {
        let mut batch = build(source, &pairs);
        for (at, byte) in flips {
            let at = 21 + at.index(batch.len() - 21);
            batch[at] = byte;
        }
        patch_crc(&mut batch);
        let origin = if coordinator { AppendOrigin::Coordinator } else { AppendOrigin::Client };
        let bounded = ValidateArgs { compression, origin, max_decompressed_bytes: 1 << 16, ..args() };
        if let Ok(done) = validate(&mut batch, &bounded) {
            let stored = done.rewritten.as_deref().unwrap_or(&batch);
            prop_assert!(verify_crc(stored).is_ok());
        }
    }
}
