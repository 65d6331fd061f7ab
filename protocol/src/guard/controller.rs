//! The shapes of requests about brokers and controllers among themselves (controller listener).

use super::shape::{BOOL, BYTES, I8, I16, I32, I64, Request, STR, U16, UUID, list, object, request, structs};
use crate::versions::ApiKey;

pub(super) const REQUESTS: &[Request] = &[
    request(
        ApiKey::VOTE,
        0,
        2,
        &[
            STR,
            I32.since(1),
            structs(&[STR, structs(&[I32, I32, I32, UUID.since(1), UUID.since(1), I32, I64, BOOL.since(2)])]),
        ],
    ),
    request(
        ApiKey::BEGIN_QUORUM_EPOCH,
        0,
        1,
        &[
            STR,
            I32.since(1),
            structs(&[STR, structs(&[I32, UUID.since(1), I32, I32])]),
            structs(&[STR.since(1), STR.since(1), U16.since(1)]).since(1),
        ],
    ),
    request(
        ApiKey::END_QUORUM_EPOCH,
        0,
        1,
        &[
            STR,
            structs(&[
                STR,
                structs(&[
                    I32,
                    I32,
                    I32,
                    list(&I32).until(0),
                    structs(&[I32.since(1), UUID.since(1)]).since(1),
                ]),
            ]),
            structs(&[STR.since(1), STR.since(1), U16.since(1)]).since(1),
        ],
    ),
    request(
        ApiKey::ALTER_PARTITION,
        2,
        3,
        &[
            I32,
            I64,
            structs(&[
                UUID,
                structs(&[
                    I32,
                    I32,
                    list(&I32).until(2),
                    structs(&[I32.since(3), I64.since(3)]).since(3),
                    I8,
                    I32,
                ]),
            ]),
        ],
    ),
    request(ApiKey::ENVELOPE, 0, 0, &[BYTES, BYTES, BYTES]),
    request(
        ApiKey::FETCH_SNAPSHOT,
        0,
        1,
        &[
            I32,
            I32,
            structs(&[STR, structs(&[I32, I32, object(&[I64, I32]), I64, UUID.tag(0).since(1)])]),
            STR.tag(0),
        ],
    ),
    request(
        ApiKey::BROKER_REGISTRATION,
        0,
        4,
        &[
            I32,
            STR,
            UUID,
            structs(&[STR, STR, U16, I16]),
            structs(&[STR, I16, I16]),
            STR,
            BOOL.since(1),
            list(&UUID).since(2),
            I64.since(3),
        ],
    ),
    request(ApiKey::BROKER_HEARTBEAT, 0, 1, &[I32, I64, I64, BOOL, BOOL, list(&UUID).tag(0).since(1)]),
    request(ApiKey::ALLOCATE_PRODUCER_IDS, 0, 0, &[I32, I64]),
    request(
        ApiKey::CONTROLLER_REGISTRATION,
        0,
        0,
        &[I32, UUID, BOOL, structs(&[STR, STR, U16, I16]), structs(&[STR, I16, I16])],
    ),
    request(
        ApiKey::ASSIGN_REPLICAS_TO_DIRS,
        0,
        0,
        &[I32, I64, structs(&[UUID, structs(&[UUID, structs(&[I32])])])],
    ),
    request(
        ApiKey::UPDATE_RAFT_VOTER,
        0,
        0,
        &[STR, I32, I32, UUID, structs(&[STR, STR, U16]), object(&[I16, I16])],
    ),
];
