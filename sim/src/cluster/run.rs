//! One run: failures for a while, then peace, in which everything must come back.

use super::plan::TOPIC;
use super::world::World;

const SETUP_MS: i64 = 20_000;
const RECOVERY_MS: i64 = 60_000;

/// Runs a seed; gives the records that were acknowledged, and the time at the end.
pub(crate) fn run(seed: u64, trace: bool) -> (u64, i64) {
    let mut world = World::new(seed, trace);
    let created = world.run(SETUP_MS, |world| world.admin.has_created);
    assert!(created, "liveness: no topic was created");
    for _ in 0..world.plan.actions {
        let pause = world.rng.below(800) as i64;
        let until = world.now + pause;
        world.run(until, |_| false);
        world.act();
        world.check();
    }
    world.heal();
    recover(&mut world);
    (world.clients.acked, world.now)
}

/// Liveness: every partition gets a leader and all its replicas in sync, takes records, and all agree.
fn recover(world: &mut World) {
    let deadline = world.now + RECOVERY_MS;
    let mut next_look = world.now;
    let in_sync = |world: &mut World| {
        if world.now < next_look {
            return false;
        }
        next_look = world.now + 100;
        world.observed.all_in_sync(TOPIC)
    };
    let done = world.run(deadline, in_sync);
    assert!(done, "liveness: not every replica came back into sync: {}", world.observed.describe(TOPIC));
    let acked = world.clients.acked;
    let done = world.run(world.now + RECOVERY_MS, |world| world.clients.acked > acked + 20);
    assert!(done, "liveness: nothing is acknowledged");
    world.clients.stop();
    let deadline = world.now + RECOVERY_MS;
    let mut next_look = world.now;
    let quiet = |world: &mut World| {
        if world.now < next_look {
            return false;
        }
        next_look = world.now + 100;
        world.replicas_agree()
    };
    assert!(world.run(deadline, quiet), "liveness: the replicas do not agree");
    world.check_at_end();
}
