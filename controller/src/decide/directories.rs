//! AssignReplicasToDirs: a broker says in which directory a replica is (KIP-858).

use protocol::ErrorCode;
use protocol::messages::assign_replicas_to_dirs_request::TopicData;
use protocol::messages::assign_replicas_to_dirs_response as answer;
use protocol::messages::{AssignReplicasToDirsRequest, AssignReplicasToDirsResponse};
use protocol::records::Record;
use uuid::Uuid;

use super::View;
use super::configs;
use super::partition_change::{Election, PartitionChange, Turnover};
use crate::event::Decision;

pub(super) fn assign(view: View<'_>, request: &AssignReplicasToDirsRequest) -> Decision {
    let refuse = |code: ErrorCode| {
        Decision::reply(AssignReplicasToDirsResponse::default().with_error_code(code.code()))
    };
    if !view.image.features.metadata_version().is_directory_assignment_supported() {
        return refuse(ErrorCode::UNSUPPORTED_VERSION);
    }
    let broker = request.broker_id.0;
    let registration = match view.broker_with_epoch(broker, request.broker_epoch) {
        Ok(registration) => registration,
        Err(error) => return refuse(error.code),
    };
    let mut records = Vec::new();
    let mut response = AssignReplicasToDirsResponse::default();
    for directory in &request.directories {
        let online = registration.has_online_directory(directory.id);
        let mut answered = answer::DirectoryData::default().with_id(directory.id);
        for topic in &directory.topics {
            answered.topics.push(assign_topic(view, broker, directory.id, online, topic, &mut records));
        }
        response.directories.push(answered);
    }
    Decision::write(records, response)
}

fn assign_topic(
    view: View<'_>,
    broker: i32,
    directory: Uuid,
    online: bool,
    request: &TopicData,
    records: &mut Vec<Record>,
) -> answer::TopicData {
    let topic = view.image.topics.by_id(request.topic_id);
    let mut assign_one = |id: i32| -> ErrorCode {
        let Some(topic) = topic else { return ErrorCode::UNKNOWN_TOPIC_ID };
        let Some(partition) = topic.partition(id) else { return ErrorCode::UNKNOWN_TOPIC_OR_PARTITION };
        if !partition.replicas.contains(&broker) {
            return ErrorCode::NOT_LEADER_OR_FOLLOWER;
        }
        let mut change = PartitionChange::new(view, &topic.name, topic.id, id, partition)
            .with_directory(broker, directory);
        if !online {
            change = change.with_turnover(Turnover { leaving: Some(broker), ..Turnover::default() });
            if configs::unclean_election_enabled(view, &topic.name) {
                change.election = Election::Unclean;
            }
        }
        records.extend(change.build());
        ErrorCode::NONE
    };
    let partitions = request.partitions.iter().map(|partition| {
        let index = partition.partition_index;
        let code = assign_one(index);
        answer::PartitionData::default().with_partition_index(index).with_error_code(code.code())
    });
    let partitions = partitions.collect();
    answer::TopicData::default().with_topic_id(request.topic_id).with_partitions(partitions)
}
