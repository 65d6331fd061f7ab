//! ConsumerGroupDescribe (key 69), versions 0-1 (KIP-848): v1 the kind of each member.
//!
//! The groups that Apache Kafka left in the log are described; their members are gone (`group/modern.rs`). For a
//! classic group clients take the error and ask with DescribeGroups.

use protocol::ErrorCode;
use protocol::messages::consumer_group_describe_response::DescribedGroup;
use protocol::messages::{ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, GroupId};

use super::describe_groups::ALL_OPERATIONS;
use crate::group::{ClientContext, GroupCoordinator, Reply, wire_text};

/// Describes consumer groups of the newer protocol.
pub(crate) fn handle(
    groups: &GroupCoordinator,
    _version: i16,
    _client: ClientContext<'_>,
    request: ConsumerGroupDescribeRequest,
) -> Reply<ConsumerGroupDescribeResponse> {
    let with_operations = request.include_authorized_operations;
    let described = request.group_ids.into_iter().map(|group_id| one(groups, group_id, with_operations));
    Reply::ready(ConsumerGroupDescribeResponse::default().with_groups(described.collect()))
}

fn one(groups: &GroupCoordinator, group_id: GroupId, with_operations: bool) -> DescribedGroup {
    let described = if group_id.is_empty() {
        DescribedGroup::default().with_error_code(ErrorCode::INVALID_GROUP_ID.code())
    } else {
        match groups.describe_consumer(&group_id) {
            Ok(epochs) => DescribedGroup::default()
                .with_group_state("Empty".into())
                .with_group_epoch(epochs.group)
                .with_assignment_epoch(epochs.assignment)
                .with_assignor_name("uniform".into())
                .with_authorized_operations(if with_operations { ALL_OPERATIONS } else { i32::MIN }),
            Err((error, message)) => DescribedGroup::default()
                .with_error_code(error.code())
                .with_error_message(message.as_deref().map(wire_text)),
        }
    };
    described.with_group_id(group_id)
}
