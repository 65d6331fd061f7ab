//! The table of clients: how each is started and what it cannot express. Adding a client is one program and one row.

use std::process::Command;

use crate::behaviour::Traits;
use crate::setup;

/// A client of somebody else's make.
pub struct Client {
    /// Name in test output and first part of its topics' names.
    pub name: &'static str,
    /// What it can express.
    pub traits: Traits,
    /// The program, to which the bootstrap address is added.
    pub command: fn() -> Command,
}

/// Every client that the shared list of behaviour is run with.
pub const CLIENTS: &[Client] = &[
    Client {
        name: "kcat",
        traits: Traits {
            timestamps: false,
            binary: false,
            empties: false,
            null_headers: false,
            ..Traits::ALL
        },
        command: || python("kcat.py"),
    },
    Client { name: "confluent-kafka", traits: Traits::ALL, command: || python("confluent.py") },
    Client {
        name: "kafka-python",
        traits: Traits { null_headers: false, ..Traits::ALL },
        command: || python("kafka_python.py"),
    },
    Client { name: "aiokafka", traits: Traits::ALL, command: || python("aio.py") },
    Client { name: "java", traits: Traits::ALL, command: || java(setup::KAFKA) },
    Client { name: "java-2.8", traits: Traits::ALL, command: || java(setup::OLD_KAFKA) },
    Client { name: "franz-go", traits: Traits::ALL, command: || go("franz-go") },
    Client { name: "sarama", traits: Traits::ALL, command: || go("sarama") },
    Client { name: "kafkajs", traits: Traits { null_headers: false, ..Traits::ALL }, command: node },
    Client { name: "rdkafka", traits: Traits::ALL, command: rust },
];

fn python(file: &str) -> Command {
    let mut command = Command::new(setup::fetched("python/bin/python"));
    command.arg(setup::client("python").join(file));
    command
}

fn java(version: &str) -> Command {
    let words = crate::node::java(version);
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).arg("Client");
    command
}

fn go(name: &str) -> Command {
    Command::new(setup::fetched("go").join(name))
}

fn node() -> Command {
    let mut command = Command::new("node");
    command.env("NODE_PATH", setup::fetched("node/node_modules")).arg(setup::client("kafkajs/client.js"));
    command
}

fn rust() -> Command {
    Command::new(setup::fetched("rdkafka/debug/rdkafka-client"))
}
