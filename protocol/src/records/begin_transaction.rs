//! BeginTransactionRecord (key 23).

message! {
    /// Records from here to the end of the transaction apply together or not at all (KIP-868).
    pub struct BeginTransactionRecord(0..=0, flexible 0..) {
        /// What the transaction is for.
        name: Option<String> = None, tag 0;
    }
}
