//! A cluster with a replicated topic under probers, and what is done to it.

use std::time::{Duration, Instant};

use protocol::ErrorCode;
use protocol::messages::ElectLeadersRequest;
use serde_json::json;

use super::prober::Prober;
use super::times::Times;
use super::view::View;
use crate::clients::CLIENTS;
use crate::cluster::{Cluster, Quorum, Role, create_topic};
use crate::node::{PATIENCE, Target};
use crate::program::Program;
use crate::wire::Wire;

/// The topic that is probed.
pub const TOPIC: &str = "probed";
/// Its partitions.
pub const PARTITIONS: usize = 6;
/// Pause between two looks at a state that is waited for.
const LOOK_AGAIN: Duration = Duration::from_millis(2);
/// How long everything runs undisturbed before something is done to it.
const UNDISTURBED: Duration = Duration::from_millis(300);

/// What the nodes are told of sessions and lags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settings {
    /// Apache Kafka's defaults.
    Default,
    /// Those of `minikafka dev --brokers 3`.
    Dev,
}

impl Settings {
    /// The properties beside those that every cluster of the tests has.
    pub fn properties(self) -> Vec<(&'static str, &'static str)> {
        let mut properties = vec![
            ("min.insync.replicas", "2"),
            ("default.replication.factor", "3"),
            ("offsets.topic.replication.factor", "3"),
        ];
        if self == Settings::Dev {
            properties.extend([
                ("broker.session.timeout.ms", "1000"),
                ("broker.heartbeat.interval.ms", "200"),
                ("replica.lag.time.max.ms", "1000"),
                ("controller.quorum.election.timeout.ms", "300"),
                ("controller.quorum.fetch.timeout.ms", "700"),
            ]);
        }
        properties
    }
}

/// What happens to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// SIGKILL; later it is started again.
    Kill,
    /// SIGSTOP; later SIGCONT.
    Freeze,
}

/// How long partitions stood still because of a broker's fault.
#[derive(Clone, Debug, Default)]
pub struct StoodStill {
    /// From the fault until a partition that the broker led was written to through another.
    pub led: Times,
    /// The longest pause of each that it followed.
    pub followed: Times,
    /// From its start, or the end of its freeze, until every in-sync set has it again.
    pub returned: Times,
}

/// What the loss of the active controller did.
#[derive(Clone, Debug, Default)]
pub struct Headless {
    /// From the loss until a topic was created.
    pub created: Times,
    /// The longest pause of each partition.
    pub pauses: Times,
}

/// What restarts of all nodes, one after the other, did.
#[derive(Clone, Debug, Default)]
pub struct Rolled {
    /// The longest pause of each partition for the probers.
    pub raw: Times,
    /// The same for librdkafka as it comes.
    pub librdkafka: Times,
    /// What librdkafka's producer and consumer were told that they could not mend themselves.
    pub errors: Vec<String>,
    /// From each start until every in-sync set had the node again.
    pub returned: Times,
}

/// The cluster and who looks at it.
pub struct Scene {
    /// The nodes: three of both roles, or three controllers and then three brokers.
    pub cluster: Cluster,
    view: View,
    probers: Vec<Prober>,
    brokers: Vec<usize>,
}

impl Scene {
    /// Starts the cluster, creates the topic and begins to probe it. `is_apart`: controllers are no brokers.
    pub fn start(target: Target, is_apart: bool, properties: &[(&str, &str)]) -> Scene {
        let (controller, broker) = (Role::Controller, Role::Broker);
        let roles = match is_apart {
            true => vec![controller, controller, controller, broker, broker, broker],
            false => vec![Role::Combined; 3],
        };
        let cluster = Cluster::start(target, &roles, Quorum::Static, properties);
        let brokers = cluster.brokers();
        let error = create_topic(&mut cluster.wire(brokers[0]), TOPIC, PARTITIONS as i32, 3);
        assert_eq!(error.expect("an answer to CreateTopics"), ErrorCode::NONE);
        let addresses = brokers.iter().map(|id| (*id, cluster.node(*id).bootstrap())).collect();
        let view = View::start(addresses, TOPIC);
        let probers = (0..PARTITIONS).map(|at| Prober::start(view.leaders(), at)).collect();
        let scene = Scene { cluster, view, probers, brokers };
        scene.settle();
        scene
    }

    /// Ids of the brokers.
    pub fn brokers(&self) -> &[usize] {
        &self.brokers
    }

    /// Waits until all replicas are in sync, the preferred ones lead, and every partition is written to.
    pub fn settle(&self) {
        self.wait_in_sync();
        let preferred = |at: usize| {
            let views = self.view.newest();
            let count = self.brokers.len();
            let led = self.brokers.iter().filter(|id| views.iter().any(|view| view.leader == Some(**id)));
            views.len() == PARTITIONS && led.count() == count && at > 0
        };
        let deadline = Instant::now() + PATIENCE;
        let mut elected = 0;
        while !preferred(elected) {
            assert!(Instant::now() < deadline, "some broker leads nothing: {:?}", self.view.newest());
            self.elect_preferred();
            elected += 1;
            std::thread::sleep(LOOK_AGAIN);
        }
        self.wait_written(Instant::now());
        std::thread::sleep(UNDISTURBED);
        self.probers.iter().for_each(Prober::forget);
    }

