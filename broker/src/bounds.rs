//! The bounds of connections and of the memory of requests, as the configuration sets them.

use std::collections::HashMap;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use metadata::config::{BrokerConfig as BrokerSettings, Layers};
use net::{Bounds, ConnectionLimits, ConnectionQuotas, ListenerQuota, MemoryBudget, QuotaSettings};

/// What the machine can bear, whatever the configuration says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Memory for requests in flight, in bytes, if `queued.max.request.bytes` does not say.
    pub request_bytes: usize,
    /// Connections beyond which file descriptors could run out.
    pub connections: usize,
}

impl Default for Capacity {
    fn default() -> Self {
        Self { request_bytes: 256 * 1024 * 1024, connections: usize::MAX }
    }
}

/// The memory that the requests of all listeners share: `queued.max.request.bytes`.
pub fn memory_budget(settings: &BrokerSettings, capacity: Capacity) -> Arc<MemoryBudget> {
    let set = usize::try_from(settings.queued_max_request_bytes).ok().filter(|bytes| *bytes > 0);
    MemoryBudget::new(set.unwrap_or(capacity.request_bytes))
}

/// The bounds of the listeners with these names. `exempt` names the inter-broker listener, if it is one of them.
pub fn bounds(
    layers: &Layers<'_>,
    listeners: &[String],
    exempt: Option<&str>,
    capacity: Capacity,
    memory: Arc<MemoryBudget>,
) -> Arc<Bounds> {
    let settings = BrokerSettings::of(layers);
    let limits = ConnectionLimits {
        request_bytes: usize::try_from(settings.socket_request_max_bytes).unwrap_or(0),
        idle: u64::try_from(settings.connections_max_idle_ms).map_or(Duration::MAX, Duration::from_millis),
        ..ConnectionLimits::default()
    };
    let quotas = ConnectionQuotas::new(connection_quotas(layers, listeners, exempt, capacity));
    Arc::new(Bounds { limits, quotas, memory })
}

/// The part of the bounds that can change at run time. May look host names up.
pub(crate) fn connection_quotas(
    layers: &Layers<'_>,
    listeners: &[String],
    exempt: Option<&str>,
    capacity: Capacity,
) -> QuotaSettings {
    let settings = BrokerSettings::of(layers);
    let count = |n: i64| usize::try_from(n).unwrap_or(0);
    let rate = |n: i64| u32::try_from(n).unwrap_or(0);
    let own = |listener: &String| {
        let integer = |key| layers.listener_integer(listener, key);
        ListenerQuota {
            connections: count(integer("max.connections")),
            creation_rate: rate(integer("max.connection.creation.rate")),
        }
    };
    QuotaSettings {
        connections: count(settings.max_connections.into()).min(capacity.connections),
        creation_rate: rate(settings.max_connection_creation_rate.into()),
        per_ip: count(settings.max_connections_per_ip.into()),
        per_ip_overrides: per_ip_overrides(&settings.max_connections_per_ip_overrides),
        listeners: listeners.iter().map(|listener| (listener.clone(), own(listener))).collect(),
        // With one listener there is nobody to make room for it.
        exempt: exempt.filter(|_| listeners.len() > 1).map(str::to_owned),
    }
}

/// `host:count` after `host:count`; a host that nobody knows is left out with a warning.
fn per_ip_overrides(text: &str) -> HashMap<IpAddr, usize> {
    let mut overrides = HashMap::new();
    for (host, count) in text.split(',').filter_map(|pair| pair.trim().rsplit_once(':')) {
        let (host, Ok(count)) = (host.trim().trim_matches(['[', ']']), count.trim().parse()) else {
            continue;
        };
        let found: Vec<IpAddr> = match host.parse() {
            Ok(ip) => vec![ip],
            Err(_) => {
                (host, 0).to_socket_addrs().map(|all| all.map(|a| a.ip()).collect()).unwrap_or_default()
            }
        };
        if found.is_empty() {
            tracing::warn!("max.connections.per.ip.overrides: {host} cannot be resolved");
        }
        overrides.extend(found.into_iter().map(|ip| (ip.to_canonical(), count)));
    }
    overrides
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_have_their_own_bounds_or_the_brokers() {
        let properties = [
            ("max.connections", "100"),
            ("listener.name.external.max.connections", "20"),
            ("listener.name.external.max.connection.creation.rate", "5"),
            ("max.connections.per.ip", "3"),
            ("max.connections.per.ip.overrides", "127.0.0.1:7,::1:8"),
        ];
        let properties = properties.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        let fixed = metadata::config::StaticConfig::new(properties).unwrap();
        let names = ["INTERNAL".to_owned(), "EXTERNAL".to_owned()];
        let capacity = Capacity { connections: 50, ..Capacity::default() };
        let quotas = connection_quotas(&Layers::of(&fixed), &names, Some("INTERNAL"), capacity);
        assert_eq!((quotas.connections, quotas.creation_rate, quotas.per_ip), (50, i32::MAX as u32, 3));
        let own = |name: &str| quotas.listeners[name];
        assert_eq!(own("EXTERNAL"), ListenerQuota { connections: 20, creation_rate: 5 });
        assert_eq!(own("INTERNAL"), ListenerQuota { connections: 100, creation_rate: i32::MAX as u32 });
        assert_eq!(quotas.exempt.as_deref(), Some("INTERNAL"));
        let of = |ip: &str| quotas.per_ip_overrides[&ip.parse::<IpAddr>().unwrap()];
        assert_eq!((of("127.0.0.1"), of("::1")), (7, 8));
        let alone = connection_quotas(&Layers::of(&fixed), &names[..1], Some("INTERNAL"), capacity);
        assert_eq!(alone.exempt, None);
    }
}
