//! DescribeLogDirs, DescribeProducers, InitProducerId.

use protocol::messages::describe_log_dirs_request::DescribableLogDirTopic;
use protocol::messages::describe_producers_request::TopicRequest;
use protocol::messages::{
    DescribeLogDirsRequest, DescribeLogDirsResponse, DescribeProducersRequest, InitProducerIdRequest,
    ProducerId, TransactionalId,
};

use super::session::{Session, s};
use super::topics::topic_name;

pub(super) fn script(session: &mut Session) {
    dirs(session);
    producers(session);
    ids(session);
}

fn dirs(session: &mut Session) {
    let sorted = |r: &mut DescribeLogDirsResponse| {
        for dir in &mut r.results {
            dir.topics.retain(|t| !t.name.0.starts_with("__"));
            dir.topics.sort_by(|a, b| a.name.cmp(&b.name));
            for topic in &mut dir.topics {
                topic.partitions.sort_by_key(|p| p.partition_index);
                for partition in &mut topic.partitions {
                    partition.partition_size = partition.partition_size.min(1);
                }
            }
        }
    };
    let of = |topics: &[(&str, &[i32])]| {
        let topic = |(name, partitions): &(&str, &[i32])| {
            DescribableLogDirTopic::default()
                .with_topic(topic_name(name))
                .with_partitions(partitions.to_vec())
        };
        DescribeLogDirsRequest::default().with_topics(Some(topics.iter().map(topic).collect()))
    };
    for version in 1..=4 {
        for (label, request) in [
            ("one", of(&[("f", &[0])])),
            ("two", of(&[("f", &[0, 1]), ("p-idem", &[0])])),
            ("unknown", of(&[("unknown", &[0]), ("f", &[9])])),
            ("twice", of(&[("f", &[0]), ("f", &[0])])),
            ("no partitions", of(&[("f", &[])])),
            ("none", of(&[])),
        ] {
            session.ask_with(version, label, &request, sorted);
        }
    }
    session.ask_with(4, "all", &DescribeLogDirsRequest::default().with_topics(None), sorted);
}

fn producers(session: &mut Session) {
    let of = |topics: &[(&str, &[i32])]| {
        let topic = |(name, partitions): &(&str, &[i32])| {
            TopicRequest::default().with_name(topic_name(name)).with_partition_indexes(partitions.to_vec())
        };
        DescribeProducersRequest::default().with_topics(topics.iter().map(topic).collect())
    };
    for (label, request) in [
        ("idempotent", of(&[("p-idem", &[0])])),
        ("none there", of(&[("f", &[0, 1])])),
        ("unknown", of(&[("unknown", &[0])])),
        ("unknown partition", of(&[("f", &[9])])),
        ("bad name", of(&[("a b", &[0])])),
        ("none", of(&[])),
    ] {
        session.ask_with(0, label, &request, |r| {
            for partition in r.topics.iter_mut().flat_map(|t| &mut t.partitions) {
                partition.active_producers.sort_by_key(|p| p.producer_id);
            }
        });
    }
}

fn ids(session: &mut Session) {
    let request = |id: i64, epoch: i16| {
        InitProducerIdRequest::default()
            .with_transactional_id(None)
            .with_transaction_timeout_ms(60_000)
            .with_producer_id(ProducerId(id))
            .with_producer_epoch(epoch)
    };
    // The first ids of a broker come from the controller; Apache Kafka does not wait for them.
    session.until(4, &request(-1, -1), |r| r.error_code == 0);
    for version in 0..=5 {
        session.ask(version, "new", &request(-1, -1));
        if version >= 3 {
            session.ask(version, "id known", &request(5, 0));
            session.ask(version, "id without epoch", &request(5, -1));
            session.ask(version, "epoch without id", &request(-1, 5));
            session.ask(version, "epoch at its end", &request(5, i16::MAX));
        }
    }
    session.ask(4, "no time", &request(-1, -1).with_transaction_timeout_ms(0));
    session.ask(4, "long time", &request(-1, -1).with_transaction_timeout_ms(i32::MAX));
    session.ask(
        4,
        "empty transactional id",
        &request(-1, -1).with_transactional_id(Some(TransactionalId(s("")))),
    );
}
