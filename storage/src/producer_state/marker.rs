//! Transaction markers: control records that end a producer's transaction (Kafka's `EndTransactionMarker`).

use protocol::batch::{BatchHeader, OpenRecordsError, RawBatch};

use super::ProducerError;

const ABORT: i16 = 0;
const COMMIT: i16 = 1;
/// Control batches are tiny; this only bounds what a damaged one may cost.
const MAX_DECOMPRESSED: usize = 64 * 1024;

/// A marker.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EndTxn {
    pub(crate) aborted: bool,
    pub(crate) coordinator_epoch: i32,
    pub(crate) timestamp: i64,
}

impl EndTxn {
    /// The marker in a control batch; `None` if the batch has no records.
    pub(crate) fn of(header: &BatchHeader, batch: &RawBatch<'_>) -> Result<Option<EndTxn>, ProducerError> {
        if header.records_count == 0 {
            return Ok(None);
        }
        let mut scratch = Vec::new();
        let mut records =
            batch.open_records(MAX_DECOMPRESSED, &mut scratch).map_err(|error| match error {
                OpenRecordsError::Batch(error) => ProducerError::Batch(error),
                OpenRecordsError::Decompress(_) => ProducerError::Marker("it cannot be decompressed"),
            })?;
        let Some(Ok(record)) = records.next() else {
            return Err(ProducerError::Marker("its record cannot be read"));
        };
        let Some(&[k0, k1, t0, t1]) = record.key.and_then(|key| key.first_chunk::<4>()) else {
            return Err(ProducerError::Marker("its key is too short"));
        };
        let aborted = match (i16::from_be_bytes([k0, k1]), i16::from_be_bytes([t0, t1])) {
            (0.., ABORT) => true,
            (0.., COMMIT) => false,
            _ => return Err(ProducerError::Marker("unknown type of control record")),
        };
        let Some(&[v0, v1, a, b, c, d]) = record.value.and_then(|value| value.first_chunk::<6>()) else {
            return Err(ProducerError::Marker("its value is too short"));
        };
        if i16::from_be_bytes([v0, v1]) < 0 {
            return Err(ProducerError::Marker("its value has a negative version"));
        }
        let coordinator_epoch = i32::from_be_bytes([a, b, c, d]);
        Ok(Some(EndTxn { aborted, coordinator_epoch, timestamp: header.timestamp_of(&record) }))
    }
}
