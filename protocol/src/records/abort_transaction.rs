//! AbortTransactionRecord (key 25).

message! {
    /// The metadata transaction is dropped (KIP-868).
    pub struct AbortTransactionRecord(0..=0, flexible 0..) {
        /// Why.
        reason: Option<String> = None, tag 0;
    }
}
