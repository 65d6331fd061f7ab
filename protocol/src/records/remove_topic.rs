//! RemoveTopicRecord (key 9).

use uuid::Uuid;

message! {
    /// A topic and all its partitions are gone.
    pub struct RemoveTopicRecord(0..=0, flexible 0..) {
        /// The topic.
        topic_id: Uuid = Uuid::nil();
    }
}
