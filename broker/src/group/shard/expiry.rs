//! What goes by itself: offsets past their time, groups without offsets, offsets of deleted topics.

use std::collections::HashMap;
use std::sync::Arc;

use protocol::ErrorCode;

use super::super::classic::{ClassicGroup, State};
use super::super::offsets::CommittedOffset;
use super::{Cx, Shard};

impl Shard {
    /// Deletes expired offsets, and empty groups that have none left. What cannot be written now waits for the
    /// next round.
    pub(super) fn expire(&mut self, cx: &mut Cx<'_>) {
        let mut ids: Vec<Arc<str>> = self.groups.keys().chain(self.modern.keys()).cloned().collect();
        ids.sort_unstable();
        let (mut groups, mut offsets) = (0, 0);
        for id in ids {
            match self.expire_group(&id, cx) {
                Ok((removed, group_gone)) => {
                    offsets += removed;
                    groups += usize::from(group_gone);
                }
                Err(error) => {
                    tracing::warn!(group = &*id, error = error.name(), "cannot delete expired offsets");
                    return;
                }
            }
        }
        if groups + offsets > 0 {
            tracing::info!(groups, offsets, "deleted expired offsets and empty groups");
        }
    }

    fn expire_group(&mut self, id: &Arc<str>, cx: &mut Cx<'_>) -> Result<(usize, bool), ErrorCode> {
        let group = self.groups.get(id);
        let mut expired = Vec::new();
        let mut all = true;
        for (topic, partitions) in self.offsets.group(id).into_iter().flatten() {
            let in_use = group.is_some_and(|group| group.is_subscribed_to(topic));
            for (partition, offset) in partitions {
                let past = !in_use
                    && self.is_expired(group, offset, cx.now.wall_ms)
                    && !self.offsets.has_pending(id, topic, *partition);
                if past {
                    expired.push((topic.clone(), *partition));
                } else {
                    all = false;
                }
            }
        }
        let empty = group.is_some_and(|group| group.state() == State::Empty && !group.has_pending_members());
        let group_goes = all && empty && !self.offsets.has_open_transactions(id);
        self.tombstone_offsets(id, &expired, cx)?;
        if group_goes {
            self.tombstone_group(id, cx)?;
        }
        Ok((expired.len(), group_goes))
    }

    fn is_expired(&self, group: Option<&ClassicGroup>, offset: &CommittedOffset, wall_ms: i64) -> bool {
        let since_ms = match group {
            Some(group) if group.protocol_type.is_some() => match group.state() {
                State::Empty => group.state_since_ms.unwrap_or(offset.commit_ms),
                State::Stable if group.is_consumer_type() && group.knows_subscription() => offset.commit_ms,
                State::Stable | State::PreparingRebalance | State::CompletingRebalance => return false,
            },
            _ => offset.commit_ms,
        };
        match offset.expire_ms {
            Some(expire_ms) => wall_ms >= expire_ms,
            None => wall_ms.saturating_sub(since_ms) >= self.config.offsets_retention_ms,
        }
    }

    /// Deletes the offsets of a topic that no longer exists.
    pub(in crate::group) fn topic_deleted(&mut self, topic: &str, cx: &mut Cx<'_>) -> Result<(), ErrorCode> {
        let mut by_group: HashMap<Arc<str>, Vec<(Arc<str>, i32)>> = HashMap::new();
        let topic: Arc<str> = topic.into();
        for (group, partition) in self.offsets.of_topic(&topic) {
            by_group.entry(group).or_default().push((topic.clone(), partition));
        }
        for (group, partitions) in by_group {
            self.tombstone_offsets(&group, &partitions, cx)?;
        }
        Ok(())
    }
}
