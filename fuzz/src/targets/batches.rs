//! Record batches of every codec: walking, listing and checking records, rewriting, codecs alone.
//!
//! Invariants: the two ways to read records agree; what validation lets pass has a right checksum and as many records
//! as its header says, with offsets that count up from 0 if it was written anew; nothing is decompressed beyond the
//! caller's limit; what is compressed comes back.

use bytes::BytesMut;
use protocol::batch::{
    self, BatchHeader, HEADER_SIZE, RawBatch, RecordStream, RecordStreamError, TimestampType,
};
use protocol::compress::{self, Codec, with_decompressor};
use storage::validate::{self, CompressionType, ValidateArgs};
use storage::{AppendOrigin, TopicPartition};

use crate::source::Source;

/// Most bytes that a batch of the target may decompress to.
const LIMIT: usize = 64 * 1024;

/// The first four bytes choose what is done, the others are batches.
pub(super) fn run(input: &[u8]) {
    let mut source = Source::new(input);
    let (flags, codec) = (source.byte(), source.byte());
    let args = (source.byte(), source.byte());
    let mut bytes = source.rest().to_vec();
    if flags & 1 != 0 && bytes.len() >= HEADER_SIZE && flags & 2 != 0 {
        bytes = with_compressed_records(&bytes, Codec::ALL[usize::from(codec) % Codec::ALL.len()]);
    }
    if flags & 1 != 0 {
        repair(&mut bytes);
    }
    for batch in batch::batches(&bytes) {
        let Ok(batch) = batch else { break };
        read(&batch);
    }
    check(&bytes, flags, args);
}

/// Makes sizes and checksums right, so that a mutant gets beyond them.
pub(super) fn repair(bytes: &mut [u8]) {
    let mut at = 0;
    while bytes.len() - at >= HEADER_SIZE {
        let rest = &mut bytes[at..];
        rest[16] = 2;
        let size = match BatchHeader::parse(rest) {
            Ok(header) if header.size() <= rest.len() => header.size(),
            _ => rest.len(),
        };
        rest[8..12].copy_from_slice(&((size - batch::LENGTH_OVERHEAD) as u32).to_be_bytes());
        batch::patch_crc(&mut rest[..size]);
        at += size;
    }
}

/// One batch of these bytes, its records compressed.
fn with_compressed_records(bytes: &[u8], codec: Codec) -> Vec<u8> {
    let (header, records) = bytes.split_at(HEADER_SIZE);
    let mut out = header.to_vec();
    out.extend_from_slice(&compress::compress(codec, None, records));
    out[22] = out[22] & !7 | codec.id();
    let length = (out.len() - batch::LENGTH_OVERHEAD) as u32;
    out[8..12].copy_from_slice(&length.to_be_bytes());
    out
}

/// Every way to read a batch.
fn read(batch: &RawBatch<'_>) {
    let _ = batch::verify_crc(batch.bytes);
    let Ok(header) = batch.header() else { return };
    assert_eq!(header.size(), batch.bytes.len());
    let _ = (header.last_offset(), header.next_offset(), header.last_sequence(), header.delete_horizon_ms());
    let Some(codec) = header.codec() else { return };
    let mut scratch = Vec::new();
    let listed = batch.open_records(LIMIT, &mut scratch).map_err(drop).and_then(|records| {
        records
            .map(|record| {
                record
                    .map(|record| {
                        assert_eq!(record.headers.count(), record.headers.len());
                        (
                            record.attributes,
                            record.timestamp_delta,
                            record.offset_delta,
                            record.key.is_some(),
                            record.size,
                        )
                    })
                    .map_err(drop)
            })
            .collect::<Result<Vec<_>, ()>>()
    });
    if let Some(records) = batch.records() {
        assert!(records.filter(Result::is_ok).count() >= listed.as_ref().map_or(0, Vec::len));
    }
    assert!(scratch.len() <= LIMIT, "more than allowed was decompressed");
    let streamed = stream(&header, codec, &batch.bytes[HEADER_SIZE..]);
    if codec == Codec::None {
        // The stream's limit counts there, too.
        assert!(batch.bytes.len() > LIMIT || listed.ok() == streamed.ok());
    } else {
        assert_eq!(listed.ok(), streamed.ok(), "listing and streaming records differ");
    }
    body(codec, &batch.bytes[HEADER_SIZE..]);
}

