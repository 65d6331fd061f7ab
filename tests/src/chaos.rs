//! Rounds of faults on a cluster of real processes under load, and the judgement of what its clients saw.
//!
//! ```text
//!   plan (by the seed)  ->  breaker: kill, freeze, cut, fill, wipe, mend
//!   producers, readers, librdkafka, a maker of topics, an observer  ->  history  ->  rules
//! ```
//!
//! A round: a topic of its own, load, one or two faults, mending, recovery, the end of the load, whole reads of all
//! replicas. The cluster lives for several rounds; what earlier rounds wrote is read again at its end. A round's plan
//! follows from the seed and its number alone; the moments within processes do not, so that a round that failed fails
//! again often, not always.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use protocol::ErrorCode;
use protocol::batch;

use crate::cluster::{Cluster, PartitionView, Quorum, Role, create_topic};
use crate::history::{Chain, Event, History, Limits, Place, now, violations};
use crate::network::Network;
use crate::node::{PATIENCE, Target};
use crate::random::Random;
use crate::setup;
use crate::wire::Wire;

pub mod breaker;
pub mod directory;
pub mod foreign;
pub mod observer;
pub mod plan;
pub mod producer;
pub mod reader;

use breaker::Breaker;
use directory::Addresses;
use foreign::Foreign;
use plan::{Step, plan};
use producer::{Care, Producer};
use reader::{Ends, Reader, latest, read_whole};

/// Three nodes that are all.
pub const COMBINED: &[Role] = &[Role::Combined; 3];
/// Controllers and brokers apart.
pub const APART: &[Role] =
    &[Role::Controller, Role::Controller, Role::Controller, Role::Broker, Role::Broker, Role::Broker];

const PARTITIONS: i32 = 4;
const LIMITS: Limits = Limits { visible: Duration::from_secs(15), recovered: Duration::from_secs(60) };
/// The partition of each producer, and what it asks for.
const PRODUCERS: &[(i32, Care)] = &[
    (0, Care::Idempotent),
    (1, Care::Idempotent),
    (2, Care::Idempotent),
    (0, Care::Once),
    (3, Care::Once),
    (1, Care::LeaderOnly),
    (3, Care::LeaderOnly),
];
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// How long the load goes on after everything works again.
const AFTERWARDS: Duration = Duration::from_millis(200);
/// The first process number of whole reads; each replica of a partition has its own.
const WHOLE: u32 = 1_000_000;
const PROBE: u32 = 900;
/// More violations than this say no more.
const SHOWN: usize = 12;

/// What all nodes are told: fast sessions, small files, so that rounds are short and meet rolls.
const SETTINGS: &[(&str, &str)] = &[
    ("broker.session.timeout.ms", "1500"),
    ("broker.heartbeat.interval.ms", "200"),
    ("replica.lag.time.max.ms", "1500"),
    ("controller.quorum.fetch.timeout.ms", "800"),
    ("controller.quorum.election.timeout.ms", "400"),
    ("controller.quorum.election.backoff.max.ms", "200"),
    ("min.insync.replicas", "2"),
    ("default.replication.factor", "3"),
    ("offsets.topic.replication.factor", "3"),
    ("log.segment.bytes", "1048576"),
    ("log.index.interval.bytes", "256"),
    ("log.index.size.max.bytes", "2048"),
    ("log.retention.ms", "-1"),
    ("replica.selector.class", "org.apache.kafka.common.replica.RackAwareReplicaSelector"),
    ("log.segment.delete.delay.ms", "1000"),
];

/// Runs rounds on one cluster; what earlier rounds wrote is looked at again at the end.
pub struct Run {
    seed: u64,
    // Ends before the nodes do, else it complains of their end.
    foreign: Foreign,
    breaker: Breaker,
    brokers: Addresses,
    /// Topics and histories of the rounds so far.
    rounds: Vec<(u64, String, History)>,
}

/// What a round came to.
pub struct Outcome {
    /// From the mending until every partition takes writes and is in sync.
    pub recovered: Duration,
    /// The whole round.
    pub took: Duration,
    /// Records that were acknowledged.
    pub acknowledged: usize,
}

impl Run {
    /// Starts a cluster of these roles, with more settings; its clients are in its network from now on, with this thread.
    pub fn start(seed: u64, roles: &[Role], more: &[(&str, &str)]) -> Run {
        let settings = &[SETTINGS, more].concat();
        let network = Network::new(roles.len());
        let cluster = match &network {
            Some(network) => Cluster::in_network(network, roles, Quorum::Static, settings),
            None => Cluster::prepared(&vec![Target::Ours; roles.len()], roles, Quorum::Static, settings),
        };
        if let Some(network) = &network {
            network.enter();
        }
        let started = Instant::now();
        let mut breaker = Breaker::new(cluster, roles, network);
        breaker.cluster.format();
        breaker.cluster.start_all();
        println!("{} nodes after {:?}", roles.len(), started.elapsed());
        let address = |id: usize| (id, breaker.cluster.node(id).bootstrap());
        let brokers: Addresses = breaker.brokers().into_iter().map(address).collect();
        Run { seed, foreign: Foreign::start(&brokers), breaker, brokers, rounds: Vec::new() }
    }

