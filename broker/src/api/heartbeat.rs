//! Heartbeat (key 12), versions 0-4; v3 static members (KIP-345).

use protocol::ErrorCode;
use protocol::messages::{HeartbeatRequest, HeartbeatResponse};

use crate::group::{ClientContext, GroupCoordinator, Reply};

/// Extends a member's session, or tells it to join again.
pub(crate) fn handle(
    groups: &GroupCoordinator,
    _version: i16,
    _client: ClientContext<'_>,
    request: HeartbeatRequest,
) -> Reply<HeartbeatResponse> {
    let error = if request.group_id.is_empty() {
        ErrorCode::INVALID_GROUP_ID
    } else {
        let instance_id = request.group_instance_id.as_ref().map(|id| id.as_str());
        groups.heartbeat(&request.group_id, &request.member_id, instance_id, request.generation_id)
    };
    Reply::ready(HeartbeatResponse::default().with_error_code(error.code()))
}
