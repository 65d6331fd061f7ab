//! The memory that requests in flight may take, of all connections together.
//!
//! Buffers are charged when they are taken and when they grow, decoded requests while they are handled, answers
//! while their reader is slow. With nothing left, sockets are not read: TCP holds the senders back.
//!
//! - A quarter of the budget is kept for first buffers, so that large requests never keep small ones out.
//! - When everybody waits for more, one may go over the limit (an overdraft): requests end one by one instead of
//!   waiting for each other. There is one overdraft for buffers and one for decoding, which ends by itself.
//! - Answers are charged whatever is left, since they are there already, and apart from the rest: small requests are
//!   read until answers alone take the whole budget. From half of it on, readers that stall are closed, and soon.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Waker};

use parking_lot::Mutex;

/// What a request of this size decodes to may come from the part that is kept for first buffers.
const SMALL_BYTES: usize = 64 * 1024;

/// What memory is taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The first buffer of a connection that has something to read.
    FirstBuffer,
    /// A larger buffer for a request that does not fit.
    Growth,
    /// A decoded request.
    Decoding,
}

/// Bytes that all requests in flight share: `queued.max.request.bytes`.
pub struct MemoryBudget {
    limit: usize,
    used: AtomicUsize,
    /// Bytes of answers that wait.
    answers: AtomicUsize,
    /// One for [`Purpose::Growth`], one for [`Purpose::Decoding`].
    overdrafts: [AtomicBool; 2],
    /// How many wait, to be looked at without the lock.
    waiting: AtomicUsize,
    waiters: Mutex<Waiters>,
}

/// Those that wait, in a line for each purpose: what does not help the first of one may help the first of another.
#[derive(Default)]
struct Waiters {
    next: u64,
    lines: [BTreeMap<u64, Waker>; 3],
}

impl Waiters {
    fn len(&self) -> usize {
        self.lines.iter().map(BTreeMap::len).sum()
    }
}

impl std::fmt::Debug for MemoryBudget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryBudget").field("limit", &self.limit).field("used", &self.used()).finish()
    }
}

impl MemoryBudget {
    /// A budget of `limit` bytes.
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            limit,
            used: AtomicUsize::new(0),
            answers: AtomicUsize::new(0),
            overdrafts: [AtomicBool::new(false), AtomicBool::new(false)],
            waiting: AtomicUsize::new(0),
            waiters: Mutex::default(),
        })
    }

    /// The limit in bytes.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Bytes in use; above the limit with an overdraft or with answers that nobody takes.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed) + self.answers.load(Ordering::Relaxed)
    }

    /// Whether large requests have to wait.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.used() >= self.limit / 4 * 3
    }

    /// Whether answers that nobody takes are in the way.
    pub(crate) fn is_clogged(&self) -> bool {
        self.answers.load(Ordering::Relaxed) >= self.limit / 2
    }

    /// Takes bytes if there are so many.
    pub fn try_charge(self: &Arc<Self>, bytes: usize, purpose: Purpose) -> Option<Charge> {
        let mut charge = self.empty();
        charge.try_grow(bytes, purpose).then_some(charge)
    }

    /// Nothing yet.
    pub(crate) fn empty(self: &Arc<Self>) -> Charge {
        Charge { budget: self.clone(), bytes: 0, overdraft: None, is_answer: false }
    }

    /// Takes bytes of an answer that is there already.
    pub(crate) fn charge_answer(self: &Arc<Self>, bytes: usize) -> Charge {
        self.answers.fetch_add(bytes, Ordering::SeqCst);
        Charge { budget: self.clone(), bytes, overdraft: None, is_answer: true }
    }

    fn try_take(&self, bytes: usize, purpose: Purpose) -> bool {
        let answers = self.answers.load(Ordering::SeqCst);
        let is_small =
            purpose == Purpose::FirstBuffer || purpose == Purpose::Decoding && bytes <= SMALL_BYTES;
        let limit = match is_small {
            true if answers <= self.limit => self.limit,
            true => 0,
            false => (self.limit / 4 * 3).saturating_sub(answers),
        };
        let take = |used: usize| used.checked_add(bytes).filter(|total| *total <= limit || bytes == 0);
        self.used.fetch_update(Ordering::SeqCst, Ordering::Relaxed, take).is_ok()
    }

    fn release(&self, bytes: usize, is_answer: bool) {
        let counter = if is_answer { &self.answers } else { &self.used };
        counter.fetch_sub(bytes, Ordering::SeqCst);
        if self.waiting.load(Ordering::SeqCst) > 0 {
            self.wake_some(self.used());
        }
    }

    /// Lets those that wait look again, because something else than memory that they may wait for is free now.
    pub fn wake(&self) {
        self.release(0, false);
    }

    /// Wakes as many of each line as may find something, those that wait longest first.
    #[cold]
    fn wake_some(&self, used: usize) {
        let mut waiters = self.waiters.lock();
        // One of each line at least: it may take the overdraft.
        let count = 1 + self.limit.saturating_sub(used) / SMALL_BYTES;
        for line in &mut waiters.lines {
            for _ in 0..count {
                let Some((_, waker)) = line.pop_first() else { break };
                waker.wake();
            }
        }
        self.waiting.store(waiters.len(), Ordering::SeqCst);
    }
}

/// Bytes taken from a budget; given back on drop.
pub struct Charge {
    budget: Arc<MemoryBudget>,
    bytes: usize,
    overdraft: Option<usize>,
    is_answer: bool,
}

