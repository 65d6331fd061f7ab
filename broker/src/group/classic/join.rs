//! JoinGroup and the join phase of a rebalance.

use std::sync::Arc;

use bytes::Bytes;
use protocol::ErrorCode;

use super::{
    AfterWrite, ClassicGroup, Effect, MIN_STATIC_WAIT_MS, Member, NEW_MEMBER_JOIN_TIMEOUT_MS, Now, Protocol,
    Settings, State, StaticReplacement, SyncReply, Timer, Token,
};

/// A JoinGroup request.
#[derive(Clone, Debug, PartialEq)]
pub struct JoinRequest {
    /// Empty for a member that has none yet.
    pub member_id: Arc<str>,
    /// The id that the member gets if it has none; unique.
    pub new_member_id: Arc<str>,
    /// `group.instance.id` of a static member.
    pub instance_id: Option<Arc<str>>,
    /// Client id.
    pub client_id: Arc<str>,
    /// Client host.
    pub client_host: Arc<str>,
    /// Session timeout, already checked against the broker's bounds.
    pub session_timeout_ms: i32,
    /// Rebalance timeout; in version 0 the session timeout.
    pub rebalance_timeout_ms: i32,
    /// `consumer`, `connect`, ...
    pub protocol_type: Arc<str>,
    /// What the member offers, best first, no name twice.
    pub protocols: Vec<Protocol>,
    /// From version 4 a dynamic member must come with an id (KIP-394).
    pub requires_member_id: bool,
    /// From version 9 a leader can be told not to assign (KIP-814).
    pub can_skip_assignment: bool,
}

/// A JoinGroup answer.
#[derive(Clone, Debug, PartialEq)]
pub struct JoinReply {
    /// Error, or NONE.
    pub error: ErrorCode,
    /// -1 in an error.
    pub generation: i32,
    /// Protocol type of the group.
    pub protocol_type: Option<Arc<str>>,
    /// Chosen protocol.
    pub protocol: Option<Arc<str>>,
    /// Member id of the leader; empty in an error.
    pub leader: Arc<str>,
    /// The leader shall keep the present assignment.
    pub skip_assignment: bool,
    /// The member's own id.
    pub member_id: Arc<str>,
    /// All members, for the leader only.
    pub members: Vec<JoinMember>,
}

/// A member as the leader sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct JoinMember {
    /// Member id.
    pub member_id: Arc<str>,
    /// `group.instance.id` of a static member.
    pub instance_id: Option<Arc<str>>,
    /// Metadata for the chosen protocol.
    pub metadata: Bytes,
}

impl JoinReply {
    /// An answer that says only what is wrong.
    pub fn error(member_id: Arc<str>, error: ErrorCode) -> Self {
        Self {
            error,
            generation: -1,
            protocol_type: None,
            protocol: None,
            leader: "".into(),
            skip_assignment: false,
            member_id,
            members: Vec::new(),
        }
    }
}

impl ClassicGroup {
    /// Whether a join with these protocols would be let into a new group.
    pub fn accepts_first(protocol_type: &str, protocols: &[Protocol]) -> bool {
        !protocol_type.is_empty() && !protocols.is_empty()
    }

    /// A JoinGroup; the answer to `token` comes as an effect, now or when the join phase ends.
    pub fn join(
        &mut self,
        request: JoinRequest,
        token: Token,
        now: Now,
        settings: &Settings,
        out: &mut Vec<Effect>,
    ) {
        let refused =
            |member_id: &Arc<str>, error| Effect::Join(token, JoinReply::error(member_id.clone(), error));
        if !self.has_room_for(&request.member_id, settings) {
            self.remove(&request.member_id, out);
            out.push(refused(&"".into(), ErrorCode::GROUP_MAX_SIZE_REACHED));
            self.maybe_complete_join(now, out);
        } else if !self.supports(&request.protocol_type, &request.protocols) {
            out.push(refused(&request.member_id, ErrorCode::INCONSISTENT_GROUP_PROTOCOL));
        } else if request.member_id.is_empty() {
            self.join_new(request, token, now, settings, out);
        } else if self.pending_joins.contains(&request.member_id) {
            if request.instance_id.is_some() {
                out.push(refused(&request.member_id, ErrorCode::UNKNOWN_SERVER_ERROR));
                return;
            }
            let id = request.member_id.clone();
            self.add_joining(id, request, token, now, settings, out);
        } else if let Err(error) = self.check_member(&request.member_id, request.instance_id.as_deref()) {
            out.push(refused(&request.member_id, error));
        } else {
            self.rejoin(request, token, now, settings, out);
        }
    }

