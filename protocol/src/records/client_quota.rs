//! ClientQuotaRecord (key 14).

message! {
    /// One quota of an entity set, or removed.
    pub struct ClientQuotaRecord(0..=0, flexible 0..) {
        /// The parts that together name the entity.
        entity: Vec<QuotaEntity> = Vec::new();
        /// The quota's key.
        key: String = String::new();
        /// Its value.
        value: f64 = 0.0;
        /// Whether the quota is removed.
        remove: bool = false;
    }

    /// A part of the name of what a quota applies to.
    pub struct QuotaEntity {
        /// `user`, `client-id` or `ip`.
        entity_type: String = String::new();
        /// The name; null is the default entity.
        entity_name: Option<String> = None;
    }
}
