//! What the process-level tests are made of: real nodes, other people's clients, and a raw client for exact moments.
//!
//! ```text
//!   tests/*.rs  ──  scenario ──  Program (a client under tests/clients, spoken to in JSON lines)
//!        │                          │
//!        └────────  Node  ──────────┘     ours (the release binary) or Apache Kafka, same properties file
//! ```
//!
//! Everything a test needs beside the Rust tool chain is fetched by `cargo xtask test` into `target/test-setup`;
//! a test that misses something there fails and says so. `MINIKAFKA_TEST_TARGET=apache` runs the same tests against
//! Apache Kafka 4.1.2, which is how they were proved. Nothing here waits by sleeping: a wait ends with what it
//! waits for, or with its deadline and the output so far.

pub mod behaviour;
pub mod beside;
pub mod chaos;
pub mod clients;
pub mod cluster;
pub mod command_lines;
pub mod damage;
pub mod failover;
pub mod faults;
pub mod history;
pub mod kafka_tools;
pub mod ledger;
pub mod load;
pub mod network;
pub mod node;
pub mod observe;
pub mod output;
pub mod parity;
pub mod ports;
pub mod process;
pub mod program;
pub mod random;
pub mod report;
pub mod scrape;
pub mod setup;
pub mod wanted;
pub mod wire;
