//! What a node wants done.

use crate::log::LogError;
use crate::message::{Request, Response};
use crate::quorum_state::QuorumState;
use crate::replica::{Address, OffsetAndEpoch};

/// One thing to do. A driver completes each before it starts the next, and all before the next step; sends and
/// replies are complete when they are queued.
#[derive(Debug)]
pub enum Effect {
    /// Write the `quorum-state` file and make it durable (temporary file, fsync, rename, fsync of the folder).
    PersistQuorumState(QuorumState),
    /// Send a request and bring the answer back as [`Input::Response`](crate::Input::Response).
    Send {
        /// Names the request in the answer.
        id: u64,
        /// The connection to use: one per peer.
        to: Peer,
        /// Where the peer is reached.
        address: Address,
        /// The request.
        request: Request,
    },
    /// Answer an earlier [`Input::Request`](crate::Input::Request).
    Reply {
        /// The request's id.
        id: u64,
        /// The answer.
        response: Response,
    },
    /// What became of an [`Input::Append`](crate::Input::Append). Durable here, not committed: that is when the high
    /// watermark is above the last offset while the epoch lasts.
    Appended {
        /// The id of the append.
        id: u64,
        /// Offset of the last record.
        result: Result<i64, AppendError>,
    },
    /// What became of an [`Input::UpgradeKRaftVersion`](crate::Input::UpgradeKRaftVersion).
    Upgraded {
        /// The id of the input.
        id: u64,
        /// Offset of the last record written, of the log end when there was nothing to write.
        result: Result<i64, UpgradeError>,
    },
    /// Leader or epoch changed. When this node was leader, appends that are not committed have an unknown fate.
    LeaderChanged {
        /// The leader, where known.
        leader_id: Option<i32>,
        /// The epoch.
        epoch: i32,
    },
    /// Records below this offset are committed. Never goes down in the life of a node.
    HighWatermark(i64),
    /// This node leads `epoch` and all that earlier leaders committed is below the last `HighWatermark`: from here on
    /// the state machine may decide.
    Leading {
        /// The epoch.
        epoch: i32,
    },
    /// The state machine must drop its state and load this snapshot, then go on from its end offset.
    LoadSnapshot(OffsetAndEpoch),
    /// The answer to [`Input::Shutdown`](crate::Input::Shutdown).
    ShutdownComplete,
    /// The node cannot go on and ignores all further input: end the process.
    Fault(Fault),
}

/// A peer as the node counts its connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Peer {
    /// A node known by id.
    Node(i32),
    /// The n-th of the bootstrap servers, whose id is not known.
    Bootstrap(usize),
}

/// Why records were not appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// This node does not lead that epoch.
    #[error("not the leader of that epoch")]
    Fenced,
    /// A batch would exceed 8 MiB.
    #[error("batch too large")]
    TooLarge,
}

/// Why the level of `kraft.version` was not raised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UpgradeError {
    /// This node does not lead that epoch.
    #[error("not the leader of that epoch")]
    Fenced,
    /// Nothing is committed in this epoch yet, or a change of the voters is under way: try again later.
    #[error("the leader is not ready")]
    NotReady,
    /// A level below the present one, or one that this node or a voter does not support.
    #[error("level {level} is not supported by all voters or below the present one")]
    Unsupported {
        /// The level asked for.
        level: i16,
    },
    /// A voter has not told its directory id in this epoch.
    #[error("voter {voter_id} has not told its directory id")]
    UnknownVoter {
        /// The voter.
        voter_id: i32,
    },
}

/// Why a node stopped.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The log could not be read or written.
    #[error("metadata log: {0}")]
    Log(#[from] LogError),
    /// Bytes that are no valid log: wrong CRC, gap in offsets, unknown control record.
    #[error("metadata log content: {0}")]
    Content(#[from] crate::batch::BatchError),
    /// A leader asked to remove records that are committed.
    #[error("leader asks to truncate to {to}, below the high watermark {high_watermark}")]
    TruncationBelowHighWatermark {
        /// The offset it asks for.
        to: i64,
        /// What is committed.
        high_watermark: i64,
    },
    /// The epoch is the largest number that there is. No quorum comes there by itself: some peer claimed it.
    #[error("epoch {} has no successor for another election", i32::MAX)]
    NoEpochLeft,
}
