//! One simulated process with its disk.

use std::collections::VecDeque;

use super::machine::Machine;
use raft::Config;
use raft::input::Input;
use raft::memory_log::MemoryLog;
use raft::node::Node;
use raft::quorum_state::QuorumState;

pub(super) struct Replica {
    pub(super) config: Config,
    /// `None` while the process is down.
    pub(super) node: Option<Node<MemoryLog>>,
    /// The log while the process is down.
    pub(super) log_on_disk: MemoryLog,
    pub(super) quorum_state: Option<QuorumState>,
    pub(super) machine: Machine,
    /// Raised by each start: answers to an earlier process do not reach this one.
    pub(super) incarnation: u64,
    pub(super) paused_until: i64,
    pub(super) held: VecDeque<Input>,
    /// Told that it may decide.
    pub(super) leading: bool,
    /// The process ends before it carries out the effect after so many.
    pub(super) effects_left: Option<u32>,
}

impl Replica {
    pub(super) fn new(config: Config, log: MemoryLog) -> Replica {
        Replica {
            config,
            node: None,
            log_on_disk: log,
            quorum_state: None,
            machine: Machine::default(),
            incarnation: 0,
            paused_until: 0,
            held: VecDeque::new(),
            leading: false,
            effects_left: None,
        }
    }

    /// The log, of the process or of the disk.
    pub(super) fn log(&self) -> &MemoryLog {
        self.node.as_ref().map_or(&self.log_on_disk, |node| node.log())
    }
}