    fn elect_preferred(&self) {
        let request = ElectLeadersRequest::default().with_election_type(0).with_timeout_ms(10_000);
        let request = request.with_topic_partitions(None);
        // Asked again if it comes to nothing.
        let _ = Wire::connect(&self.cluster.node(self.brokers[0]).bootstrap())
            .and_then(|mut wire| wire.call(2, &request));
    }

    fn wait_for(&self, what: &str, is_so: impl Fn() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_so() {
            assert!(Instant::now() < deadline, "not {what}: {:?}", self.view.newest());
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    fn wait_in_sync(&self) {
        self.wait_for("in sync", || {
            self.view.all_say(|view| view.isr == self.brokers && view.leader.is_some())
        });
    }

    fn wait_written(&self, since: Instant) {
        self.wait_for("written to", || {
            self.probers.iter().all(|prober| prober.trace().acks.iter().any(|ack| ack.at > since))
        });
    }

    fn hit(&mut self, node: usize, fault: Fault) -> Instant {
        let at = Instant::now();
        match fault {
            Fault::Kill => self.cluster.node_mut(node).kill(),
            Fault::Freeze => self.cluster.node(node).freeze(),
        }
        at
    }

    /// Takes a broker away until all partitions go on without it, and gives it back.
    pub fn strike(&mut self, victim: usize, fault: Fault, times: &mut StoodStill) {
        let before = self.view.newest();
        let struck = self.hit(victim, fault);
        self.wait_for("without the broker", || {
            let views = self.view.newest();
            let goes_on = |view: &crate::cluster::PartitionView| {
                !view.isr.contains(&victim) && view.leader.is_some_and(|leader| leader != victim)
            };
            views.len() == PARTITIONS && views.iter().all(goes_on)
        });
        self.wait_written(Instant::now());
        for (prober, before) in self.probers.iter().zip(&before) {
            let trace = prober.trace();
            if before.leader == Some(victim) {
                times.led.extend(trace.first_by_another(struck, victim));
            } else {
                times.followed.add(trace.longest_pause(struck));
            }
        }
        let back = Instant::now();
        match fault {
            Fault::Kill => drop(self.cluster.node_mut(victim).spawn()),
            Fault::Freeze => self.cluster.node(victim).thaw(),
        }
        self.wait_in_sync();
        times.returned.add(back.elapsed());
        self.settle();
    }

    /// Takes the active controller away until a topic was created without it, and gives it back.
    pub fn behead(&mut self, fault: Fault, topic: &str, times: &mut Headless) {
        let victim = self.cluster.quorum(self.brokers[0]).leader;
        let asked = self.brokers.iter().copied().find(|id| *id != victim).expect("there is another broker");
        let mut wire = self.cluster.wire(asked);
        let struck = self.hit(victim, fault);
        let deadline = struck + PATIENCE;
        loop {
            match create_topic(&mut wire, topic, 1, 2).expect("an answer to CreateTopics") {
                ErrorCode::NONE | ErrorCode::TOPIC_ALREADY_EXISTS => break,
                error => assert!(Instant::now() < deadline, "CreateTopics: {error:?}"),
            }
        }
        times.created.add(struck.elapsed());
        self.wait_written(Instant::now());
        times.pauses.extend(self.probers.iter().map(|prober| prober.trace().longest_pause(struck)));
        match fault {
            Fault::Kill => self.cluster.start_all(),
            Fault::Freeze => self.cluster.node(victim).thaw(),
        }
        self.cluster.wait_quorum(asked, |state| state.is_caught_up());
        self.settle();
    }

    /// Restarts every broker in order, with librdkafka's producer and consumer at work.
    pub fn roll(&mut self, times: &mut Rolled) {
        let client =
            CLIENTS.iter().find(|client| client.name == "confluent-kafka").expect("a row of the table");
        let addresses: Vec<String> =
            self.brokers.iter().map(|id| self.cluster.node(*id).bootstrap()).collect();
        let mut client = Program::start((client.command)(), &addresses.join(","));
        client
            .call("pace", json!({"topic": TOPIC, "partitions": PARTITIONS}))
            .expect("librdkafka writes and reads");
        self.settle();
        let began = Instant::now();
        for id in self.brokers.clone() {
            self.cluster.node_mut(id).stop();
            let back = Instant::now();
            let from = self.cluster.node_mut(id).spawn();
            self.wait_in_sync();
            times.returned.add(back.elapsed());
            self.cluster.node(id).wait_ready(from);
            // As an operator does before the next one.
            self.elect_preferred();
            std::thread::sleep(UNDISTURBED);
        }
        self.wait_written(Instant::now());
        times.raw.extend(self.probers.iter().map(|prober| prober.trace().longest_pause(began)));
        let told = client.call("paced", json!({})).expect("librdkafka ends");
        let seconds = |pause: &serde_json::Value| Duration::from_secs_f64(pause.as_f64().unwrap_or(1e6));
        times.librdkafka.extend(told["pauses"].as_array().into_iter().flatten().map(seconds));
        let errors = told["errors"].as_array().into_iter().flatten();
        times.errors.extend(errors.map(|error| error.as_str().unwrap_or("an error").to_owned()));
        self.settle();
    }

    /// What the probers were answered beside acknowledgements since the last settlement: code and count.
    pub fn errors(&self) -> Vec<(i16, usize)> {
        self.probers.iter().flat_map(|prober| prober.trace().errors).collect()
    }
}
