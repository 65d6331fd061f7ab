//! The commands of the scripts, and how records and answers are printed.

use std::collections::BTreeMap;
use std::sync::Arc;

use metadata::config::StaticConfig;
use metadata::{MetadataDelta, MetadataImage};
use minikafka_controller::decide::{Rules, View, decide};
use minikafka_controller::entropy::Entropy;
use minikafka_controller::event::{Event, Request, Response};
use minikafka_controller::format::bootstrap_records;
use minikafka_controller::liveness::Liveness;
use protocol::features::{FEATURES, MetadataVersion};
use protocol::messages::alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic};
use protocol::messages::alter_partition_request::{BrokerState, PartitionData, TopicData};
use protocol::messages::broker_registration_request::{Feature, Listener};
use protocol::messages::create_partitions_request::CreatePartitionsTopic;
use protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use protocol::messages::delete_topics_request::DeleteTopicState;
use protocol::messages::elect_leaders_request::TopicPartitions;
use protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use protocol::messages::update_features_request::FeatureUpdateKey;
use protocol::messages::*;
use protocol::records::Record;
use protocol::{ErrorCode, StrBytes};
use uuid::Uuid;

const SESSION_MS: i64 = 9_000;

/// A controller's state without a controller.
pub(crate) struct World {
    image: MetadataImage,
    liveness: Liveness,
    rules: Rules,
    entropy: Entropy,
    now_ms: i64,
    incarnations: u64,
}

/// `name key=value …` of a command.
struct Args<'a> {
    plain: Vec<&'a str>,
    named: BTreeMap<&'a str, &'a str>,
}

impl<'a> Args<'a> {
    fn parse(text: &'a str) -> Self {
        let (named, plain): (Vec<&str>, Vec<&str>) =
            text.split_whitespace().partition(|word| word.contains('='));
        Self { plain, named: named.iter().map(|word| word.split_once('=').unwrap()).collect() }
    }

    fn number(&self, name: &str, default: i64) -> i64 {
        self.named.get(name).map_or(default, |value| value.parse().unwrap())
    }

    fn ids(&self, name: &str) -> Option<Vec<i32>> {
        let list = self.named.get(name)?;
        Some(list.split(',').filter(|id| !id.is_empty()).map(|id| id.parse().unwrap()).collect())
    }
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn topic(name: &str) -> TopicName {
    TopicName(text(name))
}

fn brokers(ids: &[i32]) -> Vec<BrokerId> {
    ids.iter().map(|id| BrokerId(*id)).collect()
}

/// `orders-0` as topic and partition.
fn partition(name: &str) -> (&str, i32) {
    let (topic, partition) = name.rsplit_once('-').unwrap();
    (topic, partition.parse().unwrap())
}

impl World {
    /// A controller that has just written the records of an empty log.
    pub(crate) fn new() -> Self {
        let properties = [
            ("process.roles", "broker,controller"),
            ("node.id", "1"),
            ("controller.quorum.voters", "1@h:9093"),
            ("controller.listener.names", "CONTROLLER"),
            ("listeners", "PLAINTEXT://h:9092,CONTROLLER://h:9093"),
        ];
        let properties = properties.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let rules = Rules {
            cluster_id: "cluster".to_owned(),
            session_timeout_ms: SESSION_MS,
            fixed: Arc::new(StaticConfig::new(properties.collect()).unwrap()),
            ..Rules::default()
        };
        let mut world = Self {
            image: MetadataImage::empty(),
            liveness: Liveness::default(),
            rules,
            entropy: Entropy::from_seed([7; 32]),
            now_ms: 1_000,
            incarnations: 0,
        };
        let bootstrap = bootstrap_records(MetadataVersion::LATEST_PRODUCTION, &BTreeMap::new(), []);
        world.event(&Event::Activated { bootstrap, in_transaction: false });
        world
    }

