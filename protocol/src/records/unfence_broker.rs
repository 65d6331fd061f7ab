//! UnfenceBrokerRecord (key 8).

message! {
    /// A broker was unfenced. Written below metadata.version 3.3-IV2 only.
    pub struct UnfenceBrokerRecord(0..=0, flexible 0..) {
        /// The broker's node id.
        id: i32 = 0;
        /// The broker's epoch.
        epoch: i64 = 0;
    }
}
