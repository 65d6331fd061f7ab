//! A bound on how often a request names the same thing, where each time costs a whole answer.

use std::collections::HashSet;
use std::hash::Hash;

/// Repeats that are answered like any other, as Kafka does.
const ALLOWED: usize = 100;

/// What a request has named so far.
#[derive(Debug)]
pub struct Repeats<K> {
    seen: HashSet<K>,
    left: usize,
}

impl<K: Hash + Eq> Default for Repeats<K> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Hash + Eq> Repeats<K> {
    /// Nothing was named yet.
    pub fn new() -> Self {
        Self { seen: HashSet::new(), left: ALLOWED }
    }

    /// Whether `key` is to be answered: it is new, or one of few repeats.
    pub fn allow(&mut self, key: K) -> bool {
        if self.seen.insert(key) {
            return true;
        }
        let allowed = self.left > 0;
        self.left = self.left.saturating_sub(1);
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_new_is_always_allowed() {
        let mut repeats = Repeats::new();
        assert!(repeats.allow(0));
        assert_eq!((0..1000).filter(|_| repeats.allow(0)).count(), ALLOWED);
        assert!(repeats.allow(1));
    }
}
