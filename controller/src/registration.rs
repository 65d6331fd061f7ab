//! A controller that is not the active one registers with the one that is (KIP-919), until the log says so.
//!
//! Source: `ControllerRegistrationManager`. The active controller registers itself without a request.

use std::time::Duration;

use bytes::BytesMut;
use protocol::messages::{ControllerRegistrationRequest, ControllerRegistrationResponse};
use protocol::request::{RequestHeader, parse_response_header};
use protocol::{Encodable, ErrorCode, Request, guard};

use crate::active_controller::ActiveController;
use crate::handle::ControllerHandle;

/// How long one registration may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Pauses between attempts.
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(120);

/// Runs until this incarnation is registered, or the controller stops.
pub(crate) async fn run(
    controller: ControllerHandle,
    active: ActiveController,
    request: ControllerRegistrationRequest,
) {
    let mut committed = controller.subscribe();
    let mut pause = RETRY_MIN;
    loop {
        let image = controller.image();
        let known = image.cluster.controllers.get(&request.controller_id);
        if known.is_some_and(|known| known.incarnation_id == request.incarnation_id) {
            return;
        }
        let is_supported = image.features.finalized_metadata_version.is_some()
            && image.features.metadata_version().is_controller_registration_supported();
        let leads = controller.leader().borrow().leader_id == Some(request.controller_id);
        if is_supported && !leads {
            if let Err(why) = send(&active, &request).await {
                tracing::info!("This controller is not registered yet: {why}");
            }
            // The log will say so in a moment.
            tokio::select! {
                delta = committed.next() => if delta.is_none() { return },
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(RETRY_MAX),
            }
        } else if committed.next().await.is_none() {
            return;
        }
    }
}

async fn send(active: &ActiveController, request: &ControllerRegistrationRequest) -> Result<(), String> {
    let (key, version) = (ControllerRegistrationRequest::KEY, 0);
    let mut frame = BytesMut::new();
    RequestHeader::put(key, version, 0, Some(&request.controller_id.to_string()), &mut frame);
    request.encode(&mut frame, version).map_err(|error| error.to_string())?;
    let answer = active.call(frame.freeze(), TIMEOUT).await.map_err(|error| error.to_string())?;
    let (_, start) = parse_response_header(key, version, &answer.bytes).map_err(|error| error.to_string())?;
    let response: ControllerRegistrationResponse =
        guard::decode_response::<ControllerRegistrationRequest>(version, answer.bytes.slice(start..))
            .map_err(|error| error.to_string())?;
    match ErrorCode(response.error_code) {
        ErrorCode::NONE => Ok(()),
        code => Err(code.name().to_owned()),
    }
}
