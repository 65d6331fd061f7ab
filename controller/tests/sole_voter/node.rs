//! A formatted directory, and the broker's side of a registration.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::PathBuf;

use metadata::config::StaticConfig;
use metadata::config::node::NodeConfig;
use minikafka_controller::event::Response;
use minikafka_controller::format::{FormatArgs, bootstrap_records, format};
use minikafka_controller::{ControllerHandle, StartArgs, StartError};
use protocol::StrBytes;
use protocol::features::{FEATURES, MetadataVersion};
use protocol::messages::broker_registration_request::{Feature, Listener};
use protocol::messages::create_topics_request::CreatableTopic;
use protocol::messages::{
    BrokerHeartbeatRequest, BrokerId, BrokerRegistrationRequest, CreateTopicsRequest, TopicName,
};
use tempfile::TempDir;
use uuid::Uuid;

pub(crate) const CLUSTER_ID: &str = "Z29sZGVuLW1pbmlrYWZrYQ";

pub(crate) struct Node {
    pub(crate) dir: TempDir,
    pub(crate) config: NodeConfig,
    pub(crate) directory_id: Uuid,
    /// Of the broker in the process that was started last.
    pub(crate) incarnation_id: Cell<Uuid>,
}

fn new_id() -> Uuid {
    Uuid::from_u128(std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos())
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

impl Node {
    #[allow(dead_code, reason = "not every test file needs it")]
    pub(crate) fn format() -> Self {
        Self::format_with(&[])
    }

    pub(crate) fn format_with(more: &[(&str, &str)]) -> Self {
        let dir = TempDir::new().unwrap();
        let node = Self::on(dir, more);
        let log_dirs: Vec<(PathBuf, Uuid)> = vec![(node.dir.path().to_owned(), node.directory_id)];
        let bootstrap = bootstrap_records(MetadataVersion::LATEST_PRODUCTION, &BTreeMap::new(), []);
        format(&FormatArgs {
            cluster_id: CLUSTER_ID,
            node_id: 1,
            log_dirs: &log_dirs,
            metadata_log_dir: node.dir.path(),
            bootstrap: &bootstrap,
            voters: None,
            now_ms: 1_700_000_000_000,
            sync: false,
        })
        .unwrap();
        node
    }

    /// A node on a directory that is formatted already.
    pub(crate) fn on(dir: TempDir, more: &[(&str, &str)]) -> Self {
        let path = dir.path().to_str().unwrap().to_owned();
        let mut properties: BTreeMap<String, String> = [
            ("process.roles", "broker,controller"),
            ("node.id", "1"),
            ("controller.quorum.voters", "1@localhost:9093"),
            ("controller.listener.names", "CONTROLLER"),
            ("listeners", "PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093"),
            ("log.dirs", &path),
        ]
        .iter()
        .chain(more)
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
        properties.insert("log.dirs".to_owned(), path);
        let config = NodeConfig::new(StaticConfig::new(properties).unwrap()).unwrap();
        Self {
            dir,
            config,
            directory_id: Uuid::from_u64_pair(0x1234, 0x5678),
            incarnation_id: Cell::new(new_id()),
        }
    }

    /// Starts the controller; the broker has a new incarnation with each start.
    pub(crate) fn start(&self) -> ControllerHandle {
        self.try_start().unwrap()
    }

    pub(crate) fn try_start(&self) -> Result<ControllerHandle, StartError> {
        self.incarnation_id.set(new_id());
        minikafka_controller::start(StartArgs {
            node: &self.config,
            cluster_id: CLUSTER_ID,
            directory_id: self.directory_id,
            durable: true,
            broker_incarnation_id: Some(self.incarnation_id.get()),
            listeners: &self.config.advertised_controller_listeners,
        })
    }
}

pub(crate) async fn register(controller: &ControllerHandle, node: &Node) -> i64 {
    let features = FEATURES.iter().map(|feature| {
        Feature::default()
            .with_name(text(feature.name))
            .with_min_supported_version(feature.min)
            .with_max_supported_version(feature.max)
    });
    let listener =
        Listener::default().with_name(text("PLAINTEXT")).with_host(text("localhost")).with_port(9092);
    let request = BrokerRegistrationRequest::default()
        .with_broker_id(BrokerId(1))
        .with_cluster_id(text(CLUSTER_ID))
        .with_incarnation_id(node.incarnation_id.get())
        .with_listeners(vec![listener])
        .with_features(features.collect())
        .with_log_dirs(vec![node.directory_id]);
    for _ in 0..50 {
        let (response, offset) = controller.submit(4, request.clone().into()).await;
        let Response::BrokerRegistration(response) = response else { panic!("{response:?}") };
        if response.error_code == 0 {
            assert_eq!(response.broker_epoch, offset, "the epoch is the offset of the registration");
            return response.broker_epoch;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("the broker was not registered");
}

pub(crate) async fn unfence(controller: &ControllerHandle, epoch: i64) {
    let request = BrokerHeartbeatRequest::default()
        .with_broker_id(BrokerId(1))
        .with_broker_epoch(epoch)
        .with_current_metadata_offset(epoch);
    let (response, _) = controller.submit(1, request.into()).await;
    let Response::BrokerHeartbeat(response) = response else { panic!("{response:?}") };
    assert_eq!((response.error_code, response.is_fenced, response.is_caught_up), (0, false, true));
}

#[allow(dead_code, reason = "not every test file creates topics")]
pub(crate) fn create_topics(names: &[&str]) -> CreateTopicsRequest {
    let topics = names.iter().map(|name| {
        CreatableTopic::default()
            .with_name(TopicName(text(name)))
            .with_num_partitions(1)
            .with_replication_factor(1)
    });
    CreateTopicsRequest::default().with_topics(topics.collect())
}
