//! Many random runs. Each ends with a healed cluster that must elect, commit and bring everyone up to date.

use super::cluster::Cluster;

const CHAOS_ACTIONS: u64 = 60;
const RECOVERY_MS: i64 = 60_000;

/// One run; gives what is committed at its end and when that was.
pub(crate) fn run(seed: u64, trace: bool) -> (i64, i64) {
    let voters = 1 + (seed % 5) as i32;
    let observers = (seed / 5 % 4) as i32;
    let dynamic = seed / 20 % 2 == 1;
    let mut cluster = Cluster::new(seed, voters, observers, dynamic);
    cluster.trace = trace;
    if seed / 40 % 2 == 1 {
        cluster.old.extend(cluster.ids());
    }
    for _ in 0..CHAOS_ACTIONS {
        let pause = cluster.rng.below(400) as i64;
        cluster.run(cluster.now + pause, |_| false);
        cluster.act();
        cluster.check();
    }
    cluster.heal();
    recover(&mut cluster);
    cluster.check_all();
    (cluster.observed.committed_end(), cluster.now)
}

/// Liveness: a leader is elected, commits something new, and everyone learns of it.
fn recover(cluster: &mut Cluster) {
    let deadline = cluster.now + RECOVERY_MS;
    let leads = |cluster: &Cluster| {
        let node = cluster.leader().and_then(|id| cluster.node(id));
        node.and_then(|node| node.describe_quorum()).is_some_and(|quorum| quorum.high_watermark >= 0)
    };
    assert!(cluster.run(deadline, leads), "no leader that commits");
    let before = cluster.observed.committed_end();
    let caught_up = |cluster: &Cluster| {
        let end = cluster.observed.committed_end();
        end > before && cluster.replicas.values().all(|replica| replica.machine.applied == end)
    };
    for _ in 0..RECOVERY_MS / 1000 {
        cluster.append_somewhere();
        if cluster.run(cluster.now + 1000, caught_up) {
            return;
        }
    }
    panic!("not everyone caught up");
}
