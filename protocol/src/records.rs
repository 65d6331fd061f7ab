//! The records of the metadata log, `__cluster_metadata`, and their framing.
//!
//! A record's value is a frame version (1), the record's key, its version, then the record in the flexible
//! encoding; all three numbers are unsigned variable-length integers. Anything else is an error, since skipping
//! what is not understood would silently lose metadata (as Kafka's `MetadataRecordSerde`).
//! Each record has a file of its own: its fields, and the versions of them.

use bytes::BytesMut;

use crate::wire::{DecodeError, EncodeError, Reader, put_uvarint};

mod abort_transaction;
mod access_control_entry;
mod begin_transaction;
mod broker_registration_change;
mod clear_elr;
mod client_quota;
mod config;
mod delegation_token;
mod end_transaction;
mod feature_level;
mod fence_broker;
mod no_op;
mod partition;
mod partition_change;
mod producer_ids;
mod register_broker;
mod register_controller;
mod remove_access_control_entry;
mod remove_delegation_token;
mod remove_topic;
mod remove_user_scram_credential;
mod topic;
mod unfence_broker;
mod unregister_broker;
mod user_scram_credential;
mod zk_migration_state;

pub use abort_transaction::AbortTransactionRecord;
pub use access_control_entry::AccessControlEntryRecord;
pub use begin_transaction::BeginTransactionRecord;
pub use broker_registration_change::BrokerRegistrationChangeRecord;
pub use clear_elr::ClearElrRecord;
pub use client_quota::{ClientQuotaRecord, QuotaEntity};
pub use config::ConfigRecord;
pub use delegation_token::DelegationTokenRecord;
pub use end_transaction::EndTransactionRecord;
pub use feature_level::FeatureLevelRecord;
pub use fence_broker::FenceBrokerRecord;
pub use no_op::NoOpRecord;
pub use partition::PartitionRecord;
pub use partition_change::{LEADER_UNCHANGED, PartitionChangeRecord};
pub use producer_ids::ProducerIdsRecord;
pub use register_broker::{BrokerEndpoint, BrokerFeature, RegisterBrokerRecord};
pub use register_controller::{ControllerEndpoint, ControllerFeature, RegisterControllerRecord};
pub use remove_access_control_entry::RemoveAccessControlEntryRecord;
pub use remove_delegation_token::RemoveDelegationTokenRecord;
pub use remove_topic::RemoveTopicRecord;
pub use remove_user_scram_credential::RemoveUserScramCredentialRecord;
pub use topic::TopicRecord;
pub use unfence_broker::UnfenceBrokerRecord;
pub use unregister_broker::UnregisterBrokerRecord;
pub use user_scram_credential::UserScramCredentialRecord;
pub use zk_migration_state::ZkMigrationStateRecord;

const FRAME_VERSION: u32 = 1;

/// Why the value of a record in the metadata log cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The frame is of a version that is not known.
    #[error("metadata record frame version {0} is not known")]
    FrameVersion(u32),
    /// No record has this key.
    #[error("metadata record key {0} is not known")]
    UnknownRecord(u32),
    /// The record is broken, or of a version that is not known.
    #[error("{record}: {source}")]
    Malformed {
        /// The record's name, or which part of the frame.
        record: &'static str,
        /// What is wrong with it.
        #[source]
        source: DecodeError,
    },
}

macro_rules! records {
    ($($key:literal => $name:ident($record:ident),)+) => {
        /// A record of the metadata log.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Record {
            $(
                #[doc = concat!("See [`", stringify!($record), "`].")]
                $name($record),
            )+
        }

        impl Record {
            /// The key that stands for this kind of record (Kafka's `MetadataRecordType`).
            pub fn key(&self) -> i16 {
                match self { $( Self::$name(_) => $key, )+ }
            }

            /// The name of this kind of record, as `TopicRecord`.
            pub fn name(&self) -> &'static str {
                match self { $( Self::$name(_) => stringify!($record), )+ }
            }

            fn encode_fields(&self, version: i16, out: &mut BytesMut) -> Result<(), EncodeError> {
                match self { $( Self::$name(record) => record.encode(version, out), )+ }
            }

            fn decode_fields(key: u32, version: i16, input: &mut Reader<'_>) -> Result<Self, RecordError> {
                match key {
                    $(
                        $key => $record::decode(version, input)
                            .map(Self::$name)
                            .map_err(|source| RecordError::Malformed { record: stringify!($record), source }),
                    )+
                    unknown => Err(RecordError::UnknownRecord(unknown)),
                }
            }
        }

        $(
            impl From<$record> for Record {
                fn from(record: $record) -> Self {
                    Self::$name(record)
                }
            }
        )+
    };
}

