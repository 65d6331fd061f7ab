//! The wall clock of the broker, in the milliseconds that Kafka's records carry.

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    #[cfg(feature = "simulation")]
    if let Some(now_ms) = crate::simulation::simulated_now_ms() {
        return now_ms;
    }
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
