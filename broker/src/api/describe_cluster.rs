//! DescribeCluster (key 60), versions 0-2: v1 endpoint type (KIP-919), v2 fenced brokers.

use std::sync::Arc;

use protocol::messages::describe_cluster_response::DescribeClusterBroker;
use protocol::messages::{BrokerId, DescribeClusterRequest, DescribeClusterResponse};
use protocol::{ErrorCode, StrBytes};

use crate::api::Client;
use crate::api::metadata::{CLUSTER_OPERATIONS, NO_AUTHORIZED_OPERATIONS};
use crate::context::Context;

/// The endpoint type that a broker listener serves.
const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

/// Names the brokers that are reachable by the listener of the request.
pub(crate) async fn handle(
    ctx: Arc<Context>,
    client: Client,
    request: DescribeClusterRequest,
) -> DescribeClusterResponse {
    if client.version >= 1 && !matches!(request.endpoint_type, BROKERS | CONTROLLERS) {
        return DescribeClusterResponse::default()
            .with_error_code(ErrorCode::UNSUPPORTED_ENDPOINT_TYPE.code())
            .with_error_message(Some(StrBytes::from_string(format!(
                "Unsupported endpoint type {}",
                request.endpoint_type
            ))));
    }
    if client.version >= 1 && request.endpoint_type != BROKERS {
        return DescribeClusterResponse::default()
            .with_error_code(ErrorCode::MISMATCHED_ENDPOINT_TYPE.code())
            .with_error_message(Some(StrBytes::from_static_str(
                "The request was sent to an endpoint of type BROKER, but we wanted an endpoint of type CONTROLLER",
            )));
    }
    let image = ctx.metadata.image();
    let brokers = image
        .cluster
        .brokers
        .values()
        .filter(|broker| !broker.fenced || request.include_fenced_brokers)
        .filter_map(|broker| {
            let endpoint = broker.listener(&client.listener)?;
            Some(
                DescribeClusterBroker::default()
                    .with_broker_id(BrokerId(broker.id))
                    .with_host(StrBytes::from_string(endpoint.host.clone()))
                    .with_port(i32::from(endpoint.port))
                    .with_rack(broker.rack.clone().map(StrBytes::from_string))
                    .with_is_fenced(broker.fenced),
            )
        })
        .collect();
    DescribeClusterResponse::default()
        .with_endpoint_type(BROKERS)
        .with_cluster_id(StrBytes::from_string(ctx.config.cluster_id.clone()))
        .with_controller_id(BrokerId(ctx.any_live_broker(&image)))
        .with_brokers(brokers)
        .with_cluster_authorized_operations(if request.include_cluster_authorized_operations {
            CLUSTER_OPERATIONS
        } else {
            NO_AUTHORIZED_OPERATIONS
        })
}
