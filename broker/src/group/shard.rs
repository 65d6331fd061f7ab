//! The groups and offsets of one partition of `__consumer_offsets`.
//!
//! Pure but for [`ShardLog`]: time is an argument, parked requests are [`Token`]s, answers come out through [`Cx`].
//!
//! Invariants: what is in memory is what the log's records say, up to `end_offset`; an answer that depends on a
//! record leaves only when `high_watermark` has passed it, or with an error when the commit timeout has; a group
//! exists if it has offsets.

mod commits;
mod expiry;
mod members;
#[cfg(test)]
pub(super) mod tests;
mod view;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use protocol::ErrorCode;
use protocol::offsets::OffsetsRecord;

pub use commits::{CommitRequest, FetchedOffset, PartitionCommit};
pub use view::{DescribedGroup, DescribedMember, ListedGroup};

use super::classic::{AfterWrite, ClassicGroup, Effect, JoinReply, Settings, SyncReply, Timer, Token};
use super::modern::ModernGroup;
use super::offsets::Offsets;
use super::records::{self, Entry};
use super::timers::Timers;
use super::{Appended, GroupConfig, Now, write_error};

/// Writes records for a shard; see [`super::OffsetsLog::append`].
pub(super) trait ShardLog {
    fn append(&self, leader_epoch: i32, entries: &[Entry], now: Now) -> Result<Appended, ErrorCode>;
}

/// An answer to a parked request.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Answer {
    Join(JoinReply),
    Sync(SyncReply),
    /// The records below the request's mark are committed, or will not be as far as we can tell (the append's
    /// error, not yet mapped by [`write_error`]).
    Done(Result<(), ErrorCode>),
}

/// What a shard works with for the length of one call.
pub(super) struct Cx<'a> {
    pub(super) now: Now,
    pub(super) log: &'a dyn ShardLog,
    pub(super) answers: &'a mut Vec<(Token, Answer)>,
}

/// Whether the answer to a token comes later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    No,
    Yes,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum ShardTimer {
    Group(Arc<str>, Timer),
    /// The commit timeout of a deferred answer.
    Write(u64),
    /// The next search for expired offsets.
    Retention,
}

/// What waits for the high watermark.
#[derive(Debug)]
struct Deferred {
    end_offset: i64,
    what: DeferredWhat,
}

#[derive(Debug)]
enum DeferredWhat {
    Group(Arc<str>, AfterWrite),
    Answer(Token),
}

/// See the module.
pub(super) struct Shard {
    config: Arc<GroupConfig>,
    /// The leader epoch to write under.
    pub(super) epoch: i32,
    groups: HashMap<Arc<str>, ClassicGroup>,
    modern: HashMap<Arc<str>, ModernGroup>,
    offsets: Offsets,
    timers: Timers<ShardTimer>,
    /// In the order of their end offsets.
    deferred: BTreeMap<u64, Deferred>,
    next_deferred: u64,
    end_offset: i64,
    high_watermark: i64,
}

impl Shard {
    pub(super) fn new(config: Arc<GroupConfig>, epoch: i32) -> Self {
        Self {
            config,
            epoch,
            groups: HashMap::new(),
            modern: HashMap::new(),
            offsets: Offsets::default(),
            timers: Timers::new(),
            deferred: BTreeMap::new(),
            next_deferred: 0,
            end_offset: 0,
            high_watermark: 0,
        }
    }

    /// Takes in one record of the log, before [`Shard::loaded`]; `producer_id` only if it is transactional.
    ///
    /// A record that cannot be read is reported and changes nothing.
    pub(super) fn replay(
        &mut self,
        key: &[u8],
        value: Option<&[u8]>,
        record_offset: i64,
        producer_id: Option<i64>,
    ) -> Result<(), protocol::wire::DecodeError> {
        if let Some((kind, group_id)) = ModernGroup::parse_key(key) {
            let group = self.modern.entry(group_id.clone()).or_insert_with(|| ModernGroup::new(kind));
            group.replay(key, value);
            if group.is_gone() {
                self.modern.remove(&group_id);
            } else {
                // A classic group that Kafka turned into one of the newer kind left a tombstone of its own.
                self.groups.remove(&group_id);
            }
            return Ok(());
        }
        match OffsetsRecord::decode(key, value)? {
            OffsetsRecord::OffsetCommit(key, Some(value)) => {
                let group_id = self.existing_or_simple(&key.group);
                let offset = records::read_offset(value, record_offset);
                match producer_id {
                    None => self.offsets.commit(&group_id, &key.topic, key.partition, offset),
                    Some(id) => self.offsets.commit_pending(id, &group_id, &key.topic, key.partition, offset),
                }
            }
            OffsetsRecord::OffsetCommit(key, None) => {
                self.offsets.remove(&key.group, &key.topic, key.partition)
            }
            OffsetsRecord::Group(key, Some(value)) => {
                let group = ClassicGroup::from_stored(records::read_group(value));
                self.groups.insert(key.group.into(), group);
            }
            OffsetsRecord::Group(key, None) => {
                self.groups.remove(key.group.as_str());
            }
            _ => {}
        }
        Ok(())
    }