type Skim = (i8, i64, i32, bool, usize);

fn stream(header: &BatchHeader, codec: Codec, body: &[u8]) -> Result<Vec<Skim>, RecordStreamError> {
    with_decompressor(|decompressor| {
        let mut pieces = decompressor.pieces(codec, body, LIMIT);
        let mut records = RecordStream::new(&mut pieces);
        let mut found = Vec::new();
        for _ in 0..header.records_count {
            let skim = records.next_record()?;
            found.push((skim.attributes, skim.timestamp_delta, skim.offset_delta, skim.has_key, skim.size));
        }
        if header.records_count < 0 {
            return Err(batch::RecordFormatError::Count(header.records_count).into());
        }
        if records.at_end()? { Ok(found) } else { Err(batch::RecordFormatError::TooMany.into()) }
    })
}

/// The codec by itself: what comes out goes in again.
fn body(codec: Codec, body: &[u8]) {
    let Ok(plain) = compress::decompress(codec, body, LIMIT) else { return };
    assert!(plain.len() <= LIMIT);
    let again = compress::compress(codec, None, &plain);
    assert_eq!(compress::decompress(codec, &again, plain.len()).as_deref(), Ok(&plain[..]));
    if let Some(less) = plain.len().checked_sub(1) {
        assert!(compress::decompress(codec, &again, less).is_err(), "the limit holds");
    }
}

/// What a Produce request does with the bytes.
fn check(bytes: &[u8], flags: u8, (kind, times): (u8, u8)) {
    let _ = validate::check_request(i16::from(kind % 16), bytes);
    let compression = match kind >> 4 {
        0..8 => CompressionType::Producer,
        n => CompressionType::Codec {
            codec: Codec::ALL[usize::from(n) % Codec::ALL.len()],
            level: (n % 2 == 0).then_some(1),
        },
    };
    let topic_partition = TopicPartition::new("t", 0);
    let args = ValidateArgs {
        topic_partition: &topic_partition,
        origin: if flags & 4 != 0 { AppendOrigin::Coordinator } else { AppendOrigin::Client },
        now_ms: 1_700_000_000_000,
        leader_epoch: 0,
        max_message_bytes: 1_048_588,
        compression,
        compacted: times & 1 != 0,
        timestamp_type: if times & 2 != 0 { TimestampType::LogAppendTime } else { TimestampType::CreateTime },
        timestamp_before_max_ms: i64::MAX,
        timestamp_after_max_ms: if times & 4 != 0 { 3_600_000 } else { i64::MAX },
        max_decompressed_bytes: LIMIT,
        open_compressed: times & 8 == 0,
    };
    let mut copy = bytes.to_vec();
    let Ok(validated) = validate::validate(&mut copy, &args) else { return };
    let was_rewritten = validated.rewritten.is_some();
    let accepted = validated.rewritten.unwrap_or_else(|| BytesMut::from(&copy[..validated.len]));
    let opened = args.open_compressed && args.origin == AppendOrigin::Client;
    let mut records = 0;
    for batch in batch::batches(&accepted) {
        let batch = batch.expect("what was accepted are batches");
        batch::verify_crc(batch.bytes).expect("what was accepted has a right checksum");
        let header = batch.header().expect("what was accepted has format 2");
        records += i64::from(header.records_count);
        if !opened {
            continue;
        }
        let mut scratch = Vec::new();
        let listed = batch.open_records(LIMIT, &mut scratch).expect("what was accepted can be opened");
        let mut count = 0;
        for record in listed {
            let record = record.expect("what was accepted are records");
            assert!(!was_rewritten || record.offset_delta == count, "offsets count up");
            assert!(!args.compacted || record.key.is_some(), "a compacted topic has keys");
            count += 1;
        }
        assert_eq!(count, header.records_count);
        assert_eq!(header.last_offset_delta, count - 1);
    }
    assert_eq!(records, validated.records);
}
