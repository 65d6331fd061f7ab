//! How many connections there may be, from one address and in all, and how fast new ones may come.
//!
//! Kafka's `ConnectionQuotas`: at `max.connections`, of the listener or of the broker, the accept loop holds the
//! connection that it has in hand until another one ends. The inter-broker listener is exempt from the broker's
//! number and rate (not from its own), and each connection beyond the number that it takes costs the one that was
//! idle longest on the other listeners. A connection beyond `max.connections.per.ip` is closed at once.
//!
//! Invariant: every connection is counted from its [`Admission`] until that is dropped.

mod rate;

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use rate::Rate;

/// The bounds of one listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenerQuota {
    /// `listener.name.<name>.max.connections`.
    pub connections: usize,
    /// `listener.name.<name>.max.connection.creation.rate`, per second.
    pub creation_rate: u32,
}

/// The bounds of all listeners of a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaSettings {
    /// `max.connections`.
    pub connections: usize,
    /// `max.connection.creation.rate`, per second.
    pub creation_rate: u32,
    /// `max.connections.per.ip`.
    pub per_ip: usize,
    /// `max.connections.per.ip.overrides`.
    pub per_ip_overrides: HashMap<IpAddr, usize>,
    /// The listeners by name; one that is missing has no bounds of its own.
    pub listeners: BTreeMap<String, ListenerQuota>,
    /// The listener that the broker's bounds do not hold for: the inter-broker listener, unless it is the only one.
    pub exempt: Option<String>,
}

impl Default for QuotaSettings {
    fn default() -> Self {
        Self {
            connections: usize::MAX,
            creation_rate: u32::MAX,
            per_ip: usize::MAX,
            per_ip_overrides: HashMap::new(),
            listeners: BTreeMap::new(),
            exempt: None,
        }
    }
}

/// An address that has all the connections it may have.
#[derive(Debug, thiserror::Error)]
#[error("address already has the configured maximum of {0} connections")]
pub struct TooManyConnections(pub usize);

/// Counts the connections of the listeners of one role.
pub struct ConnectionQuotas {
    state: Mutex<State>,
    /// A connection ended, or the settings changed.
    changed: Notify,
    started: Instant,
}

struct State {
    settings: QuotaSettings,
    rate: Rate,
    listeners: HashMap<Arc<str>, Counts>,
    ips: HashMap<IpAddr, usize>,
    connections: HashMap<u64, Entry>,
    next_id: u64,
}

struct Counts {
    rate: Rate,
    count: usize,
}

struct Entry {
    listener: Arc<str>,
    last_active_ms: Arc<AtomicU64>,
    task: Option<AbortHandle>,
}

/// The place of one connection; given back on drop.
pub(crate) struct Admission {
    quotas: Arc<ConnectionQuotas>,
    id: u64,
    ip: IpAddr,
    last_active_ms: Arc<AtomicU64>,
}

impl ConnectionQuotas {
    /// Nothing is counted yet.
    pub fn new(settings: QuotaSettings) -> Arc<Self> {
        let state = State {
            settings,
            rate: Rate::new(),
            listeners: HashMap::new(),
            ips: HashMap::new(),
            connections: HashMap::new(),
            next_id: 0,
        };
        Arc::new(Self { state: Mutex::new(state), changed: Notify::new(), started: Instant::now() })
    }

    /// Changes the bounds. Connections beyond a smaller `max.connections` are closed, the longest idle ones first.
    pub fn set(&self, settings: QuotaSettings) {
        let mut state = self.state.lock();
        state.settings = settings;
        state.close_excess();
        drop(state);
        self.changed.notify_waiters();
    }

    /// Connections of this moment.
    pub fn connections(&self) -> usize {
        self.state.lock().connections.len()
    }

