//! The fetch requests of a follower: what they say of each partition, and what the session lets them leave out.
//!
//! Pure. Source: Kafka's `FetchSessionHandler`, KIP-227.

use std::collections::BTreeMap;
use std::sync::Arc;

use protocol::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic, ReplicaState};
use protocol::messages::{BrokerId, FetchRequest};
use uuid::Uuid;

use super::Key;
use crate::replica::log::ReplicaLog;
use crate::replica::partition::PartitionState;

/// What a request says of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) leader_epoch: i32,
    /// The follower's log end.
    pub(crate) offset: i64,
    /// Epoch of its last batch; -1 in an empty log.
    pub(crate) last_epoch: i32,
    pub(crate) log_start: i64,
}

impl Position {
    /// Where the replica stands.
    pub(crate) fn of<L: ReplicaLog>(state: &PartitionState<L>) -> Self {
        Self {
            leader_epoch: state.leader_epoch,
            offset: state.log.log_end_offset(),
            last_epoch: state.log.latest_epoch().unwrap_or(-1),
            log_start: state.log.log_start_offset(),
        }
    }
}

/// Limits and waits of every request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    pub(super) broker_id: i32,
    pub(super) broker_epoch: i64,
    pub(super) max_wait_ms: i32,
    pub(super) min_bytes: i32,
    pub(super) max_bytes: i32,
    pub(super) partition_max_bytes: i32,
}

/// What one request says of all partitions. Its answer is about this, whatever was asked since.
pub(super) type Asked = Arc<BTreeMap<Key, Position>>;

/// The session with a leader: what it was told last.
#[derive(Debug, Default)]
pub(super) struct Session {
    id: i32,
    epoch: i32,
    told: Asked,
}

impl Session {
    /// Whether the leader knows this session, so that a further request may follow before the last is answered.
    pub(super) fn is_open(&self) -> bool {
        self.id != 0
    }

    /// The next request, for exactly these partitions, and what its answer will be about. In version 12 and below
    /// topics have names: not made here.
    pub(super) fn request(
        &mut self,
        version: i16,
        terms: &Terms,
        now: BTreeMap<Key, Position>,
    ) -> (FetchRequest, Asked) {
        let is_full = self.id == 0;
        let news = now.iter().filter(|(key, position)| is_full || self.told.get(*key) != Some(*position));
        let mut topics: BTreeMap<Uuid, Vec<FetchPartition>> = BTreeMap::new();
        for ((topic, index), position) in news {
            let partition = FetchPartition::default()
                .with_partition(*index)
                .with_current_leader_epoch(position.leader_epoch)
                .with_fetch_offset(position.offset)
                .with_last_fetched_epoch(position.last_epoch)
                .with_log_start_offset(position.log_start)
                .with_partition_max_bytes(terms.partition_max_bytes);
            topics.entry(*topic).or_default().push(partition);
        }
        let mut forgotten: BTreeMap<Uuid, Vec<i32>> = BTreeMap::new();
        if !is_full {
            for (topic, index) in self.told.keys().filter(|key| !now.contains_key(*key)) {
                forgotten.entry(*topic).or_default().push(*index);
            }
        }
        self.told = Arc::new(now);
        let topic = |(id, partitions)| FetchTopic::default().with_topic_id(id).with_partitions(partitions);
        let gone = |(id, partitions)| ForgottenTopic::default().with_topic_id(id).with_partitions(partitions);
        let mut request = FetchRequest::default()
            .with_max_wait_ms(terms.max_wait_ms)
            .with_min_bytes(terms.min_bytes)
            .with_max_bytes(terms.max_bytes)
            .with_session_id(self.id)
            .with_session_epoch(self.epoch)
            .with_topics(topics.into_iter().map(topic).collect())
            .with_forgotten_topics_data(forgotten.into_iter().map(gone).collect());
        if version >= 15 {
            request.replica_state = ReplicaState::default()
                .with_replica_id(BrokerId(terms.broker_id))
                .with_replica_epoch(terms.broker_epoch);
        } else {
            request.replica_id = BrokerId(terms.broker_id);
        }
        if !is_full {
            self.epoch = if self.epoch == i32::MAX { 1 } else { self.epoch + 1 };
        }
        (request, self.told.clone())
    }

    /// The answer to the request that opened the session named it; 0 if there is none.
    pub(super) fn opened(&mut self, id: i32) {
        if self.id == 0 && id != 0 {
            self.id = id;
            self.epoch = 1;
        }
    }

    /// The leader knows nothing of the session: begin anew.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMS: Terms = Terms {
        broker_id: 2,
        broker_epoch: 9,
        max_wait_ms: 500,
        min_bytes: 1,
        max_bytes: 1000,
        partition_max_bytes: 100,
    };

    fn at(offset: i64) -> Position {
        Position { leader_epoch: 1, offset, last_epoch: 1, log_start: 0 }
    }

    fn map(entries: &[(i32, i64)]) -> BTreeMap<Key, Position> {
        entries.iter().map(|(index, offset)| ((Uuid::from_u128(1), *index), at(*offset))).collect()
    }

    fn named(request: &FetchRequest) -> (i32, Vec<(i32, i64)>, Vec<i32>) {
        let named = request.topics.iter().flat_map(|t| &t.partitions);
        let forgotten = request.forgotten_topics_data.iter().flat_map(|t| t.partitions.clone());
        let named = named.map(|p| (p.partition, p.fetch_offset)).collect();
        (request.session_epoch, named, forgotten.collect())
    }

    #[test]
    fn a_session_names_only_what_changed() {
        let mut session = Session::default();
        let (full, _) = session.request(17, &TERMS, map(&[(0, 5), (1, 6)]));
        assert_eq!(named(&full), (0, vec![(0, 5), (1, 6)], vec![]));
        assert_eq!((full.replica_state.replica_id.0, full.replica_state.replica_epoch), (2, 9));
        session.opened(77);
        assert_eq!(named(&session.request(17, &TERMS, map(&[(0, 5), (1, 9)])).0), (1, vec![(1, 9)], vec![]));
        assert_eq!(named(&session.request(17, &TERMS, map(&[(1, 9), (2, 0)])).0), (2, vec![(2, 0)], vec![0]));
        session.reset();
        assert_eq!(named(&session.request(17, &TERMS, map(&[(1, 9)])).0), (0, vec![(1, 9)], vec![]));
    }

    #[test]
    fn without_a_session_every_request_is_whole() {
        let mut session = Session::default();
        for _ in 0..2 {
            assert_eq!(named(&session.request(17, &TERMS, map(&[(0, 5)])).0), (0, vec![(0, 5)], vec![]));
            session.opened(0);
        }
    }
    #[test]
    fn an_answer_is_about_its_own_request() {
        let mut session = Session::default();
        let (_, first) = session.request(17, &TERMS, map(&[(0, 5)]));
        session.opened(77);
        // Overtakes the first for partition 1, and again once the first was answered with records for partition 0.
        let (_, second) = session.request(17, &TERMS, map(&[(0, 5), (1, 0)]));
        let (_, third) = session.request(17, &TERMS, map(&[(0, 9), (1, 0), (2, 0)]));
        let key = (Uuid::from_u128(1), 0);
        assert_eq!([&first, &second, &third].map(|asked| asked[&key]), [at(5), at(5), at(9)]);
    }
}
