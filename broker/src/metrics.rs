//! What a broker counts: requests by API, connections by listener, bytes and messages by partition.
//!
//! Everything here only counts; names, rates and text are made by whoever reads ([`crate::Probe`]). Requests are
//! watched only if someone may look, by a scrape or in the request log: without that a request pays one branch.
//! Watched, it pays two looks at the clock and relaxed additions in the worker's own shard.

pub(crate) mod codes;
mod requests;
mod traffic;
pub(crate) mod watch;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

pub use self::requests::{ApiSnapshot, BUCKETS_MS};
pub(crate) use self::traffic::Traffic;
pub use self::traffic::{Flow, FlowCounts};

/// The counters of one broker.
pub(crate) struct Metrics {
    /// Requests are counted, timed, and logged if the request log is on.
    is_watched: bool,
    requests: requests::Requests,
    /// How often an API answered an error, by key and code. Errors are rare.
    errors: Mutex<BTreeMap<(i16, i16), u64>>,
    connections: Mutex<BTreeMap<Arc<str>, Arc<Connections>>>,
}

/// Connections of one listener since the start.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    opened: AtomicU64,
    closed: AtomicU64,
}

/// One open connection; counts as closed when dropped.
#[derive(Debug)]
pub(crate) struct OpenConnection(Arc<Connections>);

/// Connections of one listener at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionCounts {
    /// Name of the listener.
    pub listener: Arc<str>,
    /// Accepted since the start.
    pub opened: u64,
    /// Of these, ended.
    pub closed: u64,
}

impl Metrics {
    /// Counters at zero; `is_scraped` if someone may read them. The request log alone has requests watched too.
    pub(crate) fn new(is_scraped: bool) -> Self {
        let is_watched = is_scraped || watch::is_logged();
        Self {
            is_watched,
            requests: requests::Requests::new(is_watched),
            errors: Mutex::default(),
            connections: Mutex::default(),
        }
    }

    /// Whether requests are watched.
    pub(crate) fn is_watched(&self) -> bool {
        self.is_watched
    }

    /// Answers to these APIs were sent together, which took so long.
    pub(crate) fn sent(&self, api_keys: &[i16], took: Duration) {
        api_keys.iter().for_each(|api_key| self.requests.sent(*api_key, took));
    }

    /// An answer of `api_key` held these codes; NONE counts too, as in Kafka.
    fn count_codes(&self, api_key: i16, tally: &codes::Tally) {
        if tally.none > 0 {
            self.requests.succeeded(api_key, tally.none);
        }
        if !tally.errors.is_empty() {
            let mut errors = self.errors.lock();
            for (code, places) in &tally.errors {
                *errors.entry((api_key, *code)).or_default() += places;
            }
        }
    }

    /// Requests of one API that wait for something, such as fetches for records.
    pub(crate) fn waiting(&self, api_key: i16) -> u64 {
        self.requests.waiting(api_key)
    }

    /// Every API that was asked for.
    pub(crate) fn apis(&self) -> Vec<ApiSnapshot> {
        self.requests.snapshot()
    }

    /// (API key, error code, count).
    pub(crate) fn errors(&self) -> Vec<(i16, i16, u64)> {
        self.errors.lock().iter().map(|((key, code), count)| (*key, *code, *count)).collect()
    }

    /// A connection was opened.
    pub(crate) fn connected(&self, listener: &Arc<str>) -> OpenConnection {
        let mut all = self.connections.lock();
        let connections = all.entry(listener.clone()).or_default().clone();
        connections.opened.fetch_add(1, Ordering::Relaxed);
        OpenConnection(connections)
    }

    /// Connections by listener; listeners that nobody came to are absent.
    pub(crate) fn connections(&self) -> Vec<ConnectionCounts> {
        let all = self.connections.lock();
        let counts = all.iter().map(|(listener, connections)| {
            // In this order more can never have been closed than opened.
            let closed = connections.closed.load(Ordering::Acquire);
            let opened = connections.opened.load(Ordering::Acquire);
            ConnectionCounts { listener: listener.clone(), opened, closed }
        });
        counts.collect()
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.closed.fetch_add(1, Ordering::Release);
    }
}
