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
use std::sync::{Arc, mpsc};
use std::time::Duration;

use broker::config::{BrokerConfig, ListenerConfig};
use broker::{BoundListeners, Broker, LockedDir, Probe};
use controller::{ActiveController, ControllerHandle, StartArgs};
use metadata::config::listeners::Endpoint;
use metadata::config::node::NodeConfig;
use metadata::config::{BrokerConfig as BrokerSettings, Layers};
use net::tasks::Tasks;
use net::{BindError, Bounds, Listener};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::controller_role::{ControllerLink, ControllerService, LocalMetadata};
use crate::log_dirs::OpenDirs;
use crate::machine;
use crate::observe::{MetricsListener, ObserveError, Observed, Observer};
use crate::signals::{Signals, Stop};

/// Connections to the controller that did not end by then are cut.
const STOP_GRACE: Duration = Duration::from_secs(1);

/// Why a node failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NodeError {
    /// The system gives no threads or signals.
    #[error("the runtime cannot be started: {0}")]
    Runtime(#[from] io::Error),
    /// The metrics cannot be shown.
    #[error(transparent)]
    Observe(#[from] ObserveError),
    /// A port cannot be had.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The metadata log cannot be opened.
    #[error(transparent)]
    Controller(#[from] controller::StartError),
    /// The controller failed while it ran.
    #[error("the controller failed: {0}")]
    ControllerFailed(String),
    /// The broker does not start.
    #[error(transparent)]
    Broker(#[from] broker::StartError),
    /// Every log directory failed.
    #[error("Shutdown broker because all log dirs have failed")]
    NoLogDir,
}

/// The other nodes of the same process.
#[derive(Clone)]
pub(crate) struct Siblings {
    /// One has ended: so must all.
    pub(crate) ended: CancellationToken,
    /// Told of a node that is ready: its id, and where clients reach it.
    pub(crate) ready: mpsc::Sender<(i32, String)>,
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
pub(crate) fn run(
    config: NodeConfig,
    dirs: OpenDirs,
    metrics: Option<MetricsListener>,
    siblings: Option<Siblings>,
) -> Result<Stop, NodeError> {
    let control = runtime("minikafka-control", 1)?;
    let data = runtime("minikafka-data", std::thread::available_parallelism().map_or(2, usize::from))?;
    let probe = Probe::new(metrics.is_some());
    let observed =
        || Observed::new(probe.clone(), config.is_broker, data.handle().clone(), control.handle().clone());
    let observer = metrics.map(|listener| Observer::start(&listener, observed())).transpose()?;
    let stop = data.block_on(serve(&config, dirs, control.handle(), probe, observer, siblings));
    data.shutdown_background();
    control.shutdown_background();
    stop
}

fn runtime(name: &str, threads: usize) -> io::Result<Runtime> {
    Builder::new_multi_thread().thread_name(name).worker_threads(threads).enable_all().build()
}

async fn serve(
    config: &NodeConfig,
    dirs: OpenDirs,
    control: &Handle,
    probe: Arc<Probe>,
    observer: Option<Observer>,
    siblings: Option<Siblings>,
) -> Result<Stop, NodeError> {
    let ended = siblings.as_ref().map(|siblings| siblings.ended.clone());
    let mut signals = Signals::new(ended.unwrap_or_default())?;
    let mut broker_config = broker_config(config, &dirs);
    let names: Vec<String> = config.controller_listeners().map(|listener| listener.name.clone()).collect();
    let (capacity, memory) = (broker_config.capacity, broker_config.memory.clone());
    let controller_bounds = broker::bounds(&Layers::of(&config.properties), &names, None, capacity, memory);
    let bound = BoundListeners::bind(&mut broker_config).await?;
    let (controller_listeners, endpoints) = bind_controller(config, control).await?;
    let incarnation_id = random_id();
    broker_config.incarnation_id = incarnation_id;
    let handle = controller::start(StartArgs {
        node: config,
        cluster_id: &dirs.cluster_id,
        directory_id: dirs.metadata_dir_id(config),
        durable: dirs.durable,
        broker_incarnation_id: config.is_broker.then_some(incarnation_id),
        listeners: &endpoints,
    })?;
    if let Some(observer) = &observer {
        observer.set_controller(handle.clone());
    }
    let controller_tasks = serve_controller(&handle, controller_listeners, &controller_bounds, control);
    let settings = BrokerSettings::of(&Layers::of(&config.properties));
    let channel = Arc::new(controller_link(&handle, &settings, control));
    let metadata = Box::new(LocalMetadata(handle.subscribe()));
    let OpenDirs { dirs, separate_metadata_dir, .. } = dirs;
    let mut ended = handle.ended();
    // A controller keeps the locks itself.
    let (mut broker, mut held) = (None, Vec::new());
    if config.is_broker {
        let locked = dirs.into_iter().map(|(dir, id)| LockedDir { dir, id }).collect();
        // Boxed: starting takes more room than all that comes after.
        let starting =
            Box::pin(Broker::start(broker_config, bound, locked, channel, metadata, control, probe));
        let started = tokio::select! {
            broker = starting => broker?,
            stop = signals.next() => {
                log_signal(stop);
                handle.stop().await.map_err(NodeError::ControllerFailed)?;
                return Ok(stop);
            }
            failed = ended.wait_for(Option::is_some) => return Err(controller_failure(failed.ok().as_deref())),
        };
        broker = Some(started);
    } else {
        drop(metadata);
        held = dirs;
    }
    announce(config.node_id, broker.as_ref().map(Broker::listeners), observer.as_ref(), siblings);
    let stop = tokio::select! {
        stop = signals.next() => {
            log_signal(stop);
            Ok(stop)
        }
        failed = ended.wait_for(Option::is_some) => Err(controller_failure(failed.ok().as_deref())),
        () = dirs_failed(broker.as_ref()) => Err(NodeError::NoLogDir),
    };
    if let Some(broker) = broker {
        broker.stop().await;
    }
    // A leader hands over while it still answers its followers.
    let left = handle.stop().await.map_err(NodeError::ControllerFailed);
    controller_tasks.stop(STOP_GRACE).await;
    drop((held, separate_metadata_dir));
    left.and(stop)
}

/// Completes when no log directory of the broker works any more.
async fn dirs_failed(broker: Option<&Broker>) {
    match broker {
        Some(broker) => broker.failed().await,
        None => std::future::pending().await,
    }
}

fn controller_link(handle: &ControllerHandle, settings: &BrokerSettings, control: &Handle) -> ControllerLink {
    let millis = |ms: i32| Duration::from_millis(u64::try_from(ms).unwrap_or(0));
    let forward_timeout = millis(settings.request_timeout_ms);
    ControllerLink {
        active: ActiveController::new(handle.clone(), control.clone(), forward_timeout),
        own_timeout: millis(settings.broker_session_timeout_ms),
        forward_timeout,
    }
}

fn log_signal(stop: Stop) {
    tracing::info!(
        target: "org.apache.kafka.common.utils.LoggingSignalHandler",
        "Terminating process due to signal {}",
        stop.name()
    );
}

fn controller_failure(ended: Option<&Option<Result<(), String>>>) -> NodeError {
    let reason = match ended {
        Some(Some(Err(reason))) => reason.clone(),
        _ => "it stopped by itself".to_owned(),
    };
    NodeError::ControllerFailed(reason)
}

fn broker_config(config: &NodeConfig, dirs: &OpenDirs) -> BrokerConfig {
    let settings = BrokerSettings::of(&Layers::of(&config.properties));
    let capacity = machine::capacity();
    let listeners = config
        .broker_listeners()
        .map(|listener| {
            let advertised = config.advertised_listeners.iter().find(|a| a.name == listener.name);
            let advertised = advertised.unwrap_or(listener);
            ListenerConfig {
                name: listener.name.clone(),
                host: listener.host.clone(),
                port: listener.port,
                advertised_host: if advertised.host.is_empty() {
                    host_name()
                } else {
                    advertised.host.clone()
                },
                advertised_port: advertised.port,
                security_protocol: listener.protocol.code(),
            }
        })
        .collect();
    BrokerConfig {
        node_id: config.node_id,
        cluster_id: dirs.cluster_id.clone(),
        incarnation_id: Uuid::nil(),
        memory: broker::memory_budget(&settings, capacity),
        capacity,
        rack: settings.broker_rack,
        listeners,
        inter_broker_listener: config.inter_broker_listener_name.clone(),
        properties: Arc::new(config.properties.clone()),
    }
}

/// This machine's name, which Kafka advertises for a listener without a host.
fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    if name.is_empty() { "localhost".to_owned() } else { name }
}

/// Binds the controller listeners; gives them with the addresses under which others reach them.
async fn bind_controller(
    config: &NodeConfig,
    control: &Handle,
) -> Result<(Vec<(String, Listener)>, Vec<Endpoint>), NodeError> {
    let mut listeners = Vec::new();
    let mut endpoints = config.advertised_controller_listeners.clone();
    for endpoint in config.controller_listeners() {
        let (host, port) = (endpoint.host.clone(), endpoint.port);
        let binding = control.spawn(async move { Listener::bind(&host, port).await });
        let bound = binding.await.map_err(io::Error::other)??;
        for advertised in endpoints.iter_mut().filter(|a| a.name == endpoint.name && a.port == 0) {
            advertised.port = bound.address().port();
        }
        listeners.push((endpoint.name.clone(), bound));
    }
    endpoints.iter_mut().filter(|e| e.host.is_empty()).for_each(|e| e.host = host_name());
    Ok((listeners, endpoints))
}

fn serve_controller(
    handle: &ControllerHandle,
    listeners: Vec<(String, Listener)>,
    bounds: &Arc<Bounds>,
    control: &Handle,
) -> Tasks {
    let tasks = Tasks::new();
    let service = Arc::new(ControllerService { handle: handle.clone(), memory: bounds.memory.clone() });
    for (name, listener) in listeners {
        let serving = listener.serve(name.into(), service.clone(), bounds.clone(), tasks.clone());
        tasks.spawn_on(serving, control);
    }
    tasks
}

/// The words that programs wait for: those of Testcontainers' modules, and the last line for people, which is for
/// all nodes of the process together.
fn announce(
    node_id: i32,
    listeners: Option<&[ListenerConfig]>,
    observer: Option<&Observer>,
    siblings: Option<Siblings>,
) {
    if listeners.is_some() {
        tracing::info!(
            target: "kafka.server.BrokerLifecycleManager",
            "[BrokerLifecycleManager id={node_id}] The broker has been unfenced. Transitioning from RECOVERY to RUNNING."
        );
        tracing::info!(target: "kafka.server.KafkaServer", "[KafkaServer id={node_id}] started");
    }
    tracing::info!(
        target: "kafka.server.KafkaRaftServer",
        "[KafkaRaftServer nodeId={node_id}] Kafka Server started"
    );
    if let Some(observer) = observer {
        let address = observer.address();
        tracing::info!(target: "minikafka", "Metrics: http://{address}/metrics, health: http://{address}/health/ready");
    }
    let address = |l: &ListenerConfig| match l.advertised_host.contains(':') {
        true => format!("[{}]:{}", l.advertised_host, l.advertised_port),
        false => format!("{}:{}", l.advertised_host, l.advertised_port),
    };
    if let Some(listeners) = listeners {
        let addresses: Vec<String> = listeners.iter().map(address).collect();
        let addresses = addresses.join(",");
        match siblings {
            // The receiver is gone only if another node failed.
            Some(siblings) => drop(siblings.ready.send((node_id, addresses))),
            None => tracing::info!(target: "minikafka", "Bootstrap address: {addresses}"),
        }
    }
}
