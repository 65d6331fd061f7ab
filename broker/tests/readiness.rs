//! Whether a broker says that clients may come, and why not.

mod support;

use std::time::{Duration, Instant};

use minikafka_broker::Stage;
use protocol::records::{BrokerRegistrationChangeRecord, Record, RegisterBrokerRecord};
use support::{Setup, TestBroker};
use uuid::Uuid;

/// Short sessions, to wait for less.
const SETUP: Setup = Setup {
    properties: &[("broker.heartbeat.interval.ms", "20"), ("broker.session.timeout.ms", "400")],
    two_dirs: false,
};

/// Waits until these are the reasons.
async fn reasons(broker: &TestBroker, expected: &[&str]) {
    let since = Instant::now();
    loop {
        let found = broker.probe().unready();
        if found == expected {
            return;
        }
        assert!(since.elapsed() < Duration::from_secs(30), "{found:?} where {expected:?} was expected");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_is_ready_while_it_is_unfenced_and_heard_of() {
    let broker = TestBroker::start_with(SETUP).await;
    broker.create_topic("t", 2).await;
    reasons(&broker, &[]).await;
    assert_eq!(broker.probe().snapshot().unwrap().partitions.len(), 2);

    let change = |fenced| BrokerRegistrationChangeRecord {
        broker_id: 1,
        broker_epoch: 1,
        fenced,
        ..BrokerRegistrationChangeRecord::default()
    };
    broker.commit(&[Record::BrokerRegistrationChange(change(1))]).await;
    reasons(&broker, &["the broker is fenced"]).await;
    broker.commit(&[Record::BrokerRegistrationChange(change(-1))]).await;
    reasons(&broker, &[]).await;

    broker.set_silent(true);
    reasons(&broker, &["no controller answers the broker's heartbeats"]).await;
    broker.set_silent(false);
    reasons(&broker, &[]).await;

    let probe = broker.probe().clone();
    broker.stop().await;
    assert_eq!(probe.stage(), Stage::Stopping);
    assert_eq!(probe.unready(), ["the broker is stopping"]);
    assert!(probe.snapshot().is_none(), "nothing is kept alive");
}

/// A process of the broker that is dead sent it; it took the broker id from the living one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_registers_again_after_a_late_registration_of_a_dead_process() {
    let broker = TestBroker::start_with(SETUP).await;
    let (incarnation, epoch) = broker.registered();
    let late = RegisterBrokerRecord {
        broker_id: 1,
        incarnation_id: Uuid::from_u128(7),
        broker_epoch: epoch + 5,
        log_dirs: vec![support::DIR_ID],
        fenced: true,
        ..RegisterBrokerRecord::default()
    };
    broker.commit(&[Record::RegisterBroker(late)]).await;
    reasons(&broker, &[]).await;
    assert_eq!(broker.registered(), (incarnation, epoch + 6));
    broker.stop().await;
}
