//! AlterConfigs and IncrementalAlterConfigs on their way to the controller.
//!
//! The broker refuses what it can tell is wrong for itself ([`crate::api::alter_configs`]); the controller decides
//! the rest; the answer names every resource of the request in its order.

use std::sync::Arc;

use protocol::messages::alter_configs_response::AlterConfigsResourceResponse as LegacyResult;
use protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse as IncrementalResult;
use protocol::messages::{
    AlterConfigsRequest, AlterConfigsResponse, IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
};
use protocol::versions::ApiKey;
use protocol::{ErrorCode, StrBytes};

use crate::api::alter_configs::{Screened, screen_incremental, screen_legacy};
use crate::api::Client;
use crate::context::Context;
use crate::controller_channel::send;

/// Answers IncrementalAlterConfigs.
pub(crate) async fn incremental(
    ctx: Arc<Context>,
    client: Client,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let screened = {
        let image = ctx.metadata.image();
        screen_incremental(&image, ctx.config.node_id, &ctx.config.properties, &request)
    };
    let mut rest = request.clone();
    rest.resources = accepted(&request.resources, &screened);
    let mut decided = Vec::new();
    if !rest.resources.is_empty() {
        let sent = send::<_, IncrementalAlterConfigsResponse>(
            &*ctx.controller,
            ApiKey::INCREMENTAL_ALTER_CONFIGS,
            client.version,
            &client.client_id,
            &rest,
        );
        match sent.await {
            Ok((response, committed_offset)) => {
                ctx.metadata.wait_for(committed_offset).await;
                decided = response.responses;
            }
            Err(e) => tracing::warn!("configurations could not be altered: {e}"),
        }
    }
    let results = request.resources.iter().zip(&screened).map(|(resource, refusal)| {
        let same = |r: &&IncrementalResult| {
            r.resource_type == resource.resource_type && r.resource_name == resource.resource_name
        };
        let (code, message) = match (refusal, decided.iter().find(same)) {
            (Some((code, message)), _) => (*code, Some(StrBytes::from_string(message.clone()))),
            (None, Some(result)) => (result.error_code, result.error_message.clone()),
            (None, None) => (ErrorCode::REQUEST_TIMED_OUT.code(), None),
        };
        IncrementalResult::default()
            .with_error_code(code)
            .with_error_message(message)
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone())
    });
    IncrementalAlterConfigsResponse::default().with_responses(results.collect())
}

/// Answers AlterConfigs, which replaces all that a resource has set.
pub(crate) async fn legacy(ctx: Arc<Context>, client: Client, request: AlterConfigsRequest) -> AlterConfigsResponse {
    let screened = {
        let image = ctx.metadata.image();
        screen_legacy(&image, ctx.config.node_id, &ctx.config.properties, &request)
    };
    let mut rest = request.clone();
    rest.resources = accepted(&request.resources, &screened);
    let mut decided = Vec::new();
    if !rest.resources.is_empty() {
        let sent = send::<_, AlterConfigsResponse>(
            &*ctx.controller,
            ApiKey::ALTER_CONFIGS,
            client.version,
            &client.client_id,
            &rest,
        );
        match sent.await {
            Ok((response, committed_offset)) => {
                ctx.metadata.wait_for(committed_offset).await;
                decided = response.responses;
            }
            Err(e) => tracing::warn!("configurations could not be altered: {e}"),
        }
    }
    let results = request.resources.iter().zip(&screened).map(|(resource, refusal)| {
        let same = |r: &&LegacyResult| {
            r.resource_type == resource.resource_type && r.resource_name == resource.resource_name
        };
        let (code, message) = match (refusal, decided.iter().find(same)) {
            (Some((code, message)), _) => (*code, Some(StrBytes::from_string(message.clone()))),
            (None, Some(result)) => (result.error_code, result.error_message.clone()),
            (None, None) => (ErrorCode::REQUEST_TIMED_OUT.code(), None),
        };
        LegacyResult::default()
            .with_error_code(code)
            .with_error_message(message)
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone())
    });
    AlterConfigsResponse::default().with_responses(results.collect())
}

/// The resources that the controller is to decide.
fn accepted<T: Clone>(resources: &[T], screened: &Screened) -> Vec<T> {
    let undecided = resources.iter().zip(screened).filter(|(_, refusal)| refusal.is_none());
    undecided.map(|(resource, _)| resource.clone()).collect()
}
