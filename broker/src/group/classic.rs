//! One classic group: the state machine behind JoinGroup, SyncGroup, Heartbeat and LeaveGroup.
//!
//! ```text
//!            join                all joined, or time is up         leader's sync is written
//!   Empty ────────► Preparing ─────────────────────► Completing ─────────────────────► Stable
//!     ▲               │   ▲                              │                               │
//!     └───────────────┘   └──────────── join with new metadata, leave, expiry ───────────┘
//!       nobody left
//! ```
//!
//! Pure: events carry the time, what is to be done comes out as [`Effect`]s in the order in which it must happen.
//! The behaviour is that of Kafka's `GroupMetadataManager` and `ClassicGroup` (4.1), KIP-345 (static members),
//! KIP-394 (member ids first), KIP-814 (skip assignment) and KIP-559 (protocol type and name) included.
//!
//! Invariants: a parked token is answered exactly once; members wait for a join only in Preparing (or, one static
//! member, in Stable while its replacement is written); members wait for a sync only in Completing; every member
//! supports at least one protocol that all members support.
//!
//! Beyond Kafka: where Kafka forgets a parked request (its member leaves while in SyncGroup, or asks again on
//! another connection) it is answered here, since later answers of its connection wait behind it.

mod join;
mod session;
mod sync;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use protocol::ErrorCode;

pub use self::join::{JoinMember, JoinReply, JoinRequest};
pub use self::session::{LeaveRequest, LeaveResult};
pub use self::sync::{SyncReply, SyncRequest};

use super::{Now, subscription};

/// Protocol type of consumers; the assignment of other types (Connect's, for one) is opaque.
pub const CONSUMER_PROTOCOL_TYPE: &str = "consumer";

/// A new member's join is given up after this long, so that clients that went away do not pile up.
const NEW_MEMBER_JOIN_TIMEOUT_MS: i64 = 5 * 60 * 1_000;

/// How long a join phase at least goes on in which no static member has come: a rebalance timeout of 0, which clients
/// may send, would have the timer run out again at once, and again, until the sessions end.
const MIN_STATIC_WAIT_MS: i64 = 1_000;

/// States of a classic group; "Dead" only names a group that is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// No members; the group lives on for its offsets, or for members that have only been given an id.
    Empty,
    /// Waiting for the members to join.
    PreparingRebalance,
    /// Waiting for the leader's assignment, and for it to be written.
    CompletingRebalance,
    /// Every member has its assignment, or may fetch it.
    Stable,
}

impl State {
    /// The name that clients see.
    pub fn name(self) -> &'static str {
        match self {
            State::Empty => "Empty",
            State::PreparingRebalance => "PreparingRebalance",
            State::CompletingRebalance => "CompletingRebalance",
            State::Stable => "Stable",
        }
    }
}

/// Names a request that waits for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token(pub u64);

/// A timer of one group.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Timer {
    /// The session of a member, or of an id that was handed out and has not joined yet.
    Session(Arc<str>),
    /// The join phase.
    Join,
    /// The wait for every member's SyncGroup.
    Sync,
}

/// What the caller must do, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Answer a JoinGroup.
    Join(Token, JoinReply),
    /// Answer a SyncGroup.
    Sync(Token, SyncReply),
    /// Append the group's record, then call [`ClassicGroup::written`]: at once if the append fails, else when the
    /// record is committed or has not been for the commit timeout.
    Write(StoredGroup, AfterWrite),
    /// Call [`ClassicGroup::expired`] at this tick, unless the timer is set again or cancelled.
    SetTimer(Timer, i64),
    /// Forget the timer.
    CancelTimer(Timer),
}

/// What a write was for; handed back with its outcome.
#[derive(Clone, Debug, PartialEq)]
pub enum AfterWrite {
    /// Nothing depends on it.
    Nothing,
    /// The leader's assignment of a generation.
    Assignment {
        /// The generation it belongs to.
        generation: i32,
        /// Bytes by member id.
        assignments: HashMap<Arc<str>, Bytes>,
    },
    /// A static member came back with a new member id while the group was stable.
    StaticMember(Box<StaticReplacement>),
}

