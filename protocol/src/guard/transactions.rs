//! The shapes of requests about transactions and producers.

use super::shape::{BOOL, I16, I32, I64, Request, STR, list, request, structs};
use crate::versions::ApiKey;

pub(super) const REQUESTS: &[Request] = &[
    request(
        ApiKey::INIT_PRODUCER_ID,
        0,
        5,
        &[STR, I32, I64.since(3), I16.since(3), BOOL.never(), BOOL.never()],
    ),
    request(
        ApiKey::ADD_PARTITIONS_TO_TXN,
        0,
        5,
        &[
            structs(&[
                STR.since(4),
                I64.since(4),
                I16.since(4),
                BOOL.since(4),
                structs(&[STR, list(&I32)]).since(4),
            ])
            .since(4),
            STR.until(3),
            I64.until(3),
            I16.until(3),
            structs(&[STR, list(&I32)]).until(3),
        ],
    ),
    request(ApiKey::ADD_OFFSETS_TO_TXN, 0, 4, &[STR, I64, I16, STR]),
    request(ApiKey::END_TXN, 0, 5, &[STR, I64, I16, BOOL]),
    request(ApiKey::WRITE_TXN_MARKERS, 1, 1, &[structs(&[I64, I16, BOOL, structs(&[STR, list(&I32)]), I32])]),
    request(
        ApiKey::TXN_OFFSET_COMMIT,
        0,
        5,
        &[
            STR,
            STR,
            I64,
            I16,
            I32.since(3),
            STR.since(3),
            STR.since(3),
            structs(&[STR, structs(&[I32, I64, I32.since(2), STR])]),
        ],
    ),
    request(ApiKey::DESCRIBE_PRODUCERS, 0, 0, &[structs(&[STR, list(&I32)])]),
    request(ApiKey::DESCRIBE_TRANSACTIONS, 0, 0, &[list(&STR)]),
    request(ApiKey::LIST_TRANSACTIONS, 0, 2, &[list(&STR), list(&I64), I64.since(1), STR.since(2)]),
];
