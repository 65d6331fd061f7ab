//! One connection of the floor: read, serve every whole frame, answer.

use std::io::{self, Read};
use std::net::TcpStream;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use protocol::messages::{
    ApiKey, CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsRequest, DeleteTopicsResponse,
};
use protocol::messages::{
    create_topics_response::CreatableTopicResult, delete_topics_response::DeletableTopicResult,
};
use protocol::request::{RequestHeader, put_response_header};
use protocol::{Decodable, Encodable};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl, sendfile};
use rustix::io::Errno;
use rustix::net::{SendFlags, send};

use super::Partitions;
use super::partition::Partition;
use super::request::{Request, parse};

/// What one read takes of small frames; a larger frame gets a buffer of its size.
const BUFFER: usize = 256 << 10;
/// The largest frame.
const FRAME_LIMIT: usize = 16 << 20;

pub(super) struct Connection {
    stream: TcpStream,
    partitions: Arc<Partitions>,
    /// The partition of the request before, which most requests name again.
    last: Option<(String, i32, Arc<Partition>)>,
    input: Vec<u8>,
    filled: usize,
    output: BytesMut,
    /// Whether the socket is switched to non-blocking: a blocking `sendfile` sleeps at each 64 KiB.
    nonblocking: bool,
}

impl Connection {
    pub(super) fn new(stream: TcpStream, partitions: Arc<Partitions>) -> io::Result<Connection> {
        stream.set_nodelay(true)?;
        let (input, output) = (vec![0; BUFFER], BytesMut::new());
        Ok(Connection { stream, partitions, last: None, input, filled: 0, output, nonblocking: false })
    }

    pub(super) fn run(mut self) -> io::Result<()> {
        loop {
            let wanted = self.serve_frames()?;
            self.send_output(SendFlags::empty())?;
            if self.input.len() < wanted {
                self.input.resize(wanted, 0);
            }
            // Of a large frame no byte is read that would have to be moved for the next.
            let until = if wanted > BUFFER { wanted } else { BUFFER };
            let read = loop {
                match self.stream.read(&mut self.input[self.filled..until]) {
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => wait(&self.stream, PollFlags::IN)?,
                    read => break read?,
                }
            };
            if read == 0 {
                return Ok(());
            }
            self.filled += read;
        }
    }

    /// Serves what is whole; gives the size of the frame that is not, as far as it is known.
    fn serve_frames(&mut self) -> io::Result<usize> {
        let mut start = 0;
        let wanted = loop {
            let Some(size) = self.input[start..self.filled].first_chunk::<4>() else { break 4 };
            let size = usize::try_from(i32::from_be_bytes(*size)).unwrap_or(usize::MAX);
            if size > FRAME_LIMIT {
                return Err(io::ErrorKind::InvalidData.into());
            }
            let end = start + 4 + size;
            if end > self.filled {
                break 4 + size;
            }
            // The frame is taken out while it is served, since serving borrows the connection.
            let mut input = std::mem::take(&mut self.input);
            let served = self.serve(&mut input[start + 4..end]);
            self.input = input;
            served?;
            start = end;
        };
        self.input.copy_within(start..self.filled, 0);
        self.filled -= start;
        Ok(wanted)
    }

    fn serve(&mut self, frame: &mut [u8]) -> io::Result<()> {
        match parse(frame)? {
            (id, Request::Produce { topic, partition: index, acks, records }) => {
                let partition = self.partition(&frame[topic.clone()], index)?;
                let base = partition.append(&mut frame[records])?;
                if acks != 0 {
                    self.put_produced(id, &frame[topic], index, base);
                }
                Ok(())
            }
            (id, Request::Fetch { topic, partition: index, offset, max_bytes, max_wait }) => {
                let topic = &frame[topic];
                let partition = self.partition(topic, index)?;
                if !max_wait.is_zero() {
                    self.send_output(SendFlags::empty())?;
                }
                let slice = partition.read(offset, max_bytes, max_wait);
                self.put_fetched(id, topic, index, slice.end_offset, slice.length);
                self.send_records(&partition, slice.position, slice.length)
            }
            (_, Request::Other { key, version }) => self.control(key, version, frame),
        }
    }

    fn partition(&mut self, topic: &[u8], index: i32) -> io::Result<Arc<Partition>> {
        if let Some((last, i, partition)) = &self.last
            && *i == index
            && last.as_bytes() == topic
        {
            return Ok(partition.clone());
        }
        let topic = String::from_utf8_lossy(topic).into_owned();
        let partition = self.partitions.get(&topic, index)?;
        self.last = Some((topic, index, partition.clone()));
        Ok(partition)
    }

    /// A Produce answer (version 9).
    fn put_produced(&mut self, correlation_id: i32, topic: &[u8], index: i32, base: i64) {
        let start = self.begin(correlation_id);
        let out = &mut self.output;
        put_topic(out, topic, index);
        out.put_i16(0);
        out.put_i64(base);
        out.put_i64(-1);
        out.put_i64(0);
        // No record errors, no message, no tags of the partition and the topic; throttle time; no tags.
        out.put_slice(&[1, 0, 0, 0]);
        out.put_i32(0);
        out.put_u8(0);
        self.end(start, 0);
    }

