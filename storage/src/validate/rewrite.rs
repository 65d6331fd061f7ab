//! Writes a batch anew: under another codec, or since its offset deltas do not count up from 0.

use std::cell::RefCell;

use protocol::batch::{BatchBuilder, BatchHeader, RawBatch, TimestampType};
use protocol::compress::Codec;

use super::{Outcome, RecordCheck, ValidateArgs, ValidateError};

/// A larger buffer is given back after use.
const KEEP: usize = 4 * 1024 * 1024;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Checks the records and builds a batch with `target`'s codec and level from them; its base offset is 0.
pub(super) fn rewrite(
    batch: &[u8],
    header: &BatchHeader,
    target: (Codec, Option<i32>),
    args: &ValidateArgs<'_>,
) -> Result<Outcome, ValidateError> {
    let mut scratch = SCRATCH.take();
    let result = rewrite_through(&mut scratch, batch, header, target, args);
    if scratch.len() <= KEEP {
        SCRATCH.set(scratch);
    }
    result
}

fn rewrite_through(
    scratch: &mut Vec<u8>,
    batch: &[u8],
    header: &BatchHeader,
    (codec, level): (Codec, Option<i32>),
    args: &ValidateArgs<'_>,
) -> Result<Outcome, ValidateError> {
    let mut check = RecordCheck::new(header, args);
    let mut builder = BatchBuilder::new(0)
        .codec(codec, level)
        .producer(header.producer_id, header.producer_epoch, header.base_sequence)
        .transactional(header.is_transactional());
    if args.timestamp_type == TimestampType::LogAppendTime {
        builder = builder.append_time(args.now_ms);
    }
    let raw = RawBatch { position: 0, bytes: batch };
    for record in raw.open_records(super::max_decompressed(raw.bytes.len(), args), scratch)? {
        let record = record?;
        check.record(record.timestamp_delta, record.offset_delta, record.key.is_some());
        builder.push_copy(header.timestamp_of(&record), &record);
    }
    let max_timestamp = match args.timestamp_type {
        TimestampType::CreateTime => check.finish()?,
        TimestampType::LogAppendTime => {
            check.finish()?;
            args.now_ms
        }
    };
    Ok(Outcome { records: builder.count(), max_timestamp, rewritten: Some(builder.build()) })
}
