//! When all is well, all replicas of a partition hold what is committed and nothing else, each record once, and all
//! nodes know the same metadata.
//!
//! Source: P3 (no duplicates without a retry), P19 (what the controller acknowledged stays), P20 (replica agreement);
//! liveness: metadata converges.

use std::collections::{BTreeMap, BTreeSet};

use metadata::MetadataImage;
use metadata::partition::PartitionRegistration;

use super::Held;
use crate::cluster::{Key, World};

pub(super) fn is_reached<'a>(
    world: &World,
    image: &MetadataImage,
    registrations: impl Iterator<Item = (Key, &'a PartitionRegistration)>,
    committed: &BTreeMap<Key, Vec<Held>>,
) -> bool {
    let knows = |id: i32| world.image(id).is_some_and(|known| known.provenance == image.provenance);
    let mut registrations = registrations;
    world.node_ids().into_iter().all(knows)
        && registrations.all(|(key, registration)| {
            let committed = committed.get(&key).map_or(&[][..], Vec::as_slice);
            registration.replicas.iter().all(|id| holds_exactly(world, *id, key, committed))
        })
}

fn holds_exactly(world: &World, id: i32, key: Key, committed: &[Held]) -> bool {
    let same = world.with_data_log(id, key, |log| {
        let held = log.entries.iter().map(|entry| (entry.epoch, entry.id));
        held.eq(committed.iter().copied())
    });
    same == Some(true)
}

pub(super) fn check_images(world: &World, image: &MetadataImage) {
    for id in world.node_ids() {
        let known = world.image(id).expect("all nodes run at the end");
        assert_eq!(&*known, image, "node {id}: other metadata at the same offset");
    }
}

pub(super) fn check_once(committed: &BTreeMap<Key, Vec<Held>>) {
    let mut seen = BTreeSet::new();
    for (key, records) in committed {
        for (_, id) in records {
            assert!(seen.insert(*id), "{key:?}: record {id} is there twice");
        }
    }
}
