//! Directory ids: which log directory of a broker holds a replica (KIP-858).
//!
//! Every id whose upper 64 bits are zero and whose lower 64 bits are below 100 is reserved.

use uuid::Uuid;

/// The replica is there, in a directory that is not known yet (metadata written before KIP-858).
pub const MIGRATING: Uuid = Uuid::from_u64_pair(0, 0);
/// The broker may choose a directory for the replica.
pub const UNASSIGNED: Uuid = Uuid::from_u64_pair(0, 1);
/// The directory that held the replica is offline.
pub const LOST: Uuid = Uuid::from_u64_pair(0, 2);
/// The id of the topic `__cluster_metadata`, which is no directory but shares the reserved range.
pub const METADATA_TOPIC_ID: Uuid = Uuid::from_u64_pair(0, 1);

/// True for ids that no directory (and no topic) may have.
pub fn is_reserved(id: Uuid) -> bool {
    let (high, low) = id.as_u64_pair();
    high == 0 && low < 100
}

/// True if a replica in `directory` can be served by a broker that registered `online` directories.
///
/// A broker that registered none, or a directory that is not known yet, counts as online; a lost one never does.
pub fn is_online(directory: Uuid, online: &[Uuid]) -> bool {
    match directory {
        UNASSIGNED | MIGRATING => true,
        LOST => false,
        // Kafka: older brokers register no directories, and have then only one.
        _ => online.is_empty() || online.contains(&directory),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_range() {
        assert!(is_reserved(MIGRATING) && is_reserved(UNASSIGNED) && is_reserved(LOST));
        assert!(is_reserved(Uuid::from_u64_pair(0, 99)));
        assert!(!is_reserved(Uuid::from_u64_pair(0, 100)));
        assert!(!is_reserved(Uuid::from_u64_pair(1, 0)));
    }

    #[test]
    fn online_rules() {
        let dir = Uuid::from_u64_pair(7, 7);
        assert!(is_online(dir, &[]) && is_online(dir, &[dir]) && is_online(UNASSIGNED, &[dir]));
        assert!(!is_online(LOST, &[dir]) && !is_online(dir, &[Uuid::from_u64_pair(8, 8)]));
    }
}
