//! DescribeCluster (key 60), versions 0-2, on the controller listener: the controllers (KIP-919).
//!
//! - v1: endpoint type; controllers answer for theirs only, MISMATCHED_ENDPOINT_TYPE otherwise.
//! - v2: fenced brokers may be included (KIP-1073); controllers are never fenced.

use bytes::Bytes;
use protocol::messages::describe_cluster_response::DescribeClusterBroker;
use protocol::messages::{BrokerId, DescribeClusterRequest, DescribeClusterResponse};
use protocol::request::RequestHeader;
use protocol::{ErrorCode, StrBytes};

use super::{decode, encode};
use crate::api_error::ApiError;
use crate::handle::{Answer, ControllerHandle, InvalidRequest};

const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

pub(super) fn answer(
    controller: &ControllerHandle,
    header: &RequestHeader,
    body: Bytes,
) -> Result<Answer, InvalidRequest> {
    let request: DescribeClusterRequest = decode(header, body)?;
    let error = match request.endpoint_type {
        CONTROLLERS => None,
        BROKERS => Some(ApiError::new(
            ErrorCode::MISMATCHED_ENDPOINT_TYPE,
            "The request was sent to an endpoint of type CONTROLLER, but we wanted an endpoint of type BROKER",
        )),
        other => {
            let message = format!("Unsupported endpoint type {other}");
            Some(ApiError::new(ErrorCode::UNSUPPORTED_ENDPOINT_TYPE, message))
        }
    };
    if let Some(error) = error {
        let response = DescribeClusterResponse::default()
            .with_error_code(error.code())
            .with_error_message(error.wire_message());
        return encode(header, &response);
    }
    let shared = controller.shared();
    let image = controller.image();
    let controllers = image.cluster.controllers.values().filter_map(|controller| {
        let listener = controller.end_points.iter().find(|end| end.name == shared.listener_name)?;
        Some(
            DescribeClusterBroker::default()
                .with_broker_id(BrokerId(controller.controller_id))
                .with_host(StrBytes::from_string(listener.host.clone()))
                .with_port(listener.port.into()),
        )
    });
    let leader = shared.leader.borrow().leader_id.unwrap_or(-1);
    let response = DescribeClusterResponse::default()
        .with_endpoint_type(CONTROLLERS)
        .with_cluster_id(StrBytes::from_string(shared.cluster_id.clone()))
        .with_controller_id(BrokerId(leader))
        .with_brokers(controllers.collect());
    encode(header, &response)
}
