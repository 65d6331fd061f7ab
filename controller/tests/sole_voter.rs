//! A controller that is its only voter: from nothing to topics, and on after a restart.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "sole_voter/node.rs"]
mod node;

use std::time::{Duration, Instant};

use minikafka_controller::event::{Request, Response};
use node::{Node, create_topics, register, unfence};
use protocol::ErrorCode;

#[tokio::test]
async fn topics_survive_a_restart() {
    let node = Node::format();
    let controller = node.start();
    let epoch = register(&controller, &node).await;
    unfence(&controller, epoch).await;
    let (response, committed) = controller.submit(7, create_topics(&["orders", "users"]).into()).await;
    let Response::CreateTopics(response) = response else { panic!("{response:?}") };
    assert!(response.topics.iter().all(|topic| topic.error_code == 0), "{response:?}");
    let image = controller.image();
    assert!(image.provenance.last_offset >= committed, "published before answered");
    let id = image.topics.by_name("orders").unwrap().id;
    assert!(controller.ping().await, "its thread answers");
    let counts = controller.metrics();
    assert!(counts.is_active && counts.raft.leader_id.is_some() && counts.raft.role == "leader");
    assert_eq!((counts.activations, counts.elections.count), (1, 1));
    assert!(counts.commits.count > 0 && counts.raft.high_watermark == counts.raft.log_end);
    controller.stop().await.unwrap();
    assert!(!controller.ping().await, "nobody is there");
    assert!(!controller.metrics().is_active);

    let controller = node.start();
    let mut leader = controller.leader();
    leader.wait_for(|leader| leader.leader_id == Some(1)).await.unwrap();
    let epoch_after = register(&controller, &node).await;
    assert!(epoch_after > epoch, "a broker epoch is an offset, so it grows");
    assert_eq!(controller.image().topics.by_name("orders").unwrap().id, id);
    unfence(&controller, epoch_after).await;
    let partition = controller.image().topics.by_name("orders").unwrap().partition(0).unwrap().clone();
    assert_eq!((partition.leader, partition.isr), (1, vec![1]));
    controller.stop().await.unwrap();
}

#[tokio::test]
async fn subscribers_see_every_step() {
    let node = Node::format();
    let controller = node.start();
    let mut early = controller.subscribe();
    let epoch = register(&controller, &node).await;
    unfence(&controller, epoch).await;
    controller.submit(7, create_topics(&["a"]).into()).await;
    let mut late = controller.subscribe();
    let end = controller.image();
    for subscription in [&mut early, &mut late] {
        let mut image = metadata::MetadataImage::empty();
        while image.provenance.last_offset < end.provenance.last_offset {
            let delta = subscription.next().await.unwrap();
            assert_eq!(delta.before(), &image);
            image = delta.after().clone();
        }
        assert_eq!(&image, &*end);
    }
    controller.stop().await.unwrap();
    while early.next().await.is_some() {}
}

#[tokio::test]
async fn many_requests_share_a_flush() {
    let node = Node::format();
    let controller = node.start();
    let epoch = register(&controller, &node).await;
    unfence(&controller, epoch).await;
    let started = Instant::now();
    let requests = (0..500).map(|i| {
        let (controller, name) = (controller.clone(), format!("topic-{i}"));
        tokio::spawn(async move { controller.submit(7, create_topics(&[&name]).into()).await })
    });
    let requests: Vec<_> = requests.collect();
    for request in requests {
        let (Response::CreateTopics(response), _) = request.await.unwrap() else { panic!() };
        assert_eq!(response.topics[0].error_code, 0);
    }
    assert!(started.elapsed() < Duration::from_secs(5));
    assert_eq!(controller.image().topics.len(), 500);
    controller.stop().await.unwrap();
    let (response, _) = controller.submit(7, create_topics(&["late"]).into()).await;
    let Response::CreateTopics(response) = response else { panic!("{response:?}") };
    assert_eq!(response.topics[0].error_code, ErrorCode::NOT_CONTROLLER.code());
}

/// A node that has created one topic and is stopped, and the file of its metadata log.
async fn stopped_node() -> (Node, std::path::PathBuf) {
    let node = Node::format();
    let controller = node.start();
    let epoch = register(&controller, &node).await;
    unfence(&controller, epoch).await;
    controller.submit(7, create_topics(&["orders"]).into()).await;
    controller.stop().await.unwrap();
    let log = node.dir.path().join("__cluster_metadata-0/00000000000000000000.log");
    (node, log)
}

