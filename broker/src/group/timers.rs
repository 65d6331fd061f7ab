//! Deadlines by key, for keys whose deadline is pushed back far more often than it is reached.
//!
//! Invariant: for every armed key the heap holds an entry at or before its deadline. Pushing a deadline back touches
//! only the map; the heap's entry is moved when it comes up. So a heartbeat costs one hash look-up, and
//! [`Timers::next_ms`] may be early but never late.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::hash::Hash;

/// A set of timers; times in milliseconds on any one clock.
#[derive(Debug)]
pub(super) struct Timers<K> {
    armed: HashMap<K, Armed>,
    heap: BinaryHeap<Reverse<(i64, u64)>>,
    keys: HashMap<u64, K>,
    next_entry: u64,
}

#[derive(Clone, Copy, Debug)]
struct Armed {
    deadline_ms: i64,
    entry: u64,
    entry_ms: i64,
}

impl<K: Clone + Eq + Hash> Timers<K> {
    pub(super) fn new() -> Self {
        Self { armed: HashMap::new(), heap: BinaryHeap::new(), keys: HashMap::new(), next_entry: 0 }
    }

    /// Arms `key`, replacing an earlier deadline of it.
    pub(super) fn set(&mut self, key: K, deadline_ms: i64) {
        if let Some(armed) = self.armed.get_mut(&key) {
            armed.deadline_ms = deadline_ms;
            if armed.entry_ms <= deadline_ms {
                return;
            }
            let stale = armed.entry;
            self.keys.remove(&stale);
        }
        self.push(key, deadline_ms);
    }

    /// Disarms `key`.
    pub(super) fn cancel(&mut self, key: &K) {
        if let Some(armed) = self.armed.remove(key) {
            self.keys.remove(&armed.entry);
            // Without this a group that rebalances for ever without a timeout would grow the heap for ever.
            if self.heap.len() > 64 && self.heap.len() > 4 * self.keys.len() {
                let keys = &self.keys;
                self.heap.retain(|Reverse((_, entry))| keys.contains_key(entry));
            }
        }
    }

    /// Whether `key` is armed.
    pub(super) fn is_set(&self, key: &K) -> bool {
        self.armed.contains_key(key)
    }

    /// A time before which nothing is due; `None` if nothing is armed.
    pub(super) fn next_ms(&mut self) -> Option<i64> {
        while let Some(Reverse((at, entry))) = self.heap.peek() {
            if self.keys.contains_key(entry) {
                return Some(*at);
            }
            self.heap.pop();
        }
        None
    }

    /// Disarms and returns one key whose deadline is at or before `now_ms`.
    pub(super) fn pop_due(&mut self, now_ms: i64) -> Option<K> {
        while self.next_ms().is_some_and(|at| at <= now_ms) {
            let Reverse((_, entry)) = self.heap.pop()?;
            let key = self.keys.remove(&entry)?;
            let deadline_ms = self.armed.get(&key)?.deadline_ms;
            if deadline_ms <= now_ms {
                self.armed.remove(&key);
                return Some(key);
            }
            self.push(key, deadline_ms);
        }
        None
    }

    fn push(&mut self, key: K, deadline_ms: i64) {
        let entry = self.next_entry;
        self.next_entry += 1;
        self.heap.push(Reverse((deadline_ms, entry)));
        self.keys.insert(entry, key.clone());
        self.armed.insert(key, Armed { deadline_ms, entry, entry_ms: deadline_ms });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn pushing_back_keeps_one_entry() {
        let mut timers = Timers::new();
        for at in 10..1_000 {
            timers.set("a", at);
        }
        assert_eq!(timers.heap.len(), 1);
        assert_eq!(timers.next_ms(), Some(10));
        assert_eq!(timers.pop_due(998), None);
        assert_eq!(timers.next_ms(), Some(999));
        assert_eq!(timers.pop_due(999), Some("a"));
        assert_eq!(timers.next_ms(), None);
    }

    proptest! {
        #[test]
        fn same_as_a_plain_map(steps in prop::collection::vec((0u8..4, 0u8..6, 0i64..50), 0..300)) {
            let mut timers = Timers::new();
            let mut plain: BTreeMap<u8, i64> = BTreeMap::new();
            let mut now = 0;
            for (action, key, delay) in steps {
                match action {
                    0 | 1 => {
                        timers.set(key, now + delay);
                        plain.insert(key, now + delay);
                    }
                    2 => {
                        timers.cancel(&key);
                        plain.remove(&key);
                    }
                    _ => now += delay,
                }
                if let Some(next) = timers.next_ms() {
                    prop_assert!(plain.values().min().is_some_and(|at| next <= *at));
                } else {
                    prop_assert!(plain.is_empty());
                }
                let mut due = Vec::new();
                while let Some(key) = timers.pop_due(now) {
                    due.push(key);
                }
                due.sort_unstable();
                let expected: Vec<u8> = plain.iter().filter(|(_, at)| **at <= now).map(|(key, _)| *key).collect();
                plain.retain(|_, at| *at > now);
                prop_assert_eq!(due, expected);
            }
        }
    }
}
