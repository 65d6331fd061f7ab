//! The situations that every release must survive, one by one.

use super::cluster::{Cluster, endpoint};
use raft::message::{AddVoterRequest, Request};
use raft::node::RoleName;

fn elect(cluster: &mut Cluster) -> i32 {
    let deadline = cluster.now + 30_000;
    let led = |cluster: &Cluster| {
        let node = cluster.leader().and_then(|id| cluster.node(id));
        node.and_then(|node| node.describe_quorum()).is_some_and(|quorum| quorum.high_watermark >= 0)
    };
    assert!(cluster.run(deadline, led), "no leader");
    cluster.leader().unwrap()
}

fn commit(cluster: &mut Cluster, leader: i32) {
    let before = cluster.observed.committed_end();
    cluster.append(leader);
    let deadline = cluster.now + 10_000;
    assert!(cluster.run(deadline, |cluster| cluster.observed.committed_end() > before), "no commit");
}

#[test]
fn first_election_of_one_to_five_voters() {
    for voters in 1..=5 {
        for observers in 0..=3 {
            for dynamic in [false, true] {
                let mut cluster = Cluster::new(voters as u64, voters, observers, dynamic);
                let leader = elect(&mut cluster);
                commit(&mut cluster, leader);
                let deadline = cluster.now + 5_000;
                let known = cluster.run(deadline, |cluster| {
                    let end = cluster.observed.committed_end();
                    cluster.replicas.values().all(|replica| replica.machine.applied == end)
                });
                assert!(known, "{voters} voters, {observers} observers: not everyone learned of the commit");
            }
        }
    }
}

#[test]
fn leader_after_leader_crashes() {
    let mut cluster = Cluster::new(11, 5, 1, false);
    for _ in 0..2 {
        let leader = elect(&mut cluster);
        commit(&mut cluster, leader);
        cluster.crash(leader);
    }
    let leader = elect(&mut cluster);
    commit(&mut cluster, leader);
}

#[test]
fn all_nodes_are_killed() {
    let mut cluster = Cluster::new(12, 3, 2, false);
    let leader = elect(&mut cluster);
    commit(&mut cluster, leader);
    let epoch = cluster.node(leader).unwrap().epoch();
    cluster.ids().into_iter().for_each(|id| cluster.crash(id));
    cluster.heal();
    let leader = elect(&mut cluster);
    assert!(cluster.node(leader).unwrap().epoch() > epoch);
    commit(&mut cluster, leader);
}

#[test]
fn a_leader_cut_off_resigns_and_the_others_go_on() {
    let mut cluster = Cluster::new(13, 3, 0, false);
    let old = elect(&mut cluster);
    commit(&mut cluster, old);
    for other in cluster.ids() {
        cluster.network.blocked.extend([(old, other), (other, old)]);
    }
    // Never committed, and gone when it rejoins.
    cluster.append(old);
    let deadline = cluster.now + 20_000;
    assert!(cluster.run(deadline, |cluster| cluster.node(old).unwrap().role() != RoleName::Leader));
    let leader = elect(&mut cluster);
    assert_ne!(leader, old);
    commit(&mut cluster, leader);
    cluster.network.blocked.clear();
    let deadline = cluster.now + 20_000;
    assert!(cluster.run(deadline, |cluster| {
        cluster.replicas[&old].machine.applied == cluster.observed.committed_end()
    }));
}

#[test]
fn a_node_cut_off_does_not_disturb_the_leader() {
    let mut cluster = Cluster::new(14, 3, 0, false);
    let leader = elect(&mut cluster);
    let epoch = cluster.node(leader).unwrap().epoch();
    let other = if leader == 1 { 2 } else { 1 };
    for peer in cluster.ids() {
        cluster.network.blocked.extend([(other, peer), (peer, other)]);
    }
    cluster.run(cluster.now + 20_000, |_| false);
    cluster.network.blocked.clear();
    cluster.run(cluster.now + 5_000, |_| false);
    // Pre-votes do not raise the epoch (KIP-996).
    assert_eq!((cluster.leader(), cluster.node(other).unwrap().epoch()), (Some(leader), epoch));
}

