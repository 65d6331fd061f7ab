//! Names of Kafka's files and folders.

use std::fmt;
use std::sync::Arc;

use uuid::Uuid;

/// Highest log end, and base offset of a segment: one more can still be counted.
pub(crate) const MAX_END_OFFSET: i64 = i64::MAX - 1;
/// Longest name of a folder.
const MAX_NAME: usize = 255;

/// A topic's name with a partition number.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    /// Topic name.
    pub topic: Arc<str>,
    /// Partition number, not negative.
    pub partition: i32,
}

impl TopicPartition {
    /// Both parts together.
    pub fn new(topic: &str, partition: i32) -> Self {
        TopicPartition { topic: topic.into(), partition }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// What a folder below a log directory is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PartitionDir {
    /// `<topic>-<partition>`: a replica.
    Current(TopicPartition),
    /// `<topic>-<partition>.<id>-delete`: removed soon.
    Deleted,
    /// `<topic>-<partition>.<id>-stray`: not assigned to this broker.
    Stray(TopicPartition),
    /// `<topic>-<partition>.<id>-future`: being moved between log directories.
    Future(TopicPartition),
}

impl PartitionDir {
    /// Reads a folder's name; `None` if it is not one of Kafka's.
    pub fn parse(name: &str) -> Option<PartitionDir> {
        let marked = |suffix: &str| {
            let rest = name.strip_suffix(suffix)?;
            let (partition, id) = rest.rsplit_once('.')?;
            (id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit())).then_some(partition)
        };
        if marked("-delete").is_some() {
            return Some(PartitionDir::Deleted);
        }
        if let Some(partition) = marked("-stray") {
            return parse_topic_partition(partition).map(PartitionDir::Stray);
        }
        if let Some(partition) = marked("-future") {
            return parse_topic_partition(partition).map(PartitionDir::Future);
        }
        parse_topic_partition(name).map(PartitionDir::Current)
    }
}

/// Splits at the last dash, as topic names may have dashes.
fn parse_topic_partition(name: &str) -> Option<TopicPartition> {
    let (topic, partition) = name.rsplit_once('-')?;
    let plain = !partition.is_empty() && partition.bytes().all(|b| b.is_ascii_digit());
    (plain && !topic.is_empty()).then(|| Some(TopicPartition::new(topic, partition.parse().ok()?)))?
}

/// The folder's new name when a replica is deleted (`delete`), stray (`stray`) or being moved (`future`).
/// The topic is cut where the name would be too long for a folder, as Kafka does.
pub fn marked_dir_name(partition: &TopicPartition, id: Uuid, mark: &str) -> String {
    let tail = format!("-{}.{}-{mark}", partition.partition, id.simple());
    let mut end = partition.topic.len().min(MAX_NAME.saturating_sub(tail.len()));
    while !partition.topic.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{tail}", &partition.topic[..end])
}

/// Kafka's files within the folder of a replica whose names start with an offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileKind {
    /// `.log`
    Log,
    /// `.index`
    Index,
    /// `.timeindex`
    TimeIndex,
    /// `.txnindex`
    TxnIndex,
    /// `.snapshot`, producer state.
    Snapshot,
}

impl FileKind {
    /// The files of a segment, without the producer snapshot at its base.
    pub const SEGMENT: [FileKind; 4] =
        [FileKind::Log, FileKind::Index, FileKind::TimeIndex, FileKind::TxnIndex];

    /// The suffix with its dot.
    pub fn suffix(self) -> &'static str {
        match self {
            FileKind::Log => ".log",
            FileKind::Index => ".index",
            FileKind::TimeIndex => ".timeindex",
            FileKind::TxnIndex => ".txnindex",
            FileKind::Snapshot => ".snapshot",
        }
    }

    /// The name of the file of this kind for `offset`: twenty digits and the suffix.
    pub fn name(self, offset: i64) -> String {
        format!("{offset:020}{}", self.suffix())
    }

    /// Kind and offset of a name; `None` if it is something else.
    pub fn parse(name: &str) -> Option<(FileKind, i64)> {
        let dot = name.find('.')?;
        let kind =
            [FileKind::Log, FileKind::Index, FileKind::TimeIndex, FileKind::TxnIndex, FileKind::Snapshot]
                .into_iter()
                .find(|kind| kind.suffix() == &name[dot..])?;
        let digits = &name[..dot];
        let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        let offset = digits.parse().ok().filter(|offset| plain && *offset <= MAX_END_OFFSET)?;
        Some((kind, offset))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folder_names_are_kafkas() {
        let orders = TopicPartition::new("my-orders", 12);
        assert_eq!(PartitionDir::parse("my-orders-12"), Some(PartitionDir::Current(orders.clone())));
        let deleted = marked_dir_name(&orders, Uuid::from_u128(0x0b1c_788f), "delete");
        assert_eq!(deleted, "my-orders-12.0000000000000000000000000b1c788f-delete");
        assert_eq!(PartitionDir::parse(&deleted), Some(PartitionDir::Deleted));
        let future = marked_dir_name(&orders, Uuid::nil(), "future");
        assert_eq!(PartitionDir::parse(&future), Some(PartitionDir::Future(orders.clone())));
        for bad in ["orders", "orders-", "-1", "orders--", "orders-x", "orders-99999999999"] {
            assert_eq!(PartitionDir::parse(bad), None, "{bad}");
        }
        let long = TopicPartition::new(&"t".repeat(249), 3);
        assert_eq!(marked_dir_name(&long, Uuid::nil(), "stray").len(), 255);
    }

    #[test]
    fn file_names_are_twenty_digits() {
        assert_eq!(FileKind::TimeIndex.name(34), "00000000000000000034.timeindex");
        assert_eq!(FileKind::parse("00000000000000000034.timeindex"), Some((FileKind::TimeIndex, 34)));
        for other in [
            "leader-epoch-checkpoint",
            "0.log.deleted",
            "x.log",
            "9223372036854775807.log",
            "9223372036854775808.log",
            "00000000000000000100-0000000001.checkpoint",
        ] {
            assert_eq!(FileKind::parse(other), None, "{other}");
        }
    }
}
