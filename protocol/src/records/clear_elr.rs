//! ClearElrRecord (key 28).

message! {
    /// Eligible leader replicas are forgotten (KIP-966).
    pub struct ClearElrRecord(0..=0, flexible 0..) {
        /// The topic; empty is all topics.
        topic_name: String = String::new();
    }
}
