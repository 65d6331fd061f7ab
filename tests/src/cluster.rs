//! Several nodes that make one cluster: any mix of roles, static or dynamic quorum, ours and Apache Kafka.

use std::time::{Duration, Instant};

use protocol::ErrorCode;
use protocol::StrBytes;
use protocol::messages::create_topics_request::{CreatableReplicaAssignment, CreatableTopic};
use protocol::messages::describe_quorum_request::{PartitionData, TopicData};
use protocol::messages::metadata_request::MetadataRequestTopic;
use protocol::messages::metadata_response::MetadataResponsePartition;
use protocol::messages::{
    BrokerId, CreateTopicsRequest, DescribeQuorumRequest, MetadataRequest, MetadataResponse,
};
use tempfile::TempDir;
use uuid::Uuid;

use crate::network::Network;
use crate::node::{Node, PATIENCE, Target};
use crate::ports::free_port;
use crate::wire::{Wire, batch, name};

/// Pause between two looks at a state that is waited for.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// What a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// `process.roles=broker,controller`.
    Combined,
    /// `process.roles=broker`.
    Broker,
    /// `process.roles=controller`.
    Controller,
}

impl Role {
    fn is_broker(self) -> bool {
        self != Role::Controller
    }

    fn is_controller(self) -> bool {
        self != Role::Broker
    }
}

/// How the nodes know the voters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quorum {
    /// `controller.quorum.voters` on every node.
    Static,
    /// `controller.quorum.bootstrap.servers`; the first controllers, as many as this, are the first voters.
    Dynamic(usize),
}

/// A cluster in one temporary directory; node ids are 1, 2, ... in the order of the roles.
pub struct Cluster {
    /// Members in the order of their ids.
    pub nodes: Vec<Node>,
    roles: Vec<Role>,
    /// `--initial-controllers`, in a dynamic quorum.
    initial: Option<String>,
    _dir: TempDir,
}

impl Cluster {
    /// Formats and starts nodes of these roles; returns when all say that they are ready.
    pub fn start(target: Target, roles: &[Role], quorum: Quorum, extra: &[(&str, &str)]) -> Cluster {
        let mut cluster = Cluster::prepared(&vec![target; roles.len()], roles, quorum, extra);
        cluster.format();
        cluster.start_all();
        cluster
    }

    /// Nodes that are neither formatted nor started; each of a target of its own.
    pub fn prepared(targets: &[Target], roles: &[Role], quorum: Quorum, extra: &[(&str, &str)]) -> Cluster {
        let ports: Vec<u16> = (0..roles.len() * 2).map(|_| free_port()).collect();
        let port = |at: usize| (ports[2 * at], ports[2 * at + 1]);
        let members: Vec<_> =
            (0..roles.len()).map(|at| ("127.0.0.1".to_owned(), port(at).0, port(at).1)).collect();
        Cluster::at(&members, targets, roles, quorum, extra)
    }

    /// Three nodes, neither formatted nor started, whose replicas are to be moved: leaders stay where they are put, a node
    /// that dies is noticed within seconds, and what a node gives up is deleted at once.
    pub fn of_three_to_move_in() -> Cluster {
        let extra = [
            ("broker.session.timeout.ms", "6000"),
            ("broker.heartbeat.interval.ms", "500"),
            ("auto.leader.rebalance.enable", "false"),
            ("log.segment.delete.delay.ms", "0"),
        ];
        Cluster::prepared(&[Target::from_env(); 3], &[Role::Combined; 3], Quorum::Static, &extra)
    }

    /// Nodes of ours that are neither formatted nor started, each at a place of its own in a network.
    pub fn in_network(network: &Network, roles: &[Role], quorum: Quorum, extra: &[(&str, &str)]) -> Cluster {
        let members: Vec<_> = (1..=roles.len()).map(|id| (Network::address(id), 9092, 9093)).collect();
        let targets = vec![Target::Ours; roles.len()];
        let mut cluster = Cluster::at(&members, &targets, roles, quorum, extra);
        for (id, node) in (1..).zip(&mut cluster.nodes) {
            node.set_place(Network::address(id), network.namespace(id));
        }
        cluster
    }

