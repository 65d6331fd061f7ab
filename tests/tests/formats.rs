//! One directory, two programs: what Apache Kafka wrote opens in ours and says the same, also after a kill.
//!
//! The way back (ours opened by Apache Kafka, every file read by its dump tool) stands at the end of `clients`, where a
//! directory full of other clients' records lies ready.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use minikafka_tests::behaviour::{Session, Traits};
use minikafka_tests::kafka_tools::Tools;
use minikafka_tests::node::{Node, Target};
use minikafka_tests::program::Program;
use minikafka_tests::{clients, observe, setup};

/// Unpacks a directory that Apache Kafka 4.1.2 left, and gives a node on it.
fn recorded(target: Target, name: &str, dir: &Path) -> Node {
    let archive = setup::root().join("tests/testdata").join(format!("{name}.tar.gz"));
    let status = Command::new("tar").arg("xzf").arg(archive).arg("-C").arg(dir).status().expect("tar runs");
    assert!(status.success());
    // These were written by a static quorum, small indexes and record times of long ago.
    let node = Node::at(target, dir, &[]);
    node.set("controller.quorum.bootstrap.servers", None);
    node.set("controller.quorum.voters", Some(&format!("1@127.0.0.1:{}", node.controller_port())));
    node.set("log.index.size.max.bytes", Some("4096"));
    // Both must see the same whenever they look.
    node.set("log.cleaner.enable", Some("false"));
    node.set("producer.id.expiration.ms", Some("2147483647"));
    node.set("transaction.abort.timed.out.transaction.cleanup.interval.ms", Some("2147483647"));
    node
}

/// What `kafka-consumer-groups` says about all groups without members, among them those of KIP-848.
fn described_groups(tools: &mut Tools, node: &Node) -> Vec<String> {
    let class = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand";
    let server = node.bootstrap();
    let mut lines = Vec::new();
    for what in ["--offsets", "--members", "--state"] {
        let words = ["--bootstrap-server", &server, "--describe", "--all-groups", what];
        let text = tools.must(class, &words, "").replace(&server, "server");
        let name = |line: &'_ str| {
            let rest = line.strip_prefix("Consumer group '")?;
            Some(rest.strip_suffix("' has no active members.")?.to_owned())
        };
        let empty: Vec<String> = text.lines().filter_map(name).collect();
        let of_empty = |line: &&str| empty.iter().any(|group| line.split_whitespace().any(|w| w == *group));
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        lines.extend(text.lines().filter(|line| name(line).is_some()).map(words));
        lines.extend(text.lines().filter(of_empty).map(words));
    }
    lines
}

fn same_view(name: &str) {
    let (theirs, ours) = (TempDir::new().expect("a directory"), TempDir::new().expect("a directory"));
    let mut tools = Tools::start();
    let mut apache = recorded(Target::Apache, name, theirs.path()).started();
    let expected = observe::everything(&mut tools, &apache.bootstrap());
    let groups = described_groups(&mut tools, &apache);
    apache.stop();
    let mut node = recorded(Target::from_env(), name, ours.path()).started();
    let found = observe::everything(&mut tools, &node.bootstrap());
    assert_eq!(observe::difference(&expected, &found), None, "Apache Kafka and we");
    // A member that Apache Kafka still waits for is gone in ours, which does not take its heartbeats.
    let here = described_groups(&mut tools, &node);
    let missing: Vec<&String> = groups.iter().filter(|line| !here.contains(line)).collect();
    assert!(missing.is_empty(), "{missing:?} of the groups of either protocol are not in {here:?}");
    node.restart();
    let found = observe::everything(&mut tools, &node.bootstrap());
    assert_eq!(observe::difference(&expected, &found), None, "Apache Kafka and we after a restart");
    node.stop();
    let ours = node.data();
    assert!(!tools.dump_directory(&ours).is_empty());
}

#[test]
fn a_directory_closed_by_apache_kafka() {
    same_view("4.1.2-kraft-clean");
}

#[test]
fn a_directory_left_by_a_killed_apache_kafka() {
    same_view("4.1.2-kraft-killed");
}

#[test]
fn a_fresh_directory_of_apache_kafka_goes_on_in_ours() {
    let java = clients::CLIENTS.iter().find(|c| c.name == "java").unwrap();
    let mut node = Node::fresh(Target::Apache, &[]);
    let mut session = Session::new("java", Traits::ALL, Program::start((java.command)(), &node.bootstrap()));
    session.before_restart().unwrap();
    session.leave_first_member().unwrap();
    let mut tools = Tools::start();
    let expected = observe::everything(&mut tools, &node.bootstrap());
    node.switch(Target::from_env());
    let found = observe::everything(&mut tools, &node.bootstrap());
    assert_eq!(observe::difference(&expected, &found), None, "Apache Kafka and we");
    session.go_on(Program::start((java.command)(), &node.bootstrap())).unwrap();
    node.switch(Target::Apache);
    session.go_on(Program::start((java.command)(), &node.bootstrap())).unwrap();
}
