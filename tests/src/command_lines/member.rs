//! A member of a classic group that stays until its connection is dropped or it leaves.

use bytes::{BufMut, Bytes, BytesMut};
use protocol::messages::join_group_request::JoinGroupRequestProtocol;
use protocol::messages::leave_group_request::MemberIdentity;
use protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use protocol::messages::{
    FindCoordinatorRequest, GroupId, JoinGroupRequest, LeaveGroupRequest, SyncGroupRequest,
};

use crate::node::Node;
use crate::parity::session::{Session, s};

/// A member with partition 0 of one topic.
pub(super) struct Member {
    session: Session,
    group: GroupId,
    id: String,
}

impl Member {
    /// Joins as the only member of a group.
    pub(super) fn join(node: &Node, group: &str, topic: &str) -> Member {
        let mut session = Session::new(node);
        let find = FindCoordinatorRequest::default().with_key(s(group));
        session.until(2, &find, |r| r.error_code == 0);
        let protocol =
            JoinGroupRequestProtocol::default().with_name(s("range")).with_metadata(subscription(topic));
        let group = GroupId(s(group));
        let join = JoinGroupRequest::default()
            .with_group_id(group.clone())
            .with_session_timeout_ms(300_000)
            .with_rebalance_timeout_ms(300_000)
            .with_protocol_type(s("consumer"))
            .with_protocols(vec![protocol]);
        let joined = session.until(3, &join, |r| r.error_code == 0);
        let own = SyncGroupRequestAssignment::default()
            .with_member_id(joined.member_id.clone())
            .with_assignment(assignment(topic));
        let sync = SyncGroupRequest::default()
            .with_group_id(group.clone())
            .with_generation_id(joined.generation_id)
            .with_member_id(joined.member_id.clone())
            .with_assignments(vec![own]);
        session.until(2, &sync, |r| r.error_code == 0);
        Member { session, group, id: joined.member_id.to_string() }
    }

    /// Leaves the group, which is then empty.
    pub(super) fn leave(mut self) {
        let leave = LeaveGroupRequest::default()
            .with_group_id(self.group.clone())
            .with_members(vec![MemberIdentity::default().with_member_id(s(&self.id))]);
        self.session.until(3, &leave, |r| r.error_code == 0);
    }
}

/// `ConsumerProtocolSubscription`, version 0.
fn subscription(topic: &str) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_i16(0);
    bytes.put_i32(1);
    put_string(&mut bytes, topic);
    bytes.put_i32(-1);
    bytes.freeze()
}

/// `ConsumerProtocolAssignment`, version 0: partition 0.
fn assignment(topic: &str) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_i16(0);
    bytes.put_i32(1);
    put_string(&mut bytes, topic);
    bytes.put_i32(1);
    bytes.put_i32(0);
    bytes.put_i32(-1);
    bytes.freeze()
}

fn put_string(bytes: &mut BytesMut, text: &str) {
    bytes.put_i16(i16::try_from(text.len()).expect("a short name"));
    bytes.extend_from_slice(text.as_bytes());
}
