//! Requests that wait for a partition: fetches of followers for an append, fetches of consumers for the high
//! watermark, produces for an offset to be committed, deletions for the log start of all replicas.
//!
//! The purgatory of Kafka (`DelayedOperationPurgatory`) without its timer: a waiting request is a future that
//! registers here, sleeps until its own deadline, and looks again when an append or the high watermark wakes it.
//! A partition that nobody waits for pays one atomic load per append.

use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// An offset that no high watermark reaches.
const NEVER: i64 = i64::MAX;

/// One waiting request; may be registered with many partitions.
#[derive(Default)]
pub(crate) struct Wait {
    notify: Notify,
    /// Bytes that must still arrive before the request is worth another look.
    missing: AtomicI64,
    /// The answer is to go out now, whatever there is.
    ended: AtomicBool,
    after: Mutex<After>,
}

/// Who is woken when a request has been, see [`wake_in_turn`].
#[derive(Default)]
struct After {
    /// The request does not wait any more, and wakes nobody.
    has_gone: bool,
    waits: Vec<Arc<Wait>>,
}

/// Wakes requests one after the other: each by the one before it, when that was woken or has gone.
///
/// Two that are woken at once have the runtime wake another thread for the second, which costs more than the request.
pub(crate) fn wake_in_turn(mut waits: Vec<Arc<Wait>>) {
    while let Some(wait) = waits.pop() {
        let mut after = wait.after.lock();
        if after.has_gone {
            continue;
        }
        for other in waits {
            put(&mut after.waits, &other);
        }
        drop(after);
        wait.notify.notify_one();
        return;
    }
}

/// Puts `wait` into the list unless it is there.
fn put(waits: &mut Vec<Arc<Wait>>, wait: &Arc<Wait>) {
    if !waits.iter().any(|known| Arc::ptr_eq(known, wait)) {
        waits.push(wait.clone());
    }
}

impl Wait {
    /// A fetch that lacks `missing` bytes; 0 wakes at any change.
    pub(crate) fn for_bytes(missing: i64) -> Arc<Self> {
        Arc::new(Self { missing: AtomicI64::new(missing), ..Self::default() })
    }

    /// A request that waits for offsets.
    pub(crate) fn for_offsets() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// From now on the fetch lacks `missing` bytes.
    pub(crate) fn expect(&self, missing: i64) {
        self.missing.store(missing, Ordering::Relaxed);
    }

    /// Waits to be woken. A wake-up before the call counts.
    pub(crate) async fn woken(&self) {
        self.notify.notified().await;
        wake_in_turn(mem::take(&mut self.after.lock().waits));
    }

    /// The request waits no longer.
    fn go(&self) {
        let mut after = self.after.lock();
        after.has_gone = true;
        let waits = mem::take(&mut after.waits);
        drop(after);
        wake_in_turn(waits);
    }

    /// Has the request answered with what there is.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Release);
        self.notify.notify_one();
    }

    /// Whether the request is to be answered with what there is.
    pub(crate) fn is_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    fn arrived(&self, bytes: i64) {
        if self.missing.fetch_sub(bytes.min(i64::from(i32::MAX)), Ordering::Relaxed) <= bytes {
            self.notify.notify_one();
        }
    }
}

/// The requests that wait for one partition.
#[derive(Default)]
pub(crate) struct Waiters {
    count: AtomicUsize,
    fetches: Mutex<Vec<Arc<Wait>>>,
    /// Fetches of followers, which read to the log end.
    follower_fetches: Mutex<Vec<Arc<Wait>>>,
    /// By the high watermark that satisfies the request, and a number that tells requests apart.
    commits: Mutex<BTreeMap<(i64, u64), Arc<Wait>>>,
    next_commit: AtomicU64,
}

impl Waiters {
    /// Registers a fetch until the guard is dropped.
    pub(crate) fn add_fetch(self: &Arc<Self>, wait: &Arc<Wait>, of_follower: bool) -> FetchRegistration {
        let registration = FetchRegistration { waiters: self.clone(), wait: wait.clone(), of_follower };
        registration.list().lock().push(wait.clone());
        self.count.fetch_add(1, Ordering::SeqCst);
        registration
    }

    /// Registers a request that is satisfied once the high watermark reaches `offset`, until the guard is dropped.
    pub(crate) fn add_commit(self: &Arc<Self>, offset: i64, wait: &Arc<Wait>) -> CommitRegistration {
        let key = (offset, self.next_commit.fetch_add(1, Ordering::Relaxed));
        self.commits.lock().insert(key, wait.clone());
        self.count.fetch_add(1, Ordering::SeqCst);
        CommitRegistration { waiters: self.clone(), key }
    }

    /// The log grew: followers can read on.
    pub(crate) fn appended(&self) {
        let mut waits = Vec::new();
        self.list_follower_fetches(&mut waits);
        wake_in_turn(waits);
    }

    /// Puts the fetches of followers that wait into a list, each once.
    pub(crate) fn list_follower_fetches(&self, waits: &mut Vec<Arc<Wait>>) {
        if self.count.load(Ordering::SeqCst) > 0 {
            self.follower_fetches.lock().iter().for_each(|wait| put(waits, wait));
        }
    }

