//! What a leader checks and changes in batches before they are appended.
//!
//! ```text
//! check_request   what the version of a Produce request allows
//! validate        size, magic, CRC of every batch, then per batch
//!                   uncompressed   every record, where it lies
//!                   compressed     every record, while it is decompressed, if its codec is the topic's
//!                   otherwise      decompressed, checked and written anew
//! ```
//!
//! Offsets and the leader epoch are not set here: the log does that when it appends, so that all of this happens
//! without holding the log. A batch that is not rewritten changes at most in attributes, max timestamp and CRC.
//!
//! Invariants: the checks come in Kafka's order and answer with Kafka's codes; records that stay as they are are
//! neither copied nor is anything allocated for them; what is decompressed is bounded by the caller.
//! Source: Kafka's `ProduceRequest.validateRecords`, `UnifiedLog.analyzeAndValidateRecords`, `LogValidator`.

mod error;
mod rewrite;

use bytes::BytesMut;
use protocol::batch::{
    self, BatchError, BatchHeader, HEADER_SIZE, NO_TIMESTAMP, RecordStream, Records, TimestampType,
};
use protocol::compress::{self, Codec, DecompressError, with_decompressor};

use crate::log::AppendOrigin;
use crate::names::TopicPartition;

pub use error::{RecordError, RecordProblem, ValidateError};

use error::{Problems, invalid};

/// What one batch may decompress to at most, if nothing else is said.
pub const DEFAULT_MAX_DECOMPRESSED_BYTES: usize = compress::MAX_DECOMPRESSED;

/// The topic setting `compression.type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CompressionType {
    /// `producer`: batches stay as they were sent.
    #[default]
    Producer,
    /// A codec, or `uncompressed` ([`Codec::None`]): other batches are written anew.
    Codec {
        /// The codec.
        codec: Codec,
        /// `compression.gzip.level` and so on; `None` for Kafka's default.
        level: Option<i32>,
    },
}

impl CompressionType {
    fn target(self, source: Codec) -> (Codec, Option<i32>) {
        match self {
            CompressionType::Producer => (source, None),
            CompressionType::Codec { codec, level } => (codec, level),
        }
    }
}

/// What applies to an append.
#[derive(Debug, Clone, Copy)]
pub struct ValidateArgs<'a> {
    /// Named in messages.
    pub topic_partition: &'a TopicPartition,
    /// Who appends. A client's append is one batch; the metadata leader's are only checked as a whole.
    pub origin: AppendOrigin,
    /// Now, milliseconds since 1970.
    pub now_ms: i64,
    /// Must be in the batches of the metadata leader already; not used for others.
    pub leader_epoch: i32,
    /// `max.message.bytes`: limit of a batch, as it was sent and as it is stored.
    pub max_message_bytes: u32,
    /// `compression.type`, with the level for its codec.
    pub compression: CompressionType,
    /// `cleanup.policy` contains `compact`: records must have keys.
    pub compacted: bool,
    /// `message.timestamp.type`.
    pub timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`.
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`.
    pub timestamp_after_max_ms: i64,
    /// Limit of what one batch decompresses to; see [`DEFAULT_MAX_DECOMPRESSED_BYTES`].
    pub max_decompressed_bytes: usize,
    /// Decompress batches that stay as they are, to check their records. Kafka does. Without it only headers are
    /// checked then, and the max timestamp is the producer's.
    pub open_compressed: bool,
}

/// What is to be appended.
#[derive(Debug)]
pub struct Validated {
    /// Bytes of whole batches at the front of the records: what follows is cut off and must not be appended.
    pub len: usize,
    /// To be appended instead of the records.
    pub rewritten: Option<BytesMut>,
    /// The header of the first batch, as it was sent.
    pub first: BatchHeader,
    /// Number of records.
    pub records: i64,
    /// Largest timestamp (ms), or the append time; -1 if there is none.
    pub max_timestamp: i64,
    /// Goes into the answer: now if the topic says LogAppendTime, else -1.
    pub log_append_time: i64,
}

