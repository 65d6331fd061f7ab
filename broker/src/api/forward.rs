//! Requests that change the cluster: sent on to the controller as they came (KIP-590).
//!
//! The answer goes to the client only after this broker has applied what the request changed, so that a client
//! that was told of a new topic can use it here at once.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use net::{Charge, Outbox, Outcome};

use crate::api::Place;
use crate::context::Context;
use crate::controller_channel::Origin;

/// Forwards a whole frame; closes the connection when no controller can be reached.
pub(crate) fn to_controller(
    place: Place,
    ctx: Arc<Context>,
    client: IpAddr,
    frame: Bytes,
    charge: Charge,
) -> Outcome {
    Outcome::Exclusive(Box::pin(async move {
        let answer = match ctx.controller.call(Origin::Client(client), frame).await {
            Ok(answer) => answer,
            Err(e) => {
                tracing::warn!("request {} could not be forwarded: {e}", place.correlation_id);
                return None;
            }
        };
        ctx.metadata.wait_for(answer.committed_offset).await;
        place.note_frame(&answer.response);
        drop(charge);
        let mut out = Outbox::new();
        let mark = out.begin_frame();
        out.buffer().extend_from_slice(&answer.response);
        out.end_frame(mark);
        Some(out)
    }))
}
