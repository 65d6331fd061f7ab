//! Configuration that changes while the node runs; `MINIKAFKA_TEST_TARGET=apache` asks Apache Kafka the same.

use minikafka_tests::node::{Node, Target};
use minikafka_tests::parity;

#[test]
fn every_dynamic_key_can_be_changed_and_changed_back() {
    let mut node = Node::fresh(Target::from_env(), &[]);
    let keys = parity::change_every_key(&node);
    assert!(keys > 40, "only {keys} keys are dynamic");
    node.stop();
}

#[test]
fn changes_act_at_once() {
    let quick = [("log.retention.check.interval.ms", "100"), ("log.initial.task.delay.ms", "100")];
    let mut node = Node::fresh(Target::from_env(), &quick);
    parity::see_changes_act(&node);
    node.stop();
}
