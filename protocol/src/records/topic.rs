//! TopicRecord (key 2).

use uuid::Uuid;

message! {
    /// A topic came to be. Its partitions follow.
    pub struct TopicRecord(0..=0, flexible 0..) {
        /// The topic's name.
        name: String = String::new();
        /// The topic's id, never used twice.
        topic_id: Uuid = Uuid::nil();
    }
}