/// Checks what a Produce request of `version` may carry for a partition, before anything is authorized or looked up.
/// Versions below 3, which Kafka 4 no longer serves, may carry anything.
pub fn check_request(version: i16, records: &[u8]) -> Result<(), ValidateError> {
    if version < 3 {
        return Ok(());
    }
    let only = |rule: &str| invalid(format!("Produce requests with version {version} {rule}"));
    let mut batches = batch::batches(records);
    let Some(first) = batches.next().transpose()? else {
        return Err(only("must have at least one record batch per partition"));
    };
    if first.magic() != batch::MAGIC {
        return Err(only("are only allowed to contain record batches with magic version 2"));
    }
    if version < 7 && first.header()?.codec() == Some(Codec::Zstd) {
        return Err(ValidateError::UnsupportedCompression(version));
    }
    match batches.next().transpose()? {
        None => Ok(()),
        Some(_) => Err(only("are only allowed to contain exactly one record batch per partition")),
    }
}

/// Checks batches that a leader is about to append, and patches them where they lie or writes them anew.
pub fn validate(records: &mut [u8], args: &ValidateArgs<'_>) -> Result<Validated, ValidateError> {
    let (len, first) = check_batches(records, args)?;
    let append_time = args.timestamp_type == TimestampType::LogAppendTime;
    let validates = args.origin != AppendOrigin::RaftLeader;
    let mut done = Validated {
        len,
        rewritten: None,
        first,
        records: 0,
        max_timestamp: NO_TIMESTAMP,
        log_append_time: if append_time && validates { args.now_ms } else { NO_TIMESTAMP },
    };
    let mut at = 0;
    while at < len {
        let header = BatchHeader::parse(&records[at..])?;
        let end = at + header.size();
        let batch = &mut records[at..end];
        let outcome = if validates {
            validate_batch(batch, &header, args)?
        } else {
            Outcome::in_place(header.records_count, header.max_timestamp)
        };
        done.records += i64::from(outcome.records);
        done.max_timestamp = done.max_timestamp.max(outcome.max_timestamp);
        match (&mut done.rewritten, outcome.rewritten) {
            (None, None) => {}
            (Some(out), None) => out.extend_from_slice(batch),
            (rewritten, Some(bytes)) => {
                let size = bytes.len();
                if size > args.max_message_bytes as usize {
                    return Err(ValidateError::TooLarge { size, limit: args.max_message_bytes as usize });
                }
                rewritten.get_or_insert_with(|| BytesMut::from(&records[..at])).unsplit(bytes);
            }
        }
        at = end;
    }
    Ok(done)
}

/// Checks whole batches without looking at records: sizes, magic, CRC, and what each origin may send. Returns the bytes
/// of the whole batches, and the first header. A batch that is cut off at the end does not count.
pub fn check_batches(records: &[u8], args: &ValidateArgs<'_>) -> Result<(usize, BatchHeader), ValidateError> {
    let tp = args.topic_partition;
    let mut first = None;
    let mut batches = batch::batches(records);
    let mut count = 0;
    while let Some(batch) = batches.next().transpose()? {
        let header = match batch.header() {
            Err(BatchError::Legacy(magic)) => {
                return Err(invalid(format!("Batch magic {magic} is not supported in topic partition {tp}")));
            }
            header => header?,
        };
        if args.origin == AppendOrigin::RaftLeader && header.partition_leader_epoch != args.leader_epoch {
            return Err(invalid("Append from Raft leader did not set the batch epoch correctly".into()));
        }
        if args.origin == AppendOrigin::Client && header.base_offset != 0 {
            return Err(invalid(format!(
                "The baseOffset of the record batch in the append to {tp} should be 0, but it is {}",
                header.base_offset
            )));
        }
        let (size, limit) = (batch.bytes.len(), args.max_message_bytes as usize);
        if size > limit {
            return Err(ValidateError::TooLarge { size, limit });
        }
        batch::verify_crc(batch.bytes)?;
        first.get_or_insert(header);
        count += 1;
    }
    let Some(header) = first else {
        return Err(invalid("Record batch has no batches at all".into()));
    };
    if args.origin == AppendOrigin::Client && count > 1 {
        return Err(invalid("Compressed outer record has more than one batch".into()));
    }
    Ok((batches.position(), header))
}

