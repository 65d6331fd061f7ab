//! Topics of the rounds: made, ready in every partition, and gone from the disk again.

use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use minikafka_tests::cluster::create_assigned;
use minikafka_tests::wire::{Wire, name};
use protocol::ErrorCode;
use protocol::messages::DeleteTopicsRequest;
use protocol::messages::delete_topics_request::DeleteTopicState;
use protocol::messages::fetch_request::FetchPartition;

use crate::frames::{FETCH_VERSION, fetch_request};
use crate::server::{Server, Side};

/// The longest wait for a server to make or drop a topic.
const PATIENCE: Duration = Duration::from_secs(300);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(5);

/// The topics of one server or cluster.
pub struct Topics<'a> {
    side: Side,
    /// To each node; of `n`, number `p % n` leads partition `p`, and all have a replica.
    wires: Vec<Wire>,
    data: Vec<PathBuf>,
    made: &'a std::cell::Cell<u32>,
}

impl<'a> Topics<'a> {
    /// With connections of their own.
    pub fn of(server: &'a Server) -> io::Result<Topics<'a>> {
        let mut wires = Vec::new();
        for address in server.addresses() {
            let mut wire = Wire::connect(&address.to_string())?;
            wire.set_limit(PATIENCE)?;
            wires.push(wire);
        }
        Ok(Topics { side: server.side, wires, data: server.data(), made: &server.topics })
    }

    /// Creates a topic and waits until each partition can be read; gives its name.
    pub fn create(&mut self, partitions: usize) -> io::Result<String> {
        self.made.set(self.made.get() + 1);
        let topic = format!("bench-{}", self.made.get());
        let nodes = self.wires.len();
        let error = if nodes == 1 {
            self.wires[0].create_topic(&topic, partitions as i32)?
        } else {
            let ids: Vec<usize> = (0..partitions + nodes).map(|i| i % nodes + 1).collect();
            let replicas: Vec<&[usize]> = (0..partitions).map(|p| &ids[p..p + nodes]).collect();
            create_assigned(&mut self.wires[0], &topic, &replicas)?
        };
        // What takes longer than the request may goes on behind it.
        if !matches!(error, ErrorCode::NONE | ErrorCode::REQUEST_TIMED_OUT) {
            return Err(io::Error::other(format!("CreateTopics {topic}: {error:?}")));
        }
        // The floor's topics are there when they are named.
        if self.side != Side::Floor {
            for (first, wire) in self.wires.iter_mut().enumerate() {
                wait_served(wire, &topic, (first..partitions).step_by(nodes))?;
            }
        }
        Ok(topic)
    }

    /// Deletes a topic and waits until its files are gone, so that the next round does not pay for it.
    pub fn delete(&mut self, topic: &str) -> io::Result<()> {
        let request = DeleteTopicsRequest::default()
            .with_topics(vec![DeleteTopicState::default().with_name(Some(name(topic)))])
            .with_timeout_ms(30_000);
        let answer = self.wires[0].call(6, &request)?;
        let error = ErrorCode(answer.responses.first().map_or(0, |r| r.error_code));
        if !matches!(error, ErrorCode::NONE | ErrorCode::REQUEST_TIMED_OUT) {
            return Err(io::Error::other(format!("DeleteTopics {topic}: {error:?}")));
        }
        let deadline = Instant::now() + PATIENCE;
        let prefix = format!("{topic}-");
        let there = |entry: std::fs::DirEntry| entry.file_name().to_string_lossy().starts_with(&prefix);
        for data in &self.data {
            while std::fs::read_dir(data)?.flatten().any(there) {
                if Instant::now() > deadline {
                    return Err(io::Error::other(format!("the files of {topic} stay")));
                }
                std::thread::sleep(PAUSE);
            }
        }
        Ok(())
    }
}

/// Waits until each of these partitions of a topic answers a fetch without an error.
pub fn wait_served(wire: &mut Wire, topic: &str, partitions: impl Iterator<Item = usize>) -> io::Result<()> {
    let mut request = fetch_request(topic, 0, 0, 1, 0);
    request.topics[0].partitions = partitions
        .map(|index| FetchPartition::default().with_partition(index as i32).with_partition_max_bytes(1))
        .collect();
    let wanted = request.topics[0].partitions.len();
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = wire.call(FETCH_VERSION, &request)?;
        let served = answer.responses.iter().flat_map(|t| &t.partitions).filter(|p| p.error_code == 0);
        if served.count() == wanted {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(io::Error::other(format!("not all partitions of {topic} are served")));
        }
        std::thread::sleep(PAUSE);
    }
}