records! {
    0 => RegisterBroker(RegisterBrokerRecord),
    1 => UnregisterBroker(UnregisterBrokerRecord),
    2 => Topic(TopicRecord),
    3 => Partition(PartitionRecord),
    4 => Config(ConfigRecord),
    5 => PartitionChange(PartitionChangeRecord),
    7 => FenceBroker(FenceBrokerRecord),
    8 => UnfenceBroker(UnfenceBrokerRecord),
    9 => RemoveTopic(RemoveTopicRecord),
    10 => DelegationToken(DelegationTokenRecord),
    11 => UserScramCredential(UserScramCredentialRecord),
    12 => FeatureLevel(FeatureLevelRecord),
    14 => ClientQuota(ClientQuotaRecord),
    15 => ProducerIds(ProducerIdsRecord),
    17 => BrokerRegistrationChange(BrokerRegistrationChangeRecord),
    18 => AccessControlEntry(AccessControlEntryRecord),
    19 => RemoveAccessControlEntry(RemoveAccessControlEntryRecord),
    20 => NoOp(NoOpRecord),
    21 => ZkMigrationState(ZkMigrationStateRecord),
    22 => RemoveUserScramCredential(RemoveUserScramCredentialRecord),
    23 => BeginTransaction(BeginTransactionRecord),
    24 => EndTransaction(EndTransactionRecord),
    25 => AbortTransaction(AbortTransactionRecord),
    26 => RemoveDelegationToken(RemoveDelegationTokenRecord),
    27 => RegisterController(RegisterControllerRecord),
    28 => ClearElr(ClearElrRecord),
}

impl Record {
    /// Appends the record with its frame, in `version`.
    ///
    /// Fails if the record has no such version, or if a field is set that the version cannot carry.
    pub fn encode(&self, version: i16, out: &mut BytesMut) -> Result<(), EncodeError> {
        put_uvarint(FRAME_VERSION, out);
        put_uvarint(u32::from(self.key().unsigned_abs()), out);
        put_uvarint(u32::from(version.unsigned_abs()), out);
        self.encode_fields(version, out)
    }

    /// Reads the value of a record in the metadata log: the record, and the version that it was written in.
    pub fn decode(value: &[u8]) -> Result<(Self, i16), RecordError> {
        let malformed = |record| move |source| RecordError::Malformed { record, source };
        let mut input = Reader::new(value);
        let frame = input.uvarint().map_err(malformed("frame version"))?;
        if frame != FRAME_VERSION {
            return Err(RecordError::FrameVersion(frame));
        }
        let key = input.uvarint().map_err(malformed("record key"))?;
        let version = input.uvarint().map_err(malformed("record version"))?;
        let version = i16::try_from(version).map_err(|_| RecordError::Malformed {
            record: "record version",
            source: DecodeError::Length(i64::from(version)),
        })?;
        let record = Self::decode_fields(key, version, &mut input)?;
        match input.left() {
            0 => Ok((record, version)),
            left => Err(malformed(record.name())(DecodeError::Trailing(left))),
        }
    }

    /// The version that this record is written in at a metadata.version (its level, 1 or above).
    ///
    /// What a lower level cannot carry must have been left out of the record.
    pub fn version_for(&self, metadata_version: i16) -> i16 {
        match self {
            Self::RegisterBroker(_) => match metadata_version {
                17.. => 3,
                8.. => 2,
                7 => 1,
                _ => 0,
            },
            Self::Partition(_) | Self::PartitionChange(_) => match metadata_version {
                23.. => 2,
                17.. => 1,
                _ => 0,
            },
            Self::BrokerRegistrationChange(_) => match metadata_version {
                17.. => 2,
                7.. => 1,
                _ => 0,
            },
            _ => 0,
        }
    }
}
