//! Which leader epoch began at which offset, and the file that keeps it (`leader-epoch-checkpoint`).
//!
//! Invariants: epochs and start offsets both increase from entry to entry, and none is negative. Nothing here does
//! IO: after a change that [`LeaderEpochs::assign`] reports the caller writes [`LeaderEpochs::encode`] durably, before
//! it appends under the new epoch; after a truncation it may do so later, since a truncation can be repeated.
//! Source: Kafka's `LeaderEpochFileCache`, `LeaderEpochCheckpointFile`; KIP-101, KIP-279.

use std::fmt::Write;

/// Name of the file in a partition's folder.
pub const LEADER_EPOCH_FILE: &str = "leader-epoch-checkpoint";

/// An epoch and the offset of its first record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochEntry {
    /// The leader epoch.
    pub epoch: i32,
    /// Log end offset when its leader began.
    pub start_offset: i64,
}

/// What is wrong with a checkpoint file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EpochFileError {
    /// Not the one version that there is.
    #[error("unrecognized version of the checkpoint file: {0:?}")]
    Version(String),
    /// A line that is not an epoch and an offset.
    #[error("malformed line in the checkpoint file: {0:?}")]
    Line(String),
    /// Another number of entries than announced.
    #[error("expected {expected} entries in the checkpoint file, but found {found}")]
    Count {
        /// As the second line says.
        expected: usize,
        /// Lines that follow.
        found: usize,
    },
}

/// The epochs of one log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeaderEpochs {
    entries: Vec<EpochEntry>,
}

impl LeaderEpochs {
    /// Of a log that knows no epoch.
    pub fn new() -> Self {
        LeaderEpochs::default()
    }

    /// Reads the file's content. Of entries that contradict each other the later one counts.
    pub fn parse(text: &str) -> Result<LeaderEpochs, EpochFileError> {
        let mut lines = text.lines();
        let version = lines.next().unwrap_or_default();
        if version.trim() != "0" {
            return Err(EpochFileError::Version(version.to_owned()));
        }
        let count = lines.next().unwrap_or_default();
        let expected: usize = count.trim().parse().map_err(|_| EpochFileError::Line(count.to_owned()))?;
        let mut epochs = LeaderEpochs::new();
        let mut found = 0;
        for line in lines {
            let entry = parse_line(line).ok_or_else(|| EpochFileError::Line(line.to_owned()))?;
            epochs.assign(entry.epoch, entry.start_offset);
            found += 1;
        }
        if found == expected { Ok(epochs) } else { Err(EpochFileError::Count { expected, found }) }
    }

    /// The file's content.
    pub fn encode(&self) -> String {
        let mut text = format!("0\n{}\n", self.entries.len());
        for entry in &self.entries {
            writeln!(text, "{} {}", entry.epoch, entry.start_offset).expect("a string takes any text");
        }
        text
    }

    /// Notes that `epoch` begins at `start_offset`, dropping entries that contradict it; false if nothing changed:
    /// the epoch is the latest one already, or a number is negative.
    pub fn assign(&mut self, epoch: i32, start_offset: i64) -> bool {
        let known =
            self.latest().is_some_and(|last| last.epoch == epoch && last.start_offset <= start_offset);
        if known || epoch < 0 || start_offset < 0 {
            return false;
        }
        while self.latest().is_some_and(|last| last.epoch >= epoch || last.start_offset >= start_offset) {
            self.entries.pop();
        }
        self.entries.push(EpochEntry { epoch, start_offset });
        true
    }

    /// (The greatest epoch known that is not above `epoch`, the offset where it ends); `None` if that is undefined.
    ///
    /// The latest epoch ends at `log_end_offset`. An epoch older than all is taken to end where the first one starts.
    pub fn end_offset_for(&self, epoch: i32, log_end_offset: i64) -> Option<(i32, i64)> {
        if epoch == -1 {
            return None;
        }
        if self.latest().is_some_and(|last| last.epoch == epoch) {
            return Some((epoch, log_end_offset));
        }
        let above = self.entries.partition_point(|entry| entry.epoch <= epoch);
        let end = self.entries.get(above)?.start_offset;
        let floor = above.checked_sub(1).map_or(epoch, |at| self.entries[at].epoch);
        Some((floor, end))
    }

    /// Forgets epochs that begin at or after `end_offset`; true if that changed anything.
    pub fn truncate_from_end(&mut self, end_offset: i64) -> bool {
        let before = self.entries.len();
        if end_offset >= 0 {
            self.entries.retain(|entry| entry.start_offset < end_offset);
        }
        self.entries.len() != before
    }

    /// Forgets epochs that end at or before `start_offset`; the one that reaches beyond it begins there. True if that
    /// changed anything.
    pub fn truncate_from_start(&mut self, start_offset: i64) -> bool {
        let above = self.entries.partition_point(|entry| entry.start_offset <= start_offset);
        let Some(first) = above.checked_sub(1) else {
            return false;
        };
        let changed = first > 0 || self.entries[0].start_offset != start_offset;
        self.entries.drain(..first);
        self.entries[0].start_offset = start_offset;
        changed
    }

