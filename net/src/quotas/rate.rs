//! How fast connections come, measured as Kafka's `Rate` does: over eleven samples of a second each.
//!
//! The rate is spread over at least ten seconds, so that a broker that was quiet takes ten seconds' worth at once.

/// Samples that are kept; `quota.window.num`.
const SAMPLES: usize = 11;
/// Length of a sample in milliseconds; `quota.window.size.seconds`.
const SAMPLE_MS: u64 = 1000;
/// Nobody waits longer than this for one connection, in milliseconds: the length of a sample.
const MAX_THROTTLE_MS: u64 = SAMPLE_MS;

#[derive(Clone, Copy, Debug, Default)]
struct Sample {
    start_ms: u64,
    last_ms: u64,
    count: i64,
}

/// Counts connections and says how long the next one has to wait. Times are milliseconds of any steady clock.
#[derive(Debug)]
pub(super) struct Rate {
    samples: [Sample; SAMPLES],
    /// Samples in use, and the newest of them.
    len: usize,
    current: usize,
}

impl Rate {
    pub(super) fn new() -> Self {
        Self { samples: [Sample::default(); SAMPLES], len: 0, current: 0 }
    }

    /// Counts one connection; gives the milliseconds that it has to wait so that the rate stays within `limit`
    /// connections per second (`QuotaUtils.boundedThrottleTime`).
    pub(super) fn record(&mut self, now_ms: u64, limit: u32) -> u64 {
        self.sample(now_ms).count += 1;
        self.sample(now_ms).last_ms = now_ms;
        let oldest_ms = now_ms.saturating_sub(SAMPLES as u64 * SAMPLE_MS);
        let live = self.samples[..self.len].iter().filter(|s| s.last_ms > oldest_ms || s.last_ms == now_ms);
        let (count, start_ms) =
            live.fold((0, now_ms), |(count, start), s| (count + s.count, s.start_ms.min(start)));
        let window_ms = window_ms(now_ms - start_ms.min(now_ms));
        let limit = f64::from(limit.max(1));
        let rate = count as f64 * 1000.0 / window_ms as f64;
        if rate <= limit {
            return 0;
        }
        (((rate - limit) / limit * window_ms as f64).round() as u64).min(MAX_THROTTLE_MS)
    }

    /// The sample of this moment; the oldest one starts over when the newest is full.
    fn sample(&mut self, now_ms: u64) -> &mut Sample {
        let full = self.len > 0 && now_ms.saturating_sub(self.samples[self.current].start_ms) >= SAMPLE_MS;
        if self.len == 0 || full {
            self.current = if self.len == 0 { 0 } else { (self.current + 1) % SAMPLES };
            self.len = self.len.max(self.current + 1);
            self.samples[self.current] = Sample { start_ms: now_ms, last_ms: now_ms, count: 0 };
        }
        &mut self.samples[self.current]
    }
}

/// The time that the samples stand for: what has passed, but at least all samples but one.
fn window_ms(elapsed_ms: u64) -> u64 {
    let full = elapsed_ms / SAMPLE_MS;
    elapsed_ms + (SAMPLES as u64 - 1).saturating_sub(full) * SAMPLE_MS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_seconds_worth_come_at_once_and_then_one_at_a_time() {
        let mut rate = Rate::new();
        for _ in 0..100 {
            assert_eq!(rate.record(5_000, 10), 0);
        }
        assert_eq!(rate.record(5_000, 10), 100);
        assert_eq!(rate.record(5_000, 10), 200);
    }

    #[test]
    fn an_even_stream_below_the_limit_never_waits() {
        let mut rate = Rate::new();
        for at in 0..2_000u64 {
            assert_eq!(rate.record(at * 120, 10), 0, "connection {at}");
        }
    }

    #[test]
    fn a_storm_waits_at_most_a_second_and_is_forgotten() {
        let mut rate = Rate::new();
        let worst = (0..10_000).map(|_| rate.record(1_000, 10)).max();
        assert_eq!(worst, Some(1_000));
        assert_eq!(rate.record(60_000, 10), 0);
    }
}
