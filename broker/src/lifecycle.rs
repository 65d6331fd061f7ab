//! The broker's life as the controller sees it: registered, unfenced, kept alive by heartbeats, leaving in order.
//!
//!   register → heartbeat (want fence) until caught up → apply the metadata → heartbeat (want no fence) → running
//!   running → heartbeat (want shut down) until the controller says so → stopped
//!
//! A process of this broker that died may have left a registration on its way. If that comes in after the one of the
//! living process, it takes the broker id, and the heartbeats are stale from then on: the broker registers again. Kafka's
//! does not, and stays fenced until it is restarted.
//!
//! Source: `BrokerLifecycleManager`, KIP-631, KIP-841.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use metadata::image::MetadataImage;
use parking_lot::Mutex;
use protocol::messages::broker_registration_request::{Feature, Listener};
use protocol::messages::{
    BrokerHeartbeatRequest, BrokerHeartbeatResponse, BrokerId, BrokerRegistrationRequest,
};
use protocol::{ErrorCode, StrBytes, features};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::config::{BrokerConfig, BrokerSettings};
use crate::controller_channel::{CallError, ControllerChannel, Origin, send};
use crate::metadata_cache::MetadataCache;
use crate::replica::manager::ReplicaManager;

const BROKER_REGISTRATION_VERSION: i16 = 4;
const BROKER_HEARTBEAT_VERSION: i16 = 1;
/// First pause before a registration or heartbeat is tried again; doubles up to the heartbeat interval, but not further
/// than this: a node that returns is waited for.
const RETRY_MIN: Duration = Duration::from_millis(10);
const RETRY_MAX: Duration = Duration::from_millis(200);
/// The least pause between heartbeats, however often the controller is lost.
const SPACING: Duration = Duration::from_millis(50);
/// How long a broker that stops looks for a controller that answers. Longer is of no use: without the broker's connections
/// the next controller soon takes it for dead, which moves its leaderships too.
const CONTROLLER_LOST: Duration = Duration::from_millis(1_500);
/// Pause between heartbeats of a broker that waits to be released.
const SHUTDOWN_HEARTBEAT: Duration = Duration::from_millis(20);

/// Why a broker does not start.
#[derive(Debug, thiserror::Error)]
pub enum RegistrationError {
    /// The controller refused for good.
    #[error("the controller refused the registration of broker {id}: {code:?} {name}")]
    Refused {
        /// `node.id`.
        id: i32,
        /// Kafka's code.
        code: i16,
        /// Its name.
        name: &'static str,
    },
    /// No controller answered in `initial.broker.registration.timeout.ms`.
    #[error("the broker was not registered within {0:?}: is a controller running?")]
    TimedOut(Duration),
}

/// A registered broker.
pub(crate) struct Lifecycle {
    channel: Arc<dyn ControllerChannel>,
    metadata: Arc<MetadataCache>,
    replicas: Arc<ReplicaManager>,
    node_id: i32,
    epoch: AtomicI64,
    registered_at: i64,
    /// To register again: without a previous epoch, as nothing proves an orderly end by then.
    registration: BrokerRegistrationRequest,
    interval: Duration,
    /// When the controller accepted the broker last.
    heard_at: Mutex<Instant>,
    /// The broker leaves: from then on it does not ask to be unfenced.
    leaving: CancellationToken,
}

