//! CreateTopics, CreatePartitions and DeleteTopics.

use protocol::messages::create_partitions_request::{CreatePartitionsAssignment, CreatePartitionsTopic};
use protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use protocol::messages::delete_topics_request::DeleteTopicState;
use protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use protocol::messages::{
    BrokerId, CreatePartitionsRequest, CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsRequest,
    ListOffsetsRequest, MetadataRequest, TopicName,
};
use uuid::Uuid;

use super::session::{Session, s};

/// A topic's name as the messages want it.
pub(super) fn topic_name(name: &str) -> TopicName {
    TopicName(s(name))
}

/// A topic to create, one replica each.
fn topic(name: &str, partitions: i32) -> CreatableTopic {
    CreatableTopic::default()
        .with_name(topic_name(name))
        .with_num_partitions(partitions)
        .with_replication_factor(1)
}

fn config(name: &str, value: Option<&str>) -> CreatableTopicConfig {
    CreatableTopicConfig::default().with_name(s(name)).with_value(value.map(s))
}

/// A topic whose replicas are chosen: pairs of partition and brokers.
fn assigned(name: &str, partitions: &[(i32, &[i32])]) -> CreatableTopic {
    let assignments = partitions.iter().map(|(index, brokers)| {
        CreatableReplicaAssignment::default()
            .with_partition_index(*index)
            .with_broker_ids(brokers.iter().map(|b| BrokerId(*b)).collect())
    });
    topic(name, -1).with_replication_factor(-1).with_assignments(assignments.collect())
}

fn create(topics: Vec<CreatableTopic>) -> CreateTopicsRequest {
    CreateTopicsRequest::default().with_topics(topics).with_timeout_ms(30_000)
}

fn by_name(r: &mut CreateTopicsResponse) {
    r.topics.sort_by(|a, b| a.name.cmp(&b.name));
    for topic in &mut r.topics {
        if let Some(configs) = &mut topic.configs {
            configs.retain(|c| {
                matches!(
                    &*c.name,
                    "cleanup.policy" | "retention.ms" | "max.message.bytes" | "compression.type"
                )
            });
        }
    }
}

/// Creates a topic for later requests; its id.
pub(super) fn make(session: &mut Session, name: &str, partitions: i32, configs: &[(&str, &str)]) -> Uuid {
    let configs = configs.iter().map(|(name, value)| config(name, Some(value))).collect();
    let request = create(vec![topic(name, partitions).with_configs(configs)]);
    session.until(7, &request, |r| r.topics[0].error_code == 0 || r.topics[0].error_code == 36);
    // Apache Kafka names the topic before its partitions can be used.
    for index in 0..partitions {
        let partition = ListOffsetsPartition::default().with_partition_index(index).with_timestamp(-1);
        let topic = ListOffsetsTopic::default().with_name(topic_name(name)).with_partitions(vec![partition]);
        let request = ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![topic]);
        session.until(4, &request, |r| r.topics[0].partitions[0].error_code == 0);
    }
    id_of(session, name)
}

/// A topic's id, once the broker serves the topic.
pub(super) fn id_of(session: &mut Session, name: &str) -> Uuid {
    use protocol::messages::metadata_request::MetadataRequestTopic;
    let wanted = MetadataRequestTopic::default().with_name(Some(topic_name(name)));
    let request = MetadataRequest::default().with_topics(Some(vec![wanted]));
    let answer = session.until(12, &request, |r| {
        r.topics.iter().all(|t| t.error_code == 0 && t.partitions.iter().all(|p| p.error_code == 0))
    });
    session.name_id(answer.topics[0].topic_id, name);
    answer.topics[0].topic_id
}

