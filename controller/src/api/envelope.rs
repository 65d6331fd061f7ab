//! Envelope (key 58), version 0: a request that a broker forwards for a client (KIP-590).
//!
//! - The inner request is answered like a direct one; its header and body are the outer answer's data.
//! - An inner NOT_CONTROLLER becomes the envelope's own error without data, so that the broker looks for the leader.
//! - An inner request that cannot be read is UNSUPPORTED_VERSION: the broker then drops the client's connection.

use bytes::Bytes;
use protocol::messages::{EnvelopeRequest, EnvelopeResponse};
use protocol::request::RequestHeader;
use protocol::versions::ApiKey;
use protocol::{ErrorCode, guard, versions};

use super::{decode, encode, handle_decided};
use crate::handle::{Answer, ControllerHandle, InvalidRequest};

pub(super) async fn answer(
    controller: &ControllerHandle,
    listener: &str,
    header: &RequestHeader,
    body: Bytes,
) -> Result<Answer, InvalidRequest> {
    let request: EnvelopeRequest = decode(header, body)?;
    let refuse = |code: ErrorCode| encode(header, &EnvelopeResponse::default().with_error_code(code.code()));
    if controller.shared().leader.borrow().leader_id != Some(controller.shared().node_id) {
        return refuse(ErrorCode::NOT_CONTROLLER);
    }
    let frame = request.request_data;
    let Ok(inner) = RequestHeader::parse(&frame) else { return refuse(ErrorCode::UNSUPPORTED_VERSION) };
    let inner_body = frame.slice(inner.body_start..);
    let (key, version) = (inner.api_key, inner.api_version);
    let is_taken = versions::is_taken(versions::Listener::Controller, key, version);
    if !is_taken || guard::check(key, version, &inner_body).is_err() {
        return refuse(ErrorCode::UNSUPPORTED_VERSION);
    }
    let answer = match key {
        ApiKey::DESCRIBE_QUORUM => super::describe_quorum::answer(controller, &inner, inner_body).await,
        ApiKey::ADD_RAFT_VOTER => super::raft_voters::add(controller, listener, &inner, inner_body).await,
        ApiKey::REMOVE_RAFT_VOTER => {
            super::raft_voters::remove(controller, listener, &inner, inner_body).await
        }
        _ => handle_decided(controller, &inner, inner_body).await,
    };
    let Ok(answer) = answer else { return refuse(ErrorCode::UNSUPPORTED_VERSION) };
    if answer.is_refused {
        return refuse(ErrorCode::NOT_CONTROLLER);
    }
    let response = EnvelopeResponse::default().with_response_data(Some(answer.bytes));
    Ok(Answer { committed_offset: answer.committed_offset, ..encode(header, &response)? })
}