#[tokio::test]
async fn a_torn_write_is_cut_off() {
    let (node, log) = stopped_node().await;
    let mut bytes = std::fs::read(&log).unwrap();
    let torn = bytes[..40].to_vec();
    bytes.extend(torn);
    std::fs::write(&log, bytes).unwrap();
    let controller = node.start();
    register(&controller, &node).await;
    assert!(controller.image().topics.by_name("orders").is_some());
    controller.stop().await.unwrap();
}

#[tokio::test]
async fn a_damaged_log_is_not_used() {
    let (node, log) = stopped_node().await;
    let mut bytes = std::fs::read(&log).unwrap();
    bytes[200] ^= 1;
    std::fs::write(&log, bytes).unwrap();
    let error = node.try_start().unwrap_err();
    assert!(error.to_string().contains("damaged"), "{error}");
}

#[tokio::test]
async fn answers_on_the_wire() {
    use protocol::request::RequestHeader;
    use protocol::versions::ApiKey;
    use protocol::{Decodable, Encodable};

    let node = Node::format();
    let controller = node.start();
    register(&controller, &node).await;
    let header = |api_key, api_version| RequestHeader {
        api_key,
        api_version,
        correlation_id: 7,
        client_id: None,
        body_start: 0,
    };
    // An unknown version of ApiVersions gets version 0, an unknown API no answer.
    let answer = controller
        .handle("CONTROLLER", &header(ApiKey::API_VERSIONS, 99), bytes::Bytes::new())
        .await
        .unwrap();
    assert_eq!(&answer.bytes[..6], [0, 0, 0, 7, 0, 35]);
    assert!(controller.handle("CONTROLLER", &header(ApiKey::PRODUCE, 9), bytes::Bytes::new()).await.is_err());
    assert!(
        controller
            .handle("CONTROLLER", &header(ApiKey::CREATE_TOPICS, 7), bytes::Bytes::new())
            .await
            .is_err()
    );

    let mut body = bytes::BytesMut::new();
    create_topics(&["wire"]).encode(&mut body, 7).unwrap();
    let answer =
        controller.handle("CONTROLLER", &header(ApiKey::CREATE_TOPICS, 7), body.freeze()).await.unwrap();
    let mut bytes = answer.bytes.slice(5..);
    let response = protocol::messages::CreateTopicsResponse::decode(&mut bytes, 7).unwrap();
    // The broker is fenced still.
    assert_eq!(response.topics[0].error_code, ErrorCode::INVALID_REPLICATION_FACTOR.code());

    let mut body = bytes::BytesMut::new();
    let partition = protocol::messages::describe_quorum_request::PartitionData::default();
    let topic = protocol::messages::describe_quorum_request::TopicData::default()
        .with_topic_name(protocol::messages::TopicName("__cluster_metadata".into()))
        .with_partitions(vec![partition]);
    let request = protocol::messages::DescribeQuorumRequest::default().with_topics(vec![topic]);
    request.encode(&mut body, 2).unwrap();
    let answer =
        controller.handle("CONTROLLER", &header(ApiKey::DESCRIBE_QUORUM, 2), body.freeze()).await.unwrap();
    let mut bytes = answer.bytes.slice(5..);
    let response = protocol::messages::DescribeQuorumResponse::decode(&mut bytes, 2).unwrap();
    let partition = &response.topics[0].partitions[0];
    assert_eq!((partition.leader_id.0, partition.current_voters.len()), (1, 1));
    assert!(partition.high_watermark > 0);
    controller.stop().await.unwrap();
}

#[tokio::test]
async fn a_silent_broker_is_fenced() {
    let node = Node::format_with(&[("broker.session.timeout.ms", "300")]);
    let controller = node.start();
    let epoch = register(&controller, &node).await;
    unfence(&controller, epoch).await;
    assert!(!controller.image().cluster.broker(1).unwrap().fenced);
    tokio::time::sleep(Duration::from_millis(800)).await;
    assert!(controller.image().cluster.broker(1).unwrap().fenced);
    controller.stop().await.unwrap();
}

#[tokio::test]
async fn start_up_takes_milliseconds() {
    let node = Node::format();
    let started = Instant::now();
    let controller = node.start();
    let epoch = register(&controller, &node).await;
    unfence(&controller, epoch).await;
    let took = started.elapsed();
    println!("from nothing to unfenced: {took:?}");
    assert!(took < Duration::from_secs(2), "{took:?}");
    let request = protocol::messages::AllocateProducerIdsRequest::default()
        .with_broker_id(protocol::messages::BrokerId(1))
        .with_broker_epoch(epoch);
    let (response, _) = controller.submit(0, Request::from(request)).await;
    let Response::AllocateProducerIds(response) = response else { panic!("{response:?}") };
    assert_eq!((response.producer_id_start.0, response.producer_id_len), (0, 1000));
    controller.stop().await.unwrap();
}
