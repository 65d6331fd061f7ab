//! Which APIs there are, and which versions of them are advertised: Apache Kafka 4.1.2's tables.
//!
//! Traps that these tables keep:
//! - Produce is advertised from version 0, since some clients take a higher minimum for a broker that is too
//!   old; versions 0 to 2 are refused all the same (KAFKA-18659).
//! - ApiVersions answers with response header version 0 whatever its version, and a version that it does not
//!   know with a version 0 answer that names ApiVersions alone (KIP-35, KIP-511).
//! - Features whose lowest level is 0 are left out below version 4 of the answer (KIP-584).

use std::ops::RangeInclusive;

use bytes::BytesMut;
use kafka_protocol::messages::ApiVersionsResponse;
use kafka_protocol::messages::api_versions_response::{ApiVersion, FinalizedFeatureKey, SupportedFeatureKey};
use kafka_protocol::protocol::{Encodable, StrBytes};

use crate::ErrorCode;
use crate::features::{Feature, FinalizedFeature};
use crate::request::put_response_header;

/// The kind of listener: brokers and controllers serve different APIs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Listener {
    /// A broker's listener: clients and other brokers.
    Broker,
    /// A controller's listener: brokers, other controllers, and tools.
    Controller,
}

/// The keys of the APIs, as constants of type i16.
#[derive(Debug)]
pub enum ApiKey {}

/// One API: its key, name and versions.
#[derive(Debug)]
pub struct Api {
    /// The key in the request header.
    pub key: i16,
    /// Kafka's name.
    pub name: &'static str,
    /// The first flexible version; `i16::MAX` if there is none.
    pub first_flexible: i16,
    broker: Option<RangeInclusive<i16>>,
    controller: Option<RangeInclusive<i16>>,
}

macro_rules! apis {
    ($($constant:ident = $key:literal $name:ident, flexible $flexible:expr
        $(, both $both:expr)? $(, broker $broker:expr)? $(, controller $controller:expr)?;)+) => {
        impl ApiKey {
            $(
                #[doc = concat!(stringify!($name), ".")]
                pub const $constant: i16 = $key;
            )+
        }

        /// Every API, ascending by key: the order in which they are advertised.
        pub static APIS: &[Api] = &[
            $(Api {
                key: $key,
                name: stringify!($name),
                first_flexible: $flexible,
                broker: apis!(@range $($both)? $($broker)?),
                controller: apis!(@range $($both)? $($controller)?),
            },)+
        ];
    };
    (@range) => { None };
    (@range $range:expr) => { Some($range) };
}

const NEVER: i16 = i16::MAX;

