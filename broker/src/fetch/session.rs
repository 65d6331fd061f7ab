//! Incremental fetch sessions (KIP-227): the broker remembers what a client follows, so that a fetch names only
//! what changed and an answer only what is new.
//!
//! Invariants: a session's epoch is the one its next incremental request must carry, 1 to `i32::MAX`, wrapping
//! to 1; a session uses topic ids or topic names, never both; partitions that returned data go to the end of the
//! order, so that none starves when the answer is full.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;
use protocol::ErrorCode;
use uuid::Uuid;

use crate::replica::waiters::Wait;

/// Session id of a request that has none, or wants none.
pub(crate) const NO_SESSION: i32 = 0;
/// Epoch of a request that opens a session or reads once: `FetchMetadata.INITIAL_EPOCH`.
const INITIAL_EPOCH: i32 = 0;
/// Epoch of a request that closes its session: `FetchMetadata.FINAL_EPOCH`.
const FINAL_EPOCH: i32 = -1;
/// A session may be evicted for a new one after this idle time: `FetchSessionCache`'s constant.
const EVICT_AFTER_MS: i64 = 120_000;

/// How a request names a topic: by name up to version 12, by id after.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum TopicKey {
    Name(Arc<str>),
    Id(Uuid),
}

/// A partition as a request names it.
pub(crate) type PartitionKey = (TopicKey, i32);

/// What a request says of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PartitionRequest {
    pub(crate) key: PartitionKey,
    /// -1 when the client does not know it.
    pub(crate) current_leader_epoch: i32,
    pub(crate) fetch_offset: i64,
    /// -1 when the client does not know it.
    pub(crate) last_fetched_epoch: i32,
    pub(crate) log_start_offset: i64,
    pub(crate) max_bytes: i32,
}

struct Cached {
    request: PartitionRequest,
    order: u64,
    /// What the client was told last; `None` makes the next answer name the partition.
    told: Option<(i64, i64)>,
}

/// A client's session.
pub(crate) struct Session {
    id: i32,
    epoch: i32,
    uses_ids: bool,
    last_used_ms: i64,
    partitions: HashMap<PartitionKey, Cached>,
    order: BTreeMap<u64, PartitionKey>,
    next_order: u64,
    /// A follower's request that waits: the next one, which it sends for a partition that cannot wait, ends it.
    parked: Option<Arc<Wait>>,
    /// Partitions of all sessions.
    total: Arc<AtomicUsize>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.total.fetch_sub(self.partitions.len(), Ordering::Relaxed);
    }
}

impl Session {
    fn upsert(&mut self, request: PartitionRequest) {
        match self.partitions.get_mut(&request.key) {
            Some(cached) => {
                // In another epoch a follower begins anew, with nothing of what it was told before.
                let epochs = |of: &PartitionRequest| (of.current_leader_epoch, of.last_fetched_epoch);
                if epochs(&cached.request) != epochs(&request) {
                    cached.told = None;
                }
                cached.request = request;
            }
            None => {
                let order = self.next_order;
                self.next_order += 1;
                self.order.insert(order, request.key.clone());
                self.total.fetch_add(1, Ordering::Relaxed);
                self.partitions.insert(request.key.clone(), Cached { request, order, told: None });
            }
        }
    }

    /// Remembers the request that waits now.
    pub(crate) fn park(&mut self, wait: &Arc<Wait>) {
        self.parked = Some(wait.clone());
    }

