//! A network of its own for a cluster: every node in a network namespace, all on one bridge, and cuts between any two.
//!
//! A cut is one-way: the sender's entry for the receiver in its neighbour table names a link address that nobody has,
//! so that packets go out and are lost, as behind a broken switch: nothing is refused and no connection ends. Two such
//! entries cut both ways. The namespaces have no name and no process: they end with the files that hold them open.
//! Needs root; nothing of the machine's own network is touched.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// The clients' place in the network, beside the nodes' ids.
pub const CLIENTS: usize = 100;
/// A link address that nobody has.
const NOWHERE: usize = 254;
const OWN: &str = "/proc/self/ns/net";

/// The namespaces of a cluster and of its clients.
pub struct Network {
    /// Of the clients, with the bridge.
    hub: File,
    nodes: Vec<File>,
    /// Senders and receivers between which packets are lost now.
    cuts: Vec<(usize, usize)>,
}

impl Network {
    /// A network of nodes 1 to `nodes` and their clients; `None` where this process may not make one.
    pub fn new(nodes: usize) -> Option<Network> {
        let hub = namespace()?;
        let nodes: Option<Vec<File>> = (0..nodes).map(|_| namespace()).collect();
        let network = Network { hub, nodes: nodes?, cuts: Vec::new() };
        network.wire_up().then_some(network)
    }

    /// Has this thread, and all threads and processes that it starts from now on, be the clients.
    pub fn enter(&self) {
        let link = Some(LinkNameSpaceType::Network);
        move_into_link_name_space(self.hub.as_fd(), link)
            .expect("a process that made the namespace may enter");
    }

    /// The node's address.
    pub fn address(id: usize) -> String {
        format!("10.77.0.{id}")
    }

    /// The node's namespace, as `nsenter --net` takes it.
    pub fn namespace(&self, id: usize) -> PathBuf {
        path(&self.nodes[id - 1])
    }

    /// Nothing that `from` sends to `to` arrives.
    pub fn cut(&mut self, from: usize, to: usize) {
        assert!(self.neighbour(from, to, NOWHERE), "a neighbour can be set");
        self.cuts.push((from, to));
    }

    /// Everything arrives again.
    pub fn heal(&mut self) {
        for (from, to) in std::mem::take(&mut self.cuts) {
            assert!(self.neighbour(from, to, to), "a neighbour can be set");
        }
    }

    fn wire_up(&self) -> bool {
        let ids = 1..=self.nodes.len();
        let bridge = ip(&self.hub, "link add br0 type bridge")
            && ip(&self.hub, &format!("link set br0 address {} up", link_address(CLIENTS)))
            && ip(&self.hub, &format!("addr add {}/24 dev br0", Network::address(CLIENTS)))
            && ip(&self.hub, "link set lo up");
        bridge && ids.clone().all(|id| self.wire_node(id)) && ids.clone().all(|id| self.introduce(id))
    }

    fn wire_node(&self, id: usize) -> bool {
        let (own, link) = (&self.nodes[id - 1], link_address(id));
        let inside = path(own);
        let pair =
            format!("link add n{id} type veth peer name eth0 address {link} netns {}", inside.display());
        ip(&self.hub, &pair)
            && ip(&self.hub, &format!("link set n{id} master br0 up"))
            && ip(own, &format!("addr add {}/24 dev eth0", Network::address(id)))
            && ip(own, "link set eth0 up")
            && ip(own, "link set lo up")
    }

    /// Tells the node all others' link addresses, and the clients the node's.
    fn introduce(&self, id: usize) -> bool {
        let others = (1..=self.nodes.len()).chain([CLIENTS]).filter(|other| *other != id);
        let mut told = others.map(|other| self.neighbour(id, other, other));
        told.all(|done| done) && self.neighbour(CLIENTS, id, id)
    }

    /// What `from` sends to `to` goes to the link address of `link`.
    fn neighbour(&self, from: usize, to: usize, link: usize) -> bool {
        let (own, device) =
            if from == CLIENTS { (&self.hub, "br0") } else { (&self.nodes[from - 1], "eth0") };
        let (to, link) = (Network::address(to), link_address(link));
        ip(own, &format!("neigh replace {to} lladdr {link} nud permanent dev {device}"))
    }
}

fn link_address(id: usize) -> String {
    format!("02:00:00:00:00:{id:02x}")
}

fn path(namespace: &File) -> PathBuf {
    format!("/proc/{}/fd/{}", std::process::id(), namespace.as_raw_fd()).into()
}

/// Runs `ip` in the namespace, which is not the machine's own.
fn ip(namespace: &File, words: &str) -> bool {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net={}", path(namespace).display())).arg("ip").args(words.split(' '));
    command.stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// A new namespace, held open by the file; `None` where that is not allowed.
fn namespace() -> Option<File> {
    let mut command = Command::new("unshare");
    command.args(["--net", "cat"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut holder = command.spawn().ok()?;
    let opened = first_echo(&mut holder).and_then(|()| {
        let theirs = PathBuf::from(format!("/proc/{}/ns/net", holder.id()));
        let is_new = std::fs::read_link(&theirs).ok()? != std::fs::read_link(Path::new(OWN)).ok()?;
        if is_new { File::open(theirs).ok() } else { None }
    });
    drop(holder.stdin.take());
    let _ = holder.wait();
    opened
}

/// Returns when the process echoes: then it is in its namespace.
fn first_echo(holder: &mut std::process::Child) -> Option<()> {
    holder.stdin.as_mut()?.write_all(b"x\n").ok()?;
    let mut line = String::new();
    BufReader::new(holder.stdout.as_mut()?).read_line(&mut line).ok().filter(|read| *read > 0)?;
    Some(())
}