pub(super) fn script(session: &mut Session) {
    for version in [2, 5, 7] {
        let with_configs = topic(&format!("made-{version}"), 2).with_configs(vec![
            config("retention.ms", Some("60000")),
            config("cleanup.policy", Some("compact,delete")),
        ]);
        session.ask_with(version, "one topic", &create(vec![with_configs]), by_name);
        let checked = create(vec![topic("checked", 2)]).with_validate_only(true);
        session.ask_with(version, "validate only", &checked, by_name);
        session.ask_with(version, "no topics", &create(vec![]), by_name);
        for t in slightly_off() {
            let label = format!("off {}", label(&t));
            session.ask_with(version, &label, &create(vec![t]), by_name);
        }
    }
    session.ask_with(
        7,
        "defaults",
        &create(vec![topic("defaults", -1).with_replication_factor(-1)]),
        by_name,
    );
    session.ask_with(
        7,
        "twice in one",
        &create(vec![topic("twice", 1), topic("twice", 1), topic("once", 1)]),
        by_name,
    );
    session.ask_with(7, "assigned", &create(vec![assigned("assigned", &[(1, &[1]), (0, &[1])])]), by_name);
    session.ask_with(7, "no time", &create(vec![topic("no-time", 1)]).with_timeout_ms(0), by_name);
    session.ask_with(7, "negative time", &create(vec![topic("neg-time", 1)]).with_timeout_ms(-1), by_name);
    make(session, "made-2", 2, &[]);
    partitions(session);
}

fn label(t: &CreatableTopic) -> String {
    let name = &t.name.0[..t.name.0.len().min(40)];
    let configs: Vec<String> = t.configs.iter().map(|c| format!("{}={:?}", &*c.name, c.value)).collect();
    let assignments: Vec<String> =
        t.assignments.iter().map(|a| format!("{}:{:?}", a.partition_index, a.broker_ids)).collect();
    format!(
        "{name:?} {} x {} {} {}",
        t.num_partitions,
        t.replication_factor,
        assignments.join(" "),
        configs.join(" ")
    )
}

/// Topics that are refused, each for a reason of its own.
fn slightly_off() -> Vec<CreatableTopic> {
    let with = |name: &str, value: Option<&str>| topic("off", 1).with_configs(vec![config(name, value)]);
    let mut both = assigned("off", &[(0, &[1])]);
    both.num_partitions = 1;
    let mut half = assigned("off", &[(0, &[1])]);
    half.replication_factor = 1;
    vec![
        topic("made-2", 1),
        topic("", 1),
        topic(".", 1),
        topic("..", 1),
        topic("a b", 1),
        topic("äöü", 1),
        topic(&"n".repeat(250), 1),
        topic("made.2", 1),
        topic("off", 0),
        topic("off", -2),
        topic("off", 1).with_replication_factor(0),
        topic("off", 1).with_replication_factor(-2),
        topic("off", 1).with_replication_factor(3),
        topic("off", 0).with_replication_factor(0),
        both,
        half,
        assigned("off", &[(0, &[])]),
        assigned("off", &[(1, &[1])]),
        assigned("off", &[(0, &[1]), (2, &[1])]),
        assigned("off", &[(0, &[1]), (0, &[1])]),
        assigned("off", &[(0, &[1, 1])]),
        assigned("off", &[(0, &[7])]),
        assigned("off", &[(0, &[-1])]),
        with("no.such.config", Some("1")),
        with("retention.ms", Some("soon")),
        with("retention.ms", Some("-2")),
        with("retention.ms", None),
        with("cleanup.policy", Some("forget")),
        with("cleanup.policy", Some("")),
        with("compression.type", Some("rar")),
        with("compression.gzip.level", Some("10")),
        with("min.insync.replicas", Some("0")),
        with("segment.bytes", Some("1")),
        with("preallocate", Some("maybe")),
        with("message.timestamp.type", Some("Never")),
        with("min.cleanable.dirty.ratio", Some("1.5")),
        with("leader.replication.throttled.replicas", Some("x")),
        with("local.retention.ms", Some("99999999999")),
        with("remote.storage.enable", Some("true")),
        topic("off", 1).with_configs(vec![
            config("min.compaction.lag.ms", Some("9")),
            config("max.compaction.lag.ms", Some("8")),
        ]),
        topic("off", 1).with_configs(vec![config("", Some("1"))]),
    ]
}

fn grow(name: &str, count: i32, assignments: Option<&[&[i32]]>) -> CreatePartitionsTopic {
    let assignment = |brokers: &&[i32]| {
        CreatePartitionsAssignment::default().with_broker_ids(brokers.iter().map(|b| BrokerId(*b)).collect())
    };
    CreatePartitionsTopic::default()
        .with_name(topic_name(name))
        .with_count(count)
        .with_assignments(assignments.map(|a| a.iter().map(assignment).collect()))
}

