//! What BeginQuorumEpoch and EndQuorumEpoch have in common: their answers, and what a node does with the requests.

/// `answer`, `response` and `read_response` of the API whose name is `$api`, whose answers are `$response`.
///
/// The module has `read_request`, and its `PartitionData`, `TopicData` and `NodeEndpoint` are those of the answers.
macro_rules! quorum_epoch {
    ($api:ident, $response:ident) => {
        pub(super) async fn answer(
            controller: &$crate::handle::ControllerHandle,
            listener: &str,
            header: &protocol::request::RequestHeader,
            body: bytes::Bytes,
        ) -> Result<$crate::handle::Answer, $crate::handle::InvalidRequest> {
            use protocol::ErrorCode;
            use raft::message::{Request, Response};

            use $crate::api::{decode, encode, raft::ask};
            let version = header.api_version;
            let refuse = |code: ErrorCode| encode(header, &$response::default().with_error_code(code.code()));
            let Some(asked) = read_request(version, &decode(header, body)?) else {
                return refuse(ErrorCode::INVALID_REQUEST);
            };
            match ask(controller, listener, Request::$api(asked)).await {
                Ok(Response::$api(answer)) => encode(header, &response(version, &answer)),
                Ok(_) => refuse(ErrorCode::UNKNOWN_SERVER_ERROR),
                Err(code) => refuse(code),
            }
        }

        pub(super) fn response(version: i16, answer: &raft::message::QuorumEpochResponse) -> $response {
            use $crate::api::raft::{leader_id, node_endpoints};
            if answer.top_level_error.is_error() {
                return $response::default().with_error_code(answer.top_level_error.code());
            }
            let partition = PartitionData::default()
                .with_error_code(answer.error.code())
                .with_leader_id(leader_id(&answer.leader))
                .with_leader_epoch(answer.leader.epoch);
            let topic = TopicData::default().with_topic_name(topic_name()).with_partitions(vec![partition]);
            $response::default().with_topics(vec![topic]).with_node_endpoints(node_endpoints!(
                NodeEndpoint,
                &answer.leader,
                1,
                version
            ))
        }

        /// What an answer says; nothing if it is not about the metadata partition.
        pub(crate) fn read_response(
            listener: &str,
            answer: &$response,
        ) -> Option<raft::message::QuorumEpochResponse> {
            use protocol::ErrorCode;
            use raft::message::{CurrentLeader, QuorumEpochResponse};

            use $crate::api::raft::{current_leader, only_partition};
            let top_level_error = ErrorCode(answer.error_code);
            if top_level_error.is_error() {
                let leader = CurrentLeader::default();
                return Some(QuorumEpochResponse { top_level_error, error: ErrorCode::NONE, leader });
            }
            let partition = only_partition!(answer, topic_name, partition_index)?;
            let (id, epoch) = (partition.leader_id, partition.leader_epoch);
            let leader = current_leader!(listener, id, epoch, answer.node_endpoints);
            Some(QuorumEpochResponse { top_level_error, error: ErrorCode(partition.error_code), leader })
        }
    };
}

pub(super) use quorum_epoch;
