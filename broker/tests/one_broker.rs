//! One broker with a controller of the test's own, spoken to over TCP with kafka-protocol as the oracle: every
//! version of Produce and Fetch writes and reads the same records.

mod support;

use bytes::Bytes;
use protocol::messages::{
    ApiVersionsRequest, ApiVersionsResponse, FetchResponse, ListOffsetsRequest, ListOffsetsResponse,
    MetadataRequest, MetadataResponse, ProduceResponse,
};
use protocol::versions::ApiKey;
use support::{Client, TestBroker, batch, fetch, produce, topic_name};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_version_of_produce_and_fetch() {
    let broker = TestBroker::start().await;
    broker.create_topic("t", 1).await;
    let mut client = Client::connect(broker.address()).await;
    let mut next = 0i64;
    for version in 3..=13 {
        for (acks, size) in [(1i16, 10usize), (-1, 20_000)] {
            let sent = batch(0, &[&vec![b'x'; size], b"second"]);
            let request = produce(version, &broker, "t", acks, sent.clone());
            let response: ProduceResponse = client.call(ApiKey::PRODUCE, version, &request).await;
            let result = &response.responses[0].partition_responses[0];
            assert_eq!((result.error_code, result.base_offset), (0, next), "produce v{version}");
            for fetch_version in 4..=18 {
                let request = fetch(fetch_version, &broker, "t", next);
                let response: FetchResponse = client.call(ApiKey::FETCH, fetch_version, &request).await;
                let got = &response.responses[0].partitions[0];
                assert_eq!((got.error_code, got.high_watermark), (0, next + 2), "fetch v{fetch_version}");
                let mut expected = sent.to_vec();
                protocol::batch::patch_base_offset(&mut expected, next);
                protocol::batch::patch_leader_epoch(&mut expected, 0);
                assert_eq!(got.records.as_deref(), Some(&expected[..]), "fetch v{fetch_version}");
            }
            next += 2;
        }
    }
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fetch_waits_for_what_is_produced() {
    let broker = TestBroker::start().await;
    broker.create_topic("t", 1).await;
    let mut reader = Client::connect(broker.address()).await;
    let mut writer = Client::connect(broker.address()).await;
    let mut request = fetch(12, &broker, "t", 0);
    request.max_wait_ms = 30_000;
    reader.send(ApiKey::FETCH, 12, &request).await;
    // The writer's own round trip shows that the broker works on while the fetch waits.
    let _: MetadataResponse =
        writer.call(ApiKey::METADATA, 12, &MetadataRequest::default().with_topics(None)).await;
    let sent = batch(0, &[b"a"]);
    let produced: ProduceResponse =
        writer.call(ApiKey::PRODUCE, 9, &produce(9, &broker, "t", 1, sent.clone())).await;
    assert_eq!(produced.responses[0].partition_responses[0].error_code, 0);
    let response: FetchResponse = reader.receive(ApiKey::FETCH, 12).await;
    assert_eq!(response.responses[0].partitions[0].records.as_ref().map(Bytes::len), Some(sent.len()));
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_of_a_pipeline_keep_their_order() {
    let broker = TestBroker::start().await;
    broker.create_topic("t", 1).await;
    let mut client = Client::connect(broker.address()).await;
    for i in 0..100 {
        match i % 3 {
            0 => client.send(ApiKey::PRODUCE, 9, &produce(9, &broker, "t", 1, batch(0, &[b"a"]))).await,
            1 => client.send(ApiKey::FETCH, 11, &fetch(11, &broker, "t", 0)).await,
            _ => client.send(ApiKey::METADATA, 5, &MetadataRequest::default()).await,
        }
    }
    for i in 0..100 {
        // `receive` checks the correlation id.
        match i % 3 {
            0 => drop(client.receive::<ProduceResponse>(ApiKey::PRODUCE, 9).await),
            1 => drop(client.receive::<FetchResponse>(ApiKey::FETCH, 11).await),
            _ => drop(client.receive::<MetadataResponse>(ApiKey::METADATA, 5).await),
        }
    }
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_outlive_a_restart() {
    let broker = TestBroker::start().await;
    broker.create_topic("t", 1).await;
    let mut client = Client::connect(broker.address()).await;
    for _ in 0..10 {
        let request = produce(9, &broker, "t", 1, batch(0, &[b"a", b"b", b"c"]));
        let _: ProduceResponse = client.call(ApiKey::PRODUCE, 9, &request).await;
    }
    let broker = broker.restart().await;
    let mut client = Client::connect(broker.address()).await;
    let mut request = ListOffsetsRequest::default();
    let partition =
        protocol::messages::list_offsets_request::ListOffsetsPartition::default().with_timestamp(-1);
    request.topics = vec![
        protocol::messages::list_offsets_request::ListOffsetsTopic::default()
            .with_name(topic_name("t"))
            .with_partitions(vec![partition]),
    ];
    let response: ListOffsetsResponse = client.call(ApiKey::LIST_OFFSETS, 7, &request).await;
    let found = &response.topics[0].partitions[0];
    assert_eq!((found.error_code, found.offset), (0, 30));
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_requests_close_the_connection_and_nothing_else() {
    let broker = TestBroker::start().await;
    let good = ApiVersionsRequest::default()
        .with_client_software_name("test".to_owned().into())
        .with_client_software_version("1".to_owned().into());
    let mut bystander = Client::connect(broker.address()).await;
    for frame in
        [&b""[..], b"\0\0", &[0, 3, 0, 0, 0, 0, 0, 1, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff], &[0xff; 64]]
    {
        let mut client = Client::connect(broker.address()).await;
        client.send_raw(frame).await;
        assert!(client.is_closed().await, "{frame:?}");
        let response: ApiVersionsResponse = bystander.call(ApiKey::API_VERSIONS, 3, &good).await;
        assert_eq!(response.error_code, 0);
    }
    let mut client = Client::connect(broker.address()).await;
    client.send_raw(&[0, 18, 0, 99, 0, 0, 0, 7, 0xff, 0xff, 0, 2, 3]).await;
    let answer = client.receive_raw().await;
    assert_eq!(&answer[..6], [0, 0, 0, 7, 0, 35]);
    broker.stop().await;
}
