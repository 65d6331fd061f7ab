//! The records of `__consumer_offsets`: committed offsets, classic groups, and groups of KIP-848 (consumer),
//! KIP-932 (share) and KIP-1071 (streams).
//!
//! A key is its type (an i16) and the key's fields, never flexible; a value is its version and its fields. A
//! record without a value deletes what its key names. Types that are not known are skipped by a reader, as
//! Apache Kafka does, so that a newer broker's records do no harm.

use bytes::{BufMut, BytesMut};

use crate::wire::{DecodeError, EncodeError, Form, Reader, Wire};

mod classic;
mod consumer;
mod share;
mod streams;

pub use classic::{GroupMember, GroupMetadataKey, GroupMetadataValue, OffsetCommitKey, OffsetCommitValue};
pub use consumer::{
    ClassicMemberMetadata, ClassicProtocol, ConsumerGroupCurrentMemberAssignmentKey,
    ConsumerGroupCurrentMemberAssignmentValue, ConsumerGroupMemberMetadataKey,
    ConsumerGroupMemberMetadataValue, ConsumerGroupMetadataKey, ConsumerGroupMetadataValue,
    ConsumerGroupPartitionMetadataKey, ConsumerGroupPartitionMetadataValue,
    ConsumerGroupRegularExpressionKey, ConsumerGroupRegularExpressionValue,
    ConsumerGroupTargetAssignmentMemberKey, ConsumerGroupTargetAssignmentMemberValue,
    ConsumerGroupTargetAssignmentMetadataKey, ConsumerGroupTargetAssignmentMetadataValue, PartitionRacks,
    TopicMetadata, TopicPartitions,
};
pub use share::{
    ShareGroupCurrentMemberAssignmentKey, ShareGroupCurrentMemberAssignmentValue,
    ShareGroupMemberMetadataKey, ShareGroupMemberMetadataValue, ShareGroupMetadataKey,
    ShareGroupMetadataValue, ShareGroupStatePartitionMetadataKey, ShareGroupStatePartitionMetadataValue,
    ShareGroupTargetAssignmentMemberKey, ShareGroupTargetAssignmentMemberValue,
    ShareGroupTargetAssignmentMetadataKey, ShareGroupTargetAssignmentMetadataValue, TopicInfo,
    TopicPartitionsInfo,
};
pub use streams::{
    CopartitionGroup, KeyValue, StreamsGroupCurrentMemberAssignmentKey,
    StreamsGroupCurrentMemberAssignmentValue, StreamsGroupMemberMetadataKey, StreamsGroupMemberMetadataValue,
    StreamsGroupMetadataKey, StreamsGroupMetadataValue, StreamsGroupTargetAssignmentMemberKey,
    StreamsGroupTargetAssignmentMemberValue, StreamsGroupTargetAssignmentMetadataKey,
    StreamsGroupTargetAssignmentMetadataValue, StreamsGroupTopologyKey, StreamsGroupTopologyValue,
    StreamsTopicInfo, Subtopology, TaskIds, UserEndpoint,
};

const KEY_FORM: Form = Form { version: 0, flexible: false };

macro_rules! offsets_records {
    ($($kind:literal $(| $old:literal)? => $name:ident($key:ident, $value:ident),)+) => {
        /// A record of `__consumer_offsets`: a key, and what it stands for; `None` deletes it.
        #[derive(Debug, Clone, PartialEq)]
        pub enum OffsetsRecord {
            $(
                #[doc = concat!("See [`", stringify!($value), "`].")]
                $name($key, Option<$value>),
            )+
            /// A type that is not known here, to be skipped: that type.
            Unknown(i16),
        }

        impl OffsetsRecord {
            /// The type in the key that is written (Kafka's `CoordinatorRecordType`).
            pub fn kind(&self) -> i16 {
                match self {
                    $(Self::$name(..) => $kind,)+
                    Self::Unknown(kind) => *kind,
                }
            }

            /// Reads a record from its key and its value.
            pub fn decode(key: &[u8], value: Option<&[u8]>) -> Result<Self, DecodeError> {
                let mut key = Reader::new(key);
                let mut value = value.map(Reader::new);
                match i16::take(KEY_FORM, &mut key)? {
                    $(
                        $kind $(| $old)? => {
                            let key = $key::decode(0, &mut key)?;
                            let value = value.as_mut().map(|input| {
                                let version = i16::take(KEY_FORM, input)?;
                                $value::decode(version, input)
                            });
                            Ok(Self::$name(key, value.transpose()?))
                        }
                    )+
                    unknown => Ok(Self::Unknown(unknown)),
                }
            }

            /// Appends the key with its type.
            pub fn encode_key(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
                out.put_i16(self.kind());
                match self {
                    $(Self::$name(key, _) => key.encode(0, out),)+
                    Self::Unknown(_) => Ok(()),
                }
            }

            /// Appends the value with its version, which must be one of the record's; nothing for a deletion.
            pub fn encode_value(&self, version: i16, out: &mut BytesMut) -> Result<(), EncodeError> {
                match self {
                    $(
                        Self::$name(_, Some(value)) => {
                            out.put_i16(version);
                            value.encode(version, out)
                        }
                        Self::$name(_, None) => Ok(()),
                    )+
                    Self::Unknown(_) => Ok(()),
                }
            }

            /// Whether the record deletes what its key names.
            pub fn is_tombstone(&self) -> bool {
                match self {
                    $(Self::$name(_, value) => value.is_none(),)+
                    Self::Unknown(_) => false,
                }
            }
        }
    };
}