    /// Nodes at these hosts, client ports and controller ports.
    fn at(
        members: &[(String, u16, u16)],
        targets: &[Target],
        roles: &[Role],
        quorum: Quorum,
        extra: &[(&str, &str)],
    ) -> Cluster {
        let dir = tempfile::Builder::new().prefix("minikafka-cluster-").tempdir();
        let dir = dir.expect("a temporary directory");
        let controller = |at: usize| format!("{}:{}", members[at].0, members[at].2);
        let controllers = || (0..roles.len()).filter(|at| roles[*at].is_controller());
        let list = |entry: &dyn Fn(usize) -> String| controllers().map(entry).collect::<Vec<_>>().join(",");
        let (key, value, initial) = match quorum {
            Quorum::Static => {
                let voters = list(&|at| format!("{}@{}", at + 1, controller(at)));
                ("controller.quorum.voters", voters, None)
            }
            Quorum::Dynamic(voters) => {
                let initial = controllers().take(voters).map(|at| {
                    let directory = protocol::base64_id(Uuid::from_u128(
                        0x4d4b_5445_5354_4000_8000_0000_0000_0000 + at as u128,
                    ));
                    format!("{}@{}:{directory}", at + 1, controller(at))
                });
                let servers = list(&controller);
                let initial = initial.collect::<Vec<_>>().join(",");
                ("controller.quorum.bootstrap.servers", servers, Some(initial))
            }
        };
        let nodes = roles.iter().zip(targets).enumerate().map(|(at, (role, target))| {
            let (host, port, controller_port) = &members[at];
            let mut text = properties(at + 1, *role, host, *port, *controller_port);
            let data = dir.path().join(format!("{}/data", at + 1));
            text.push_str(&format!("{key}={value}\nlog.dirs={}\n", data.display()));
            for (key, value) in extra {
                text.push_str(&format!("{key}={value}\n"));
            }
            Node::member(*target, &dir.path().join((at + 1).to_string()), &text, *port, *controller_port)
        });
        Cluster { nodes: nodes.collect(), roles: roles.to_vec(), initial, _dir: dir }
    }

    /// Formats every node.
    pub fn format(&self) {
        (1..=self.nodes.len()).for_each(|id| self.format_node(id));
    }

    /// Formats one node; as one of the first voters if it is one.
    pub fn format_node(&self, id: usize) {
        let is_first =
            |initial: &&String| initial.split(',').any(|voter| voter.starts_with(&format!("{id}@")));
        match &self.initial {
            Some(initial) if is_first(&initial) => {
                self.node(id).format_as(&["--initial-controllers", initial]);
            }
            Some(_) if self.roles[id - 1].is_controller() => {
                self.node(id).format_as(&["--no-initial-controllers"]);
            }
            _ => self.node(id).format_as(&[]),
        }
    }

    /// Starts all that do not run; returns when all of them say that they are ready.
    pub fn start_all(&mut self) {
        let idle = self.nodes.iter_mut().filter(|node| !node.is_running());
        let started: Vec<_> = idle.map(|node| (node.spawn(), &*node)).collect();
        started.into_iter().for_each(|(from, node)| node.wait_ready(from));
    }

    /// The node of that id.
    pub fn node(&self, id: usize) -> &Node {
        &self.nodes[id - 1]
    }

    /// Likewise, to start and stop it.
    pub fn node_mut(&mut self, id: usize) -> &mut Node {
        &mut self.nodes[id - 1]
    }

    /// Ids of the brokers that run.
    pub fn brokers(&self) -> Vec<usize> {
        let runs = |id: &usize| self.roles[*id - 1].is_broker() && self.node(*id).is_running();
        (1..=self.nodes.len()).filter(runs).collect()
    }

    /// A connection to a broker.
    pub fn wire(&self, id: usize) -> Wire {
        Wire::connect(&self.node(id).bootstrap()).expect("the broker listens")
    }

    /// Creates a topic by this broker, with the replicas of each partition, the preferred leader first.
    pub fn create_assigned(&self, asked: usize, topic: &str, replicas: &[&[usize]]) {
        let error = create_assigned(&mut self.wire(asked), topic, replicas);
        assert_eq!(error.expect("an answer to CreateTopics"), ErrorCode::NONE, "{topic} by {asked}");
    }

