//! AlterUserScramCredentials: users whose password a client proves with SCRAM (KIP-554).

use std::collections::{BTreeMap, btree_map::Entry};

use metadata::scram::{ITERATIONS, ScramMechanism};
use protocol::ErrorCode;
use protocol::messages::alter_user_scram_credentials_request::{
    ScramCredentialDeletion, ScramCredentialUpsertion,
};
use protocol::messages::alter_user_scram_credentials_response::AlterUserScramCredentialsResult;
use protocol::messages::{AlterUserScramCredentialsRequest, AlterUserScramCredentialsResponse};
use protocol::records::{Record, RemoveUserScramCredentialRecord};

use super::View;
use crate::api_error::{ApiError, code_and_message};
use crate::event::Decision;

/// A user is altered once at most, whatever the mechanism: one named twice is left as it is.
pub(super) fn alter(view: View<'_>, request: &AlterUserScramCredentialsRequest) -> Decision {
    let mut users: BTreeMap<&str, Result<Record, ApiError>> = BTreeMap::new();
    let deletions = request.deletions.iter().map(|one| (one.name.as_str(), delete(view, one)));
    let upsertions = request.upsertions.iter().map(|one| (one.name.as_str(), upsert(view, one)));
    for (user, result) in deletions.chain(upsertions) {
        match users.entry(user) {
            Entry::Vacant(first) => {
                first.insert(result);
            }
            // The first thing that was wrong with a user is what is said of it.
            Entry::Occupied(mut again) if again.get().is_ok() => {
                *again.get_mut() = Err(ApiError::new(
                    ErrorCode::DUPLICATE_RESOURCE,
                    "A user credential cannot be altered twice in the same request",
                ));
            }
            Entry::Occupied(_) => {}
        }
    }
    let mut records = Vec::new();
    let mut response = AlterUserScramCredentialsResponse::default();
    for (user, result) in users {
        let (code, message) = code_and_message(&result);
        records.extend(result.ok());
        response.results.push(
            AlterUserScramCredentialsResult::default()
                .with_user(protocol::StrBytes::from_string(user.to_owned()))
                .with_error_code(code)
                .with_error_message(message),
        );
    }
    Decision::atomic(records, response)
}

fn delete(view: View<'_>, deletion: &ScramCredentialDeletion) -> Result<Record, ApiError> {
    let mechanism = known(view, &deletion.name, deletion.mechanism)?;
    let name = deletion.name.to_string();
    if !view.image.scram.contains_key(&(mechanism.code(), name.clone())) {
        let message = "Attempt to delete a user credential that does not exist";
        return Err(ApiError::new(ErrorCode::RESOURCE_NOT_FOUND, message));
    }
    let mechanism = mechanism.code();
    Ok(Record::RemoveUserScramCredential(RemoveUserScramCredentialRecord { name, mechanism }))
}

fn upsert(view: View<'_>, upsertion: &ScramCredentialUpsertion) -> Result<Record, ApiError> {
    let mechanism = known(view, &upsertion.name, upsertion.mechanism)?;
    let iterations = upsertion.iterations;
    let unacceptable = |message: &str| Err(ApiError::new(ErrorCode::UNACCEPTABLE_CREDENTIAL, message));
    if iterations < ITERATIONS.0 {
        return unacceptable("Too few iterations");
    }
    if iterations > ITERATIONS.1 {
        return unacceptable("Too many iterations");
    }
    // An empty key is what Java's HMAC refuses, and with it Kafka.
    if upsertion.salted_password.is_empty() {
        return Err(ApiError::new(ErrorCode::UNKNOWN_SERVER_ERROR, "Empty key"));
    }
    let (name, salt) = (upsertion.name.to_string(), upsertion.salt.clone());
    let credential = mechanism.credential(name, salt, &upsertion.salted_password, iterations);
    Ok(Record::UserScramCredential(credential))
}

fn known(view: View<'_>, name: &str, mechanism: i8) -> Result<ScramMechanism, ApiError> {
    if !view.image.features.metadata_version().is_scram_supported() {
        let message = "The current metadata.version does not support SCRAM";
        return Err(ApiError::new(ErrorCode::UNSUPPORTED_VERSION, message));
    }
    if name.is_empty() {
        return Err(ApiError::new(ErrorCode::UNACCEPTABLE_CREDENTIAL, "Username must not be empty"));
    }
    ScramMechanism::from_code(mechanism)
        .ok_or_else(|| ApiError::new(ErrorCode::UNSUPPORTED_SASL_MECHANISM, "Unknown SCRAM mechanism"))
}
