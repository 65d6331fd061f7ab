//! Requests by API: how many in which version, how long they took, how many wait (`RequestMetrics`).
//!
//! One shard of counters for each worker thread, so that workers do not fight for a cache line; a reader adds the
//! shards up. Threads beyond the number of shards share them.

use std::cell::Cell;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use protocol::versions;

use crate::api::SERVED;

/// Upper bounds of the buckets of request times, in ms; one more holds what is longer.
pub const BUCKETS_MS: [f64; 17] = [
    0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1_000.0, 2_500.0, 5_000.0,
    10_000.0,
];
/// The same in ns.
const BUCKETS_NS: [u64; BUCKETS_MS.len()] = bucket_ns();
/// Versions that are told apart; no API has as many.
const VERSIONS: usize = 24;
/// API keys from here on are not served.
const KEYS: usize = 128;
/// More workers than this share shards.
const SHARDS_MAX: usize = 16;

const fn bucket_ns() -> [u64; BUCKETS_MS.len()] {
    let mut ns = [0; BUCKETS_MS.len()];
    let mut at = 0;
    while at < ns.len() {
        ns[at] = (BUCKETS_MS[at] * 1_000_000.0) as u64;
        at += 1;
    }
    ns
}

/// One API in one shard.
#[derive(Default)]
struct ApiCounters {
    versions: [AtomicU64; VERSIONS],
    buckets: [AtomicU64; BUCKETS_NS.len() + 1],
    /// ns of work.
    local_ns: AtomicU64,
    /// ns of waiting for something: records, other members, the controller.
    remote_ns: AtomicU64,
    /// Answers that were sent, and the ns that it took.
    sent: AtomicU64,
    sent_ns: AtomicU64,
    succeeded: AtomicU64,
    /// Began to wait minus ended; may be negative in one shard.
    waiting: AtomicI64,
}

#[repr(align(128))]
struct Shard(Vec<ApiCounters>);

/// Requests of a broker.
pub(super) struct Requests {
    shards: Vec<Shard>,
    /// Place of an API in a shard, by its key; [`NOT_SERVED`] for the others.
    places: [u8; KEYS],
}

const NOT_SERVED: u8 = u8::MAX;

/// What was counted of one API.
#[derive(Clone, Debug, PartialEq)]
pub struct ApiSnapshot {
    /// Key of the API.
    pub key: i16,
    /// Its name, such as `Produce`.
    pub name: &'static str,
    /// (version, requests), versions that were used only.
    pub versions: Vec<(i16, u64)>,
    /// Requests by time from the handling to the answer, by [`BUCKETS_MS`]; not cumulative, the last is the rest.
    pub times: [u64; BUCKETS_MS.len() + 1],
    /// Time of work of all of them.
    pub local: Duration,
    /// Time of waiting of all of them.
    pub remote: Duration,
    /// Answers that were sent.
    pub sent: u64,
    /// Time of their sending, until the socket had taken the last byte; those sent together count the same time each.
    pub sending: Duration,
    /// Places for an error code in answers that held NONE.
    pub succeeded: u64,
    /// Requests that wait now.
    pub waiting: u64,
}

thread_local! {
    static SHARD: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// Which shard is this thread's, of as many as may be.
fn shard_of_thread() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    SHARD.with(|shard| {
        if shard.get() == usize::MAX {
            shard.set(NEXT.fetch_add(1, Ordering::Relaxed));
        }
        shard.get()
    })
}

impl Requests {
    /// Without shards, hence without memory, nothing is counted.
    pub(super) fn new(is_watched: bool) -> Self {
        let workers = std::thread::available_parallelism().map_or(2, usize::from);
        // Workers that block are replaced by others: some more shards than workers.
        let shards = if is_watched { (workers * 2).next_power_of_two().min(SHARDS_MAX) } else { 0 };
        let shard = |_| Shard(SERVED.iter().map(|_| ApiCounters::default()).collect());
        let mut places = [NOT_SERVED; KEYS];
        for (place, key) in SERVED.iter().enumerate() {
            if let (Ok(key), Ok(place)) = (usize::try_from(*key), u8::try_from(place)) {
                places[key] = place;
            }
        }
        Self { shards: (0..shards).map(shard).collect(), places }
    }

    /// The counters of an API in this thread's shard.
    fn of(&self, api_key: i16) -> Option<&ApiCounters> {
        let place = *self.places.get(usize::try_from(api_key).ok()?)?;
        // The number of shards is a power of two.
        let shard = self.shards.get(shard_of_thread() & self.shards.len().wrapping_sub(1))?;
        shard.0.get(usize::from(place))
    }

