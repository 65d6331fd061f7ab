//! What Apache Kafka's own command-line tools print about our node is what they print about Apache Kafka, apart from the
//! differences that `tests/compat/README.md` gives a reason for.
//!
//! `MINIKAFKA_TEST_TARGET=apache` asks Apache Kafka instead: without a difference, or, with `MINIKAFKA_RECORD=1`, to
//! write what is compared with. `MINIKAFKA_ANSWERS=file` also writes this run's answers to a file.

use std::path::PathBuf;

use minikafka_tests::command_lines::{self, Answer, Line, Script};
use minikafka_tests::node::{Node, Target};
use minikafka_tests::setup;
use minikafka_tests::wanted::Wanted;

fn main() {
    let target = Target::from_env();
    let text = std::fs::read_to_string(recorded()).expect("the script can be read");
    let script = Script::parse(&text);
    let mut node = Node::fresh(target, &[]);
    let answered = command_lines::run(&script, &node);
    node.stop();
    if std::env::var_os("MINIKAFKA_RECORD").is_some() {
        assert_eq!(target, Target::Apache, "only Apache Kafka's answers are worth recording");
        std::fs::write(recorded(), answered.to_text()).expect("the answers can be written");
        return;
    }
    if let Some(path) = std::env::var_os("MINIKAFKA_ANSWERS") {
        std::fs::write(path, answered.to_text()).expect("the answers can be written");
    }
    let mut wanted = Wanted::below("## Wanted differences of commands", target);
    let (mut commands, mut different) = (0, 0);
    for (recorded, actual) in script.0.iter().zip(&answered.0) {
        let (Line::Command(command, expected), Line::Command(_, actual)) = (recorded, actual) else {
            continue;
        };
        commands += 1;
        if expected != actual && !wanted.covers(&format!("$ {command}")) {
            different += 1;
            println!("$ {command}\n{}", parted(expected, actual));
        }
    }
    println!("{different} of {commands} commands differ where it is not wanted");
    wanted.assert_met();
    assert_eq!(different, 0, "every difference has a reason in tests/compat/README.md");
}

/// The lines that only one of two answers has.
fn parted(expected: &Answer, actual: &Answer) -> String {
    let mut text = String::new();
    let mut of = |lines: &[String], others: &[String], mark: &str| {
        for line in lines.iter().filter(|line| !others.contains(line)) {
            text.push_str(&format!("  {mark} {line}\n"));
        }
    };
    of(&expected.lines, &actual.lines, "Apache Kafka:");
    of(&actual.lines, &expected.lines, "this node:   ");
    if text.is_empty() && expected.lines != actual.lines {
        text.push_str("  the same lines in another order or number\n");
    }
    if expected.code != actual.code {
        text.push_str(&format!("  exit code {} and {}\n", expected.code, actual.code));
    }
    text
}

fn recorded() -> PathBuf {
    setup::root().join("tests/testdata/commands-4.1.2.txt")
}
