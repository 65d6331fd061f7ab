//! The shapes of requests about share groups (KIP-932).

use super::shape::{BOOL, I8, I16, I32, I64, Request, STR, UUID, list, request, structs};
use crate::versions::ApiKey;

pub(super) const REQUESTS: &[Request] = &[
    request(ApiKey::SHARE_GROUP_HEARTBEAT, 1, 1, &[STR, STR, I32, STR, list(&STR)]),
    request(ApiKey::SHARE_GROUP_DESCRIBE, 1, 1, &[list(&STR), BOOL]),
    request(
        ApiKey::SHARE_FETCH,
        1,
        1,
        &[
            STR,
            STR,
            I32,
            I32,
            I32,
            I32,
            I32,
            I32,
            structs(&[UUID, structs(&[I32, I32.never(), structs(&[I64, I64, list(&I8)])])]),
            structs(&[UUID, list(&I32)]),
        ],
    ),
    request(
        ApiKey::SHARE_ACKNOWLEDGE,
        1,
        1,
        &[STR, STR, I32, structs(&[UUID, structs(&[I32, structs(&[I64, I64, list(&I8)])])])],
    ),
    request(ApiKey::INITIALIZE_SHARE_GROUP_STATE, 0, 0, &[STR, structs(&[UUID, structs(&[I32, I32, I64])])]),
    request(ApiKey::READ_SHARE_GROUP_STATE, 0, 0, &[STR, structs(&[UUID, structs(&[I32, I32])])]),
    request(
        ApiKey::WRITE_SHARE_GROUP_STATE,
        0,
        0,
        &[STR, structs(&[UUID, structs(&[I32, I32, I32, I64, structs(&[I64, I64, I8, I16])])])],
    ),
    request(ApiKey::DELETE_SHARE_GROUP_STATE, 0, 0, &[STR, structs(&[UUID, structs(&[I32])])]),
    request(ApiKey::READ_SHARE_GROUP_STATE_SUMMARY, 0, 0, &[STR, structs(&[UUID, structs(&[I32, I32])])]),
    request(ApiKey::DESCRIBE_SHARE_GROUP_OFFSETS, 0, 0, &[structs(&[STR, structs(&[STR, list(&I32)])])]),
    request(ApiKey::ALTER_SHARE_GROUP_OFFSETS, 0, 0, &[STR, structs(&[STR, structs(&[I32, I64])])]),
    request(ApiKey::DELETE_SHARE_GROUP_OFFSETS, 0, 0, &[STR, structs(&[STR])]),
];
