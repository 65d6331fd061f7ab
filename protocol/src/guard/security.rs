//! The shapes of requests about SASL, ACLs, delegation tokens, SCRAM and quotas.

use super::shape::{BOOL, BYTES, F64, I8, I32, I64, Request, STR, request, structs};
use crate::versions::ApiKey;

pub(super) const REQUESTS: &[Request] = &[
    request(ApiKey::SASL_HANDSHAKE, 0, 1, &[STR]),
    request(ApiKey::DESCRIBE_ACLS, 1, 3, &[I8, STR, I8, STR, STR, I8, I8]),
    request(ApiKey::CREATE_ACLS, 1, 3, &[structs(&[I8, STR, I8, STR, STR, I8, I8])]),
    request(ApiKey::DELETE_ACLS, 1, 3, &[structs(&[I8, STR, I8, STR, STR, I8, I8])]),
    request(ApiKey::SASL_AUTHENTICATE, 0, 2, &[BYTES]),
    request(ApiKey::CREATE_DELEGATION_TOKEN, 1, 3, &[STR.since(3), STR.since(3), structs(&[STR, STR]), I64]),
    request(ApiKey::RENEW_DELEGATION_TOKEN, 1, 2, &[BYTES, I64]),
    request(ApiKey::EXPIRE_DELEGATION_TOKEN, 1, 2, &[BYTES, I64]),
    request(ApiKey::DESCRIBE_DELEGATION_TOKEN, 1, 3, &[structs(&[STR, STR])]),
    request(ApiKey::DESCRIBE_CLIENT_QUOTAS, 0, 1, &[structs(&[STR, I8, STR]), BOOL]),
    request(
        ApiKey::ALTER_CLIENT_QUOTAS,
        0,
        1,
        &[structs(&[structs(&[STR, STR]), structs(&[STR, F64, BOOL])]), BOOL],
    ),
    request(ApiKey::DESCRIBE_USER_SCRAM_CREDENTIALS, 0, 0, &[structs(&[STR])]),
    request(
        ApiKey::ALTER_USER_SCRAM_CREDENTIALS,
        0,
        0,
        &[structs(&[STR, I8]), structs(&[STR, I8, I32, BYTES, BYTES])],
    ),
];
