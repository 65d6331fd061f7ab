//! States match roles: an observer is Unattached or Follower, nobody follows itself: StatesMatchRoles.

use super::super::cluster::Cluster;
use crate::node::RoleName;

pub(super) fn check(cluster: &Cluster) {
    for (id, replica) in &cluster.replicas {
        let Some(node) = &replica.node else { continue };
        let role = node.role();
        if !node.config().can_be_voter {
            assert!(matches!(role, RoleName::Unattached | RoleName::Follower), "observer {id} is {role:?}");
        }
        match role {
            RoleName::Leader | RoleName::Resigned => assert_eq!(node.leader_id(), Some(*id)),
            RoleName::Follower => assert!(node.leader_id().is_some_and(|leader| leader != *id)),
            RoleName::Candidate => assert_eq!(node.leader_id(), None),
            RoleName::Unattached | RoleName::Prospective => {}
        }
    }
}