apis! {
    PRODUCE = 0 Produce, flexible 9, broker 0..=13;
    FETCH = 1 Fetch, flexible 12, both 4..=18;
    LIST_OFFSETS = 2 ListOffsets, flexible 6, broker 1..=10;
    METADATA = 3 Metadata, flexible 9, broker 0..=13;
    OFFSET_COMMIT = 8 OffsetCommit, flexible 8, broker 2..=9;
    OFFSET_FETCH = 9 OffsetFetch, flexible 6, broker 1..=9;
    FIND_COORDINATOR = 10 FindCoordinator, flexible 3, broker 0..=6;
    JOIN_GROUP = 11 JoinGroup, flexible 6, broker 0..=9;
    HEARTBEAT = 12 Heartbeat, flexible 4, broker 0..=4;
    LEAVE_GROUP = 13 LeaveGroup, flexible 4, broker 0..=5;
    SYNC_GROUP = 14 SyncGroup, flexible 4, broker 0..=5;
    DESCRIBE_GROUPS = 15 DescribeGroups, flexible 5, broker 0..=6;
    LIST_GROUPS = 16 ListGroups, flexible 3, broker 0..=5;
    SASL_HANDSHAKE = 17 SaslHandshake, flexible NEVER, both 0..=1;
    API_VERSIONS = 18 ApiVersions, flexible 3, both 0..=4;
    CREATE_TOPICS = 19 CreateTopics, flexible 5, both 2..=7;
    DELETE_TOPICS = 20 DeleteTopics, flexible 4, both 1..=6;
    DELETE_RECORDS = 21 DeleteRecords, flexible 2, broker 0..=2;
    INIT_PRODUCER_ID = 22 InitProducerId, flexible 2, broker 0..=5;
    OFFSET_FOR_LEADER_EPOCH = 23 OffsetForLeaderEpoch, flexible 4, broker 2..=4;
    ADD_PARTITIONS_TO_TXN = 24 AddPartitionsToTxn, flexible 3, broker 0..=5;
    ADD_OFFSETS_TO_TXN = 25 AddOffsetsToTxn, flexible 3, broker 0..=4;
    END_TXN = 26 EndTxn, flexible 3, broker 0..=5;
    WRITE_TXN_MARKERS = 27 WriteTxnMarkers, flexible 0, broker 1..=1;
    TXN_OFFSET_COMMIT = 28 TxnOffsetCommit, flexible 3, broker 0..=5;
    DESCRIBE_ACLS = 29 DescribeAcls, flexible 2, both 1..=3;
    CREATE_ACLS = 30 CreateAcls, flexible 2, both 1..=3;
    DELETE_ACLS = 31 DeleteAcls, flexible 2, both 1..=3;
    DESCRIBE_CONFIGS = 32 DescribeConfigs, flexible 4, both 1..=4;
    ALTER_CONFIGS = 33 AlterConfigs, flexible 2, both 0..=2;
    ALTER_REPLICA_LOG_DIRS = 34 AlterReplicaLogDirs, flexible 2, broker 1..=2;
    DESCRIBE_LOG_DIRS = 35 DescribeLogDirs, flexible 2, broker 1..=4;
    SASL_AUTHENTICATE = 36 SaslAuthenticate, flexible 2, both 0..=2;
    CREATE_PARTITIONS = 37 CreatePartitions, flexible 2, both 0..=3;
    CREATE_DELEGATION_TOKEN = 38 CreateDelegationToken, flexible 2, both 1..=3;
    RENEW_DELEGATION_TOKEN = 39 RenewDelegationToken, flexible 2, both 1..=2;
    EXPIRE_DELEGATION_TOKEN = 40 ExpireDelegationToken, flexible 2, both 1..=2;
    DESCRIBE_DELEGATION_TOKEN = 41 DescribeDelegationToken, flexible 2, both 1..=3;
    DELETE_GROUPS = 42 DeleteGroups, flexible 2, broker 0..=2;
    ELECT_LEADERS = 43 ElectLeaders, flexible 2, both 0..=2;
    INCREMENTAL_ALTER_CONFIGS = 44 IncrementalAlterConfigs, flexible 1, both 0..=1;
    ALTER_PARTITION_REASSIGNMENTS = 45 AlterPartitionReassignments, flexible 0, both 0..=1;
    LIST_PARTITION_REASSIGNMENTS = 46 ListPartitionReassignments, flexible 0, both 0..=0;
    OFFSET_DELETE = 47 OffsetDelete, flexible NEVER, broker 0..=0;
    DESCRIBE_CLIENT_QUOTAS = 48 DescribeClientQuotas, flexible 1, broker 0..=1;
    ALTER_CLIENT_QUOTAS = 49 AlterClientQuotas, flexible 1, both 0..=1;
    DESCRIBE_USER_SCRAM_CREDENTIALS = 50 DescribeUserScramCredentials, flexible 0, both 0..=0;
    ALTER_USER_SCRAM_CREDENTIALS = 51 AlterUserScramCredentials, flexible 0, both 0..=0;
    VOTE = 52 Vote, flexible 0, controller 0..=2;
    BEGIN_QUORUM_EPOCH = 53 BeginQuorumEpoch, flexible 1, controller 0..=1;
    END_QUORUM_EPOCH = 54 EndQuorumEpoch, flexible 1, controller 0..=1;
    DESCRIBE_QUORUM = 55 DescribeQuorum, flexible 0, both 0..=2;
    ALTER_PARTITION = 56 AlterPartition, flexible 0, controller 2..=3;
    UPDATE_FEATURES = 57 UpdateFeatures, flexible 0, both 0..=2;
    ENVELOPE = 58 Envelope, flexible 0, controller 0..=0;
    FETCH_SNAPSHOT = 59 FetchSnapshot, flexible 0, controller 0..=1;
    DESCRIBE_CLUSTER = 60 DescribeCluster, flexible 0, both 0..=2;
    DESCRIBE_PRODUCERS = 61 DescribeProducers, flexible 0, broker 0..=0;
    BROKER_REGISTRATION = 62 BrokerRegistration, flexible 0, controller 0..=4;
    BROKER_HEARTBEAT = 63 BrokerHeartbeat, flexible 0, controller 0..=1;
    UNREGISTER_BROKER = 64 UnregisterBroker, flexible 0, both 0..=0;
    DESCRIBE_TRANSACTIONS = 65 DescribeTransactions, flexible 0, broker 0..=0;
    LIST_TRANSACTIONS = 66 ListTransactions, flexible 0, broker 0..=2;
    ALLOCATE_PRODUCER_IDS = 67 AllocateProducerIds, flexible 0, controller 0..=0;
    CONSUMER_GROUP_HEARTBEAT = 68 ConsumerGroupHeartbeat, flexible 0, broker 0..=1;
    CONSUMER_GROUP_DESCRIBE = 69 ConsumerGroupDescribe, flexible 0, broker 0..=1;
    CONTROLLER_REGISTRATION = 70 ControllerRegistration, flexible 0, controller 0..=0;
    GET_TELEMETRY_SUBSCRIPTIONS = 71 GetTelemetrySubscriptions, flexible 0;
    PUSH_TELEMETRY = 72 PushTelemetry, flexible 0;
    ASSIGN_REPLICAS_TO_DIRS = 73 AssignReplicasToDirs, flexible 0, controller 0..=0;
    LIST_CONFIG_RESOURCES = 74 ListConfigResources, flexible 0, broker 0..=1;
    DESCRIBE_TOPIC_PARTITIONS = 75 DescribeTopicPartitions, flexible 0, broker 0..=0;
    SHARE_GROUP_HEARTBEAT = 76 ShareGroupHeartbeat, flexible 0, broker 1..=1;
    SHARE_GROUP_DESCRIBE = 77 ShareGroupDescribe, flexible 0, broker 1..=1;
    SHARE_FETCH = 78 ShareFetch, flexible 0, broker 1..=1;
    SHARE_ACKNOWLEDGE = 79 ShareAcknowledge, flexible 0, broker 1..=1;
    ADD_RAFT_VOTER = 80 AddRaftVoter, flexible 0, both 0..=0;
    REMOVE_RAFT_VOTER = 81 RemoveRaftVoter, flexible 0, both 0..=0;
    UPDATE_RAFT_VOTER = 82 UpdateRaftVoter, flexible 0, controller 0..=0;
    INITIALIZE_SHARE_GROUP_STATE = 83 InitializeShareGroupState, flexible 0, broker 0..=0;
    READ_SHARE_GROUP_STATE = 84 ReadShareGroupState, flexible 0, broker 0..=0;
    WRITE_SHARE_GROUP_STATE = 85 WriteShareGroupState, flexible 0, broker 0..=0;
    DELETE_SHARE_GROUP_STATE = 86 DeleteShareGroupState, flexible 0, broker 0..=0;
    READ_SHARE_GROUP_STATE_SUMMARY = 87 ReadShareGroupStateSummary, flexible 0, broker 0..=0;
    DESCRIBE_SHARE_GROUP_OFFSETS = 90 DescribeShareGroupOffsets, flexible 0, broker 0..=0;
    ALTER_SHARE_GROUP_OFFSETS = 91 AlterShareGroupOffsets, flexible 0, broker 0..=0;
    DELETE_SHARE_GROUP_OFFSETS = 92 DeleteShareGroupOffsets, flexible 0, broker 0..=0;
}

