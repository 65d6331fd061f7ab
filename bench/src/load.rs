//! The load: one thread, many connections, each with a fixed number of requests under way.
//!
//! Requests leave by a blocking write, several in one when several answers came: the answers that are not read
//! meanwhile are small, or those of requests that are, so that neither end can wait for the other. Answers are read
//! when epoll says so, checked by their first bytes and dropped.

use std::io::{self, IoSlice, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::event::epoll;
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use crate::frames::{Frames, KEPT};

/// What one read takes at most.
const READ: usize = 256 << 10;
/// A server that answers nothing for so long fails the run.
const PATIENCE: Duration = Duration::from_secs(60);

/// How a fetch walks through each partition's log; a produce has no use for it.
#[derive(Clone, Copy, Debug)]
pub struct Walk {
    /// Offsets that an answer moves on.
    pub step: i64,
    /// The walk begins again at 0 before this offset.
    pub end: i64,
}

impl Walk {
    /// That of a produce.
    pub const NONE: Walk = Walk { step: 0, end: 0 };
}

/// When a burst ends: after so many requests, or so long, whichever is first.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    /// Requests.
    pub requests: u64,
    /// Time since its beginning.
    pub time: Duration,
}

/// What a burst did.
#[derive(Clone, Copy, Debug)]
pub struct Burst {
    /// Requests that were answered.
    pub requests: u64,
    /// Bytes of the answers.
    pub received: u64,
    /// From the first request to the last answer.
    pub wall: Duration,
}

/// Connections with their requests; a burst leaves nothing under way.
pub struct Load {
    frames: Frames,
    walk: Walk,
    in_flight: usize,
    clients: Vec<Client>,
    epoll: rustix::fd::OwnedFd,
    buffer: Vec<u8>,
}

struct Client {
    stream: TcpStream,
    under_way: usize,
    /// Its next partition.
    partition: usize,
    /// From a partition of its node to the next.
    stride: usize,
    /// Its next offset, in every partition.
    offset: i64,
    /// The fetch requests of one write.
    out: Vec<u8>,
    answers: Answers,
}

/// Takes in answers; of the one that is being received it keeps the first bytes.
pub struct Answers {
    seen: usize,
    size: usize,
    kept: [u8; KEPT],
}

impl Load {
    /// Connects all clients, to the nodes in turn; they begin at different partitions and offsets.
    ///
    /// Of `n` nodes, number `p % n` leads partition `p`, and a client sends to those that its node leads. So there
    /// are as many partitions as nodes, or a multiple, or fewer connections than nodes.
    pub fn connect(
        nodes: &[SocketAddr],
        connections: usize,
        in_flight: usize,
        frames: Frames,
        walk: Walk,
    ) -> io::Result<Load> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut clients = Vec::with_capacity(connections);
        for i in 0..connections {
            let node = i % nodes.len();
            let stream = TcpStream::connect(nodes[node])?;
            stream.set_nodelay(true)?;
            epoll::add(&epoll, &stream, epoll::EventData::new_u64(i as u64), epoll::EventFlags::IN)?;
            let steps = walk.end / walk.step.max(1);
            let begin = i * frames.heads.len() / connections;
            let partition = begin - begin % nodes.len() + node;
            if partition >= frames.heads.len() {
                return Err(io::Error::other("more nodes have clients than have partitions"));
            }
            clients.push(Client {
                stream,
                under_way: 0,
                partition,
                stride: nodes.len(),
                offset: steps * i as i64 / connections as i64 * walk.step,
                out: Vec::new(),
                answers: Answers::default(),
            });
        }
        Ok(Load { frames, walk, in_flight, clients, epoll, buffer: vec![0; READ] })
    }

    /// Sends requests until the limit, then waits for the last answers.
    pub fn burst(&mut self, limit: Limit) -> io::Result<Burst> {
        let started = Instant::now();
        let mut burst = Burst { requests: 0, received: 0, wall: Duration::ZERO };
        let mut left = limit.requests;
        for client in &mut self.clients {
            let wanted = left.min(self.in_flight as u64);
            left -= wanted;
            client.send(&self.frames, self.walk, wanted as usize)?;
        }
        let mut events = Vec::with_capacity(256);
        let patience = rustix::time::Timespec { tv_sec: PATIENCE.as_secs() as i64, tv_nsec: 0 };
        while self.clients.iter().any(|c| c.under_way > 0) {
            events.clear();
            epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), Some(&patience))?;
            if events.is_empty() {
                return Err(io::Error::other(format!("no answer for {PATIENCE:?}")));
            }
            if started.elapsed() >= limit.time {
                left = 0;
            }
            for event in &events {
                let data = event.data;
                let client = &mut self.clients[data.u64() as usize];
                let (answers, bytes) =
                    client.answers.receive(&client.stream, &self.frames, &mut self.buffer)?;
                client.under_way -= answers;
                burst.requests += answers as u64;
                burst.received += bytes as u64;
                let wanted = left.min(answers as u64);
                left -= wanted;
                client.send(&self.frames, self.walk, wanted as usize)?;
            }
        }
        burst.wall = started.elapsed();
        Ok(burst)
    }
}