fn partitions(session: &mut Session) {
    let request = |topics: Vec<CreatePartitionsTopic>| {
        CreatePartitionsRequest::default().with_topics(topics).with_timeout_ms(30_000)
    };
    for version in [0, 3] {
        let off = [
            grow("unknown", 3, None),
            grow("", 3, None),
            grow("made-2", 1, None),
            grow("made-2", 2, None),
            grow("made-2", 0, None),
            grow("made-2", -1, None),
            grow("made-2", 9, Some(&[&[1]])),
            grow("made-2", 3, Some(&[&[1], &[1]])),
            grow("made-2", 3, Some(&[&[9]])),
            grow("made-2", 3, Some(&[&[]])),
            grow("made-2", 3, Some(&[&[1, 1]])),
            grow("made-2", 3, Some(&[])),
        ];
        for t in off {
            let label = format!(
                "{:?} {} {:?}",
                &*t.name.0,
                t.count,
                t.assignments.as_ref().map(|a| {
                    a.iter().map(|a| a.broker_ids.iter().map(|b| b.0).collect::<Vec<_>>()).collect::<Vec<_>>()
                })
            );
            session.ask(version, &label, &request(vec![t]).with_validate_only(true));
        }
        session.ask(version, "none", &request(vec![]));
        session.ask(version, "no time", &request(vec![grow("made-2", 9, None)]).with_timeout_ms(0));
        let twice = vec![grow("made-2", 3, None), grow("made-2", 4, None), grow("unknown", 4, None)];
        session
            .ask_with(version, "twice", &request(twice), |r| r.results.sort_by(|a, b| a.name.cmp(&b.name)));
        let count = 3 + i32::from(version);
        session.ask(version, "more", &request(vec![grow("made-2", count, None)]));
        session.ask(
            version,
            "assigned",
            &request(vec![grow("made-5", count, Some(&[&[1]]))]).with_validate_only(true),
        );
    }
}

/// DeleteTopics: at the end, since the topics are gone then.
pub(super) fn deletions(session: &mut Session) {
    let names = |names: &[&str]| {
        DeleteTopicsRequest::default()
            .with_topic_names(names.iter().map(|n| topic_name(n)).collect())
            .with_timeout_ms(30_000)
    };
    for version in [1, 5] {
        session.ask(version, "none", &names(&[]));
        session.ask(version, "unknown", &names(&["unknown"]));
        session.ask(version, "empty name", &names(&[""]));
        session.ask(version, "one", &names(&[&format!("made-{}", version.max(2))]));
        session.ask_with(version, "twice", &names(&["once", "once"]), |r| {
            r.responses.sort_by(|a, b| a.name.cmp(&b.name))
        });
    }
    let id = make(session, "by-id", 1, &[]);
    make(session, "by-name", 1, &[]);
    let states = |states: &[(Option<&str>, Uuid)]| {
        let state = |(name, id): &(Option<&str>, Uuid)| {
            DeleteTopicState::default().with_name(name.map(topic_name)).with_topic_id(*id)
        };
        DeleteTopicsRequest::default().with_topics(states.iter().map(state).collect()).with_timeout_ms(30_000)
    };
    let nil = Uuid::nil();
    for (label, request) in [
        ("none", states(&[])),
        ("unknown", states(&[(Some("unknown"), nil)])),
        ("unknown id", states(&[(None, Uuid::from_u128(77))])),
        ("both", states(&[(Some("by-id"), id)])),
        ("neither", states(&[(None, nil)])),
        ("name and id of one", states(&[(Some("by-id"), nil), (None, id)])),
        ("id twice", states(&[(None, id), (None, id)])),
        ("by id", states(&[(None, id)])),
        ("by name", states(&[(Some("by-name"), nil)])),
        ("again", states(&[(Some("by-name"), nil)])),
        ("no time", states(&[(Some("no-time"), nil)]).with_timeout_ms(0)),
    ] {
        session.ask_with(6, label, &request, |r| {
            r.responses.sort_by(|a, b| (&a.name, a.topic_id.is_nil()).cmp(&(&b.name, b.topic_id.is_nil())))
        });
    }
}
