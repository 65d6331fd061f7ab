//! The ISR that a leader counts, with what it has proposed, covers the one that the controller has committed.
//!
//! Source: ReplicationQuorumSuperset of the model of KIP-966; the maximal ISR of KIP-497.

use broker::simulation::ReplicaState;
use metadata::partition::PartitionRegistration;

use crate::cluster::Key;

pub(super) fn check(id: i32, key: Key, state: &ReplicaState, registration: &PartitionRegistration) {
    let isr = &registration.isr;
    assert!(
        isr.iter().all(|member| state.maximal_isr.contains(member)),
        "{key:?}: leader {id} counts {:?}, while ISR {isr:?} is committed",
        state.maximal_isr
    );
}