    /// Produces a batch of one record with acks=all to whoever leads, which may change meanwhile; gives the offset.
    pub fn produce(&self, topic: &str, partition: i32, value: &str) -> i64 {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let asked = self.brokers()[0];
            let view = self.wait_partition(asked, topic, partition, |view| view.leader.is_some());
            let leader = view.leader.expect("waited for");
            // A leader that was just killed is still named for a while.
            if self.brokers().contains(&leader)
                && let Ok((error, offset)) = self.wire(leader).produce(topic, partition, batch(&[value]))
            {
                if error == ErrorCode::NONE {
                    return offset;
                }
                assert!(error.is_retriable(), "{topic}-{partition}: {error:?}");
            }
            assert!(Instant::now() < deadline, "{topic}-{partition} is not writable: {view:?}");
        }
    }

    /// The state of the quorum as a broker forwards it.
    pub fn quorum(&self, broker: usize) -> QuorumState {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match describe_quorum(&mut self.wire(broker)) {
                Some(state) => return state,
                None => assert!(Instant::now() < deadline, "the quorum has no leader"),
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    /// Waits until the quorum is as it should be; gives the state.
    pub fn wait_quorum(&self, broker: usize, is_so: impl Fn(&QuorumState) -> bool) -> QuorumState {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let state = self.quorum(broker);
            if is_so(&state) {
                return state;
            }
            assert!(Instant::now() < deadline, "the quorum stays {state:?}");
            std::thread::sleep(LOOK_AGAIN);
        }
    }
}

/// A partition as the metadata has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionView {
    /// Id of the leader; `None` while there is none.
    pub leader: Option<usize>,
    /// Its epoch.
    pub epoch: i32,
    /// Ids of the in-sync replicas, sorted.
    pub isr: Vec<usize>,
}

impl Cluster {
    /// The partition as `broker` describes it; `None` while it does not know it.
    pub fn partition(&self, broker: usize, topic: &str, index: i32) -> Option<PartitionView> {
        partition_view(&mut self.wire(broker), topic, index)
    }

    /// Waits until `broker` describes the partition as it should be; gives what it says.
    pub fn wait_partition(
        &self,
        broker: usize,
        topic: &str,
        index: i32,
        is_so: impl Fn(&PartitionView) -> bool,
    ) -> PartitionView {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let view = self.partition(broker, topic, index);
            match view {
                Some(view) if is_so(&view) => return view,
                view => assert!(Instant::now() < deadline, "{topic}-{index} stays {view:?}"),
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    /// Waits until the partition's log has the same bytes on these brokers; gives them.
    pub fn wait_identical(&self, brokers: &[usize], topic: &str, index: i32) -> Vec<u8> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let logs: Vec<_> = brokers.iter().map(|id| self.log_bytes(*id, topic, index)).collect();
            if logs.iter().all(|log| *log == logs[0]) {
                return logs.into_iter().next().unwrap_or_default();
            }
            let sizes: Vec<_> = logs.iter().map(Vec::len).collect();
            assert!(Instant::now() < deadline, "{topic}-{index} differs on {brokers:?}; sizes {sizes:?}");
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    /// All segments of the partition's log on one node, one after the other.
    pub fn log_bytes(&self, id: usize, topic: &str, index: i32) -> Vec<u8> {
        let dir = self.node(id).data().join(format!("{topic}-{index}"));
        let entries = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
        let mut segments: Vec<_> =
            entries.filter(|path| path.extension().is_some_and(|e| e == "log")).collect();
        segments.sort();
        segments.iter().flat_map(|path| std::fs::read(path).unwrap_or_default()).collect()
    }
}

/// The partition as the broker at the other end describes it; `None` while it does not know it or does not answer.
pub fn partition_view(wire: &mut Wire, topic: &str, index: i32) -> Option<PartitionView> {
    let answer = metadata(wire, topic).ok()?;
    let found = answer.topics.first()?.partitions.iter().find(|p| p.partition_index == index)?;
    Some(view(found))
}

/// A quorum as its leader describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuorumState {
    /// The active controller.
    pub leader: usize,
    /// Its epoch.
    pub epoch: i32,
    /// What is committed.
    pub high_watermark: i64,
    /// Id and log end offset of each voter.
    pub voters: Vec<(usize, i64)>,
    /// The same of the observers.
    pub observers: Vec<(usize, i64)>,
}

impl QuorumState {
    /// Whether every voter has all that is committed.
    pub fn is_caught_up(&self) -> bool {
        self.voters.iter().all(|(_, end)| *end >= self.high_watermark)
    }