/// The API with this key.
pub fn api(key: i16) -> Option<&'static Api> {
    APIS.binary_search_by_key(&key, |api| api.key).ok().map(|at| &APIS[at])
}

/// The versions of an API that a listener advertises; `None` if it has no such API.
pub fn range(listener: Listener, key: i16) -> Option<RangeInclusive<i16>> {
    let api = api(key)?;
    match listener {
        Listener::Broker => api.broker.clone(),
        Listener::Controller => api.controller.clone(),
    }
}

/// Whether a listener takes requests of this API and version. Not all that is advertised is: see the module.
pub fn is_taken(listener: Listener, key: i16, version: i16) -> bool {
    let too_old = key == ApiKey::PRODUCE && version < 3;
    !too_old && range(listener, key).is_some_and(|range| range.contains(&version))
}

/// Whether this version of the API is flexible. Versions that are not known are judged as the known ones.
pub fn is_flexible(key: i16, version: i16) -> bool {
    api(key).is_some_and(|api| version >= api.first_flexible)
}

/// The version of the response's header: 1 ends with tagged fields, 0 is the correlation id alone.
pub fn response_header_version(key: i16, version: i16) -> i16 {
    i16::from(key != ApiKey::API_VERSIONS && is_flexible(key, version))
}

/// What a node says about features in its ApiVersions answer.
#[derive(Debug, Clone, Default)]
pub struct FeaturesAnswer<'a> {
    /// The features that this software knows.
    pub supported: &'a [Feature],
    /// The levels that the cluster has finalized.
    pub finalized: &'a [FinalizedFeature],
    /// The offset of the metadata that `finalized` was taken from; -1 if there is none yet.
    pub finalized_epoch: i64,
}

