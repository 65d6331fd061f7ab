//! kill -9 at a random moment under load, round after round, with damage done to files while the node is down: what
//! was acknowledged and not damaged is there, at its offset, once.
//!
//! Producers of all sorts (idempotent ones with five batches in flight, resent after each kill with the same sequence
//! numbers; plain ones; compressed ones), one client that creates and deletes topics, one that commits offsets.
//!
//! `MINIKAFKA_KILL_ROUNDS`: how many rounds, of which every fifth does damage, or one in `MINIKAFKA_KILL_DAMAGE_EVERY`;
//! unset: a short run with each kind of damage once. `MINIKAFKA_KILL_FIRST`: number of the first round. `MINIKAFKA_SEED` repeats the choices of a run; a
//! round's depend on the seed and its number only.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use minikafka_tests::damage::{Damage, Kind, committed_on_disk, damage};
use minikafka_tests::load::{Committer, Producer, TopicMaker};
use minikafka_tests::node::{Node, Target};
use minikafka_tests::random::Random;
use minikafka_tests::wire::Wire;
use protocol::ErrorCode;
use protocol::compress::Codec;

const TOPIC: &str = "kill";
/// Idempotent or not, and the codec, of the producer of each partition.
const PRODUCERS: [(bool, Option<Codec>); 5] = [
    (true, None),
    (true, Some(Codec::Lz4)),
    (true, Some(Codec::Zstd)),
    (false, None),
    (false, Some(Codec::Snappy)),
];
/// Of a long run, one in so many rounds does damage unless told otherwise.
const DAMAGE_EVERY: u64 = 5;
/// Every so many rounds compare everything.
const WHOLE_EVERY: u64 = 20;
const RETENTION_BYTES: u64 = 8 << 20;

/// A node, its clients and what they know.
struct Run {
    seed: u64,
    node: Node,
    producers: Vec<Producer>,
    topics: TopicMaker,
    committer: Committer,
    /// Kinds of damage done, with their number, and the starts that were refused.
    damages: BTreeMap<String, u32>,
}

#[test]
fn kill_under_load() {
    let mut random = Random::from_env("kill_under_load");
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let mut run = Run::start(&mut random);
    match number("MINIKAFKA_KILL_ROUNDS") {
        None => run.each_damage(),
        Some(rounds) => {
            let first = number("MINIKAFKA_KILL_FIRST").unwrap_or(0);
            let every = number("MINIKAFKA_KILL_DAMAGE_EVERY").unwrap_or(DAMAGE_EVERY).max(1);
            for round in first..rounds {
                let mut choices = Random::of_round(run.seed, round);
                let kind = (round % every == every - 1)
                    .then(|| Kind::ALL[choices.between(0, Kind::ALL.len() as u64) as usize]);
                run.round(round, kind, round % WHOLE_EVERY == 0 || round + 1 == rounds);
            }
        }
    }
    println!("damage done: {:?}", run.damages);
    run.node.stop();
}

impl Run {
    fn start(random: &mut Random) -> Run {
        // Small segments and indexes, so that kills also meet rolls and deletions; few offsets partitions, so that
        // loading is quick.
        let properties = [
            ("log.segment.bytes", "1048576"),
            ("log.index.size.max.bytes", "4096"),
            ("log.retention.bytes", &RETENTION_BYTES.to_string()),
            ("log.retention.check.interval.ms", "200"),
            ("log.initial.task.delay.ms", "50"),
            ("log.segment.delete.delay.ms", "100"),
        ];
        let node = Node::fresh(Target::from_env(), &properties);
        let mut wire = Wire::connect(&node.bootstrap()).expect("the node listens");
        assert_eq!(wire.create_topic(TOPIC, PRODUCERS.len() as i32).expect("an answer"), ErrorCode::NONE);
        Committer::find_coordinator(&mut wire);
        let producer = |(partition, (idempotent, codec)): (i32, &(bool, Option<Codec>))| {
            Producer::new(TOPIC, partition, *idempotent, *codec, Random::new(random.number()))
        };
        let producers = (0..).zip(&PRODUCERS).map(producer).collect();
        let topics = TopicMaker::new(random.fork());
        let committer = Committer::new(TOPIC, random.fork());
        Run { seed: random.number(), node, producers, topics, committer, damages: BTreeMap::new() }
    }

    /// A round for each kind of damage, once there are old segments.
    fn each_damage(&mut self) {
        let kinds = if self.node.target() == Target::Ours { &Kind::ALL[..] } else { &[] };
        self.under_load(Duration::from_millis(1_500));
        self.node.start();
        for (round, kind) in (0..).zip(kinds) {
            self.round(round, Some(*kind), false);
        }
        self.round(kinds.len() as u64, None, true);
    }

