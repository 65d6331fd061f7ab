//! What is measured: a server process, or a cluster of three, on fresh directories and ready for the first request.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::str::FromStr;
use std::time::{Duration, Instant};

use minikafka_tests::cluster::{Cluster, Quorum, Role};
use minikafka_tests::node::{Node, Target};
use minikafka_tests::ports::free_port;
use minikafka_tests::wire::Wire;
use tempfile::TempDir;

/// What Apache Kafka's own start script gives its JVM.
const KAFKA_JVM: &[&str] = &[
    "-Xmx1G",
    "-Xms1G",
    "-server",
    "-XX:+UseG1GC",
    "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35",
    "-XX:+ExplicitGCInvokesConcurrent",
    "-XX:MaxInlineLevel=15",
    "-Djava.awt.headless=true",
];
/// Deleted topics leave the disk at once, for both programs.
const PROPERTIES: &[(&str, &str)] = &[("log.segment.delete.delay.ms", "0")];
/// What the nodes of a cluster are told beside it; all else is Kafka's default.
const CLUSTER_PROPERTIES: &[(&str, &str)] =
    &[("log.segment.delete.delay.ms", "0"), ("min.insync.replicas", "2")];
/// Each node of a cluster is a broker and a controller.
const CLUSTER: [Role; 3] = [Role::Combined; 3];

/// How long a server may take until it accepts.
const PATIENCE: Duration = Duration::from_secs(90);

/// Who runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The release binary of this workspace, or the one that `MINIKAFKA_BIN` names.
    Ours,
    /// [`crate::floor`].
    Floor,
    /// Apache Kafka from its jars.
    Kafka,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Side::Ours => "ours",
            Side::Floor => "floor",
            Side::Kafka => "kafka",
        })
    }
}

impl FromStr for Side {
    type Err = String;

    fn from_str(text: &str) -> Result<Side, String> {
        match text {
            "floor" => Ok(Side::Floor),
            "kafka" => Ok(Side::Kafka),
            _ => Err("ours is compared with floor or kafka".to_owned()),
        }
    }
}

/// A server, or a cluster of them, in a temporary directory; it ends, and its files go, on drop.
pub struct Server {
    /// Who it is.
    pub side: Side,
    /// Topics that were made on it, for names that do not repeat.
    pub topics: Cell<u32>,
    process: Process,
}

enum Process {
    Node(Box<Node>),
    Cluster(Box<Cluster>),
    Floor { child: Option<Child>, port: u16, dir: TempDir },
}

impl Server {
    /// A fresh directory, formatted where that is needed, and no process yet.
    pub fn prepare(side: Side) -> io::Result<Server> {
        let process = if side == Side::Floor {
            let dir = tempfile::Builder::new().prefix("minikafka-bench-").tempdir()?;
            let port = free_port();
            Process::Floor { child: None, port, dir }
        } else {
            let mut node = Node::prepared(target(side), PROPERTIES);
            node.set_jvm_options(KAFKA_JVM);
            node.format();
            Process::Node(Box::new(node))
        };
        Ok(Server { side, topics: Cell::new(0), process })
    }

    /// A cluster of three nodes, started; the floor has none.
    pub fn cluster(side: Side) -> io::Result<Server> {
        if side == Side::Floor {
            return Err(io::Error::other("the floor does not replicate"));
        }
        let targets = [target(side); CLUSTER.len()];
        let quorum = Quorum::Dynamic(CLUSTER.len());
        let mut cluster = Cluster::prepared(&targets, &CLUSTER, quorum, CLUSTER_PROPERTIES);
        cluster.nodes.iter_mut().for_each(|node| node.set_jvm_options(KAFKA_JVM));
        cluster.format();
        cluster.start_all();
        Ok(Server { side, topics: Cell::new(0), process: Process::Cluster(Box::new(cluster)) })
    }

    /// Prepares it, starts it and waits until it serves.
    pub fn start(side: Side) -> io::Result<Server> {
        let mut server = Server::prepare(side)?;
        match &mut server.process {
            Process::Node(node) => node.start(),
            Process::Cluster(cluster) => cluster.start_all(),
            Process::Floor { .. } => {
                server.spawn()?;
                server.accepting()?;
            }
        }
        Ok(server)
    }

    /// Starts the process and returns at once.
    pub fn spawn(&mut self) -> io::Result<()> {
        match &mut self.process {
            Process::Node(node) => {
                node.spawn();
            }
            Process::Cluster(cluster) => cluster.nodes.iter_mut().for_each(|node| {
                node.spawn();
            }),
            // The floor is this program in another role.
            Process::Floor { child, port, dir } => {
                let mut command = Command::new("setpriv");
                command.args(["--pdeathsig", "KILL", "--"]).arg(std::env::current_exe()?);
                command.args(["floor", "--port", &port.to_string(), "--data"]).arg(dir.path());
                *child = Some(command.stdin(Stdio::null()).spawn()?);
            }
        }
        Ok(())
    }

    /// A connection as soon as there can be one, and its moment.
    pub fn accepting(&self) -> io::Result<(Wire, Instant)> {
        Wire::connect_soon(&self.address().to_string(), PATIENCE)
    }

    /// A clean stop.
    pub fn stop(&mut self) {
        match &mut self.process {
            Process::Node(node) => node.stop(),
            Process::Cluster(cluster) => cluster.nodes.iter_mut().for_each(Node::stop),
            Process::Floor { .. } => self.kill(),
        }
    }

    /// The end at once.
    pub fn kill(&mut self) {
        match &mut self.process {
            Process::Node(node) => node.kill(),
            Process::Cluster(cluster) => cluster.nodes.iter_mut().for_each(Node::kill),
            Process::Floor { child, .. } => {
                if let Some(mut child) = child.take() {
                    let _ = child.kill();
                    let _ = child.wait();
                }
            }
        }
    }

    /// Its nodes; none is the floor.
    fn nodes(&self) -> &[Node] {
        match &self.process {
            Process::Node(node) => std::slice::from_ref(node),
            Process::Cluster(cluster) => &cluster.nodes,
            Process::Floor { .. } => &[],
        }
    }

    /// Where it listens: each node of a cluster, in the order in which they lead the partitions of [`crate::topic`].
    pub fn addresses(&self) -> Vec<SocketAddr> {
        if let Process::Floor { port, .. } = &self.process {
            return vec![SocketAddr::from(([127, 0, 0, 1], *port))];
        }
        let address = |node: &Node| node.bootstrap().parse().expect("a bootstrap address is one of a socket");
        self.nodes().iter().map(address).collect()
    }

    /// Where the first of them listens, which leads partition 0 of every topic.
    pub fn address(&self) -> SocketAddr {
        self.addresses()[0]
    }

    /// Its running processes.
    pub fn pids(&self) -> Vec<u32> {
        if let Process::Floor { child, .. } = &self.process {
            return vec![child.as_ref().expect("the floor runs").id()];
        }
        self.nodes().iter().map(Node::pid).collect()
    }

    /// Its running process, or the first of a cluster's.
    pub fn pid(&self) -> u32 {
        self.pids()[0]
    }

    /// The directories of its logs.
    pub fn data(&self) -> Vec<PathBuf> {
        if let Process::Floor { dir, .. } = &self.process {
            return vec![dir.path().to_path_buf()];
        }
        self.nodes().iter().map(Node::data).collect()
    }

    /// A connection for what happens around the rounds.
    pub fn wire(&self) -> io::Result<Wire> {
        Wire::connect(&self.address().to_string())
    }
}

fn target(side: Side) -> Target {
    if side == Side::Kafka { Target::Apache } else { Target::Ours }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}
