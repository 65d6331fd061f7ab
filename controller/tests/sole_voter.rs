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
    controller.stop().await.unwrap();

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