    /// One round; panics with what is wrong and how to replay it.
    pub fn round(&mut self, round: u64) -> Outcome {
        let (mut random, started) = (Random::of_round(self.seed, round), Instant::now());
        let steps = plan(&mut random);
        println!("round {round}: {}", in_words(&steps));
        let (topic, history) = (format!("chaos-{round}"), History::default());
        self.create(&topic, &history);
        let recovered = self.under_load(round, &topic, &history, &steps, &mut random);
        self.look(&topic, &history, 0);
        let took = started.elapsed();
        self.judge(round, &topic, &history, &[]);
        let events = history.events();
        let outcome = Outcome { recovered, took, acknowledged: acknowledged(&events) };
        let (sum, took) = (outcome.acknowledged, outcome.took);
        println!("    {sum} batches acknowledged, recovered after {recovered:?}, done after {took:?}");
        self.rounds.push((round, topic, history));
        outcome
    }

    /// Looks at what all rounds wrote once more, and stops the nodes cleanly.
    pub fn finish(mut self) {
        for (round, topic, history) in std::mem::take(&mut self.rounds) {
            self.look(&topic, &history, 1);
            self.judge(round, &topic, &history, &[]);
        }
        let started = Instant::now();
        for node in &mut self.breaker.cluster.nodes {
            node.terminate();
        }
        for node in &mut self.breaker.cluster.nodes {
            let code = node.wait_end();
            assert!(matches!(code, Some(0 | 143)), "{code:?}; last lines:\n{}", node.output().tail());
        }
        println!("stopped after {:?}", started.elapsed());
    }

