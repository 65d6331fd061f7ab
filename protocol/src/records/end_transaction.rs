//! EndTransactionRecord (key 24).

message! {
    /// The metadata transaction applies (KIP-868).
    pub struct EndTransactionRecord(0..=0, flexible 0..) {}
}
