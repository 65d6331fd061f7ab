//! UnregisterBrokerRecord (key 1).

message! {
    /// A broker was removed from the cluster for good.
    pub struct UnregisterBrokerRecord(0..=0, flexible 0..) {
        /// The broker's node id.
        broker_id: i32 = 0;
        /// The epoch that it had.
        broker_epoch: i64 = 0;
    }
}
