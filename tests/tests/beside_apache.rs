//! Brokers of ours and of Apache Kafka in one cluster: each follows partitions that the other leads, and dies.
//!
//! (Apache Kafka's controller beside ours stands in `quorum`.)

use minikafka_tests::cluster::{Cluster, Quorum, Role};
use minikafka_tests::node::Target;
use minikafka_tests::wire::{Wire, batch, produce_request};

/// The node that runs Apache Kafka.
const APACHE: usize = 4;
const ROLES: [Role; 4] = [Role::Controller, Role::Broker, Role::Broker, Role::Broker];
const TARGETS: [Target; 4] = [Target::Ours, Target::Ours, Target::Ours, Target::Apache];

fn cluster() -> Cluster {
    let extra = [
        // Followers are frozen for moments, and keep their places.
        ("broker.session.timeout.ms", "6000"),
        ("broker.heartbeat.interval.ms", "500"),
        ("replica.lag.time.max.ms", "30000"),
        ("auto.leader.rebalance.enable", "false"),
        ("offsets.topic.replication.factor", "3"),
    ];
    let mut cluster = Cluster::prepared(&TARGETS, &ROLES, Quorum::Static, &extra);
    cluster.format();
    cluster.start_all();
    cluster
}

fn produce_unreplicated(wire: &mut Wire, topic: &str, value: &str) {
    let request = produce_request(topic, 0, batch(&[value])).with_acks(1);
    let answer = wire.call(9, &request).expect("an answer to Produce");
    assert_eq!(answer.responses[0].partition_responses[0].error_code, 0, "{topic}");
}

#[test]
fn each_follows_the_other() {
    let mut cluster = cluster();
    cluster.create_assigned(2, "by-ours", &[&[2, 3, APACHE], &[3, APACHE, 2], &[APACHE, 2, 3]]);
    cluster.create_assigned(APACHE, "by-apache", &[&[2, APACHE], &[APACHE, 3], &[APACHE, 2]]);
    let all = [
        ("by-ours", 0),
        ("by-ours", 1),
        ("by-ours", 2),
        ("by-apache", 0),
        ("by-apache", 1),
        ("by-apache", 2),
    ];
    let mut ends = [0; 6];
    let mut write = |cluster: &Cluster, what: &str| {
        for ((topic, partition), end) in all.iter().zip(&mut ends) {
            for n in 0..20 {
                let offset = cluster.produce(topic, *partition, &format!("{what} {n}"));
                assert_eq!(offset, *end, "{topic}-{partition}");
                *end += 1;
            }
        }
    };
    let settled = |cluster: &Cluster| {
        for (topic, partition) in all {
            let wanted = if topic == "by-ours" { 3 } else { 2 };
            let view = cluster.wait_partition(2, topic, partition, |view| view.isr.len() == wanted);
            cluster.wait_identical(&view.isr, topic, partition);
        }
    };
    write(&cluster, "first");
    settled(&cluster);

    // Apache Kafka dies: what it led goes on here, and is there again when it is back.
    cluster.node_mut(APACHE).kill();
    write(&cluster, "without Apache Kafka");
    cluster.node_mut(APACHE).start();
    settled(&cluster);
    // One of ours dies: what it led goes on, at Apache Kafka too.
    cluster.node_mut(2).kill();
    let view = cluster.wait_partition(3, "by-apache", 0, |view| view.leader == Some(APACHE));
    assert_eq!(view.isr, [APACHE]);
    write(&cluster, "without one of ours");
    cluster.node_mut(2).start();
    settled(&cluster);
    // Each leaves in order, and comes back.
    cluster.node_mut(APACHE).restart();
    write(&cluster, "after Apache Kafka's restart");
    cluster.node_mut(3).restart();
    write(&cluster, "after our restart");
    settled(&cluster);
}

#[test]
fn each_cuts_off_what_the_other_does_not_have() {
    let mut cluster = cluster();
    cluster.create_assigned(2, "ours-first", &[&[2, APACHE]]);
    cluster.create_assigned(2, "apache-first", &[&[APACHE, 3]]);
    for (topic, leader, follower) in [("ours-first", 2, APACHE), ("apache-first", APACHE, 3)] {
        cluster.produce(topic, 0, "kept");
        cluster.wait_partition(leader, topic, 0, |view| view.isr.len() == 2);
        cluster.wait_identical(&[leader, follower], topic, 0);
        cluster.node(follower).freeze();
        let mut wire = cluster.wire(leader);
        // The answer to a fetch that waited may lie in a socket; what comes after it is with the leader alone.
        (0..200).for_each(|_| produce_unreplicated(&mut wire, topic, "lost"));
        cluster.node_mut(leader).kill();
        cluster.node(follower).thaw();
        let lost = |log: &[u8]| log.windows(4).filter(|window| window == b"lost").count();
        assert_eq!(lost(&cluster.log_bytes(leader, topic, 0)), 200);
        cluster.wait_partition(follower, topic, 0, |view| view.leader == Some(follower));
        for n in 0..8 {
            cluster.produce(topic, 0, &format!("new {n}"));
        }
        cluster.node_mut(leader).start();
        cluster.wait_partition(follower, topic, 0, |view| view.isr.len() == 2);
        let log = cluster.wait_identical(&[leader, follower], topic, 0);
        assert!(lost(&log) < 200, "{topic}: what only the old leader had is still there");
    }
}

/// A directory of ours, with the file beside the metadata log that Apache Kafka does not know, and back again.
#[test]
fn a_node_changes_hands_within_a_cluster() {
    let roles = [Role::Combined, Role::Combined, Role::Combined];
    let mut cluster = Cluster::start(Target::Ours, &roles, Quorum::Static, &[]);
    cluster.create_assigned(1, "shared", &[&[1, 2, 3], &[2, 3, 1], &[3, 1, 2]]);
    for p in 0..3 {
        cluster.produce("shared", p, "before");
    }
    for target in [Target::Apache, Target::Ours] {
        let file = cluster.node(3).data().join("__cluster_metadata-0/recovery-point-offset-checkpoint");
        assert!(file.exists(), "{}", file.display());
        cluster.node_mut(3).switch(target);
        cluster.create_assigned(3, &format!("on-{target:?}").to_lowercase(), &[&[3, 1, 2]]);
        for p in 0..3 {
            cluster.produce("shared", p, "on");
            cluster.wait_partition(3, "shared", p, |view| view.isr == [1, 2, 3]);
            cluster.wait_identical(&[1, 2, 3], "shared", p);
        }
        cluster.wait_quorum(3, |state| state.is_caught_up() && state.voters.len() == 3);
    }
}
