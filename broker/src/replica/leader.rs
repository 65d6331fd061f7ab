//! What a leader knows of its followers, and what follows from it: the high watermark and the in-sync replicas.
//!
//! Pure: time, the leader's offsets and whether a broker may join the ISR are arguments. The ISR that the controller
//! committed is the partition's; here is only the change that was proposed and is not answered yet. Growing counts
//! for the high watermark at once, shrinking only when it is committed ("maximal ISR").
//!
//! Source: Kafka's `Partition` and `Replica`; KIP-497, KIP-841, KIP-903, KIP-966.

use std::collections::BTreeMap;

/// A follower that was never heard of.
const UNKNOWN_OFFSET: i64 = -1;

/// A follower as its leader sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Follower {
    /// Where it fetched last: everything below is in its log. -1 until its first fetch.
    pub(crate) log_end_offset: i64,
    /// First offset of its log. -1 until its first fetch.
    pub(crate) log_start_offset: i64,
    /// When its log was last as long as the leader's, in ms since the epoch.
    pub(crate) last_caught_up_ms: i64,
    /// The leader's log end and the time at its last fetch.
    leader_end_at_fetch: i64,
    fetched_at_ms: i64,
    /// Epoch of its registration; -1 when it did not say.
    pub(crate) broker_epoch: i64,
}

impl Follower {
    fn new(in_sync: bool, now_ms: i64) -> Self {
        Self {
            log_end_offset: UNKNOWN_OFFSET,
            log_start_offset: UNKNOWN_OFFSET,
            last_caught_up_ms: if in_sync { now_ms } else { 0 },
            leader_end_at_fetch: UNKNOWN_OFFSET,
            fetched_at_ms: 0,
            broker_epoch: -1,
        }
    }

    /// Whether it lags by no more than `lag_max_ms` (`replica.lag.time.max.ms`).
    fn is_caught_up(&self, leader_end: i64, now_ms: i64, lag_max_ms: i64) -> bool {
        self.log_end_offset == leader_end || now_ms - self.last_caught_up_ms <= lag_max_ms
    }
}

/// What a follower says in a fetch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FollowerFetch {
    /// Which replica.
    pub(crate) id: i32,
    /// Its log end.
    pub(crate) offset: i64,
    /// First offset of its log.
    pub(crate) log_start_offset: i64,
    /// Epoch of its registration, -1 when it does not say.
    pub(crate) broker_epoch: i64,
}

/// A led partition's followers in one leader epoch.
#[derive(Debug)]
pub(crate) struct Leadership {
    /// First offset of this leader's epoch.
    pub(crate) epoch_start_offset: i64,
    me: i32,
    followers: BTreeMap<i32, Follower>,
    /// An ISR that was proposed to the controller and is not answered yet.
    proposed: Option<Vec<i32>>,
}

impl Leadership {
    /// Begins an epoch: members of the ISR count as caught up now, the others have to show it.
    pub(crate) fn new(me: i32, epoch_start_offset: i64, replicas: &[i32], isr: &[i32], now_ms: i64) -> Self {
        let others = replicas.iter().filter(|id| **id != me);
        let followers = others.map(|id| (*id, Follower::new(isr.contains(id), now_ms))).collect();
        Self { epoch_start_offset, me, followers, proposed: None }
    }

    /// The partition changed without a new epoch: replicas may have come or gone, and a proposal is void.
    pub(crate) fn reassigned(&mut self, replicas: &[i32], isr: &[i32], now_ms: i64) {
        self.proposed = None;
        self.followers.retain(|id, _| replicas.contains(id));
        for id in replicas.iter().filter(|id| **id != self.me) {
            self.followers.entry(*id).or_insert_with(|| Follower::new(isr.contains(id), now_ms));
        }
    }

