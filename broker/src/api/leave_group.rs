//! LeaveGroup (key 13), versions 0-5; v3 several members at once, also static ones by instance id alone (KIP-345),
//! v5 reason (not kept).

use protocol::ErrorCode;
use protocol::messages::leave_group_response::MemberResponse;
use protocol::messages::{LeaveGroupRequest, LeaveGroupResponse};

use crate::group::classic::{LeaveRequest, LeaveResult};
use crate::group::{ClientContext, GroupCoordinator, Reply, wire_text};

/// Removes members from their group.
pub(crate) fn handle(
    groups: &GroupCoordinator,
    version: i16,
    _client: ClientContext<'_>,
    request: LeaveGroupRequest,
) -> Reply<LeaveGroupResponse> {
    let failed = |error: ErrorCode| LeaveGroupResponse::default().with_error_code(error.code());
    if request.group_id.is_empty() {
        return Reply::ready(failed(ErrorCode::INVALID_GROUP_ID));
    }
    let leaving = if version < 3 {
        vec![LeaveRequest { member_id: request.member_id.as_str().into(), instance_id: None }]
    } else {
        let members = request.members.iter().map(|member| LeaveRequest {
            member_id: member.member_id.as_str().into(),
            instance_id: member.group_instance_id.as_ref().map(|id| id.as_str().into()),
        });
        members.collect()
    };
    Reply::ready(match groups.leave(&request.group_id, leaving) {
        Err(error) => failed(error),
        Ok(results) if version < 3 => failed(results.first().map_or(ErrorCode::NONE, |result| result.error)),
        Ok(results) => LeaveGroupResponse::default().with_members(results.iter().map(member).collect()),
    })
}

fn member(result: &LeaveResult) -> MemberResponse {
    MemberResponse::default()
        .with_member_id(wire_text(&result.member_id))
        .with_group_instance_id(result.instance_id.as_deref().map(wire_text))
        .with_error_code(result.error.code())
}
