//! Control batches of the metadata log: leader change, snapshot header and footer, `kraft.version`, voters.
//!
//! Their encoding is `protocol::control`; here is what a node makes of them. LeaderChange is always version 0:
//! Apache 4.1 writes that at kraft.version 1 too, and 3.9 reads no other.

use bytes::{Bytes, BytesMut};
use protocol::control::{
    ControlRecord, KRaftVersion, KRaftVersionFeature, KRaftVoter, KRaftVoterEndpoint, KRaftVoters,
    LeaderChange, LeaderChangeVoter, SnapshotFooter, SnapshotHeader,
};
use uuid::Uuid;

use crate::batch::{self, Batch, BatchError, KeyValue};
use crate::replica::{Endpoint, ReplicaKey};
use crate::voters::{Voter, VoterSet};

/// The record that opens an epoch.
pub fn leader_change(leader_id: i32, voters: &[i32], granting_voters: &[i32]) -> ControlRecord {
    let list = |ids: &[i32]| -> Vec<LeaderChangeVoter> {
        ids.iter().map(|&voter_id| LeaderChangeVoter { voter_id, voter_directory_id: Uuid::nil() }).collect()
    };
    let (voters, granting_voters) = (list(voters), list(granting_voters));
    ControlRecord::LeaderChange(LeaderChange { leader_id, voters, granting_voters })
}

/// The record of a new level of `kraft.version`.
pub fn kraft_version(level: i16) -> ControlRecord {
    ControlRecord::KRaftVersion(KRaftVersion { kraft_version: level })
}

/// The record of a new voter set.
pub fn voters(set: &VoterSet) -> ControlRecord {
    let voter = |voter: &Voter| KRaftVoter {
        voter_id: voter.key.id,
        voter_directory_id: voter.key.directory_or_zero(),
        endpoints: voter.endpoints.iter().map(wire_endpoint).collect(),
        kraft_version_feature: KRaftVersionFeature {
            min_supported_version: voter.min_kraft_version,
            max_supported_version: voter.max_kraft_version,
        },
    };
    ControlRecord::KRaftVoters(KRaftVoters { voters: set.iter().map(voter).collect() })
}

fn wire_endpoint(endpoint: &Endpoint) -> KRaftVoterEndpoint {
    KRaftVoterEndpoint { name: endpoint.name.clone(), host: endpoint.host.clone(), port: endpoint.port }
}

/// The voter set in a record.
pub fn voter_set(record: &KRaftVoters) -> VoterSet {
    VoterSet::new(record.voters.iter().map(|voter| {
        let endpoint = |endpoint: &KRaftVoterEndpoint| Endpoint {
            name: endpoint.name.clone(),
            host: endpoint.host.clone(),
            port: endpoint.port,
        };
        Voter {
            key: ReplicaKey::new(voter.voter_id, voter.voter_directory_id),
            endpoints: voter.endpoints.iter().map(endpoint).collect(),
            min_kraft_version: voter.kraft_version_feature.min_supported_version,
            max_kraft_version: voter.kraft_version_feature.max_supported_version,
        }
    }))
}

/// One control batch.
pub fn encode_batch(base_offset: i64, epoch: i32, timestamp_ms: i64, records: &[ControlRecord]) -> BytesMut {
    let pair = |record: &ControlRecord| -> KeyValue {
        let (mut key, mut value) = (BytesMut::new(), BytesMut::new());
        record.encode_key(&mut key);
        record.encode_value(&mut value).expect("version 0 holds every field that is set above");
        (Some(key.freeze()), value.freeze())
    };
    let records: Vec<KeyValue> = records.iter().map(pair).collect();
    batch::encode(base_offset, epoch, timestamp_ms, true, &records)
}

/// The records of a control batch with their offsets.
pub fn decode_batch(batch: &Batch<'_>) -> Result<Vec<(i64, ControlRecord)>, BatchError> {
    let error = BatchError::ControlRecord { base_offset: batch.base_offset() };
    let records = batch.records()?;
    (batch.base_offset()..)
        .zip(records)
        .map(|(offset, (key, value))| Ok((offset, ControlRecord::decode(key, value).map_err(|_| error)?)))
        .collect()
}

/// The batch that opens a snapshot: header, and from kraft.version 1 on the level and the voters.
pub fn snapshot_header_batch(
    epoch: i32,
    timestamp_ms: i64,
    last_contained_log_timestamp_ms: i64,
    level: i16,
    set: Option<&VoterSet>,
) -> Bytes {
    let header = SnapshotHeader { last_contained_log_timestamp: last_contained_log_timestamp_ms };
    let mut records = vec![ControlRecord::SnapshotHeader(header)];
    if level > 0 {
        records.push(kraft_version(level));
        records.extend(set.map(voters));
    }
    encode_batch(0, epoch, timestamp_ms, &records).freeze()
}

/// The batch that closes a snapshot; `base_offset` is the number of records before it.
pub fn snapshot_footer_batch(base_offset: i64, epoch: i32, timestamp_ms: i64) -> Bytes {
    let footer = ControlRecord::SnapshotFooter(SnapshotFooter {});
    encode_batch(base_offset, epoch, timestamp_ms, &[footer]).freeze()
}
