//! What is measured: a server process on a fresh directory, ready for its first request.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::str::FromStr;
use std::time::Duration;

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

/// A running server; it ends, and its files go, on drop.
pub struct Server {
    /// Who it is.
    pub side: Side,
    process: Process,
}

enum Process {
    Node(Box<Node>),
    Floor { child: Child, port: u16, dir: TempDir },
}

impl Server {
    /// Starts it in a fresh temporary directory.
    pub fn start(side: Side) -> io::Result<Server> {
        let process = match side {
            Side::Floor => floor()?,
            Side::Ours => Process::Node(Box::new(Node::fresh(Target::Ours, PROPERTIES))),
            Side::Kafka => {
                let mut node = Node::prepared(Target::Apache, PROPERTIES);
                node.set_jvm_options(KAFKA_JVM);
                node.format();
                Process::Node(Box::new(node.started()))
            }
        };
        Ok(Server { side, process })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        match &self.process {
            Process::Node(node) => node.bootstrap().parse().expect("a bootstrap address is one of a socket"),
            Process::Floor { port, .. } => SocketAddr::from(([127, 0, 0, 1], *port)),
        }
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        match &self.process {
            Process::Node(node) => node.pid(),
            Process::Floor { child, .. } => child.id(),
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
        if let Process::Floor { child, .. } = &mut self.process {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The floor is this program in another role.
fn floor() -> io::Result<Process> {
    let [port] = free_ports();
    let dir = tempfile::Builder::new().prefix("minikafka-bench-").tempdir()?;
    let child = floor_command(port, dir.path())?.stdin(Stdio::null()).spawn()?;
    Wire::connect_soon(&format!("127.0.0.1:{port}"), Duration::from_secs(20))?;
    Ok(Process::Floor { child, port, dir })
}

fn floor_command(port: u16, data: &Path) -> io::Result<Command> {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(std::env::current_exe()?);
    command.args(["floor", "--port", &port.to_string(), "--data"]).arg(data);
    Ok(command)
}
