//! The clock of the controller: steady, and near the time of day at start.

use std::sync::OnceLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970 by a clock that never jumps: set once by the time of day, then counted on.
pub(crate) fn steady_ms() -> i64 {
    static START: OnceLock<(Instant, i64)> = OnceLock::new();
    let (start, start_ms) = START.get_or_init(|| (Instant::now(), wall_ms()));
    start_ms + i64::try_from(start.elapsed().as_millis()).unwrap_or(i64::MAX - start_ms)
}

/// Milliseconds since 1970 by the time of day.
pub(crate) fn wall_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
