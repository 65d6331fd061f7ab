//! `minikafka dev`: a cluster for development, formatted and started at once.
//!
//! Listens on every interface and tells clients `localhost`, as Kafka's own example configuration does. The
//! controllers take free ports of the loopback interface. Ends with code 0 when it is told to stop.
//!
//! Several brokers are as many nodes in one process, each with its runtimes, its directory and its ports; they speak
//! with each other by the network. The first three of them are the quorum. A node that fails ends the others.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc;

use storage::dirs::LogDir;
use tokio_util::sync::CancellationToken;

use crate::cli::DevOptions;
use crate::dev_dir::TemporaryDir;
use crate::format;
use crate::log_dirs;
use crate::node::{self, Siblings};
use crate::properties;
use crate::start::{self, StartError, configure, metrics_listener};
use crate::telemetry;

/// Voters of a cluster that is large enough.
const VOTERS: u32 = 3;
/// Replicas of a partition in a cluster that is large enough.
const REPLICAS: u32 = 3;
/// As many nodes as one process is good for.
const BROKERS_MAX: u32 = 100;

/// Runs the command.
pub(crate) fn run(options: &DevOptions) -> ExitCode {
    telemetry::init(&options.log);
    match dev(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => start::fail(&e),
    }
}

fn dev(options: &DevOptions) -> Result<(), StartError> {
    if !(1..=BROKERS_MAX).contains(&options.brokers) {
        return Err(StartError::Unsupported(format!(
            "--brokers {}: it can be 1 to {BROKERS_MAX}",
            options.brokers
        )));
    }
    let (temporary, lock) = match options.data {
        Some(_) => (None, None),
        None => {
            let (dir, lock) = TemporaryDir::create(node::random_id).map_err(log_dirs::OpenError::from)?;
            (Some(dir), Some(lock))
        }
    };
    let data =
        options.data.as_deref().or(temporary.as_ref().map(TemporaryDir::path)).unwrap_or(Path::new("."));
    let place = Place { data: data.to_owned(), durable: temporary.is_none() };
    if options.brokers == 1 {
        let cluster_id = format::cluster_id(&[data.to_owned()])?;
        return node_of(options, &place, single(options.port, data), &cluster_id, lock, None);
    }
    // The lock of the directory above is held until the end.
    cluster(options, &place)
}

/// Where the data is, and whether it outlives the process.
struct Place {
    data: PathBuf,
    durable: bool,
}

impl Place {
    /// The directory of one node of several.
    fn of_node(&self, id: u32) -> PathBuf {
        self.data.join(id.to_string())
    }
}