    /// Carries out one command and prints what follows from it.
    pub(crate) fn run(&mut self, line: &str) -> Vec<String> {
        let (command, rest) = line.split_once(' ').unwrap_or((line, ""));
        let args = Args::parse(rest);
        match command {
            "broker" => self.register(&args),
            "heartbeat" => self.heartbeat(&args),
            "wait" => {
                self.now_ms += args.plain[0].parse::<i64>().unwrap();
                Vec::new()
            }
            "sessions-due" => self.event(&Event::SessionsDue),
            "unreachable" => {
                let broker = args.plain[0].parse().unwrap();
                let epoch = args.number("epoch", self.epoch(broker));
                self.event(&Event::BrokerUnreachable { broker, epoch })
            }
            "rebalance" => self.event(&Event::RebalanceDue),
            "unclean-elections" => self.event(&Event::UncleanElectionDue),
            "create-topic" => self.create_topic(&args),
            "delete-topic" => self.delete_topic(&args),
            "grow" => self.grow(&args),
            "set" | "unset" | "append" => self.alter_config(command, &args),
            "alter-isr" => self.alter_isr(&args),
            "elect" => self.elect(&args),
            "reassign" => self.reassign(&args),
            "unregister" => {
                let broker_id = BrokerId(args.plain[0].parse().unwrap());
                self.request(0, UnregisterBrokerRequest::default().with_broker_id(broker_id))
            }
            "producer-ids" => {
                let broker = args.plain[0].parse().unwrap();
                let request = AllocateProducerIdsRequest::default()
                    .with_broker_id(BrokerId(broker))
                    .with_broker_epoch(self.epoch(broker));
                self.request(0, request)
            }
            "feature" => {
                let update = FeatureUpdateKey::default()
                    .with_feature(text(args.plain[0]))
                    .with_max_version_level(args.plain[1].parse().unwrap())
                    .with_upgrade_type(args.number("type", 1) as i8);
                self.request(1, UpdateFeaturesRequest::default().with_feature_updates(vec![update]))
            }
            "show" => self.show(args.plain[0]),
            _ => panic!("{line}"),
        }
    }

    fn epoch(&self, broker: i32) -> i64 {
        self.image.cluster.broker(broker).map_or(-1, |broker| broker.epoch)
    }

    fn register(&mut self, args: &Args<'_>) -> Vec<String> {
        let id: i32 = args.plain[0].parse().unwrap();
        self.incarnations += 1;
        let features = FEATURES.iter().map(|feature| {
            Feature::default()
                .with_name(text(feature.name))
                .with_min_supported_version(feature.min)
                .with_max_supported_version(feature.max)
        });
        let dirs = (0..args.number("dirs", 1)).map(|dir| Uuid::from_u64_pair(id as u64, dir as u64 + 100));
        let listener = Listener::default().with_name(text("PLAINTEXT")).with_host(text("h")).with_port(9092);
        let request = BrokerRegistrationRequest::default()
            .with_broker_id(BrokerId(id))
            .with_cluster_id(text(args.named.get("cluster").unwrap_or(&"cluster")))
            .with_incarnation_id(Uuid::from_u64_pair(1, self.incarnations))
            .with_rack(args.named.get("rack").map(|rack| text(rack)))
            .with_listeners(vec![listener])
            .with_features(features.collect())
            .with_previous_broker_epoch(if args.plain.contains(&"clean") { self.epoch(id) } else { -1 })
            .with_log_dirs(dirs.collect());
        let mut out = self.request(4, request);
        if args.plain.contains(&"unfence") {
            let heartbeat = format!("{id}");
            out.extend(self.heartbeat(&Args::parse(&heartbeat)));
        }
        out
    }

    fn heartbeat(&mut self, args: &Args<'_>) -> Vec<String> {
        let id: i32 = args.plain[0].parse().unwrap();
        let offline = args.ids("offline").unwrap_or_default();
        let offline = offline.iter().map(|dir| Uuid::from_u64_pair(id as u64, *dir as u64 + 100));
        let request = BrokerHeartbeatRequest::default()
            .with_broker_id(BrokerId(id))
            .with_broker_epoch(args.number("epoch", self.epoch(id)))
            .with_current_metadata_offset(args.number("at", self.image.provenance.last_offset))
            .with_want_fence(args.plain.contains(&"want-fence"))
            .with_want_shut_down(args.plain.contains(&"want-shutdown"))
            .with_offline_log_dirs(offline.collect());
        self.request(1, request)
    }