#[test]
fn a_new_replica_starts_from_a_snapshot() {
    let mut cluster = Cluster::new(15, 3, 1, false);
    let leader = elect(&mut cluster);
    cluster.crash(101);
    for _ in 0..30 {
        commit(&mut cluster, leader);
    }
    cluster.snapshot(leader);
    commit(&mut cluster, leader);
    cluster.snapshot(leader);
    cluster.run(cluster.now + 5_000, |_| false);
    assert!(raft::Log::log_start_offset(cluster.replicas[&leader].log()) > 0, "the log was not cleaned");
    cluster.start(101);
    let deadline = cluster.now + 20_000;
    assert!(cluster.run(deadline, |cluster| {
        cluster.replicas[&101].machine.applied == cluster.observed.committed_end()
    }));
}

#[test]
fn an_orderly_shutdown_hands_over() {
    let mut cluster = Cluster::new(16, 3, 0, false);
    let leader = elect(&mut cluster);
    commit(&mut cluster, leader);
    cluster.step(leader, raft::Input::Shutdown);
    let deadline = cluster.now + 1_500;
    let handed_over = |cluster: &Cluster| cluster.leader().is_some_and(|id| id != leader);
    assert!(cluster.run(deadline, handed_over), "it took longer than a fetch timeout");
    assert!(cluster.node(leader).is_none());
}

#[test]
fn static_voters_become_dynamic() {
    let mut cluster = Cluster::new(17, 3, 1, false);
    let leader = elect(&mut cluster);
    commit(&mut cluster, leader);
    cluster.run(cluster.now + 2_000, |_| false);
    let epoch = cluster.node(leader).unwrap().epoch();
    cluster.step(leader, raft::Input::UpgradeKRaftVersion { id: 1, epoch, level: 1, validate_only: false });
    commit(&mut cluster, leader);
    cluster.run(cluster.now + 2_000, |_| false);
    for id in cluster.ids() {
        let node = cluster.node(id).unwrap();
        assert_eq!((node.kraft_version(), node.voters().len()), (1, 3));
        assert!(node.voters().iter().all(|voter| voter.key.directory_id.is_some()), "{:?}", node.voters());
    }
    cluster.ids().into_iter().for_each(|id| cluster.crash(id));
    cluster.heal();
    let leader = elect(&mut cluster);
    commit(&mut cluster, leader);
}

#[test]
fn a_sole_voter_leads_on_when_a_second_joins() {
    let mut cluster = Cluster::new(18, 1, 1, true);
    let leader = elect(&mut cluster);
    // Long enough that it has led alone for longer than it waits for others.
    cluster.run(cluster.now + 30_000, |_| false);
    let epoch = cluster.node(leader).unwrap().epoch();
    let voter = cluster.replicas[&101].config.replica_key();
    let request = AddVoterRequest {
        cluster_id: None,
        timeout_ms: 3000,
        voter,
        endpoints: vec![endpoint(101)],
        ack_when_committed: true,
    };
    cluster.ask(leader, Request::AddVoter(request));
    cluster.run(cluster.now + 10_000, |_| false);
    let node = cluster.node(leader).unwrap();
    assert_eq!((node.role(), node.epoch(), node.voters().len()), (RoleName::Leader, epoch, 2));
}

#[test]
fn a_dead_leader_is_replaced_before_the_fetch_timeout() {
    for seed in 19..39 {
        let mut cluster = Cluster::new(seed, 3, 0, false);
        let dead = elect(&mut cluster);
        commit(&mut cluster, dead);
        cluster.run(cluster.now + 1_000, |_| false);
        cluster.crash(dead);
        let deadline = cluster.now + 1_500;
        let replaced = |cluster: &Cluster| cluster.leader().is_some_and(|id| id != dead);
        assert!(
            cluster.run(deadline, replaced),
            "seed {seed}: it took longer than the connections' ends say"
        );
    }
}