    /// Ids of the voters.
    pub fn voter_ids(&self) -> Vec<usize> {
        self.voters.iter().map(|(id, _)| *id).collect()
    }
}

/// DescribeQuorum, as any node answers it; `None` while there is no leader.
pub fn describe_quorum(wire: &mut Wire) -> Option<QuorumState> {
    let partition = PartitionData::default().with_partition_index(0);
    let topic =
        TopicData::default().with_topic_name(name("__cluster_metadata")).with_partitions(vec![partition]);
    let answer = wire.call(2, &DescribeQuorumRequest::default().with_topics(vec![topic])).ok()?;
    let partition = answer.topics.first()?.partitions.first()?;
    if partition.error_code != 0 || partition.leader_id.0 < 0 || partition.high_watermark < 0 {
        return None;
    }
    let states = |states: &[protocol::messages::describe_quorum_response::ReplicaState]| {
        states.iter().map(|state| (state.replica_id.0 as usize, state.log_end_offset)).collect()
    };
    Some(QuorumState {
        leader: partition.leader_id.0 as usize,
        epoch: partition.leader_epoch,
        high_watermark: partition.high_watermark,
        voters: states(&partition.current_voters),
        observers: states(&partition.observers),
    })
}

/// CreateTopics of one topic: the topic's error.
pub fn create_topic(
    wire: &mut Wire,
    topic: &str,
    partitions: i32,
    replication: i16,
) -> std::io::Result<ErrorCode> {
    let topic = CreatableTopic::default()
        .with_name(name(topic))
        .with_num_partitions(partitions)
        .with_replication_factor(replication);
    let request = CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(30_000);
    Ok(ErrorCode(wire.call(7, &request)?.topics[0].error_code))
}

/// CreateTopics of one topic with the replicas of each partition, the preferred leader first: the topic's error.
pub fn create_assigned(wire: &mut Wire, topic: &str, replicas: &[&[usize]]) -> std::io::Result<ErrorCode> {
    let assigned = (0..).zip(replicas).map(|(index, replicas)| {
        CreatableReplicaAssignment::default()
            .with_partition_index(index)
            .with_broker_ids(replicas.iter().map(|id| BrokerId(*id as i32)).collect())
    });
    let topic = CreatableTopic::default()
        .with_name(name(topic))
        .with_num_partitions(-1)
        .with_replication_factor(-1)
        .with_assignments(assigned.collect());
    let request = CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(30_000);
    Ok(ErrorCode(wire.call(7, &request)?.topics[0].error_code))
}

/// Metadata of one topic, which is not created.
pub fn metadata(wire: &mut Wire, topic: &str) -> std::io::Result<MetadataResponse> {
    let topic = MetadataRequestTopic::default().with_name(Some(name(topic)));
    let request =
        MetadataRequest::default().with_topics(Some(vec![topic])).with_allow_auto_topic_creation(false);
    wire.call(12, &request)
}

/// The partitions of the only topic of an answer, in the order of their indexes.
pub fn views(answer: &MetadataResponse) -> Vec<PartitionView> {
    let mut partitions: Vec<_> = answer.topics.iter().flat_map(|topic| &topic.partitions).collect();
    partitions.sort_unstable_by_key(|partition| partition.partition_index);
    partitions.into_iter().map(view).collect()
}

fn view(partition: &MetadataResponsePartition) -> PartitionView {
    let mut isr: Vec<usize> = partition.isr_nodes.iter().map(|id| id.0 as usize).collect();
    isr.sort_unstable();
    PartitionView { leader: usize::try_from(partition.leader_id.0).ok(), epoch: partition.leader_epoch, isr }
}

/// A string for a message.
pub fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// What every member is told, beside the quorum and its directory.
fn properties(id: usize, role: Role, host: &str, port: u16, controller_port: u16) -> String {
    let (roles, listeners) = match role {
        Role::Combined => {
            ("broker,controller", format!("PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller_port}"))
        }
        Role::Broker => ("broker", format!("PLAINTEXT://{host}:{port}")),
        Role::Controller => ("controller", format!("CONTROLLER://{host}:{controller_port}")),
    };
    format!(
        "process.roles={roles}\n\
         node.id={id}\n\
         controller.listener.names=CONTROLLER\n\
         listeners={listeners}\n\
         listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
         num.partitions=3\n\
         offsets.topic.num.partitions=4\n\
         offsets.topic.replication.factor=1\n\
         transaction.state.log.num.partitions=2\n\
         transaction.state.log.replication.factor=1\n\
         transaction.state.log.min.isr=1\n\
         group.initial.rebalance.delay.ms=0\n"
    )
}
