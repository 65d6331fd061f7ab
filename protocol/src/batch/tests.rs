//! Tests of batches: views, patches, builder, on bytes of Apache Kafka and on mutations.

use bytes::BytesMut;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::compress::with_decompressor;

/// Logs that Apache Kafka 4.1.2 wrote.
const GOLDEN: [(&str, &[u8]); 7] = [
    ("codecs-0", include_bytes!("../../testdata/batches/codecs-0.log")),
    ("codecs-1", include_bytes!("../../testdata/batches/codecs-1.log")),
    ("codecs-2", include_bytes!("../../testdata/batches/codecs-2.log")),
    ("codecs-3", include_bytes!("../../testdata/batches/codecs-3.log")),
    ("plain-0", include_bytes!("../../testdata/batches/plain-0.log")),
    ("appendtime-0", include_bytes!("../../testdata/batches/appendtime-0.log")),
    ("txn-0", include_bytes!("../../testdata/batches/txn-0.log")),
];

/// Reads a batch and builds it again; the records are written as `codec`.
fn rebuild(batch: &RawBatch<'_>, codec: Codec) -> BytesMut {
    let header = batch.header().unwrap();
    let mut builder = BatchBuilder::new(header.base_offset)
        .leader_epoch(header.partition_leader_epoch)
        .codec(codec, None)
        .producer(header.producer_id, header.producer_epoch, header.base_sequence)
        .transactional(header.is_transactional());
    if header.is_control() {
        builder = builder.control();
    }
    if header.timestamp_type() == TimestampType::LogAppendTime {
        builder = builder.append_time(header.max_timestamp);
    }
    let mut scratch = Vec::new();
    for record in batch.open_records(1 << 20, &mut scratch).unwrap() {
        let record = record.unwrap();
        let headers: Vec<_> = record.headers.map(|h| (h.key, h.value)).collect();
        let data = RecordData { key: record.key, value: record.value, headers: &headers };
        let offset = header.base_offset + i64::from(record.offset_delta);
        builder.push_at(offset, header.base_timestamp + record.timestamp_delta, &data);
    }
    builder.build()
}

#[test]
fn golden_logs_are_read_and_built_again() {
    for (name, log) in GOLDEN {
        let mut walk = batches(log);
        let mut next_offset = 0;
        for batch in walk.by_ref() {
            let batch = batch.unwrap();
            let header = batch.header().unwrap();
            verify_crc(batch.bytes).unwrap();
            assert_eq!(header.base_offset, next_offset, "{name}");
            next_offset = header.next_offset();
            let again = rebuild(&batch, header.codec().unwrap());
            if matches!(header.codec(), Some(Codec::None)) {
                assert_eq!(again, batch.bytes, "{name}");
            }
            // Other compressors choose other bytes: what is in them must be the same.
            let plain = RawBatch { position: 0, bytes: &rebuild(&batch, Codec::None) };
            assert_eq!(rebuild(&RawBatch { position: 0, bytes: &again }, Codec::None), plain.bytes, "{name}");
        }
        assert_eq!(walk.trailing(), 0, "{name}");
        assert!(next_offset > 0, "{name}");
    }
}

#[test]
fn golden_codecs_hold_the_same_records() {
    let (_, first) = GOLDEN[0];
    let plain = |log| rebuild(&batches(log).next().unwrap().unwrap(), Codec::None);
    let records = plain(first).to_vec();
    for (_, log) in &GOLDEN[1..4] {
        assert_eq!(plain(log)[BODY..], records[BODY..]);
    }
    let text = String::from_utf8_lossy(&records).into_owned();
    assert!(text.contains("value 19 value value"), "{text}");
}

const BODY: usize = AT_ATTRIBUTES + 2;

#[test]
fn whole_batches_and_what_is_cut_off() {
    let one = BatchBuilder::new(0).push_pair(5, None, Some(b"v")).clone().build();
    let mut bytes = one.to_vec();
    bytes.extend_from_slice(&one);
    for cut in 0..=bytes.len() {
        let mut walk = batches(&bytes[..cut]);
        let whole = walk.by_ref().map(Result::unwrap).count();
        assert_eq!((whole, walk.trailing()), (cut / one.len(), cut % one.len()));
    }
    let mut small = one.clone();
    small[8..12].copy_from_slice(&13i32.to_be_bytes());
    assert_eq!(batches(&small).next(), Some(Err(BatchError::Size(13))));
    assert_eq!(batches(&small[..12]).next(), Some(Err(BatchError::Size(13))));
    let mut strange = one.clone();
    strange[16] = 3;
    assert_eq!(batches(&strange).next(), Some(Err(BatchError::Magic(3))));
    strange[16] = 1;
    let legacy = batches(&strange).next().unwrap().unwrap();
    assert_eq!(legacy.header(), Err(BatchError::Legacy(1)));
    let mut short = one.clone();
    short[8..12].copy_from_slice(&48i32.to_be_bytes());
    assert_eq!(BatchHeader::parse(&short), Err(BatchError::Size(48)));
    assert_eq!(BatchHeader::parse(&one[..60]), Err(BatchError::TooShort(60)));
}

