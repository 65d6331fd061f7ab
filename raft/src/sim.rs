//! A simulated cluster: nodes, disks and a network under one seed, with the invariants checked after every event.
//!
//! `MINIKAFKA_SEED=n cargo test -p minikafka-raft sim::random -- --nocapture` replays one seed and prints its events;
//! `MINIKAFKA_SEEDS=n` runs that many instead of the default.

mod chaos;
mod cluster;
mod invariants;
mod machine;
mod random;
mod replica;
mod scenarios;
mod sole_voter;

pub(crate) use sole_voter::sole_config;
