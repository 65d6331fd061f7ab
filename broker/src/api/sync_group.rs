//! SyncGroup (key 14), versions 0-5.
//!
//! Parks until the leader's assignment is written. v3 static members (KIP-345), v5 protocol type and name (KIP-559).

use std::sync::Arc;

use bytes::Bytes;
use protocol::messages::{SyncGroupRequest, SyncGroupResponse};
use protocol::{ErrorCode, StrBytes};

use crate::group::classic::{SyncReply, SyncRequest};
use crate::group::{ClientContext, GroupCoordinator, Reply, wire_text};

/// Takes the leader's assignment; gives each member its own.
pub(crate) fn handle(
    groups: &GroupCoordinator,
    version: i16,
    _client: ClientContext<'_>,
    request: SyncGroupRequest,
) -> Reply<SyncGroupResponse> {
    if version >= 5 && (request.protocol_type.is_none() || request.protocol_name.is_none()) {
        return Reply::ready(response(version, &SyncReply::error(ErrorCode::INCONSISTENT_GROUP_PROTOCOL)));
    }
    if request.group_id.is_empty() {
        return Reply::ready(response(version, &SyncReply::error(ErrorCode::INVALID_GROUP_ID)));
    }
    let text = |text: &Option<StrBytes>| text.as_ref().map(|text| Arc::from(text.as_str()));
    let assignments = request.assignments.iter().map(|assignment| {
        (assignment.member_id.as_str().into(), Bytes::copy_from_slice(&assignment.assignment))
    });
    let sync = SyncRequest {
        member_id: request.member_id.as_str().into(),
        instance_id: text(&request.group_instance_id),
        generation: request.generation_id,
        protocol_type: text(&request.protocol_type),
        protocol: text(&request.protocol_name),
        assignments: assignments.collect(),
    };
    groups.sync(&request.group_id, sync).map(move |reply| response(version, &reply))
}

fn response(version: i16, reply: &SyncReply) -> SyncGroupResponse {
    let text = |text: &Option<Arc<str>>| text.as_deref().map(wire_text).filter(|_| version >= 5);
    SyncGroupResponse::default()
        .with_error_code(reply.error.code())
        .with_protocol_type(text(&reply.protocol_type))
        .with_protocol_name(text(&reply.protocol))
        .with_assignment(reply.assignment.clone())
}