/// Runs one node by these properties until it is told to stop.
fn node_of(
    options: &DevOptions,
    place: &Place,
    defaults: Vec<(&'static str, String)>,
    cluster_id: &str,
    lock: Option<LogDir>,
    siblings: Option<Siblings>,
) -> Result<(), StartError> {
    let environment = properties::process_environment();
    let mut properties = properties::load(&defaults, None, environment, &options.overrides)?;
    let metrics = metrics_listener(&mut properties, options.metrics.as_ref())?;
    let config = configure(properties)?;
    format::if_new(&config, cluster_id, place.durable)?;
    let mut dirs = log_dirs::open(&config, lock, node::random_id)?;
    dirs.durable = place.durable;
    node::run(config, dirs, metrics, siblings)?;
    Ok(())
}

/// Runs all nodes of a cluster, each in a thread of its own, until they are told to stop or one fails.
fn cluster(options: &DevOptions, place: &Place) -> Result<(), StartError> {
    let controller_ports = free_ports(voters(options.brokers)).map_err(node::NodeError::from)?;
    let directories: Vec<PathBuf> = (1..=options.brokers).map(|id| place.of_node(id)).collect();
    let cluster_id = format::cluster_id(&directories)?;
    let (ready, addresses) = mpsc::channel();
    let siblings = Siblings { ended: CancellationToken::new(), ready };
    std::thread::scope(|scope| {
        let mut nodes = Vec::new();
        for id in 1..=options.brokers {
            let (siblings, cluster_id) = (siblings.clone(), &cluster_id);
            let defaults = member(id, options, place, &controller_ports);
            let options = of_member(id, options);
            let thread = std::thread::Builder::new().name(format!("minikafka-node-{id}"));
            let run = move || {
                // However it ends, the others end with it.
                let _ends = siblings.ended.clone().drop_guard();
                node_of(&options, place, defaults, cluster_id, None, Some(siblings))
            };
            nodes.push(thread.spawn_scoped(scope, run).map_err(node::NodeError::from)?);
        }
        drop(siblings);
        announce(&addresses, options.brokers);
        let ended =
            nodes.into_iter().map(|node| node.join().unwrap_or_else(|e| std::panic::resume_unwind(e)));
        ended.fold(Ok(()), Result::and)
    })
}

/// Names all brokers, once all are ready.
fn announce(addresses: &mpsc::Receiver<(i32, String)>, brokers: u32) {
    let mut ready: Vec<(i32, String)> = addresses.iter().take(brokers as usize).collect();
    if ready.len() == brokers as usize {
        ready.sort();
        let addresses: Vec<String> = ready.into_iter().map(|(_, address)| address).collect();
        tracing::info!(target: "minikafka", "Bootstrap address: {}", addresses.join(","));
    }
}

/// Two voters would be worse than one: either could stop both.
fn voters(brokers: u32) -> u32 {
    if brokers < VOTERS { 1 } else { VOTERS }
}

/// Ports of the loopback interface that nobody listens on right now.
fn free_ports(count: u32) -> std::io::Result<Vec<u16>> {
    let held = (0..count).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<std::io::Result<Vec<_>>>()?;
    held.iter().map(|listener| Ok(listener.local_addr()?.port())).collect()
}

/// The options as one of several nodes has them: a fixed address for metrics is the first node's.
fn of_member(id: u32, options: &DevOptions) -> DevOptions {
    let metrics = options.metrics.clone().filter(|metrics| id == 1 || metrics == "off");
    DevOptions { metrics, ..options.clone() }
}

/// The properties of a single node that keeps nobody waiting.
fn single(port: u16, data: &Path) -> Vec<(&'static str, String)> {
    let own = str::to_owned;
    let mut properties = shared(port, data, 1);
    properties.extend([
        ("process.roles", own("broker,controller")),
        ("node.id", own("1")),
        ("listeners", format!("PLAINTEXT://:{port},CONTROLLER://127.0.0.1:0")),
        ("controller.quorum.voters", own("1@127.0.0.1:0")),
    ]);
    properties
}

/// The properties of one of several nodes, whose death the others notice within about a second.
fn member(id: u32, options: &DevOptions, place: &Place, controllers: &[u16]) -> Vec<(&'static str, String)> {
    let own = str::to_owned;
    let port = if options.port == 0 { 0 } else { options.port.saturating_add((id - 1) as u16) };
    let voters: Vec<String> =
        (1..).zip(controllers).map(|(id, port)| format!("{id}@127.0.0.1:{port}")).collect();
    let (roles, listeners) = match controllers.get(id as usize - 1) {
        Some(controller) => {
            ("broker,controller", format!("PLAINTEXT://:{port},CONTROLLER://127.0.0.1:{controller}"))
        }
        None => ("broker", format!("PLAINTEXT://:{port}")),
    };
    let replicas = options.brokers.min(REPLICAS);
    let mut properties = shared(port, &place.of_node(id), replicas);
    properties.extend([
        ("process.roles", own(roles)),
        ("node.id", id.to_string()),
        ("listeners", listeners),
        ("controller.quorum.voters", voters.join(",")),
        ("default.replication.factor", replicas.to_string()),
        ("min.insync.replicas", replicas.saturating_sub(1).max(1).to_string()),
        ("broker.session.timeout.ms", own("1000")),
        ("broker.heartbeat.interval.ms", own("200")),
        ("replica.lag.time.max.ms", own("1000")),
        ("controller.quorum.election.timeout.ms", own("300")),
        ("controller.quorum.fetch.timeout.ms", own("700")),
    ]);
    properties
}

/// What all nodes are told, however many there are.
fn shared(port: u16, data: &Path, replicas: u32) -> Vec<(&'static str, String)> {
    let own = str::to_owned;
    vec![
        ("advertised.listeners", format!("PLAINTEXT://localhost:{port}")),
        ("controller.listener.names", own("CONTROLLER")),
        ("listener.security.protocol.map", own("PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT")),
        ("log.dirs", data.display().to_string()),
        ("offsets.topic.replication.factor", replicas.to_string()),
        ("transaction.state.log.replication.factor", replicas.to_string()),
        ("transaction.state.log.min.isr", replicas.saturating_sub(1).max(1).to_string()),
        ("group.initial.rebalance.delay.ms", own("0")),
        ("metrics.listener", own("http://127.0.0.1:0")),
    ]
}
