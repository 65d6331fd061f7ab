//! The shapes of requests about topics, partitions and configurations.

use super::shape::{BOOL, I8, I16, I32, Request, STR, UUID, list, request, structs};
use crate::versions::ApiKey;

pub(super) const REQUESTS: &[Request] = &[
    request(
        ApiKey::CREATE_TOPICS,
        2,
        7,
        &[structs(&[STR, I32, I16, structs(&[I32, list(&I32)]), structs(&[STR, STR])]), I32, BOOL],
    ),
    request(
        ApiKey::DELETE_TOPICS,
        1,
        6,
        &[structs(&[STR.since(6), UUID.since(6)]).since(6), list(&STR).until(5), I32],
    ),
    request(ApiKey::DESCRIBE_CONFIGS, 1, 4, &[structs(&[I8, STR, list(&STR)]), BOOL, BOOL.since(3)]),
    request(ApiKey::ALTER_CONFIGS, 0, 2, &[structs(&[I8, STR, structs(&[STR, STR])]), BOOL]),
    request(ApiKey::ALTER_REPLICA_LOG_DIRS, 1, 2, &[structs(&[STR, structs(&[STR, list(&I32)])])]),
    request(ApiKey::DESCRIBE_LOG_DIRS, 1, 4, &[structs(&[STR, list(&I32)])]),
    request(ApiKey::CREATE_PARTITIONS, 0, 3, &[structs(&[STR, I32, structs(&[list(&I32)])]), I32, BOOL]),
    request(ApiKey::ELECT_LEADERS, 0, 2, &[I8.since(1), structs(&[STR, list(&I32)]), I32]),
    request(ApiKey::INCREMENTAL_ALTER_CONFIGS, 0, 1, &[structs(&[I8, STR, structs(&[STR, I8, STR])]), BOOL]),
    request(
        ApiKey::ALTER_PARTITION_REASSIGNMENTS,
        0,
        1,
        &[I32, BOOL.since(1), structs(&[STR, structs(&[I32, list(&I32)])])],
    ),
    request(ApiKey::LIST_PARTITION_REASSIGNMENTS, 0, 0, &[I32, structs(&[STR, list(&I32)])]),
    request(ApiKey::LIST_CONFIG_RESOURCES, 0, 1, &[list(&I8).since(1)]),
];
