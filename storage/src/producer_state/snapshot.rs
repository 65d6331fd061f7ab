//! Snapshots of the producers: the content of `.snapshot` files.
//!
//! Big-endian: version (i16, 1), CRC-32C of what follows it (u32), number of producers (i32), then per producer: id
//! (i64), epoch (i16), last sequence (i32), last offset (i64), last offset delta (i32), last timestamp (i64),
//! coordinator epoch (i32), first offset of the open transaction (i64, -1 for none). Of its batches only the last one is
//! kept.

use bytes::BufMut;

use super::{BatchMetadata, ProducerEntry, ProducerStates, is_expired};

const VERSION: i16 = 1;
const CRC_END: usize = 6;
const HEADER: usize = 10;
const ENTRY: usize = 46;

/// What is wrong with a snapshot: the file is to be removed, and an older one loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// A version that is not known.
    #[error("snapshot has the unknown version {0}")]
    Version(i16),
    /// The bytes are not as long as their number of producers asks for.
    #[error("snapshot of {0} bytes does not fit its number of producers")]
    Size(usize),
    /// The bytes are not those that were written.
    #[error("snapshot is corrupt (stored crc = {stored}, computed crc = {computed})")]
    Crc {
        /// As stored.
        stored: u32,
        /// Of the bytes.
        computed: u32,
    },
}

/// Reads the fields of an entry one after the other.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    /// The next `N` bytes; zeros if they are not there, which the callers have excluded.
    fn next<const N: usize>(&mut self) -> [u8; N] {
        match self.0.split_first_chunk::<N>() {
            Some((field, rest)) => {
                self.0 = rest;
                *field
            }
            None => [0; N],
        }
    }

    fn i64(&mut self) -> i64 {
        i64::from_be_bytes(self.next())
    }

    fn i32(&mut self) -> i32 {
        i32::from_be_bytes(self.next())
    }
}

/// Reads a snapshot: producers by id.
fn decode(bytes: &[u8]) -> Result<Vec<(i64, ProducerEntry)>, SnapshotError> {
    let size = SnapshotError::Size(bytes.len());
    let (header, entries) = bytes.split_first_chunk::<HEADER>().ok_or(size)?;
    let [v0, v1, c0, c1, c2, c3, count @ ..] = *header;
    let version = i16::from_be_bytes([v0, v1]);
    if version != VERSION {
        return Err(SnapshotError::Version(version));
    }
    let (entries, rest) = entries.as_chunks::<ENTRY>();
    if !rest.is_empty() || usize::try_from(i32::from_be_bytes(count)) != Ok(entries.len()) {
        return Err(size);
    }
    let stored = u32::from_be_bytes([c0, c1, c2, c3]);
    let computed = crc_fast::crc32_iscsi(&bytes[CRC_END..]);
    if stored != computed {
        return Err(SnapshotError::Crc { stored, computed });
    }
    Ok(entries.iter().map(decode_entry).collect())
}

fn decode_entry(bytes: &[u8; ENTRY]) -> (i64, ProducerEntry) {
    let mut fields = Fields(bytes);
    let producer_id = fields.i64();
    let mut entry = ProducerEntry::empty();
    entry.producer_epoch = i16::from_be_bytes(fields.next());
    let (last_sequence, last_offset, offset_delta) = (fields.i32(), fields.i64(), fields.i32());
    entry.last_timestamp = fields.i64();
    entry.coordinator_epoch = fields.i32();
    entry.current_txn_first_offset = Some(fields.i64()).filter(|first| *first >= 0);
    if last_offset >= 0 {
        let timestamp = entry.last_timestamp;
        entry.push(BatchMetadata { last_sequence, last_offset, offset_delta, timestamp });
    }
    (producer_id, entry)
}

fn encode(producers: &[(i64, ProducerEntry)]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER + producers.len() * ENTRY);
    out.put_i16(VERSION);
    out.put_u32(0);
    out.put_i32(producers.len() as i32);
    for (producer_id, entry) in producers {
        let last = entry.batches().last();
        out.put_i64(*producer_id);
        out.put_i16(entry.producer_epoch);
        out.put_i32(entry.last_sequence());
        out.put_i64(last.map_or(-1, |last| last.last_offset));
        out.put_i32(last.map_or(0, |last| last.offset_delta));
        out.put_i64(entry.last_timestamp);
        out.put_i32(entry.coordinator_epoch);
        out.put_i64(entry.current_txn_first_offset.unwrap_or(-1));
    }
    let crc = crc_fast::crc32_iscsi(&out[CRC_END..]);
    out[2..CRC_END].copy_from_slice(&crc.to_be_bytes());
    out
}

impl ProducerStates {
    /// Whether something was appended since the last snapshot.
    pub fn needs_snapshot(&self) -> bool {
        self.map_end_offset > self.snapshot_offset
    }

    /// The content of a snapshot file for [`ProducerStates::map_end_offset`]. Once it is written:
    /// [`ProducerStates::set_snapshot_offset`].
    pub fn snapshot(&self) -> Vec<u8> {
        encode(&self.producers())
    }

    /// Notes that there is a snapshot at `offset`.
    pub fn set_snapshot_offset(&mut self, offset: i64) {
        self.snapshot_offset = offset;
    }

    /// Replaces everything by the snapshot that was taken at `offset`, without producers that have expired by now.
    /// Changes nothing if the snapshot cannot be read.
    pub fn load_snapshot(&mut self, bytes: &[u8], offset: i64, now_ms: i64) -> Result<(), SnapshotError> {
        let producers = decode(bytes)?;
        self.clear(offset);
        for (producer_id, entry) in producers {
            if is_expired(&entry, now_ms, self.expiration_ms) {
                continue;
            }
            self.entries.insert(producer_id, Box::new(entry));
        }
        // A producer that is there twice counts once.
        let open = |(id, first_offset): (i64, Option<i64>)| Some((first_offset?, id));
        let all = self.entries.iter().map(|(id, entry)| (*id, entry.current_txn_first_offset));
        self.ongoing = all.filter_map(open).collect();
        Ok(())
    }
}
