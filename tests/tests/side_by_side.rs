//! Our answers are Apache Kafka's answers, apart from the differences that `tests/compat/README.md` gives a reason for.
//!
//! `MINIKAFKA_TEST_TARGET=apache` asks Apache Kafka instead: without a difference, or, with `MINIKAFKA_RECORD=1`, to
//! write what is compared with.

use std::collections::HashMap;
use std::path::PathBuf;

use minikafka_tests::node::{Node, Target};
use minikafka_tests::parity::{self, Answer};
use minikafka_tests::setup;
use minikafka_tests::wanted::Wanted;

fn main() {
    let target = Target::from_env();
    let mut node = Node::fresh(target, &[("group.min.session.timeout.ms", "10")]);
    let answers = parity::answers(&node);
    node.stop();
    if std::env::var_os("MINIKAFKA_RECORD").is_some() {
        assert_eq!(target, Target::Apache, "only Apache Kafka's answers are worth recording");
        write(&recorded(), &answers);
        println!("{} answers recorded", answers.len());
        return;
    }
    if let Some(path) = std::env::var_os("MINIKAFKA_ANSWERS") {
        write(&PathBuf::from(path), &answers);
    }
    let mut wanted = Wanted::below("## Wanted differences", target);
    let expected: HashMap<String, String> = read().into_iter().map(|a| (a.label, a.text)).collect();
    let mut different = 0;
    for answer in &answers {
        let is = expected.get(&answer.label).map(String::as_str).unwrap_or("not recorded");
        if is != answer.text && !wanted.covers(&answer.label) {
            different += 1;
            let (kafka, ours) = parted(is, &answer.text);
            println!("{}\n  Apache Kafka: {kafka}\n  this node:    {ours}", answer.label);
        }
    }
    println!("{different} of {} answers differ where it is not wanted", answers.len());
    wanted.assert_met();
    assert_eq!(answers.len(), expected.len(), "as many answers as recorded");
    assert_eq!(different, 0, "every difference has a reason in tests/compat/README.md");
}

/// What two texts do not share at their ends, with a little of what they share.
fn parted<'a>(a: &'a str, b: &'a str) -> (String, String) {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let start = a.iter().zip(&b).take_while(|(a, b)| a == b).count();
    let rest = a.len().min(b.len()) - start;
    let end = a.iter().rev().zip(b.iter().rev()).take(rest).take_while(|(a, b)| a == b).count();
    let cut = |text: &[char]| -> String {
        text[start.saturating_sub(60)..(text.len() - end + 20).min(text.len())].iter().take(400).collect()
    };
    (cut(&a), cut(&b))
}

fn recorded() -> PathBuf {
    setup::root().join("tests/testdata/answers-4.1.2.txt")
}

fn write(path: &PathBuf, answers: &[Answer]) {
    let lines: String = answers.iter().map(|a| format!("{}\t{}\n", a.label, a.text)).collect();
    std::fs::write(path, lines).expect("the answers can be written");
}

fn read() -> Vec<Answer> {
    let text = std::fs::read_to_string(recorded()).expect("the answers are recorded");
    let answer = |(label, text): (&str, &str)| Answer { label: label.to_owned(), text: text.to_owned() };
    text.lines().filter_map(|line| line.split_once('\t')).map(answer).collect()
}