/// Enough to answer a static member's join, or to undo its replacement.
#[derive(Clone, Debug, PartialEq)]
pub struct StaticReplacement {
    token: Token,
    instance_id: Arc<str>,
    old_member_id: Arc<str>,
    new_member_id: Arc<str>,
    old_leader: Option<Arc<str>>,
    old_protocols: Vec<Protocol>,
    old_rebalance_timeout_ms: i32,
    old_session_timeout_ms: i32,
    can_skip_assignment: bool,
}

/// A protocol (assignor) that a member offers, with the member's metadata for it.
pub type Protocol = (Arc<str>, Bytes);

/// A group as its record holds it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StoredGroup {
    /// Empty if the group never had members.
    pub protocol_type: Arc<str>,
    /// Generation of the members' assignment.
    pub generation: i32,
    /// The chosen protocol.
    pub protocol: Option<Arc<str>>,
    /// Member id of the leader.
    pub leader: Option<Arc<str>>,
    /// When the group entered its state, milliseconds since 1970; -1 unknown.
    pub state_since_ms: i64,
    /// Members; none means the group is Empty.
    pub members: Vec<StoredMember>,
}

/// A member as the group's record holds it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StoredMember {
    /// Member id.
    pub member_id: Arc<str>,
    /// `group.instance.id` of a static member.
    pub instance_id: Option<Arc<str>>,
    /// Client id.
    pub client_id: Arc<str>,
    /// Client host, `/10.0.0.1`.
    pub client_host: Arc<str>,
    /// -1 in records older than version 1.
    pub rebalance_timeout_ms: i32,
    /// Session timeout.
    pub session_timeout_ms: i32,
    /// Metadata for the group's protocol.
    pub subscription: Bytes,
    /// The leader's assignment for it.
    pub assignment: Bytes,
}

/// The settings that bear on a group's transitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `group.initial.rebalance.delay.ms`.
    pub initial_rebalance_delay_ms: i64,
    /// `group.max.size`.
    pub max_size: usize,
}

/// A member of a classic group.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Member {
    pub(super) instance_id: Option<Arc<str>>,
    pub(super) client_id: Arc<str>,
    pub(super) client_host: Arc<str>,
    pub(super) rebalance_timeout_ms: i32,
    pub(super) session_timeout_ms: i32,
    pub(super) protocols: Vec<Protocol>,
    pub(super) assignment: Bytes,
    joining: Option<Token>,
    syncing: Option<Token>,
    /// Has not been in a generation yet: it cannot heartbeat, so it may expire while it waits to join.
    is_new: bool,
}

impl Member {
    /// The metadata for `protocol`; empty if the member does not offer it.
    pub(super) fn metadata(&self, protocol: Option<&Arc<str>>) -> Bytes {
        let offered = self.protocols.iter().find(|(name, _)| Some(name) == protocol);
        offered.map(|(_, metadata)| metadata.clone()).unwrap_or_default()
    }
}

/// One classic group.
#[derive(Clone, Debug, PartialEq)]
pub struct ClassicGroup {
    pub(super) state: State,
    came_from_empty: bool,
    pub(super) state_since_ms: Option<i64>,
    pub(super) generation: i32,
    pub(super) protocol_type: Option<Arc<str>>,
    pub(super) protocol: Option<Arc<str>>,
    leader: Option<Arc<str>>,
    pub(super) members: BTreeMap<Arc<str>, Member>,
    static_members: BTreeMap<Arc<str>, Arc<str>>,
    /// Ids handed out with MEMBER_ID_REQUIRED that have not joined yet.
    pending_joins: BTreeSet<Arc<str>>,
    /// Members of this generation that have not sent SyncGroup.
    pending_syncs: BTreeSet<Arc<str>>,
    /// How many members wait for the join phase to end.
    joining: usize,
    /// How many members offer each protocol.
    support: HashMap<Arc<str>, usize>,
    /// Topics of all members; `None` if they cannot be known.
    subscribed: Option<BTreeSet<Arc<str>>>,
    /// During the first rebalance: delay that runs, and what may be added to it.
    initial_delay: Option<(i64, i64)>,
    new_member_added: bool,
}

