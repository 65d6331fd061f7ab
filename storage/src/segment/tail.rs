//! Where the last batches of a segment begin, so that a read near the end needs no search.

/// Batches remembered.
const SIZE: usize = 32;

/// A ring of the last batches, newest at `next - 1`.
#[derive(Debug, Default)]
pub(super) struct Tail {
    /// Base offset, last offset and position; allocated by the first append.
    ring: Vec<(i64, i64, u64)>,
    next: usize,
}

impl Tail {
    pub(super) fn push(&mut self, base_offset: i64, last_offset: i64, position: u64) {
        let entry = (base_offset, last_offset, position);
        if self.ring.len() < SIZE {
            if self.ring.is_empty() {
                self.ring.reserve_exact(SIZE);
            }
            self.ring.push(entry);
            self.next = self.ring.len() % SIZE;
        } else {
            self.ring[self.next] = entry;
            self.next = (self.next + 1) % SIZE;
        }
    }

    pub(super) fn clear(&mut self) {
        self.ring.clear();
        self.next = 0;
    }

    /// Position, base offset and end (`None`: the end of the segment) of the first batch whose last offset is at least
    /// `offset`; `None` if that batch may be older than the ring, or is not there.
    pub(super) fn find(&self, offset: i64) -> Option<(u64, i64, Option<u64>)> {
        let mut found = None;
        let mut end = None;
        for back in 1..=self.ring.len() {
            let at = (self.next + self.ring.len() - back) % self.ring.len();
            let (base_offset, last_offset, position) = self.ring[at];
            if last_offset < offset {
                return found;
            }
            found = Some((position, base_offset, end));
            if base_offset <= offset {
                return found;
            }
            end = Some(position);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_only_what_it_is_sure_of() {
        let mut tail = Tail::default();
        assert_eq!(tail.find(0), None);
        for i in 0..100_i64 {
            // Batches of two offsets with a gap of one after each.
            tail.push(i * 3, i * 3 + 1, i as u64 * 70);
        }
        assert_eq!(tail.find(299), None, "above the last batch");
        assert_eq!(tail.find(298), Some((99 * 70, 297, None)));
        assert_eq!(tail.find(296), Some((99 * 70, 297, None)), "in a gap");
        assert_eq!(tail.find(68 * 3), Some((68 * 70, 204, Some(69 * 70))), "the oldest");
        assert_eq!(tail.find(68 * 3 - 1), None, "below the oldest");
        tail.clear();
        assert_eq!(tail.find(298), None);
    }
}
