//! OffsetCommit (key 8), versions 2-9.
//!
//! All partitions that exist and whose metadata is short enough are committed together. v2-4 retention time, v6
//! leader epoch (KIP-320), v7 static members (KIP-345), v9 GROUP_ID_NOT_FOUND and member epochs (KIP-848).

use protocol::ErrorCode;
use protocol::messages::offset_commit_request::OffsetCommitRequestPartition;
use protocol::messages::offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
use protocol::messages::{OffsetCommitRequest, OffsetCommitResponse};

use crate::group::{ClientContext, CommitRequest, GroupCoordinator, PartitionCommit, Reply};

/// Commits offsets of a group.
pub(crate) fn handle(
    groups: &GroupCoordinator,
    version: i16,
    _client: ClientContext<'_>,
    request: OffsetCommitRequest,
) -> Reply<OffsetCommitResponse> {
    let mut offsets = Vec::new();
    let mut codes = Vec::new();
    let mut any_topic = false;
    for topic in &request.topics {
        let count = groups.topics().partition_count(&topic.name);
        for partition in &topic.partitions {
            let exists = count.is_some_and(|count| (0..count).contains(&partition.partition_index));
            any_topic |= exists;
            let metadata = partition.committed_metadata.as_ref().map_or("", |text| text.as_str());
            let code = if !exists {
                ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
            } else if metadata.encode_utf16().count() > groups.config().offset_metadata_max {
                ErrorCode::OFFSET_METADATA_TOO_LARGE
            } else {
                offsets.push(commit(version, &topic.name, partition, metadata));
                ErrorCode::NONE
            };
            codes.push(code);
        }
    }
    if !any_topic {
        return Reply::ready(response(&request, codes));
    }
    let commit = CommitRequest {
        member_id: &request.member_id,
        instance_id: request.group_instance_id.as_ref().map(|id| id.as_str()),
        generation: request.generation_id_or_member_epoch,
        unknown_group: match version {
            9.. => ErrorCode::GROUP_ID_NOT_FOUND,
            _ => ErrorCode::ILLEGAL_GENERATION,
        },
        retention_ms: Some(request.retention_time_ms).filter(|retention| version <= 4 && *retention != -1),
        offsets,
    };
    let committed = groups.commit(&request.group_id, commit);
    committed.map(move |outcome| {
        if let Err(error) = outcome {
            let known = codes.iter_mut().filter(|code| **code != ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
            known.for_each(|code| *code = error);
        }
        response(&request, codes)
    })
}

fn commit<'a>(
    version: i16,
    topic: &'a str,
    partition: &OffsetCommitRequestPartition,
    metadata: &'a str,
) -> PartitionCommit<'a> {
    PartitionCommit {
        topic,
        partition: partition.partition_index,
        offset: partition.committed_offset,
        leader_epoch: if version >= 6 { partition.committed_leader_epoch } else { -1 },
        metadata,
    }
}

/// One code per partition, in the request's order.
fn response(request: &OffsetCommitRequest, codes: Vec<ErrorCode>) -> OffsetCommitResponse {
    let mut codes = codes.into_iter();
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().zip(codes.by_ref()).map(|(partition, code)| {
            OffsetCommitResponsePartition::default()
                .with_partition_index(partition.partition_index)
                .with_error_code(code.code())
        });
        let partitions = partitions.collect();
        OffsetCommitResponseTopic::default().with_name(topic.name.clone()).with_partitions(partitions)
    });
    OffsetCommitResponse::default().with_topics(topics.collect())
}
