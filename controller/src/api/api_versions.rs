//! ApiVersions (key 18), versions 0-4, on the controller listener.
//!
//! - A version that is not served is answered in version 0 with UNSUPPORTED_VERSION.
//! - v3: software name and version, INVALID_REQUEST if malformed (KIP-511); features (KIP-584).
//! - v4: features with a minimum of 0 are named (KIP-1022).

use bytes::{Bytes, BytesMut};
use protocol::features::{FEATURES, FinalizedFeature};
use protocol::messages::ApiVersionsRequest;
use protocol::request::RequestHeader;
use protocol::versions::{
    ApiKey, FeaturesAnswer, Listener, is_software_name, is_taken, put_api_versions, put_api_versions_error,
    put_api_versions_unsupported,
};
use protocol::{Decodable, ErrorCode};

use super::is_served;
use crate::handle::{Answer, ControllerHandle};

pub(super) fn answer(controller: &ControllerHandle, header: &RequestHeader, body: &Bytes) -> Answer {
    let (version, correlation_id) = (header.api_version, header.correlation_id);
    let mut out = BytesMut::new();
    if !is_taken(Listener::Controller, ApiKey::API_VERSIONS, version) {
        put_api_versions_unsupported(correlation_id, &mut out);
    } else if !is_well_formed(version, body) {
        put_api_versions_error(version, correlation_id, ErrorCode::INVALID_REQUEST, &mut out);
    } else {
        let image = controller.image();
        let finalized = image.features.finalized().into_iter();
        let finalized: Vec<_> = finalized.map(|(name, level)| FinalizedFeature { name, level }).collect();
        let finalized_epoch = image.provenance.last_offset;
        let features = FeaturesAnswer { supported: &FEATURES, finalized: &finalized, finalized_epoch };
        put_api_versions(Listener::Controller, version, correlation_id, is_served, &features, &mut out);
    }
    Answer { bytes: out.freeze(), committed_offset: -1 }
}

fn is_well_formed(version: i16, body: &Bytes) -> bool {
    if version < 3 {
        return true;
    }
    let checked = protocol::guard::check(ApiKey::API_VERSIONS, version, body).is_ok();
    let request = checked.then(|| ApiVersionsRequest::decode(&mut body.clone(), version).ok()).flatten();
    request.is_some_and(|request| {
        is_software_name(&request.client_software_name) && is_software_name(&request.client_software_version)
    })
}