    fn has_room_for(&self, member_id: &str, settings: &Settings) -> bool {
        match self.state {
            State::Empty => true,
            // Those awaiting count, not the members: so the last to rejoin are the ones to go if the limit was lowered.
            State::PreparingRebalance => {
                self.members.get(member_id).is_some_and(|member| member.joining.is_some())
                    || self.joining < settings.max_size
            }
            State::CompletingRebalance | State::Stable => {
                self.members.contains_key(member_id) || self.members.len() < settings.max_size
            }
        }
    }

    fn join_new(
        &mut self,
        request: JoinRequest,
        token: Token,
        now: Now,
        settings: &Settings,
        out: &mut Vec<Effect>,
    ) {
        let id = request.new_member_id.clone();
        let replaced =
            request.instance_id.as_ref().and_then(|instance| self.static_members.get(instance)).cloned();
        if let Some(old_id) = replaced {
            self.replace_static(old_id, request, token, now, settings, out);
        } else if request.instance_id.is_none() && request.requires_member_id {
            self.pending_joins.insert(id.clone());
            let deadline = now.ticks_ms + i64::from(request.session_timeout_ms);
            out.push(Effect::SetTimer(Timer::Session(id.clone()), deadline));
            out.push(Effect::Join(token, JoinReply::error(id, ErrorCode::MEMBER_ID_REQUIRED)));
        } else {
            self.add_joining(id, request, token, now, settings, out);
        }
    }

    fn add_joining(
        &mut self,
        id: Arc<str>,
        request: JoinRequest,
        token: Token,
        now: Now,
        settings: &Settings,
        out: &mut Vec<Effect>,
    ) {
        if self.members.is_empty() {
            self.protocol_type = Some(request.protocol_type);
        }
        if self.state == State::PreparingRebalance && self.came_from_empty {
            self.new_member_added = true;
        }
        let member = Member {
            instance_id: request.instance_id,
            client_id: request.client_id,
            client_host: request.client_host,
            rebalance_timeout_ms: request.rebalance_timeout_ms,
            session_timeout_ms: request.session_timeout_ms,
            protocols: request.protocols,
            assignment: Bytes::new(),
            joining: Some(token),
            syncing: None,
            is_new: true,
        };
        self.add(id.clone(), member);
        out.push(Effect::SetTimer(Timer::Session(id), now.ticks_ms + NEW_MEMBER_JOIN_TIMEOUT_MS));
        self.rebalance_or_complete_join(now, settings, out);
    }

    fn rejoin(
        &mut self,
        request: JoinRequest,
        token: Token,
        now: Now,
        settings: &Settings,
        out: &mut Vec<Effect>,
    ) {
        let id = request.member_id.clone();
        let unchanged = self.members.get(&id).is_some_and(|member| member.protocols == request.protocols);
        let repeat = match self.state {
            State::PreparingRebalance => false,
            State::CompletingRebalance => unchanged,
            // The leader joins anew to assign anew, for a reason (new partitions, say) that its metadata does not show.
            State::Stable => unchanged && !self.is_leader(&id),
            State::Empty => {
                out.push(Effect::Join(token, JoinReply::error(id, ErrorCode::UNKNOWN_MEMBER_ID)));
                return;
            }
        };
        if repeat {
            out.push(Effect::Join(token, self.joined(&id)));
            return;
        }
        self.update(&id, request, token, out);
        self.rebalance_or_complete_join(now, settings, out);
    }