    /// Consumers can read `bytes` more; `i64::MAX` for who knows how many.
    pub(crate) fn readable(&self, bytes: i64) {
        if self.count.load(Ordering::SeqCst) > 0 {
            for wait in self.fetches.lock().iter() {
                wait.arrived(bytes);
            }
        }
    }

    /// The high watermark reached `offset`.
    pub(crate) fn committed(&self, offset: i64) {
        if self.count.load(Ordering::SeqCst) > 0 {
            for (_, wait) in self.commits.lock().range(..=(offset, u64::MAX)) {
                wait.notify.notify_one();
            }
        }
    }

    /// Registers a request that waits until all replicas have removed what is to be removed.
    pub(crate) fn add_deletion(self: &Arc<Self>, wait: &Arc<Wait>) -> CommitRegistration {
        self.add_commit(NEVER, wait)
    }

    /// A replica has removed records.
    pub(crate) fn log_start_moved(&self) {
        if self.count.load(Ordering::SeqCst) > 0 {
            for (_, wait) in self.commits.lock().range((NEVER, 0)..) {
                wait.notify.notify_one();
            }
        }
    }

    /// Followers are to hear news that are no records.
    pub(crate) fn tell_followers(&self) {
        self.follower_fetches.lock().iter().for_each(|wait| wait.end());
    }

    /// Leadership, epoch or existence changed: everyone must look again.
    pub(crate) fn wake_all(&self) {
        for wait in self.fetches.lock().iter().chain(self.follower_fetches.lock().iter()) {
            wait.notify.notify_one();
        }
        for wait in self.commits.lock().values() {
            wait.notify.notify_one();
        }
    }
}

/// The place of a request that waits for an offset.
pub(crate) struct CommitRegistration {
    waiters: Arc<Waiters>,
    key: (i64, u64),
}

impl Drop for CommitRegistration {
    fn drop(&mut self) {
        self.waiters.commits.lock().remove(&self.key);
        self.waiters.count.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A fetch's place in the list of one partition.
pub(crate) struct FetchRegistration {
    waiters: Arc<Waiters>,
    wait: Arc<Wait>,
    of_follower: bool,
}

impl FetchRegistration {
    fn list(&self) -> &Mutex<Vec<Arc<Wait>>> {
        if self.of_follower { &self.waiters.follower_fetches } else { &self.waiters.fetches }
    }
}

impl Drop for FetchRegistration {
    fn drop(&mut self) {
        let mut fetches = self.list().lock();
        if let Some(at) = fetches.iter().position(|w| Arc::ptr_eq(w, &self.wait)) {
            fetches.swap_remove(at);
            self.waiters.count.fetch_sub(1, Ordering::SeqCst);
        }
        drop(fetches);
        if self.of_follower {
            self.wait.go();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_woken(wait: &Wait) -> bool {
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        std::pin::pin!(wait.woken()).poll(&mut cx).is_ready()
    }
    use std::future::Future;

    #[test]
    fn a_fetch_wakes_when_its_bytes_are_there() {
        let waiters = Arc::new(Waiters::default());
        let wait = Wait::for_bytes(100);
        let registration = waiters.add_fetch(&wait, false);
        waiters.appended();
        waiters.readable(60);
        assert!(!is_woken(&wait));
        waiters.readable(40);
        assert!(is_woken(&wait));
        drop(registration);
        assert_eq!(waiters.count.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn followers_wake_one_after_the_other() {
        let waiters = Arc::new(Waiters::default());
        let waits: Vec<_> = (0..3).map(|_| Wait::for_bytes(0)).collect();
        let mut places: Vec<_> = waits.iter().map(|wait| waiters.add_fetch(wait, true)).collect();
        // Twice before anyone looks.
        waiters.appended();
        waiters.appended();
        assert_eq!([0, 1, 2].map(|i| is_woken(&waits[i])), [false, false, true]);
        assert!(is_woken(&waits[1]) && is_woken(&waits[0]));
        assert_eq!([0, 1, 2].map(|i| is_woken(&waits[i])), [false; 3]);

        // One goes without having looked; the others are told all the same.
        waiters.appended();
        drop(places.pop());
        assert!(is_woken(&waits[1]) && is_woken(&waits[0]));
        // One that has gone already is passed over.
        wake_in_turn(vec![waits[0].clone(), waits[2].clone()]);
        assert!(is_woken(&waits[0]));
    }

    #[test]
    fn commits_wake_as_a_prefix() {
        let waiters = Arc::new(Waiters::default());
        let waits: Vec<_> = (0..3).map(|_| Wait::for_offsets()).collect();
        let places: Vec<_> =
            waits.iter().enumerate().map(|(i, wait)| waiters.add_commit(10 - i as i64, wait)).collect();
        waiters.committed(9);
        let woken: Vec<_> = waits.iter().map(|w| is_woken(w)).collect();
        assert_eq!(woken, [false, true, true]);
        waiters.wake_all();
        waiters.committed(10);
        assert!(is_woken(&waits[0]));
        drop(places);
        assert_eq!(waiters.count.load(Ordering::SeqCst), 0);
        assert!(waiters.commits.lock().is_empty());
    }
}
