//! What Apache Kafka's own client asked Apache Kafka 4.1.2, asked again: the answers have the same shape.

use minikafka_tests::node::{Node, Target};
use minikafka_tests::{parity, setup};

#[test]
fn answers_have_the_shape_of_apache_kafkas() {
    let node = Node::fresh(Target::Ours, &[]);
    let lines = std::fs::read_to_string(setup::root().join("tests/testdata/wire-4.1.2.jsonl"))
        .expect("the recorded requests are there");
    let replayed = parity::replay(&node, &lines);
    let different: Vec<_> = replayed.iter().filter(|r| r.expected != r.actual).collect();
    assert!(different.is_empty(), "{} of {}: {different:#?}", different.len(), replayed.len());
}
