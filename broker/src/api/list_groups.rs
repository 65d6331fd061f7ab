//! ListGroups (key 16), versions 0-5; v4 state and filter by it (KIP-518), v5 type and filter by it (KIP-848).

use protocol::StrBytes;
use protocol::messages::list_groups_response::ListedGroup;
use protocol::messages::{GroupId, ListGroupsRequest, ListGroupsResponse};

use crate::group::{self, ClientContext, GroupCoordinator, Reply, wire_text};

/// Lists the groups that this broker coordinates.
pub(crate) fn handle(
    groups: &GroupCoordinator,
    version: i16,
    _client: ClientContext<'_>,
    request: ListGroupsRequest,
) -> Reply<ListGroupsResponse> {
    let listed = match groups.list() {
        Ok(listed) => listed,
        Err(error) => return Reply::ready(ListGroupsResponse::default().with_error_code(error.code())),
    };
    let wanted = |group: &&group::ListedGroup| {
        passes(&request.states_filter, group.state) && passes(&request.types_filter, group.group_type)
    };
    let groups = listed.iter().filter(wanted).map(|group| {
        let listed = ListedGroup::default()
            .with_group_id(GroupId(wire_text(&group.group_id)))
            .with_protocol_type(wire_text(&group.protocol_type));
        let listed = if version >= 4 { listed.with_group_state(group.state.into()) } else { listed };
        if version >= 5 { listed.with_group_type(group.group_type.into()) } else { listed }
    });
    Reply::ready(ListGroupsResponse::default().with_groups(groups.collect()))
}

/// No filter lets all through; case does not matter.
fn passes(filter: &[StrBytes], value: &str) -> bool {
    filter.is_empty() || filter.iter().any(|name| name.trim().eq_ignore_ascii_case(value))
}
