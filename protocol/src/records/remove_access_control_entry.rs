//! RemoveAccessControlEntryRecord (key 19).

use uuid::Uuid;

message! {
    /// An ACL was removed.
    pub struct RemoveAccessControlEntryRecord(0..=0, flexible 0..) {
        /// The entry's id.
        id: Uuid = Uuid::nil();
    }
}
