//! The answer to a fetch, written field by field so that records go from the file to the socket.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use net::{FileRange, FileSource, Outbox, SENDFILE_MIN_BYTES};
use protocol::ErrorCode;
use storage::SegmentFile;

use crate::api::begin_response;
use crate::context::AnswerContext;
use crate::fetch::read::{Owner, ReadResult};
use crate::fetch::session::{NO_SESSION, TopicKey};
use crate::metadata_cache::LeaderHint;
use crate::metrics::codes;
use crate::wire::FieldWriter;

/// First version with compact fields and tagged fields.
const FLEXIBLE: i16 = 12;

/// Records are read in beside the fields while all that is to be sent is no larger than this; what comes after goes by
/// `sendfile`.
///
/// Measured: some batches fresh from the log, as followers fetch them, cost a tenth to a fifth less, and consumers' fetches
/// of 16 KiB a tenth; a MiB costs several times more.
const READ_IN_BYTES: usize = 128 * 1024;

/// What is to be answered.
pub(crate) struct Answer {
    pub(crate) error: ErrorCode,
    pub(crate) session_id: i32,
    pub(crate) results: Vec<ReadResult>,
}

impl Answer {
    /// The request as a whole failed.
    pub(crate) fn error(error: ErrorCode) -> Self {
        Self { error, session_id: NO_SESSION, results: Vec::new() }
    }
}

/// Writes one whole frame.
pub(crate) fn encode(
    beside: &impl AnswerContext,
    version: i16,
    correlation_id: i32,
    answer: &Answer,
    out: &mut Outbox,
) {
    if answer.error != ErrorCode::NONE {
        codes::note(answer.error);
    }
    let flexible = version >= FLEXIBLE;
    let mark = begin_response(out, correlation_id, flexible);
    let mut w = FieldWriter::new(out.buffer(), flexible);
    w.i32(0);
    if version >= 7 {
        w.i16(answer.error.code());
        w.i32(answer.session_id);
    }
    // Partitions of a topic that follow each other share its entry; a topic may have several.
    let topics: Vec<&[ReadResult]> = answer.results.chunk_by(|a, b| a.key.0 == b.key.0).collect();
    w.array(topics.len());
    let mut leaders: Vec<i32> = Vec::new();
    for topic in topics {
        let mut w = FieldWriter::new(out.buffer(), flexible);
        match &topic[0].key.0 {
            TopicKey::Name(name) => w.string(name),
            TopicKey::Id(id) => w.uuid(*id),
        }
        w.array(topic.len());
        for result in topic {
            beside.fetched(result);
            encode_partition(beside, version, result, out, &mut leaders);
        }
        FieldWriter::new(out.buffer(), flexible).no_tags();
    }
    let mut w = FieldWriter::new(out.buffer(), flexible);
    let endpoints = if version >= 16 { beside.node_endpoints(&leaders) } else { Vec::new() };
    w.node_endpoints(&endpoints);
    out.end_frame(mark);
}

fn encode_partition(
    beside: &impl AnswerContext,
    version: i16,
    result: &ReadResult,
    out: &mut Outbox,
    leaders: &mut Vec<i32>,
) {
    let flexible = version >= FLEXIBLE;
    let mut w = FieldWriter::new(out.buffer(), flexible);
    w.i32(result.key.1);
    let error_at = w.position();
    w.i16(result.error.code());
    w.i64(result.high_watermark);
    w.i64(result.last_stable);
    if version >= 5 {
        w.i64(result.log_start);
    }
    match &result.aborted {
        None => w.null_array(),
        Some(aborted) => {
            w.array(aborted.len());
            for transaction in aborted {
                w.i64(transaction.producer_id);
                w.i64(transaction.first_offset);
                w.no_tags();
            }
        }
    }
    if version >= 11 {
        w.i32(result.preferred.unwrap_or(-1));
    }
    if let Err(error) = encode_records(result, out, flexible) {
        out.buffer()[error_at..error_at + 2].copy_from_slice(&error.code().to_be_bytes());
    }
    let mut w = FieldWriter::new(out.buffer(), flexible);
    if !flexible {
        return;
    }
    let leader = leader_hint(beside, version, result);
    if let Some(leader) = leader {
        leaders.push(leader.id);
    }
    w.tags(u32::from(result.diverging.is_some()) + u32::from(leader.is_some()));
    if let Some((epoch, end_offset)) = result.diverging {
        w.tag(0, |w| {
            w.i32(epoch);
            w.i64(end_offset);
            w.no_tags();
        });
    }
    if let Some(leader) = leader {
        w.tag(1, |w| {
            w.i32(leader.id);
            w.i32(leader.epoch);
            w.no_tags();
        });
    }
}

/// Where the client should go, when it is wrong about the leader.
fn leader_hint(beside: &impl AnswerContext, version: i16, result: &ReadResult) -> Option<LeaderHint> {
    let wrong_leader =
        matches!(result.error, ErrorCode::NOT_LEADER_OR_FOLLOWER | ErrorCode::FENCED_LEADER_EPOCH);
    if version < 16 || !wrong_leader {
        return None;
    }
    match &result.key.0 {
        TopicKey::Name(name) => beside.leader_of(Some(name), None, result.key.1),
        TopicKey::Id(id) => beside.leader_of(None, Some(*id), result.key.1),
    }
}

/// Writes the records, none after an error. A file that cannot be read takes its directory offline.
fn encode_records(result: &ReadResult, out: &mut Outbox, flexible: bool) -> Result<(), ErrorCode> {
    let Some(slice) = &result.slice else {
        FieldWriter::new(out.buffer(), flexible).bytes_length(0);
        return Ok(());
    };
    let reads_in = slice.len < SENDFILE_MIN_BYTES || out.len() + slice.len <= READ_IN_BYTES;
    if !reads_in {
        FieldWriter::new(out.buffer(), flexible).bytes_length(slice.len);
        let file = Arc::new(Source { segment: slice.segment.clone(), owner: result.owner.clone() });
        out.push_file(FileRange { file, position: slice.position, len: slice.len });
        return Ok(());
    }
    // Small: cheaper to read in beside the fields than to send on its own.
    let buffer = out.buffer();
    let field = buffer.len();
    FieldWriter::new(buffer, flexible).bytes_length(slice.len);
    let start = buffer.len();
    buffer.resize(start + slice.len, 0);
    let read = slice.segment.read_at(&mut buffer[start..], slice.position);
    let n = *read.as_ref().unwrap_or(&0);
    if n < slice.len {
        // The file ends early, or cannot be read: the length was promised too soon.
        let found = buffer[start..start + n].to_vec();
        buffer.truncate(field);
        FieldWriter::new(buffer, flexible).bytes_length(n);
        buffer.extend_from_slice(&found);
    }
    match (read, &result.owner) {
        (Ok(_), _) => Ok(()),
        (Err(error), Some(owner)) => Err(owner.failed(error)),
        (Err(_), None) => Err(ErrorCode::KAFKA_STORAGE_ERROR),
    }
}

/// A segment that records are sent from.
struct Source {
    segment: Arc<SegmentFile>,
    owner: Option<Owner>,
}

impl FileSource for Source {
    fn fd(&self) -> BorrowedFd<'_> {
        self.segment.as_fd()
    }

    fn failed(&self, error: &io::Error) {
        if let Some(owner) = &self.owner {
            owner.failed(
                error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error),
            );
        }
    }
}
