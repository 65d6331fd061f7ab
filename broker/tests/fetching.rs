//! Fetches over the wire: sessions, long polls, isolation; and what acks=0 does to a connection.
#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::time::{Duration, Instant};

use bytes::Bytes;
use protocol::ErrorCode;
use protocol::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};
use protocol::messages::{
    BrokerId, FetchRequest, FetchResponse, ListOffsetsRequest, ListOffsetsResponse, MetadataRequest,
    MetadataResponse, ProduceResponse,
};
use protocol::versions::ApiKey;
use support::{Client, Setup, TestBroker, batch, fetch, produce, topic_name};

/// A step of a session over partitions of `t`, each with the offset to fetch.
fn step(session: (i32, i32), partitions: &[(i32, i64)]) -> FetchRequest {
    let partition = |(index, offset): &(i32, i64)| {
        FetchPartition::default()
            .with_partition(*index)
            .with_fetch_offset(*offset)
            .with_partition_max_bytes(1 << 20)
    };
    let topic = FetchTopic::default()
        .with_topic(topic_name("t"))
        .with_partitions(partitions.iter().map(partition).collect());
    FetchRequest::default()
        .with_max_wait_ms(0)
        .with_max_bytes(1 << 20)
        .with_session_id(session.0)
        .with_session_epoch(session.1)
        .with_topics(if partitions.is_empty() { vec![] } else { vec![topic] })
}

/// The error, the session and the partitions of an answer, each with its bytes.
async fn ask(
    client: &mut Client,
    version: i16,
    request: &FetchRequest,
) -> (ErrorCode, i32, Vec<(i32, usize)>) {
    let response: FetchResponse = client.call(ApiKey::FETCH, version, request).await;
    let partitions = response.responses.iter().flat_map(|topic| &topic.partitions);
    let told = partitions.map(|p| (p.partition_index, p.records.as_ref().map_or(0, Bytes::len))).collect();
    (ErrorCode(response.error_code), response.session_id, told)
}

async fn write(client: &mut Client, broker: &TestBroker, topic: &str) {
    let request = produce(9, broker, topic, 1, batch(0, &[b"a"]));
    let response: ProduceResponse = client.call(ApiKey::PRODUCE, 9, &request).await;
    assert_eq!(response.responses[0].partition_responses[0].error_code, 0);
}

