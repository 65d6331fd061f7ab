//! The shapes of requests about classic groups and groups of KIP-848.

use super::shape::{BOOL, BYTES, I8, I32, I64, Request, STR, UUID, list, request, structs};
use crate::versions::ApiKey;

pub(super) const REQUESTS: &[Request] = &[
    request(
        ApiKey::OFFSET_COMMIT,
        2,
        9,
        &[
            STR,
            I32,
            STR,
            STR.since(7),
            I64.until(4),
            structs(&[STR, UUID.never(), structs(&[I32, I64, I32.since(6), STR])]),
        ],
    ),
    request(
        ApiKey::OFFSET_FETCH,
        1,
        9,
        &[
            STR.until(7),
            structs(&[STR.until(7), list(&I32).until(7)]).until(7),
            structs(&[
                STR.since(8),
                STR.since(9),
                I32.since(9),
                structs(&[STR.since(8), UUID.never(), list(&I32).since(8)]).since(8),
            ])
            .since(8),
            BOOL.since(7),
        ],
    ),
    request(ApiKey::FIND_COORDINATOR, 0, 6, &[STR.until(3), I8.since(1), list(&STR).since(4)]),
    request(
        ApiKey::JOIN_GROUP,
        0,
        9,
        &[STR, I32, I32.since(1), STR, STR.since(5), STR, structs(&[STR, BYTES]), STR.since(8)],
    ),
    request(ApiKey::HEARTBEAT, 0, 4, &[STR, I32, STR, STR.since(3)]),
    request(
        ApiKey::LEAVE_GROUP,
        0,
        5,
        &[STR, STR.until(2), structs(&[STR.since(3), STR.since(3), STR.since(5)]).since(3)],
    ),
    request(
        ApiKey::SYNC_GROUP,
        0,
        5,
        &[STR, I32, STR, STR.since(3), STR.since(5), STR.since(5), structs(&[STR, BYTES])],
    ),
    request(ApiKey::DESCRIBE_GROUPS, 0, 6, &[list(&STR), BOOL.since(3)]),
    request(ApiKey::LIST_GROUPS, 0, 5, &[list(&STR).since(4), list(&STR).since(5)]),
    request(ApiKey::DELETE_GROUPS, 0, 2, &[list(&STR)]),
    request(ApiKey::OFFSET_DELETE, 0, 0, &[STR, structs(&[STR, structs(&[I32])])]),
    request(
        ApiKey::CONSUMER_GROUP_HEARTBEAT,
        0,
        1,
        &[STR, STR, I32, STR, STR, I32, list(&STR), STR.since(1), STR, structs(&[UUID, list(&I32)])],
    ),
    request(ApiKey::CONSUMER_GROUP_DESCRIBE, 0, 1, &[list(&STR), BOOL]),
];