    fn create_topic(&mut self, args: &Args<'_>) -> Vec<String> {
        let configs = args.named.iter().filter(|(key, _)| key.contains('.')).map(|(key, value)| {
            CreatableTopicConfig::default().with_name(text(key)).with_value(Some(text(value)))
        });
        let mut request = CreatableTopic::default()
            .with_name(topic(args.plain.first().unwrap_or(&"")))
            .with_num_partitions(args.number("partitions", -1) as i32)
            .with_replication_factor(args.number("factor", -1) as i16)
            .with_configs(configs.collect());
        if let Some(lists) = args.named.get("replicas") {
            let assignments = lists.split('/').zip(0..).map(|(list, index)| {
                let ids: Vec<i32> =
                    list.split(',').filter(|id| !id.is_empty()).map(|id| id.parse().unwrap()).collect();
                CreatableReplicaAssignment::default()
                    .with_partition_index(index)
                    .with_broker_ids(brokers(&ids))
            });
            request.assignments = assignments.collect();
        }
        let validate_only = args.plain.contains(&"validate-only");
        let request =
            CreateTopicsRequest::default().with_topics(vec![request]).with_validate_only(validate_only);
        self.request(7, request)
    }

    fn delete_topic(&mut self, args: &Args<'_>) -> Vec<String> {
        let topics = args.plain.iter().map(|name| DeleteTopicState::default().with_name(Some(topic(name))));
        self.request(6, DeleteTopicsRequest::default().with_topics(topics.collect()))
    }

    fn grow(&mut self, args: &Args<'_>) -> Vec<String> {
        let request = CreatePartitionsTopic::default()
            .with_name(topic(args.plain[0]))
            .with_count(args.number("to", 0) as i32)
            .with_assignments(None);
        self.request(3, CreatePartitionsRequest::default().with_topics(vec![request]))
    }

    fn alter_config(&mut self, command: &str, args: &Args<'_>) -> Vec<String> {
        let (kind, name) = args.plain[0].split_once(':').unwrap();
        let kind = match kind {
            "topic" => 2,
            "broker" => 4,
            other => other.parse().unwrap(),
        };
        let operation = match command {
            "set" => 0,
            "append" => 2,
            _ => 1,
        };
        let set = args.named.iter().map(|(key, value)| (*key, Some(*value)));
        let unset = args.plain[1..].iter().map(|key| (*key, None));
        let configs = set.chain(unset).map(|(key, value)| {
            AlterableConfig::default()
                .with_name(text(key))
                .with_value(value.map(text))
                .with_config_operation(operation)
        });
        let resource = AlterConfigsResource::default()
            .with_resource_type(kind)
            .with_resource_name(text(name))
            .with_configs(configs.collect());
        self.request(1, IncrementalAlterConfigsRequest::default().with_resources(vec![resource]))
    }

    fn alter_isr(&mut self, args: &Args<'_>) -> Vec<String> {
        let (name, id) = partition(args.plain[0]);
        let image = self.image.topics.by_name(name).cloned();
        let state = image.as_ref().and_then(|topic| topic.partition(id).cloned()).unwrap_or_default();
        let broker = args.number("by", state.leader.into()) as i32;
        let isr = args.ids("isr").unwrap_or_default();
        let isr = isr.iter().map(|id| {
            let epoch = args.number("member-epoch", -1);
            BrokerState::default().with_broker_id(BrokerId(*id)).with_broker_epoch(epoch)
        });
        let request = PartitionData::default()
            .with_partition_index(id)
            .with_leader_epoch(state.leader_epoch + args.number("leader-epoch", 0) as i32)
            .with_partition_epoch(state.partition_epoch + args.number("partition-epoch", 0) as i32)
            .with_leader_recovery_state(args.number("recovering", 0) as i8)
            .with_new_isr_with_epochs(isr.collect());
        let topic = TopicData::default()
            .with_topic_id(image.map_or(Uuid::nil(), |topic| topic.id))
            .with_partitions(vec![request]);
        let request = AlterPartitionRequest::default()
            .with_broker_id(BrokerId(broker))
            .with_broker_epoch(args.number("epoch", self.epoch(broker)))
            .with_topics(vec![topic]);
        self.request(3, request)
    }

    fn elect(&mut self, args: &Args<'_>) -> Vec<String> {
        let election_type = match args.plain[0] {
            "preferred" => 0,
            "unclean" => 1,
            other => other.parse().unwrap(),
        };
        let topics = args.plain.get(1).map(|name| {
            let (name, id) = partition(name);
            vec![TopicPartitions::default().with_topic(topic(name)).with_partitions(vec![id])]
        });
        let request =
            ElectLeadersRequest::default().with_election_type(election_type).with_topic_partitions(topics);
        self.request(2, request)
    }

