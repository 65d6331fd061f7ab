//! ProducerIdsRecord (key 15).

message! {
    /// A block of producer ids was given to a broker.
    pub struct ProducerIdsRecord(0..=0, flexible 0..) {
        /// The broker that asked.
        broker_id: i32 = 0;
        /// Its epoch.
        broker_epoch: i64 = -1;
        /// The first id of the next block.
        next_producer_id: i64 = 0;
    }
}