    /// Takes in the marker that ends a transaction.
    pub(super) fn replay_marker(&mut self, producer_id: i64, commit: bool) {
        self.offsets.end_transaction(producer_id, commit);
    }

    /// The log is read up to `end_offset`: sessions begin, and the shard may be used.
    pub(super) fn loaded(&mut self, end_offset: i64, high_watermark: i64, cx: &mut Cx<'_>) {
        self.end_offset = end_offset;
        self.high_watermark = high_watermark;
        let ids: Vec<Arc<str>> = self.groups.keys().cloned().collect();
        for id in ids {
            self.with_group(&id, cx, |group, now, settings, out| group.loaded(now, settings, out));
        }
        self.arm_retention(cx.now);
    }

    /// Leadership is lost: every parked request is answered with `error`.
    pub(super) fn unload(mut self, error: ErrorCode, answers: &mut Vec<(Token, Answer)>) {
        for group in self.groups.values_mut() {
            let mut out = Vec::new();
            group.unload(error, &mut out);
            for effect in out {
                match effect {
                    Effect::Join(token, reply) => answers.push((token, Answer::Join(reply))),
                    Effect::Sync(token, reply) => answers.push((token, Answer::Sync(reply))),
                    Effect::Write(..) | Effect::SetTimer(..) | Effect::CancelTimer(_) => {}
                }
            }
        }
        for deferred in self.deferred.into_values() {
            if let DeferredWhat::Answer(token) = deferred.what {
                answers.push((token, Answer::Done(Err(error))));
            }
        }
    }

    /// A tick before which no timer is due.
    pub(super) fn next_timer_ms(&mut self) -> Option<i64> {
        self.timers.next_ms()
    }

    /// Brings everything up to date: to be called after each use, when the watermark moves and when timers are due.
    pub(super) fn settle(&mut self, high_watermark: i64, cx: &mut Cx<'_>) {
        self.high_watermark = self.high_watermark.max(high_watermark);
        loop {
            if let Some(first) = self.deferred.first_entry()
                && first.get().end_offset <= self.high_watermark
            {
                let (id, deferred) = first.remove_entry();
                self.timers.cancel(&ShardTimer::Write(id));
                self.complete(deferred, Ok(()), cx);
            } else if let Some(timer) = self.timers.pop_due(cx.now.ticks_ms) {
                self.fire(timer, cx);
            } else {
                return;
            }
        }
    }

    fn fire(&mut self, timer: ShardTimer, cx: &mut Cx<'_>) {
        match timer {
            ShardTimer::Group(id, timer) => {
                self.with_group(&id, cx, |group, now, settings, out| {
                    group.expired(timer, now, settings, out)
                });
            }
            ShardTimer::Write(id) => {
                if let Some(deferred) = self.deferred.remove(&id) {
                    self.complete(deferred, Err(ErrorCode::REQUEST_TIMED_OUT), cx);
                }
            }
            ShardTimer::Retention => {
                self.expire(cx);
                self.arm_retention(cx.now);
            }
        }
    }

    fn complete(&mut self, deferred: Deferred, outcome: Result<(), ErrorCode>, cx: &mut Cx<'_>) {
        match deferred.what {
            DeferredWhat::Answer(token) => cx.answers.push((token, Answer::Done(outcome))),
            DeferredWhat::Group(id, after) => {
                let outcome = outcome.map_err(write_error);
                self.with_group(&id, cx, |group, now, settings, out| {
                    group.written(after, outcome, now, settings, out);
                });
            }
        }
    }