    /// Waits until the listener may have one more connection, and counts it.
    pub(crate) async fn admit(
        self: &Arc<Self>,
        listener: &Arc<str>,
        ip: IpAddr,
    ) -> Result<Admission, TooManyConnections> {
        let ip = ip.to_canonical();
        let throttle_ms = self.state.lock().record(listener, self.now_ms());
        let until = Instant::now() + Duration::from_millis(throttle_ms);
        if throttle_ms > 0 {
            tokio::time::sleep_until(until).await;
        }
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            if let Some(admitted) = self.try_admit(listener, ip) {
                return admitted;
            }
            changed.await;
        }
    }

    /// `None` while there is no room for one more.
    fn try_admit(
        self: &Arc<Self>,
        listener: &Arc<str>,
        ip: IpAddr,
    ) -> Option<Result<Admission, TooManyConnections>> {
        let mut state = self.state.lock();
        if !state.has_room(listener) {
            return None;
        }
        let max = *state.settings.per_ip_overrides.get(&ip).unwrap_or(&state.settings.per_ip);
        let count = state.ips.get(&ip).copied().unwrap_or(0);
        if count >= max {
            return Some(Err(TooManyConnections(max)));
        }
        state.ips.insert(ip, count + 1);
        state.counts(listener).count += 1;
        let id = state.next_id;
        state.next_id += 1;
        let last_active_ms = Arc::new(AtomicU64::new(self.now_ms()));
        let entry = Entry { listener: listener.clone(), last_active_ms: last_active_ms.clone(), task: None };
        state.connections.insert(id, entry);
        state.close_excess();
        Some(Ok(Admission { quotas: self.clone(), id, ip, last_active_ms }))
    }

    /// Milliseconds since the first connection could come.
    fn now_ms(&self) -> u64 {
        Instant::now().duration_since(self.started).as_millis() as u64
    }
}

impl State {
    fn counts(&mut self, listener: &Arc<str>) -> &mut Counts {
        self.listeners.entry(listener.clone()).or_insert_with(|| Counts { rate: Rate::new(), count: 0 })
    }

    fn is_exempt(&self, listener: &str) -> bool {
        self.settings.exempt.as_deref() == Some(listener)
    }

    /// Counts a new connection; gives the milliseconds that it has to wait.
    fn record(&mut self, listener: &Arc<str>, now_ms: u64) -> u64 {
        let own = self.settings.listeners.get(&**listener).map_or(u32::MAX, |quota| quota.creation_rate);
        let throttle_ms = self.counts(listener).rate.record(now_ms, own);
        if self.is_exempt(listener) {
            return throttle_ms;
        }
        throttle_ms.max(self.rate.record(now_ms, self.settings.creation_rate))
    }

    fn has_room(&mut self, listener: &Arc<str>) -> bool {
        let own = self.settings.listeners.get(&**listener).map_or(usize::MAX, |quota| quota.connections);
        self.counts(listener).count < own
            && (self.is_exempt(listener) || self.connections.len() < self.settings.connections)
    }

    /// Closes connections of listeners that are not exempt until no more are open than may be.
    fn close_excess(&mut self) {
        let excess = self.connections.len().saturating_sub(self.settings.connections);
        if excess == 0 {
            return;
        }
        let exempt = self.settings.exempt.as_deref();
        let mut idle: Vec<_> = self
            .connections
            .values()
            .filter(|entry| exempt != Some(&*entry.listener))
            .filter_map(|entry| {
                // One that is being closed is no longer among the open ones.
                let task = entry.task.as_ref().filter(|task| !task.is_finished())?;
                Some((entry.last_active_ms.load(Ordering::Relaxed), task))
            })
            .collect();
        idle.sort_by_key(|(last_active_ms, _)| *last_active_ms);
        idle.iter().take(excess).for_each(|(_, task)| task.abort());
    }
}

impl Admission {
    /// Names the task that serves the connection, so that it can be closed in favour of another.
    pub(crate) fn served_by(quotas: &ConnectionQuotas, id: u64, task: AbortHandle) {
        if let Some(entry) = quotas.state.lock().connections.get_mut(&id) {
            entry.task = Some(task);
        }
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// Notes that the connection was used.
    pub(crate) fn touch(&self, now: Instant) {
        let ms = now.duration_since(self.quotas.started).as_millis() as u64;
        self.last_active_ms.store(ms, Ordering::Relaxed);
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        let mut state = self.quotas.state.lock();
        if let Some(entry) = state.connections.remove(&self.id) {
            state.counts(&entry.listener).count -= 1;
        }
        match state.ips.get_mut(&self.ip) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(state.ips.remove(&self.ip)),
        }
        drop(state);
        self.quotas.changed.notify_waiters();
    }
}
