//! Brokers whose connections end: a hint to look at them at once, rather than to wait for the end of their session.
//!
//! ```text
//!   last connection with heartbeats ends ─┐
//!   this controller becomes the active one ┴─▶ does anybody listen where the broker said that it would?
//!        nobody, and no connection since ─▶ Event::BrokerUnreachable: its session is cut down to a short one
//! ```
//!
//! A process that dies closes its connections and listens no more; one that only lost a connection opens another.
//! Nothing depends on a hint: a lost one costs the rest of the session, a false one is mended by the next heartbeat
//! with the right epoch, and a broker that is fenced by mistake comes back as one does that was silent.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use metadata::image::BrokerRegistration;
use net::reach::{Reach, look_at};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// How long a look at one address may take.
const PATIENCE: Duration = Duration::from_millis(500);
/// Hints that may wait for the controller; more are lost.
const HINTS_MAX: usize = 256;

/// The connections on which brokers send their heartbeats to this controller.
#[derive(Debug)]
pub(crate) struct BrokerConnections {
    open: Mutex<BTreeMap<i32, usize>>,
    ended: mpsc::Sender<i32>,
}

impl BrokerConnections {
    /// None yet; and where to hear of brokers whose last connection ended.
    pub(crate) fn new() -> (Arc<Self>, mpsc::Receiver<i32>) {
        let (ended, hints) = mpsc::channel(HINTS_MAX);
        (Arc::new(Self { open: Mutex::default(), ended }), hints)
    }

    /// Whether heartbeats of the broker came on a connection that is still open.
    pub(crate) fn has(&self, broker: i32) -> bool {
        self.open.lock().contains_key(&broker)
    }
}

/// A connection on which a broker sends its heartbeats; to be dropped when the connection ends.
#[derive(Debug)]
pub struct BrokerConnection {
    broker: i32,
    all: Arc<BrokerConnections>,
}

impl BrokerConnection {
    pub(crate) fn new(all: &Arc<BrokerConnections>, broker: i32) -> Self {
        *all.open.lock().entry(broker).or_insert(0) += 1;
        Self { broker, all: all.clone() }
    }

    /// Id of the broker.
    pub fn broker(&self) -> i32 {
        self.broker
    }
}

impl Drop for BrokerConnection {
    fn drop(&mut self) {
        let mut open = self.all.open.lock();
        let Some(count) = open.get_mut(&self.broker) else { return };
        *count -= 1;
        if *count == 0 {
            open.remove(&self.broker);
            // A hint may be lost.
            let _ = self.all.ended.try_send(self.broker);
        }
    }
}

/// A broker that nobody listens for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unreachable {
    pub(crate) broker: i32,
    /// Epoch of the registration that was looked at.
    pub(crate) epoch: i64,
}

/// The looks under way, one at a time for each broker.
#[derive(Debug, Default)]
pub(crate) struct CloserLooks {
    running: JoinSet<(Unreachable, bool)>,
    /// Brokers that are looked at, and whether there is reason to look again.
    under_way: BTreeMap<i32, bool>,
}

impl CloserLooks {
    /// Looks at a broker, or notes to look again. To be called within a tokio runtime.
    pub(crate) fn look(&mut self, registered: &BrokerRegistration) {
        let broker = registered.id;
        if let Some(again) = self.under_way.get_mut(&broker) {
            *again = true;
            return;
        }
        self.under_way.insert(broker, false);
        let looked_at = Unreachable { broker, epoch: registered.epoch };
        let addresses: Vec<(String, u16)> =
            registered.listeners.iter().map(|listener| (listener.host.clone(), listener.port)).collect();
        self.running.spawn(async move { (looked_at, nobody_listens(&addresses).await) });
    }

    /// The next look that is over: the broker, whether nobody listens for it, and whether to look again. Never, if none
    /// is under way. May be dropped while it waits, without loss.
    pub(crate) async fn next(&mut self) -> (Unreachable, bool, bool) {
        match self.running.join_next().await {
            Some(Ok((looked_at, is_gone))) => {
                let again = self.under_way.remove(&looked_at.broker).unwrap_or(false);
                (looked_at, is_gone, again)
            }
            // A look that panicked was reported; the broker keeps its session.
            Some(Err(_)) | None => std::future::pending().await,
        }
    }
}

/// Whether each address refuses connections; the first that does not decides.
async fn nobody_listens(addresses: &[(String, u16)]) -> bool {
    for (host, port) in addresses {
        if look_at(host, *port, PATIENCE).await != Reach::Refused {
            return false;
        }
    }
    !addresses.is_empty()
}

#[cfg(test)]
mod tests {
    use metadata::image::Endpoint;

    use super::*;

    #[test]
    fn the_last_connection_of_a_broker_gives_the_hint() {
        let (connections, mut hints) = BrokerConnections::new();
        let first = BrokerConnection::new(&connections, 3);
        let second = BrokerConnection::new(&connections, 3);
        drop(first);
        assert!(connections.has(3) && hints.try_recv().is_err());
        drop(second);
        assert!(!connections.has(3));
        assert_eq!(hints.try_recv(), Ok(3));
    }

    fn registered(id: i32, ports: &[u16]) -> BrokerRegistration {
        let listeners = ports.iter().map(|port| Endpoint {
            name: format!("L{port}"),
            host: "127.0.0.1".to_owned(),
            port: *port,
            security_protocol: 0,
        });
        BrokerRegistration {
            id,
            epoch: 7,
            incarnation_id: uuid::Uuid::from_u128(1),
            listeners: listeners.collect(),
            features: Vec::new(),
            rack: None,
            fenced: false,
            in_controlled_shutdown: false,
            is_migrating_zk_broker: false,
            directories: Vec::new(),
        }
    }

    #[tokio::test]
    async fn a_broker_is_gone_when_none_of_its_listeners_listens() {
        let one = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let two = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let ports = [&one, &two].map(|listener| listener.local_addr().unwrap().port());
        drop(one);
        let mut looks = CloserLooks::default();
        let broker = registered(3, &ports);
        looks.look(&broker);
        looks.look(&broker);
        let found = Unreachable { broker: 3, epoch: 7 };
        assert_eq!(looks.next().await, (found, false, true), "the second look was noted");
        drop(two);
        looks.look(&broker);
        assert_eq!(looks.next().await, (found, true, false));
        assert!(!nobody_listens(&[]).await, "nothing is known of it");
    }
}