    /// A request was answered, or needs no answer.
    pub(super) fn finished(&self, api_key: i16, version: i16, local: Duration, remote: Duration) {
        let Some(counters) = self.of(api_key) else { return };
        let ns = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let (local, remote) = (ns(local), ns(remote));
        // ApiVersions may come in any version.
        let version = usize::try_from(version).ok().filter(|v| *v < VERSIONS).unwrap_or(0);
        counters.versions[version].fetch_add(1, Ordering::Relaxed);
        let bucket = BUCKETS_NS.partition_point(|bound| *bound < local.saturating_add(remote));
        counters.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        counters.local_ns.fetch_add(local, Ordering::Relaxed);
        if remote > 0 {
            counters.remote_ns.fetch_add(remote, Ordering::Relaxed);
        }
    }

    /// An answer was sent.
    pub(super) fn sent(&self, api_key: i16, took: Duration) {
        if let Some(counters) = self.of(api_key) {
            counters.sent.fetch_add(1, Ordering::Relaxed);
            counters.sent_ns.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
    }

    /// An answer had no error in so many of its places for it.
    pub(super) fn succeeded(&self, api_key: i16, places: u64) {
        if let Some(counters) = self.of(api_key) {
            counters.succeeded.fetch_add(places, Ordering::Relaxed);
        }
    }

    /// A request begins (1) or ends (-1) to wait.
    pub(super) fn wait(&self, api_key: i16, change: i64) {
        if let Some(counters) = self.of(api_key) {
            counters.waiting.fetch_add(change, Ordering::Relaxed);
        }
    }

    /// How many requests of an API wait.
    pub(super) fn waiting(&self, api_key: i16) -> u64 {
        let place = usize::try_from(api_key).ok().and_then(|key| self.places.get(key));
        let place = usize::from(place.copied().unwrap_or(NOT_SERVED));
        let of = |shard: &Shard| shard.0.get(place).map_or(0, |c| c.waiting.load(Ordering::Relaxed));
        u64::try_from(self.shards.iter().map(of).sum::<i64>()).unwrap_or(0)
    }

    /// All APIs that were asked for or wait.
    pub(super) fn snapshot(&self) -> Vec<ApiSnapshot> {
        let mut all: Vec<ApiSnapshot> =
            SERVED.iter().enumerate().filter_map(|(place, key)| self.api(place, *key)).collect();
        all.sort_unstable_by_key(|api| api.key);
        all
    }

    fn api(&self, place: usize, key: i16) -> Option<ApiSnapshot> {
        let sum = |of: &dyn Fn(&ApiCounters) -> &AtomicU64| -> u64 {
            self.shards.iter().map(|shard| of(&shard.0[place]).load(Ordering::Relaxed)).sum()
        };
        let versions = (0..VERSIONS).map(|version| (version as i16, sum(&|c| &c.versions[version])));
        let versions: Vec<_> = versions.filter(|(_, count)| *count > 0).collect();
        let waiting = self.waiting(key);
        if versions.is_empty() && waiting == 0 {
            return None;
        }
        Some(ApiSnapshot {
            key,
            name: versions::api(key).map_or("Unknown", |api| api.name),
            versions,
            times: std::array::from_fn(|at| sum(&|c| &c.buckets[at])),
            local: Duration::from_nanos(sum(&|c| &c.local_ns)),
            remote: Duration::from_nanos(sum(&|c| &c.remote_ns)),
            sent: sum(&|c| &c.sent),
            sending: Duration::from_nanos(sum(&|c| &c.sent_ns)),
            succeeded: sum(&|c| &c.succeeded),
            waiting,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_add_up() {
        let requests = Requests::new(true);
        std::thread::scope(|scope| {
            for _ in 0..40 {
                scope.spawn(|| {
                    requests.finished(0, 9, Duration::from_micros(60), Duration::ZERO);
                    requests.finished(1, 12, Duration::from_micros(10), Duration::from_millis(2));
                    requests.wait(1, 1);
                });
            }
        });
        std::thread::scope(|scope| drop(scope.spawn(|| (0..15).for_each(|_| requests.wait(1, -1)))));
        requests.finished(18, 99, Duration::from_secs(100), Duration::ZERO);
        requests.finished(999, 0, Duration::ZERO, Duration::ZERO);
        requests.sent(0, Duration::from_micros(5));
        requests.sent(0, Duration::from_micros(7));
        let snapshot = requests.snapshot();
        let [produce, fetch, versions] = &snapshot[..] else { panic!("{snapshot:?}") };
        assert_eq!((produce.name, &produce.versions[..]), ("Produce", &[(9, 40)][..]));
        assert_eq!(produce.times[1], 40, "60 us is between 0.05 and 0.1 ms");
        assert_eq!((produce.local, produce.remote), (Duration::from_micros(2400), Duration::ZERO));
        assert_eq!((produce.sent, produce.sending), (2, Duration::from_micros(12)));
        assert_eq!((fetch.waiting, fetch.remote), (25, Duration::from_millis(80)));
        assert_eq!(requests.waiting(1), 25);
        assert_eq!(versions.versions, [(0, 1)]);
        assert_eq!(versions.times[BUCKETS_MS.len()], 1, "longer than the last bound");
    }
}
