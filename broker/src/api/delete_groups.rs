//! DeleteGroups (key 42), versions 0-2.

use std::collections::HashSet;

use protocol::messages::delete_groups_response::DeletableGroupResult;
use protocol::messages::{DeleteGroupsRequest, DeleteGroupsResponse};

use crate::group::{ClientContext, GroupCoordinator, Reply};

/// Deletes empty groups with their offsets.
pub(crate) fn handle(
    groups: &GroupCoordinator,
    _version: i16,
    _client: ClientContext<'_>,
    mut request: DeleteGroupsRequest,
) -> Reply<DeleteGroupsResponse> {
    let mut seen = HashSet::new();
    request.groups_names.retain(|group| seen.insert(group.clone()));
    let deletions = request.groups_names.into_iter().map(|group_id| {
        groups.delete_group(&group_id).map(move |deleted| {
            let error = deleted.err().unwrap_or_default();
            DeletableGroupResult::default().with_group_id(group_id).with_error_code(error.code())
        })
    });
    let deletions = deletions.collect();
    Reply::all(deletions).map(|results| DeleteGroupsResponse::default().with_results(results))
}