#[test]
fn patches() {
    let mut batch = BatchBuilder::new(0).push_pair(5, None, Some(b"v")).clone().build();
    patch_base_offset(&mut batch, 1 << 40);
    patch_leader_epoch(&mut batch, 7);
    verify_crc(&batch).unwrap();
    assert!(!patch_max_timestamp(&mut batch, TimestampType::CreateTime, 5));
    assert!(patch_max_timestamp(&mut batch, TimestampType::LogAppendTime, 9));
    verify_crc(&batch).unwrap();
    let header = BatchHeader::parse(&batch).unwrap();
    assert_eq!((header.base_offset, header.partition_leader_epoch), (1 << 40, 7));
    assert_eq!((header.timestamp_type(), header.max_timestamp), (TimestampType::LogAppendTime, 9));
    assert_eq!(header.timestamp_of_delta(0), 9);
}

#[test]
fn sequences_wrap() {
    assert_eq!(increment_sequence(i32::MAX, 1), 0);
    assert_eq!(increment_sequence(i32::MAX - 2, 5), 2);
    assert_eq!(decrement_sequence(2, 5), i32::MAX - 2);
    assert_eq!(decrement_sequence(0, 1), i32::MAX);
    assert_eq!(decrement_sequence(7, 7), 0);
}

/// The records of `body`, which has `count` of them, by the iterator and by the stream.
fn both_ways(count: i32, body: &[u8]) -> (Result<usize, RecordFormatError>, bool) {
    let walked = Records::new(count, body).try_fold(0, |n, record| record.map(|_| n + 1));
    let streamed = with_decompressor(|decompressor| {
        let mut pieces = decompressor.pieces(Codec::None, body, usize::MAX);
        let mut stream = RecordStream::new(&mut pieces);
        let whole = (0..count.max(0)).all(|_| stream.next_record().is_ok());
        whole && stream.at_end() == Ok(true) && count >= 0
    });
    (walked, streamed)
}

#[test]
fn record_errors() {
    // size, attributes, timestamp, offset, key null, value null, no headers
    let good = [12u8, 0, 0, 0, 1, 1, 0];
    assert_eq!(both_ways(1, &good), (Ok(1), true));
    assert_eq!(both_ways(0, &[]), (Ok(0), true));
    let cases: [(i32, &[u8], RecordFormatError); 9] = [
        (-1, &good, RecordFormatError::Count(-1)),
        (0, &good, RecordFormatError::TooMany),
        (2, &good, RecordFormatError::TooFew),
        (1, &good[..6], RecordFormatError::Size { size: 6, left: 5 }),
        (1, &[1, 0, 0, 0, 1, 1, 0], RecordFormatError::Size { size: -1, left: 6 }),
        (1, &[14, 0, 0, 0, 1, 1, 0, 0], RecordFormatError::Structure),
        (1, &[12, 0, 0, 0, 8, 1, 0], RecordFormatError::Structure),
        (1, &[12, 0, 0, 0, 1, 1, 4], RecordFormatError::HeaderCount(2)),
        (1, &[16, 0, 0, 0, 1, 1, 2, 1, 1], RecordFormatError::HeaderKey(-1)),
    ];
    for (count, body, error) in cases {
        assert_eq!(both_ways(count, body), (Err(error), false), "{body:?}");
    }
}

type OwnedHeaders = Vec<(Vec<u8>, Option<Vec<u8>>)>;
type OwnedRecord = (i64, Option<Vec<u8>>, Option<Vec<u8>>, OwnedHeaders);

fn bytes_or_null(max: usize) -> impl Strategy<Value = Option<Vec<u8>>> {
    proptest::option::of(vec(any::<u8>(), 0..max))
}

fn any_record() -> impl Strategy<Value = OwnedRecord> {
    let header = (vec(any::<u8>(), 0..8), bytes_or_null(8));
    (0..1_i64 << 42, bytes_or_null(20), bytes_or_null(200), vec(header, 0..3))
}

fn build(codec: Codec, records: &[OwnedRecord]) -> BytesMut {
    let mut builder = BatchBuilder::new(0).codec(codec, None).producer(9, 1, 3);
    for (timestamp, key, value, headers) in records {
        let headers: Vec<_> = headers.iter().map(|(k, v)| (&k[..], v.as_deref())).collect();
        builder.push(
            *timestamp,
            &RecordData { key: key.as_deref(), value: value.as_deref(), headers: &headers },
        );
    }
    builder.build()
}

