//! DescribeConfigs (key 32), versions 1-4; the rules are in [`metadata::config::answer`].

use std::sync::Arc;

use metadata::config::answer::answer;
use protocol::messages::{DescribeConfigsRequest, DescribeConfigsResponse};

use crate::api::Client;
use crate::context::Context;

/// Answers from the metadata and properties of this broker.
pub(crate) async fn handle(
    ctx: Arc<Context>,
    _client: Client,
    request: DescribeConfigsRequest,
) -> DescribeConfigsResponse {
    answer(&ctx.metadata.image(), ctx.config.node_id, &ctx.config.properties, &request)
}
