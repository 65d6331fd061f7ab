//! NoOpRecord (key 20).

message! {
    /// Nothing: it only moves the end of the log, so that the active controller is seen to be alive.
    pub struct NoOpRecord(0..=0, flexible 0..) {}
}
