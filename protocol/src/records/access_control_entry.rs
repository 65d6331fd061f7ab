//! AccessControlEntryRecord (key 18).

use uuid::Uuid;

message! {
    /// An ACL was made.
    pub struct AccessControlEntryRecord(0..=0, flexible 0..) {
        /// The entry's id.
        id: Uuid = Uuid::nil();
        /// 2 topic, 3 group, 4 cluster, 5 transactional id, 6 delegation token, 7 user.
        resource_type: i8 = 0;
        /// The resource.
        resource_name: String = String::new();
        /// 3 literal, 4 prefixed.
        pattern_type: i8 = 0;
        /// Whom it concerns, `Type:name`.
        principal: String = String::new();
        /// From where, `*` for anywhere.
        host: String = String::new();
        /// 2 all, 3 read, 4 write, 5 create, 6 delete, 7 alter, 8 describe, and so on.
        operation: i8 = 0;
        /// 2 deny, 3 allow.
        permission_type: i8 = 0;
    }
}