    fn round(&mut self, round: u64, kind: Option<Kind>, whole: bool) {
        let started = Instant::now();
        let mut random = Random::of_round(self.seed, round);
        let moment = Duration::from_micros(random.between(5_000, 220_000));
        self.under_load(moment);
        let done = kind.and_then(|kind| self.damage(kind, &mut random));
        let (kind, damage) = done.map_or((None, None), |(kind, damage)| (Some(kind), Some(damage)));
        let what = damage.as_ref().map_or(String::new(), |damage| damage.what.clone());
        // Before the start, so that a failure tells it.
        println!("round {round}: killed after {moment:?}; {what}");
        let left = damage.as_ref().and_then(|damage| self.take_note(damage, kind));
        let is_metadata = kind == Some(Kind::MetadataTail);
        if !is_metadata && random.between(0, 8) == 0 {
            self.kill_while_starting(&mut random);
        }
        match &damage {
            Some(damage) if is_metadata => self.start_or_refuse(damage),
            _ => self.node.start(),
        }
        let ready = started.elapsed();
        self.verify(&mut random, left, whole);
        let records: usize = self.producers.iter().map(|p| p.ledger.len()).sum();
        println!(
            "    {records} records, {} topics, {} commits; ready after {ready:?}, done after {:?}",
            self.topics.made(),
            self.committer.committed,
            started.elapsed()
        );
    }

    /// Lets the load run for a while and kills the node.
    fn under_load(&mut self, moment: Duration) {
        let killed = AtomicBool::new(false);
        let address = &self.node.bootstrap();
        let Run { producers, topics, committer, node, .. } = self;
        std::thread::scope(|scope| {
            let killed = &killed;
            for producer in producers {
                scope.spawn(move || until_killed(killed, || producer.run(address)));
            }
            scope.spawn(|| until_killed(killed, || topics.run(address)));
            scope.spawn(|| until_killed(killed, || committer.run(address)));
            std::thread::sleep(moment);
            killed.store(true, Ordering::SeqCst);
            node.kill();
        });
    }

    /// Damages something of this kind, or of the first one after it that has anything to be damaged.
    fn damage(&self, kind: Kind, random: &mut Random) -> Option<(Kind, Damage)> {
        let first = Kind::ALL.iter().position(|k| *k == kind).unwrap_or(0);
        let mut kinds = Kind::ALL.iter().cycle().skip(first).take(Kind::ALL.len());
        kinds.find_map(|kind| Some((*kind, damage(&self.node.data(), TOPIC, *kind, random)?)))
    }

    /// A node that is killed while it recovers recovers the next time.
    fn kill_while_starting(&mut self, random: &mut Random) {
        self.node.spawn();
        std::thread::sleep(Duration::from_micros(random.between(0, 60_000)));
        self.node.kill();
    }

    /// Tells the clients what they cannot expect to find; of damaged commits, gives the newest that is left.
    fn take_note(&mut self, damage: &Damage, kind: Option<Kind>) -> Option<i64> {
        *self.damages.entry(format!("{:?}", kind?)).or_default() += 1;
        let (topic, partition) = damage.partition().unwrap_or_default();
        if topic == TOPIC && !damage.hits.is_empty() {
            let producer = &mut self.producers[partition as usize];
            damage.hits.iter().for_each(|hit| producer.ledger.forgive(hit.clone()));
            // The broker may know less of the producer than the producer does.
            producer.begin_anew();
        }
        (kind == Some(Kind::GroupsTail) && !damage.hits.is_empty())
            .then(|| committed_on_disk(&self.node.data()).unwrap_or(-1))
    }

    /// The metadata log was damaged: the node starts with everything that it acknowledged, or refuses and says why.
    fn start_or_refuse(&mut self, damage: &Damage) {
        let Err((code, output)) = self.node.try_start() else { return };
        let what = &damage.what;
        assert!(code.is_some_and(|code| code != 0), "{what}: exit code {code:?}:\n{output}");
        assert!(output.contains("the metadata log"), "{what}: no clear message:\n{output}");
        // It does not change its mind when it is asked again.
        let again = self.node.try_start();
        assert!(again.is_err(), "{what}: refused first, started then");
        *self.damages.entry("refused".to_owned()).or_default() += 1;
        damage.undo();
        self.node.start();
    }

    fn verify(&mut self, random: &mut Random, left: Option<i64>, whole: bool) {
        let mut wire = Wire::connect(&self.node.bootstrap()).expect("the node listens again");
        for producer in &mut self.producers {
            let (bytes, log_start) = producer.ledger.verify(&mut wire, whole);
            let kept = !whole || log_start == 0 || bytes >= RETENTION_BYTES;
            assert!(kept, "{}: retention left {bytes} bytes", producer.ledger);
            for _ in 0..3 {
                if let Some(offset) = producer.ledger.any_offset(random.number()) {
                    producer.ledger.probe(&mut wire, offset);
                }
            }
        }
        self.topics.verify(&mut wire);
        self.committer.verify(&mut wire, left);
    }
}

/// The load may only end because the node was killed.
fn until_killed(killed: &AtomicBool, mut load: impl FnMut() -> io::Result<()>) {
    loop {
        let error = load().expect_err("the load ends with its connection");
        if killed.load(Ordering::SeqCst) {
            return;
        }
        assert_eq!(error.kind(), io::ErrorKind::Interrupted, "the connection broke before the kill: {error}");
    }
}
