//! Every replica that may be elected, in the ISR or eligible, holds all that is committed.
//!
//! Source: LeaderCandidateCompleteness and NoCommittedRecordLostGlobally of the models of 3.5 and KIP-966. A broker that
//! lost its power is out of it until the controller has heard of its new life; one at a time may.

use metadata::MetadataImage;
use metadata::partition::PartitionRegistration;

use super::{Held, leader_completeness};
use crate::cluster::{Key, World};

pub(super) fn check(
    world: &World,
    image: &MetadataImage,
    key: Key,
    registration: &PartitionRegistration,
    committed: &[Held],
) {
    for id in registration.isr.iter().chain(&registration.elr) {
        if !world.may_have_lost(*id, image) {
            let lacks = leader_completeness::lacks(world, *id, key, committed);
            assert!(
                lacks.is_none(),
                "{key:?}: replica {id} may be elected and lacks what is committed: {lacks:?}; {registration:?}"
            );
        }
    }
}
