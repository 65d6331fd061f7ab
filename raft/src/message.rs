//! Raft requests and responses as plain values: one partition each, already stripped of topic and framing.
//!
//! The driver converts them to and from Kafka's messages. It answers a request whose topic or partition is not
//! `__cluster_metadata`-0 itself. `-1` and zero uuids of the wire are `None` here.

use bytes::Bytes;
use uuid::Uuid;

use crate::replica::{Endpoint, OffsetAndEpoch, ReplicaKey};
use protocol::ErrorCode;

/// A request of the Raft protocol.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    /// Vote (key 52).
    Vote(VoteRequest),
    /// BeginQuorumEpoch (key 53).
    BeginQuorumEpoch(BeginQuorumEpochRequest),
    /// EndQuorumEpoch (key 54).
    EndQuorumEpoch(EndQuorumEpochRequest),
    /// Fetch (key 1).
    Fetch(FetchRequest),
    /// FetchSnapshot (key 59).
    FetchSnapshot(FetchSnapshotRequest),
    /// AddRaftVoter (key 80).
    AddVoter(AddVoterRequest),
    /// RemoveRaftVoter (key 81).
    RemoveVoter(RemoveVoterRequest),
    /// UpdateRaftVoter (key 82).
    UpdateVoter(UpdateVoterRequest),
    /// ApiVersions (key 18), only sent: which levels of `kraft.version` the peer supports.
    KRaftVersions,
}

/// The response to the [`Request`] of the same name.
#[derive(Debug, Clone, PartialEq)]
pub enum Response {
    /// To Vote.
    Vote(VoteResponse),
    /// To BeginQuorumEpoch.
    BeginQuorumEpoch(QuorumEpochResponse),
    /// To EndQuorumEpoch.
    EndQuorumEpoch(QuorumEpochResponse),
    /// To Fetch.
    Fetch(FetchResponse),
    /// To FetchSnapshot.
    FetchSnapshot(FetchSnapshotResponse),
    /// To AddRaftVoter.
    AddVoter(VoterChangeResponse),
    /// To RemoveRaftVoter.
    RemoveVoter(VoterChangeResponse),
    /// To UpdateRaftVoter.
    UpdateVoter(UpdateVoterResponse),
    /// To ApiVersions: the supported range of `kraft.version`, (0, 0) when it is not listed.
    KRaftVersions {
        /// Lowest level.
        min: i16,
        /// Highest level.
        max: i16,
    },
}

/// What every Raft response says of the leader.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CurrentLeader {
    /// The leader, where known.
    pub id: Option<i32>,
    /// The responder's epoch.
    pub epoch: i32,
    /// The leader's endpoint for the listener that the request came in on (NodeEndpoints, tag 0).
    pub endpoint: Option<Endpoint>,
}

/// Vote; version 2 adds `pre_vote` (KIP-996).
#[derive(Debug, Clone, PartialEq)]
pub struct VoteRequest {
    /// The sender's cluster id; `None` passes.
    pub cluster_id: Option<String>,
    /// Whom the request is for (`VoterId` and `VoterDirectoryId`, version 1 on).
    pub voter: Option<ReplicaKey>,
    /// The epoch of the election.
    pub epoch: i32,
    /// The candidate.
    pub candidate: ReplicaKey,
    /// Epoch of the candidate's last record.
    pub last_epoch: i32,
    /// The candidate's log end offset.
    pub last_offset: i64,
    /// Only asks whether the vote would be granted.
    pub pre_vote: bool,
}

/// Answer to Vote.
#[derive(Debug, Clone, PartialEq)]
pub struct VoteResponse {
    /// Top-level error (INCONSISTENT_CLUSTER_ID or UNSUPPORTED_VERSION).
    pub top_level_error: ErrorCode,
    /// Error of the partition.
    pub error: ErrorCode,
    /// The responder's epoch and leader.
    pub leader: CurrentLeader,
    /// Whether the vote is granted.
    pub vote_granted: bool,
}

/// BeginQuorumEpoch: the sender is leader.
#[derive(Debug, Clone, PartialEq)]
pub struct BeginQuorumEpochRequest {
    /// The sender's cluster id; `None` passes.
    pub cluster_id: Option<String>,
    /// Whom the request is for (version 1 on).
    pub voter: Option<ReplicaKey>,
    /// The leader.
    pub leader_id: i32,
    /// Its epoch.
    pub leader_epoch: i32,
    /// Its listeners (version 1 on); when empty the voter set is asked.
    pub leader_endpoints: Vec<Endpoint>,
}

/// EndQuorumEpoch: the sender gives up leadership.
#[derive(Debug, Clone, PartialEq)]
pub struct EndQuorumEpochRequest {
    /// The sender's cluster id; `None` passes.
    pub cluster_id: Option<String>,
    /// The leader that resigns.
    pub leader_id: i32,
    /// Its epoch.
    pub leader_epoch: i32,
    /// Its listeners; Apache leaves them empty.
    pub leader_endpoints: Vec<Endpoint>,
    /// Who should stand for election, best first (PreferredSuccessors in version 0 has ids only).
    pub preferred_candidates: Vec<ReplicaKey>,
}

