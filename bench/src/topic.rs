//! Topics of the rounds: made, ready in every partition, and gone from the disk again.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use minikafka_tests::wire::{Wire, name};
use protocol::ErrorCode;
use protocol::messages::DeleteTopicsRequest;
use protocol::messages::delete_topics_request::DeleteTopicState;

/// The longest wait for a server to make or drop a topic.
const PATIENCE: Duration = Duration::from_secs(120);

/// Creates a topic and waits until each partition can be read.
pub fn create(wire: &mut Wire, topic: &str, partitions: usize) -> io::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let error = wire.create_topic(topic, partitions as i32)?;
    if error != ErrorCode::NONE {
        return Err(io::Error::other(format!("CreateTopics {topic}: {error:?}")));
    }
    for partition in 0..partitions {
        while wire.fetch(topic, partition as i32, 0, 1)?.0 != ErrorCode::NONE {
            if Instant::now() > deadline {
                return Err(io::Error::other(format!("{topic}-{partition} has no leader")));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    Ok(())
}

/// Deletes a topic and waits until its files are gone, so that the next round does not pay for it.
pub fn delete(wire: &mut Wire, topic: &str, data: &Path) -> io::Result<()> {
    let request = DeleteTopicsRequest::default()
        .with_topics(vec![DeleteTopicState::default().with_name(Some(name(topic)))])
        .with_timeout_ms(30_000);
    let answer = wire.call(6, &request)?;
    let error = answer.responses.first().map_or(0, |r| r.error_code);
    if error != 0 {
        return Err(io::Error::other(format!("DeleteTopics {topic}: {:?}", ErrorCode(error))));
    }
    let deadline = Instant::now() + PATIENCE;
    let prefix = format!("{topic}-");
    let there = |entry: std::fs::DirEntry| entry.file_name().to_string_lossy().starts_with(&prefix);
    while std::fs::read_dir(data)?.flatten().any(there) {
        if Instant::now() > deadline {
            return Err(io::Error::other(format!("the files of {topic} stay")));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}
