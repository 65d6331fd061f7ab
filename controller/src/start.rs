//! Starting the controller, or what observes it on a node that is only a broker: files, thread, handle.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use metadata::config::listeners::Endpoint;
use metadata::config::node::NodeConfig;
use metadata::config::{ControllerConfig, Layers};
use protocol::StrBytes;
use protocol::features::{FEATURES, MetadataVersion};
use protocol::messages::ControllerRegistrationRequest;
use protocol::messages::controller_registration_request::{Feature, Listener};
use raft::{Address, Endpoint as RaftEndpoint, ReplicaKey, Voter, VoterSet};
use tokio::sync::{mpsc, oneshot, watch};
use uuid::Uuid;

use crate::active_controller::ActiveController;
use crate::clock::steady_ms;
use crate::closer_look::BrokerConnections;
use crate::controller::{LeaderAndEpoch, Periods, Setup, run};
use crate::decide::Rules;
use crate::entropy::Entropy;
use crate::format::bootstrap_records;
use crate::handle::{ControllerHandle, Shared};
use crate::kraft_log::{KraftLog, KraftLogConfig, OpenError};
use crate::metrics::Metrics;
use crate::publisher::Publisher;
use crate::raft_peers::RaftPeers;
use crate::registration;
use crate::snapshot_file::{self, SnapshotError};
use crate::store::kraft::KraftStore;

/// Requests that may wait for the controller; more wait at their connections.
const COMMANDS_MAX: usize = 4_096;

/// What a controller is started with.
#[derive(Debug)]
pub struct StartArgs<'a> {
    /// The node's configuration.
    pub node: &'a NodeConfig,
    /// Cluster id, from `meta.properties`.
    pub cluster_id: &'a str,
    /// `directory.id` of `metadata.log.dir`, which this process has locked.
    pub directory_id: Uuid,
    /// False for directories that do not outlive the process: then nothing is made durable.
    pub durable: bool,
    /// Incarnation id with which the broker of this process will register, if it has one.
    pub broker_incarnation_id: Option<Uuid>,
    /// Controller listeners as others reach them, with the ports in use, in the order of `controller.listener.names`.
    pub listeners: &'a [Endpoint],
}

/// Why a controller does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The metadata log cannot be opened.
    #[error(transparent)]
    Log(#[from] OpenError),
    /// `bootstrap.checkpoint` cannot be read.
    #[error("bootstrap.checkpoint: {0}")]
    Bootstrap(#[from] SnapshotError),
    /// The quorum cannot be joined.
    #[error("{0}")]
    Raft(String),
    /// No thread, or no random numbers.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// Opens the metadata log and starts the controller on a thread of its own.
///
/// # Errors
/// See [`StartError`]; nothing keeps running then.
pub fn start(args: StartArgs<'_>) -> Result<ControllerHandle, StartError> {
    let node = args.node;
    let config = ControllerConfig::of(&Layers::of(&node.properties));
    let metadata_log_dir = Path::new(&node.metadata_log_dir);
    let log = KraftLog::open(metadata_log_dir, log_config(&args, &config))?;
    let bootstrap = snapshot_file::read_bootstrap(metadata_log_dir)?
        .unwrap_or_else(|| bootstrap_records(MetadataVersion::LATEST_PRODUCTION, &BTreeMap::new(), []));
    let mut entropy = entropy()?;
    let (leader, leader_receiver) = watch::channel(LeaderAndEpoch::default());
    let (raft, raft_inbox) = mpsc::channel(COMMANDS_MAX);
    let (commands, command_receiver) = mpsc::channel(COMMANDS_MAX);
    let (stop, stop_receiver) = oneshot::channel();
    let (ended, ended_receiver) = watch::channel(None);
    let (brokers, departures) = BrokerConnections::new();
    let raft_config = raft_config(&args, &config, entropy.next_u64());
    let publisher = Arc::new(Publisher::new());
    let metrics = Arc::new(Metrics::default());
    let registration = registration(&args, entropy.id());
    let setup = Setup {
        rules: rules(&args, &config),
        periods: periods(&args, &config),
        registration: registration.clone(),
        entropy,
        bootstrap,
        publisher: Arc::clone(&publisher),
        metrics: Arc::clone(&metrics),
        commands: command_receiver,
        brokers: Arc::clone(&brokers),
        departures,
        stop: stop_receiver,
        now_ms: steady_ms,
    };
    let request_timeout = millis(config.quorum_request_timeout_ms);
    let listener = node.controller_listener_names.first().cloned().unwrap_or_default();
    let peers = RaftPeers::new(node.node_id, &listener, request_timeout, 2 * raft_config.fetch_max_bytes);
    let (runtime, store) = within_runtime(|| {
        KraftStore::start(raft_config, log, peers, raft_inbox, leader, steady_ms, Arc::clone(&metrics))
    })?;
    let handle = ControllerHandle::new(Shared {
        node_id: node.node_id,
        cluster_id: args.cluster_id.to_owned(),
        properties: Arc::new(node.properties.clone()),
        listener_name: listener,
        commands,
        brokers,
        raft,
        publisher,
        metrics,
        leader: leader_receiver,
        stop: parking_lot::Mutex::new(Some(stop)),
        ended: ended_receiver,
    });
    if node.is_controller {
        let active = ActiveController::new(handle.clone(), runtime.handle().clone(), request_timeout);
        runtime.spawn(registration::run(handle.clone(), active, registration));
    }
    thread::Builder::new().name("controller".to_owned()).spawn(move || {
        let result = runtime.block_on(run(setup, store));
        if let Err(reason) = &result {
            tracing::error!(reason, "The controller failed");
        }
        ended.send_replace(Some(result));
    })?;
    Ok(handle)
}

fn log_config(args: &StartArgs<'_>, config: &ControllerConfig) -> KraftLogConfig {
    KraftLogConfig {
        segment_bytes: u32::try_from(config.metadata_log_segment_bytes).unwrap_or(1 << 30),
        segment_ms: config.metadata_log_segment_ms,
        durable: args.durable,
        now_ms: steady_ms,
    }
}

fn entropy() -> Result<Entropy, StartError> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| std::io::Error::other(error.to_string()))?;
    Ok(Entropy::from_seed(seed))
}

