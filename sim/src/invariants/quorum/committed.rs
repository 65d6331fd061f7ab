//! What is committed once is committed for good, the same on every node: the metadata of every node.
//!
//! Source: NoLogDivergence and AckedValueNotLost of the model of KIP-853; MetadataLogMatching of the replication model;
//! `RaftEventSimulationTest.ConsistentCommittedData`.

use std::collections::BTreeMap;

pub(super) fn note(chain: &mut BTreeMap<i64, u64>, id: i32, offset: i64, value: u64) {
    let known = *chain.entry(offset).or_insert(value);
    assert_eq!(known, value, "node {id} applied other records than another node did up to {offset}");
}
