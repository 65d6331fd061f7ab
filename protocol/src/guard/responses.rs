//! The shapes of the responses that a node reads: those of other nodes, which may run other software.

use super::shape::{
    BOOL, BYTES, Field, I8, I16, I32, I64, Request, STR, U16, UUID, list, object, request, structs,
};
use crate::versions::ApiKey;

/// Where a leader is reached: id, host, port.
const ENDPOINTS: Field = structs(&[I32, STR, U16]);
/// Id and epoch of a leader.
const LEADER: Field = object(&[I32, I32]);
/// A voter or observer of the quorum.
const REPLICAS: Field = structs(&[I32, UUID.since(2), I64, I64.since(1), I64.since(1)]);

pub(super) const RESPONSES: &[Request] = &[
    request(
        ApiKey::FETCH,
        4,
        18,
        &[
            I32,
            I16.since(7),
            I32.since(7),
            structs(&[
                STR.until(12),
                UUID.since(13),
                structs(&[
                    I32,
                    I16,
                    I64,
                    I64,
                    I64.since(5),
                    structs(&[I64, I64]),
                    I32.since(11),
                    BYTES,
                    object(&[I32, I64]).tag(0).since(12),
                    LEADER.tag(1).since(12),
                    object(&[I64, I32]).tag(2).since(12),
                ]),
            ]),
            structs(&[I32, STR, I32, STR]).tag(0).since(16),
        ],
    ),
    request(ApiKey::LIST_OFFSETS, 4, 10, &[I32, structs(&[STR, structs(&[I32, I16, I64, I64, I32])])]),
    request(
        ApiKey::API_VERSIONS,
        0,
        4,
        &[
            I16,
            structs(&[I16, I16, I16]),
            I32.since(1),
            structs(&[STR, I16, I16]).tag(0).since(3),
            I64.tag(1).since(3),
            structs(&[STR, I16, I16]).tag(2).since(3),
            BOOL.tag(3).since(3),
        ],
    ),
    request(
        ApiKey::CREATE_TOPICS,
        2,
        7,
        &[
            I32,
            structs(&[
                STR,
                UUID.since(7),
                I16,
                STR,
                I32.since(5),
                I16.since(5),
                structs(&[STR, STR, BOOL, I8, BOOL]).since(5),
                I16.tag(0).since(5),
            ]),
        ],
    ),
    request(ApiKey::ALTER_CONFIGS, 0, 2, &[I32, structs(&[I16, STR, I8, STR])]),
    request(ApiKey::INCREMENTAL_ALTER_CONFIGS, 0, 1, &[I32, structs(&[I16, STR, I8, STR])]),
    request(
        ApiKey::VOTE,
        0,
        2,
        &[I16, structs(&[STR, structs(&[I32, I16, I32, I32, BOOL])]), ENDPOINTS.tag(0).since(1)],
    ),
    request(
        ApiKey::BEGIN_QUORUM_EPOCH,
        0,
        1,
        &[I16, structs(&[STR, structs(&[I32, I16, I32, I32])]), ENDPOINTS.tag(0).since(1)],
    ),
    request(
        ApiKey::END_QUORUM_EPOCH,
        0,
        1,
        &[I16, structs(&[STR, structs(&[I32, I16, I32, I32])]), ENDPOINTS.tag(0).since(1)],
    ),
    request(
        ApiKey::DESCRIBE_QUORUM,
        0,
        2,
        &[
            I16,
            STR.since(2),
            structs(&[STR, structs(&[I32, I16, STR.since(2), I32, I32, I64, REPLICAS, REPLICAS])]),
            structs(&[I32, structs(&[STR, STR, U16])]).since(2),
        ],
    ),
    request(
        ApiKey::ALTER_PARTITION,
        2,
        3,
        &[I32, I16, structs(&[UUID, structs(&[I32, I16, I32, I32, list(&I32), I8, I32])])],
    ),
    request(ApiKey::ENVELOPE, 0, 0, &[BYTES, I16]),
    request(
        ApiKey::FETCH_SNAPSHOT,
        0,
        1,
        &[
            I32,
            I16,
            structs(&[STR, structs(&[I32, I16, object(&[I64, I32]), I64, I64, BYTES, LEADER.tag(0)])]),
            ENDPOINTS.tag(0).since(1),
        ],
    ),
    request(ApiKey::BROKER_REGISTRATION, 0, 4, &[I32, I16, I64]),
    request(ApiKey::BROKER_HEARTBEAT, 0, 1, &[I32, I16, BOOL, BOOL, BOOL]),
    request(ApiKey::ALLOCATE_PRODUCER_IDS, 0, 0, &[I32, I16, I64, I32]),
    request(ApiKey::CONTROLLER_REGISTRATION, 0, 0, &[I32, I16, STR]),
    request(
        ApiKey::ASSIGN_REPLICAS_TO_DIRS,
        0,
        0,
        &[I32, I16, structs(&[UUID, structs(&[UUID, structs(&[I32, I16])])])],
    ),
    request(ApiKey::UPDATE_RAFT_VOTER, 0, 0, &[I32, I16, object(&[I32, I32, STR, I32]).tag(0)]),
];
