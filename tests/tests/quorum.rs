//! Clusters of several processes: the quorum elects, every broker serves, and controllers come and go.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use minikafka_tests::cluster::{Cluster, Quorum, Role, create_topic, metadata, text};
use minikafka_tests::kafka_tools::Tools;
use minikafka_tests::node::{PATIENCE, Target};
use minikafka_tests::wire::{Wire, batch};
use protocol::ErrorCode;
use protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use protocol::messages::update_features_request::FeatureUpdateKey;
use protocol::messages::{FindCoordinatorRequest, GroupId, OffsetCommitRequest, UpdateFeaturesRequest};

const COMBINED: [Role; 3] = [Role::Combined; 3];

/// Creates a topic by one broker, which must serve it at once: every partition has a leader that takes records.
fn create_and_use(cluster: &Cluster, broker: usize, topic: &str) {
    let mut wire = cluster.wire(broker);
    let error = create_topic(&mut wire, topic, 6, 1).expect("an answer to CreateTopics");
    assert_eq!(error, ErrorCode::NONE, "{topic} by broker {broker}");
    let answer = metadata(&mut wire, topic).expect("an answer to Metadata");
    let partitions = &answer.topics[0].partitions;
    assert_eq!((answer.topics[0].error_code, partitions.len()), (0, 6), "{topic} on broker {broker}");
    for partition in partitions {
        let index = partition.partition_index;
        assert_eq!(partition.error_code, 0, "{topic}-{index} on broker {broker}");
        let leader = usize::try_from(partition.leader_id.0).expect("a partition has a leader");
        produce_soon(&mut cluster.wire(leader), topic, index);
    }
}

/// Produces one record as a client does: again while the leader, another broker, has not heard of it.
fn produce_soon(wire: &mut Wire, topic: &str, partition: i32) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (error, _) = wire.produce(topic, partition, batch(&["value"])).expect("an answer to Produce");
        match error {
            ErrorCode::NONE => return,
            error => {
                assert!(error.is_retriable() && Instant::now() < deadline, "{topic}-{partition}: {error:?}")
            }
        }
    }
}

/// How long until a topic can be created by `broker`.
fn next_create(cluster: &Cluster, broker: usize, topic: &str) -> Duration {
    let began = Instant::now();
    let error = create_topic(&mut cluster.wire(broker), topic, 1, 1).expect("an answer to CreateTopics");
    assert!(matches!(error, ErrorCode::NONE | ErrorCode::TOPIC_ALREADY_EXISTS), "{topic}: {error:?}");
    began.elapsed()
}

/// Some broker that is not this one.
fn other_broker(cluster: &Cluster, than: usize) -> usize {
    cluster.brokers().into_iter().find(|id| *id != than).expect("there is another broker")
}

#[test]
fn three_combined_nodes() {
    let mut cluster = Cluster::start(Target::from_env(), &COMBINED, Quorum::Static, &[]);
    for id in 1..=3 {
        create_and_use(&cluster, id, &format!("by-{id}"));
    }
    // Groups have their coordinators on all of the brokers.
    let coordinators: BTreeSet<usize> =
        (0..12).map(|group| commit(&cluster, &format!("group-{group}"))).collect();
    assert!(coordinators.len() > 1, "all groups are with {coordinators:?}");

    let state = cluster.quorum(1);
    assert_eq!((state.voter_ids(), state.observers.len()), (vec![1, 2, 3], 0));
    let killed = state.leader;
    cluster.node_mut(killed).kill();
    let asked = other_broker(&cluster, killed);
    println!(
        "CreateTopics after the kill of the active controller: {:?}",
        next_create(&cluster, asked, "after-kill")
    );
    let after = cluster.quorum(asked);
    assert!(after.leader != killed && after.epoch > state.epoch, "{after:?} after {state:?}");

    cluster.start_all();
    cluster.wait_quorum(asked, |state| state.is_caught_up());
    create_and_use(&cluster, killed, "by-the-returned");

    let leaving = cluster.quorum(asked).leader;
    let asked = other_broker(&cluster, leaving);
    cluster.node_mut(leaving).stop();
    println!(
        "CreateTopics after a clean stop of the active controller: {:?}",
        next_create(&cluster, asked, "after-stop")
    );
    assert_ne!(cluster.quorum(asked).leader, leaving);

    // A controller that lost its disk comes back empty; what is committed comes back to it.
    fs::remove_dir_all(cluster.node(leaving).data()).expect("the data can be removed");
    cluster.format_node(leaving);
    cluster.start_all();
    cluster.wait_quorum(asked, |state| state.is_caught_up());
    create_and_use(&cluster, leaving, "by-the-empty");

    // From static to dynamic voters: the leader knows the directories of all voters by now, or will in a moment.
    let deadline = Instant::now() + PATIENCE;
    loop {
        let level = FeatureUpdateKey::default()
            .with_feature(text("kraft.version"))
            .with_max_version_level(1)
            .with_upgrade_type(1);
        let request =
            UpdateFeaturesRequest::default().with_feature_updates(vec![level]).with_timeout_ms(30_000);
        let answer = cluster.wire(1).call(1, &request).expect("an answer to UpdateFeatures");
        if answer.error_code == 0 {
            break;
        }
        let why = answer.error_message.unwrap_or_default();
        assert!(Instant::now() < deadline, "kraft.version: {} {why}", answer.error_code);
    }
    create_and_use(&cluster, 2, "with-dynamic-voters");
    assert_eq!(cluster.quorum(3).voter_ids(), [1, 2, 3]);
}

