//! A fenced broker leads nothing and is in no ISR, but for the last member where there are no eligible leader replicas.
//!
//! Source: KIP-841 and the model of KIP-966.

use metadata::MetadataImage;
use metadata::partition::PartitionRegistration;

use crate::cluster::Key;

pub(super) fn check(image: &MetadataImage, key: Key, registration: &PartitionRegistration) {
    let is_fenced = |id: i32| image.cluster.broker(id).is_none_or(|broker| broker.fenced);
    let PartitionRegistration { isr, leader, .. } = registration;
    assert!(*leader < 0 || !is_fenced(*leader), "{key:?}: leader {leader} is fenced");
    let is_last = isr.len() == 1 && *leader < 0;
    let fenced: Vec<_> = isr.iter().filter(|id| is_fenced(**id) && !is_last).collect();
    assert!(fenced.is_empty(), "{key:?}: fenced brokers {fenced:?} in ISR {isr:?}");
}
