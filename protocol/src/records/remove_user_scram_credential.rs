//! RemoveUserScramCredentialRecord (key 22).

message! {
    /// A user's SCRAM credential was removed.
    pub struct RemoveUserScramCredentialRecord(0..=0, flexible 0..) {
        /// The user.
        name: String = String::new();
        /// 1 SCRAM-SHA-256, 2 SCRAM-SHA-512.
        mechanism: i8 = 0;
    }
}