/// What became of a batch.
struct Outcome {
    records: i32,
    max_timestamp: i64,
    rewritten: Option<BytesMut>,
}

impl Outcome {
    fn in_place(records: i32, max_timestamp: i64) -> Self {
        Outcome { records, max_timestamp, rewritten: None }
    }
}

fn validate_batch(
    batch: &mut [u8],
    header: &BatchHeader,
    args: &ValidateArgs<'_>,
) -> Result<Outcome, ValidateError> {
    let Some(source) = header.codec() else {
        return Err(DecompressError::Unsupported(header.attributes & 7).into());
    };
    let (target, level) = args.compression.target(source);
    check_header(header, args)?;
    // Control records are stored as their writer compressed them.
    let stays = source == target || (source == Codec::None && header.is_control());
    if stays && source == Codec::None {
        return validate_uncompressed(batch, header, args);
    }
    if stays && let Some(outcome) = validate_compressed(batch, header, source, args)? {
        return Ok(outcome);
    }
    rewrite::rewrite(batch, header, (target, level), args)
}

/// What may be in a header.
fn check_header(header: &BatchHeader, args: &ValidateArgs<'_>) -> Result<(), ValidateError> {
    if args.origin != AppendOrigin::Client {
        return Ok(());
    }
    let tp = args.topic_partition;
    let (first, last, count) = (header.base_offset, header.last_offset(), header.records_count);
    let offsets = i64::from(header.last_offset_delta) + 1;
    if offsets <= 0 {
        return Err(invalid(format!(
            "Batch has an invalid offset range: [{first}, {last}] in topic partition {tp}"
        )));
    }
    if count <= 0 {
        return Err(invalid(format!(
            "Invalid reported count for record batch: {count} in topic partition {tp}"
        )));
    }
    if offsets != i64::from(count) {
        return Err(invalid(format!(
            "Inconsistent batch offset range [{first}, {last}] and count of records {count} in topic partition {tp}"
        )));
    }
    if header.is_control() {
        return Err(invalid(format!(
            "Clients are not allowed to write control records in topic partition {tp}"
        )));
    }
    if header.has_producer_id() && header.base_sequence < 0 {
        return Err(invalid(format!(
            "Invalid sequence number {} in record batch with producerId {} in topic partition {tp}",
            header.base_sequence, header.producer_id
        )));
    }
    Ok(())
}

/// Checks the records of an uncompressed batch that stays as it is; allocates nothing unless a record is refused.
/// As in Kafka, offset deltas are not looked at.
fn validate_uncompressed(
    batch: &mut [u8],
    header: &BatchHeader,
    args: &ValidateArgs<'_>,
) -> Result<Outcome, ValidateError> {
    let mut check = RecordCheck::new(header, args);
    for record in Records::new(header.records_count, &batch[HEADER_SIZE..]) {
        let record = record?;
        check.record(record.timestamp_delta, record.offset_delta, record.key.is_some());
    }
    check.finish().map(|max_timestamp| stamp(batch, header, max_timestamp, args))
}

