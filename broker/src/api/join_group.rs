//! JoinGroup (key 11), versions 0-9.
//!
//! Parks until the join phase ends. v1 rebalance timeout (before, the session timeout), v4 MEMBER_ID_REQUIRED
//! (KIP-394), v5 static members (KIP-345), v7 protocol type (KIP-559), v8 reason (not kept), v9 skip assignment
//! (KIP-814).

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use protocol::messages::join_group_response::JoinGroupResponseMember;
use protocol::messages::{JoinGroupRequest, JoinGroupResponse};
use protocol::{ErrorCode, StrBytes};

use crate::group::classic::{JoinReply, JoinRequest, Protocol};
use crate::group::{ClientContext, GroupCoordinator, Reply, wire_text};

/// Lets a member into its group.
pub(crate) fn handle(
    groups: &GroupCoordinator,
    version: i16,
    client: ClientContext<'_>,
    request: JoinGroupRequest,
) -> Reply<JoinGroupResponse> {
    let member_id: Arc<str> = request.member_id.as_str().into();
    let refuse = |error| Reply::ready(response(version, JoinReply::error(member_id.clone(), error)));
    if request.group_id.is_empty() {
        return refuse(ErrorCode::INVALID_GROUP_ID);
    }
    let config = groups.config();
    if !(config.min_session_timeout_ms..=config.max_session_timeout_ms).contains(&request.session_timeout_ms)
    {
        return refuse(ErrorCode::INVALID_SESSION_TIMEOUT);
    }
    let instance_id: Option<Arc<str>> = request.group_instance_id.as_ref().map(|id| id.as_str().into());
    let mut random = [0; 16];
    if getrandom::fill(&mut random).is_err() {
        return refuse(ErrorCode::UNKNOWN_SERVER_ERROR);
    }
    let unique = uuid::Builder::from_random_bytes(random).into_uuid();
    let join = JoinRequest {
        new_member_id: format!("{}-{unique}", instance_id.as_deref().unwrap_or(client.client_id)).into(),
        member_id: member_id.clone(),
        instance_id,
        client_id: client.client_id.into(),
        client_host: client.host().into(),
        session_timeout_ms: request.session_timeout_ms,
        rebalance_timeout_ms: if version == 0 {
            request.session_timeout_ms
        } else {
            request.rebalance_timeout_ms
        },
        protocol_type: request.protocol_type.as_str().into(),
        protocols: protocols(&request),
        requires_member_id: version >= 4,
        can_skip_assignment: version >= 9,
    };
    groups.join(&request.group_id, join).map(move |reply| response(version, reply))
}

/// What the member offers, copied out of the frame; of a name that comes twice the first counts.
fn protocols(request: &JoinGroupRequest) -> Vec<Protocol> {
    let mut seen = HashSet::new();
    let first = request.protocols.iter().filter(|protocol| seen.insert(protocol.name.as_str()));
    first
        .map(|protocol| (protocol.name.as_str().into(), Bytes::copy_from_slice(&protocol.metadata)))
        .collect()
}

fn response(version: i16, reply: JoinReply) -> JoinGroupResponse {
    let text = |text: Option<Arc<str>>| text.map(|text| wire_text(&text));
    let members = reply.members.iter().map(|member| {
        JoinGroupResponseMember::default()
            .with_member_id(wire_text(&member.member_id))
            .with_group_instance_id(member.instance_id.as_deref().map(wire_text).filter(|_| version >= 5))
            .with_metadata(member.metadata.clone())
    });
    // Nullable from version 7 on.
    let absent = (version < 7).then_some(StrBytes::from_static_str(""));
    JoinGroupResponse::default()
        .with_error_code(reply.error.code())
        .with_generation_id(reply.generation)
        .with_protocol_type(text(reply.protocol_type).filter(|_| version >= 7))
        .with_protocol_name(text(reply.protocol).or(absent))
        .with_leader(wire_text(&reply.leader))
        .with_skip_assignment(reply.skip_assignment && version >= 9)
        .with_member_id(wire_text(&reply.member_id))
        .with_members(members.collect())
}
