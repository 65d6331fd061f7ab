//! Heartbeats, leaving, timeouts, and what a commit needs of its member.

use std::sync::Arc;

use protocol::ErrorCode;

use super::{ClassicGroup, Effect, JoinReply, Now, Settings, State, SyncReply, Timer};

/// One member that shall leave.
#[derive(Clone, Debug, PartialEq)]
pub struct LeaveRequest {
    /// Empty to remove a static member by its instance id alone (an administrator does).
    pub member_id: Arc<str>,
    /// `group.instance.id` of a static member.
    pub instance_id: Option<Arc<str>>,
}

/// The outcome for one member.
#[derive(Clone, Debug, PartialEq)]
pub struct LeaveResult {
    /// As asked.
    pub member_id: Arc<str>,
    /// As asked.
    pub instance_id: Option<Arc<str>>,
    /// Error, or NONE.
    pub error: ErrorCode,
}

impl ClassicGroup {
    /// A heartbeat. REBALANCE_IN_PROGRESS tells the member to join again; the session is extended all the same.
    pub fn heartbeat(
        &self,
        member_id: &str,
        instance_id: Option<&str>,
        generation: i32,
        now: Now,
        out: &mut Vec<Effect>,
    ) -> ErrorCode {
        if let Err(error) = self.check_member(member_id, instance_id) {
            return error;
        }
        if generation != self.generation {
            return ErrorCode::ILLEGAL_GENERATION;
        }
        self.extend_session(member_id, now, out);
        match self.state {
            State::Empty => ErrorCode::UNKNOWN_MEMBER_ID,
            State::PreparingRebalance => ErrorCode::REBALANCE_IN_PROGRESS,
            State::CompletingRebalance | State::Stable => ErrorCode::NONE,
        }
    }

    fn extend_session(&self, member_id: &str, now: Now, out: &mut Vec<Effect>) {
        if let Some((id, member)) = self.members.get_key_value(member_id) {
            self.touch(id, member, now, out);
        }
    }

    /// Removes members; one result per request, in order.
    pub fn leave(
        &mut self,
        requests: Vec<LeaveRequest>,
        now: Now,
        settings: &Settings,
        out: &mut Vec<Effect>,
    ) -> Vec<LeaveResult> {
        let mut results = Vec::with_capacity(requests.len());
        let mut anyone = false;
        for LeaveRequest { member_id, instance_id } in requests {
            let error = match self.leaving(&member_id, instance_id.as_deref()) {
                Ok(id) => {
                    self.remove(&id, out);
                    out.push(Effect::CancelTimer(Timer::Session(id)));
                    anyone = true;
                    ErrorCode::NONE
                }
                Err(error) => error,
            };
            results.push(LeaveResult { member_id, instance_id, error });
        }
        if anyone {
            match self.state {
                State::Stable | State::CompletingRebalance => self.prepare_rebalance(now, settings, out),
                State::PreparingRebalance => self.maybe_complete_join(now, out),
                State::Empty => {}
            }
        }
        results
    }

    /// The id of the member or pending id that a request means.
    fn leaving(&self, member_id: &Arc<str>, instance_id: Option<&str>) -> Result<Arc<str>, ErrorCode> {
        if member_id.is_empty() {
            let id = instance_id.and_then(|instance| self.static_members.get(instance));
            return id.cloned().ok_or(ErrorCode::UNKNOWN_MEMBER_ID);
        }
        if !self.pending_joins.contains(member_id) {
            self.check_member(member_id, instance_id)?;
        }
        Ok(member_id.clone())
    }

    /// A timer that [`Effect::SetTimer`] asked for has run out.
    pub fn expired(&mut self, timer: Timer, now: Now, settings: &Settings, out: &mut Vec<Effect>) {
        match timer {
            Timer::Session(id) => self.session_expired(&id, now, settings, out),
            Timer::Join => self.join_expired(now, settings, out),
            Timer::Sync => self.sync_expired(now, settings, out),
        }
    }

    fn session_expired(&mut self, id: &Arc<str>, now: Now, settings: &Settings, out: &mut Vec<Effect>) {
        if self.pending_joins.contains(id) {
            self.remove(id, out);
        } else if let Some(member) = self.members.get(id) {
            // A parked request is a sign of life, save for a new member's join: that client may be gone.
            if !member.is_new && (member.joining.is_some() || member.syncing.is_some()) {
                return;
            }
            self.remove(id, out);
            if matches!(self.state, State::Stable | State::CompletingRebalance) {
                self.prepare_rebalance(now, settings, out);
                return;
            }
        } else {
            return;
        }
        if self.state == State::PreparingRebalance && self.all_joined() {
            self.complete_join(now, out);
        }
    }

    fn sync_expired(&mut self, now: Now, settings: &Settings, out: &mut Vec<Effect>) {
        let running = matches!(self.state, State::CompletingRebalance | State::Stable);
        if !running || self.pending_syncs.is_empty() {
            return;
        }
        for id in std::mem::take(&mut self.pending_syncs) {
            self.remove(&id, out);
            out.push(Effect::CancelTimer(Timer::Session(id)));
        }
        self.prepare_rebalance(now, settings, out);
    }

    /// Whether an offset commit of this sender is taken; `generation` is negative for a sender outside the group.
    pub fn check_commit(
        &self,
        member_id: &str,
        instance_id: Option<&str>,
        generation: i32,
        transactional: bool,
    ) -> Result<(), ErrorCode> {
        if generation < 0 && self.state == State::Empty {
            return Ok(());
        }
        if generation >= 0 || !member_id.is_empty() || instance_id.is_some() {
            self.check_member(member_id, instance_id)?;
            if generation != self.generation {
                return Err(ErrorCode::ILLEGAL_GENERATION);
            }
        } else if !transactional && self.state != State::Empty {
            return Err(ErrorCode::UNKNOWN_MEMBER_ID);
        }
        if !transactional && self.state == State::CompletingRebalance {
            return Err(ErrorCode::REBALANCE_IN_PROGRESS);
        }
        Ok(())
    }

    /// A commit counts as a heartbeat.
    pub fn committed(&self, member_id: &str, now: Now, out: &mut Vec<Effect>) {
        if matches!(self.state, State::Stable | State::PreparingRebalance) {
            self.extend_session(member_id, now, out);
        }
    }

    /// The log is read: members have one session timeout to show up.
    pub fn loaded(&mut self, now: Now, settings: &Settings, out: &mut Vec<Effect>) {
        for (id, member) in &self.members {
            self.touch(id, member, now, out);
        }
        // group.max.size was lowered; a rebalance leaves the surplus out and lets it commit before.
        if self.members.len() > settings.max_size {
            self.prepare_rebalance(now, settings, out);
        }
    }

    /// Leadership is lost: every parked request is answered with `error`. The group must not be used after.
    pub fn unload(&mut self, error: ErrorCode, out: &mut Vec<Effect>) {
        self.joining = 0;
        for (id, member) in &mut self.members {
            if let Some(token) = member.joining.take() {
                out.push(Effect::Join(token, JoinReply::error(id.clone(), error)));
            }
            if let Some(token) = member.syncing.take() {
                out.push(Effect::Sync(token, SyncReply::error(error)));
            }
        }
    }
}
