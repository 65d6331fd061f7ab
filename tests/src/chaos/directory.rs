//! Who leads what, as a client knows it: from any broker that answers, and never back to an earlier leader epoch.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::time::Duration;

use crate::cluster::metadata;
use crate::random::Random;
use crate::wire::Wire;

/// How long a connection may take: none is far away.
const CONNECT: Duration = Duration::from_millis(250);
/// How long an answer may take that waits for nothing.
const ANSWER: Duration = Duration::from_millis(700);

/// Node ids and addresses.
pub type Addresses = Vec<(usize, String)>;

/// The leader of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leader {
    /// Its node.
    pub node: usize,
    /// Its leader epoch.
    pub epoch: i32,
}

/// One client's knowledge of a topic, with its connections.
pub struct Directory {
    brokers: Addresses,
    topic: String,
    leaders: BTreeMap<i32, Leader>,
    links: HashMap<usize, Wire>,
    random: Random,
}

impl Directory {
    /// Of a topic on these brokers; knows nothing yet.
    pub fn new(brokers: &Addresses, topic: &str, random: Random) -> Directory {
        let (leaders, links) = (BTreeMap::new(), HashMap::new());
        Directory { brokers: brokers.clone(), topic: topic.to_owned(), leaders, links, random }
    }

    /// The leader, if any is known.
    pub fn leader(&self, partition: i32) -> Option<Leader> {
        self.leaders.get(&partition).copied()
    }

    /// Any broker.
    pub fn any(&mut self) -> usize {
        self.brokers[self.random.between(0, self.brokers.len() as u64) as usize].0
    }

    /// Asks one broker who leads. Its answer counts where it knows of no earlier epoch than this client.
    pub fn refresh(&mut self) {
        let broker = self.any();
        let topic = self.topic.clone();
        let Ok(answer) = self.with(broker, |wire| metadata(wire, &topic)) else { return };
        for partition in answer.topics.iter().flat_map(|topic| &topic.partitions) {
            let Ok(node) = usize::try_from(partition.leader_id.0) else { continue };
            let said = Leader { node, epoch: partition.leader_epoch };
            let known = self.leaders.entry(partition.partition_index).or_insert(said);
            if said.epoch >= known.epoch {
                *known = said;
            }
        }
    }

    /// Calls a broker on its connection, which is made anew after an error.
    pub fn with<T>(&mut self, node: usize, call: impl FnOnce(&mut Wire) -> io::Result<T>) -> io::Result<T> {
        let mut wire = match self.links.remove(&node) {
            Some(wire) => wire,
            None => self.connect(node, ANSWER)?,
        };
        let result = call(&mut wire);
        if result.is_ok() {
            self.links.insert(node, wire);
        }
        result
    }

    /// A connection of its own.
    pub fn connect(&self, node: usize, answer: Duration) -> io::Result<Wire> {
        let found = self.brokers.iter().find(|(id, _)| *id == node);
        let (_, address) = found.ok_or_else(|| io::Error::other("a leader that is no broker"))?;
        Wire::connect_within(address, CONNECT, answer)
    }
}
