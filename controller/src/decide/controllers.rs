//! ControllerRegistration: a controller says where it listens and what it supports (KIP-919).

use protocol::ErrorCode;
use protocol::messages::{ControllerRegistrationRequest, ControllerRegistrationResponse};
use protocol::records::{ControllerEndpoint, ControllerFeature, Record, RegisterControllerRecord};

use super::View;
use crate::api_error::ApiError;
use crate::event::Decision;

pub(super) fn register(view: View<'_>, request: &ControllerRegistrationRequest) -> Decision {
    let response = ControllerRegistrationResponse::default();
    if !view.image.features.metadata_version().is_controller_registration_supported() {
        let message = "The current MetadataVersion is too old to support controller registrations.";
        let error = ApiError::new(ErrorCode::UNSUPPORTED_VERSION, message);
        let response = response.with_error_code(error.code()).with_error_message(error.wire_message());
        return Decision::reply(response);
    }
    let end_points = request.listeners.iter().map(|listener| ControllerEndpoint {
        name: listener.name.to_string(),
        host: listener.host.to_string(),
        port: listener.port,
        security_protocol: listener.security_protocol,
    });
    let features = request.features.iter().map(|feature| ControllerFeature {
        name: feature.name.to_string(),
        min_supported_version: feature.min_supported_version,
        max_supported_version: feature.max_supported_version,
    });
    let record = RegisterControllerRecord {
        controller_id: request.controller_id,
        incarnation_id: request.incarnation_id,
        zk_migration_ready: request.zk_migration_ready,
        end_points: end_points.collect(),
        features: features.collect(),
    };
    Decision::atomic(vec![Record::RegisterController(record)], response)
}
