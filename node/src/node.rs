//! A running node: what starts, in which order; and stops in the reverse one.
//!
//! ```text
//!   directories locked ─▶ controller ─▶ broker registers, catches up, is unfenced ─▶ "Kafka Server started"
//!   signal ─▶ broker leaves in order, flushes, marks its directories clean ─▶ controller ─▶ locks released
//! ```
//!
//! Two tokio runtimes: one for connections and their file IO; a small one for Raft, the controller and
//! heartbeats, so that a stalled data disk costs no leadership.

use std::io;

use metadata::config::listeners::Endpoint;
use metadata::config::node::NodeConfig;
use tokio::runtime::{Builder, Runtime};
use uuid::Uuid;

use crate::log_dirs::OpenDirs;
use crate::signals::{Signals, Stop};

/// Why a node failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NodeError {
    /// The system gives no threads or signals.
    #[error("the runtime cannot be started: {0}")]
    Runtime(#[from] io::Error),
}

/// A random id as Kafka makes them: version 4, and no `-` first in its base64 form.
pub(crate) fn random_id() -> Uuid {
    loop {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).expect("the system has random bytes");
        let id = uuid::Builder::from_random_bytes(bytes).into_uuid();
        if !protocol::base64_id(id).starts_with('-') {
            return id;
        }
    }
}

/// Runs a node until it is told to stop, and stops it in good order.
///
/// # Errors
///
/// It does not start, or fails while it runs.
pub(crate) fn run(config: NodeConfig, dirs: OpenDirs) -> Result<Stop, NodeError> {
    let control = runtime("minikafka-control", 1)?;
    let data = runtime("minikafka-data", std::thread::available_parallelism().map_or(2, usize::from))?;
    let stop = data.block_on(serve(&config, dirs));
    data.shutdown_background();
    control.shutdown_background();
    stop
}

fn runtime(name: &str, threads: usize) -> io::Result<Runtime> {
    Builder::new_multi_thread().thread_name(name).worker_threads(threads).enable_all().build()
}

async fn serve(config: &NodeConfig, dirs: OpenDirs) -> Result<Stop, NodeError> {
    let mut signals = Signals::new()?;
    announce(config.node_id, &config.advertised_listeners);
    let stop = signals.next().await;
    tracing::info!(
        target: "org.apache.kafka.common.utils.LoggingSignalHandler",
        "Terminating process due to signal {}",
        stop.name()
    );
    drop(dirs);
    Ok(stop)
}

/// The words that programs wait for: those of Testcontainers' modules, and the last line for people.
fn announce(node_id: i32, listeners: &[Endpoint]) {
    tracing::info!(
        target: "kafka.server.BrokerLifecycleManager",
        "[BrokerLifecycleManager id={node_id}] The broker has been unfenced. Transitioning from RECOVERY to RUNNING."
    );
    tracing::info!(target: "kafka.server.KafkaServer", "[KafkaServer id={node_id}] started");
    tracing::info!(
        target: "kafka.server.KafkaRaftServer",
        "[KafkaRaftServer nodeId={node_id}] Kafka Server started"
    );
    let addresses: Vec<String> = listeners.iter().map(Endpoint::address).collect();
    tracing::info!(target: "minikafka", "Bootstrap address: {}", addresses.join(","));
}