/// The runtime of the controller's thread, and the store that was started within it.
fn within_runtime(
    start: impl FnOnce() -> Result<KraftStore, String>,
) -> Result<(tokio::runtime::Runtime, KraftStore), StartError> {
    // One thread is the whole runtime: a stalled data disk or a busy broker costs no leadership.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let store = {
        let _within = runtime.enter();
        start()
    };
    match store {
        Ok(store) => Ok((runtime, store)),
        Err(reason) => {
            runtime.shutdown_background();
            Err(StartError::Raft(reason))
        }
    }
}

fn millis(ms: i32) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

fn rules(args: &StartArgs<'_>, config: &ControllerConfig) -> Rules {
    Rules {
        node_id: args.node.node_id,
        local_incarnation: args.broker_incarnation_id,
        cluster_id: args.cluster_id.to_owned(),
        quorum: vec![args.node.node_id],
        kraft_version: 0,
        num_partitions: config.num_partitions,
        default_replication_factor: i16::try_from(config.default_replication_factor).unwrap_or(1),
        delete_topic_enable: config.delete_topic_enable,
        session_timeout_ms: config.broker_session_timeout_ms.into(),
        fixed: Arc::new(args.node.properties.clone()),
        bump_leader_epoch_on_isr_shrink: false,
    }
}

/// NoOp records are for observers that want to know how late they are. Kafka writes two a second by default; here the
/// key has to be set for that, since a single idle node would do nothing else.
fn periods(args: &StartArgs<'_>, config: &ControllerConfig) -> Periods {
    let positive = |ms: i64| (ms > 0).then_some(ms);
    let idle = args.node.properties.original("metadata.max.idle.interval.ms");
    let rebalance =
        config.auto_leader_rebalance_enable.then_some(config.leader_imbalance_check_interval_seconds);
    Periods {
        rebalance_ms: rebalance.map(|seconds| seconds.saturating_mul(1_000)),
        idle_ms: idle.and_then(|_| positive(config.metadata_max_idle_interval_ms.into())),
        snapshot_ms: positive(config.metadata_log_max_snapshot_interval_ms),
        snapshot_bytes: u64::try_from(config.metadata_log_max_record_bytes_between_snapshots)
            .unwrap_or(u64::MAX),
    }
}

fn raft_config(args: &StartArgs<'_>, config: &ControllerConfig, seed: u64) -> raft::Config {
    let listener_name = args.node.controller_listener_names.first().cloned().unwrap_or_default();
    let listeners = args.listeners.iter().map(|listener| RaftEndpoint {
        name: listener.name.clone(),
        host: listener.host.clone(),
        port: listener.port,
    });
    let voters = args.node.voters.iter().map(|voter| Voter {
        key: ReplicaKey { id: voter.id, directory_id: None },
        endpoints: vec![RaftEndpoint {
            name: listener_name.clone(),
            host: voter.host.clone(),
            port: voter.port,
        }],
        min_kraft_version: 0,
        max_kraft_version: 0,
    });
    let servers = args.node.bootstrap_servers.iter();
    raft::Config {
        static_voters: VoterSet::new(voters),
        bootstrap_servers: servers.map(|(host, port)| Address { host: host.clone(), port: *port }).collect(),
        listeners: listeners.collect(),
        listener_name: listener_name.clone(),
        can_be_voter: args.node.is_controller,
        election_timeout_ms: config.quorum_election_timeout_ms.into(),
        fetch_timeout_ms: config.quorum_fetch_timeout_ms.into(),
        election_backoff_max_ms: config.quorum_election_backoff_max_ms.into(),
        request_timeout_ms: config.quorum_request_timeout_ms.into(),
        retry_backoff_ms: config.quorum_retry_backoff_ms.into(),
        retention_bytes: config.metadata_max_retention_bytes,
        retention_ms: config.metadata_max_retention_ms,
        ..raft::Config::new(args.node.node_id, args.directory_id, args.cluster_id, seed)
    }
}

fn registration(args: &StartArgs<'_>, incarnation_id: Uuid) -> ControllerRegistrationRequest {
    let text = |text: &str| StrBytes::from_string(text.to_owned());
    let listeners = args.listeners.iter().map(|listener| {
        Listener::default()
            .with_name(text(&listener.name))
            .with_host(text(&listener.host))
            .with_port(listener.port)
            .with_security_protocol(listener.protocol.code())
    });
    let features = FEATURES.iter().map(|feature| {
        Feature::default()
            .with_name(text(feature.name))
            .with_min_supported_version(feature.min)
            .with_max_supported_version(feature.max)
    });
    ControllerRegistrationRequest::default()
        .with_controller_id(args.node.node_id)
        .with_incarnation_id(incarnation_id)
        .with_listeners(listeners.collect())
        .with_features(features.collect())
}
