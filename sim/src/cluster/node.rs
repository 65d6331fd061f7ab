//! One machine: its disks, its clock, and the process on it.

use std::collections::VecDeque;

use broker::simulation::Broker;
use controller::machine::Machine;
use raft::memory_log::MemoryLog;
use raft::rng::Rng;

use super::broker_process::{BrokerDisk, BrokerProcess, Ending, Step};
use super::clock::Clock;
use super::metadata_disk::MetadataDisk;
use super::observe::incarnation;
use super::plan::Plan;
use super::world::Delivery;

pub(crate) struct Node {
    pub(super) id: i32,
    pub(super) is_broker: bool,
    pub(super) clock: Clock,
    /// How often it was started.
    pub(super) life: u64,
    seed: u64,
    /// While the process is down.
    pub(super) metadata_disk: MetadataDisk,
    pub(super) broker_disk: BrokerDisk,
    pub(super) process: Option<Process>,
    pub(super) paused_until: i64,
    pub(super) held: VecDeque<Delivery>,
    /// The process ended without order, and its broker is not back in every in-sync set since.
    pub(super) unclean: bool,
}

pub(super) struct Process {
    pub(super) machine: Machine<MetadataDisk>,
    pub(super) broker: Option<BrokerProcess>,
}

impl Node {
    pub(super) fn new(id: i32, plan: &Plan, rng: &mut Rng) -> Node {
        let rate = if plan.bad_clocks { 950 + rng.below(101) as i64 } else { 1000 };
        let offset = if plan.bad_clocks { rng.below(10_000_000) as i64 } else { 0 };
        Node {
            id,
            is_broker: plan.brokers.contains(&id),
            clock: Clock::new(1_000_000 + offset, rate),
            life: 0,
            seed: rng.next_u64(),
            metadata_disk: MetadataDisk::default(),
            broker_disk: BrokerDisk::default(),
            process: None,
            paused_until: 0,
            held: VecDeque::new(),
            unclean: false,
        }
    }

    /// Sets the clocks of the code that runs next to this node's.
    pub(super) fn set_clocks(&self, world: i64) {
        controller::machine::set_now_ms(self.clock.steady(world));
        broker::simulation::set_now_ms(self.clock.wall(world));
    }

    /// Starts the process, as after any end.
    pub(super) fn start(&mut self, world: i64, plan: &Plan, rng: &mut Rng) -> Result<(), String> {
        self.life += 1;
        self.paused_until = 0;
        self.set_clocks(world);
        let incarnation = incarnation(self.id, self.life);
        let local = self.is_broker.then_some(incarnation);
        let args = plan.machine(self.id, self.life, local, self.seed);
        let machine = Machine::start(args, std::mem::take(&mut self.metadata_disk))?;
        let mut step = Step {
            id: self.id,
            now: self.clock.steady(world),
            rng,
            disk: &mut self.broker_disk,
            controller: None,
            out: Vec::new(),
        };
        let broker = self.is_broker.then(|| {
            let broker = Broker::new(step.id, plan.properties());
            BrokerProcess::start(broker, machine.subscribe(), incarnation, &mut step)
        });
        self.process = Some(Process { machine, broker });
        Ok(())
    }

    /// Ends the process; false if there is none.
    pub(super) fn end(&mut self, ending: Ending, rng: &mut Rng) -> bool {
        let Some(mut process) = self.process.take() else { return false };
        self.held.clear();
        self.metadata_disk = std::mem::take(process.machine.log_mut());
        self.metadata_disk.crash();
        if let Some(broker) = process.broker {
            self.unclean |= ending != Ending::Clean;
            broker.end(&mut self.broker_disk, ending, rng);
        }
        true
    }

    /// Whether its broker listens.
    pub(super) fn serves(&self) -> bool {
        let broker = self.process.as_ref().and_then(|process| process.broker.as_ref());
        broker.is_some_and(|broker| broker.lifecycle.is_serving)
    }

    /// The metadata log, of the process or of the disk.
    pub(super) fn metadata_log(&self) -> &MemoryLog {
        self.metadata().map_or(&self.metadata_disk.log, |disk| &disk.log)
    }

    /// Epoch of the election state on the disk.
    pub(super) fn durable_epoch(&self) -> i32 {
        let disk = self.metadata().unwrap_or(&self.metadata_disk);
        disk.quorum_state.as_ref().map_or(0, |state| state.leader_epoch)
    }

    fn metadata(&self) -> Option<&MetadataDisk> {
        self.process.as_ref().map(|process| process.machine.node().log())
    }

    /// When the process has something to do, in the time of the world.
    pub(super) fn wakes(&self, now: i64) -> i64 {
        let Some(process) = &self.process else { return i64::MAX };
        let machine = process.machine.next_deadline().unwrap_or(i64::MAX);
        let broker = process.broker.as_ref().map_or(i64::MAX, BrokerProcess::next_deadline);
        let own = self.clock.world(machine.min(broker)).max(self.paused_until);
        let held = if self.held.is_empty() { i64::MAX } else { self.paused_until };
        own.min(held).max(now)
    }
}

/// Whether a failed write ended the process, which is all that may.
pub(super) fn may_fail(process: &Process) -> bool {
    let data = |broker: &BrokerProcess| {
        broker.replicas.values().any(|replica| replica.with_log(|log| log.fuse == Some(0)))
    };
    process.machine.node().log().log.is_blown() || process.broker.as_ref().is_some_and(data)
}