    /// Notes a follower's fetch. False for a replica that is not assigned, or an earlier life of its broker.
    pub(crate) fn fetched(&mut self, fetch: FollowerFetch, leader_end: i64, now_ms: i64) -> bool {
        let Some(follower) = self.followers.get_mut(&fetch.id) else { return false };
        if fetch.broker_epoch >= 0 && fetch.broker_epoch < follower.broker_epoch {
            return false;
        }
        let caught_up_ms = if fetch.offset >= leader_end {
            now_ms
        } else if fetch.offset >= follower.leader_end_at_fetch {
            follower.fetched_at_ms
        } else {
            follower.last_caught_up_ms
        };
        *follower = Follower {
            log_end_offset: fetch.offset,
            log_start_offset: fetch.log_start_offset,
            last_caught_up_ms: follower.last_caught_up_ms.max(caught_up_ms),
            leader_end_at_fetch: leader_end,
            fetched_at_ms: now_ms,
            broker_epoch: fetch.broker_epoch,
        };
        true
    }

    /// The offset below which everything is in all replicas that count: the ISR, those proposed for it, and those
    /// that are about to be.
    pub(crate) fn committed(
        &self,
        isr: &[i32],
        leader_end: i64,
        now_ms: i64,
        lag_max_ms: i64,
        may_join: impl Fn(i32, i64) -> bool,
    ) -> i64 {
        let counts = |id: i32, follower: &Follower| {
            isr.contains(&id)
                || self.proposed.as_ref().is_some_and(|proposed| proposed.contains(&id))
                || (follower.is_caught_up(leader_end, now_ms, lag_max_ms)
                    && may_join(id, follower.broker_epoch))
        };
        #[cfg(feature = "planted-bugs")]
        if planted::is(planted::Bug::MinimalIsrCommits) {
            let members = self.followers.iter().filter(|(id, _)| isr.contains(id));
            return members.map(|(_, follower)| follower.log_end_offset).fold(leader_end, i64::min);
        }
        #[cfg(feature = "planted-bugs")]
        if planted::is(planted::Bug::HighWatermarkPastIsr) {
            let members = self.followers.iter().filter(|(id, _)| isr.contains(id));
            return members.map(|(_, follower)| follower.log_end_offset).max().unwrap_or(leader_end);
        }
        let behind = self.followers.iter().filter(|(_, f)| f.log_end_offset < leader_end);
        let held = behind.filter(|(id, follower)| counts(**id, follower));
        held.map(|(_, follower)| follower.log_end_offset).fold(leader_end, i64::min)
    }

    /// Proposes an ISR with `id` in it, if that replica has earned it and nothing else is proposed.
    pub(crate) fn expand(
        &mut self,
        isr: &[i32],
        id: i32,
        high_watermark: i64,
        may_join: impl Fn(i32, i64) -> bool,
    ) -> Option<Vec<i32>> {
        let follower = self.followers.get(&id)?;
        let has_all = follower.log_end_offset >= high_watermark.max(self.epoch_start_offset);
        #[cfg(feature = "planted-bugs")]
        let has_all = has_all || planted::is(planted::Bug::EarlyIsrExpansion);
        if isr.contains(&id) || !has_all || !may_join(id, follower.broker_epoch) {
            return None;
        }
        self.propose([isr, &[id]].concat())
    }

    /// Proposes an ISR without the replicas that lag for longer than `lag_max_ms`, if there are any.
    pub(crate) fn shrink(
        &mut self,
        isr: &[i32],
        leader_end: i64,
        now_ms: i64,
        lag_max_ms: i64,
    ) -> Option<Vec<i32>> {
        let in_sync = |id: &i32| {
            let follower = self.followers.get(id);
            *id == self.me || follower.is_some_and(|f| f.is_caught_up(leader_end, now_ms, lag_max_ms))
        };
        let left: Vec<i32> = isr.iter().copied().filter(in_sync).collect();
        if left.len() == isr.len() { None } else { self.propose(left) }
    }

    /// The follower that a consumer in `rack` should read `offset` from; `None` for the leader (KIP-392): in sync, in
    /// the consumer's rack where the leader is not, with the longest log.
    pub(crate) fn preferred(
        &self,
        isr: &[i32],
        offset: i64,
        rack: &str,
        is_in_rack: impl Fn(i32, &str) -> bool,
    ) -> Option<i32> {
        if is_in_rack(self.me, rack) {
            return None;
        }
        let has = |f: &Follower| f.log_start_offset <= offset && offset <= f.log_end_offset;
        let fit =
            self.followers.iter().filter(|(id, f)| isr.contains(id) && has(f) && is_in_rack(**id, rack));
        fit.max_by_key(|(id, f)| (f.log_end_offset, f.last_caught_up_ms, **id)).map(|(id, _)| *id)
    }

