//! What is measured: a server process on a fresh directory, ready for its first request.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::str::FromStr;
use std::time::{Duration, Instant};

use minikafka_tests::node::{Node, Target, free_ports};
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

/// A server in a temporary directory; it ends, and its files go, on drop.
pub struct Server {
    /// Who it is.
    pub side: Side,
    /// Topics that were made on it, for names that do not repeat.
    pub topics: Cell<u32>,
    process: Process,
}

enum Process {
    Node(Box<Node>),
    Floor { child: Option<Child>, port: u16, dir: TempDir },
}

impl Server {
    /// A fresh directory, formatted where that is needed, and no process yet.
    pub fn prepare(side: Side) -> io::Result<Server> {
        let process = if side == Side::Floor {
            let dir = tempfile::Builder::new().prefix("minikafka-bench-").tempdir()?;
            let [port] = free_ports();
            Process::Floor { child: None, port, dir }
        } else {
            let target = if side == Side::Kafka { Target::Apache } else { Target::Ours };
            let mut node = Node::prepared(target, PROPERTIES);
            node.set_jvm_options(KAFKA_JVM);
            node.format();
            Process::Node(Box::new(node))
        };
        Ok(Server { side, topics: Cell::new(0), process })
    }

    /// Prepares it, starts it and waits until it serves.
    pub fn start(side: Side) -> io::Result<Server> {
        let mut server = Server::prepare(side)?;
        match &mut server.process {
            Process::Node(node) => node.start(),
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
            Process::Floor { .. } => self.kill(),
        }
    }

    /// The end at once.
    pub fn kill(&mut self) {
        match &mut self.process {
            Process::Node(node) => node.kill(),
            Process::Floor { child, .. } => {
                if let Some(mut child) = child.take() {
                    let _ = child.kill();
                    let _ = child.wait();
                }
            }
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        match &self.process {
            Process::Node(node) => node.bootstrap().parse().expect("a bootstrap address is one of a socket"),
            Process::Floor { port, .. } => SocketAddr::from(([127, 0, 0, 1], *port)),
        }
    }

    /// Its running process.
    pub fn pid(&self) -> u32 {
        match &self.process {
            Process::Node(node) => node.pid(),
            Process::Floor { child, .. } => child.as_ref().expect("the floor runs").id(),
        }
    }

    /// The directory of its logs.
    pub fn data(&self) -> PathBuf {
        match &self.process {
            Process::Node(node) => node.data(),
            Process::Floor { dir, .. } => dir.path().to_path_buf(),
        }
    }

    /// A connection for what happens around the rounds.
    pub fn wire(&self) -> io::Result<Wire> {
        Wire::connect(&self.address().to_string())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}