offsets_records! {
    1 | 0 => OffsetCommit(OffsetCommitKey, OffsetCommitValue),
    2 => Group(GroupMetadataKey, GroupMetadataValue),
    3 => ConsumerGroup(ConsumerGroupMetadataKey, ConsumerGroupMetadataValue),
    4 => ConsumerGroupPartitions(ConsumerGroupPartitionMetadataKey, ConsumerGroupPartitionMetadataValue),
    5 => ConsumerGroupMember(ConsumerGroupMemberMetadataKey, ConsumerGroupMemberMetadataValue),
    6 => ConsumerGroupTarget(ConsumerGroupTargetAssignmentMetadataKey, ConsumerGroupTargetAssignmentMetadataValue),
    7 => ConsumerGroupTargetMember(ConsumerGroupTargetAssignmentMemberKey, ConsumerGroupTargetAssignmentMemberValue),
    8 => ConsumerGroupCurrentMember(ConsumerGroupCurrentMemberAssignmentKey, ConsumerGroupCurrentMemberAssignmentValue),
    10 => ShareGroupMember(ShareGroupMemberMetadataKey, ShareGroupMemberMetadataValue),
    11 => ShareGroup(ShareGroupMetadataKey, ShareGroupMetadataValue),
    12 => ShareGroupTarget(ShareGroupTargetAssignmentMetadataKey, ShareGroupTargetAssignmentMetadataValue),
    13 => ShareGroupTargetMember(ShareGroupTargetAssignmentMemberKey, ShareGroupTargetAssignmentMemberValue),
    14 => ShareGroupCurrentMember(ShareGroupCurrentMemberAssignmentKey, ShareGroupCurrentMemberAssignmentValue),
    15 => ShareGroupStatePartitions(ShareGroupStatePartitionMetadataKey, ShareGroupStatePartitionMetadataValue),
    16 => ConsumerGroupRegularExpression(ConsumerGroupRegularExpressionKey, ConsumerGroupRegularExpressionValue),
    17 => StreamsGroup(StreamsGroupMetadataKey, StreamsGroupMetadataValue),
    19 => StreamsGroupMember(StreamsGroupMemberMetadataKey, StreamsGroupMemberMetadataValue),
    20 => StreamsGroupTarget(StreamsGroupTargetAssignmentMetadataKey, StreamsGroupTargetAssignmentMetadataValue),
    21 => StreamsGroupTargetMember(StreamsGroupTargetAssignmentMemberKey, StreamsGroupTargetAssignmentMemberValue),
    22 => StreamsGroupCurrentMember(StreamsGroupCurrentMemberAssignmentKey, StreamsGroupCurrentMemberAssignmentValue),
    23 => StreamsGroupTopology(StreamsGroupTopologyKey, StreamsGroupTopologyValue),
}

impl OffsetsRecord {
    /// The version that Apache Kafka 4.1 writes the value in: an offset with a retention time of its own
    /// in 1, other offsets in 4, classic groups in 3, the rest in 0.
    pub fn value_version(&self) -> i16 {
        match self {
            Self::OffsetCommit(_, Some(value)) if value.expire_timestamp != -1 => 1,
            Self::OffsetCommit(..) => 4,
            Self::Group(..) => 3,
            _ => 0,
        }
    }
}