/// Commits an offset for a group where its coordinator is; gives the coordinator.
fn commit(cluster: &Cluster, group: &str) -> usize {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let request =
            FindCoordinatorRequest::default().with_key_type(0).with_coordinator_keys(vec![text(group)]);
        let answer = cluster.wire(1).call(4, &request).expect("an answer to FindCoordinator");
        let found = &answer.coordinators[0];
        let mut error = ErrorCode(found.error_code);
        if error == ErrorCode::NONE {
            let coordinator = found.node_id.0 as usize;
            let partition =
                OffsetCommitRequestPartition::default().with_partition_index(0).with_committed_offset(1);
            let topic = OffsetCommitRequestTopic::default()
                .with_name(minikafka_tests::wire::name("by-1"))
                .with_partitions(vec![partition]);
            let request = OffsetCommitRequest::default()
                .with_group_id(GroupId(text(group)))
                .with_generation_id_or_member_epoch(-1)
                .with_topics(vec![topic]);
            let answer = cluster.wire(coordinator).call(8, &request).expect("an answer to OffsetCommit");
            error = ErrorCode(answer.topics[0].partitions[0].error_code);
            if error == ErrorCode::NONE {
                return coordinator;
            }
        }
        assert!(error.is_retriable() && Instant::now() < deadline, "{group}: {error:?}");
    }
}

#[test]
fn brokers_and_a_controller_apart() {
    let roles = [Role::Controller, Role::Broker, Role::Broker];
    let mut cluster = Cluster::start(Target::from_env(), &roles, Quorum::Static, &[]);
    create_and_use(&cluster, 2, "by-2");
    create_and_use(&cluster, 3, "by-3");
    let state = cluster.quorum(2);
    let observers: Vec<usize> = state.observers.iter().map(|(id, _)| *id).collect();
    assert_eq!((state.leader, state.voter_ids(), observers), (1, vec![1], vec![2, 3]));
    // Brokers serve on without a controller, and find it when it is back.
    cluster.node_mut(1).kill();
    produce_soon(&mut cluster.wire(2), "by-2", led_by(&cluster, 2, "by-2"));
    cluster.start_all();
    create_and_use(&cluster, 3, "after-the-return");
    // A broker leaves in order, and comes back.
    cluster.node_mut(2).restart();
    create_and_use(&cluster, 2, "after-the-restart");
    cluster.nodes.iter_mut().rev().for_each(|node| node.stop());
}

/// A partition of the topic that the broker leads.
fn led_by(cluster: &Cluster, broker: usize, topic: &str) -> i32 {
    let answer = metadata(&mut cluster.wire(broker), topic).expect("an answer to Metadata");
    let mine = answer.topics[0].partitions.iter().find(|p| p.leader_id.0 as usize == broker);
    mine.expect("the broker leads some partition").partition_index
}

const QUORUM_TOOL: &str = "org.apache.kafka.tools.MetadataQuorumCommand";

/// `directory.id` of a node's only directory.
fn directory_id(cluster: &Cluster, id: usize) -> String {
    let path = cluster.node(id).data().join("meta.properties");
    let text = fs::read_to_string(path).expect("the directory is formatted");
    let line = text.lines().find_map(|line| line.strip_prefix("directory.id="));
    line.expect("every directory has an id").to_owned()
}

/// Adds a controller as Apache Kafka's tool does, with the new voter's own configuration.
fn add_controller(tools: &mut Tools, cluster: &Cluster, asked: usize, id: usize) {
    let (server, config) = (cluster.node(asked).bootstrap(), cluster.node(id).config());
    // Until the leader has seen the node fetch all that there is.
    let deadline = Instant::now() + PATIENCE;
    loop {
        let words = ["--bootstrap-server", &server, "--command-config", &config, "add-controller"];
        let ran = tools.run(QUORUM_TOOL, &words, "");
        if ran.code == 0 {
            assert!(ran.text.contains(&format!("Added controller {id}")), "{}", ran.text);
            return;
        }
        assert!(ran.text.contains("TimeoutException") && Instant::now() < deadline, "{}", ran.text);
    }
}