    fn create(&mut self, topic: &str, history: &History) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let made = Wire::connect(&self.brokers[0].1)
                .and_then(|mut wire| create_topic(&mut wire, topic, PARTITIONS, 3));
            if let Ok(ErrorCode::NONE | ErrorCode::TOPIC_ALREADY_EXISTS) = made {
                break;
            }
            assert!(Instant::now() < deadline, "{topic} cannot be created: {made:?}");
            std::thread::sleep(LOOK_AGAIN);
        }
        for partition in 0..PARTITIONS {
            let broker = self.brokers[0].0;
            let view =
                self.breaker.cluster.wait_partition(broker, topic, partition, |view| view.isr.len() == 3);
            let (place, leader) = (Place::new(topic, partition), view.leader.unwrap_or_default());
            history.add(Event::Led { at: now(), observer: broker, place, epoch: view.epoch, leader });
        }
    }

    /// The load, the faults, the mending and the end of the load; gives how long the recovery took.
    fn under_load(
        &mut self,
        round: u64,
        topic: &str,
        history: &History,
        steps: &[Step],
        random: &mut Random,
    ) -> Duration {
        let (writing_ends, watching_ends, ends) =
            (AtomicBool::new(false), AtomicBool::new(false), Ends::default());
        let brokers = &self.brokers.clone();
        let nodes: Addresses = self.nodes();
        let broker_ids: BTreeSet<usize> = brokers.iter().map(|(id, _)| *id).collect();
        self.foreign.begin(topic, PARTITIONS);
        let mut recovered = Duration::ZERO;
        std::thread::scope(|scope| {
            let (stop, watched, ends) = (&writing_ends, &watching_ends, &ends);
            // Also when this thread fails, else the others would never end.
            let _end = AtEnd { flags: [stop, watched], ends };
            let mut writers = Vec::new();
            for (process, (partition, care)) in (1..).zip(PRODUCERS) {
                let (place, random) = (Place::new(topic, *partition), random.fork());
                let mut producer = Producer::new(process, place, *care, brokers, history, random);
                writers.push(scope.spawn(move || producer.run(stop)));
            }
            for (process, anywhere) in [(50, false), (51, false), (60, true)] {
                let own = (0..PARTITIONS).filter(move |p| anywhere || p % 2 == process as i32 % 2);
                let mut reader = Reader::new(process, topic, own, anywhere, brokers, history, random.fork());
                scope.spawn(move || reader.run(ends));
            }
            let (maker, prefix) = (random.fork(), format!("made-{topic}"));
            writers.push(scope.spawn(move || observer::make_topics(brokers, &prefix, history, maker, stop)));
            scope.spawn(|| observer::watch(&nodes, &broker_ids, topic, history, watched));

            self.break_and_mend(steps, topic, history);
            recovered = self.recover(topic, history, random);
            // What does not come back at all is not waited for.
            if recovered >= LIMITS.recovered {
                self.judge(round, topic, history, &["P22"]);
            }
            std::thread::sleep(AFTERWARDS);
            stop.store(true, Ordering::Relaxed);
            writers.into_iter().for_each(|writer| writer.join().expect("a client does not fail"));
            self.foreign.flush();
            let reached = self.ends(topic);
            *ends.lock().expect("nobody panicked") = Some(reached.clone());
            let reached: Vec<i64> = reached.into_values().collect();
            let behind = self.foreign.finish(topic, &reached, history);
            assert_eq!(behind, "", "librdkafka's consumer does not reach the ends of {topic}");
        });
        recovered
    }

    fn nodes(&self) -> Addresses {
        let cluster = &self.breaker.cluster;
        let controller = |id: usize| {
            let host = cluster.node(id).bootstrap();
            let host = host.split(':').next().unwrap_or_default().to_owned();
            (id, format!("{host}:{}", cluster.node(id).controller_port()))
        };
        let is_broker = |id: &usize| self.brokers.iter().any(|(broker, _)| broker == id);
        let apart = (1..=cluster.nodes.len()).filter(|id| !is_broker(id)).map(controller);
        self.brokers.iter().cloned().chain(apart).collect()
    }

    fn break_and_mend(&mut self, steps: &[Step], topic: &str, history: &History) {
        for (index, step) in steps.iter().enumerate() {
            std::thread::sleep(Duration::from_millis(step.after_ms));
            if step.mend_before {
                self.breaker.mend(history);
                std::thread::sleep(Duration::from_millis(step.after_ms));
            }
            let hits = self.breaker.break_it(step, topic, history);
            println!("    {:?} {hits:?} for {} ms", self.breaker.possible(step.kind), step.lasts_ms);
            let is_last = index + 1 == steps.len();
            let waits = if is_last || steps[index + 1].mend_before { step.lasts_ms } else { 0 };
            std::thread::sleep(Duration::from_millis(waits));
        }
        self.breaker.mend(history);
        history.add(Event::Healed { at: now() });
    }

    /// Waits until every partition takes writes and has all its replicas; what does not return is missing in the history.
    fn recover(&mut self, topic: &str, history: &History, random: &mut Random) -> Duration {
        let started = Instant::now();
        let mut missing: Vec<Place> = (0..PARTITIONS).map(|partition| Place::new(topic, partition)).collect();
        let mut probes: BTreeMap<i32, Producer> = BTreeMap::new();
        for place in &missing {
            let process = PROBE + place.partition as u32;
            let probe =
                Producer::new(process, place.clone(), Care::Once, &self.brokers, history, random.fork());
            probes.insert(place.partition, probe);
        }
        while !missing.is_empty() && started.elapsed() < LIMITS.recovered {
            missing.retain(|place| {
                let probe = probes.get_mut(&place.partition).expect("one for each");
                let is_back = self.is_in_sync(place) && probe.try_once();
                if is_back {
                    history.add(Event::Writable { at: now(), place: place.clone() });
                }
                !is_back
            });
            std::thread::sleep(LOOK_AGAIN);
        }
        let recovered = started.elapsed();
        self.breaker.wait_ready(history);
        self.breaker.note_ends(history);
        recovered
    }

    /// Whether all brokers say that all replicas are in sync.
    fn is_in_sync(&self, place: &Place) -> bool {
        let view = |broker: usize| -> Option<PartitionView> {
            let (_, address) = self.brokers.iter().find(|(id, _)| *id == broker)?;
            let limit = Duration::from_millis(500);
            let mut wire = Wire::connect_within(address, limit, limit).ok()?;
            crate::cluster::partition_view(&mut wire, &place.topic, place.partition)
        };
        let is_full = |view: PartitionView| view.leader.is_some() && view.isr.len() == 3;
        self.brokers.iter().all(|(broker, _)| view(*broker).is_some_and(is_full))
    }

    /// Where the partitions end, by their leaders.
    fn ends(&self, topic: &str) -> BTreeMap<i32, i64> {
        let end = |partition| {
            let deadline = Instant::now() + PATIENCE;
            loop {
                let view = self.breaker.cluster.partition(self.brokers[0].0, topic, partition);
                let leader = view.and_then(|view| Some((view.leader?, view.epoch)));
                let asked = leader.and_then(|(leader, epoch)| {
                    let mut wire = Wire::connect(&self.breaker.cluster.node(leader).bootstrap()).ok()?;
                    latest(&mut wire, &Place::new(topic, partition), epoch, 0).ok()
                });
                if let Some(end) = asked {
                    return (partition, end);
                }
                assert!(Instant::now() < deadline, "{topic}-{partition} has no end");
                std::thread::sleep(LOOK_AGAIN);
            }
        };
        (0..PARTITIONS).map(end).collect()
    }

    /// Reads every replica and lists every broker's topics.
    fn look(&mut self, topic: &str, history: &History, time: u32) {
        let ends = self.ends(topic);
        for (partition, end) in &ends {
            let place = Place::new(topic, *partition);
            for broker in &self.brokers {
                let process = WHOLE + time * 1000 + *partition as u32 * 10 + broker.0 as u32;
                read_whole(process, &place, broker, *end, history);
            }
            self.copy(&place, history);
        }
        observer::list_topics(&self.brokers, history);
    }

    /// Notes what lies on the disks, once it is the same or does not become so.
    fn copy(&self, place: &Place, history: &History) {
        let deadline = Instant::now() + Duration::from_secs(20);
        let copies = || -> Vec<(usize, Chain)> {
            let chain = |id| chain(&self.breaker.cluster.log_bytes(id, &place.topic, place.partition));
            self.brokers.iter().map(|(id, _)| (*id, chain(*id))).collect()
        };
        let mut found = copies();
        while found.iter().any(|(_, chain)| *chain != found[0].1) && Instant::now() < deadline {
            std::thread::sleep(LOOK_AGAIN);
            found = copies();
        }
        for (node, chain) in found {
            history.add(Event::Copied { place: place.clone(), node, chain });
        }
    }

    /// Asks all rules, or these only.
    fn judge(&mut self, round: u64, topic: &str, history: &History, only: &[&str]) {
        let mut found = violations(&history.events(), LIMITS);
        found.retain(|what| only.is_empty() || only.iter().any(|rule| what.starts_with(rule)));
        if found.is_empty() {
            return;
        }
        let path = self.keep(topic, history);
        let shown = found.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join("\n");
        panic!(
            "round {round}: {} violations\n{shown}\nhistory and output of the nodes: {}\n\
             replay: MINIKAFKA_SEED={} cargo xtask soak chaos --rounds {} --first-round {round}",
            found.len(),
            path.display(),
            self.seed,
            round + 1,
        );
    }

    /// Writes the history and what the nodes printed.
    fn keep(&self, topic: &str, history: &History) -> PathBuf {
        let dir = setup::target().join(format!("chaos/{topic}"));
        fs::create_dir_all(&dir).expect("a directory for the history");
        let file = fs::File::create(dir.join("history")).expect("a file for the history");
        history.write(&mut std::io::BufWriter::new(file)).expect("the history can be written");
        for (id, node) in (1..).zip(&self.breaker.cluster.nodes) {
            let path = dir.join(format!("node-{id}.log"));
            fs::write(path, node.output().text(0)).expect("the output can be written");
        }
        dir
    }
}

