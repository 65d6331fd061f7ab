//! ApiVersions (key 18), versions 0-4.
//!
//! The response header has no tagged fields in any version, and a version from the future is answered as version
//! 0, so that any client can start a conversation. v3 client software name and version; v4 features with minimum 0.

use bytes::{Bytes, BytesMut};
use net::{Outbox, Outcome};
use protocol::features::{FEATURES, FinalizedFeature};
use protocol::messages::ApiVersionsRequest;
use protocol::request::HeaderView;
use protocol::versions::{
    FeaturesAnswer, Listener, is_software_name, put_api_versions, put_api_versions_error,
};
use protocol::{Decodable, ErrorCode, versions};

use crate::api::SERVED;
use crate::context::Context;
use crate::metrics::codes;

/// Answers a version that is not known.
pub(crate) fn unsupported(correlation_id: i32, out: &mut Outbox) {
    codes::note(ErrorCode::UNSUPPORTED_VERSION);
    let mut answer = BytesMut::new();
    versions::put_api_versions_unsupported(correlation_id, &mut answer);
    push(&answer, out);
}

/// Names the APIs and features of this broker.
pub(crate) fn handle(ctx: &Context, header: &HeaderView, frame: &[u8], out: &mut Outbox) -> Outcome {
    let mut body = Bytes::copy_from_slice(&frame[header.body_start..]);
    let request = match ApiVersionsRequest::decode(&mut body, header.api_version) {
        Ok(request) => request,
        Err(e) => return Outcome::Close(format!("undecodable ApiVersions request: {e}")),
    };
    let mut answer = BytesMut::new();
    let well_formed =
        is_software_name(&request.client_software_name) && is_software_name(&request.client_software_version);
    if header.api_version >= 3 && !well_formed {
        let error = ErrorCode::INVALID_REQUEST;
        codes::note(error);
        put_api_versions_error(header.api_version, header.correlation_id, error, &mut answer);
    } else {
        codes::note(ErrorCode::NONE);
        let image = ctx.metadata.image();
        let finalized: Vec<_> = image
            .features
            .finalized()
            .into_iter()
            .map(|(name, level)| FinalizedFeature { name, level })
            .collect();
        let features = FeaturesAnswer {
            supported: &FEATURES,
            finalized: &finalized,
            finalized_epoch: image.provenance.last_offset,
        };
        let is_served = |key| SERVED.contains(&key);
        let (version, id) = (header.api_version, header.correlation_id);
        put_api_versions(Listener::Broker, version, id, is_served, &features, &mut answer);
    }
    push(&answer, out);
    Outcome::Answered
}

fn push(answer: &[u8], out: &mut Outbox) {
    let mark = out.begin_frame();
    out.buffer().extend_from_slice(answer);
    out.end_frame(mark);
}
