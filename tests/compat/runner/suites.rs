//! The suites: where they come from, which node they want, and how they are run.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use minikafka_tests::node::{Node, Target};
use minikafka_tests::setup;

use crate::outcome::{self, Outcome};
use crate::{directory, python};

/// The longest that a suite may take.
const LIMIT_SECONDS: &str = "2400";
/// The address of the node where a suite does not choose one.
const ADDRESS: &str = "localhost:9092";
const CONTROLLER: &str = "localhost:9093";
const GO_MODULE: &str = "github.com/segmentio/kafka-go";

/// A suite of another project.
pub(crate) struct Suite {
    /// Also the name of its folder in the set-up.
    pub(crate) name: &'static str,
    /// What is run of it.
    pub(crate) what: &'static str,
    /// The variable that names a checkout of its repository, where no registry has its tests.
    pub(crate) checkout: Option<&'static str>,
    /// Properties of its node beside those of every node, when the runner starts the node.
    node: &'static [(&'static str, &'static str)],
    pub(crate) run: fn(&Suite) -> Vec<Outcome>,
}

/// All of them, in the order in which they are run.
pub(crate) const SUITES: &[Suite] = &[
    Suite {
        name: "kafka-python",
        what: "kafka-python 3.0.12, `test/integration`",
        checkout: None,
        node: &[],
        run: python::kafka_python,
    },
    Suite {
        name: "rdkafka",
        what: "rdkafka 0.39.0, all tests",
        checkout: None,
        node: &[("node.id", "0")],
        run: rdkafka,
    },
    Suite {
        name: "kafka-go",
        what: "segmentio/kafka-go 0.4.51, all packages",
        checkout: None,
        // As the suite's own server.properties, without its SASL listener.
        node: &[("num.partitions", "1"), ("message.max.bytes", "200000000")],
        run: kafka_go,
    },
    Suite {
        name: "aiokafka",
        what: "aiokafka 0.14.0, the tests that talk to a broker",
        checkout: Some("MINIKAFKA_COMPAT_AIOKAFKA"),
        node: &[],
        run: python::aiokafka,
    },
    Suite {
        name: "confluent",
        what: "confluent-kafka-python 2.15.0, `tests/integration/{admin,consumer,producer}`",
        checkout: Some("MINIKAFKA_COMPAT_CONFLUENT"),
        node: &[("num.partitions", "4")],
        run: python::confluent,
    },
];

impl Suite {
    /// Why it cannot be run; `None` if it can.
    pub(crate) fn missing(&self) -> Option<String> {
        match self.checkout {
            Some(variable) if std::env::var_os(variable).is_none() => {
                Some(format!("{variable} does not name a checkout of its repository"))
            }
            _ => None,
        }
    }

    /// Where its sources are: a copy that may be written to.
    pub(crate) fn sources(&self) -> PathBuf {
        setup::fetched(&format!("compat/{}", self.name))
    }

    /// A fresh node at [`ADDRESS`].
    pub(crate) fn node(&self) -> Node {
        let node = Node::prepared(Target::from_env(), &[]);
        node.set("listeners", Some(&format!("PLAINTEXT://{ADDRESS},CONTROLLER://{CONTROLLER}")));
        node.set("advertised.listeners", Some(&format!("PLAINTEXT://{ADDRESS},CONTROLLER://{CONTROLLER}")));
        node.set("controller.quorum.bootstrap.servers", Some(CONTROLLER));
        for (key, value) in self.node {
            node.set(key, Some(value));
        }
        node.format();
        node.started()
    }

    /// Runs a command in `dir` with all it prints in the suite's log; gives the text. A suite that fails some of its
    /// tests is no error.
    pub(crate) fn logged(&self, dir: &Path, env: &[(&str, &str)], words: &[&str]) -> String {
        let path = directory().join(format!("{}.log", self.name));
        let log = File::create(&path).expect("the log can be made");
        let status = Command::new("timeout")
            .args(["--kill-after=10", LIMIT_SECONDS])
            .args(words)
            .current_dir(dir)
            .envs(env.iter().copied())
            .stdout(log.try_clone().expect("a file handle can be cloned"))
            .stderr(log)
            .status()
            .unwrap_or_else(|e| panic!("{words:?} cannot be run: {e}"));
        println!("{}: {status}, {}", self.name, path.display());
        String::from_utf8_lossy(&std::fs::read(&path).expect("the log can be read")).into_owned()
    }
}

fn rdkafka(suite: &Suite) -> Vec<Outcome> {
    let mut node = suite.node();
    let target = setup::fetched("compat/rdkafka-target").display().to_string();
    let env = [
        ("KAFKA_HOST", ADDRESS),
        ("KAFKA_VERSION", setup::KAFKA),
        ("CARGO_TARGET_DIR", target.as_str()),
        // As it was built.
        ("CARGO_PROFILE_DEV_DEBUG", "0"),
        ("RUST_LOG", "off"),
        ("RUST_BACKTRACE", "0"),
    ];
    let words = ["cargo", "test", "--offline", "--tests", "--no-fail-fast", "--", "--test-threads=4"];
    let text = suite.logged(&suite.sources(), &env, &words);
    node.stop();
    outcome::of_libtest(&text)
}

fn kafka_go(suite: &Suite) -> Vec<Outcome> {
    let mut node = suite.node();
    let env = [("KAFKA_VERSION", setup::KAFKA), ("GOFLAGS", "-mod=mod"), ("GOPROXY", "off")];
    // One package at a time: they share the node.
    let words = ["go", "test", "-json", "-count=1", "-p=1", "-timeout=30m", "./..."];
    let text = suite.logged(&suite.sources(), &env, &words);
    node.stop();
    outcome::of_go(&text, GO_MODULE)
}