    fn remove(&mut self, key: &PartitionKey) {
        if let Some(cached) = self.partitions.remove(key) {
            self.order.remove(&cached.order);
            self.total.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn in_order(&self) -> Vec<PartitionRequest> {
        self.order.values().filter_map(|key| self.partitions.get(key)).map(|c| c.request.clone()).collect()
    }

    /// Whether an incremental answer must name the partition, and remembers what it then says.
    ///
    /// `noteworthy`: it has records, an error, a diverging epoch or a preferred replica. `is_void`: an error, or a
    /// diverging epoch: a follower that has to truncate first does not take the high watermark.
    pub(crate) fn tell(
        &mut self,
        key: &PartitionKey,
        high_watermark: i64,
        log_start: i64,
        noteworthy: bool,
        has_records: bool,
        is_void: bool,
    ) -> bool {
        let next_order = self.next_order;
        let Some(cached) = self.partitions.get_mut(key) else { return true };
        let now = (high_watermark, log_start);
        let name = noteworthy || cached.told != Some(now);
        // The next good answer is news then.
        cached.told = if is_void { None } else { Some(now) };
        if has_records {
            self.order.remove(&cached.order);
            cached.order = next_order;
            self.order.insert(next_order, key.clone());
            self.next_order += 1;
        }
        name
    }
}

/// What a fetch request is to read, and how its answer is to be written.
pub(crate) struct FetchContext {
    /// What to read, in order.
    pub(crate) partitions: Vec<PartitionRequest>,
    /// Session id for the answer; 0 for none.
    pub(crate) session_id: i32,
    /// The session, when the answer must be remembered.
    pub(crate) session: Option<Arc<Mutex<Session>>>,
    /// Only what changed is to be named.
    pub(crate) incremental: bool,
}

/// All sessions of a node.
pub(crate) struct FetchSessions {
    slots: usize,
    /// Partitions that all sessions together may have, and have.
    max_partitions: usize,
    total: Arc<AtomicUsize>,
    /// Sessions that went for others.
    evictions: AtomicU64,
    cache: Mutex<HashMap<i32, Arc<Mutex<Session>>>>,
}

/// A fetch request's session part.
pub(crate) struct SessionRequest {
    pub(crate) id: i32,
    pub(crate) epoch: i32,
    /// Version 13 and later.
    pub(crate) uses_ids: bool,
    pub(crate) partitions: Vec<PartitionRequest>,
    pub(crate) forgotten: Vec<PartitionKey>,
}

impl FetchSessions {
    /// `slots` is `max.incremental.fetch.session.cache.slots`. Kafka does not bound the partitions in the slots: here
    /// who comes when there are too many gets no session.
    pub(crate) fn new(slots: usize, max_partitions: usize) -> Self {
        let total = Arc::new(AtomicUsize::new(0));
        Self { slots, max_partitions, total, evictions: AtomicU64::new(0), cache: Mutex::new(HashMap::new()) }
    }

    /// How many sessions there are, and how many partitions in all of them.
    pub(crate) fn size(&self) -> (usize, usize) {
        // Not locked while the cache is: a session's request takes the locks the other way round.
        let sessions: Vec<_> = self.cache.lock().values().cloned().collect();
        (sessions.len(), sessions.iter().map(|session| session.lock().partitions.len()).sum())
    }

    /// How many sessions had to go for others since the start.
    pub(crate) fn evictions(&self) -> u64 {
        self.evictions.load(Ordering::Relaxed)
    }

    /// Finds, opens or closes the session that a request speaks of.
    pub(crate) fn resolve(&self, request: SessionRequest, now_ms: i64) -> Result<FetchContext, ErrorCode> {
        if request.epoch == INITIAL_EPOCH || request.epoch == FINAL_EPOCH {
            if request.id != NO_SESSION {
                self.cache.lock().remove(&request.id);
            }
            if request.epoch == FINAL_EPOCH {
                return Ok(sessionless(request.partitions));
            }
            return Ok(self.open(request, now_ms));
        }
        if request.id == NO_SESSION {
            return Err(ErrorCode::FETCH_SESSION_ID_NOT_FOUND);
        }
        let session =
            self.cache.lock().get(&request.id).cloned().ok_or(ErrorCode::FETCH_SESSION_ID_NOT_FOUND)?;
        let mut locked = session.lock();
        if locked.epoch != request.epoch {
            return Err(ErrorCode::INVALID_FETCH_SESSION_EPOCH);
        }
        if locked.uses_ids != request.uses_ids {
            return Err(ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR);
        }
        let is_new = |partition: &&PartitionRequest| !locked.partitions.contains_key(&partition.key);
        if !self.has_room(request.partitions.len())
            && !self.has_room(request.partitions.iter().filter(is_new).count())
        {
            // The client begins anew.
            drop(locked);
            self.cache.lock().remove(&request.id);
            return Err(ErrorCode::FETCH_SESSION_ID_NOT_FOUND);
        }
        locked.last_used_ms = now_ms;
        if let Some(parked) = locked.parked.take() {
            parked.end();
        }
        for partition in request.partitions {
            locked.upsert(partition);
        }
        for key in &request.forgotten {
            locked.remove(key);
        }
        if locked.partitions.is_empty() {
            // Nothing left to remember: the session ends with this answer. Unlocked first: eviction locks sessions
            // while it holds the cache.
            drop(locked);
            self.cache.lock().remove(&request.id);
            return Ok(sessionless(Vec::new()));
        }
        locked.epoch = if locked.epoch == i32::MAX { 1 } else { locked.epoch + 1 };
        let partitions = locked.in_order();
        drop(locked);
        Ok(FetchContext { partitions, session_id: request.id, session: Some(session), incremental: true })
    }

    fn has_room(&self, partitions: usize) -> bool {
        self.total.load(Ordering::Relaxed).saturating_add(partitions) <= self.max_partitions
    }

    fn open(&self, request: SessionRequest, now_ms: i64) -> FetchContext {
        if !self.has_room(request.partitions.len()) {
            return sessionless(request.partitions);
        }
        let mut cache = self.cache.lock();
        if cache.len() >= self.slots {
            if !evict(&mut cache, request.partitions.len(), now_ms) {
                return sessionless(request.partitions);
            }
            self.evictions.fetch_add(1, Ordering::Relaxed);
        }
        let id = loop {
            let id = random_id();
            if !cache.contains_key(&id) {
                break id;
            }
        };
        let mut session = Session {
            id,
            epoch: 1,
            uses_ids: request.uses_ids,
            last_used_ms: now_ms,
            partitions: HashMap::new(),
            order: BTreeMap::new(),
            next_order: 0,
            parked: None,
            total: self.total.clone(),
        };
        for partition in &request.partitions {
            session.upsert(partition.clone());
        }
        let session_id = session.id;
        let session = Arc::new(Mutex::new(session));
        cache.insert(id, session.clone());
        FetchContext {
            partitions: request.partitions,
            session_id,
            session: Some(session),
            incremental: false,
        }
    }
}

fn sessionless(partitions: Vec<PartitionRequest>) -> FetchContext {
    FetchContext { partitions, session_id: NO_SESSION, session: None, incremental: false }
}

/// Makes room for a session of `size` partitions: the longest idle one beyond the limit goes, or a smaller one.
fn evict(cache: &mut HashMap<i32, Arc<Mutex<Session>>>, size: usize, now_ms: i64) -> bool {
    let oldest = cache.iter().map(|(id, s)| (s.lock().last_used_ms, *id)).min();
    if let Some((used_ms, id)) = oldest
        && now_ms - used_ms > EVICT_AFTER_MS
    {
        cache.remove(&id);
        return true;
    }
    let smallest = cache.iter().map(|(id, s)| (s.lock().partitions.len(), *id)).min();
    match smallest {
        Some((len, id)) if len < size => {
            cache.remove(&id);
            true
        }
        _ => false,
    }
}

/// A positive id that a client cannot guess.
fn random_id() -> i32 {
    let random = getrandom::u32().expect("the system has a random source");
    (random & 0x7fff_ffff).max(1) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(index: i32) -> PartitionRequest {
        PartitionRequest {
            key: (TopicKey::Id(Uuid::from_u128(7)), index),
            current_leader_epoch: -1,
            fetch_offset: 0,
            last_fetched_epoch: -1,
            log_start_offset: -1,
            max_bytes: 1024,
        }
    }

    fn request(id: i32, epoch: i32, partitions: Vec<PartitionRequest>) -> SessionRequest {
        SessionRequest { id, epoch, uses_ids: true, partitions, forgotten: vec![] }
    }

    #[test]
    fn epochs_must_follow_each_other() {
        let sessions = FetchSessions::new(10, 100);
        let opened = sessions.resolve(request(0, 0, vec![partition(0)]), 0).ok().unwrap();
        let id = opened.session_id;
        assert!(id > 0 && !opened.incremental);
        let next = sessions.resolve(request(id, 1, vec![partition(1)]), 0).ok().unwrap();
        assert!(next.incremental);
        assert_eq!(next.partitions.len(), 2);
        assert_eq!(
            sessions.resolve(request(id, 1, vec![]), 0).err(),
            Some(ErrorCode::INVALID_FETCH_SESSION_EPOCH)
        );
        assert_eq!(
            sessions.resolve(request(id + 1, 1, vec![]), 0).err(),
            Some(ErrorCode::FETCH_SESSION_ID_NOT_FOUND)
        );
        assert_eq!(
            sessions.resolve(request(0, 5, vec![]), 0).err(),
            Some(ErrorCode::FETCH_SESSION_ID_NOT_FOUND)
        );
        let closed = sessions.resolve(request(id, -1, vec![]), 0).ok().unwrap();
        assert_eq!(closed.session_id, 0);
        assert_eq!(
            sessions.resolve(request(id, 2, vec![]), 0).err(),
            Some(ErrorCode::FETCH_SESSION_ID_NOT_FOUND)
        );
    }

    #[test]
    fn partitions_with_records_go_to_the_end_and_only_news_is_told() {
        let sessions = FetchSessions::new(10, 100);
        let opened = sessions.resolve(request(0, 0, vec![partition(0), partition(1)]), 0).ok().unwrap();
        let session = opened.session.unwrap();
        assert!(session.lock().tell(&partition(0).key, 5, 0, true, true, false));
        assert!(session.lock().tell(&partition(1).key, 5, 0, false, false, false));
        let next = sessions.resolve(request(opened.session_id, 1, vec![]), 0).ok().unwrap();
        let order: Vec<_> = next.partitions.iter().map(|p| p.key.1).collect();
        assert_eq!(order, [1, 0]);
        assert!(!session.lock().tell(&partition(1).key, 5, 0, false, false, false));
        assert!(session.lock().tell(&partition(1).key, 6, 0, false, false, false));
    }

    #[test]
    fn the_high_watermark_is_told_again_after_a_diverging_epoch_and_in_another_epoch() {
        let sessions = FetchSessions::new(10, 100);
        let opened = sessions.resolve(request(0, 0, vec![partition(0)]), 0).ok().unwrap();
        let session = opened.session.unwrap();
        let key = &partition(0).key;
        let tell = |is_void| session.lock().tell(key, 5, 0, is_void, false, is_void);
        assert!(tell(true), "a diverging epoch");
        assert!(tell(false), "what came with it was not taken");
        assert!(!tell(false));
        let moved = PartitionRequest { fetch_offset: 5, ..partition(0) };
        sessions.resolve(request(opened.session_id, 1, vec![moved.clone()]), 0).ok().unwrap();
        assert!(!tell(false));
        let later = PartitionRequest { current_leader_epoch: 3, ..moved };
        sessions.resolve(request(opened.session_id, 2, vec![later]), 0).ok().unwrap();
        assert!(tell(false));
    }

    #[test]
    fn the_next_request_ends_the_wait_of_the_one_before() {
        let sessions = FetchSessions::new(10, 100);
        let opened = sessions.resolve(request(0, 0, vec![partition(0)]), 0).ok().unwrap();
        let wait = Wait::for_bytes(1);
        opened.session.unwrap().lock().park(&wait);
        assert!(sessions.resolve(request(opened.session_id, 5, vec![]), 0).is_err());
        assert!(!wait.is_ended(), "a request out of order says nothing");
        assert!(sessions.resolve(request(opened.session_id, 1, vec![partition(1)]), 0).is_ok());
        assert!(wait.is_ended());
    }

    #[test]
    fn a_full_cache_gives_no_session() {
        let sessions = FetchSessions::new(1, 100);
        assert_ne!(sessions.resolve(request(0, 0, vec![partition(0)]), 0).ok().unwrap().session_id, 0);
        assert_eq!(sessions.resolve(request(0, 0, vec![partition(0)]), 0).ok().unwrap().session_id, 0);
        assert_ne!(sessions.resolve(request(0, 0, vec![partition(0)]), 200_000).ok().unwrap().session_id, 0);
    }

    #[test]
    fn sessions_have_a_bounded_number_of_partitions_together() {
        let sessions = FetchSessions::new(10, 3);
        let open = |n| sessions.resolve(request(0, 0, (0..n).map(partition).collect()), 0).ok().unwrap();
        assert_eq!(open(4).session_id, 0);
        let first = open(2).session_id;
        assert_eq!(open(2).session_id, 0);
        let added = sessions.resolve(request(first, 1, vec![partition(2), partition(3)]), 0);
        assert_eq!(added.err(), Some(ErrorCode::FETCH_SESSION_ID_NOT_FOUND));
        let full = open(3).session_id;
        let known = sessions.resolve(request(full, 1, vec![partition(0), partition(1)]), 0);
        assert!(known.is_ok(), "what it has already it may go on to fetch");
        drop(known);
        drop(sessions.resolve(request(full, -1, vec![]), 0));
        assert_ne!(open(3).session_id, 0, "those of the session that is gone are free again");
    }
}