    /// The answer of the current generation; the leader gets the members.
    fn joined(&self, id: &Arc<str>) -> JoinReply {
        let members = if self.is_leader(id) { self.join_members() } else { Vec::new() };
        JoinReply {
            error: ErrorCode::NONE,
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone().unwrap_or_default(),
            skip_assignment: false,
            member_id: id.clone(),
            members,
        }
    }

    fn join_members(&self) -> Vec<JoinMember> {
        let seen_by_leader = |(id, member): (&Arc<str>, &Member)| JoinMember {
            member_id: id.clone(),
            instance_id: member.instance_id.clone(),
            metadata: member.metadata(self.protocol.as_ref()),
        };
        self.members.iter().map(seen_by_leader).collect()
    }

    /// Takes over what a member offers and parks its request.
    fn update(&mut self, id: &Arc<str>, request: JoinRequest, token: Token, out: &mut Vec<Effect>) {
        self.set_offer(id, request.protocols, request.rebalance_timeout_ms, request.session_timeout_ms);
        let Some(member) = self.members.get_mut(id) else { return };
        let before = member.joining.replace(token);
        self.joining += 1;
        if let Some(token) = before {
            self.joining -= 1;
            out.push(Effect::Join(token, JoinReply::error(id.clone(), ErrorCode::REBALANCE_IN_PROGRESS)));
        }
    }

    fn set_offer(&mut self, id: &str, protocols: Vec<Protocol>, rebalance_ms: i32, session_ms: i32) {
        for (name, _) in &protocols {
            *self.support.entry(name.clone()).or_insert(0) += 1;
        }
        let Some(member) = self.members.get_mut(id) else { return };
        member.rebalance_timeout_ms = rebalance_ms;
        member.session_timeout_ms = session_ms;
        let before = std::mem::replace(&mut member.protocols, protocols);
        self.forget_support(&before);
    }

    fn replace_static(
        &mut self,
        old_id: Arc<str>,
        request: JoinRequest,
        token: Token,
        now: Now,
        settings: &Settings,
        out: &mut Vec<Effect>,
    ) {
        let old_leader = self.leader.clone();
        let new_id = request.new_member_id.clone();
        let instance_id = request.instance_id.clone().unwrap_or_default();
        let can_skip_assignment = request.can_skip_assignment;
        let Some(member) = self.rename(&old_id, &new_id, out) else { return };
        let old_protocols = member.protocols.clone();
        let (old_rebalance_timeout_ms, old_session_timeout_ms) =
            (member.rebalance_timeout_ms, member.session_timeout_ms);
        self.update(&new_id, request, token, out);
        if let Some(member) = self.members.get(&new_id) {
            self.touch(&new_id, member, now, out);
        }
        match self.state {
            State::Stable if self.protocol == self.select_protocol() => {
                let undo = StaticReplacement {
                    token,
                    instance_id,
                    old_member_id: old_id,
                    new_member_id: new_id,
                    old_leader,
                    old_protocols,
                    old_rebalance_timeout_ms,
                    old_session_timeout_ms,
                    can_skip_assignment,
                };
                out.push(Effect::Write(self.stored(), AfterWrite::StaticMember(Box::new(undo))));
            }
            // In Completing the old id may be in the leader's hands already: its assignment would reach nobody.
            State::Stable | State::CompletingRebalance => self.prepare_rebalance(now, settings, out),
            State::PreparingRebalance | State::Empty => self.maybe_complete_join(now, out),
        }
    }