impl ClassicGroup {
    /// A group without members.
    pub fn new(now: Now) -> Self {
        Self {
            state: State::Empty,
            came_from_empty: false,
            state_since_ms: Some(now.wall_ms),
            generation: 0,
            protocol_type: None,
            protocol: None,
            leader: None,
            members: BTreeMap::new(),
            static_members: BTreeMap::new(),
            pending_joins: BTreeSet::new(),
            pending_syncs: BTreeSet::new(),
            joining: 0,
            support: HashMap::new(),
            subscribed: None,
            initial_delay: None,
            new_member_added: false,
        }
    }

    /// The group that `stored` describes; call [`ClassicGroup::loaded`] once the whole log is read.
    pub fn from_stored(stored: StoredGroup) -> Self {
        let mut group = Self::new(Now::default());
        group.state = if stored.members.is_empty() { State::Empty } else { State::Stable };
        group.state_since_ms = (stored.state_since_ms != -1).then_some(stored.state_since_ms);
        group.generation = stored.generation;
        group.protocol_type = Some(stored.protocol_type).filter(|name| !name.is_empty());
        group.protocol = stored.protocol;
        group.leader = stored.leader;
        let offered = group.protocol.clone().unwrap_or_default();
        for member in stored.members {
            let rebalance_timeout_ms = match member.rebalance_timeout_ms {
                -1 => member.session_timeout_ms,
                timeout => timeout,
            };
            let loaded = Member {
                instance_id: member.instance_id,
                client_id: member.client_id,
                client_host: member.client_host,
                rebalance_timeout_ms,
                session_timeout_ms: member.session_timeout_ms,
                protocols: vec![(offered.clone(), member.subscription)],
                assignment: member.assignment,
                joining: None,
                syncing: None,
                is_new: false,
            };
            group.add(member.member_id, loaded);
        }
        group.subscribed = group.subscribed_topics();
        group
    }

    /// The record that describes the group now.
    pub fn stored(&self) -> StoredGroup {
        self.stored_with(|_, member| member.assignment.clone())
    }

    fn stored_with(&self, assignment: impl Fn(&Arc<str>, &Member) -> Bytes) -> StoredGroup {
        let members = self.members.iter().map(|(id, member)| StoredMember {
            member_id: id.clone(),
            instance_id: member.instance_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            rebalance_timeout_ms: member.rebalance_timeout_ms,
            session_timeout_ms: member.session_timeout_ms,
            subscription: member.metadata(self.protocol.as_ref()),
            assignment: assignment(id, member),
        });
        StoredGroup {
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            generation: self.generation,
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            state_since_ms: self.state_since_ms.unwrap_or(-1),
            members: members.collect(),
        }
    }

    /// Current state.
    pub fn state(&self) -> State {
        self.state
    }

    /// Whether ids are handed out that have not joined yet.
    pub fn has_pending_members(&self) -> bool {
        !self.pending_joins.is_empty()
    }

    /// Whether offsets of `topic` are in use; a group of consumers with unreadable subscriptions uses all.
    pub fn is_subscribed_to(&self, topic: &str) -> bool {
        match &self.subscribed {
            Some(topics) => topics.contains(topic),
            None => self.is_consumer_type(),
        }
    }

    /// Whether the members speak the consumer protocol.
    pub fn is_consumer_type(&self) -> bool {
        self.protocol_type.as_deref() == Some(CONSUMER_PROTOCOL_TYPE)
    }

    /// Whether the subscribed topics are known.
    pub(super) fn knows_subscription(&self) -> bool {
        self.subscribed.is_some()
    }

    fn is_leader(&self, member_id: &str) -> bool {
        self.leader.as_deref() == Some(member_id)
    }

    fn enter(&mut self, state: State, now: Now) {
        self.came_from_empty = self.state == State::Empty;
        self.state = state;
        self.state_since_ms = Some(now.wall_ms);
    }

    fn add(&mut self, id: Arc<str>, member: Member) {
        if let Some(instance) = &member.instance_id {
            self.static_members.insert(instance.clone(), id.clone());
        }
        for (name, _) in &member.protocols {
            *self.support.entry(name.clone()).or_insert(0) += 1;
        }
        self.joining += usize::from(member.joining.is_some());
        if self.leader.is_none() {
            self.leader = Some(id.clone());
        }
        self.pending_joins.remove(&id);
        self.members.insert(id, member);
    }