impl Charge {
    /// Takes more if there is so much.
    pub(crate) fn try_grow(&mut self, bytes: usize, purpose: Purpose) -> bool {
        if !self.budget.try_take(bytes, purpose) {
            let which = match purpose {
                Purpose::FirstBuffer => return false,
                Purpose::Growth => 0,
                Purpose::Decoding => 1,
            };
            if self.overdraft != Some(which) {
                if self.overdraft.is_some() || self.budget.overdrafts[which].swap(true, Ordering::SeqCst) {
                    return false;
                }
                self.overdraft = Some(which);
            }
            self.budget.used.fetch_add(bytes, Ordering::SeqCst);
        }
        self.bytes += bytes;
        true
    }

    /// Makes it this many bytes, more or fewer, whatever is left. An overdraft ends when there are fewer.
    pub(crate) fn set(&mut self, bytes: usize) {
        if bytes > self.bytes {
            self.budget.used.fetch_add(bytes - self.bytes, Ordering::SeqCst);
        } else if bytes < self.bytes || self.overdraft.is_some() {
            if let Some(which) = self.overdraft.take() {
                self.budget.overdrafts[which].store(false, Ordering::SeqCst);
            }
            self.budget.release(self.bytes - bytes, self.is_answer);
        }
        self.bytes = bytes;
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.set(0);
    }
}

/// A place in the line of those that wait for memory; left on drop.
pub(crate) struct MemoryWait {
    budget: Arc<MemoryBudget>,
    /// Line and place, kept until it leaves.
    place: Option<(usize, u64)>,
}

impl MemoryWait {
    pub(crate) fn new(budget: &Arc<MemoryBudget>) -> Self {
        Self { budget: budget.clone(), place: None }
    }

    /// Stands in line to be woken when memory is given back.
    ///
    /// True if it was not in line: it is new or was woken, and must look once more before it sleeps.
    pub(crate) fn stand(&mut self, purpose: Purpose, cx: &Context<'_>) -> bool {
        let line = purpose as usize;
        if self.place.is_some_and(|(other, _)| other != line) {
            self.leave();
        }
        let mut waiters = self.budget.waiters.lock();
        let (_, ticket) = *self.place.get_or_insert_with(|| {
            waiters.next += 1;
            (line, waiters.next)
        });
        let is_new = waiters.lines[line].insert(ticket, cx.waker().clone()).is_none();
        self.budget.waiting.store(waiters.len(), Ordering::SeqCst);
        is_new
    }

    /// Leaves the line, if it stands there.
    pub(crate) fn leave(&mut self) {
        let Some((line, ticket)) = self.place.take() else { return };
        let mut waiters = self.budget.waiters.lock();
        let line = &mut waiters.lines[line];
        if line.remove(&ticket).is_none()
            // It was woken: what woke it may be enough for the next one, too.
            && let Some((_, waker)) = line.pop_first()
        {
            waker.wake();
        }
        self.budget.waiting.store(waiters.len(), Ordering::SeqCst);
    }
}

impl Drop for MemoryWait {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_is_kept_for_first_buffers() {
        let budget = MemoryBudget::new(1000);
        let large = budget.try_charge(750, Purpose::Growth).unwrap();
        let small = budget.try_charge(250, Purpose::FirstBuffer).unwrap();
        assert!(budget.try_charge(1, Purpose::FirstBuffer).is_none());
        drop(large);
        assert_eq!(budget.used(), 250);
        drop(small);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn answers_keep_small_requests_out_only_when_they_take_all() {
        let budget = MemoryBudget::new(1000);
        let answer = budget.charge_answer(900);
        assert!(budget.is_clogged() && budget.is_exhausted());
        assert!(budget.try_charge(900, Purpose::FirstBuffer).is_some());
        let more = budget.charge_answer(200);
        assert!(budget.try_charge(1, Purpose::FirstBuffer).is_none());
        drop((answer, more));
        assert!(budget.try_charge(750, Purpose::Growth).is_some());
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn one_at_a_time_goes_over_the_limit() {
        let budget = MemoryBudget::new(1000);
        let full = budget.try_charge(1000, Purpose::FirstBuffer).unwrap();
        let mut first = budget.try_charge(400, Purpose::Growth).unwrap();
        assert!(first.try_grow(400, Purpose::Growth), "who has the overdraft keeps it");
        assert!(budget.try_charge(1, Purpose::Growth).is_none());
        let decoding = budget.try_charge(100, Purpose::Decoding).unwrap();
        assert!(budget.try_charge(1, Purpose::Decoding).is_none());
        assert_eq!(budget.used(), 1900);
        drop((first, decoding));
        assert!(budget.try_charge(1, Purpose::Growth).is_some());
        drop(full);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn who_waits_is_counted_until_it_leaves() {
        let budget = MemoryBudget::new(1000);
        let cx = Context::from_waker(Waker::noop());
        let mut one = MemoryWait::new(&budget);
        let mut other = MemoryWait::new(&budget);
        assert!(one.stand(Purpose::Growth, &cx));
        assert!(!one.stand(Purpose::Growth, &cx));
        assert!(other.stand(Purpose::FirstBuffer, &cx));
        assert_eq!(budget.waiting.load(Ordering::SeqCst), 2);
        drop(one);
        assert_eq!(budget.waiting.load(Ordering::SeqCst), 1);
        drop(other);
        assert_eq!(budget.waiting.load(Ordering::SeqCst), 0);
    }
}
