//! BrokerRegistrationChangeRecord (key 17).

use uuid::Uuid;

message! {
    /// What changed in a broker's registration; what is left out stays.
    pub struct BrokerRegistrationChangeRecord(0..=2, flexible 0..) {
        /// The broker's node id.
        broker_id: i32 = 0;
        /// Its epoch.
        broker_epoch: i64 = 0;
        /// 1 fence, -1 unfence, 0 no change.
        fenced: i8 = 0, tag 0;
        /// 1 enter, 0 no change.
        in_controlled_shutdown: i8 = 0, in 1.., tag 1;
        /// The online log directories; empty is no change.
        log_dirs: Vec<Uuid> = Vec::new(), in 2.., tag 2;
    }
}
