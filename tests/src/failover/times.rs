//! Durations that were measured, and their table.

use std::time::Duration;

/// Durations of one kind.
#[derive(Clone, Debug, Default)]
pub struct Times(Vec<Duration>);

impl Times {
    /// Notes one.
    pub fn add(&mut self, time: Duration) {
        self.0.push(time);
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The longest; zero if there is none.
    pub fn max(&self) -> Duration {
        self.0.iter().max().copied().unwrap_or_default()
    }

    /// The time that this part (0 to 1) of all does not exceed: the smallest such that was measured.
    pub fn quantile(&self, part: f64) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let rank = (part * sorted.len() as f64).ceil() as usize;
        sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
    }

    /// A line of the table that [`heading`] begins.
    pub fn line(&self, name: &str) -> String {
        let ms = |time: Duration| format!("{:.0}", time.as_secs_f64() * 1e3);
        let (p50, p99, max) = (ms(self.quantile(0.5)), ms(self.quantile(0.99)), ms(self.max()));
        format!("{name:<64} {:>6} {p50:>8} {p99:>8} {max:>8}", self.count())
    }
}

impl Extend<Duration> for Times {
    fn extend<I: IntoIterator<Item = Duration>>(&mut self, times: I) {
        self.0.extend(times);
    }
}

/// The first line of a table of [`Times::line`]s.
pub fn heading() -> String {
    format!("{:<64} {:>6} {:>8} {:>8} {:>8}", "ms", "n", "p50", "p99", "max")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_times_that_were_measured() {
        let mut times = Times::default();
        assert_eq!((times.quantile(0.5), times.max()), (Duration::ZERO, Duration::ZERO));
        times.extend((1..=100).rev().map(Duration::from_millis));
        let ms = [0.5, 0.99, 1.0].map(|part| times.quantile(part).as_millis());
        assert_eq!((ms, times.max().as_millis()), ([50, 99, 100], 100));
    }
}