    /// Forgets everything; true if there was something.
    pub fn clear(&mut self) -> bool {
        let changed = !self.entries.is_empty();
        self.entries.clear();
        changed
    }

    /// The latest epoch.
    pub fn latest(&self) -> Option<EpochEntry> {
        self.entries.last().copied()
    }

    /// The earliest epoch.
    pub fn earliest(&self) -> Option<EpochEntry> {
        self.entries.first().copied()
    }

    /// The epoch that wrote `offset`, or would; `None` below the first one.
    pub fn epoch_for_offset(&self, offset: i64) -> Option<i32> {
        let above = self.entries.partition_point(|entry| entry.start_offset <= offset);
        above.checked_sub(1).map(|at| self.entries[at].epoch)
    }

    /// All of them, oldest first.
    pub fn entries(&self) -> &[EpochEntry] {
        &self.entries
    }
}

fn parse_line(line: &str) -> Option<EpochEntry> {
    let mut fields = line.split_whitespace();
    let epoch = fields.next()?.parse().ok()?;
    let start_offset = fields.next()?.parse().ok()?;
    (fields.next().is_none() && epoch >= 0 && start_offset >= 0).then_some(EpochEntry { epoch, start_offset })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(entries: &[(i32, i64)]) -> LeaderEpochs {
        let entries =
            entries.iter().map(|&(epoch, start_offset)| EpochEntry { epoch, start_offset }).collect();
        LeaderEpochs { entries }
    }

    #[test]
    fn text_as_kafka_writes_it() {
        assert_eq!(LeaderEpochs::parse("0\n1\n0 0\n"), Ok(of(&[(0, 0)])));
        assert_eq!(of(&[(0, 0), (3, 17)]).encode(), "0\n2\n0 0\n3 17\n");
        assert_eq!(LeaderEpochs::new().encode(), "0\n0\n");
        assert_eq!(LeaderEpochs::parse("0\n0\n"), Ok(LeaderEpochs::new()));
        assert_eq!(LeaderEpochs::parse("0\n2\n1 5\n0 9\n"), Ok(of(&[(0, 9)])));
        for text in ["", "1\n0\n", "0\n", "0\n2\n0 0\n", "0\n1\n0\n", "0\n1\n-1 0\n"] {
            assert!(LeaderEpochs::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn assign_drops_what_contradicts() {
        let mut epochs = LeaderEpochs::new();
        assert!(epochs.assign(0, 0));
        assert!(!epochs.assign(0, 10));
        assert!(epochs.assign(2, 10));
        assert!(epochs.assign(3, 10));
        assert_eq!(epochs, of(&[(0, 0), (3, 10)]));
        assert!(epochs.assign(3, 8));
        assert_eq!(epochs, of(&[(0, 0), (3, 8)]));
        assert!(epochs.assign(1, 20));
        assert_eq!(epochs, of(&[(0, 0), (1, 20)]));
        assert!(!epochs.assign(-1, 30) && !epochs.assign(5, -1));
    }

    #[test]
    fn end_offsets() {
        let epochs = of(&[(2, 5), (4, 11), (7, 20)]);
        assert_eq!(epochs.end_offset_for(7, 30), Some((7, 30)));
        assert_eq!(epochs.end_offset_for(8, 30), None);
        assert_eq!(epochs.end_offset_for(4, 30), Some((4, 20)));
        assert_eq!(epochs.end_offset_for(5, 30), Some((4, 20)));
        assert_eq!(epochs.end_offset_for(3, 30), Some((2, 11)));
        assert_eq!(epochs.end_offset_for(1, 30), Some((1, 5)));
        assert_eq!(epochs.end_offset_for(-1, 30), None);
        assert_eq!(LeaderEpochs::new().end_offset_for(0, 30), None);
        assert_eq!([4, 5, 12, 25].map(|o| epochs.epoch_for_offset(o)), [None, Some(2), Some(4), Some(7)]);
    }

    #[test]
    fn truncation() {
        let all = of(&[(2, 5), (4, 11), (7, 20)]);
        let from_end = |offset| {
            let mut epochs = all.clone();
            epochs.truncate_from_end(offset).then_some(epochs)
        };
        assert_eq!(from_end(21), None);
        assert_eq!(from_end(20), Some(of(&[(2, 5), (4, 11)])));
        assert_eq!(from_end(0), Some(of(&[])));
        let from_start = |offset| {
            let mut epochs = all.clone();
            epochs.truncate_from_start(offset).then_some(epochs)
        };
        assert_eq!(from_start(4), None);
        assert_eq!(from_start(5), None);
        assert_eq!(from_start(6), Some(of(&[(2, 6), (4, 11), (7, 20)])));
        assert_eq!(from_start(12), Some(of(&[(4, 12), (7, 20)])));
        assert_eq!(from_start(40), Some(of(&[(7, 40)])));
    }
}
