//! Breaks nodes, links and disks, and mends them again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;

use super::plan::{Kind, Step, Who};
use crate::cluster::{Cluster, Role, describe_quorum, metadata};
use crate::faults::SmallDisk;
use crate::history::{Event, History, now};
use crate::network::{CLIENTS, Network};
use crate::node::{PATIENCE, READY};
use crate::wire::Wire;

/// What a node never prints, whatever is done to it.
const COMPLAINTS: [&str; 2] = ["panicked", "what the leader sent cannot be appended"];
const FILLER: &str = "filler";
/// What a disk of a node takes, in MiB.
const DISK_MIB: u32 = 96;

/// A cluster whose parts can be broken.
pub struct Breaker {
    /// Of each node's log directory and metadata log; none where file systems cannot be mounted.
    disks: Vec<SmallDisk>,
    /// The nodes.
    pub cluster: Cluster,
    roles: Vec<Role>,
    network: Option<Network>,
    frozen: BTreeSet<usize>,
    full: Vec<PathBuf>,
    /// Nodes that may end because of what was done to them.
    excused: BTreeSet<usize>,
    /// Nodes whose log directory is empty.
    wiped: BTreeSet<usize>,
    /// Nodes that were started since all were ready, and the line of their output where that was.
    spawned: BTreeMap<usize, usize>,
    /// Lines of each node's output that were looked through.
    lines_read: Vec<usize>,
}

impl Breaker {
    /// Takes over an unformatted cluster; each node's metadata log gets a directory of its own.
    pub fn new(cluster: Cluster, roles: &[Role], network: Option<Network>) -> Breaker {
        let mut disks = Vec::new();
        for (id, node) in (1..).zip(&cluster.nodes) {
            node.set("broker.rack", Some(&format!("rack-{id}")));
            let metadata = node.data().with_file_name("metadata");
            node.set("metadata.log.dir", Some(&metadata.display().to_string()));
            disks.extend([node.data(), metadata].iter().map_while(|path| SmallDisk::mount(path, DISK_MIB)));
        }
        if disks.len() < 2 * roles.len() {
            disks.clear();
        }
        Breaker {
            disks,
            lines_read: vec![0; cluster.nodes.len()],
            cluster,
            roles: roles.to_vec(),
            network,
            frozen: BTreeSet::new(),
            full: Vec::new(),
            excused: BTreeSet::new(),
            wiped: BTreeSet::new(),
            spawned: BTreeMap::new(),
        }
    }

    /// Ids of the brokers, whether they run or not.
    pub fn brokers(&self) -> Vec<usize> {
        (1..=self.roles.len()).filter(|id| self.roles[id - 1] != Role::Controller).collect()
    }

    /// What can be done here in place of a fault that cannot.
    pub fn possible(&self, kind: Kind) -> Kind {
        match kind {
            kind if kind.is_cut() && self.network.is_none() => Kind::Freeze,
            kind if kind.is_full() && self.disks.is_empty() => Kind::Kill,
            kind => kind,
        }
    }

    /// Does what the step says; gives whom it hit. `topic` tells who leads.
    pub fn break_it(&mut self, step: &Step, topic: &str, history: &History) -> Vec<usize> {
        let kind = self.possible(step.kind);
        let hit = self.resolve(step.who, kind, topic);
        let brokers = self.brokers();
        let other =
            brokers.iter().copied().find(|id| *id > hit).or(brokers.iter().copied().find(|id| *id != hit));
        let all: Vec<usize> = (1..=self.roles.len()).collect();
        let both: Vec<usize> = [Some(hit), other].into_iter().flatten().collect();
        let hits = match kind {
            Kind::KillAll => all,
            Kind::KillQuorum => self.majority(),
            Kind::KillTwo | Kind::FreezeTwo | Kind::CutPair => both,
            _ => vec![hit],
        };
        match kind {
            Kind::Kill | Kind::KillTwo | Kind::KillAll | Kind::KillQuorum => {
                hits.iter().for_each(|id| self.kill(*id))
            }
            Kind::Stop => self.stop(hit),
            Kind::Freeze | Kind::FreezeTwo => hits.iter().for_each(|id| self.freeze(*id)),
            Kind::FillData => self.fill(hit, self.cluster.node(hit).data()),
            Kind::FillMetadata => self.fill(hit, self.cluster.node(hit).data().with_file_name("metadata")),
            Kind::Wipe => {
                self.kill(hit);
                self.wiped.insert(hit);
            }
            _ => self.cut(kind, &hits),
        }
        let is_down = |id: &&usize| self.frozen.contains(id) || !self.cluster.node(**id).is_running();
        let down = brokers.iter().filter(is_down).count();
        history.add(Event::Faulted { at: now(), what: format!("{kind:?} {hits:?}"), down });
        hits
    }

    /// Undoes everything; returns when the processes are on their way.
    pub fn mend(&mut self, history: &History) {
        history.add(Event::Mending { at: now() });
        if let Some(network) = &mut self.network {
            network.heal();
        }
        for id in std::mem::take(&mut self.frozen) {
            if self.cluster.node(id).is_running() {
                self.cluster.node(id).thaw();
            }
        }
        let full: Vec<_> = std::mem::take(&mut self.full);
        full.iter().for_each(|path| fs::remove_file(path).expect("the filler can be removed"));
        self.note_ends(history);
        // A broker goes on without a directory that failed: it takes it up again at its next start.
        for id in std::mem::take(&mut self.excused) {
            self.cluster.node_mut(id).kill();
        }
        for id in std::mem::take(&mut self.wiped) {
            self.wipe(id);
        }
        for (id, node) in (1..).zip(&mut self.cluster.nodes) {
            if !node.is_running() {
                self.spawned.insert(id, node.spawn());
            }
        }
    }

