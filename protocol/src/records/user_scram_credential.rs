//! UserScramCredentialRecord (key 11).

use bytes::Bytes;

message! {
    /// A user's SCRAM credential was set.
    pub struct UserScramCredentialRecord(0..=0, flexible 0..) {
        /// The user.
        name: String = String::new();
        /// 1 SCRAM-SHA-256, 2 SCRAM-SHA-512.
        mechanism: i8 = 0;
        /// The salt.
        salt: Bytes = Bytes::new();
        /// The hash of the client key.
        stored_key: Bytes = Bytes::new();
        /// The server key.
        server_key: Bytes = Bytes::new();
        /// How often the password was hashed.
        iterations: i32 = 0;
    }
}