/// Appends a whole ApiVersions answer, header included, that names the APIs of the listener that `is_served`
/// holds for. `version` must be one that is taken.
pub fn put_api_versions(
    listener: Listener,
    version: i16,
    correlation_id: i32,
    is_served: impl Fn(i16) -> bool,
    features: &FeaturesAnswer<'_>,
    out: &mut BytesMut,
) {
    let api_keys = APIS.iter().filter(|api| is_served(api.key)).filter_map(|api| {
        let range = range(listener, api.key)?;
        Some(api_version(api.key, range))
    });
    let mut answer = ApiVersionsResponse::default().with_api_keys(api_keys.collect());
    if version >= 3 {
        let supported = features.supported.iter().filter(|feature| version >= 4 || feature.min > 0);
        answer.supported_features = supported.map(supported_feature).collect();
        answer.finalized_features_epoch = features.finalized_epoch;
        answer.finalized_features = features.finalized.iter().map(finalized_feature).collect();
    }
    put_answer(&answer, version, correlation_id, out);
}

/// Appends the whole answer to an ApiVersions request of a version that is not taken.
pub fn put_api_versions_unsupported(correlation_id: i32, out: &mut BytesMut) {
    let range = range(Listener::Broker, ApiKey::API_VERSIONS);
    let answer = ApiVersionsResponse::default()
        .with_error_code(ErrorCode::UNSUPPORTED_VERSION.code())
        .with_api_keys(range.map(|range| api_version(ApiKey::API_VERSIONS, range)).into_iter().collect());
    put_answer(&answer, 0, correlation_id, out);
}

/// Appends a whole ApiVersions answer that is an error alone, as for a malformed software name (KIP-511).
pub fn put_api_versions_error(version: i16, correlation_id: i32, error: ErrorCode, out: &mut BytesMut) {
    put_answer(&ApiVersionsResponse::default().with_error_code(error.code()), version, correlation_id, out);
}

/// Whether a client software name or version is well formed (KIP-511): letters, digits, `-` and `.`, the first
/// and the last a letter or digit.
pub fn is_software_name(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
    let ends = [name.bytes().next(), name.bytes().next_back()];
    name.bytes().all(inner) && ends.iter().all(|end| end.is_some_and(|byte| byte.is_ascii_alphanumeric()))
}

fn put_answer(answer: &ApiVersionsResponse, version: i16, correlation_id: i32, out: &mut BytesMut) {
    put_response_header(ApiKey::API_VERSIONS, version, correlation_id, out);
    answer.encode(out, version).expect("every field is set only in versions that have it");
}

fn api_version(key: i16, range: RangeInclusive<i16>) -> ApiVersion {
    ApiVersion::default().with_api_key(key).with_min_version(*range.start()).with_max_version(*range.end())
}

fn supported_feature(feature: &Feature) -> SupportedFeatureKey {
    SupportedFeatureKey::default()
        .with_name(StrBytes::from_static_str(feature.name))
        .with_min_version(feature.min)
        .with_max_version(feature.max)
}

fn finalized_feature(feature: &FinalizedFeature) -> FinalizedFeatureKey {
    FinalizedFeatureKey::default()
        .with_name(StrBytes::from_string(feature.name.clone()))
        .with_min_version_level(feature.level)
        .with_max_version_level(feature.level)
}
