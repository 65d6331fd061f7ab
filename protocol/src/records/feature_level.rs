//! FeatureLevelRecord (key 12).

message! {
    /// A feature's level was finalized.
    pub struct FeatureLevelRecord(0..=0, flexible 0..) {
        /// The feature.
        name: String = String::new();
        /// The level; 0 removes the feature.
        feature_level: i16 = 0;
    }
}
