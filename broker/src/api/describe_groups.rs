//! DescribeGroups (key 15), versions 0-6; v3 authorized operations (KIP-430), v4 instance ids (KIP-345), v6
//! GROUP_ID_NOT_FOUND with a message (KIP-1043; before, a group that is not there is "Dead").

use protocol::ErrorCode;
use protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use protocol::messages::{DescribeGroupsRequest, DescribeGroupsResponse, GroupId};
use protocol::repeats::Repeats;

use crate::group::{self, ClientContext, GroupCoordinator, Reply, wire_text};

/// READ, DELETE, DESCRIBE, DESCRIBE_CONFIGS and ALTER_CONFIGS: all that can be allowed on a group.
pub(super) const ALL_OPERATIONS: i32 = 1 << 3 | 1 << 6 | 1 << 8 | 1 << 10 | 1 << 11;

/// Describes classic groups.
pub(crate) fn handle(
    groups: &GroupCoordinator,
    version: i16,
    _client: ClientContext<'_>,
    request: DescribeGroupsRequest,
) -> Reply<DescribeGroupsResponse> {
    let with_operations = version >= 3 && request.include_authorized_operations;
    let mut repeats = Repeats::new();
    let described = request.groups.into_iter().map(|group_id| {
        let answered = match repeats.allow(group_id.clone()) {
            true => groups.describe(&group_id),
            false => Err((ErrorCode::INVALID_REQUEST, None)),
        };
        let group = match answered {
            Ok(group) => described(version, &group),
            Err((ErrorCode::GROUP_ID_NOT_FOUND, message)) => {
                let dead = DescribedGroup::default().with_group_state("Dead".into());
                if version >= 6 {
                    dead.with_error_code(ErrorCode::GROUP_ID_NOT_FOUND.code())
                        .with_error_message(message.as_deref().map(wire_text))
                } else {
                    dead
                }
            }
            Err((error, _)) => DescribedGroup::default().with_error_code(error.code()),
        };
        with_id(group, group_id, with_operations)
    });
    Reply::ready(DescribeGroupsResponse::default().with_groups(described.collect()))
}

fn with_id(group: DescribedGroup, group_id: GroupId, with_operations: bool) -> DescribedGroup {
    let known = group.error_code == 0;
    let group = group.with_group_id(group_id);
    if with_operations && known { group.with_authorized_operations(ALL_OPERATIONS) } else { group }
}

fn described(version: i16, group: &group::DescribedGroup) -> DescribedGroup {
    let members = group.members.iter().map(|member| {
        DescribedGroupMember::default()
            .with_member_id(wire_text(&member.member_id))
            .with_group_instance_id(member.instance_id.as_deref().map(wire_text).filter(|_| version >= 4))
            .with_client_id(wire_text(&member.client_id))
            .with_client_host(wire_text(&member.client_host))
            .with_member_metadata(member.metadata.clone())
            .with_member_assignment(member.assignment.clone())
    });
    DescribedGroup::default()
        .with_group_state(group.state.into())
        .with_protocol_type(wire_text(&group.protocol_type))
        .with_protocol_data(wire_text(&group.protocol))
        .with_members(members.collect())
}