impl Client {
    /// Sends the next `count` requests in one write.
    fn send(&mut self, frames: &Frames, walk: Walk, count: usize) -> io::Result<()> {
        if count == 0 {
            return Ok(());
        }
        self.under_way += count;
        let Some(at) = frames.offset_at else {
            let mut slices = Vec::with_capacity(2 * count);
            for _ in 0..count {
                slices.push(IoSlice::new(&frames.heads[self.partition]));
                slices.push(IoSlice::new(&frames.body));
                self.next_partition(frames);
            }
            return write_all(&self.stream, &mut slices);
        };
        self.out.clear();
        for _ in 0..count {
            let start = self.out.len();
            self.out.extend_from_slice(&frames.heads[self.partition]);
            self.out[start + at..start + at + 8].copy_from_slice(&self.offset.to_be_bytes());
            // One round over all partitions reads the same offsets of each.
            if self.next_partition(frames) {
                self.offset += walk.step;
                self.offset = if self.offset + walk.step > walk.end { 0 } else { self.offset };
            }
        }
        (&self.stream).write_all(&self.out)
    }

    /// Moves on; whether a new round over its partitions begins.
    fn next_partition(&mut self, frames: &Frames) -> bool {
        self.partition += self.stride;
        let is_round = self.partition >= frames.heads.len();
        if is_round {
            self.partition %= self.stride;
        }
        is_round
    }
}

impl Default for Answers {
    fn default() -> Answers {
        Answers { seen: 0, size: 0, kept: [0; KEPT] }
    }
}

impl Answers {
    /// Reads what there is without waiting; gives the number of answers that it ended, and of bytes.
    pub fn receive(
        &mut self,
        stream: &TcpStream,
        frames: &Frames,
        buffer: &mut [u8],
    ) -> io::Result<(usize, usize)> {
        let bytes = match recv(stream, &mut *buffer, RecvFlags::DONTWAIT) {
            Ok((0, _)) => return Err(io::Error::other("the server closed the connection")),
            Ok((bytes, _)) => bytes,
            Err(Errno::AGAIN | Errno::INTR) => return Ok((0, 0)),
            Err(e) => return Err(e.into()),
        };
        let mut rest = &buffer[..bytes];
        let mut answers = 0;
        while !rest.is_empty() {
            let (used, ended) = self.feed(rest);
            rest = &rest[used..];
            if ended {
                frames.check(self.size, &self.kept[..self.size.min(KEPT)])?;
                self.seen = 0;
                answers += 1;
            }
        }
        Ok((answers, bytes))
    }

    /// Takes bytes up to the end of the answer: how many, and whether it is whole.
    fn feed(&mut self, bytes: &[u8]) -> (usize, bool) {
        let mut used = 0;
        if self.seen < KEPT {
            used = bytes.len().min(KEPT - self.seen);
            if self.seen >= 4 {
                used = used.min(self.size - self.seen);
            } else {
                // The size first: what follows may belong to the next answer.
                used = used.min(4 - self.seen);
            }
            self.kept[self.seen..self.seen + used].copy_from_slice(&bytes[..used]);
            self.seen += used;
            if self.seen < 4 {
                return (used, false);
            }
            if self.seen == 4 {
                let size = i32::from_be_bytes([self.kept[0], self.kept[1], self.kept[2], self.kept[3]]);
                self.size = 4 + usize::try_from(size).unwrap_or(0);
                return (used, self.size == 4);
            }
        }
        let more = (bytes.len() - used).min(self.size - self.seen);
        self.seen += more;
        (used + more, self.seen == self.size)
    }
}

fn write_all(mut stream: &TcpStream, mut slices: &mut [IoSlice<'_>]) -> io::Result<()> {
    while !slices.is_empty() {
        // Linux takes at most 1,024 slices.
        let some = slices.len().min(1024);
        let written = stream.write_vectored(&slices[..some])?;
        IoSlice::advance_slices(&mut slices, written);
    }
    Ok(())
}
