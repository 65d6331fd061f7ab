//! Requests encoded once and sent many times, and the reading of their answers.
//!
//! Produce is version 9 and Fetch version 12: the last that name topics, which every server here takes. A request's
//! bytes differ only in the partition, which has a head of its own, and in a fetch's offset, which is patched in.

use std::io;

use bytes::{BufMut, Bytes, BytesMut};
use minikafka_tests::wire::{name, produce_request};
use protocol::messages::FetchRequest;
use protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use protocol::request::RequestHeader;
use protocol::{Encodable, ErrorCode, Request};

/// The version of Produce requests.
pub const PRODUCE_VERSION: i16 = 9;
/// The version of Fetch requests.
pub const FETCH_VERSION: i16 = 12;
/// Of each answer, what is kept to look for errors in it.
pub const KEPT: usize = 96;
/// Stands for the offset while a fetch is encoded, so that its place can be found.
const OFFSET_MARK: i64 = 0x5a17_c3e9_0b6d_42f1;

/// The requests of one cell against one topic.
pub struct Frames {
    /// One for each partition.
    pub heads: Vec<Vec<u8>>,
    /// What follows every head: the batch of a produce; nothing for a fetch.
    pub body: Bytes,
    /// Where a fetch's offset stands in its head.
    pub offset_at: Option<usize>,
    /// Where an answer has its error codes.
    error_at: [usize; 2],
    /// The smallest answer, with its size prefix, that has what was asked for.
    smallest: usize,
}

impl Frames {
    /// Produce requests with `batch`; `acks` as in Kafka: -1 for all.
    pub fn produce(topic: &str, partitions: usize, batch: &Bytes, acks: i16) -> Frames {
        let head = |partition: usize| {
            let request = produce_request(topic, partition as i32, batch.clone()).with_acks(acks);
            let mut frame = encode(PRODUCE_VERSION, &request);
            // The batch and three empty tag sections end the frame.
            frame.truncate(frame.len() - batch.len() - 3);
            frame.to_vec()
        };
        let mut body = BytesMut::from(&batch[..]);
        body.put_bytes(0, 3);
        let error_at = 4 + 4 + 1 + 1 + 1 + topic.len() + 1 + 4;
        Frames {
            heads: (0..partitions).map(head).collect(),
            body: body.freeze(),
            offset_at: None,
            error_at: [error_at; 2],
            smallest: error_at + 2,
        }
    }

    /// Fetch requests for at most `max_bytes` that do not wait; `least` bytes of records must come.
    pub fn fetch(topic: &str, partitions: usize, max_bytes: usize, least: usize) -> Frames {
        let head = |partition: usize| {
            encode(FETCH_VERSION, &fetch_request(topic, partition, OFFSET_MARK, max_bytes, 0)).to_vec()
        };
        let heads: Vec<Vec<u8>> = (0..partitions).map(head).collect();
        let at = heads[0].windows(8).position(|w| w == OFFSET_MARK.to_be_bytes());
        // Size, correlation id, tags, throttle time; then the error of the whole answer.
        let error_at = 4 + 4 + 1 + 4;
        Frames {
            heads,
            body: Bytes::new(),
            offset_at: at,
            error_at: [error_at, error_at + 2 + 4 + 1 + 1 + topic.len() + 1 + 4],
            smallest: error_at + least,
        }
    }

    /// Whether an answer of `size` bytes that begins with `kept` is a good one.
    pub fn check(&self, size: usize, kept: &[u8]) -> io::Result<()> {
        let code = |at: usize| kept.get(at..at + 2).map(|b| i16::from_be_bytes([b[0], b[1]]));
        let codes = self.error_at.map(code);
        match codes {
            [Some(0), Some(0)] if size >= self.smallest => Ok(()),
            _ => {
                let codes = codes.map(|c| c.map(ErrorCode));
                Err(io::Error::other(format!("an answer of {size} bytes with the errors {codes:?}")))
            }
        }
    }
}

/// A fetch of one partition that waits at most `max_wait_ms` for a byte.
pub fn fetch_request(
    topic: &str,
    partition: usize,
    offset: i64,
    max_bytes: usize,
    max_wait_ms: i32,
) -> FetchRequest {
    let partition = FetchPartition::default()
        .with_partition(partition as i32)
        .with_fetch_offset(offset)
        .with_partition_max_bytes(max_bytes as i32);
    let topic = FetchTopic::default().with_topic(name(topic)).with_partitions(vec![partition]);
    FetchRequest::default()
        .with_max_wait_ms(max_wait_ms)
        .with_min_bytes(1)
        .with_max_bytes(max_bytes as i32)
        .with_session_epoch(-1)
        .with_topics(vec![topic])
}

/// A whole frame, size included.
pub fn encode<R: Request + Encodable>(version: i16, request: &R) -> BytesMut {
    let mut frame = BytesMut::new();
    frame.put_i32(0);
    RequestHeader::put(R::KEY, version, 1, Some("bench"), &mut frame);
    request.encode(&mut frame, version).expect("the request fits its version");
    let size = frame.len() as i32 - 4;
    frame[..4].copy_from_slice(&size.to_be_bytes());
    frame
}