fn remove_controller(tools: &mut Tools, cluster: &Cluster, asked: usize, id: usize, directory: &str) {
    let (server, id) = (cluster.node(asked).bootstrap(), id.to_string());
    let words = [
        "--bootstrap-server",
        &server,
        "remove-controller",
        "--controller-id",
        &id,
        "--controller-directory-id",
        directory,
    ];
    let text = tools.must(QUORUM_TOOL, &words, "");
    assert!(text.contains("Removed") && text.contains(&format!("controller {id}")), "{text}");
}

#[test]
fn voters_come_and_go() {
    let extra = [("metadata.log.max.record.bytes.between.snapshots", "2000")];
    let mut cluster = Cluster::start(Target::from_env(), &COMBINED, Quorum::Dynamic(1), &extra);
    let mut tools = Tools::start();
    create_and_use(&cluster, 3, "with-one-voter");
    let state = cluster.quorum(1);
    assert_eq!((state.leader, state.voter_ids()), (1, vec![1]));
    add_controller(&mut tools, &cluster, 1, 2);
    add_controller(&mut tools, &cluster, 1, 3);
    assert_eq!(cluster.wait_quorum(2, |state| state.is_caught_up()).voter_ids(), [1, 2, 3]);
    let server = cluster.node(3).bootstrap();
    let text = tools.must(QUORUM_TOOL, &["--bootstrap-server", &server, "describe", "--status"], "");
    assert!(text.contains("CurrentVoters:") && text.contains(&directory_id(&cluster, 3)), "{text}");

    // The first voter goes: it leads, and hands over.
    let gone = directory_id(&cluster, 1);
    remove_controller(&mut tools, &cluster, 2, 1, &gone);
    let state = cluster.wait_quorum(2, |state| state.leader != 1);
    assert_eq!(state.voter_ids(), [2, 3]);
    create_and_use(&cluster, 1, "with-two-voters");

    // A voter loses its disk: with its new directory it is another replica, which takes the place of the old one. It
    // begins with a snapshot.
    let (asked, lost) = (state.leader, if state.leader == 2 { 3 } else { 2 });
    add_controller(&mut tools, &cluster, asked, 1);
    let gone = directory_id(&cluster, lost);
    cluster.node_mut(lost).kill();
    fs::remove_dir_all(cluster.node(lost).data()).expect("the data can be removed");
    cluster.node(lost).format_as(&["--no-initial-controllers"]);
    cluster.start_all();
    remove_controller(&mut tools, &cluster, asked, lost, &gone);
    add_controller(&mut tools, &cluster, asked, lost);
    let state = cluster.wait_quorum(asked, |state| state.is_caught_up());
    assert_eq!(state.voter_ids(), [1, 2, 3]);
    let log = cluster.node(lost).data().join("__cluster_metadata-0");
    let files = fs::read_dir(log).expect("the metadata log is there").flatten();
    let names: Vec<String> = files.map(|file| file.file_name().to_string_lossy().into_owned()).collect();
    assert!(names.iter().any(|name| name.ends_with(".checkpoint")), "{names:?}");
    assert!(!names.contains(&"00000000000000000000.log".to_owned()), "it began with a snapshot: {names:?}");
    create_and_use(&cluster, lost, "with-a-new-directory");
}

#[test]
fn an_apache_kafka_controller_as_third_voter() {
    let (targets, roles) =
        ([Target::Apache, Target::Ours, Target::Ours], [Role::Controller, Role::Combined, Role::Combined]);
    for quorum in [Quorum::Static, Quorum::Dynamic(3)] {
        let mut cluster = Cluster::prepared(&targets, &roles, quorum, &[]);
        cluster.format();
        cluster.start_all();
        create_and_use(&cluster, 2, "first");
        let state = cluster.wait_quorum(2, |state| state.is_caught_up() && state.voters.len() == 3);
        println!("{quorum:?}: {} leads of {:?}", state.leader, state.voters);
        // Ours stop in turn until Apache Kafka leads: of two successors with the same end, a leader that stops names the
        // lower id first. Then our brokers register with it and forward to it.
        for round in 0.. {
            assert!(round < 20, "Apache Kafka is never elected");
            let leader = cluster.quorum(2).leader;
            if leader == 1 {
                break;
            }
            cluster.node_mut(leader).stop();
            cluster.start_all();
        }
        create_and_use(&cluster, 2, "led-by-apache-2");
        create_and_use(&cluster, 3, "led-by-apache-3");
        let state = cluster.wait_quorum(2, |state| state.is_caught_up());
        println!("{quorum:?}: {} leads of {:?}", state.leader, state.voters);
        cluster.node_mut(1).kill();
        println!(
            "{quorum:?}: next topic after Apache Kafka's end: {:?}",
            next_create(&cluster, 2, "after-apache")
        );
        cluster.node_mut(1).start();
        cluster.wait_quorum(2, |state| state.is_caught_up());
        for topic in ["first", "led-by-apache-2", "led-by-apache-3", "after-apache"] {
            assert_eq!(
                metadata(&mut cluster.wire(2), topic).expect("an answer").topics[0].error_code,
                0,
                "{topic}"
            );
        }
    }
}
