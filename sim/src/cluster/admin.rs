//! The administrator: creates the topic, then moves replicas and elects leaders.

use controller::event::{Request, Response};
use protocol::StrBytes;
use protocol::messages::alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic};
use protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use protocol::messages::elect_leaders_request::TopicPartitions;
use protocol::messages::{
    AlterPartitionReassignmentsRequest, BrokerId, CreateTopicsRequest, ElectLeadersRequest, TopicName,
};

use super::plan::TOPIC;
use super::rpc::{Answer, Ask, Caller, Told};
use super::world::World;

const TIMEOUT_MS: i64 = 1_000;
const RETRY_MS: i64 = 100;
const CREATE_VERSION: i16 = 7;
const VERSION: i16 = 0;
const TOPIC_ALREADY_EXISTS: i16 = 36;

#[derive(Debug, Default)]
pub(super) struct Admin {
    /// The topic was created, says the controller.
    pub(super) has_created: bool,
    call: u64,
    due: i64,
    /// What is to be asked when there is time.
    errand: Option<Request>,
}

impl Admin {
    pub(super) fn next_deadline(&self) -> i64 {
        if self.has_created && self.errand.is_none() { i64::MAX } else { self.due }
    }
}

impl World {
    pub(super) fn tick_admin(&mut self) {
        if self.admin.next_deadline() > self.now {
            return;
        }
        self.admin.due = self.now + RETRY_MS;
        let (version, request) = match self.admin.errand.take() {
            Some(errand) => (VERSION, errand),
            None => (CREATE_VERSION, self.creation().into()),
        };
        // Any running node tells who the controller is.
        let known = |id: &i32| self.nodes[id].process.as_ref()?.machine.leader().leader_id;
        let known: Vec<i32> = self.ids().iter().filter_map(known).collect();
        if known.is_empty() || !self.admin.has_created && self.unfenced() < self.plan.brokers.len() {
            return;
        }
        let to = known[self.rng.below(known.len() as u64) as usize];
        let call = self.next_id();
        self.admin.call = call;
        self.admin.due = self.now + TIMEOUT_MS;
        self.send(Caller::Admin(call), to, Ask::Controller(version, request));
    }

    fn unfenced(&self) -> usize {
        self.observed.image().cluster.brokers.values().filter(|broker| broker.is_active()).count()
    }

    fn creation(&self) -> CreateTopicsRequest {
        let min_isr = CreatableTopicConfig::default()
            .with_name(StrBytes::from_static_str("min.insync.replicas"))
            .with_value(Some(StrBytes::from_string(self.plan.min_isr.to_string())));
        let topic = CreatableTopic::default()
            .with_name(topic_name())
            .with_num_partitions(self.plan.partitions)
            .with_replication_factor(self.plan.replication)
            .with_configs(vec![min_isr]);
        CreateTopicsRequest::default().with_topics(vec![topic])
    }

    pub(super) fn admin_answered(&mut self, caller: Caller, answer: Answer) {
        if caller != Caller::Admin(self.admin.call) {
            return;
        }
        self.admin.due = self.now + RETRY_MS;
        if let Ok(Told::Controller(Some(Response::CreateTopics(response)))) = answer {
            let done = |code: i16| code == 0 || code == TOPIC_ALREADY_EXISTS;
            if response.topics.iter().any(|topic| done(topic.error_code)) {
                self.admin.has_created = true;
                self.observed.topic_created(TOPIC);
            }
        }
    }

    /// Moves the replicas of a partition, or its leader to the preferred replica.
    pub(super) fn run_an_errand(&mut self) {
        if !self.admin.has_created {
            return;
        }
        let index = self.rng.below(self.plan.partitions as u64) as i32;
        self.admin.due = self.now;
        self.admin.errand = Some(if self.rng.below(2) == 0 {
            let topics = TopicPartitions::default().with_topic(topic_name()).with_partitions(vec![index]);
            ElectLeadersRequest::default().with_topic_partitions(Some(vec![topics])).into()
        } else {
            let mut brokers = self.plan.brokers.clone();
            for at in (1..brokers.len()).rev() {
                brokers.swap(at, self.rng.below(at as u64 + 1) as usize);
            }
            brokers.truncate(self.plan.replication as usize);
            let replicas = brokers.into_iter().map(BrokerId).collect();
            let partition =
                ReassignablePartition::default().with_partition_index(index).with_replicas(Some(replicas));
            let topic = ReassignableTopic::default().with_name(topic_name()).with_partitions(vec![partition]);
            AlterPartitionReassignmentsRequest::default().with_topics(vec![topic]).into()
        });
    }
}

fn topic_name() -> TopicName {
    TopicName(StrBytes::from_static_str(TOPIC))
}
