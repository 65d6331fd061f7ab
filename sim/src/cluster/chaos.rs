//! What goes wrong, chosen by the seed.

use super::broker_process::Ending;
use super::world::{CALM_DELAY_MS, World};
use crate::network::Network;

impl World {
    /// One random failure, or its end.
    pub(super) fn act(&mut self) {
        let ids = self.ids();
        let id = ids[self.rng.below(ids.len() as u64) as usize];
        match self.rng.below(100) {
            0..24 => self.kill(id),
            24..30 => self.kill_several(),
            30..38 => self.fail_disk(id),
            38..50 => self.pause(id),
            50..62 => self.partition(),
            62..74 => self.network.blocked.clear(),
            74..82 => self.roughen(),
            82..86 => self.jump(id),
            86..92 => self.shut_down(id),
            _ => self.run_an_errand(),
        }
    }

    /// All is well from here on: everyone runs, everything arrives, clocks stay where they are.
    pub(super) fn heal(&mut self) {
        self.note(|| "all is well".into());
        self.network = Network::calm(CALM_DELAY_MS);
        for id in self.ids() {
            self.start(id);
            let now = self.now;
            let node = self.nodes.get_mut(&id).unwrap();
            node.paused_until = node.paused_until.min(now + 1);
            if let Some(process) = &mut node.process {
                process.machine.log_mut().log.set_fuse(None);
                if let Some(broker) = &process.broker {
                    broker.replicas.values().for_each(|replica| replica.with_log(|log| log.fuse = None));
                }
            }
        }
    }

    fn kill(&mut self, id: i32) {
        let Some(ending) = self.possible_ending(id) else { return };
        self.end(id, ending);
        let delay = self.rng.below(3_000) as i64;
        self.start_later(id, delay);
    }

    /// Where machines may lose their power, one broker at a time ends without order: what it had not flushed must be
    /// somewhere else.
    fn possible_ending(&mut self, id: i32) -> Option<Ending> {
        if !self.plan.power_losses || !self.nodes[&id].is_broker {
            return Some(Ending::Killed);
        }
        self.forgive();
        let others_are_well = self.nodes.values().all(|node| node.id == id || !node.unclean);
        let ending = [Ending::Killed, Ending::PowerLost][self.rng.below(2) as usize];
        others_are_well.then_some(ending)
    }

    /// A broker that is back in every in-sync set has everything again.
    fn forgive(&mut self) {
        let back = self.observed.brokers_in_sync();
        for node in self.nodes.values_mut() {
            let same_life = node.process.is_some() && self.observed.is_registered(node.id, node.life);
            node.unclean &= !(same_life && back.contains(&node.id));
        }
    }

    fn kill_several(&mut self) {
        for id in self.ids() {
            if self.rng.below(2) == 0 {
                self.kill(id);
            }
        }
    }

    /// The disk fails at one of the next writes, which ends the process.
    fn fail_disk(&mut self, id: i32) {
        let left = self.rng.below(6) as u32;
        let is_data = self.rng.below(3) == 0;
        if self.plan.power_losses && self.nodes[&id].is_broker {
            // It would end some time later, when another may have ended.
            return;
        }
        let node = self.nodes.get_mut(&id).unwrap();
        let Some(process) = &mut node.process else { return };
        if !is_data {
            return process.machine.log_mut().log.set_fuse(Some(1 + left));
        }
        if let Some(broker) = &process.broker {
            broker.replicas.values().for_each(|replica| replica.with_log(|log| log.fuse = Some(left)));
        }
    }

    fn pause(&mut self, id: i32) {
        let until = self.now + self.rng.below(4_000) as i64;
        self.note(|| format!("{id} is paused until {until}"));
        self.nodes.get_mut(&id).unwrap().paused_until = until;
    }

    /// Splits the nodes in two, at times in one direction only, at times one from the rest.
    fn partition(&mut self) {
        let one_way = self.rng.below(3) == 0;
        let ids = self.ids();
        let alone = (self.rng.below(2) == 0).then(|| ids[self.rng.below(ids.len() as u64) as usize]);
        let mut side = |id: i32| alone.map_or(self.rng.below(2) == 0, |alone| alone == id);
        let sides: Vec<(i32, bool)> = ids.into_iter().map(|id| (id, side(id))).collect();
        self.network.split(&sides, one_way);
        self.note(|| format!("partition: {:?}", self.network.blocked));
    }

    fn roughen(&mut self) {
        self.network.roughen([2, 20, 200, 1_000], &mut self.rng);
        self.note(|| format!("network: {:?}", self.network));
    }

    /// A wall clock jumps.
    fn jump(&mut self, id: i32) {
        if self.plan.bad_clocks {
            let by = self.rng.below(7_200_000) as i64 - 3_600_000;
            self.nodes.get_mut(&id).unwrap().clock.wall_offset = by;
            self.note(|| format!("the wall clock of {id} is {by} ms off"));
        }
    }

    /// A broker leaves in order, and comes back.
    fn shut_down(&mut self, id: i32) {
        self.touch(id, |process, step| {
            if let Some(broker) = &mut process.broker {
                broker.lifecycle.leave(step.now);
            }
            Ok(())
        });
    }
}
