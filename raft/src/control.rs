//! Control records of the metadata log: leader change, snapshot header and footer, `kraft.version`, voters.
//!
//! Key: version and type, two `i16`. Value: a flexible message whose first field is its version, 0 for all.
//! Apache 4.1 still writes LeaderChange version 0 at kraft.version 1, and 3.9 can read no other.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use uuid::Uuid;

use crate::batch::{self, Batch, BatchError, KeyValue};
use crate::replica::{Endpoint, ReplicaKey};
use crate::voters::{Voter, VoterSet};

/// A control record that the Raft layer writes or follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ControlRecord {
    /// First record of an epoch.
    LeaderChange {
        /// The new leader.
        leader_id: i32,
        /// Voters at the election.
        voters: Vec<i32>,
        /// Those that voted for the leader.
        granting_voters: Vec<i32>,
    },
    /// First record of a snapshot.
    SnapshotHeader {
        /// Append time of the last record that the snapshot contains, in ms.
        last_contained_log_timestamp_ms: i64,
    },
    /// Last record of a snapshot.
    SnapshotFooter,
    /// Level of `kraft.version` from here on.
    KRaftVersion(i16),
    /// Voters from here on.
    Voters(VoterSet),
    /// A type that this layer does not follow (such as a transaction marker).
    Other(i16),
}

impl ControlRecord {
    fn kind(&self) -> i16 {
        match self {
            ControlRecord::LeaderChange { .. } => 2,
            ControlRecord::SnapshotHeader { .. } => 3,
            ControlRecord::SnapshotFooter => 4,
            ControlRecord::KRaftVersion(_) => 5,
            ControlRecord::Voters(_) => 6,
            ControlRecord::Other(kind) => *kind,
        }
    }

    /// Key and value as a record has them.
    pub fn encode(&self) -> KeyValue {
        let mut key = BytesMut::with_capacity(4);
        key.put_i16(0);
        key.put_i16(self.kind());
        let mut out = BytesMut::new();
        out.put_i16(0);
        match self {
            ControlRecord::LeaderChange { leader_id, voters, granting_voters } => {
                out.put_i32(*leader_id);
                for ids in [voters, granting_voters] {
                    put_uvarint(&mut out, ids.len() as u32 + 1);
                    for id in ids {
                        out.put_i32(*id);
                        out.put_u8(0);
                    }
                }
            }
            ControlRecord::SnapshotHeader { last_contained_log_timestamp_ms } => {
                out.put_i64(*last_contained_log_timestamp_ms);
            }
            ControlRecord::KRaftVersion(version) => out.put_i16(*version),
            ControlRecord::Voters(voters) => put_voters(&mut out, voters),
            ControlRecord::SnapshotFooter | ControlRecord::Other(_) => {}
        }
        out.put_u8(0);
        (Some(key.freeze()), out.freeze())
    }

    /// Reads a control record; `None` when it is malformed.
    pub fn decode(mut key: &[u8], mut value: &[u8]) -> Option<ControlRecord> {
        key.try_get_i16().ok()?;
        let kind = key.try_get_i16().ok()?;
        let input = &mut value;
        input.try_get_i16().ok()?;
        Some(match kind {
            2 => {
                let leader_id = input.try_get_i32().ok()?;
                ControlRecord::LeaderChange {
                    leader_id,
                    voters: get_ids(input)?,
                    granting_voters: get_ids(input)?,
                }
            }
            3 => ControlRecord::SnapshotHeader { last_contained_log_timestamp_ms: input.try_get_i64().ok()? },
            4 => ControlRecord::SnapshotFooter,
            5 => ControlRecord::KRaftVersion(input.try_get_i16().ok()?),
            6 => ControlRecord::Voters(get_voters(input)?),
            other => ControlRecord::Other(other),
        })
    }
}

/// One control batch.
pub fn encode_batch(base_offset: i64, epoch: i32, timestamp_ms: i64, records: &[ControlRecord]) -> BytesMut {
    let records: Vec<KeyValue> = records.iter().map(ControlRecord::encode).collect();
    batch::encode(base_offset, epoch, timestamp_ms, true, &records)
}

/// The records of a control batch with their offsets.
pub fn decode_batch(batch: &Batch<'_>) -> Result<Vec<(i64, ControlRecord)>, BatchError> {
    let error = BatchError::ControlRecord { base_offset: batch.base_offset() };
    let records = batch.records()?;
    (batch.base_offset()..)
        .zip(records)
        .map(|(offset, (key, value))| Ok((offset, ControlRecord::decode(key, value).ok_or(error)?)))
        .collect()
}

