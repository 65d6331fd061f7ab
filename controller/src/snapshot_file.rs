//! Snapshot files: `%020d-%010d.checkpoint` and `bootstrap.checkpoint` (KIP-630).
//!
//! A control batch with the header, data batches, a control batch with the footer; offsets count from 0.

use std::path::Path;

use bytes::{Bytes, BytesMut};
use protocol::control::ControlRecord;
use protocol::records::Record;
use raft::VoterSet;
use raft::batch::{self, KeyValue};
use raft::control;

/// The most records of one data batch.
const RECORDS_PER_BATCH: usize = 1_024;

/// What the header of a snapshot says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header<'a> {
    /// Epoch of the last record that the snapshot contains.
    pub(crate) epoch: i32,
    /// Append time of the batches.
    pub(crate) timestamp_ms: i64,
    /// Append time of the last record that the snapshot contains.
    pub(crate) last_contained_log_timestamp_ms: i64,
    /// Finalized `kraft.version`.
    pub(crate) kraft_version: i16,
    /// The voters, which a snapshot holds from `kraft.version` 1 on.
    pub(crate) voters: Option<&'a VoterSet>,
}

/// A file that is no snapshot.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// It cannot be read.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// Its bytes are no batches.
    #[error(transparent)]
    Batch(#[from] raft::batch::BatchError),
    /// It holds a record that is not known.
    #[error(transparent)]
    Record(#[from] protocol::records::RecordError),
    /// It does not begin with a header or end with a footer.
    #[error("the snapshot has no {0}")]
    Incomplete(&'static str),
}

/// The version in which a controller writes `record`: for a change of a registration the lowest that can hold it, as
/// Kafka does, for others what `metadata_version` allows.
pub(crate) fn record_version(record: &Record, metadata_version: i16) -> i16 {
    match record {
        Record::BrokerRegistrationChange(change) if !change.log_dirs.is_empty() => 2,
        Record::BrokerRegistrationChange(change) => i16::from(change.in_controlled_shutdown != 0),
        other => other.version_for(metadata_version),
    }
}

/// The value of `record` in the metadata log.
pub(crate) fn encode_record(
    record: &Record,
    metadata_version: i16,
) -> Result<Bytes, protocol::wire::EncodeError> {
    let mut value = BytesMut::new();
    record.encode(record_version(record, metadata_version), &mut value)?;
    Ok(value.freeze())
}

/// The bytes of a whole snapshot.
pub(crate) fn encode(
    header: Header<'_>,
    records: &[Record],
    metadata_version: i16,
) -> Result<Vec<u8>, protocol::wire::EncodeError> {
    let Header { epoch, timestamp_ms, last_contained_log_timestamp_ms, kraft_version, voters } = header;
    let first = control::snapshot_header_batch(
        epoch,
        timestamp_ms,
        last_contained_log_timestamp_ms,
        kraft_version,
        voters,
    );
    let mut offset = batch::batches(&first).flatten().map(|batch| batch.next_offset()).last().unwrap_or(1);
    let mut out = first.to_vec();
    for chunk in records.chunks(RECORDS_PER_BATCH) {
        let values = chunk.iter().map(|record| Ok((None, encode_record(record, metadata_version)?)));
        let values: Vec<KeyValue> = values.collect::<Result<_, _>>()?;
        out.extend_from_slice(&batch::encode(offset, epoch, timestamp_ms, false, &values));
        offset += values.len() as i64;
    }
    out.extend_from_slice(&control::snapshot_footer_batch(offset, epoch, timestamp_ms));
    Ok(out)
}

/// The records of a whole snapshot, and `LastContainedLogTimestamp` of its header.
pub(crate) fn decode(bytes: &[u8]) -> Result<(Vec<Record>, i64), SnapshotError> {
    let mut records = Vec::new();
    let (mut header, mut complete) = (None, false);
    for batch in batch::batches(bytes) {
        let batch = batch?;
        if batch.is_control() {
            for (_, control) in control::decode_batch(&batch)? {
                match control {
                    ControlRecord::SnapshotHeader(found) => {
                        header = Some(found.last_contained_log_timestamp);
                    }
                    ControlRecord::SnapshotFooter(_) => complete = true,
                    _ => {}
                }
            }
        } else {
            for (_, value) in batch.records()? {
                records.push(Record::decode(value)?.0);
            }
        }
        if header.is_none() {
            return Err(SnapshotError::Incomplete("header"));
        }
    }
    let header = header.ok_or(SnapshotError::Incomplete("header"))?;
    if complete { Ok((records, header)) } else { Err(SnapshotError::Incomplete("footer")) }
}

/// The records of `bootstrap.checkpoint` in `dir`; `None` if there is no such file.
///
/// # Errors
/// A file that cannot be read or is no snapshot.
pub fn read_bootstrap(dir: &Path) -> Result<Option<Vec<Record>>, SnapshotError> {
    match std::fs::read(dir.join(crate::format::BOOTSTRAP_FILE)) {
        Ok(bytes) => Ok(Some(decode(&bytes)?.0)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}