/// Checks the records of a compressed batch that stays as it is, while it is decompressed piece by piece. `None` if it
/// cannot stay, since its offset deltas do not count up from 0 (old clients).
fn validate_compressed(
    batch: &mut [u8],
    header: &BatchHeader,
    codec: Codec,
    args: &ValidateArgs<'_>,
) -> Result<Option<Outcome>, ValidateError> {
    if !args.open_compressed {
        return Ok(Some(stamp(batch, header, header.max_timestamp, args)));
    }
    let mut check = RecordCheck::new(header, args);
    let mut in_order = true;
    with_decompressor(|decompressor| -> Result<(), ValidateError> {
        let body = &batch[HEADER_SIZE..];
        let mut pieces = decompressor.pieces(codec, body, max_decompressed(body.len(), args));
        let mut records = RecordStream::new(&mut pieces);
        for index in 0..header.records_count {
            let record = records.next_record()?;
            in_order &= record.offset_delta == index;
            check.record(record.timestamp_delta, record.offset_delta, record.has_key);
        }
        if header.records_count < 0 {
            return Err(batch::RecordFormatError::Count(header.records_count).into());
        }
        if records.at_end()? { Ok(()) } else { Err(batch::RecordFormatError::TooMany.into()) }
    })?;
    let max_timestamp = check.finish()?;
    Ok(in_order.then(|| stamp(batch, header, max_timestamp, args)))
}

/// What so many bytes of a client may decompress to.
fn max_decompressed(compressed: usize, args: &ValidateArgs<'_>) -> usize {
    compress::max_decompressed(compressed, compress::CLIENT_RATIO).min(args.max_decompressed_bytes)
}

/// Sets timestamp type and max timestamp of a batch that stays as it is, and its CRC if they were others.
fn stamp(batch: &mut [u8], header: &BatchHeader, max_timestamp: i64, args: &ValidateArgs<'_>) -> Outcome {
    let max_timestamp = match args.timestamp_type {
        TimestampType::CreateTime => max_timestamp,
        TimestampType::LogAppendTime => args.now_ms,
    };
    batch::patch_max_timestamp(batch, args.timestamp_type, max_timestamp);
    Outcome::in_place(header.records_count, max_timestamp)
}

/// The checks of single records, collected over a batch.
struct RecordCheck<'a> {
    header: &'a BatchHeader,
    args: &'a ValidateArgs<'a>,
    index: i32,
    max_timestamp: i64,
    problems: Problems,
}

impl<'a> RecordCheck<'a> {
    fn new(header: &'a BatchHeader, args: &'a ValidateArgs<'a>) -> Self {
        RecordCheck { header, args, index: 0, max_timestamp: NO_TIMESTAMP, problems: Problems::default() }
    }

    /// Checks the next record.
    #[inline]
    fn record(&mut self, timestamp_delta: i64, offset_delta: i32, has_key: bool) {
        let timestamp = self.header.timestamp_of_delta(timestamp_delta);
        self.max_timestamp = self.max_timestamp.max(timestamp);
        if let Some(problem) = self.problem(timestamp, offset_delta, has_key) {
            self.problems.push(self.index, problem);
        }
        self.index = self.index.saturating_add(1);
    }

    #[inline]
    fn problem(&self, timestamp: i64, offset_delta: i32, has_key: bool) -> Option<RecordProblem> {
        let args = self.args;
        if args.compacted && !has_key {
            return Some(RecordProblem::NoKey);
        }
        let offset = || self.header.base_offset.wrapping_add(i64::from(offset_delta));
        if args.timestamp_type == TimestampType::CreateTime && timestamp != NO_TIMESTAMP {
            let age = args.now_ms.wrapping_sub(timestamp);
            let far = age > args.timestamp_before_max_ms || age.wrapping_neg() > args.timestamp_after_max_ms;
            return far.then(|| RecordProblem::Timestamp {
                timestamp,
                offset: offset(),
                earliest: args.now_ms.wrapping_sub(args.timestamp_before_max_ms),
                latest: args.now_ms.wrapping_add(args.timestamp_after_max_ms),
            });
        }
        (self.header.timestamp_type() == TimestampType::LogAppendTime)
            .then(|| RecordProblem::TimestampType { offset: offset() })
    }

    /// The largest timestamp, if no record is refused.
    fn finish(self) -> Result<i64, ValidateError> {
        self.problems.into_result(self.args.topic_partition)?;
        Ok(self.max_timestamp)
    }
}

#[cfg(test)]
mod tests;