    /// First offset of a follower's log as it said last; -1 until its first fetch.
    pub(crate) fn log_start_offset(&self, id: i32) -> i64 {
        self.followers.get(&id).map_or(UNKNOWN_OFFSET, |follower| follower.log_start_offset)
    }

    /// The smallest first offset of this log, which begins at `own`, and of those of followers that live (KIP-107).
    pub(crate) fn low_watermark(&self, own: i64, is_alive: impl Fn(i32) -> bool) -> i64 {
        let alive = self.followers.iter().filter(|(id, _)| is_alive(**id));
        alive.map(|(_, follower)| follower.log_start_offset).fold(own, i64::min)
    }

    fn propose(&mut self, isr: Vec<i32>) -> Option<Vec<i32>> {
        if self.proposed.is_some() {
            return None;
        }
        self.proposed = Some(isr.clone());
        Some(isr)
    }

    /// The members of the ISR that was proposed and is not answered yet.
    #[cfg(feature = "simulation")]
    pub(crate) fn proposed(&self) -> &[i32] {
        self.proposed.as_deref().unwrap_or_default()
    }

    /// The proposal was answered, or will never be.
    pub(crate) fn settle(&mut self) {
        self.proposed = None;
    }

    /// The broker epoch of a member of a proposal (KIP-903): -1 where it is not known, and for itself.
    pub(crate) fn broker_epoch(&self, id: i32) -> i64 {
        self.followers.get(&id).map_or(-1, |follower| follower.broker_epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAG: i64 = 30_000;
    const NOW: i64 = 1_000_000;
    const LATER: i64 = NOW + LAG + 1000;

    fn fetch(id: i32, offset: i64) -> FollowerFetch {
        FollowerFetch { id, offset, log_start_offset: 0, broker_epoch: 7 }
    }

    fn leadership() -> Leadership {
        Leadership::new(1, 10, &[1, 2, 3], &[1, 2], NOW)
    }

    fn committed(leadership: &Leadership, isr: &[i32], leader_end: i64, now_ms: i64) -> i64 {
        leadership.committed(isr, leader_end, now_ms, LAG, |_, _| true)
    }

    #[test]
    fn the_slowest_member_of_the_isr_holds_the_high_watermark() {
        let mut l = leadership();
        assert_eq!(committed(&l, &[1, 2], 20, NOW), -1);
        assert!(l.fetched(fetch(2, 15), 20, NOW));
        assert_eq!(committed(&l, &[1, 2], 20, NOW), 15);
        assert!(l.fetched(fetch(2, 20), 20, NOW + 1));
        assert_eq!(committed(&l, &[1, 2], 20, NOW + 1), 20);
        assert_eq!(committed(&l, &[1], 25, NOW + 1), 20, "2 left the ISR, but is caught up and will be back");
        assert_eq!(l.committed(&[1], 25, NOW + 1, LAG, |id, _| id != 2), 25, "2 is fenced");
    }

    #[test]
    fn who_is_proposed_counts_already_and_who_is_to_go_still() {
        let mut l = leadership();
        l.fetched(fetch(2, 20), 20, NOW);
        l.fetched(fetch(3, 20), 20, NOW);
        assert_eq!(l.expand(&[1, 2], 3, 20, |_, _| true), Some(vec![1, 2, 3]));
        l.fetched(fetch(2, 22), 22, NOW + 1);
        assert_eq!(l.committed(&[1, 2], 22, NOW + 1, 0, |_, _| false), 20, "3 is proposed and has 20");
        assert_eq!(l.shrink(&[1, 2], 22, LATER, LAG), None, "one proposal at a time");
        l.settle();
        assert_eq!(l.shrink(&[1, 2, 3], 22, LATER, LAG), Some(vec![1, 2]));
        assert_eq!(committed(&l, &[1, 2, 3], 22, LATER), 20, "the shrunk ISR is not committed yet");
    }

    #[test]
    fn joining_takes_the_high_watermark_and_the_start_of_the_epoch() {
        let mut l = leadership();
        l.fetched(fetch(3, 9), 20, NOW);
        assert_eq!(l.expand(&[1, 2], 3, 5, |_, _| true), None, "below the start of the epoch");
        l.fetched(fetch(3, 12), 20, NOW);
        assert_eq!(l.expand(&[1, 2], 3, 13, |_, _| true), None, "below the high watermark");
        assert_eq!(l.expand(&[1, 2], 3, 12, |_, _| false), None, "not eligible");
        assert_eq!(l.expand(&[1, 2], 3, 12, |id, epoch| id == 3 && epoch == 7), Some(vec![1, 2, 3]));
    }

    #[test]
    fn a_follower_that_keeps_up_with_a_moving_log_end_stays() {
        let mut l = leadership();
        for at in 0..100 {
            // Always one batch behind, but at what the log end was at its last fetch.
            l.fetched(fetch(2, at * 10), (at + 1) * 10, NOW + at * 1000);
        }
        assert_eq!(l.shrink(&[1, 2], 1_000, NOW + 98_000 + LAG + 1, LAG), Some(vec![1]));
        l.settle();
        assert_eq!(l.shrink(&[1, 2], 1_000, NOW + 98_000 + LAG, LAG), None);
    }

    #[test]
    fn an_earlier_life_of_a_broker_is_not_heard() {
        let mut l = leadership();
        assert!(l.fetched(fetch(2, 5), 20, NOW));
        assert!(!l.fetched(FollowerFetch { broker_epoch: 6, ..fetch(2, 20) }, 20, NOW));
        assert!(!l.fetched(fetch(9, 20), 20, NOW), "not assigned");
        assert_eq!(l.followers[&2].log_end_offset, 5);
    }

    #[test]
    fn a_consumer_reads_near_by_what_is_in_sync_there() {
        let mut l = Leadership::new(1, 0, &[1, 2, 3, 4], &[1, 2, 3, 4], NOW);
        // 1 and 4 are in rack a, 2 and 3 in rack b.
        let racks = |id: i32, rack: &str| rack == if [1, 4].contains(&id) { "a" } else { "b" };
        assert_eq!(l.preferred(&[1, 2, 3, 4], 5, "b", racks), None, "nobody has fetched");
        l.fetched(fetch(2, 20), 20, NOW);
        l.fetched(fetch(3, 10), 20, NOW);
        assert_eq!(l.preferred(&[1, 2, 3, 4], 5, "b", racks), Some(2), "the longest log");
        assert_eq!(l.preferred(&[1, 3, 4], 5, "b", racks), Some(3), "2 is not in sync");
        assert_eq!(l.preferred(&[1, 3, 4], 15, "b", racks), None, "3 does not have it");
        assert_eq!(l.preferred(&[1, 2, 3, 4], 5, "a", racks), None, "the leader is near by");
        assert_eq!(l.preferred(&[1, 2, 3, 4], 5, "c", racks), None, "nobody is there");
        l.fetched(fetch(3, 20), 20, NOW);
        assert_eq!(l.preferred(&[1, 2, 3, 4], 20, "b", racks), Some(3), "else the highest id");
        l.fetched(FollowerFetch { log_start_offset: 8, ..fetch(3, 30) }, 30, NOW);
        assert_eq!(l.preferred(&[1, 2, 3, 4], 7, "b", racks), Some(2), "3 has removed it");
    }

    #[test]
    fn a_reassignment_brings_and_takes_followers() {
        let mut l = leadership();
        l.fetched(fetch(2, 20), 20, NOW);
        l.reassigned(&[1, 2, 4], &[1, 2], NOW + 1000);
        assert_eq!(l.followers.keys().copied().collect::<Vec<_>>(), [2, 4]);
        assert_eq!(l.followers[&2].log_end_offset, 20);
    }
}
