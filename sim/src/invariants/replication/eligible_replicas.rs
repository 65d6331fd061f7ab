//! There are eligible leader replicas only while the ISR is below the minimum, and none is in the ISR.
//!
//! Source: KIP-966.

use metadata::partition::PartitionRegistration;

use crate::cluster::Key;

pub(super) fn check(key: Key, registration: &PartitionRegistration, min_isr: usize) {
    let PartitionRegistration { isr, elr, .. } = registration;
    let is_below = isr.len() < min_isr.min(registration.replicas.len());
    assert!(elr.is_empty() || is_below, "{key:?}: eligible {elr:?} beside ISR {isr:?}");
    assert!(!elr.iter().any(|id| isr.contains(id)), "{key:?}: {elr:?} and ISR {isr:?} overlap");
}