impl Lifecycle {
    /// Registers the broker. `previous_epoch` is that of the last clean shutdown, -1 after a crash.
    pub(crate) async fn register(
        config: &BrokerConfig,
        settings: &BrokerSettings,
        channel: Arc<dyn ControllerChannel>,
        metadata: Arc<MetadataCache>,
        replicas: Arc<ReplicaManager>,
        previous_epoch: i64,
    ) -> Result<Self, RegistrationError> {
        let request = registration(config, &replicas, previous_epoch);
        let client_id = config.node_id.to_string();
        let millis = |ms: i32| Duration::from_millis(u64::try_from(ms).unwrap_or(0));
        let interval = millis(settings.broker_heartbeat_interval_ms);
        let timeout = millis(settings.initial_broker_registration_timeout_ms);
        let deadline = Instant::now() + timeout;
        let mut pause = RETRY_MIN;
        loop {
            let version = BROKER_REGISTRATION_VERSION;
            match send(&*channel, Origin::Broker, version, &client_id, &request).await {
                Ok((response, committed_offset)) if response.error_code == 0 => {
                    let (id, epoch) = (config.node_id, response.broker_epoch);
                    tracing::info!(
                        target: "kafka.server.BrokerLifecycleManager",
                        "[BrokerLifecycleManager id={id}] Successfully registered broker {id} with broker epoch {epoch}"
                    );
                    return Ok(Self {
                        channel,
                        metadata,
                        replicas,
                        node_id: config.node_id,
                        epoch: AtomicI64::new(response.broker_epoch),
                        // The epoch is the offset of the registration; all that another node tells of it.
                        registered_at: committed_offset.max(response.broker_epoch),
                        registration: request.with_previous_broker_epoch(-1),
                        interval,
                        heard_at: Mutex::new(Instant::now()),
                        leaving: CancellationToken::new(),
                    });
                }
                Ok((response, _)) => {
                    let code = ErrorCode(response.error_code);
                    if matches!(code, ErrorCode::INCONSISTENT_CLUSTER_ID | ErrorCode::UNSUPPORTED_VERSION) {
                        let (id, name) = (config.node_id, code.name());
                        return Err(RegistrationError::Refused { id, code: code.code(), name });
                    }
                    let (id, error) = (config.node_id, code.name());
                    tracing::info!(
                        target: "kafka.server.BrokerLifecycleManager",
                        "[BrokerLifecycleManager id={id}] Unable to register broker {id} because the controller returned error {error}"
                    );
                }
                Err(e) => tracing::debug!("broker registration is tried again: {e}"),
            }
            if Instant::now() >= deadline {
                return Err(RegistrationError::TimedOut(timeout));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(interval).min(RETRY_MAX);
        }
    }

    /// Metadata offset of the registration.
    pub(crate) fn registered_at(&self) -> i64 {
        self.registered_at
    }

    /// The epoch of the registration.
    pub(crate) fn epoch(&self) -> i64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// For how long no controller has accepted the broker.
    pub(crate) fn silent_for(&self) -> Duration {
        self.heard_at.lock().elapsed()
    }

    /// Asks to be unfenced until it is so.
    pub(crate) async fn unfence(&self) {
        let mut pause = RETRY_MIN;
        loop {
            match self.heartbeat(false, false).await {
                Ok((response, _)) if response.error_code == 0 && !response.is_fenced => {
                    self.metadata.wait_until(|image| is_live(image, self.node_id)).await;
                    return;
                }
                Ok(_) => {}
                Err(e) => tracing::debug!("heartbeat failed: {e}"),
            }
            // The metadata moves on by itself; ask again soon.
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(self.interval).min(RETRY_MAX);
        }
    }

    /// Sends heartbeats until cancelled, or the broker leaves; one goes out at once when a directory fails, and when there is another controller
    /// or connection, so that nobody takes the broker for dead.
    pub(crate) async fn keep_alive(&self, cancel: CancellationToken) {
        let mut dir_failures = self.replicas.dir_failures();
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                () = self.leaving.cancelled() => return,
                () = tokio::time::sleep(self.interval) => {}
                _ = dir_failures.changed() => {}
                () = self.lost_touch() => {}
            }
            let answer = tokio::select! {
                // One that is on its way goes before those of the end.
                () = self.leaving.cancelled() => return,
                answer = self.heartbeat(false, false) => answer,
            };
            match answer {
                Ok((response, _)) if response.error_code != 0 => {
                    tracing::warn!("heartbeat refused: {}", ErrorCode(response.error_code).name());
                }
                Ok(_) => {}
                Err(e) => tracing::warn!("heartbeat failed: {e}"),
            }
        }
    }

    async fn lost_touch(&self) {
        tokio::time::sleep(SPACING).await;
        self.channel.lost_touch().await;
    }

    /// Leaves in order: the controller moves leaderships away first. Gives up after `grace`, and sooner if no controller
    /// answers.
    pub(crate) async fn shut_down(&self, grace: Duration) {
        self.leaving.cancel();
        let deadline = Instant::now() + grace;
        let mut heard_at = Instant::now();
        loop {
            let until = deadline.min(heard_at + CONTROLLER_LOST);
            match tokio::time::timeout_at(until, self.heartbeat(false, true)).await {
                Ok(Ok((response, _))) if response.should_shut_down || response.error_code != 0 => return,
                Ok(Ok(_)) => heard_at = Instant::now(),
                Ok(Err(e)) => tracing::debug!("heartbeat failed: {e}"),
                Err(_) => break,
            }
            tokio::time::sleep(SHUTDOWN_HEARTBEAT).await;
        }
        let waited = grace - deadline.saturating_duration_since(Instant::now());
        tracing::warn!("no controller released the broker within {waited:?}");
    }

    async fn heartbeat(
        &self,
        want_fence: bool,
        want_shut_down: bool,
    ) -> Result<(BrokerHeartbeatResponse, i64), CallError> {
        let epoch = self.epoch();
        let request = BrokerHeartbeatRequest::default()
            .with_broker_id(BrokerId(self.node_id))
            .with_broker_epoch(epoch)
            .with_current_metadata_offset(self.metadata.applied_offset())
            .with_want_fence(want_fence)
            .with_want_shut_down(want_shut_down)
            .with_offline_log_dirs(self.replicas.offline_dirs());
        let client_id = self.node_id.to_string();
        let version = BROKER_HEARTBEAT_VERSION;
        let answer = send(&*self.channel, Origin::Broker, version, &client_id, &request).await;
        if let Ok((response, _)) = &answer {
            let is_stale = response.error_code == ErrorCode::STALE_BROKER_EPOCH.code();
            if response.error_code == 0 {
                *self.heard_at.lock() = Instant::now();
            } else if is_stale
                && !want_shut_down
                && is_superseded(&self.metadata.image(), self.node_id, epoch)
            {
                self.register_again().await;
            }
        }
        answer
    }

    /// Asks once for a new epoch; the next heartbeat tells whether that was enough. A live process that has the broker id
    /// keeps it: the controller refuses.
    async fn register_again(&self) {
        let request = self.registration.clone().with_log_dirs(online_dirs(&self.replicas));
        let (id, version) = (self.node_id, BROKER_REGISTRATION_VERSION);
        match send(&*self.channel, Origin::Broker, version, &id.to_string(), &request).await {
            Ok((response, _)) if response.error_code == 0 => {
                // Two may be on their way.
                self.epoch.fetch_max(response.broker_epoch, Ordering::AcqRel);
                tracing::warn!(
                    epoch = response.broker_epoch,
                    "broker {id} was replaced, and is registered again"
                );
            }
            Ok((response, _)) => {
                let error = ErrorCode(response.error_code).name();
                tracing::warn!("broker {id} was replaced, and is not registered again: {error}");
            }
            Err(e) => tracing::debug!("broker registration is tried again: {e}"),
        }
    }
}

