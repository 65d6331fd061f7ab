//! DelegationTokenRecord (key 10).

message! {
    /// A delegation token was made or renewed.
    pub struct DelegationTokenRecord(0..=0, flexible 0..) {
        /// The principal that the token stands for, `Type:name`.
        owner: String = String::new();
        /// The principal that asked for it.
        requester: String = String::new();
        /// The principals that may renew it.
        renewers: Vec<String> = Vec::new();
        /// When it was made, in ms.
        issue_timestamp: i64 = 0;
        /// Until when it can be renewed, in ms.
        max_timestamp: i64 = 0;
        /// When it expires, in ms.
        expiration_timestamp: i64 = 0;
        /// Its id.
        token_id: String = String::new();
    }
}
