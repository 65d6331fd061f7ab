//! The `quorum-state` file: what a node must remember of an epoch. One line of JSON, as Apache writes it.
//!
//! Version 0 goes with kraft.version 0, version 1 (KIP-853) with higher ones. Only the text is made here: the write
//! is [`Effect::PersistQuorumState`](crate::Effect::PersistQuorumState).

use serde::{Deserialize, Serialize};

use crate::message::wire_directory;
use crate::replica::ReplicaKey;

/// Name of the file in the log folder of `__cluster_metadata-0`.
pub const FILE_NAME: &str = "quorum-state";

/// Durable state of an election.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct QuorumState {
    /// Leader of the epoch, where known.
    pub leader_id: Option<i32>,
    /// The epoch.
    pub leader_epoch: i32,
    /// Whom this node voted for in the epoch. A leader's vote for itself is not kept.
    pub voted: Option<ReplicaKey>,
    /// Voter ids of a version 0 file; `None` selects version 1.
    pub current_voters: Option<Vec<i32>>,
}

/// Text that is no `quorum-state` file.
#[derive(Debug, thiserror::Error)]
#[error("quorum-state: {0}")]
pub struct QuorumStateError(String);

impl QuorumState {
    /// The text of the file, without a newline.
    pub fn encode(&self) -> String {
        let leader_id = self.leader_id.unwrap_or(-1);
        let voted_id = self.voted.map_or(-1, |key| key.id);
        let text = match &self.current_voters {
            Some(voters) => serde_json::to_string(&FileV0 {
                cluster_id: String::new(),
                leader_id,
                leader_epoch: self.leader_epoch,
                voted_id,
                applied_offset: 0,
                current_voters: voters.iter().map(|&voter_id| VoterV0 { voter_id }).collect(),
                data_version: 0,
            }),
            None => serde_json::to_string(&FileV1 {
                leader_id,
                leader_epoch: self.leader_epoch,
                voted_id,
                voted_directory_id: protocol::base64_id(wire_directory(self.voted)),
                data_version: 1,
            }),
        };
        text.expect("a struct of numbers and strings is always JSON")
    }

    /// Reads a file of either version.
    pub fn decode(text: &str) -> Result<QuorumState, QuorumStateError> {
        let error = |error: serde_json::Error| QuorumStateError(error.to_string());
        let Version { data_version } = serde_json::from_str(text).map_err(error)?;
        let present = |id: i32| (id >= 0).then_some(id);
        match data_version {
            0 => {
                let file: FileV0 = serde_json::from_str(text).map_err(error)?;
                Ok(QuorumState {
                    leader_id: present(file.leader_id),
                    leader_epoch: file.leader_epoch,
                    voted: present(file.voted_id).map(|id| ReplicaKey { id, directory_id: None }),
                    current_voters: Some(file.current_voters.iter().map(|voter| voter.voter_id).collect()),
                })
            }
            1 => {
                let file: FileV1 = serde_json::from_str(text).map_err(error)?;
                let directory = protocol::parse_base64_id(&file.voted_directory_id)
                    .ok_or_else(|| QuorumStateError("votedDirectoryId is no uuid".to_owned()))?;
                Ok(QuorumState {
                    leader_id: present(file.leader_id),
                    leader_epoch: file.leader_epoch,
                    voted: present(file.voted_id).map(|id| ReplicaKey::new(id, directory)),
                    current_voters: None,
                })
            }
            other => Err(QuorumStateError(format!("unknown data_version {other}"))),
        }
    }
}

#[derive(Deserialize)]
struct Version {
    data_version: i32,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct FileV0 {
    #[serde(default)]
    cluster_id: String,
    leader_id: i32,
    leader_epoch: i32,
    voted_id: i32,
    #[serde(default)]
    applied_offset: i64,
    #[serde(default, deserialize_with = "null_as_empty")]
    current_voters: Vec<VoterV0>,
    #[serde(rename = "data_version")]
    data_version: i32,
}

fn null_as_empty<'de, D: serde::Deserializer<'de>>(input: D) -> Result<Vec<VoterV0>, D::Error> {
    Ok(Option::<Vec<VoterV0>>::deserialize(input)?.unwrap_or_default())
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct VoterV0 {
    voter_id: i32,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct FileV1 {
    leader_id: i32,
    leader_epoch: i32,
    voted_id: i32,
    voted_directory_id: String,
    #[serde(rename = "data_version")]
    data_version: i32,
}
