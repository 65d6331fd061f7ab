//! What the nodes say of one topic, asked all the time: of several answers the newest leader epoch counts.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::cluster::{PartitionView, metadata, views};
use crate::wire::Wire;

/// Pause between two questions to a node.
const ASK_AGAIN: Duration = Duration::from_millis(5);
/// A node that has not answered by then hangs.
const ANSWER: Duration = Duration::from_millis(250);

/// What each broker said last, in the order of the addresses; `None` for one that does not answer.
type Said = Vec<Option<Vec<PartitionView>>>;

/// The topic as the brokers see it; asking ends when it is dropped.
pub struct View {
    shared: Arc<Shared>,
    askers: Vec<JoinHandle<()>>,
}

struct Shared {
    /// Id and address of each broker.
    brokers: Vec<(usize, String)>,
    topic: String,
    said: Mutex<Said>,
    stop: AtomicBool,
}

impl View {
    /// Begins to ask these brokers, given with their addresses.
    pub fn start(brokers: Vec<(usize, String)>, topic: &str) -> View {
        let said = Mutex::new(vec![None; brokers.len()]);
        let shared = Shared { brokers, topic: topic.to_owned(), said, stop: AtomicBool::new(false) };
        let shared = Arc::new(shared);
        let asker = |at: usize| {
            let shared = shared.clone();
            std::thread::spawn(move || ask(&shared, at))
        };
        let askers = (0..shared.brokers.len()).map(asker).collect();
        View { shared, askers }
    }

    /// Who to ask for, from any thread.
    pub fn leaders(&self) -> Leaders {
        Leaders(self.shared.clone())
    }

    /// Whether every broker answers, and says this of all partitions.
    pub fn all_say(&self, is_so: impl Fn(&PartitionView) -> bool) -> bool {
        let said = self.shared.said.lock().unwrap_or_else(PoisonError::into_inner);
        said.iter().all(|said| said.as_ref().is_some_and(|said| !said.is_empty() && said.iter().all(&is_so)))
    }

    /// The newest of each partition.
    pub fn newest(&self) -> Vec<PartitionView> {
        let said = self.shared.said.lock().unwrap_or_else(PoisonError::into_inner);
        let count = said.iter().flatten().map(Vec::len).max().unwrap_or(0);
        (0..count).filter_map(|partition| newest(&said, partition)).collect()
    }
}

impl Drop for View {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for asker in self.askers.drain(..) {
            // One that panicked has said so.
            let _ = asker.join();
        }
    }
}

/// Who leads, for a prober.
#[derive(Clone)]
pub struct Leaders(Arc<Shared>);

impl Leaders {
    /// Id, address and epoch of the leader; `None` while there is none.
    pub fn of(&self, partition: usize) -> Option<(usize, String, i32)> {
        let said = self.0.said.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = newest(&said, partition)?;
        let leader = newest.leader?;
        let (_, address) = self.0.brokers.iter().find(|(id, _)| *id == leader)?;
        Some((leader, address.clone(), newest.epoch))
    }

    /// Name of the topic.
    pub fn topic(&self) -> &str {
        &self.0.topic
    }
}

fn newest(said: &Said, partition: usize) -> Option<PartitionView> {
    said.iter().flatten().filter_map(|said| said.get(partition)).max_by_key(|view| view.epoch).cloned()
}

fn ask(shared: &Shared, at: usize) {
    let mut wire: Option<Wire> = None;
    while !shared.stop.load(Ordering::Relaxed) {
        if wire.is_none() {
            wire = Wire::connect(&shared.brokers[at].1).ok();
        }
        let answered = wire.as_mut().and_then(|wire| {
            wire.set_limit(ANSWER).ok()?;
            metadata(wire, &shared.topic).ok()
        });
        let views = answered.map(|answer| views(&answer));
        if views.is_none() {
            wire = None;
        }
        shared.said.lock().unwrap_or_else(PoisonError::into_inner)[at] = views;
        std::thread::sleep(ASK_AGAIN);
    }
}
