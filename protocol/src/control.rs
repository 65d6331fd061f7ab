//! Control records: those that the log keeps for itself, in batches with the control bit set.
//!
//! The key is a version (0) and the type; the value starts with its own version. Transaction markers are not
//! flexible, the records of the metadata log are.

use bytes::{BufMut, BytesMut};
use uuid::Uuid;

use crate::wire::{DecodeError, EncodeError, Form, Reader, Wire};

message! {
    /// The end of a transaction, in the partitions that took part.
    pub struct EndTxnMarker(0..=0, flexible 1..) {
        /// The epoch of the transaction coordinator that decided.
        coordinator_epoch: i32 = 0;
    }

    /// A new leader's first record in the metadata log.
    pub struct LeaderChange(0..=1, flexible 0..) {
        /// The new leader.
        leader_id: i32 = 0;
        /// All voters.
        voters: Vec<LeaderChangeVoter> = Vec::new();
        /// Those that voted for it.
        granting_voters: Vec<LeaderChangeVoter> = Vec::new();
    }

    /// A voter, as a leader names it.
    pub struct LeaderChangeVoter {
        /// Its node id.
        voter_id: i32 = 0;
        /// The id of its metadata directory. Apache Kafka 4.1 writes version 0, which lacks it.
        voter_directory_id: Uuid = Uuid::nil(), ignorable 1..;
    }

    /// The first record of a snapshot.
    pub struct SnapshotHeader(0..=0, flexible 0..) {
        /// The append time of the last record that the snapshot stands for, in ms.
        last_contained_log_timestamp: i64 = 0;
    }

    /// The last record of a snapshot: without it, the snapshot is not whole.
    pub struct SnapshotFooter(0..=0, flexible 0..) {}

    /// The level of kraft.version: 1 allows voters to change (KIP-853).
    pub struct KRaftVersion(0..=0, flexible 0..) {
        /// The level.
        kraft_version: i16 = 0;
    }

    /// The set of voters from here on (KIP-853).
    pub struct KRaftVoters(0..=0, flexible 0..) {
        /// Every voter.
        voters: Vec<KRaftVoter> = Vec::new();
    }

    /// One of the voters.
    pub struct KRaftVoter {
        /// Its node id.
        voter_id: i32 = 0;
        /// The id of its metadata directory.
        voter_directory_id: Uuid = Uuid::nil();
        /// Where it is reached.
        endpoints: Vec<KRaftVoterEndpoint> = Vec::new();
        /// The levels of kraft.version that it supports.
        kraft_version_feature: KRaftVersionFeature = KRaftVersionFeature::default();
    }

    /// One controller listener of a voter.
    pub struct KRaftVoterEndpoint {
        /// The listener's name.
        name: String = String::new();
        /// The host name that is advertised.
        host: String = String::new();
        /// The port that is advertised.
        port: u16 = 0;
    }

    /// A range of levels of kraft.version.
    pub struct KRaftVersionFeature {
        /// The lowest level.
        min_supported_version: i16 = 0;
        /// The highest level.
        max_supported_version: i16 = 0;
    }
}

/// A control record: the type in its key decides what its value is.
#[derive(Debug, Clone, PartialEq)]
pub enum ControlRecord {
    /// A transaction was aborted.
    Abort(EndTxnMarker),
    /// A transaction was committed.
    Commit(EndTxnMarker),
    /// See [`LeaderChange`].
    LeaderChange(LeaderChange),
    /// See [`SnapshotHeader`].
    SnapshotHeader(SnapshotHeader),
    /// See [`SnapshotFooter`].
    SnapshotFooter(SnapshotFooter),
    /// See [`KRaftVersion`].
    KRaftVersion(KRaftVersion),
    /// See [`KRaftVoters`].
    KRaftVoters(KRaftVoters),
    /// A type that is not known. Readers of topics skip it; for the metadata log it is an error.
    Unknown(i16),
}

const VERSION_ONLY: Form = Form { version: 0, flexible: false };

impl ControlRecord {
    /// The type in the key (Kafka's `ControlRecordType`).
    pub fn kind(&self) -> i16 {
        match self {
            Self::Abort(_) => 0,
            Self::Commit(_) => 1,
            Self::LeaderChange(_) => 2,
            Self::SnapshotHeader(_) => 3,
            Self::SnapshotFooter(_) => 4,
            Self::KRaftVersion(_) => 5,
            Self::KRaftVoters(_) => 6,
            Self::Unknown(kind) => *kind,
        }
    }

    /// Reads a record of a control batch. Bytes after the key's type and after the value are let be, since
    /// later versions may append to both.
    pub fn decode(key: &[u8], value: &[u8]) -> Result<Self, DecodeError> {
        let mut key = Reader::new(key);
        let _key_version = i16::take(VERSION_ONLY, &mut key)?;
        let kind = i16::take(VERSION_ONLY, &mut key)?;
        let mut input = Reader::new(value);
        if !(0..=6).contains(&kind) {
            return Ok(Self::Unknown(kind));
        }
        let version = i16::take(VERSION_ONLY, &mut input)?;
        let input = &mut input;
        match kind {
            0 => EndTxnMarker::decode(version, input).map(Self::Abort),
            1 => EndTxnMarker::decode(version, input).map(Self::Commit),
            2 => LeaderChange::decode(version, input).map(Self::LeaderChange),
            3 => SnapshotHeader::decode(version, input).map(Self::SnapshotHeader),
            4 => SnapshotFooter::decode(version, input).map(Self::SnapshotFooter),
            5 => KRaftVersion::decode(version, input).map(Self::KRaftVersion),
            _ => KRaftVoters::decode(version, input).map(Self::KRaftVoters),
        }
    }

    /// Appends the key: version 0 and the type.
    pub fn encode_key(&self, out: &mut BytesMut) {
        out.put_i16(0);
        out.put_i16(self.kind());
    }

    /// Appends the value, in version 0 as Apache Kafka 4.1 writes all of them; nothing for an unknown type.
    pub fn encode_value(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        let version = 0;
        if !matches!(self, Self::Unknown(_)) {
            out.put_i16(version);
        }
        match self {
            Self::Abort(marker) | Self::Commit(marker) => marker.encode(version, out),
            Self::LeaderChange(record) => record.encode(version, out),
            Self::SnapshotHeader(record) => record.encode(version, out),
            Self::SnapshotFooter(record) => record.encode(version, out),
            Self::KRaftVersion(record) => record.encode(version, out),
            Self::KRaftVoters(record) => record.encode(version, out),
            Self::Unknown(_) => Ok(()),
        }
    }
}