    /// Gives a static member a new id; what the old id has parked gets FENCED_INSTANCE_ID.
    fn rename(&mut self, old_id: &str, new_id: &Arc<str>, out: &mut Vec<Effect>) -> Option<&Member> {
        let mut member = self.members.remove(old_id)?;
        if let Some(token) = member.joining.take() {
            self.joining -= 1;
            out.push(Effect::Join(token, JoinReply::error(old_id.into(), ErrorCode::FENCED_INSTANCE_ID)));
        }
        if let Some(token) = member.syncing.take() {
            out.push(Effect::Sync(token, SyncReply::error(ErrorCode::FENCED_INSTANCE_ID)));
        }
        out.push(Effect::CancelTimer(Timer::Session(old_id.into())));
        member.is_new = false;
        if self.is_leader(old_id) {
            self.leader = Some(new_id.clone());
        }
        if self.pending_syncs.remove(old_id) {
            self.pending_syncs.insert(new_id.clone());
        }
        if let Some(instance) = &member.instance_id {
            self.static_members.insert(instance.clone(), new_id.clone());
        }
        self.members.insert(new_id.clone(), member);
        self.members.get(new_id)
    }

    /// The write of a static member's new id is done.
    pub(super) fn static_member_written(
        &mut self,
        done: StaticReplacement,
        outcome: Result<(), ErrorCode>,
        now: Now,
        out: &mut Vec<Effect>,
    ) {
        // If a rebalance began meanwhile the member waits in it, as any other that has joined.
        let waits =
            self.members.get(&done.new_member_id).is_some_and(|member| member.joining == Some(done.token));
        if self.state != State::Stable || !waits {
            return;
        }
        if let Some(member) = self.members.get_mut(&done.new_member_id) {
            member.joining = None;
            self.joining -= 1;
        }
        let mut reply = match outcome {
            Ok(()) if done.can_skip_assignment => {
                let mut reply = self.joined(&done.new_member_id);
                reply.skip_assignment = self.is_leader(&done.new_member_id);
                reply
            }
            // An older client must not think that it leads: it is shown the leader of before, maybe its old self.
            Ok(()) => JoinReply {
                leader: done.old_leader.clone().unwrap_or_default(),
                ..self.joined(&done.new_member_id)
            },
            Err(error) => {
                let (rebalance_ms, session_ms) = (done.old_rebalance_timeout_ms, done.old_session_timeout_ms);
                self.set_offer(&done.new_member_id, done.old_protocols.clone(), rebalance_ms, session_ms);
                self.rename(&done.new_member_id, &done.old_member_id, out);
                JoinReply {
                    generation: self.generation,
                    protocol_type: self.protocol_type.clone(),
                    protocol: self.protocol.clone(),
                    leader: done.old_leader.clone().unwrap_or_default(),
                    ..JoinReply::error("".into(), error)
                }
            }
        };
        if !done.can_skip_assignment {
            reply.members.clear();
        }
        // The session was suspended while the request was parked.
        let id = if outcome.is_ok() { &done.new_member_id } else { &done.old_member_id };
        if let Some(member) = self.members.get(id) {
            self.touch(id, member, now, out);
        }
        out.push(Effect::Join(done.token, reply));
    }

    pub(super) fn rebalance_or_complete_join(
        &mut self,
        now: Now,
        settings: &Settings,
        out: &mut Vec<Effect>,
    ) {
        if self.state == State::PreparingRebalance {
            self.maybe_complete_join(now, out);
        } else {
            self.prepare_rebalance(now, settings, out);
        }
    }

    pub(super) fn prepare_rebalance(&mut self, now: Now, settings: &Settings, out: &mut Vec<Effect>) {
        if self.state == State::CompletingRebalance {
            self.reset_assignments(ErrorCode::REBALANCE_IN_PROGRESS, now, out);
        }
        self.pending_syncs.clear();
        out.push(Effect::CancelTimer(Timer::Sync));
        self.enter(State::PreparingRebalance, now);
        if self.came_from_empty {
            let delay = settings.initial_rebalance_delay_ms;
            self.initial_delay = Some((delay, (self.max_rebalance_timeout_ms() - delay).max(0)));
            self.new_member_added = false;
            out.push(Effect::SetTimer(Timer::Join, now.ticks_ms + delay));
        } else if self.all_joined() {
            self.complete_join(now, out);
        } else {
            out.push(Effect::SetTimer(Timer::Join, now.ticks_ms + self.max_rebalance_timeout_ms()));
        }
    }

