//! End-to-end latency: records sent at fixed moments, each measured from its moment to its arrival at a consumer.
//!
//! An open loop: a server that stalls does not slow the sender's clock, so that what waits meanwhile is counted as
//! late. Records that are due together go as one batch, as those of a client without linger do.

use std::io::{self, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use hdrhistogram::Histogram;
use minikafka_tests::wire::{Wire, produce_request};
use protocol::batch::{BatchBuilder, batches};

use crate::frames::{FETCH_VERSION, Frames, PRODUCE_VERSION, encode, fetch_request};
use crate::load::Answers;
use crate::plan::Plan;
use crate::server::{Server, Side};
use crate::topic::Topics;
use crate::turns::{self, Rounds};
use crate::usage::Span;

/// Bytes of a record's value: its moment, and nothing.
const VALUE: usize = 100;
/// No round is shorter: there must be records in the tail.
const SHORTEST: Duration = Duration::from_secs(5);
/// Records of a round that are not counted: those of its first tenth.
const WARM_PART: u64 = 10;
/// Where records are further apart, the sender wakes so long before each and spins to its moment.
const SPIN: Duration = Duration::from_micros(200);
/// The consumer's patience for a record.
const PATIENCE: Duration = Duration::from_secs(30);

/// Measures `rate` records a second on all servers; the columns are those of [`crate::section::LATENCY`].
pub fn run(rate: u64, plan: &Plan, servers: &[Server]) -> io::Result<Rounds> {
    for server in servers.iter().filter(|server| server.side == Side::Kafka) {
        let warm = Instant::now() + plan.jvm_warm;
        while Instant::now() < warm {
            round(rate, plan, server)?;
        }
    }
    turns::run(servers.len(), 1, plan.rounds, |side| round(rate, plan, &servers[side]))
}

fn round(rate: u64, plan: &Plan, server: &Server) -> io::Result<Vec<f64>> {
    let mut topics = Topics::of(server)?;
    let topic = topics.create(1)?;
    let time = plan.time.max(SHORTEST);
    let count = (rate as f64 * time.as_secs_f64()) as u64;
    let clock = Clock { start: Instant::now() + Duration::from_millis(50), interval: time / count as u32 };
    let mut sender = Sender::new(server, &topic, plan.acks)?;
    let mut consumer = server.wire()?;
    let span = Span::begin(server.pids());
    let histogram = std::thread::scope(|scope| {
        let consumer = scope.spawn(|| consume(&mut consumer, &topic, &clock, count));
        sender.run(&clock, count)?;
        consumer.join().map_err(|_| io::Error::other("the consumer panicked"))?
    })?;
    let (used, others) = span.end(time);
    topics.delete(&topic)?;
    let at = |quantile: f64| histogram.value_at_quantile(quantile) as f64 / 1e3;
    Ok(vec![
        at(0.5),
        at(0.99),
        at(0.999),
        histogram.max() as f64 / 1e3,
        count as f64 / clock.start.elapsed().as_secs_f64() / 1e3,
        used.cpu.as_secs_f64() * 1e6 / count as f64,
        others,
    ])
}

/// When each record is to be sent.
struct Clock {
    start: Instant,
    interval: Duration,
}

impl Clock {
    fn moment(&self, record: u64) -> Instant {
        self.start + Duration::from_nanos(self.interval.as_nanos() as u64 * record)
    }

    /// Waits for a record's moment; gives the number of records that are due.
    fn wait(&self, record: u64) -> u64 {
        let moment = self.moment(record);
        let left = moment.saturating_duration_since(Instant::now());
        if self.interval > 2 * SPIN {
            std::thread::sleep(left.saturating_sub(SPIN));
            while Instant::now() < moment {
                std::hint::spin_loop();
            }
        } else if !left.is_zero() {
            std::thread::sleep(left);
        }
        let due = moment.elapsed().as_nanos() as u64 / self.interval.as_nanos() as u64;
        due + 1
    }
}

struct Sender {
    stream: TcpStream,
    topic: String,
    acks: i16,
    checks: Frames,
    answers: Answers,
    buffer: Vec<u8>,
}

impl Sender {
    fn new(server: &Server, topic: &str, acks: i16) -> io::Result<Sender> {
        let stream = TcpStream::connect(server.address())?;
        stream.set_nodelay(true)?;
        let checks = Frames::produce(topic, 1, &Bytes::new(), acks);
        let (topic, answers) = (topic.to_owned(), Answers::default());
        Ok(Sender { stream, topic, acks, checks, answers, buffer: vec![0; 64 << 10] })
    }

    fn run(&mut self, clock: &Clock, count: u64) -> io::Result<()> {
        let mut next = 0;
        while next < count {
            // As many as fit the smallest limit on a batch, with room to spare.
            let due = clock.wait(next).min(count - next).min(4096);
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as i64;
            let mut batch = BatchBuilder::new(0);
            let mut value = [0; VALUE];
            for record in next..next + due {
                value[..8].copy_from_slice(&record.to_be_bytes());
                batch.push_pair(now, None, Some(&value));
            }
            let request = produce_request(&self.topic, 0, batch.build().freeze()).with_acks(self.acks);
            self.stream.write_all(&encode(PRODUCE_VERSION, &request))?;
            // What was acknowledged meanwhile is taken in without waiting for it.
            self.answers.receive(&self.stream, &self.checks, &mut self.buffer)?;
            next += due;
        }
        Ok(())
    }
}

/// Reads `count` records from the beginning; gives their latencies in nanoseconds.
fn consume(wire: &mut Wire, topic: &str, clock: &Clock, count: u64) -> io::Result<Histogram<u64>> {
    let mut histogram =
        Histogram::new_with_bounds(1, PATIENCE.as_nanos() as u64, 3).map_err(io::Error::other)?;
    let mut offset = 0;
    let mut latest = Instant::now();
    while offset < count as i64 {
        let request = fetch_request(topic, 0, offset, 1 << 20, 500);
        let answer = wire.call(FETCH_VERSION, &request)?;
        let now = Instant::now();
        let partitions = answer.responses.iter().flat_map(|t| &t.partitions);
        for bytes in partitions.filter_map(|p| p.records.as_ref()) {
            for batch in batches(bytes) {
                let records = batch.map_err(io::Error::other)?.records();
                for record in records.into_iter().flatten() {
                    let record = record.map_err(io::Error::other)?;
                    let moment = record.value.and_then(|v| v.first_chunk::<8>());
                    let moment = moment.ok_or_else(|| io::Error::other("a record without its moment"))?;
                    let number = u64::from_be_bytes(*moment);
                    if number >= count / WARM_PART {
                        let late = now.saturating_duration_since(clock.moment(number));
                        histogram.saturating_record(late.as_nanos().max(1) as u64);
                    }
                    offset = number as i64 + 1;
                    latest = now;
                }
            }
        }
        if latest.elapsed() > PATIENCE {
            return Err(io::Error::other(format!(
                "no record for {PATIENCE:?} at offset {offset} of {count}"
            )));
        }
    }
    Ok(histogram)
}
