//! Frames of requests: header, guard, decoding in every API and version, and the walk over a Produce request.
//!
//! Invariants: what the guard lets pass decodes within the memory that the guard named, ends where the guard said,
//! and reads back after it was encoded; the walk over a Produce request and the generated decoder agree.

use bytes::{Bytes, BytesMut};
use protocol::guard::{self, Checked};
use protocol::messages::*;
use protocol::request::RequestHeader;
use protocol::versions::ApiKey;
use protocol::{Decodable, Encodable, frame};

/// The input is a frame without its size field.
pub(super) fn run(input: &[u8]) {
    let _ = frame::frame_size(input, 100 << 20);
    let Ok(header) = RequestHeader::parse(input) else { return };
    let (key, version) = (header.api_key, header.api_version);
    assert!(header.body_start <= input.len());
    let Ok(checked) = guard::check(key, version, &input[header.body_start..]) else { return };
    let body = Bytes::copy_from_slice(&input[header.body_start..]);
    decode(key, version, &body, checked);
    if key == ApiKey::PRODUCE {
        produce(version, input, header.body_start);
    }
}

fn decode_as<T: Decodable + Encodable>(version: i16, body: &Bytes, checked: Checked) {
    let mut input = body.clone();
    let Ok(request) = T::decode(&mut input, version) else { return };
    assert_eq!(body.len() - input.len(), checked.body_len, "guard and decoder end at different places");
    let mut first = BytesMut::new();
    request.encode(&mut first, version).expect("what was decoded can be encoded");
    drop(request);
    // Unknown tags from 2^31 on are counted but not written by the library. Nobody here writes what a client sent.
    let Ok(again) = T::decode(&mut first.clone().freeze(), version) else { return };
    let mut second = BytesMut::new();
    again.encode(&mut second, version).expect("what was decoded can be encoded");
    assert_eq!(first, second, "a request changes when it is encoded");
}

/// The walk of the broker, which copies nothing, against the generated decoder.
fn produce(version: i16, frame: &[u8], body: usize) {
    let expected = ProduceRequest::decode(&mut Bytes::copy_from_slice(&frame[body..]), version).ok();
    let mut copy = frame.to_vec();
    let walked = broker::fuzzing::walk_produce(version, &mut copy, body);
    assert_eq!(copy, frame, "the walk changes nothing");
    let (expected, walked) = match (expected, walked) {
        (None, None) => return,
        (Some(expected), Some(walked)) => (expected, walked),
        (expected, walked) => panic!("decoder: {expected:?}\nwalk: {walked:?}"),
    };
    assert_eq!(expected.acks, walked.acks);
    assert_eq!(expected.topic_data.len(), walked.topics.len());
    for (expected, walked) in expected.topic_data.iter().zip(&walked.topics) {
        if version >= 13 {
            assert_eq!(Some(expected.topic_id), walked.id);
        } else {
            assert_eq!(Some(expected.name.as_str()), walked.name.as_deref());
        }
        assert_eq!(expected.partition_data.len(), walked.partitions.len());
        for (expected, (index, records)) in expected.partition_data.iter().zip(&walked.partitions) {
            assert_eq!(expected.index, *index);
            assert_eq!(expected.records.as_deref(), records.clone().map(|range| &frame[range]));
        }
    }
}

macro_rules! decoders {
    ($($key:ident => $request:ident,)+) => {
        fn decode(key: i16, version: i16, body: &Bytes, checked: Checked) {
            match key {
                $(ApiKey::$key => decode_as::<$request>(version, body, checked),)+
                _ => panic!("the guard knows an API that is not listed here: {key}"),
            }
        }
    };
}