fn any_codec() -> impl Strategy<Value = Codec> {
    proptest::sample::select(&Codec::ALL[..])
}

proptest! {
    #[test]
    fn round_trip(codec in any_codec(), records in vec(any_record(), 1..30)) {
        let bytes = build(codec, &records);
        verify_crc(&bytes).unwrap();
        let batch = RawBatch { position: 0, bytes: &bytes };
        let header = batch.header().unwrap();
        prop_assert_eq!(header.records_count as usize, records.len());
        prop_assert_eq!(header.max_timestamp, records.iter().map(|r| r.0).max().unwrap());
        let mut scratch = Vec::new();
        let mut skims = Vec::new();
        for (i, record) in batch.open_records(1 << 20, &mut scratch).unwrap().enumerate() {
            let record = record.unwrap();
            let (timestamp, key, value, headers) = &records[i];
            prop_assert_eq!(header.timestamp_of(&record), *timestamp);
            prop_assert_eq!(record.offset_delta as usize, i);
            prop_assert_eq!(record.key, key.as_deref());
            prop_assert_eq!(record.value, value.as_deref());
            let read: OwnedHeaders =
                record.headers.map(|h| (h.key.to_vec(), h.value.map(<[u8]>::to_vec))).collect();
            prop_assert_eq!(&read, headers);
            let borrowed: Vec<_> = headers.iter().map(|(k, v)| (&k[..], v.as_deref())).collect();
            let data = RecordData { key: record.key, value: record.value, headers: &borrowed };
            prop_assert_eq!(record_size(record.offset_delta, record.timestamp_delta, &data), record.size);
            skims.push(RecordSkim {
                attributes: 0,
                timestamp_delta: record.timestamp_delta,
                offset_delta: record.offset_delta,
                has_key: record.key.is_some(),
                size: record.size,
            });
        }
        with_decompressor(|decompressor| {
            let mut pieces = decompressor.pieces(codec, &bytes[HEADER_SIZE..], 1 << 20);
            let mut stream = RecordStream::new(&mut pieces);
            for skim in skims {
                prop_assert_eq!(stream.next_record().unwrap(), skim);
            }
            prop_assert!(stream.at_end().unwrap());
            Ok(())
        })?;
    }

    #[test]
    fn one_flipped_bit_is_refused(codec in any_codec(), records in vec(any_record(), 1..5), at in any::<prop::sample::Index>()) {
        let mut bytes = build(codec, &records);
        let bit = AT_MAGIC * 8 + at.index((bytes.len() - AT_MAGIC) * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(verify_crc(&bytes).is_err());
    }

    #[test]
    fn damage_never_panics(
        codec in any_codec(),
        records in vec(any_record(), 1..5),
        flips in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = build(codec, &records);
        for (at, byte) in flips {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.truncate(cut.index(bytes.len()) + 1);
        for batch in batches(&bytes).flatten() {
            let mut scratch = Vec::new();
            if let Ok(records) = batch.open_records(1 << 16, &mut scratch) {
                for record in records.flatten() {
                    record.headers.for_each(drop);
                }
            }
            prop_assert!(scratch.len() <= 1 << 16);
            if let Ok(header) = batch.header() {
                let _ = (header.last_sequence(), header.next_offset());
            }
        }
    }

    #[test]
    fn both_readers_agree(count in 0..4, body in vec(any::<u8>(), 0..40)) {
        let (walked, streamed) = both_ways(count, &body);
        prop_assert_eq!(walked.is_ok(), streamed);
    }
}

/// Records that lie across the ends of pieces, and some that are larger than a piece.
#[test]
fn streams_go_across_pieces() {
    for codec in Codec::ALL {
        let mut builder = BatchBuilder::new(0).codec(codec, None);
        for i in 0..700usize {
            let value = vec![i as u8; if i % 400 == 7 { 100_000 } else { i % 400 }];
            let headers = [(&b"key"[..], Some(&value[..]))];
            let key = (i % 3 != 0).then_some(&value[..]);
            builder.push(i as i64, &RecordData { key, value: Some(&value), headers: &headers });
        }
        let bytes = builder.build();
        let batch = RawBatch { position: 0, bytes: &bytes };
        let mut scratch = Vec::new();
        let records = batch.open_records(usize::MAX, &mut scratch).unwrap();
        with_decompressor(|decompressor| {
            let mut pieces = decompressor.pieces(codec, &bytes[HEADER_SIZE..], usize::MAX);
            let mut stream = RecordStream::new(&mut pieces);
            for record in records {
                let (record, skim) = (record.unwrap(), stream.next_record().unwrap());
                assert_eq!((skim.offset_delta, skim.size), (record.offset_delta, record.size), "{codec:?}");
                assert_eq!(skim.has_key, record.key.is_some());
            }
            assert_eq!(stream.at_end(), Ok(true));
        });
    }
}
