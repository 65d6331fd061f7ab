//! What a client quota applies to.

/// The parts of a quota entity, sorted by type: (`user` | `client-id` | `ip`, name or `None` for the default).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct QuotaEntity(Vec<(String, Option<String>)>);

impl QuotaEntity {
    /// An entity out of its parts, in any order.
    pub fn new(mut parts: Vec<(String, Option<String>)>) -> Self {
        parts.sort();
        Self(parts)
    }

    /// Type and name of each part, sorted by type.
    pub fn parts(&self) -> &[(String, Option<String>)] {
        &self.0
    }
}