fn put_voters(out: &mut BytesMut, voters: &VoterSet) {
    put_uvarint(out, voters.len() as u32 + 1);
    for voter in voters.iter() {
        out.put_i32(voter.key.id);
        out.put_slice(voter.key.directory_or_zero().as_bytes());
        put_uvarint(out, voter.endpoints.len() as u32 + 1);
        for endpoint in &voter.endpoints {
            put_string(out, &endpoint.name);
            put_string(out, &endpoint.host);
            out.put_u16(endpoint.port);
            out.put_u8(0);
        }
        out.put_i16(voter.min_kraft_version);
        out.put_i16(voter.max_kraft_version);
        out.put_u8(0);
        out.put_u8(0);
    }
}

fn get_voters(input: &mut &[u8]) -> Option<VoterSet> {
    let count = get_count(input)?;
    let mut voters = Vec::new();
    for _ in 0..count {
        let id = input.try_get_i32().ok()?;
        let directory = Uuid::from_u128(input.try_get_u128().ok()?);
        let mut endpoints = Vec::new();
        for _ in 0..get_count(input)? {
            let (name, host) = (get_string(input)?, get_string(input)?);
            endpoints.push(Endpoint { name, host, port: input.try_get_u16().ok()? });
            skip_tags(input)?;
        }
        let min_kraft_version = input.try_get_i16().ok()?;
        let max_kraft_version = input.try_get_i16().ok()?;
        skip_tags(input)?;
        skip_tags(input)?;
        let key = ReplicaKey::new(id, directory);
        voters.push(Voter { key, endpoints, min_kraft_version, max_kraft_version });
    }
    Some(VoterSet::new(voters))
}

fn get_ids(input: &mut &[u8]) -> Option<Vec<i32>> {
    let count = get_count(input)?;
    let mut ids = Vec::new();
    for _ in 0..count {
        ids.push(input.try_get_i32().ok()?);
        skip_tags(input)?;
    }
    Some(ids)
}

fn put_string(out: &mut BytesMut, text: &str) {
    put_uvarint(out, text.len() as u32 + 1);
    out.put_slice(text.as_bytes());
}

fn get_string(input: &mut &[u8]) -> Option<String> {
    let length = get_count(input)? as usize;
    let (text, rest) = input.split_at_checked(length)?;
    *input = rest;
    Some(std::str::from_utf8(text).ok()?.to_owned())
}

/// A compact length: stored plus one; null is refused.
fn get_count(input: &mut &[u8]) -> Option<u32> {
    get_uvarint(input)?.checked_sub(1)
}

fn skip_tags(input: &mut &[u8]) -> Option<()> {
    for _ in 0..get_uvarint(input)? {
        get_uvarint(input)?;
        let size = get_uvarint(input)? as usize;
        *input = input.get(size..)?;
    }
    Some(())
}

fn put_uvarint(out: &mut BytesMut, mut value: u32) {
    while value >= 0x80 {
        out.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

fn get_uvarint(input: &mut &[u8]) -> Option<u32> {
    let mut value = 0u32;
    for shift in (0..35).step_by(7) {
        let byte = input.try_get_u8().ok()?;
        value |= u32::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// The batch that opens a snapshot: header, and from kraft.version 1 on the level and the voters.
pub fn snapshot_header_batch(
    epoch: i32,
    timestamp_ms: i64,
    last_contained_log_timestamp_ms: i64,
    kraft_version: i16,
    voters: Option<&VoterSet>,
) -> Bytes {
    let mut records = vec![ControlRecord::SnapshotHeader { last_contained_log_timestamp_ms }];
    if kraft_version > 0 {
        records.push(ControlRecord::KRaftVersion(kraft_version));
        records.extend(voters.cloned().map(ControlRecord::Voters));
    }
    encode_batch(0, epoch, timestamp_ms, &records).freeze()
}

/// The batch that closes a snapshot; `base_offset` is the number of records before it.
pub fn snapshot_footer_batch(base_offset: i64, epoch: i32, timestamp_ms: i64) -> Bytes {
    encode_batch(base_offset, epoch, timestamp_ms, &[ControlRecord::SnapshotFooter]).freeze()
}
