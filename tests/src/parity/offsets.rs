//! ListOffsets, OffsetForLeaderEpoch, DeleteRecords.

use protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use protocol::messages::offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
use protocol::messages::{
    BrokerId, DeleteRecordsRequest, DeleteRecordsResponse, ListOffsetsRequest, ListOffsetsResponse,
    OffsetForLeaderEpochRequest,
};

use super::produce::TIME;
use super::session::Session;
use super::topics::topic_name;

pub(super) fn script(session: &mut Session) {
    let list = |topic: &str, asked: &[(i32, i64)], epoch: i32| {
        let partition = |(index, timestamp): &(i32, i64)| {
            ListOffsetsPartition::default()
                .with_partition_index(*index)
                .with_timestamp(*timestamp)
                .with_current_leader_epoch(epoch)
        };
        let topic = ListOffsetsTopic::default()
            .with_name(topic_name(topic))
            .with_partitions(asked.iter().map(partition).collect());
        ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![topic])
    };
    for version in [1, 2, 4, 6, 7, 8, 9, 10] {
        for time in [-1, -2, -3, -4, -5, -6, 0, TIME, TIME + 1, i64::MAX] {
            session.ask(version, &format!("f at {time}"), &list("f", &[(0, time)], -1));
        }
        session.ask(version, "empty partition", &list("f", &[(1, -1)], -1));
        session.ask(version, "empty partition by time", &list("f", &[(1, TIME)], -1));
        let sorted = |r: &mut ListOffsetsResponse| {
            r.topics.iter_mut().for_each(|t| t.partitions.sort_by_key(|p| (p.partition_index, p.offset)));
        };
        session.ask_with(version, "unknown partition", &list("f", &[(9, -1), (0, -1)], -1), sorted);
        session.ask(version, "unknown topic", &list("unknown", &[(0, -1)], -1));
        session.ask(version, "bad name", &list("a b", &[(0, -1)], -1));
        session.ask_with(version, "twice", &list("f", &[(0, -1), (0, -2), (1, -1)], -1), sorted);
        session.ask(version, "no topics", &ListOffsetsRequest::default().with_replica_id(BrokerId(-1)));
        session.ask(version, "replica 5", &list("f", &[(0, -1)], -1).with_replica_id(BrokerId(5)));
        session.ask(version, "debugging replica", &list("f", &[(0, -1)], -1).with_replica_id(BrokerId(-2)));
        if version >= 2 {
            let request = list("f", &[(0, -1), (1, TIME)], -1).with_isolation_level(1);
            session.ask_with(version, "committed", &request, sorted);
        }
        if version >= 4 {
            session.ask(version, "epoch 0", &list("f", &[(0, -1)], 0));
            session.ask(version, "epoch 5", &list("f", &[(0, -1)], 5));
        }
    }
    session.ask(7, "written to p", &list("p", &[(0, -3)], -1));
    session.ask(7, "written to p-append", &list("p-append", &[(0, TIME)], -1));
    epochs(session);
    deletions(session);
}

fn epochs(session: &mut Session) {
    let ask = |topic: &str, partition: i32, current: i32, epoch: i32| {
        let partition = OffsetForLeaderPartition::default()
            .with_partition(partition)
            .with_current_leader_epoch(current)
            .with_leader_epoch(epoch);
        let topic =
            OffsetForLeaderTopic::default().with_topic(topic_name(topic)).with_partitions(vec![partition]);
        OffsetForLeaderEpochRequest::default().with_topics(vec![topic])
    };
    for version in [2, 3, 4] {
        for (topic, partition, current, epoch) in [
            ("f", 0, -1, 0),
            ("f", 0, 0, 0),
            ("f", 0, 4, 0),
            ("f", 0, -1, 4),
            ("f", 0, -1, -1),
            ("f", 1, -1, 0),
            ("f", 9, -1, 0),
            ("unknown", 0, -1, 0),
            ("a b", 0, -1, 0),
        ] {
            let mut request = ask(topic, partition, current, epoch);
            request.replica_id = BrokerId(if version > 2 { -1 } else { -2 });
            session.ask(version, &format!("{topic} {partition} {current} {epoch}"), &request);
        }
        session.ask(version, "none", &OffsetForLeaderEpochRequest::default());
    }
}

fn deletions(session: &mut Session) {
    let request = |topic: &str, partitions: &[(i32, i64)]| {
        let partition = |(index, offset): &(i32, i64)| {
            DeleteRecordsPartition::default().with_partition_index(*index).with_offset(*offset)
        };
        let topic = DeleteRecordsTopic::default()
            .with_name(topic_name(topic))
            .with_partitions(partitions.iter().map(partition).collect());
        DeleteRecordsRequest::default().with_topics(vec![topic]).with_timeout_ms(10_000)
    };
    let sorted = |r: &mut DeleteRecordsResponse| {
        for topic in &mut r.topics {
            topic.partitions.sort_by_key(|p| p.partition_index);
        }
    };
    for version in [0, 2] {
        for (label, request) in [
            ("one", request("f", &[(0, 1)])),
            ("back", request("f", &[(0, 0)])),
            ("same", request("f", &[(0, 1)])),
            ("beyond", request("f", &[(0, 100)])),
            ("negative", request("f", &[(0, -2)])),
            ("empty", request("f", &[(1, -1)])),
            ("unknown partition", request("f", &[(9, 1)])),
            ("unknown topic", request("unknown", &[(0, 1)])),
            ("bad name", request("a b", &[(0, 1)])),
            ("internal", request("__consumer_offsets", &[(0, 0)])),
            ("compacted", request("p-compacted", &[(0, 1)])),
            ("twice", request("f", &[(0, 2), (0, 3)])),
            ("both", request("f", &[(0, 3), (1, 0)])),
            ("none", DeleteRecordsRequest::default()),
        ] {
            session.ask_with(version, label, &request, sorted);
        }
    }
    session.ask_with(2, "all", &request("f", &[(0, -1)]), sorted);
    session.ask_with(2, "no time", &request("p", &[(0, 1)]).with_timeout_ms(0), sorted);
}
