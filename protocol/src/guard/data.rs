//! The shapes of requests about records, offsets and metadata of topics.

use super::shape::{
    BOOL, BYTES, I8, I16, I32, I64, Request, STR, UUID, list, nullable_object, object, request, structs,
};
use crate::versions::ApiKey;

pub(super) const REQUESTS: &[Request] = &[
    request(
        ApiKey::PRODUCE,
        3,
        13,
        &[STR, I16, I32, structs(&[STR.until(12), UUID.since(13), structs(&[I32, BYTES])])],
    ),
    request(
        ApiKey::FETCH,
        4,
        18,
        &[
            I32.until(14),
            I32,
            I32,
            I32,
            I8,
            I32.since(7),
            I32.since(7),
            structs(&[
                STR.until(12),
                UUID.since(13),
                structs(&[
                    I32,
                    I32.since(9),
                    I64,
                    I32.since(12),
                    I64.since(5),
                    I32,
                    UUID.tag(0).since(17),
                    I64.tag(1).since(18),
                ]),
            ]),
            structs(&[STR.only(7, 12), UUID.since(13), list(&I32).since(7)]).since(7),
            STR.since(11),
            STR.tag(0).since(12),
            object(&[I32.since(15), I64.since(15)]).tag(1).since(15),
        ],
    ),
    request(
        ApiKey::LIST_OFFSETS,
        1,
        10,
        &[I32, I8.since(2), structs(&[STR, structs(&[I32, I32.since(4), I64])]), I32.since(10)],
    ),
    request(
        ApiKey::METADATA,
        0,
        13,
        &[structs(&[UUID.since(10), STR]), BOOL.since(4), BOOL.only(8, 10), BOOL.since(8)],
    ),
    request(ApiKey::DELETE_RECORDS, 0, 2, &[structs(&[STR, structs(&[I32, I64])]), I32]),
    request(
        ApiKey::OFFSET_FOR_LEADER_EPOCH,
        2,
        4,
        &[I32.since(3), structs(&[STR, structs(&[I32, I32, I32])])],
    ),
    request(ApiKey::DESCRIBE_TOPIC_PARTITIONS, 0, 0, &[structs(&[STR]), I32, nullable_object(&[STR, I32])]),
];
