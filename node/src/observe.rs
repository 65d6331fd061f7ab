//! What the node shows to those who watch it: metrics, and whether it lives and is ready, by HTTP.
//!
//! ```text
//!   GET /metrics       Prometheus text 0.0.4, computed when asked for
//!   GET /health/live   200 while every loop of the process answers, else 503
//!   GET /health/ready  200 while clients may come, else 503; both with the reasons as JSON
//! ```
//!
//! All of it runs on a thread of its own, so that it answers while the others are stuck, and takes no time from them.

mod broker_metrics;
mod controller_metrics;
mod health;
mod http;
mod process_metrics;
mod text;

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::SystemTime;

use broker::Probe;
use controller::ControllerHandle;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

/// The key: `http://host:port`, or `off`. An empty host is every address, port 0 a free one.
pub(crate) const KEY: &str = "metrics.listener";

/// Why there are no metrics.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ObserveError {
    /// The key's value is no address.
    #[error("Invalid value {0} for configuration {KEY}: expected http://host:port or off")]
    Address(String),
    /// The address cannot be had.
    #[error("{KEY}: failed to bind to {address}: {source}")]
    Bind {
        /// Host and port as configured.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// The system gives no thread.
    #[error("{KEY}: {0}")]
    Thread(io::Error),
}

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MetricsListener {
    host: String,
    port: u16,
}

/// Takes the key out of the properties: Apache Kafka does not know it, so it is none of the broker's configuration.
///
/// # Errors
///
/// The value is no address.
pub(crate) fn take_listener(
    properties: &mut BTreeMap<String, String>,
) -> Result<Option<MetricsListener>, ObserveError> {
    let Some(value) = properties.remove(KEY) else { return Ok(None) };
    let value = value.trim();
    if value.is_empty() || value == "off" {
        return Ok(None);
    }
    let parsed = value.strip_prefix("http://").map(|rest| rest.trim_end_matches('/')).and_then(|rest| {
        let (host, port) = rest.rsplit_once(':')?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let is_host = host.is_empty() || !host.contains(['/', '@', '?', ' ']);
        Some(MetricsListener { host: host.to_owned(), port: port.parse().ok()? }).filter(|_| is_host)
    });
    parsed.map(Some).ok_or_else(|| ObserveError::Address(value.to_owned()))
}

/// What there is to look at.
pub(crate) struct Observed {
    probe: Arc<Probe>,
    /// False on a node that is only a controller.
    is_broker: bool,
    controller: OnceLock<ControllerHandle>,
    data: Handle,
    control: Handle,
    started: SystemTime,
}

/// The running listener; ends when dropped.
pub(crate) struct Observer {
    observed: Arc<Observed>,
    address: SocketAddr,
    stop: CancellationToken,
}

impl Observed {
    /// Of a node whose controller is not there yet.
    pub(crate) fn new(probe: Arc<Probe>, is_broker: bool, data: Handle, control: Handle) -> Self {
        Self { probe, is_broker, controller: OnceLock::new(), data, control, started: SystemTime::now() }
    }

    /// The answer to a scrape.
    fn metrics(&self) -> String {
        let mut text = text::Text::default();
        process_metrics::write(&mut text, self.started);
        broker_metrics::write(&mut text, &self.probe);
        if let Some(controller) = self.controller.get() {
            controller_metrics::write(&mut text, &controller.metrics(), &controller.image());
        }
        text.finish()
    }
}

impl Observer {
    /// Binds the address and answers from now on.
    ///
    /// # Errors
    ///
    /// The address cannot be had, or there is no thread.
    pub(crate) fn start(listener: &MetricsListener, observed: Observed) -> Result<Self, ObserveError> {
        let failed =
            |source| ObserveError::Bind { address: format!("{}:{}", listener.host, listener.port), source };
        let addresses: Vec<SocketAddr> = if listener.host.is_empty() {
            vec![([0; 16], listener.port).into(), ([0; 4], listener.port).into()]
        } else {
            (&*listener.host, listener.port).to_socket_addrs().map_err(failed)?.collect()
        };
        let socket = TcpListener::bind(&*addresses).map_err(failed)?;
        socket.set_nonblocking(true).map_err(failed)?;
        let address = socket.local_addr().map_err(failed)?;
        let (observed, stop) = (Arc::new(observed), CancellationToken::new());
        let serving = http::serve(socket, observed.clone(), stop.clone());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(ObserveError::Thread)?;
        let thread = thread::Builder::new().name("minikafka-http".to_owned());
        thread.spawn(move || runtime.block_on(serving)).map_err(ObserveError::Thread)?;
        Ok(Self { observed, address, stop })
    }

    /// The address in use.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The controller is there.
    pub(crate) fn set_controller(&self, controller: ControllerHandle) {
        // A node has one.
        let _ = self.observed.controller.set(controller);
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_an_address_or_off() {
        let take = |value: &str| {
            let mut properties = BTreeMap::from([(KEY.to_owned(), value.to_owned())]);
            let taken = take_listener(&mut properties);
            assert!(properties.is_empty());
            taken.map_err(|e| e.to_string())
        };
        let at = |host: &str, port| Ok(Some(MetricsListener { host: host.to_owned(), port }));
        assert_eq!(take("http://127.0.0.1:9644"), at("127.0.0.1", 9644));
        assert_eq!(take("http://[::1]:0/"), at("::1", 0));
        assert_eq!(take("http://:9644"), at("", 9644));
        assert_eq!(take("off"), Ok(None));
        assert_eq!(take(""), Ok(None));
        for wrong in ["9644", "https://h:1", "http://h", "http://h:70000", "http://h:1/metrics"] {
            assert!(take(wrong).unwrap_err().contains("expected http://host:port"), "{wrong}");
        }
        assert_eq!(take_listener(&mut BTreeMap::new()).unwrap(), None);
    }
}