    /// A Fetch answer (version 12) up to its records, of which `length` bytes follow, and three more.
    fn put_fetched(&mut self, correlation_id: i32, topic: &[u8], index: i32, end_offset: i64, length: usize) {
        let start = self.begin(correlation_id);
        let out = &mut self.output;
        // Throttle time, error, session id.
        out.put_slice(&[0; 4 + 2 + 4]);
        put_topic(out, topic, index);
        out.put_i16(0);
        out.put_i64(end_offset);
        out.put_i64(end_offset);
        out.put_i64(0);
        // No aborted transactions, no preferred replica.
        out.put_u8(0);
        out.put_i32(-1);
        put_uvarint(out, length + 1);
        self.end(start, length + 3);
    }

    fn begin(&mut self, correlation_id: i32) -> usize {
        let start = self.output.len();
        self.output.put_i32(0);
        self.output.put_i32(correlation_id);
        self.output.put_u8(0);
        start
    }

    /// Writes the size of the answer that began at `start` and of which `more` bytes are yet to come.
    fn end(&mut self, start: usize, more: usize) {
        let size = (self.output.len() - start - 4 + more) as i32;
        self.output[start..start + 4].copy_from_slice(&size.to_be_bytes());
    }

    /// Sends what is held back, then the records from the file and the tags behind them.
    fn send_records(&mut self, partition: &Partition, position: u64, length: usize) -> io::Result<()> {
        if !self.nonblocking {
            fcntl_setfl(&self.stream, fcntl_getfl(&self.stream)? | OFlags::NONBLOCK)?;
            self.nonblocking = true;
        }
        self.send_output(SendFlags::MORE)?;
        let (mut at, mut left) = (position, length);
        while left > 0 {
            match sendfile(&self.stream, partition.file(), Some(&mut at), left) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(sent) => left -= sent,
                Err(Errno::AGAIN) => wait(&self.stream, PollFlags::OUT)?,
                Err(e) => return Err(e.into()),
            }
        }
        self.output.put_bytes(0, 3);
        Ok(())
    }

    /// Sends what was held back.
    fn send_output(&mut self, flags: SendFlags) -> io::Result<()> {
        let mut at = 0;
        while at < self.output.len() {
            match send(&self.stream, &self.output[at..], flags) {
                Ok(sent) => at += sent,
                Err(Errno::AGAIN) => wait(&self.stream, PollFlags::OUT)?,
                Err(e) => return Err(e.into()),
            }
        }
        self.output.clear();
        Ok(())
    }

    /// What the generator needs around its rounds.
    fn control(&mut self, key: i16, version: i16, frame: &[u8]) -> io::Result<()> {
        let header = RequestHeader::parse(frame).map_err(io::Error::other)?;
        let mut body = Bytes::copy_from_slice(&frame[header.body_start..]);
        let start = self.output.len();
        self.output.put_i32(0);
        put_response_header(key, version, header.correlation_id, &mut self.output);
        let encoded = if key == ApiKey::CreateTopics as i16 {
            let request = CreateTopicsRequest::decode(&mut body, version).map_err(io::Error::other)?;
            let mut topics = Vec::new();
            for topic in request.topics {
                for index in 0..topic.num_partitions {
                    self.partitions.get(&topic.name, index)?;
                }
                topics.push(CreatableTopicResult::default().with_name(topic.name));
            }
            CreateTopicsResponse::default().with_topics(topics).encode(&mut self.output, version)
        } else if key == ApiKey::DeleteTopics as i16 {
            let request = DeleteTopicsRequest::decode(&mut body, version).map_err(io::Error::other)?;
            let mut results = Vec::new();
            for topic in request.topics {
                if let Some(name) = &topic.name {
                    self.partitions.delete(name)?;
                }
                results.push(DeletableTopicResult::default().with_name(topic.name));
            }
            DeleteTopicsResponse::default().with_responses(results).encode(&mut self.output, version)
        } else {
            return Err(io::Error::other(format!("the floor knows no request {key} version {version}")));
        };
        encoded.map_err(io::Error::other)?;
        self.end(start, 0);
        Ok(())
    }
}

fn put_topic(out: &mut BytesMut, topic: &[u8], index: i32) {
    out.put_u8(2);
    put_uvarint(out, topic.len() + 1);
    out.put_slice(topic);
    out.put_u8(2);
    out.put_i32(index);
}

fn put_uvarint(out: &mut BytesMut, mut value: usize) {
    while value >= 0x80 {
        out.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

fn wait(stream: &TcpStream, flags: PollFlags) -> io::Result<()> {
    match poll(&mut [PollFd::new(stream, flags)], None) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(e) => Err(e.into()),
    }
}
