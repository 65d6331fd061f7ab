//! The shapes of requests about versions, features, membership and telemetry.

use super::shape::{BOOL, BYTES, I8, I16, I32, Request, STR, U16, UUID, request, structs};
use crate::versions::ApiKey;

pub(super) const REQUESTS: &[Request] = &[
    request(ApiKey::API_VERSIONS, 0, 4, &[STR.since(3), STR.since(3)]),
    request(ApiKey::DESCRIBE_QUORUM, 0, 2, &[structs(&[STR, structs(&[I32])])]),
    request(
        ApiKey::UPDATE_FEATURES,
        0,
        2,
        &[I32, structs(&[STR, I16, BOOL.until(0), I8.since(1)]), BOOL.since(1)],
    ),
    request(ApiKey::DESCRIBE_CLUSTER, 0, 2, &[BOOL, I8.since(1), BOOL.since(2)]),
    request(ApiKey::UNREGISTER_BROKER, 0, 0, &[I32]),
    request(ApiKey::GET_TELEMETRY_SUBSCRIPTIONS, 0, 0, &[UUID]),
    request(ApiKey::PUSH_TELEMETRY, 0, 0, &[UUID, I32, BOOL, I8, BYTES]),
    request(ApiKey::ADD_RAFT_VOTER, 0, 0, &[STR, I32, I32, UUID, structs(&[STR, STR, U16])]),
    request(ApiKey::REMOVE_RAFT_VOTER, 0, 0, &[STR, I32, UUID]),
];
