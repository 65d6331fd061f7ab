//! The loop with a store in memory.

use metadata::config::StaticConfig;
use protocol::messages::{BrokerId, BrokerRegistrationRequest, DeleteTopicsRequest};

use super::*;
use crate::format::bootstrap_records;
use crate::store::memory::MemoryStore;

#[tokio::test]
async fn answers_come_after_what_they_rest_on_is_published() {
    let publisher = Arc::new(Publisher::new());
    let (commands, command_receiver) = mpsc::channel(16);
    let (stop, stop_receiver) = oneshot::channel();
    let (brokers, departures) = BrokerConnections::new();
    let latest = protocol::features::MetadataVersion::LATEST_PRODUCTION;
    let fixed = StaticConfig::new(std::collections::BTreeMap::new()).unwrap();
    let setup = Setup {
        rules: Rules { fixed: Arc::new(fixed), ..Rules::default() },
        periods: Periods {
            rebalance_ms: None,
            idle_ms: Some(1),
            snapshot_ms: None,
            snapshot_bytes: u64::MAX,
        },
        entropy: Entropy::from_seed([1; 32]),
        bootstrap: bootstrap_records(latest, &std::collections::BTreeMap::new(), []),
        registration: ControllerRegistrationRequest::default().with_controller_id(1),
        publisher: Arc::clone(&publisher),
        metrics: Arc::default(),
        commands: command_receiver,
        brokers,
        departures,
        stop: stop_receiver,
        now_ms: crate::clock::steady_ms,
    };
    let running = async { run(setup, MemoryStore::new()).await.unwrap() };
    let asking = async {
        let ask = async |request: Request| {
            let (reply, answer) = oneshot::channel();
            commands.send(Command { version: 4, request, reply }).await.unwrap();
            answer.await.unwrap()
        };
        let request = BrokerRegistrationRequest::default()
            .with_broker_id(BrokerId(1))
            .with_log_dirs(vec![uuid::Uuid::from_u64_pair(1, 1)]);
        // It supports no feature, so it may not join.
        let Answered { response, .. } = ask(request.into()).await;
        let Response::BrokerRegistration(response) = response else { panic!("{response:?}") };
        assert_eq!(response.error_code, ErrorCode::UNSUPPORTED_VERSION.code());
        let Answered { committed_offset, .. } = ask(DeleteTopicsRequest::default().into()).await;
        assert!(publisher.image().provenance.last_offset >= committed_offset);
        assert_eq!(publisher.image().features.metadata_version(), latest);
        assert!(publisher.image().cluster.controllers.contains_key(&1));
        tokio::time::sleep(std::time::Duration::from_millis(30)).await;
        assert!(publisher.image().provenance.last_offset > committed_offset, "NoOp records were written");
        stop.send(()).unwrap();
    };
    tokio::join!(running, asking);
    assert!(publisher.subscribe().next().await.is_some());
}