    /// Waits until all nodes that were started say that they are ready; gives whether they do.
    pub fn wait_ready(&mut self, history: &History) -> bool {
        let mut ready = true;
        for (id, from) in std::mem::take(&mut self.spawned) {
            let said = |line: &str| line.contains(READY).then_some(());
            if let Err(why) = self.cluster.node(id).output().wait(from, PATIENCE, said) {
                history.add(Event::Died { at: now(), node: id, why: format!("not ready: {why}") });
                ready = false;
            }
        }
        ready
    }

    /// Notes nodes that ended of their own, or panicked.
    pub fn note_ends(&mut self, history: &History) {
        for id in 1..=self.roles.len() {
            let node = self.cluster.node_mut(id);
            let end = node.take_end();
            let text = node.output().text(self.lines_read[id - 1]);
            self.lines_read[id - 1] += text.lines().count();
            let note = |why: String| history.add(Event::Died { at: now(), node: id, why });
            if let Some(line) = text.lines().find(|line| COMPLAINTS.iter().any(|what| line.contains(what))) {
                note(line.to_owned());
            }
            if let Some(status) = end.filter(|_| !self.excused.contains(&id)) {
                note(format!("{status}; last lines:\n{}", node.output().tail()));
            }
        }
    }

    /// More than half of the controllers, the active one among them.
    fn majority(&self) -> Vec<usize> {
        let controllers = (1..=self.roles.len()).filter(|id| self.roles[id - 1] != Role::Broker);
        let (active, mut controllers) = (self.controller(), controllers.collect::<Vec<_>>());
        controllers.sort_by_key(|id| Some(*id) != active);
        controllers.truncate(controllers.len() / 2 + 1);
        controllers
    }

    fn resolve(&self, who: Who, kind: Kind, topic: &str) -> usize {
        let brokers = self.brokers();
        let number = if let Who::Any(number) = who { number as usize } else { 0 };
        let any_broker = brokers[number % brokers.len()];
        let of_broker = |leads: bool| {
            let leader = self.leader(topic);
            brokers.iter().copied().find(|id| (Some(*id) == leader) == leads).unwrap_or(any_broker)
        };
        match who {
            Who::Leader => of_broker(true),
            Who::Follower => of_broker(false),
            // Only a broker has data to lose.
            _ if matches!(kind, Kind::Wipe | Kind::FillData) => any_broker,
            Who::Controller => self.controller().unwrap_or(any_broker),
            Who::Any(number) => number as usize % self.roles.len() + 1,
        }
    }

    fn addresses(&self) -> impl Iterator<Item = String> {
        let running = self.cluster.brokers().into_iter().filter(|id| !self.frozen.contains(id));
        running.map(|id| self.cluster.node(id).bootstrap())
    }

    fn leader(&self, topic: &str) -> Option<usize> {
        self.addresses().find_map(|address| {
            let answer = metadata(&mut quick(&address)?, topic).ok()?;
            let partitions = &answer.topics.first()?.partitions;
            let first = partitions.iter().find(|partition| partition.partition_index == 0)?;
            usize::try_from(first.leader_id.0).ok()
        })
    }

    fn controller(&self) -> Option<usize> {
        self.addresses().find_map(|address| Some(describe_quorum(&mut quick(&address)?)?.leader))
    }

    fn kill(&mut self, id: usize) {
        self.frozen.remove(&id);
        self.cluster.node_mut(id).kill();
    }

    /// One that cannot stop while others are broken is killed when it is mended.
    fn stop(&mut self, id: usize) {
        if self.cluster.node(id).is_running() {
            self.excused.insert(id);
            self.cluster.node(id).terminate();
        }
    }

    fn freeze(&mut self, id: usize) {
        if self.cluster.node(id).is_running() && self.frozen.insert(id) {
            self.cluster.node(id).freeze();
        }
    }

    fn cut(&mut self, kind: Kind, hits: &[usize]) {
        let (hit, all) = (hits[0], 1..=self.roles.len());
        let others: Vec<usize> = match kind {
            Kind::CutPair => hits[1..].to_vec(),
            Kind::CutAway => all.filter(|id| *id != hit).chain([CLIENTS]).collect(),
            _ => all.filter(|id| *id != hit).collect(),
        };
        let Some(network) = &mut self.network else { return };
        for other in others {
            if kind != Kind::CutIn {
                network.cut(hit, other);
            }
            if kind != Kind::CutOut {
                network.cut(other, hit);
            }
        }
    }

    /// Fills the file system to the last byte.
    fn fill(&mut self, id: usize, dir: PathBuf) {
        self.excused.insert(id);
        let path = dir.join(FILLER);
        let mut file = File::create(&path).expect("a file can be made");
        self.full.push(path);
        for block in [1 << 20, 4096, 64] {
            let zeros = vec![0; block];
            while file.write_all(&zeros).is_ok() {}
        }
    }

    /// Empties the log directory; a node that is only a broker loses everything.
    fn wipe(&mut self, id: usize) {
        empty(&self.cluster.node(id).data());
        if self.roles[id - 1] == Role::Broker {
            empty(&self.cluster.node(id).data().with_file_name("metadata"));
            self.cluster.format_node(id);
        }
    }
}

fn quick(address: &str) -> Option<Wire> {
    let limit = std::time::Duration::from_millis(300);
    Wire::connect_within(address, limit, limit).ok()
}

fn empty(dir: &std::path::Path) {
    for entry in fs::read_dir(dir).expect("the directory can be listed").flatten() {
        let path = entry.path();
        let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.expect("what is in it can be removed");
    }
}
