//! The error codes of the protocol, as Apache Kafka 4.1 numbers and names them.

use std::fmt;

/// A code in a response; 0 is none. Codes that are not named here pass through as they are.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct ErrorCode(pub i16);

macro_rules! error_codes {
    ($($code:literal, $name:ident, $kind:ident, $message:literal;)+) => {
        impl ErrorCode {
            $(
                #[doc = $message]
                pub const $name: Self = Self($code);
            )+

            /// Every code that has a name, ascending.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// Kafka's name of the code; `UNKNOWN_CODE` if it has none.
            pub fn name(self) -> &'static str {
                match self.0 {
                    $($code => stringify!($name),)+
                    _ => "UNKNOWN_CODE",
                }
            }

            /// One sentence for people, used where a response wants a message and nothing better is known.
            pub fn message(self) -> &'static str {
                match self.0 {
                    $($code => $message,)+
                    _ => "The error code is not known.",
                }
            }

            /// Whether a client may try the same request again.
            pub fn is_retriable(self) -> bool {
                match self.0 {
                    $($code => error_codes!(@$kind),)+
                    _ => false,
                }
            }
        }
    };
    (@retriable) => { true };
    (@final) => { false };
}

error_codes! {
    -1, UNKNOWN_SERVER_ERROR, final, "The server failed in a way that it did not expect.";
    0, NONE, final, "No error.";
    1, OFFSET_OUT_OF_RANGE, final, "The offset is outside the range that the partition holds.";
    2, CORRUPT_MESSAGE, retriable, "A record batch is corrupt: its checksum, size or key is not valid.";
    3, UNKNOWN_TOPIC_OR_PARTITION, retriable, "This server does not host this topic-partition.";
    4, INVALID_FETCH_SIZE, final, "The fetch size is not valid.";
    5, LEADER_NOT_AVAILABLE, retriable, "The partition has no leader at present.";
    6, NOT_LEADER_OR_FOLLOWER, retriable, "This broker does not lead, or does not hold, the partition.";
    7, REQUEST_TIMED_OUT, retriable, "The request timed out.";
    8, BROKER_NOT_AVAILABLE, final, "The broker is not available.";
    9, REPLICA_NOT_AVAILABLE, retriable, "The replica is not available.";
    10, MESSAGE_TOO_LARGE, final, "A record batch is larger than the server accepts.";
    11, STALE_CONTROLLER_EPOCH, final, "The controller moved to another node.";
    12, OFFSET_METADATA_TOO_LARGE, final, "The metadata of the committed offset is too large.";
    13, NETWORK_EXCEPTION, retriable, "The connection ended before an answer came.";
    14, COORDINATOR_LOAD_IN_PROGRESS, retriable, "The coordinator is still loading.";
    15, COORDINATOR_NOT_AVAILABLE, retriable, "The coordinator is not available.";
    16, NOT_COORDINATOR, retriable, "This broker is not the coordinator.";
    17, INVALID_TOPIC_EXCEPTION, final, "The topic is not valid for this operation.";
    18, RECORD_LIST_TOO_LARGE, final, "A record batch is larger than a segment.";
    19, NOT_ENOUGH_REPLICAS, retriable, "Fewer replicas are in sync than min.insync.replicas asks for.";
    20, NOT_ENOUGH_REPLICAS_AFTER_APPEND, retriable, "The records were written, but too few replicas are in sync.";
    21, INVALID_REQUIRED_ACKS, final, "Acks must be -1, 0 or 1.";
    22, ILLEGAL_GENERATION, final, "The group's generation is another one.";
    23, INCONSISTENT_GROUP_PROTOCOL, final, "The member supports no protocol of this group.";
    24, INVALID_GROUP_ID, final, "The group id is not valid.";
    25, UNKNOWN_MEMBER_ID, final, "The group has no such member.";
    26, INVALID_SESSION_TIMEOUT, final, "The session timeout is outside the range that the broker allows.";
    27, REBALANCE_IN_PROGRESS, final, "The group is rebalancing, the member has to join again.";
    28, INVALID_COMMIT_OFFSET_SIZE, final, "The size of the committed offsets is not valid.";
    29, TOPIC_AUTHORIZATION_FAILED, final, "Not authorized for the topic.";
    30, GROUP_AUTHORIZATION_FAILED, final, "Not authorized for the group.";
    31, CLUSTER_AUTHORIZATION_FAILED, final, "Not authorized for the cluster.";
    32, INVALID_TIMESTAMP, final, "The timestamp is outside the range that the topic accepts.";
    33, UNSUPPORTED_SASL_MECHANISM, final, "The SASL mechanism is not enabled.";
    34, ILLEGAL_SASL_STATE, final, "The request does not fit the state of the SASL exchange.";
    35, UNSUPPORTED_VERSION, final, "This version is not supported.";
    36, TOPIC_ALREADY_EXISTS, final, "A topic with this name exists.";
    37, INVALID_PARTITIONS, final, "The number of partitions is not valid.";
    38, INVALID_REPLICATION_FACTOR, final, "The replication factor is below 1 or above the number of brokers.";
    39, INVALID_REPLICA_ASSIGNMENT, final, "The replica assignment is not valid.";
    40, INVALID_CONFIG, final, "The configuration is not valid.";
    41, NOT_CONTROLLER, retriable, "This node is not the active controller.";
    42, INVALID_REQUEST, final, "This most likely occurs because of a request being malformed by the client library or the message was sent to an incompatible broker. See the broker logs for more details.";
    43, UNSUPPORTED_FOR_MESSAGE_FORMAT, final, "The partition's message format does not support the request.";
    44, POLICY_VIOLATION, final, "A policy of this cluster forbids the request.";
    45, OUT_OF_ORDER_SEQUENCE_NUMBER, final, "The producer's sequence number is out of order.";
    46, DUPLICATE_SEQUENCE_NUMBER, final, "The producer's sequence number was used already.";
    47, INVALID_PRODUCER_EPOCH, final, "The producer's epoch is old.";
    48, INVALID_TXN_STATE, final, "The transaction's state does not allow this.";
    49, INVALID_PRODUCER_ID_MAPPING, final, "The producer id does not belong to the transactional id.";
    50, INVALID_TRANSACTION_TIMEOUT, final, "The transaction timeout is above what the broker allows.";
    51, CONCURRENT_TRANSACTIONS, retriable, "Another change of this transaction is still under way.";
    52, TRANSACTION_COORDINATOR_FENCED, final, "The transaction coordinator is not the current one.";
    53, TRANSACTIONAL_ID_AUTHORIZATION_FAILED, final, "Not authorized for the transactional id.";
    54, SECURITY_DISABLED, final, "Security features are disabled.";
    55, OPERATION_NOT_ATTEMPTED, final, "The operation was not tried, since another one of the request failed.";
    56, KAFKA_STORAGE_ERROR, retriable, "The log directory failed.";
    57, LOG_DIR_NOT_FOUND, final, "The broker has no such log directory.";
    58, SASL_AUTHENTICATION_FAILED, final, "SASL authentication failed.";
    59, UNKNOWN_PRODUCER_ID, final, "Nothing is known of this producer id.";
    60, REASSIGNMENT_IN_PROGRESS, final, "The partition is being reassigned.";
    61, DELEGATION_TOKEN_AUTH_DISABLED, final, "Delegation tokens are not enabled.";
    62, DELEGATION_TOKEN_NOT_FOUND, final, "No such delegation token.";
    63, DELEGATION_TOKEN_OWNER_MISMATCH, final, "The principal neither owns nor may renew the token.";
    64, DELEGATION_TOKEN_REQUEST_NOT_ALLOWED, final, "Delegation tokens cannot be asked for on this connection.";
    65, DELEGATION_TOKEN_AUTHORIZATION_FAILED, final, "Not authorized for the delegation token.";
    66, DELEGATION_TOKEN_EXPIRED, final, "The delegation token has expired.";
    67, INVALID_PRINCIPAL_TYPE, final, "The type of principal is not supported.";
    68, NON_EMPTY_GROUP, final, "The group has members.";
    69, GROUP_ID_NOT_FOUND, final, "No such group.";
    70, FETCH_SESSION_ID_NOT_FOUND, retriable, "No such fetch session.";
    71, INVALID_FETCH_SESSION_EPOCH, retriable, "The fetch session's epoch is another one.";
    72, LISTENER_NOT_FOUND, retriable, "The leader has no listener of this name.";
    73, TOPIC_DELETION_DISABLED, final, "Deleting topics is disabled.";
    74, FENCED_LEADER_EPOCH, retriable, "The leader epoch of the request is older than the partition's.";
    75, UNKNOWN_LEADER_EPOCH, retriable, "The leader epoch of the request is newer than the partition's.";
    76, UNSUPPORTED_COMPRESSION_TYPE, final, "The client's version does not know the partition's compression.";
    77, STALE_BROKER_EPOCH, final, "The broker has registered anew since.";
    78, OFFSET_NOT_AVAILABLE, retriable, "The new leader's high watermark has not caught up yet.";
    79, MEMBER_ID_REQUIRED, final, "The member must join again with the id that it was given.";
    80, PREFERRED_LEADER_NOT_AVAILABLE, retriable, "The preferred leader is not available.";
    81, GROUP_MAX_SIZE_REACHED, final, "The group is full.";
    82, FENCED_INSTANCE_ID, final, "Another member took over the static instance id.";
    83, ELIGIBLE_LEADERS_NOT_AVAILABLE, retriable, "No replica that may lead is available.";
    84, ELECTION_NOT_NEEDED, retriable, "The partition needs no election.";
    85, NO_REASSIGNMENT_IN_PROGRESS, final, "The partition is not being reassigned.";
    86, GROUP_SUBSCRIBED_TO_TOPIC, final, "The group is subscribed to the topic.";
    87, INVALID_RECORD, final, "A record failed the broker's validation.";
    88, UNSTABLE_OFFSET_COMMIT, retriable, "A transaction has not decided about offsets of the partition yet.";
    89, THROTTLING_QUOTA_EXCEEDED, retriable, "The quota is used up.";
    90, PRODUCER_FENCED, final, "A newer producer uses the transactional id.";
    91, RESOURCE_NOT_FOUND, final, "No such resource.";
    92, DUPLICATE_RESOURCE, final, "A resource is named twice.";
    93, UNACCEPTABLE_CREDENTIAL, final, "The credential is not acceptable.";
    94, INCONSISTENT_VOTER_SET, final, "A sender or receiver is not among the voters.";
    95, INVALID_UPDATE_VERSION, final, "The version of the update is not valid.";
    96, FEATURE_UPDATE_FAILED, final, "The feature levels could not be changed.";
    97, PRINCIPAL_DESERIALIZATION_FAILURE, final, "The principal of a forwarded request could not be read.";
    98, SNAPSHOT_NOT_FOUND, final, "No such snapshot.";
    99, POSITION_OUT_OF_RANGE, final, "The position is outside the snapshot.";
    100, UNKNOWN_TOPIC_ID, retriable, "This server does not host this topic ID.";
    101, DUPLICATE_BROKER_REGISTRATION, final, "Another live broker has this id.";
    102, BROKER_ID_NOT_REGISTERED, final, "No broker with this id is registered.";
    103, INCONSISTENT_TOPIC_ID, retriable, "The log belongs to another topic id.";
    104, INCONSISTENT_CLUSTER_ID, final, "The cluster id is another one.";
    105, TRANSACTIONAL_ID_NOT_FOUND, final, "No such transactional id.";
    106, FETCH_SESSION_TOPIC_ID_ERROR, retriable, "The fetch session mixes topic ids and names.";
    107, INELIGIBLE_REPLICA, final, "The new ISR names a replica that may not be in it.";
    108, NEW_LEADER_ELECTED, final, "The partition was altered, and has another leader now.";
    109, OFFSET_MOVED_TO_TIERED_STORAGE, final, "The offset is in tiered storage.";
    110, FENCED_MEMBER_EPOCH, final, "The member is fenced: it must give up its partitions and join again.";
    111, UNRELEASED_INSTANCE_ID, final, "A member with this instance id is still in the group.";
    112, UNSUPPORTED_ASSIGNOR, final, "The group does not support the assignor.";
    113, STALE_MEMBER_EPOCH, final, "The member's epoch is stale.";
    114, MISMATCHED_ENDPOINT_TYPE, final, "The request went to an endpoint of the other type.";
    115, UNSUPPORTED_ENDPOINT_TYPE, final, "This type of endpoint is not supported.";
    116, UNKNOWN_CONTROLLER_ID, final, "No such controller.";
    117, UNKNOWN_SUBSCRIPTION_ID, final, "The telemetry subscription is not known or outdated.";
    118, TELEMETRY_TOO_LARGE, final, "The telemetry is larger than the broker accepts.";
    119, INVALID_REGISTRATION, final, "The controller found the registration not valid.";
    120, TRANSACTION_ABORTABLE, final, "The transaction failed; after an abort its id can be used again.";
    121, INVALID_RECORD_STATE, final, "The record's delivery state does not allow this.";
    122, SHARE_SESSION_NOT_FOUND, retriable, "No such share session.";
    123, INVALID_SHARE_SESSION_EPOCH, retriable, "The share session's epoch is another one.";
    124, FENCED_STATE_EPOCH, final, "The share group's state epoch is another one.";
    125, INVALID_VOTER_KEY, final, "The voter's directory id is another one.";
    126, DUPLICATE_VOTER, final, "The voter is in the set already.";
    127, VOTER_NOT_FOUND, final, "The voter is not in the set.";
    128, INVALID_REGULAR_EXPRESSION, final, "The regular expression is not valid.";
    129, REBOOTSTRAP_REQUIRED, final, "The client's metadata is stale, it has to bootstrap again.";
    130, STREAMS_INVALID_TOPOLOGY, final, "The topology is not valid.";
    131, STREAMS_INVALID_TOPOLOGY_EPOCH, final, "The topology's epoch is not valid.";
    132, STREAMS_TOPOLOGY_FENCED, final, "The topology's epoch is outdated.";
    133, SHARE_SESSION_LIMIT_REACHED, retriable, "There are too many share sessions.";
}

impl ErrorCode {
    /// The number on the wire.
    pub const fn code(self) -> i16 {
        self.0
    }

    /// Whether this is an error at all.
    pub const fn is_error(self) -> bool {
        self.0 != 0
    }
}

impl fmt::Debug for ErrorCode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}({})", self.name(), self.0)
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_from_minus_one_to_133_has_its_number() {
        let codes: Vec<i16> = ErrorCode::ALL.iter().map(|code| code.code()).collect();
        assert_eq!(codes, (-1..=133).collect::<Vec<i16>>());
        assert_eq!(ErrorCode::NOT_COORDINATOR.name(), "NOT_COORDINATOR");
        assert_eq!(ErrorCode(4711).name(), "UNKNOWN_CODE");
    }

    #[test]
    fn retriable_agrees_with_the_client_library() {
        for &code in ErrorCode::ALL {
            let theirs = kafka_protocol::ResponseError::try_from_code(code.code());
            let theirs = theirs.is_some_and(|error| error.is_retriable());
            // The library misses that a concurrent transaction is worth another attempt.
            assert_eq!(code.is_retriable(), theirs || code == ErrorCode::CONCURRENT_TRANSACTIONS, "{code}");
        }
    }
}