/// The first is read in, the second is too much beside it and goes by `sendfile`, the last is small.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_of_every_size_share_an_answer() {
    let broker = TestBroker::start().await;
    broker.create_topic("t", 3).await;
    let mut client = Client::connect(broker.address()).await;
    let written: Vec<Bytes> =
        [(1, 100_000), (2, 100_000), (3, 100)].iter().map(|(b, n)| batch(0, &[&vec![*b; *n]])).collect();
    for (index, records) in (0..).zip(&written) {
        let mut request = produce(9, &broker, "t", 1, records.clone());
        request.topic_data[0].partition_data[0].index = index;
        let response: ProduceResponse = client.call(ApiKey::PRODUCE, 9, &request).await;
        assert_eq!(response.responses[0].partition_responses[0].error_code, 0);
    }
    let request = step((0, -1), &[(0, 0), (1, 0), (2, 0)]);
    let response: FetchResponse = client.call(ApiKey::FETCH, 12, &request).await;
    let partitions = &response.responses[0].partitions;
    assert_eq!(partitions.len(), written.len());
    // Offset, length and leader epoch come before the magic byte.
    let behind_epoch = |records: &Bytes| records.slice(16..);
    for (partition, records) in partitions.iter().zip(&written) {
        assert_eq!(partition.records.as_ref().map(behind_epoch), Some(behind_epoch(records)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_tells_what_is_new() {
    let broker = TestBroker::start().await;
    broker.create_topic("t", 3).await;
    let mut client = Client::connect(broker.address()).await;
    let all = [(0, 0), (1, 0), (2, 0)];
    let (error, id, told) = ask(&mut client, 12, &step((0, 0), &all)).await;
    assert_eq!((error, told.len()), (ErrorCode::NONE, 3));
    assert_ne!(id, 0);
    assert_eq!(ask(&mut client, 12, &step((id, 1), &[])).await, (ErrorCode::NONE, id, vec![]));
    write(&mut client, &broker, "t").await;
    let size = batch(0, &[b"a"]).len();
    assert_eq!(ask(&mut client, 12, &step((id, 2), &[])).await, (ErrorCode::NONE, id, vec![(0, size)]));
    assert_eq!(ask(&mut client, 12, &step((id, 3), &[(0, 1)])).await, (ErrorCode::NONE, id, vec![]));

    // Errors leave the session as it is.
    let wrong_epoch = ask(&mut client, 12, &step((id, 3), &[])).await;
    assert_eq!(wrong_epoch, (ErrorCode::INVALID_FETCH_SESSION_EPOCH, 0, vec![]));
    let by_id = ask(&mut client, 13, &step((id, 4), &[])).await;
    assert_eq!(by_id, (ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR, 0, vec![]));
    let unknown = ask(&mut client, 12, &step((id ^ 1, 4), &[])).await;
    assert_eq!(unknown, (ErrorCode::FETCH_SESSION_ID_NOT_FOUND, 0, vec![]));

    // What is out of range is told every time.
    for epoch in 4..6 {
        let asked = if epoch == 4 { &[(1, 99)][..] } else { &[] };
        assert_eq!(
            ask(&mut client, 12, &step((id, epoch), asked)).await,
            (ErrorCode::NONE, id, vec![(1, 0)])
        );
    }
    let mut forget = step((id, 6), &[]);
    let forgotten = ForgottenTopic::default().with_topic(topic_name("t"));
    forget.forgotten_topics_data = vec![forgotten.clone().with_partitions(vec![1, 2])];
    assert_eq!(ask(&mut client, 12, &forget).await, (ErrorCode::NONE, id, vec![]));
    // With nothing left the session ends.
    let mut forget = step((id, 7), &[]);
    forget.forgotten_topics_data = vec![forgotten.with_partitions(vec![0])];
    assert_eq!(ask(&mut client, 12, &forget).await, (ErrorCode::NONE, 0, vec![]));
    assert_eq!(ask(&mut client, 12, &step((id, 8), &[])).await.0, ErrorCode::FETCH_SESSION_ID_NOT_FOUND);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_cache_of_sessions_does_without() {
    let properties = &[("max.incremental.fetch.session.cache.slots", "1")];
    let broker = TestBroker::start_with(Setup { properties, ..Setup::default() }).await;
    broker.create_topic("t", 2).await;
    let mut client = Client::connect(broker.address()).await;
    let (_, first, _) = ask(&mut client, 12, &step((0, 0), &[(0, 0)])).await;
    assert_ne!(first, 0);
    assert_eq!(ask(&mut client, 12, &step((0, 0), &[(0, 0)])).await.1, 0);
    let (_, larger, _) = ask(&mut client, 12, &step((0, 0), &[(0, 0), (1, 0)])).await;
    assert_ne!(larger, 0, "a larger session takes the place of a smaller one");
    assert_eq!(ask(&mut client, 12, &step((first, 1), &[])).await.0, ErrorCode::FETCH_SESSION_ID_NOT_FOUND);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_poll_waits_for_its_bytes_or_its_time() {
    let broker = TestBroker::start().await;
    broker.create_topic("t", 1).await;
    let size = batch(0, &[b"a"]).len();
    let mut reader = Client::connect(broker.address()).await;
    let mut writer = Client::connect(broker.address()).await;
    let mut request = fetch(12, &broker, "t", 0).with_min_bytes(size as i32 * 3);
    request.max_wait_ms = 60_000;
    reader.send(ApiKey::FETCH, 12, &request).await;
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        write(&mut writer, &broker, "t").await;
    }
    let response: FetchResponse = reader.receive(ApiKey::FETCH, 12).await;
    assert_eq!(response.responses[0].partitions[0].records.as_ref().map(Bytes::len), Some(3 * size));

    let mut request = fetch(12, &broker, "t", 2).with_min_bytes(i32::MAX);
    request.max_wait_ms = 100;
    let start = Instant::now();
    let response: FetchResponse = reader.call(ApiKey::FETCH, 12, &request).await;
    assert!(start.elapsed() >= Duration::from_millis(100));
    assert_eq!(response.responses[0].partitions[0].records.as_ref().map(Bytes::len), Some(size));

    // Sizes and times from nowhere.
    for (max_wait, min_bytes, max_bytes) in
        [(i32::MIN, i32::MIN, i32::MIN), (0, 0, 0), (i32::MAX, -1, i32::MAX)]
    {
        let mut request = fetch(12, &broker, "t", 0).with_min_bytes(min_bytes).with_max_bytes(max_bytes);
        request.max_wait_ms = max_wait;
        request.topics[0].partitions[0].partition_max_bytes = max_bytes;
        let response: FetchResponse = reader.call(ApiKey::FETCH, 12, &request).await;
        let partition = &response.responses[0].partitions[0];
        assert!(partition.error_code == 0 && partition.records.as_ref().is_some_and(|r| r.len() >= size));
    }
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_parked_fetch_does_not_hold_up_a_stop() {
    let broker = TestBroker::start().await;
    broker.create_topic("t", 1).await;
    let mut reader = Client::connect(broker.address()).await;
    reader.send(ApiKey::FETCH, 12, &fetch(12, &broker, "t", 0).with_max_wait_ms(i32::MAX)).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    let start = Instant::now();
    broker.stop().await;
    assert!(start.elapsed() < Duration::from_secs(2));
    assert!(reader.is_closed().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_produce_without_acks_closes_the_connection() {
    let broker = TestBroker::start().await;
    broker.create_topic("t", 1).await;
    let mut client = Client::connect(broker.address()).await;
    client.send(ApiKey::PRODUCE, 9, &produce(9, &broker, "t", 0, batch(0, &[b"a"]))).await;
    let mut other = Client::connect(broker.address()).await;
    let request = MetadataRequest::default().with_topics(None);
    let response: MetadataResponse = other.call(ApiKey::METADATA, 9, &request).await;
    assert_eq!(response.topics.len(), 1);
    let mut damaged = batch(0, &[b"a"]).to_vec();
    *damaged.last_mut().unwrap() ^= 1;
    client.send(ApiKey::PRODUCE, 9, &produce(9, &broker, "t", 0, damaged.into())).await;
    assert!(client.is_closed().await);
    let response: FetchResponse = other.call(ApiKey::FETCH, 12, &fetch(12, &broker, "t", 0)).await;
    assert_eq!(response.responses[0].partitions[0].high_watermark, 1);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_is_not_assigned_is_refused() {
    let broker = TestBroker::start().await;
    broker.create_topic("t", 1).await;
    let mut client = Client::connect(broker.address()).await;
    for (epoch, expected) in [(-1, ErrorCode::NOT_LEADER_OR_FOLLOWER), (0, ErrorCode::UNKNOWN_LEADER_EPOCH)] {
        let mut request = fetch(12, &broker, "t", 0).with_replica_id(BrokerId(2));
        request.topics[0].partitions[0].current_leader_epoch = epoch;
        let response: FetchResponse = client.call(ApiKey::FETCH, 12, &request).await;
        assert_eq!(ErrorCode(response.responses[0].partitions[0].error_code), expected);
    }
    broker.stop().await;
}

/// A log of Apache Kafka with a transaction that was aborted, in two segments.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn read_committed_on_a_log_of_apache_kafka() {
    let broker = TestBroker::start().await;
    broker.create_topic("txn", 1).await;
    let broker = broker
        .restart_after(|data| {
            let folder = data.join("txn-0");
            std::fs::remove_file(data.join(".kafka_cleanshutdown")).unwrap();
            std::fs::remove_dir_all(&folder).unwrap();
            std::fs::create_dir(&folder).unwrap();
            let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/../storage/testdata/txn");
            for entry in std::fs::read_dir(golden).unwrap() {
                let name = entry.as_ref().unwrap().file_name().into_string().unwrap();
                if let Some((offset, kind)) = name.strip_prefix("txn-0-").and_then(|n| n.split_once('.')) {
                    let to = format!("{:020}.{kind}", offset.parse::<u64>().unwrap());
                    std::fs::copy(entry.unwrap().path(), folder.join(to)).unwrap();
                }
            }
        })
        .await;
    let mut client = Client::connect(broker.address()).await;
    let mut request = ListOffsetsRequest::default().with_isolation_level(1).with_replica_id(BrokerId(-1));
    let partition =
        protocol::messages::list_offsets_request::ListOffsetsPartition::default().with_timestamp(-1);
    request.topics = vec![
        protocol::messages::list_offsets_request::ListOffsetsTopic::default()
            .with_name(topic_name("txn"))
            .with_partitions(vec![partition]),
    ];
    let offsets: ListOffsetsResponse = client.call(ApiKey::LIST_OFFSETS, 7, &request).await;
    let last_stable = offsets.topics[0].partitions[0].offset;

    let mut aborted = Vec::new();
    let mut at = 0;
    while at < last_stable {
        let request = fetch(12, &broker, "txn", at).with_isolation_level(1);
        let response: FetchResponse = client.call(ApiKey::FETCH, 12, &request).await;
        let partition = &response.responses[0].partitions[0];
        assert_eq!((partition.error_code, partition.last_stable_offset), (0, last_stable));
        let listed = partition.aborted_transactions.as_ref().unwrap();
        aborted.extend(listed.iter().map(|t| (t.producer_id.0, t.first_offset)));
        for batch in protocol::batch::batches(partition.records.as_deref().unwrap()) {
            at = batch.unwrap().header().unwrap().next_offset();
        }
        assert!(at <= last_stable, "records beyond the last stable offset");
    }
    let uncommitted: FetchResponse = client.call(ApiKey::FETCH, 12, &fetch(12, &broker, "txn", at)).await;
    let partition = &uncommitted.responses[0].partitions[0];
    assert!(partition.aborted_transactions.is_none());
    assert_eq!((last_stable, partition.high_watermark, aborted), (9, 9, vec![(1, 4)]));
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_topics_in_one_metadata_request_are_described_once() {
    let broker = TestBroker::start().await;
    broker.create_topic("t", 1).await;
    let mut client = Client::connect(broker.address()).await;
    let topic = protocol::messages::metadata_request::MetadataRequestTopic::default()
        .with_name(Some(topic_name("t")));
    let request = MetadataRequest::default()
        .with_topics(Some(vec![topic.clone(); 1000]))
        .with_allow_auto_topic_creation(false);
    let response: MetadataResponse = client.call(ApiKey::METADATA, 9, &request).await;
    assert_eq!(response.topics.len(), 1);
    let by_id = MetadataRequest::default()
        .with_topics(Some(vec![topic.with_topic_id(broker.topic_id("t"))]))
        .with_allow_auto_topic_creation(false);
    let response: MetadataResponse = client.call(ApiKey::METADATA, 10, &by_id).await;
    let code = ErrorCode(response.topics[0].error_code);
    assert_eq!((code, response.controller_id.0), (ErrorCode::INVALID_REQUEST, -1));
    let response: MetadataResponse = client.call(ApiKey::METADATA, 12, &by_id).await;
    assert_eq!((response.topics[0].error_code, response.controller_id.0), (0, 1));
    broker.stop().await;
}
