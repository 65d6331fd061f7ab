//! DescribeUserScramCredentials (key 50), version 0 (KIP-554).
//!
//! Mechanism and iterations of each user; nothing of the password. No list of users, or an empty one, asks for all.

use std::collections::BTreeMap;
use std::sync::Arc;

use metadata::MetadataImage;
use protocol::messages::describe_user_scram_credentials_response::{
    CredentialInfo, DescribeUserScramCredentialsResult,
};
use protocol::messages::{DescribeUserScramCredentialsRequest, DescribeUserScramCredentialsResponse};
use protocol::{ErrorCode, StrBytes};

use crate::api::Client;
use crate::context::Context;

/// Answers from the metadata of this broker.
pub(crate) async fn handle(
    ctx: Arc<Context>,
    _client: Client,
    request: DescribeUserScramCredentialsRequest,
) -> DescribeUserScramCredentialsResponse {
    let image = ctx.metadata.image();
    let mut times_named: BTreeMap<String, usize> = BTreeMap::new();
    for user in request.users.iter().flatten() {
        *times_named.entry(user.name.to_string()).or_default() += 1;
    }
    if times_named.is_empty() {
        times_named.extend(image.scram.keys().map(|(_, user)| (user.clone(), 1)));
    }
    let results = times_named.into_iter().map(|(user, times)| describe(&image, user, times));
    DescribeUserScramCredentialsResponse::default().with_results(results.collect())
}

fn describe(image: &MetadataImage, user: String, times: usize) -> DescribeUserScramCredentialsResult {
    let known = [1, 2].into_iter().filter_map(|mechanism| image.scram.get(&(mechanism, user.clone())));
    let infos: Vec<_> = known
        .map(|c| CredentialInfo::default().with_mechanism(c.mechanism).with_iterations(c.iterations))
        .collect();
    let (code, message) = if times > 1 {
        let what = "Cannot describe SCRAM credentials for the same user twice in a single request: ";
        (ErrorCode::DUPLICATE_RESOURCE, what)
    } else if infos.is_empty() {
        (ErrorCode::RESOURCE_NOT_FOUND, "Attempt to describe a user credential that does not exist: ")
    } else {
        return DescribeUserScramCredentialsResult::default()
            .with_user(StrBytes::from_string(user))
            .with_credential_infos(infos);
    };
    DescribeUserScramCredentialsResult::default()
        .with_error_code(code.code())
        .with_error_message(Some(StrBytes::from_string(format!("{message}{user}"))))
        .with_user(StrBytes::from_string(user))
}