/// Answer to BeginQuorumEpoch and EndQuorumEpoch.
#[derive(Debug, Clone, PartialEq)]
pub struct QuorumEpochResponse {
    /// Top-level error.
    pub top_level_error: ErrorCode,
    /// Error of the partition.
    pub error: ErrorCode,
    /// The responder's epoch and leader.
    pub leader: CurrentLeader,
}

/// Fetch of the metadata partition.
#[derive(Debug, Clone, PartialEq)]
pub struct FetchRequest {
    /// The sender's cluster id; `None` passes.
    pub cluster_id: Option<String>,
    /// The replica that fetches; id -1 for a reader that is none.
    pub replica: ReplicaKey,
    /// How long the leader may wait for data, in ms.
    pub max_wait_ms: i32,
    /// `MaxBytes` of the request.
    pub max_bytes: i32,
    /// `CurrentLeaderEpoch`.
    pub current_leader_epoch: i32,
    /// The replica's log end offset: all below is durable there.
    pub fetch_offset: i64,
    /// Epoch of the replica's last record.
    pub last_fetched_epoch: i32,
    /// High watermark known to the replica: -1 for none, `i64::MAX` when the version has no such field.
    pub high_watermark: i64,
}

/// Answer to Fetch.
#[derive(Debug, Clone, PartialEq)]
pub struct FetchResponse {
    /// Top-level error.
    pub top_level_error: ErrorCode,
    /// Error of the partition.
    pub error: ErrorCode,
    /// The responder's epoch and leader.
    pub leader: CurrentLeader,
    /// -1 when not known.
    pub high_watermark: i64,
    /// Log start offset of the responder.
    pub log_start_offset: i64,
    /// Where the logs part: the replica truncates.
    pub diverging_epoch: Option<OffsetAndEpoch>,
    /// The replica has to fetch this snapshot first.
    pub snapshot_id: Option<OffsetAndEpoch>,
    /// Batches from the fetch offset on.
    pub records: Bytes,
}

/// FetchSnapshot.
#[derive(Debug, Clone, PartialEq)]
pub struct FetchSnapshotRequest {
    /// The sender's cluster id; `None` passes.
    pub cluster_id: Option<String>,
    /// The replica that fetches.
    pub replica: ReplicaKey,
    /// Largest answer in bytes.
    pub max_bytes: i32,
    /// `CurrentLeaderEpoch`.
    pub current_leader_epoch: i32,
    /// Which snapshot.
    pub snapshot_id: OffsetAndEpoch,
    /// First byte wanted.
    pub position: i64,
}

/// Answer to FetchSnapshot.
#[derive(Debug, Clone, PartialEq)]
pub struct FetchSnapshotResponse {
    /// Top-level error.
    pub top_level_error: ErrorCode,
    /// Error of the partition.
    pub error: ErrorCode,
    /// The responder's epoch and leader.
    pub leader: CurrentLeader,
    /// Echo of the request.
    pub snapshot_id: OffsetAndEpoch,
    /// Size of the snapshot in bytes.
    pub size: i64,
    /// Position of the first byte below.
    pub position: i64,
    /// A piece of the file, cut anywhere.
    pub bytes: Bytes,
}

/// AddRaftVoter (KIP-853).
#[derive(Debug, Clone, PartialEq)]
pub struct AddVoterRequest {
    /// Cluster id; the admin tool sends none.
    pub cluster_id: Option<String>,
    /// How long to wait for the commit, in ms.
    pub timeout_ms: i32,
    /// The new voter; the directory id is required.
    pub voter: ReplicaKey,
    /// Its controller listeners.
    pub endpoints: Vec<Endpoint>,
    /// Whether to answer after the commit (always before version 1) or after the append.
    pub ack_when_committed: bool,
}

/// RemoveRaftVoter (KIP-853).
#[derive(Debug, Clone, PartialEq)]
pub struct RemoveVoterRequest {
    /// Cluster id; the admin tool sends none.
    pub cluster_id: Option<String>,
    /// The exact key of the voter.
    pub voter: ReplicaKey,
}

/// UpdateRaftVoter (KIP-853): a voter tells its listeners and versions.
#[derive(Debug, Clone, PartialEq)]
pub struct UpdateVoterRequest {
    /// The sender's cluster id; `None` passes.
    pub cluster_id: Option<String>,
    /// The sender's epoch.
    pub current_leader_epoch: i32,
    /// The sender.
    pub voter: ReplicaKey,
    /// Its controller listeners.
    pub endpoints: Vec<Endpoint>,
    /// Lowest `kraft.version` it supports.
    pub min_kraft_version: i16,
    /// Highest `kraft.version` it supports.
    pub max_kraft_version: i16,
}

/// Answer to AddRaftVoter and RemoveRaftVoter.
#[derive(Debug, Clone, PartialEq)]
pub struct VoterChangeResponse {
    /// What became of it.
    pub error: ErrorCode,
}

/// Answer to UpdateRaftVoter.
#[derive(Debug, Clone, PartialEq)]
pub struct UpdateVoterResponse {
    /// What became of it.
    pub error: ErrorCode,
    /// The responder's epoch and leader (tag 0).
    pub leader: CurrentLeader,
}

/// The directory id of a key for the wire: zero when unknown.
pub fn wire_directory(key: Option<ReplicaKey>) -> Uuid {
    key.map_or(Uuid::nil(), |key| key.directory_or_zero())
}
