//! Throttles of replication: how many bytes per second replicas that are being moved may take (KIP-73, KIP-113).
//!
//! A topic names the replicas that are throttled, the broker's configuration the rate. A replica in the ISR is never
//! held up. Nobody is cut short: whoever is over the rate is sent nothing until the rate has come down.
//!
//! Pure: the time is an argument. Source: Kafka's `ReplicationQuotaManager`, `SimpleRate`.

use std::collections::VecDeque;

use parking_lot::Mutex;

use crate::config::BrokerSettings;

/// The three throttles of a broker.
pub(crate) struct Throttles {
    /// What this broker sends to throttled followers.
    pub(crate) leader: Throttle,
    /// What throttled replicas of this broker fetch.
    pub(crate) follower: Throttle,
    /// What is copied from one log directory to another.
    pub(crate) log_dirs: Throttle,
}

impl Throttles {
    pub(crate) fn new(settings: &BrokerSettings) -> Self {
        let throttle = |num: i32, seconds: i32| Throttle::new(num, i64::from(seconds) * 1000);
        let replication = || {
            throttle(settings.replication_quota_window_num, settings.replication_quota_window_size_seconds)
        };
        Self {
            leader: replication(),
            follower: replication(),
            log_dirs: throttle(
                settings.alter_log_dirs_replication_quota_window_num,
                settings.alter_log_dirs_replication_quota_window_size_seconds,
            ),
        }
    }
}

/// Bytes of the last seconds.
pub(crate) struct Throttle {
    samples_max: usize,
    sample_ms: i64,
    samples: Mutex<VecDeque<Sample>>,
}

struct Sample {
    began_ms: i64,
    bytes: u64,
}

impl Throttle {
    fn new(samples_max: i32, sample_ms: i64) -> Self {
        let samples_max = usize::try_from(samples_max).unwrap_or(1).max(1);
        Self { samples_max, sample_ms: sample_ms.max(1), samples: Mutex::default() }
    }

    /// Counts bytes that went to throttled replicas.
    pub(crate) fn record(&self, bytes: usize, now_ms: i64) {
        let mut samples = self.samples.lock();
        self.forget_old(&mut samples, now_ms);
        match samples.back_mut() {
            Some(sample) if now_ms - sample.began_ms < self.sample_ms => sample.bytes += bytes as u64,
            _ => {
                if samples.len() == self.samples_max {
                    samples.pop_front();
                }
                samples.push_back(Sample { began_ms: now_ms, bytes: bytes as u64 });
            }
        }
    }

    /// Whether more than `bytes_per_second` went of late.
    pub(crate) fn is_exceeded(&self, bytes_per_second: i64, now_ms: i64) -> bool {
        if bytes_per_second == i64::MAX {
            return false;
        }
        let mut samples = self.samples.lock();
        self.forget_old(&mut samples, now_ms);
        let Some(oldest) = samples.front() else { return false };
        let elapsed_ms = (now_ms - oldest.began_ms).max(self.sample_ms);
        let bytes: u64 = samples.iter().map(|sample| sample.bytes).sum();
        u128::from(bytes) * 1000
            > bytes_per_second.max(0).unsigned_abs() as u128 * elapsed_ms.unsigned_abs() as u128
    }

    fn forget_old(&self, samples: &mut VecDeque<Sample>, now_ms: i64) {
        let window_ms = self.sample_ms * self.samples_max as i64;
        // A clock that was set back must not keep a sample for ever.
        let is_old = |sample: &Sample| now_ms - sample.began_ms >= window_ms || sample.began_ms > now_ms;
        while samples.front().is_some_and(is_old) {
            samples.pop_front();
        }
    }
}

/// The replicas of a topic that are throttled (`leader.replication.throttled.replicas` and its sister).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum ThrottledReplicas {
    /// None.
    #[default]
    None,
    /// `*`
    All,
    /// Partition and broker of each.
    Some(Vec<(i32, i32)>),
}

impl ThrottledReplicas {
    /// The value of the key.
    pub(crate) fn parse(items: &[String]) -> Self {
        if items.iter().any(|item| item == "*") {
            return Self::All;
        }
        let replica = |item: &String| {
            let (partition, broker) = item.split_once(':')?;
            Some((partition.parse().ok()?, broker.parse().ok()?))
        };
        match items.iter().filter_map(replica).collect::<Vec<_>>() {
            replicas if replicas.is_empty() => Self::None,
            replicas => Self::Some(replicas),
        }
    }

    /// Whether this broker throttles its replica of the partition.
    pub(crate) fn has(&self, partition: i32, broker: i32) -> bool {
        match self {
            Self::None => false,
            Self::All => true,
            Self::Some(replicas) => replicas.contains(&(partition, broker)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_last_seconds() {
        let throttle = Throttle::new(3, 1000);
        assert!(!throttle.is_exceeded(0, 5000), "nothing went");
        throttle.record(1500, 5000);
        assert!(throttle.is_exceeded(1000, 5000) && !throttle.is_exceeded(1500, 5000));
        assert!(!throttle.is_exceeded(i64::MAX, 5000));
        assert!(throttle.is_exceeded(1000, 6499) && !throttle.is_exceeded(1000, 6500), "1500 bytes in 1.5 s");
        throttle.record(3000, 6500);
        assert!(throttle.is_exceeded(1500, 7999), "4500 bytes in less than 3 s");
        assert!(
            throttle.is_exceeded(1999, 8000) && !throttle.is_exceeded(2000, 8000),
            "the first is too old"
        );
        assert!(throttle.is_exceeded(1000, 9499) && !throttle.is_exceeded(0, 9500), "both are");
    }

    #[test]
    fn a_clock_that_is_set_back_holds_nobody_up() {
        let throttle = Throttle::new(11, 1000);
        throttle.record(1 << 30, 1_000_000);
        assert!(!throttle.is_exceeded(1, 500_000));
    }

    #[test]
    fn replicas_are_named_one_by_one_or_all() {
        let parse = |items: &[&str]| {
            ThrottledReplicas::parse(&items.iter().map(|i| (*i).to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(parse(&[]), ThrottledReplicas::None);
        assert!(parse(&["*"]).has(7, 1));
        let some = parse(&["0:1", "2:3"]);
        assert!(some.has(0, 1) && some.has(2, 3) && !some.has(0, 3) && !some.has(1, 1));
    }
}