/// Ends the clients whatever happens.
struct AtEnd<'a> {
    flags: [&'a AtomicBool; 2],
    ends: &'a Ends,
}

impl Drop for AtEnd<'_> {
    fn drop(&mut self) {
        self.flags.iter().for_each(|flag| flag.store(true, Ordering::Relaxed));
        if let Ok(mut ends) = self.ends.lock() {
            ends.get_or_insert_with(|| (0..PARTITIONS).map(|partition| (partition, 0)).collect());
        }
    }
}

fn in_words(steps: &[Step]) -> String {
    let words = |step: &Step| {
        let mended = if step.mend_before { " once the first is mended" } else { "" };
        format!("{:?} of {:?}{mended}", step.kind, step.who)
    };
    steps.iter().map(words).collect::<Vec<_>>().join(", ")
}

fn acknowledged(events: &[Event]) -> usize {
    let is_acknowledged = |event: &&Event| {
        matches!(event, Event::Answered { outcome: crate::history::Outcome::Acknowledged { .. }, .. })
    };
    events.iter().filter(is_acknowledged).count()
}

/// Base offset, last offset, leader epoch and checksum of each batch.
fn chain(log: &[u8]) -> Chain {
    let (mut chain, mut rest) = (Chain::new(), log);
    while let Ok(Some(size)) = batch::batch_size(rest)
        && size <= rest.len()
    {
        let raw = batch::RawBatch { position: 0, bytes: &rest[..size] };
        let Ok(header) = raw.header() else { break };
        chain.push((header.base_offset, header.next_offset() - 1, header.partition_leader_epoch, header.crc));
        rest = &rest[size..];
    }
    chain
}