    /// Runs an event of a group that may have gone meanwhile, and its effects.
    fn with_group<R>(
        &mut self,
        id: &Arc<str>,
        cx: &mut Cx<'_>,
        event: impl FnOnce(&mut ClassicGroup, Now, &Settings, &mut Vec<Effect>) -> R,
    ) -> Option<R> {
        let settings = self.settings();
        let group = self.groups.get_mut(id)?;
        let mut effects = Vec::new();
        let before = group.state();
        let result = event(group, cx.now, &settings, &mut effects);
        if !effects.is_empty() {
            self.run(id, effects, cx);
        }
        if let Some(group) = self.groups.get(id).filter(|group| group.state() != before) {
            let (from, to) = (before.name(), group.state().name());
            tracing::debug!(
                group = &**id,
                from,
                to,
                generation = group.generation,
                members = group.members.len()
            );
        }
        Some(result)
    }

    fn run(&mut self, id: &Arc<str>, effects: Vec<Effect>, cx: &mut Cx<'_>) {
        let mut queue = VecDeque::from(effects);
        while let Some(effect) = queue.pop_front() {
            match effect {
                Effect::Join(token, reply) => cx.answers.push((token, Answer::Join(reply))),
                Effect::Sync(token, reply) => cx.answers.push((token, Answer::Sync(reply))),
                Effect::SetTimer(timer, at) => self.timers.set(ShardTimer::Group(id.clone(), timer), at),
                Effect::CancelTimer(timer) => self.timers.cancel(&ShardTimer::Group(id.clone(), timer)),
                Effect::Write(stored, after) => {
                    let appended = records::group(id, stored).and_then(|entry| self.append(&[entry], cx));
                    let outcome = match appended {
                        Ok(appended) if appended.end_offset > self.high_watermark => {
                            self.defer(DeferredWhat::Group(id.clone(), after), cx);
                            continue;
                        }
                        Ok(_) => Ok(()),
                        Err(error) => Err(write_error(error)),
                    };
                    let settings = self.settings();
                    let Some(group) = self.groups.get_mut(id) else { continue };
                    let mut more = Vec::new();
                    group.written(after, outcome, cx.now, &settings, &mut more);
                    queue.extend(more);
                }
            }
        }
    }

    fn append(&mut self, entries: &[Entry], cx: &Cx<'_>) -> Result<Appended, ErrorCode> {
        let appended = cx.log.append(self.epoch, entries, cx.now)?;
        self.end_offset = appended.end_offset;
        self.high_watermark = self.high_watermark.max(appended.high_watermark);
        Ok(appended)
    }

    /// Parks until everything written so far is committed.
    fn defer(&mut self, what: DeferredWhat, cx: &Cx<'_>) {
        let id = self.next_deferred;
        self.next_deferred += 1;
        self.timers.set(ShardTimer::Write(id), cx.now.ticks_ms + self.config.commit_timeout_ms);
        self.deferred.insert(id, Deferred { end_offset: self.end_offset, what });
    }

    /// Answers `token` with [`Answer::Done`] once everything written so far is committed, unless it is already.
    pub(super) fn wait_committed(&mut self, token: Token, cx: &Cx<'_>) -> Wait {
        if self.end_offset <= self.high_watermark {
            return Wait::No;
        }
        self.defer(DeferredWhat::Answer(token), cx);
        Wait::Yes
    }

    fn settings(&self) -> Settings {
        Settings {
            initial_rebalance_delay_ms: i64::from(self.config.initial_rebalance_delay_ms),
            max_size: self.config.max_size,
        }
    }

    /// The id of a group as the maps hold it; a group that is not there becomes a simple one (offsets only).
    fn existing_or_simple(&mut self, group_id: &str) -> Arc<str> {
        if let Some((id, _)) = self.groups.get_key_value(group_id) {
            return id.clone();
        }
        if let Some((id, _)) = self.modern.get_key_value(group_id) {
            return id.clone();
        }
        let id: Arc<str> = group_id.into();
        self.groups.insert(id.clone(), ClassicGroup::new(Now::default()));
        id
    }

    /// An idle shard without groups has no timer at all.
    fn arm_retention(&mut self, now: Now) {
        let idle = self.groups.is_empty() && self.modern.is_empty() && self.offsets.is_empty();
        if !idle && !self.timers.is_set(&ShardTimer::Retention) {
            self.timers.set(ShardTimer::Retention, now.ticks_ms + self.config.retention_check_interval_ms);
        }
    }
}