decoders! {
    PRODUCE => ProduceRequest,
    FETCH => FetchRequest,
    LIST_OFFSETS => ListOffsetsRequest,
    METADATA => MetadataRequest,
    OFFSET_COMMIT => OffsetCommitRequest,
    OFFSET_FETCH => OffsetFetchRequest,
    FIND_COORDINATOR => FindCoordinatorRequest,
    JOIN_GROUP => JoinGroupRequest,
    HEARTBEAT => HeartbeatRequest,
    LEAVE_GROUP => LeaveGroupRequest,
    SYNC_GROUP => SyncGroupRequest,
    DESCRIBE_GROUPS => DescribeGroupsRequest,
    LIST_GROUPS => ListGroupsRequest,
    SASL_HANDSHAKE => SaslHandshakeRequest,
    API_VERSIONS => ApiVersionsRequest,
    CREATE_TOPICS => CreateTopicsRequest,
    DELETE_TOPICS => DeleteTopicsRequest,
    DELETE_RECORDS => DeleteRecordsRequest,
    INIT_PRODUCER_ID => InitProducerIdRequest,
    OFFSET_FOR_LEADER_EPOCH => OffsetForLeaderEpochRequest,
    ADD_PARTITIONS_TO_TXN => AddPartitionsToTxnRequest,
    ADD_OFFSETS_TO_TXN => AddOffsetsToTxnRequest,
    END_TXN => EndTxnRequest,
    WRITE_TXN_MARKERS => WriteTxnMarkersRequest,
    TXN_OFFSET_COMMIT => TxnOffsetCommitRequest,
    DESCRIBE_ACLS => DescribeAclsRequest,
    CREATE_ACLS => CreateAclsRequest,
    DELETE_ACLS => DeleteAclsRequest,
    DESCRIBE_CONFIGS => DescribeConfigsRequest,
    ALTER_CONFIGS => AlterConfigsRequest,
    ALTER_REPLICA_LOG_DIRS => AlterReplicaLogDirsRequest,
    DESCRIBE_LOG_DIRS => DescribeLogDirsRequest,
    SASL_AUTHENTICATE => SaslAuthenticateRequest,
    CREATE_PARTITIONS => CreatePartitionsRequest,
    CREATE_DELEGATION_TOKEN => CreateDelegationTokenRequest,
    RENEW_DELEGATION_TOKEN => RenewDelegationTokenRequest,
    EXPIRE_DELEGATION_TOKEN => ExpireDelegationTokenRequest,
    DESCRIBE_DELEGATION_TOKEN => DescribeDelegationTokenRequest,
    DELETE_GROUPS => DeleteGroupsRequest,
    ELECT_LEADERS => ElectLeadersRequest,
    INCREMENTAL_ALTER_CONFIGS => IncrementalAlterConfigsRequest,
    ALTER_PARTITION_REASSIGNMENTS => AlterPartitionReassignmentsRequest,
    LIST_PARTITION_REASSIGNMENTS => ListPartitionReassignmentsRequest,
    OFFSET_DELETE => OffsetDeleteRequest,
    DESCRIBE_CLIENT_QUOTAS => DescribeClientQuotasRequest,
    ALTER_CLIENT_QUOTAS => AlterClientQuotasRequest,
    DESCRIBE_USER_SCRAM_CREDENTIALS => DescribeUserScramCredentialsRequest,
    ALTER_USER_SCRAM_CREDENTIALS => AlterUserScramCredentialsRequest,
    VOTE => VoteRequest,
    BEGIN_QUORUM_EPOCH => BeginQuorumEpochRequest,
    END_QUORUM_EPOCH => EndQuorumEpochRequest,
    DESCRIBE_QUORUM => DescribeQuorumRequest,
    ALTER_PARTITION => AlterPartitionRequest,
    UPDATE_FEATURES => UpdateFeaturesRequest,
    ENVELOPE => EnvelopeRequest,
    FETCH_SNAPSHOT => FetchSnapshotRequest,
    DESCRIBE_CLUSTER => DescribeClusterRequest,
    DESCRIBE_PRODUCERS => DescribeProducersRequest,
    BROKER_REGISTRATION => BrokerRegistrationRequest,
    BROKER_HEARTBEAT => BrokerHeartbeatRequest,
    UNREGISTER_BROKER => UnregisterBrokerRequest,
    DESCRIBE_TRANSACTIONS => DescribeTransactionsRequest,
    LIST_TRANSACTIONS => ListTransactionsRequest,
    ALLOCATE_PRODUCER_IDS => AllocateProducerIdsRequest,
    CONSUMER_GROUP_HEARTBEAT => ConsumerGroupHeartbeatRequest,
    CONSUMER_GROUP_DESCRIBE => ConsumerGroupDescribeRequest,
    CONTROLLER_REGISTRATION => ControllerRegistrationRequest,
    GET_TELEMETRY_SUBSCRIPTIONS => GetTelemetrySubscriptionsRequest,
    PUSH_TELEMETRY => PushTelemetryRequest,
    ASSIGN_REPLICAS_TO_DIRS => AssignReplicasToDirsRequest,
    LIST_CONFIG_RESOURCES => ListConfigResourcesRequest,
    DESCRIBE_TOPIC_PARTITIONS => DescribeTopicPartitionsRequest,
    SHARE_GROUP_HEARTBEAT => ShareGroupHeartbeatRequest,
    SHARE_GROUP_DESCRIBE => ShareGroupDescribeRequest,
    SHARE_FETCH => ShareFetchRequest,
    SHARE_ACKNOWLEDGE => ShareAcknowledgeRequest,
    ADD_RAFT_VOTER => AddRaftVoterRequest,
    REMOVE_RAFT_VOTER => RemoveRaftVoterRequest,
    UPDATE_RAFT_VOTER => UpdateRaftVoterRequest,
    INITIALIZE_SHARE_GROUP_STATE => InitializeShareGroupStateRequest,
    READ_SHARE_GROUP_STATE => ReadShareGroupStateRequest,
    WRITE_SHARE_GROUP_STATE => WriteShareGroupStateRequest,
    DELETE_SHARE_GROUP_STATE => DeleteShareGroupStateRequest,
    READ_SHARE_GROUP_STATE_SUMMARY => ReadShareGroupStateSummaryRequest,
    DESCRIBE_SHARE_GROUP_OFFSETS => DescribeShareGroupOffsetsRequest,
    ALTER_SHARE_GROUP_OFFSETS => AlterShareGroupOffsetsRequest,
    DELETE_SHARE_GROUP_OFFSETS => DeleteShareGroupOffsetsRequest,
}
