//! States match roles: an observer is Unattached or Follower, nobody follows itself.
//!
//! Source: StatesMatchRoles and NoIllegalState of the models of KIP-853 and KIP-996.

use raft::RoleName;

use super::View;

pub(super) fn check(views: &[View<'_>]) {
    for view in views {
        let (id, Some(up)) = (view.id, &view.up) else { continue };
        let role = up.role;
        if !view.can_be_voter {
            assert!(matches!(role, RoleName::Unattached | RoleName::Follower), "observer {id} is {role:?}");
        }
        match role {
            RoleName::Leader | RoleName::Resigned => assert_eq!(up.leader_id, Some(id)),
            RoleName::Follower => assert!(up.leader_id.is_some_and(|leader| leader != id)),
            RoleName::Candidate => assert_eq!(up.leader_id, None),
            RoleName::Unattached | RoleName::Prospective => {}
        }
    }
}
