//! Which log to clean, and how much of it.
//!
//! Source: Kafka's `LogCleanerManager`, `LogToClean`.

/// What there is to clean in a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cleanable {
    /// Below it the log was cleaned before.
    pub first_dirty_offset: i64,
    /// From here on it is left alone: the active segment, what is not stable yet, what is too young. The base offset
    /// of a segment.
    pub first_uncleanable_offset: i64,
    /// Bytes of the segments that begin below the first dirty offset.
    pub clean_bytes: u64,
    /// Bytes of the segments between both.
    pub cleanable_bytes: u64,
    /// By how much the oldest dirty record has passed `max.compaction.lag.ms`; 0 if it has not.
    pub overdue_ms: i64,
    /// `min.cleanable.dirty.ratio` in thousandths.
    pub min_dirty_permille: u32,
}

impl Cleanable {
    /// Share of the log that is dirty, 0 to 1.
    pub fn dirty_ratio(&self) -> f64 {
        match self.clean_bytes.saturating_add(self.cleanable_bytes) {
            0 => 0.0,
            total => self.cleanable_bytes as f64 / total as f64,
        }
    }

    /// Whether it should be cleaned now.
    pub fn is_due(&self) -> bool {
        let overdue = self.overdue_ms > 0 && self.cleanable_bytes > 0;
        overdue || self.dirty_ratio() > f64::from(self.min_dirty_permille) / 1000.0
    }
}

/// Of the logs that are due, the one with the highest share of dirty bytes.
pub fn dirtiest<T>(logs: impl IntoIterator<Item = (T, Cleanable)>) -> Option<(T, Cleanable)> {
    let due = logs.into_iter().filter(|(_, cleanable)| cleanable.is_due());
    due.max_by(|(_, a), (_, b)| a.dirty_ratio().total_cmp(&b.dirty_ratio()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cleanable(clean_bytes: u64, cleanable_bytes: u64, overdue_ms: i64) -> Cleanable {
        Cleanable {
            first_dirty_offset: 0,
            first_uncleanable_offset: 10,
            clean_bytes,
            cleanable_bytes,
            overdue_ms,
            min_dirty_permille: 500,
        }
    }

    #[test]
    fn the_dirtiest_log_above_its_ratio_or_one_that_is_overdue() {
        assert!(!cleanable(0, 0, 0).is_due());
        assert!(!cleanable(0, 0, 9).is_due(), "nothing to clean");
        assert!(!cleanable(50, 50, 0).is_due(), "not above the ratio");
        assert!(cleanable(49, 51, 0).is_due());
        assert!(cleanable(99, 1, 1).is_due());
        let logs = [("a", cleanable(40, 60, 0)), ("b", cleanable(10, 90, 0)), ("c", cleanable(99, 1, 1))];
        assert_eq!(dirtiest(logs).map(|(name, _)| name), Some("b"));
        assert_eq!(dirtiest([("a", cleanable(60, 40, 0))]), None);
    }
}
