//! AlterConfigs and IncrementalAlterConfigs on their way to the controller.
//!
//! The broker refuses what it can tell is wrong for itself ([`crate::api::alter_configs`]); the controller decides
//! the rest; the answer names every resource of the request in its order.

use std::collections::BTreeMap;
use std::sync::Arc;

use protocol::StrBytes;
use protocol::messages::alter_configs_response::AlterConfigsResourceResponse as LegacyResult;
use protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse as IncrementalResult;
use protocol::messages::{
    AlterConfigsRequest, AlterConfigsResponse, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
};

use crate::api::Client;
use crate::api::alter_configs::{reassemble, screen_incremental, screen_legacy};
use crate::context::Context;
use crate::controller_channel::{Origin, send};

/// The two requests differ in their types alone.
macro_rules! alter {
    ($(#[$doc:meta])* $name:ident, $screen:ident, $request:ty, $response:ty, $result:ty) => {
        $(#[$doc])*
        pub(crate) async fn $name(ctx: Arc<Context>, client: Client, request: $request) -> $response {
            let image = ctx.metadata.image();
            let screened = $screen(&image, ctx.config.node_id, &ctx.config.properties, &request);
            let names = request.resources.iter().map(|r| (r.resource_type, r.resource_name.to_string()));
            let names: Vec<(i8, String)> = names.collect();
            let mut rest = request;
            let mut refused = screened.iter().map(Option::is_some);
            rest.resources.retain(|_| !refused.next().unwrap_or_default());
            let mut decided = BTreeMap::new();
            let origin = Origin::Client(client.peer.ip());
            if !rest.resources.is_empty() {
                match send(&*ctx.controller, origin, client.version, &client.client_id, &rest).await {
                    Ok((response, committed_offset)) => {
                        ctx.metadata.wait_for(committed_offset).await;
                        decided.extend(response.responses.into_iter().map(|r| {
                            let name = (r.resource_type, r.resource_name.to_string());
                            (name, (r.error_code, r.error_message.map(|m| m.to_string())))
                        }));
                    }
                    Err(e) => {
                        let code = e.code().code();
                        let failed = names.iter().cloned().map(|name| (name, (code, Some(e.to_string()))));
                        decided.extend(failed);
                    }
                }
            }
            let results = reassemble(&names, screened, decided).into_iter().zip(&names);
            let results = results.map(|((code, message), (kind, name))| {
                <$result>::default()
                    .with_error_code(code)
                    .with_error_message(message.map(StrBytes::from_string))
                    .with_resource_type(*kind)
                    .with_resource_name(StrBytes::from_string(name.clone()))
            });
            <$response>::default().with_responses(results.collect())
        }
    };
}

alter!(
    /// Answers IncrementalAlterConfigs, which changes the keys that it names.
    incremental,
    screen_incremental,
    IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
    IncrementalResult
);

alter!(
    /// Answers AlterConfigs, which replaces all that a resource has set.
    legacy,
    screen_legacy,
    AlterConfigsRequest,
    AlterConfigsResponse,
    LegacyResult
);
