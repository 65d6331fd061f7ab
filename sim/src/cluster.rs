//! Controllers, brokers and clients under one seed.
//!
//! ```text
//!   clients ──┐                      ┌─ Machine: controller loop, Raft node ── MetadataDisk
//!             ├── network ── Process ┤
//!   chaos ────┘                      └─ BrokerProcess: replicas, fetchers, lifecycle ── DataLog
//! ```
//!
//! What decides is the running node's: the machine is the controller's loop over the Raft node, the replicas are the
//! broker's. What the simulation brings is the network, the disks, the clocks, and the tasks that wait and send.

mod admin;
mod broker_process;
mod chaos;
mod clients;
mod clock;
mod data_log;
mod fetchers;
mod lifecycle;
mod metadata_disk;
mod node;
mod observe;
mod plan;
mod proposals;
mod rpc;
mod run;
mod serving;
mod world;

pub(crate) use broker_process::Key;
pub(crate) use observe::incarnation;
pub(crate) use run::run;
pub(crate) use world::World;
