//! Joining, syncing, heartbeats and leaving: finding the group, or making it.

use std::sync::Arc;

use protocol::ErrorCode;

use super::super::classic::{
    ClassicGroup, JoinReply, JoinRequest, LeaveRequest, LeaveResult, SyncReply, SyncRequest, Token,
};
use super::super::modern::ModernKind;
use super::super::{records, write_error};
use super::{Answer, Cx, Shard};

impl Shard {
    /// A JoinGroup; the answer to `token` comes through `cx`, now or later.
    pub(in crate::group) fn join(
        &mut self,
        group_id: &str,
        request: JoinRequest,
        token: Token,
        cx: &mut Cx<'_>,
    ) {
        let id = match self.groups.get_key_value(group_id) {
            Some((id, _)) => id.clone(),
            None => match self.create(group_id, &request, cx) {
                Ok(id) => id,
                Err(error) => {
                    cx.answers.push((token, Answer::Join(JoinReply::error(request.member_id, error))));
                    return;
                }
            },
        };
        self.with_group(&id, cx, |group, now, settings, out| group.join(request, token, now, settings, out));
    }

    /// Writes and makes an empty group, so that the id it is about to hand out means something after a fail-over.
    fn create(
        &mut self,
        group_id: &str,
        request: &JoinRequest,
        cx: &mut Cx<'_>,
    ) -> Result<Arc<str>, ErrorCode> {
        let mut entries = match self.modern.get(group_id) {
            Some(group) if group.kind == ModernKind::Consumer => group.tombstones(),
            Some(_) => return Err(ErrorCode::INCONSISTENT_GROUP_PROTOCOL),
            None => Vec::new(),
        };
        if !request.member_id.is_empty() {
            return Err(ErrorCode::UNKNOWN_MEMBER_ID);
        }
        if !ClassicGroup::accepts_first(&request.protocol_type, &request.protocols) {
            return Err(ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
        }
        let group = ClassicGroup::new(cx.now);
        entries.push(records::group(group_id, group.stored())?);
        self.append(&entries, cx).map_err(write_error)?;
        let id: Arc<str> = group_id.into();
        self.modern.remove(group_id);
        self.groups.insert(id.clone(), group);
        self.arm_retention(cx.now);
        Ok(id)
    }

    /// A SyncGroup; the answer to `token` comes through `cx`, now or later.
    pub(in crate::group) fn sync(
        &mut self,
        group_id: &str,
        request: SyncRequest,
        token: Token,
        cx: &mut Cx<'_>,
    ) {
        match self.groups.get_key_value(group_id) {
            Some((id, _)) => {
                let id = id.clone();
                self.with_group(&id, cx, |group, now, _, out| group.sync(request, token, now, out));
            }
            None => {
                let reply = SyncReply::error(ErrorCode::UNKNOWN_MEMBER_ID);
                cx.answers.push((token, Answer::Sync(reply)));
            }
        }
    }

    /// A heartbeat.
    pub(in crate::group) fn heartbeat(
        &mut self,
        group_id: &str,
        member_id: &str,
        instance_id: Option<&str>,
        generation: i32,
        cx: &mut Cx<'_>,
    ) -> ErrorCode {
        let Some((id, _)) = self.groups.get_key_value(group_id) else { return ErrorCode::UNKNOWN_MEMBER_ID };
        let id = id.clone();
        let error = self.with_group(&id, cx, |group, now, _, out| {
            group.heartbeat(member_id, instance_id, generation, now, out)
        });
        error.unwrap_or(ErrorCode::UNKNOWN_MEMBER_ID)
    }

    /// Removes members; one result each.
    pub(in crate::group) fn leave(
        &mut self,
        group_id: &str,
        requests: Vec<LeaveRequest>,
        cx: &mut Cx<'_>,
    ) -> Vec<LeaveResult> {
        match self.groups.get_key_value(group_id) {
            Some((id, _)) => {
                let id = id.clone();
                let leave = |group: &mut ClassicGroup, now, settings: &_, out: &mut _| {
                    group.leave(requests, now, settings, out)
                };
                self.with_group(&id, cx, leave).unwrap_or_default()
            }
            None => {
                let unknown = |LeaveRequest { member_id, instance_id }| LeaveResult {
                    member_id,
                    instance_id,
                    error: ErrorCode::UNKNOWN_MEMBER_ID,
                };
                requests.into_iter().map(unknown).collect()
            }
        }
    }
}
