//! What nodes and clients ask each other.

use broker::simulation::Asked;
use controller::event::{Request, Response};
use protocol::ErrorCode;
use protocol::messages::fetch_response::PartitionData;
use raft::SendError;

use super::broker_process::Key;

/// Who asked, and so gets the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Caller {
    /// The Raft node of a process: id, which life of it, id of the request.
    Raft(i32, u64, u64),
    /// The broker of a process, likewise.
    Broker(i32, u64, u64),
    /// A client: which one, and which of its calls.
    Client(usize, u64),
    /// The administrator: which call.
    Admin(u64),
}

impl Caller {
    /// The node that it lives on.
    pub(super) fn node(self) -> Option<i32> {
        match self {
            Caller::Raft(id, ..) | Caller::Broker(id, ..) => Some(id),
            Caller::Client(..) | Caller::Admin(_) => None,
        }
    }
}

/// A request.
#[derive(Debug, Clone)]
pub(super) enum Ask {
    /// Of the Raft protocol.
    Raft(raft::message::Request),
    /// To the active controller, in a version.
    Controller(i16, Request),
    /// A follower's: in which epoch of its broker, which partitions from where.
    Fetch { broker_epoch: i64, partitions: Vec<(Key, Asked)> },
    /// The first and the next offset of a leader in that epoch.
    Range(Key, i32),
    /// A record, acks=all.
    Produce(Key, u64),
    /// A consumer's: from which offset, and the leader epoch that it believes in.
    Consume(Key, i64, i32),
}

/// An answer.
#[derive(Debug, Clone)]
pub(super) enum Told {
    Raft(raft::message::Response),
    /// `None` from a node that is not the active controller.
    Controller(Option<Response>),
    Fetch(Vec<(Key, PartitionData)>),
    Range(Result<(i64, i64), ErrorCode>),
    Produce(Result<i64, ErrorCode>),
    Consume(PartitionData),
}

/// An answer, or that the connection was lost.
pub(super) type Answer = Result<Told, SendError>;