    /// Ends the join phase if everyone is there; the first rebalance of a group ends by its timer only.
    pub(super) fn maybe_complete_join(&mut self, now: Now, out: &mut Vec<Effect>) {
        if self.state == State::PreparingRebalance && !self.came_from_empty && self.all_joined() {
            self.complete_join(now, out);
        }
    }

    /// The join timer ran out.
    pub(super) fn join_expired(&mut self, now: Now, settings: &Settings, out: &mut Vec<Effect>) {
        if self.state != State::PreparingRebalance {
            return;
        }
        if let Some((delay, remaining)) = self.initial_delay.filter(|(_, remaining)| *remaining > 0)
            && self.new_member_added
        {
            self.new_member_added = false;
            let next = settings.initial_rebalance_delay_ms.min(remaining);
            self.initial_delay = Some((next, (remaining - delay).max(0)));
            out.push(Effect::SetTimer(Timer::Join, now.ticks_ms + next));
            return;
        }
        self.complete_join(now, out);
    }

    pub(super) fn complete_join(&mut self, now: Now, out: &mut Vec<Effect>) {
        out.push(Effect::CancelTimer(Timer::Join));
        self.initial_delay = None;
        let gone: Vec<Arc<str>> = self
            .members
            .iter()
            .filter(|(_, member)| member.joining.is_none() && member.instance_id.is_none())
            .map(|(id, _)| id.clone())
            .collect();
        for id in gone {
            self.remove(&id, out);
            out.push(Effect::CancelTimer(Timer::Session(id)));
        }
        if self.members.is_empty() {
            self.generation = self.generation.wrapping_add(1);
            self.protocol = None;
            self.subscribed = self.subscribed_topics();
            self.enter(State::Empty, now);
            out.push(Effect::Write(self.stored(), AfterWrite::Nothing));
        } else if self.elect_leader() {
            self.begin_generation(now, out);
        } else {
            // Only static members are left, and none has come: wait until they come or their sessions end.
            let wait_ms = self.max_rebalance_timeout_ms().max(MIN_STATIC_WAIT_MS);
            out.push(Effect::SetTimer(Timer::Join, now.ticks_ms + wait_ms));
        }
    }

    /// Keeps the leader if it has joined, else takes a member that has; false if nobody has.
    fn elect_leader(&mut self) -> bool {
        let joined = |group: &Self, id: &Arc<str>| {
            group.members.get(id).is_some_and(|member| member.joining.is_some())
        };
        if self.leader.as_ref().is_some_and(|leader| joined(self, leader)) {
            return true;
        }
        let next = self.members.keys().find(|id| joined(self, id)).cloned();
        let found = next.is_some();
        if found {
            self.leader = next;
        }
        found
    }

    fn begin_generation(&mut self, now: Now, out: &mut Vec<Effect>) {
        self.generation = self.generation.wrapping_add(1);
        self.protocol = self.select_protocol();
        self.subscribed = self.subscribed_topics();
        self.enter(State::CompletingRebalance, now);
        self.pending_syncs = self.members.keys().cloned().collect();
        self.joining = 0;
        let ids: Vec<Arc<str>> = self.members.keys().cloned().collect();
        for id in ids {
            let Some(member) = self.members.get_mut(&id) else { continue };
            member.is_new = false;
            let token = member.joining.take();
            if let Some(token) = token {
                out.push(Effect::Join(token, self.joined(&id)));
            }
            if let Some(member) = self.members.get(&id) {
                self.touch(&id, member, now, out);
            }
        }
        out.push(Effect::SetTimer(Timer::Sync, now.ticks_ms + self.max_rebalance_timeout_ms()));
    }
}
