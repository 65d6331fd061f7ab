//! What happens to a node.

use bytes::Bytes;

use crate::message::{Request, Response};
use crate::replica::OffsetAndEpoch;

/// One event for [`Node::step`](crate::Node::step).
#[derive(Debug, Clone)]
pub enum Input {
    /// Nothing but that time has passed; due at `next_deadline`.
    Tick,
    /// A request of a peer, a broker or an admin client. It is answered by [`Effect::Reply`](crate::Effect::Reply)
    /// with the same id, at once or later.
    Request {
        /// Chosen by the driver, unique among those not answered yet.
        id: u64,
        /// Name of the listener it arrived on, whose endpoint of the leader goes into the answer.
        listener: String,
        /// The request.
        request: Request,
    },
    /// What became of an [`Effect::Send`](crate::Effect::Send). Late and repeated ones are ignored.
    Response {
        /// The id of the send.
        id: u64,
        /// The peer's answer.
        result: Result<Response, SendError>,
    },
    /// Records to append as the leader of `epoch`; all or nothing, and flushed once.
    Append {
        /// Chosen by the driver, comes back in [`Effect::Appended`](crate::Effect::Appended).
        id: u64,
        /// The epoch in which the caller decided them; refused when it is over.
        epoch: i32,
        /// Each inner list becomes one atomic batch of record values (framed metadata records).
        batches: Vec<Vec<Bytes>>,
    },
    /// Raise the level of `kraft.version` from 0, so that voters can be changed (KIP-853); answered by
    /// [`Effect::Upgraded`](crate::Effect::Upgraded).
    UpgradeKRaftVersion {
        /// Chosen by the driver.
        id: u64,
        /// The epoch in which the caller decided it.
        epoch: i32,
        /// The new level.
        level: i16,
        /// Only check whether it would succeed.
        validate_only: bool,
    },
    /// The state machine completed a snapshot of its own with this id.
    SnapshotWritten(OffsetAndEpoch),
    /// Give up leadership of that epoch, as after a failure of the state machine.
    Resign {
        /// The epoch to give up; ignored when it is over.
        epoch: i32,
    },
    /// Stop in good order: a leader hands over. Ends with [`Effect::ShutdownComplete`](crate::Effect::ShutdownComplete).
    Shutdown,
}

/// Why a request got no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendError {
    /// No connection, or it ended.
    Disconnected,
    /// No answer within the request timeout.
    TimedOut,
    /// The peer does not know the API, or no version of it that can carry the request.
    UnsupportedVersion,
}
