//! RemoveDelegationTokenRecord (key 26).

message! {
    /// A delegation token was removed.
    pub struct RemoveDelegationTokenRecord(0..=0, flexible 0..) {
        /// Its id.
        token_id: String = String::new();
    }
}
