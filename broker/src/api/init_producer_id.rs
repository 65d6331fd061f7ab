//! InitProducerId (key 22), versions 0-5: ids for idempotent producers.
//!
//! Transactional ids are not served yet: they answer as a broker does whose transaction coordinator cannot be
//! found, which no client takes for success.

use std::sync::Arc;

use protocol::ErrorCode;
use protocol::messages::{InitProducerIdRequest, InitProducerIdResponse, ProducerId};

use crate::api::Client;
use crate::context::Context;

/// Gives out a fresh producer id with epoch 0.
pub(crate) async fn handle(
    ctx: Arc<Context>,
    _client: Client,
    request: InitProducerIdRequest,
) -> InitProducerIdResponse {
    let refused = |error: ErrorCode| {
        InitProducerIdResponse::default()
            .with_error_code(error.code())
            .with_producer_id(ProducerId(-1))
            .with_producer_epoch(-1)
    };
    match &request.transactional_id {
        Some(id) if id.is_empty() => return refused(ErrorCode::INVALID_REQUEST),
        Some(_) => return refused(ErrorCode::COORDINATOR_NOT_AVAILABLE),
        None => {}
    }
    if (request.producer_id.0 < 0) != (request.producer_epoch < 0) {
        return refused(ErrorCode::INVALID_REQUEST);
    }
    match ctx.producer_ids.next(&ctx).await {
        Ok(id) => InitProducerIdResponse::default().with_producer_id(ProducerId(id)).with_producer_epoch(0),
        Err(error) => refused(error),
    }
}