    /// Removes a member or a pending id. Requests that it has parked get UNKNOWN_MEMBER_ID.
    fn remove(&mut self, id: &str, out: &mut Vec<Effect>) {
        self.pending_joins.remove(id);
        self.pending_syncs.remove(id);
        let Some((key, mut member)) = self.members.remove_entry(id) else { return };
        self.forget_support(&member.protocols);
        if let Some(token) = member.joining.take() {
            self.joining -= 1;
            out.push(Effect::Join(token, JoinReply::error("".into(), ErrorCode::UNKNOWN_MEMBER_ID)));
        }
        if let Some(token) = member.syncing.take() {
            out.push(Effect::Sync(token, SyncReply::error(ErrorCode::UNKNOWN_MEMBER_ID)));
        }
        if let Some(instance) = &member.instance_id {
            self.static_members.remove(instance);
        }
        if self.is_leader(&key) {
            self.leader = self.members.keys().next().cloned();
        }
    }

    fn forget_support(&mut self, protocols: &[Protocol]) {
        for (name, _) in protocols {
            if let Some(count) = self.support.get_mut(name) {
                *count -= 1;
                if *count == 0 {
                    self.support.remove(name);
                }
            }
        }
    }

    fn max_rebalance_timeout_ms(&self) -> i64 {
        self.members.values().map(|member| i64::from(member.rebalance_timeout_ms)).max().unwrap_or(0).max(0)
    }

    fn all_joined(&self) -> bool {
        self.members.len() == self.joining && self.pending_joins.is_empty()
    }

    /// UNKNOWN_MEMBER_ID or FENCED_INSTANCE_ID unless `member_id` is a member, and the one behind `instance_id`.
    fn check_member(&self, member_id: &str, instance_id: Option<&str>) -> Result<(), ErrorCode> {
        if let Some(instance) = instance_id {
            match self.static_members.get(instance) {
                None => return Err(ErrorCode::UNKNOWN_MEMBER_ID),
                Some(current) if &**current != member_id => return Err(ErrorCode::FENCED_INSTANCE_ID),
                Some(_) => {}
            }
        }
        if self.members.contains_key(member_id) { Ok(()) } else { Err(ErrorCode::UNKNOWN_MEMBER_ID) }
    }

    /// Whether a member with these protocols can be in the group.
    fn supports(&self, protocol_type: &str, protocols: &[Protocol]) -> bool {
        if self.state == State::Empty {
            return !protocol_type.is_empty() && !protocols.is_empty();
        }
        self.protocol_type.as_deref() == Some(protocol_type)
            && protocols
                .iter()
                .any(|(name, _)| self.support.get(name).copied().unwrap_or(0) == self.members.len())
    }

    /// Each member votes for its first protocol that all support; a tie goes to the name that comes first.
    fn select_protocol(&self) -> Option<Arc<str>> {
        let all = self.members.len();
        let mut votes: BTreeMap<&Arc<str>, usize> = BTreeMap::new();
        for member in self.members.values() {
            let vote = member.protocols.iter().find(|(name, _)| self.support.get(name) == Some(&all));
            if let Some((name, _)) = vote {
                *votes.entry(name).or_insert(0) += 1;
            }
        }
        let most = votes.values().copied().max()?;
        votes.into_iter().find(|(_, count)| *count == most).map(|(name, _)| name.clone())
    }

    fn subscribed_topics(&self) -> Option<BTreeSet<Arc<str>>> {
        if !self.is_consumer_type() {
            return None;
        }
        let protocol = self.protocol.as_ref();
        if self.members.is_empty() {
            return Some(BTreeSet::new());
        }
        protocol?;
        let mut all = BTreeSet::new();
        for member in self.members.values() {
            all.append(&mut subscription::topics(&member.metadata(protocol))?);
        }
        Some(all)
    }

    /// Restarts the session timer of a member.
    fn touch(&self, id: &Arc<str>, member: &Member, now: Now, out: &mut Vec<Effect>) {
        let deadline = now.ticks_ms + i64::from(member.session_timeout_ms);
        out.push(Effect::SetTimer(Timer::Session(id.clone()), deadline));
    }
}
