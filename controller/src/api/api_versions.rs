//! ApiVersions (key 18), versions 0-4, on the controller listener.
//!
//! - A version that is not served is answered in version 0 with UNSUPPORTED_VERSION.
//! - v3: software name and version, INVALID_REQUEST if malformed (KIP-511); features (KIP-584).
//! - v4: features with a minimum of 0 are named (KIP-1022).

use bytes::{Bytes, BytesMut};
use protocol::ErrorCode;
use protocol::features::{FEATURES, FinalizedFeature};
use protocol::messages::ApiVersionsRequest;
use protocol::request::RequestHeader;
use protocol::versions::{
    ApiKey, FeaturesAnswer, Listener, is_software_name, is_taken, put_api_versions, put_api_versions_error,
    put_api_versions_unsupported,
};

use super::{decode, invalid, is_served};
use crate::handle::{Answer, ControllerHandle, InvalidRequest};

pub(super) fn answer(
    controller: &ControllerHandle,
    header: &RequestHeader,
    body: &Bytes,
) -> Result<Answer, InvalidRequest> {
    let (version, correlation_id) = (header.api_version, header.correlation_id);
    let mut out = BytesMut::new();
    if !is_taken(Listener::Controller, ApiKey::API_VERSIONS, version) {
        put_api_versions_unsupported(correlation_id, &mut out);
    } else if !has_software_name(header, body)? {
        put_api_versions_error(version, correlation_id, ErrorCode::INVALID_REQUEST, &mut out);
    } else {
        let image = controller.image();
        let finalized = image.features.finalized().into_iter();
        let finalized: Vec<_> = finalized.map(|(name, level)| FinalizedFeature { name, level }).collect();
        let finalized_epoch = image.provenance.last_offset;
        let features = FeaturesAnswer { supported: &FEATURES, finalized: &finalized, finalized_epoch };
        put_api_versions(Listener::Controller, version, correlation_id, is_served, &features, &mut out);
    }
    Ok(Answer { bytes: out.freeze(), committed_offset: -1, is_refused: false })
}

/// Whether the client names itself as it must from version 3 on; an error if the request cannot be read.
fn has_software_name(header: &RequestHeader, body: &Bytes) -> Result<bool, InvalidRequest> {
    let version = header.api_version;
    if version < 3 {
        return Ok(true);
    }
    protocol::guard::check(ApiKey::API_VERSIONS, version, body).map_err(|error| invalid(header, error))?;
    let request: ApiVersionsRequest = decode(header, body.clone())?;
    let named = [&request.client_software_name, &request.client_software_version];
    Ok(named.into_iter().all(|name| is_software_name(name)))
}
