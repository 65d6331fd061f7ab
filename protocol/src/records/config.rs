//! ConfigRecord (key 4).

message! {
    /// One configuration value set, or deleted.
    pub struct ConfigRecord(0..=0, flexible 0..) {
        /// 2 topic, 4 broker, 16 client metrics, 32 group.
        resource_type: i8 = 0;
        /// The resource; empty is the default of all brokers.
        resource_name: String = String::new();
        /// The configuration key.
        name: String = String::new();
        /// The value; null deletes it.
        value: Option<String> = None;
    }
}