/// Whether another registration followed the one of `epoch`. One that was taken away (UnregisterBroker) does not count:
/// that was meant.
pub(crate) fn is_superseded(image: &MetadataImage, node_id: i32, epoch: i64) -> bool {
    image.cluster.broker(node_id).is_some_and(|registered| registered.epoch > epoch)
}

fn is_live(image: &MetadataImage, node_id: i32) -> bool {
    image.cluster.broker(node_id).is_some_and(|broker| !broker.fenced)
}

fn registration(
    config: &BrokerConfig,
    replicas: &ReplicaManager,
    previous_epoch: i64,
) -> BrokerRegistrationRequest {
    let text = |s: &str| StrBytes::from_string(s.to_owned());
    let listeners = config
        .listeners
        .iter()
        .map(|listener| {
            Listener::default()
                .with_name(text(&listener.name))
                .with_host(text(&listener.advertised_host))
                .with_port(listener.advertised_port)
                .with_security_protocol(listener.security_protocol)
        })
        .collect();
    let supported = features::FEATURES
        .iter()
        .map(|feature| {
            Feature::default()
                .with_name(StrBytes::from_static_str(feature.name))
                .with_min_supported_version(feature.min)
                .with_max_supported_version(feature.max)
        })
        .collect();
    BrokerRegistrationRequest::default()
        .with_broker_id(BrokerId(config.node_id))
        .with_cluster_id(text(&config.cluster_id))
        .with_incarnation_id(config.incarnation_id)
        .with_listeners(listeners)
        .with_features(supported)
        .with_rack(config.rack.as_deref().map(text))
        .with_log_dirs(online_dirs(replicas))
        .with_previous_broker_epoch(previous_epoch)
}

fn online_dirs(replicas: &ReplicaManager) -> Vec<Uuid> {
    replicas.dirs().iter().filter(|dir| !dir.is_offline()).map(|dir| dir.id).collect()
}
