//! SyncGroup: the leader's assignment is written, then handed to everyone.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use protocol::ErrorCode;

use super::{AfterWrite, ClassicGroup, Effect, Now, Settings, State, Timer, Token};

/// A SyncGroup request.
#[derive(Clone, Debug, PartialEq)]
pub struct SyncRequest {
    /// Member id.
    pub member_id: Arc<str>,
    /// `group.instance.id` of a static member.
    pub instance_id: Option<Arc<str>>,
    /// The generation that JoinGroup named.
    pub generation: i32,
    /// From version 5.
    pub protocol_type: Option<Arc<str>>,
    /// From version 5.
    pub protocol: Option<Arc<str>>,
    /// By member id; from the leader only.
    pub assignments: HashMap<Arc<str>, Bytes>,
}

/// A SyncGroup answer.
#[derive(Clone, Debug, PartialEq)]
pub struct SyncReply {
    /// Error, or NONE.
    pub error: ErrorCode,
    /// Protocol type of the group; not in an error.
    pub protocol_type: Option<Arc<str>>,
    /// Chosen protocol; not in an error.
    pub protocol: Option<Arc<str>>,
    /// The member's assignment; empty in an error.
    pub assignment: Bytes,
}

impl SyncReply {
    /// An answer that says only what is wrong.
    pub fn error(error: ErrorCode) -> Self {
        Self { error, protocol_type: None, protocol: None, assignment: Bytes::new() }
    }
}

impl ClassicGroup {
    /// A SyncGroup; the answer to `token` comes as an effect, now or when the leader's assignment is written.
    pub fn sync(&mut self, request: SyncRequest, token: Token, now: Now, out: &mut Vec<Effect>) {
        if let Err(error) = self.check_sync(&request) {
            out.push(Effect::Sync(token, SyncReply::error(error)));
            return;
        }
        let Some(member) = self.members.get_mut(&request.member_id) else { return };
        let session_deadline = now.ticks_ms + i64::from(member.session_timeout_ms);
        match self.state {
            State::CompletingRebalance => {
                if let Some(before) = member.syncing.replace(token) {
                    out.push(Effect::Sync(before, SyncReply::error(ErrorCode::REBALANCE_IN_PROGRESS)));
                }
                self.sync_arrived(&request.member_id, out);
                if self.is_leader(&request.member_id) {
                    let assignments = request.assignments;
                    let of = |id: &Arc<str>| assignments.get(id).cloned().unwrap_or_default();
                    let record = self.stored_with(|id, _| of(id));
                    let generation = self.generation;
                    out.push(Effect::Write(record, AfterWrite::Assignment { generation, assignments }));
                }
            }
            State::Stable => {
                let assignment = member.assignment.clone();
                out.push(Effect::SetTimer(Timer::Session(request.member_id.clone()), session_deadline));
                self.sync_arrived(&request.member_id, out);
                out.push(Effect::Sync(token, self.synced(assignment)));
            }
            State::PreparingRebalance | State::Empty => {
                out.push(Effect::Sync(token, SyncReply::error(ErrorCode::REBALANCE_IN_PROGRESS)));
            }
        }
    }

    fn check_sync(&self, request: &SyncRequest) -> Result<(), ErrorCode> {
        if self.state == State::Empty {
            return Err(ErrorCode::UNKNOWN_MEMBER_ID);
        }
        self.check_member(&request.member_id, request.instance_id.as_deref())?;
        if request.generation != self.generation {
            return Err(ErrorCode::ILLEGAL_GENERATION);
        }
        let differs = |theirs: &Option<Arc<str>>, ours: &Option<Arc<str>>| {
            theirs.is_some() && ours.is_some() && theirs != ours
        };
        if differs(&request.protocol_type, &self.protocol_type) || differs(&request.protocol, &self.protocol)
        {
            return Err(ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
        }
        Ok(())
    }

    fn sync_arrived(&mut self, member_id: &str, out: &mut Vec<Effect>) {
        self.pending_syncs.remove(member_id);
        if self.pending_syncs.is_empty() {
            out.push(Effect::CancelTimer(Timer::Sync));
        }
    }

    fn synced(&self, assignment: Bytes) -> SyncReply {
        SyncReply {
            error: ErrorCode::NONE,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            assignment,
        }
    }

    /// A write that [`Effect::Write`] asked for is committed, or has failed with the error that clients shall see.
    pub fn written(
        &mut self,
        after: AfterWrite,
        outcome: Result<(), ErrorCode>,
        now: Now,
        settings: &Settings,
        out: &mut Vec<Effect>,
    ) {
        match after {
            AfterWrite::Nothing => {}
            AfterWrite::StaticMember(done) => self.static_member_written(*done, outcome, now, out),
            AfterWrite::Assignment { generation, assignments } => {
                // Another join may have begun a rebalance, or even ended it, while the record was under way.
                if self.state != State::CompletingRebalance || self.generation != generation {
                    return;
                }
                match outcome {
                    Ok(()) => {
                        for (id, member) in &mut self.members {
                            member.assignment = assignments.get(id).cloned().unwrap_or_default();
                        }
                        self.answer_syncs(ErrorCode::NONE, now, out);
                        self.enter(State::Stable, now);
                    }
                    Err(error) => {
                        self.reset_assignments(error, now, out);
                        self.prepare_rebalance(now, settings, out);
                    }
                }
            }
        }
    }

    /// Takes every assignment back and answers parked syncs with `error`.
    pub(super) fn reset_assignments(&mut self, error: ErrorCode, now: Now, out: &mut Vec<Effect>) {
        for member in self.members.values_mut() {
            member.assignment = Bytes::new();
        }
        self.answer_syncs(error, now, out);
    }

    fn answer_syncs(&mut self, error: ErrorCode, now: Now, out: &mut Vec<Effect>) {
        let (protocol_type, protocol) = (self.protocol_type.clone(), self.protocol.clone());
        for (id, member) in &mut self.members {
            let Some(token) = member.syncing.take() else { continue };
            let reply = match error {
                ErrorCode::NONE => SyncReply {
                    error,
                    protocol_type: protocol_type.clone(),
                    protocol: protocol.clone(),
                    assignment: member.assignment.clone(),
                },
                error => SyncReply::error(error),
            };
            out.push(Effect::Sync(token, reply));
            // The session was suspended while the request was parked.
            let deadline = now.ticks_ms + i64::from(member.session_timeout_ms);
            out.push(Effect::SetTimer(Timer::Session(id.clone()), deadline));
        }
    }
}
