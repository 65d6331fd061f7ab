//! The shapes of messages that travel as bytes inside others. None of them is flexible.

use super::shape::{BYTES, Field, I32, STR, list, structs};

/// Which message: all of them start with their version, which is not part of the shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Embedded {
    /// What a consumer sends for each protocol in JoinGroup: `ConsumerProtocolSubscription`, versions 0 to 3.
    ConsumerSubscription,
    /// What the leader of a consumer group assigns in SyncGroup: `ConsumerProtocolAssignment`, versions 0 to 3.
    ConsumerAssignment,
}

/// The highest version of both; readers take higher ones for this.
pub(super) const MAX_VERSION: i16 = 3;

impl Embedded {
    pub(super) fn fields(self) -> &'static [Field] {
        const TOPIC_PARTITIONS: Field = structs(&[STR, list(&I32)]);
        match self {
            Self::ConsumerSubscription => {
                const { &[list(&STR), BYTES, TOPIC_PARTITIONS.since(1), I32.since(2), STR.since(3)] }
            }
            Self::ConsumerAssignment => const { &[TOPIC_PARTITIONS, BYTES] },
        }
    }
}