    fn reassign(&mut self, args: &Args<'_>) -> Vec<String> {
        let (name, id) = partition(args.plain[0]);
        let replicas = args.ids("replicas").map(|ids| brokers(&ids));
        let request = ReassignablePartition::default().with_partition_index(id).with_replicas(replicas);
        let topic = ReassignableTopic::default().with_name(topic(name)).with_partitions(vec![request]);
        self.request(1, AlterPartitionReassignmentsRequest::default().with_topics(vec![topic]))
    }

    fn show(&self, name: &str) -> Vec<String> {
        let (topic, id) = partition(name);
        let state = self.image.topics.by_name(topic).unwrap().partition(id).unwrap();
        vec![format!(
            "{name} replicas={:?} isr={:?} elr={:?} last-known={:?} leader={} leader_epoch={} partition_epoch={} {:?}",
            state.replicas,
            state.isr,
            state.elr,
            state.last_known_elr,
            state.leader,
            state.leader_epoch,
            state.partition_epoch,
            state.leader_recovery_state,
        )]
    }

    fn request(&mut self, version: i16, request: impl Into<Request>) -> Vec<String> {
        self.event(&Event::Request { version, request: request.into() })
    }

    fn event(&mut self, event: &Event) -> Vec<String> {
        let view =
            View { image: &self.image, liveness: &self.liveness, rules: &self.rules, now_ms: self.now_ms };
        let decision = decide(view, &mut self.entropy, event);
        let mut delta = MetadataDelta::new(self.image.clone());
        let mut out = Vec::new();
        for record in &decision.records {
            delta.replay(record).unwrap();
            out.push(print_record(delta.after(), &self.image, record));
        }
        let last_offset = self.image.provenance.last_offset + decision.records.len() as i64;
        delta.set_provenance(last_offset, 1, 0);
        self.image = delta.after().clone();
        for update in decision.liveness {
            self.liveness.update(update, self.now_ms, last_offset);
        }
        out.extend(decision.reply.iter().flat_map(print_response));
        out
    }
}

fn print_record(after: &MetadataImage, before: &MetadataImage, record: &Record) -> String {
    let topic_name = |id: &Uuid| {
        let known = after.topics.by_id(*id).or_else(|| before.topics.by_id(*id));
        known.map_or_else(String::new, |topic| topic.name.to_string())
    };
    let list = |name: &str, ids: &Option<Vec<i32>>| {
        ids.as_ref().map_or_else(String::new, |ids| format!(" {name}={ids:?}"))
    };
    let name = record.name();
    match record {
        Record::Topic(record) => format!("{name} {}", record.name),
        Record::RemoveTopic(record) => format!("{name} {}", topic_name(&record.topic_id)),
        Record::Partition(record) => format!(
            "{name} {}-{} replicas={:?} isr={:?} leader={} dirs={}",
            topic_name(&record.topic_id),
            record.partition_id,
            record.replicas,
            record.isr,
            record.leader,
            dirs(&record.directories)
        ),
        Record::PartitionChange(record) => {
            let leader =
                if record.leader == -2 { String::new() } else { format!(" leader={}", record.leader) };
            let recovery = match record.leader_recovery_state {
                -1 => String::new(),
                state => format!(" recovery={state}"),
            };
            let directories =
                record.directories.as_ref().map_or_else(String::new, |d| format!(" dirs={}", dirs(d)));
            format!(
                "{name} {}-{}{}{}{leader}{}{}{}{}{recovery}{directories}",
                topic_name(&record.topic_id),
                record.partition_id,
                list("replicas", &record.replicas),
                list("isr", &record.isr),
                list("removing", &record.removing_replicas),
                list("adding", &record.adding_replicas),
                list("elr", &record.eligible_leader_replicas),
                list("last-known", &record.last_known_elr),
            )
        }
        Record::Config(record) => format!(
            "{name} {}:{} {}={}",
            record.resource_type,
            record.resource_name,
            record.name,
            record.value.as_deref().unwrap_or("(removed)")
        ),
        Record::RegisterBroker(record) => format!(
            "{name} {} epoch={} fenced={} rack={}",
            record.broker_id,
            record.broker_epoch,
            record.fenced,
            record.rack.as_deref().unwrap_or("-")
        ),
        Record::UnregisterBroker(record) => format!("{name} {}", record.broker_id),
        Record::BrokerRegistrationChange(record) => format!(
            "{name} {} fenced={} shutdown={}{}",
            record.broker_id,
            record.fenced,
            record.in_controlled_shutdown,
            if record.log_dirs.is_empty() {
                String::new()
            } else {
                format!(" dirs={}", dirs(&record.log_dirs))
            }
        ),
        Record::FeatureLevel(record) => format!("{name} {}={}", record.name, record.feature_level),
        Record::ProducerIds(record) => format!("{name} next={}", record.next_producer_id),
        Record::ClearElr(record) => format!("{name} '{}'", record.topic_name),
        _ => name.to_owned(),
    }
}

/// Directories as `broker.number`, or their special names.
fn dirs(directories: &[Uuid]) -> String {
    let one = |id: &Uuid| match id.as_u64_pair() {
        (0, 0) => "migrating".to_owned(),
        (0, 1) => "unassigned".to_owned(),
        (0, 2) => "lost".to_owned(),
        (broker, dir) => format!("{broker}.{}", dir - 100),
    };
    directories.iter().map(one).collect::<Vec<_>>().join(",")
}

fn print_response(response: &Response) -> Vec<String> {
    let line = |what: &str, code: i16, message: &Option<StrBytes>| {
        let message = message.as_ref().map_or_else(String::new, |message| format!(": {message}"));
        let code = if code == 0 { "ok".to_owned() } else { ErrorCode(code).name().to_owned() };
        format!("  {what}{code}{message}")
    };
    match response {
        Response::CreateTopics(r) => {
            r.topics.iter().map(|t| line("", t.error_code, &t.error_message)).collect()
        }
        Response::DeleteTopics(r) => {
            r.responses.iter().map(|t| line("", t.error_code, &t.error_message)).collect()
        }
        Response::CreatePartitions(r) => {
            r.results.iter().map(|t| line("", t.error_code, &t.error_message)).collect()
        }
        Response::IncrementalAlterConfigs(r) => {
            r.responses.iter().map(|t| line("", t.error_code, &t.error_message)).collect()
        }
        Response::BrokerRegistration(r) => match r.error_code {
            0 => vec![format!("  ok epoch={}", r.broker_epoch)],
            code => vec![line("", code, &None)],
        },
        Response::BrokerHeartbeat(r) => match r.error_code {
            0 => vec![format!(
                "  ok caught-up={} fenced={} shut-down={}",
                r.is_caught_up, r.is_fenced, r.should_shut_down
            )],
            code => vec![line("", code, &None)],
        },
        Response::UnregisterBroker(r) => vec![line("", r.error_code, &r.error_message)],
        Response::AllocateProducerIds(r) => {
            vec![format!("{} {}+{}", line("", r.error_code, &None), r.producer_id_start.0, r.producer_id_len)]
        }
        Response::UpdateFeatures(r) => vec![line("", r.error_code, &r.error_message)],
        Response::AlterPartition(r) if r.error_code != 0 => vec![line("", r.error_code, &None)],
        Response::AlterPartition(r) => {
            let partitions = r.topics.iter().flat_map(|topic| &topic.partitions);
            partitions
                .map(|p| {
                    let isr: Vec<i32> = p.isr.iter().map(|id| id.0).collect();
                    format!(
                        "{} leader={} isr={isr:?} leader_epoch={} partition_epoch={}",
                        line("", p.error_code, &None),
                        p.leader_id.0,
                        p.leader_epoch,
                        p.partition_epoch
                    )
                })
                .collect()
        }
        Response::ElectLeaders(r) if r.error_code != 0 => vec![line("", r.error_code, &None)],
        Response::ElectLeaders(r) => {
            let results = r.replica_election_results.iter().flat_map(|topic| {
                topic.partition_result.iter().map(|result| {
                    let what = format!("{}-{} ", topic.topic.as_str(), result.partition_id);
                    line(&what, result.error_code, &result.error_message)
                })
            });
            results.collect()
        }
        Response::AlterPartitionReassignments(r) => {
            let partitions = r.responses.iter().flat_map(|topic| &topic.partitions);
            partitions.map(|p| line("", p.error_code, &p.error_message)).collect()
        }
        other => vec![format!("  {other:?}")],
    }
}
