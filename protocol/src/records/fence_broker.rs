//! FenceBrokerRecord (key 7).

message! {
    /// A broker was fenced. Written below metadata.version 3.3-IV2 only.
    pub struct FenceBrokerRecord(0..=0, flexible 0..) {
        /// The broker's node id.
        id: i32 = 0;
        /// The broker's epoch.
        epoch: i64 = 0;
    }
}
