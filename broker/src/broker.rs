//! The broker: what starts in which order, and stops in reverse.
//!
//!   bind listeners → open the logs → register → apply the metadata → be unfenced → serve
//!   leave the cluster → stop serving → flush and close the logs → leave the clean-shutdown marks

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use metadata::MetadataDelta;
use metadata::image::MetadataImage;
use net::tasks::Tasks;
use net::{BindError, Listener};
use storage::dirs::{DirError, LogDir};
use tokio::runtime::Handle;
use uuid::Uuid;

use crate::applier::{self, MetadataSource};
use crate::bounds;
use crate::cleaner;
use crate::config::{BrokerConfig, ListenerConfig, SettingsSource, group_config};
use crate::context::Context;
use crate::controller_channel::ControllerChannel;
use crate::dir_assignments;
use crate::fetch::session::FetchSessions;
use crate::follower;
use crate::group::GroupCoordinator;
use crate::group_log::GroupLog;
use crate::heavy::Heavy;
use crate::isr_proposals;
use crate::lifecycle::{Lifecycle, RegistrationError};
use crate::log_dir_moves;
use crate::maintenance;
use crate::metadata_cache::MetadataCache;
use crate::probe::{Probe, Stage};
use crate::producer_ids::ProducerIds;
use crate::replica::dir_state::DirState;
use crate::replica::load::load_logs;
use crate::replica::manager::{Inlets, ReplicaManager, channels};
use crate::replica::partition::Partition;
use crate::server::BrokerService;
use crate::throttle::Throttles;

/// How long a stopping broker waits for the controller to release it, and for its tasks to end.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// For so many bytes of the memory of requests there may be one partition in a fetch session: it takes a tenth.
const SESSION_PARTITION_SHARE: usize = 4096;
/// Partitions in fetch sessions on a small machine.
const MIN_SESSION_PARTITIONS: usize = 100_000;

/// Up to so many logs are synced one by one at a stop; a sync of the file system may have to wait for strangers.
const CLOSE_ONE_BY_ONE: usize = 16;

/// Why a broker does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listener's port cannot be had.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The controller did not take the broker.
    #[error(transparent)]
    Registration(#[from] RegistrationError),
    /// No log directory works.
    #[error("Shutdown broker because all log dirs have failed")]
    NoLogDir,
    /// The node is stopping already.
    #[error("the metadata ended before the broker was ready")]
    NoMetadata,
}

/// A log directory that the node has locked, with its `directory.id`.
pub struct LockedDir {
    /// The directory.
    pub dir: LogDir,
    /// `directory.id` of its meta.properties.
    pub id: Uuid,
}

/// The listeners of a broker, bound but not served yet.
pub struct BoundListeners {
    listeners: Vec<Listener>,
}

/// A running broker.
pub struct Broker {
    ctx: Arc<Context>,
    lifecycle: Arc<Lifecycle>,
    /// Connections and their listeners.
    serving: Tasks,
    /// The applier, heartbeats, maintenance.
    background: Tasks,
    probe: Arc<Probe>,
}

impl BoundListeners {
    /// Binds every listener and fills in the ports that were left to the system.
    pub async fn bind(config: &mut BrokerConfig) -> Result<Self, BindError> {
        let mut listeners = Vec::new();
        for listener in &mut config.listeners {
            let bound = Listener::bind(&listener.host, listener.port).await?;
            if listener.advertised_port == 0 {
                listener.advertised_port = bound.address().port();
            }
            listeners.push(bound);
        }
        Ok(Self { listeners })
    }
}

impl Broker {
    /// Starts a broker and returns once clients can use it.
    ///
    /// Heartbeats run on `control`, so that a stalled data disk does not cost the broker its session. `probe` follows
    /// the start.
    pub async fn start(
        config: BrokerConfig,
        bound: BoundListeners,
        dirs: Vec<LockedDir>,
        channel: Arc<dyn ControllerChannel>,
        mut metadata_source: Box<dyn MetadataSource>,
        control: &Handle,
        probe: Arc<Probe>,
    ) -> Result<Self, StartError> {
        probe.enter(Stage::LoadingLogs);
        let dirs: Vec<_> = dirs.into_iter().map(|d| DirState::new(d.dir, d.id)).collect();
        let settings_source = Arc::new(SettingsSource::new(&config));
        let default_log = settings_source.default_topic().log;
        let loaded = tokio::task::block_in_place(|| load_logs(&dirs, &default_log));
        if dirs.iter().all(DirState::is_offline) {
            return Err(StartError::NoLogDir);
        }
        let metadata = Arc::new(MetadataCache::new());
        let (outlets, inlets) = channels();
        let replicas = ReplicaManager::new(
            config.node_id,
            dirs,
            loaded.logs,
            loaded.futures,
            metadata.clone(),
            settings_source.clone(),
            outlets,
        );
        let replicas = Arc::new(replicas);
        let previous_epoch = loaded.previous_broker_epoch;
        let settings = settings_source.broker(&MetadataImage::empty());
        probe.enter(Stage::Registering);
        let (to_controller, cache, logs) = (channel.clone(), metadata.clone(), replicas.clone());
        let lifecycle =
            Lifecycle::register(&config, &settings, to_controller, cache, logs, previous_epoch).await?;
        let lifecycle = Arc::new(lifecycle);
        let ctx = Arc::new(context(config, settings_source, metadata, replicas, channel, &lifecycle, &probe));
        probe.attach(&ctx);
        catch_up(&ctx, &mut *metadata_source, lifecycle.registered_at()).await?;
        tokio::task::block_in_place(|| ctx.replicas.mark_strays());
        let background = Tasks::new();
        start_background(&ctx, &lifecycle, &background, metadata_source, inlets, control);
        probe.enter(Stage::Unfencing);
        lifecycle.unfence().await;
        let serving = Tasks::new();
        serve(&ctx, bound, &serving);
        probe.enter(Stage::Running);
        Ok(Self { ctx, lifecycle, serving, background, probe })
    }

    /// The listeners, with the ports in use.
    pub fn listeners(&self) -> &[ListenerConfig] {
        &self.ctx.config.listeners
    }

    /// Waits until the metadata up to `offset` is applied here.
    pub async fn wait_for_metadata(&self, offset: i64) {
        self.ctx.metadata.wait_for(offset).await;
    }

    /// Completes when no log directory works any more.
    pub async fn failed(&self) {
        let mut failures = self.ctx.replicas.dir_failures();
        // The sender lives as long as `self`.
        let _ = failures.wait_for(|_| self.ctx.replicas.dirs().iter().all(DirState::is_offline)).await;
    }

    /// Stops in order: after this the directories can be opened without recovery.
    pub async fn stop(self) {
        self.probe.enter(Stage::Stopping);
        // With others there, leaderships move to them while clients are still served. Alone, clients had better see
        // a closed connection than partitions without a leader.
        let image = self.ctx.metadata.image();
        let is_alone = MetadataCache::alive(&image).all(|broker| broker.id == self.ctx.config.node_id);
        if !is_alone {
            self.lifecycle.shut_down(STOP_GRACE).await;
        }
        let running = self.serving.stop(STOP_GRACE).await;
        if running > 0 {
            tracing::warn!("{running} connections did not end in time");
        }
        if is_alone {
            self.lifecycle.shut_down(STOP_GRACE).await;
        }
        self.background.stop(STOP_GRACE).await;
        let epoch = self.lifecycle.epoch();
        tokio::task::block_in_place(|| close_logs(&self.ctx.replicas, epoch));
    }
}

fn context(
    config: BrokerConfig,
    settings_source: Arc<SettingsSource>,
    metadata: Arc<MetadataCache>,
    replicas: Arc<ReplicaManager>,
    controller: Arc<dyn ControllerChannel>,
    lifecycle: &Arc<Lifecycle>,
    probe: &Probe,
) -> Context {
    let settings = settings_source.broker(&MetadataImage::empty());
    let bounds = settings_source.with_layers(&MetadataImage::empty(), |layers| {
        let (names, exempt) = (config.listener_names(), Some(&*config.inter_broker_listener));
        bounds::bounds(layers, &names, exempt, config.capacity, config.memory.clone())
    });
    let log = Arc::new(GroupLog { replicas: replicas.clone() });
    let groups = GroupCoordinator::new(group_config(&settings), log, metadata.clone());
    Context {
        sessions: FetchSessions::new(
            usize::try_from(settings.max_incremental_fetch_session_cache_slots).unwrap_or(0),
            (config.memory.limit() / SESSION_PARTITION_SHARE).max(MIN_SESSION_PARTITIONS),
        ),
        throttles: Throttles::new(&settings),
        settings: ArcSwap::from_pointee(settings),
        heavy: Heavy::new(bounds.memory.clone()),
        bounds,
        producer_ids: ProducerIds::default(),
        lifecycle: lifecycle.clone(),
        metrics: probe.metrics().clone(),
        config,
        settings_source,
        metadata,
        replicas,
        groups,
        controller,
    }
}

/// Applies the metadata up to the broker's own registration, as one change. What was true in between may contradict the
/// logs that are here: a replica that once led in an epoch before the last one of its log would forget those after it.
async fn catch_up(
    ctx: &Arc<Context>,
    source: &mut dyn MetadataSource,
    offset: i64,
) -> Result<(), StartError> {
    let mut change: Option<Arc<MetadataDelta>> = None;
    while change.as_ref().map_or(-1, |change| change.after().provenance.last_offset) < offset {
        let delta = source.next().await.ok_or(StartError::NoMetadata)?;
        change = Some(match change {
            None => delta,
            Some(first) => Arc::new(MetadataDelta::between(first.before().clone(), delta.after().clone())),
        });
    }
    if let Some(change) = change {
        tokio::task::block_in_place(|| applier::apply(ctx, &change));
    }
    Ok(())
}

fn start_background(
    ctx: &Arc<Context>,
    lifecycle: &Arc<Lifecycle>,
    background: &Tasks,
    mut source: Box<dyn MetadataSource>,
    inlets: Inlets,
    control: &Handle,
) {
    let cancelled = background.cancelled();
    let applier_ctx = ctx.clone();
    background.spawn(async move {
        loop {
            let delta = tokio::select! {
                () = cancelled.cancelled() => return,
                delta = source.next() => delta,
            };
            let Some(delta) = delta else { return };
            tokio::task::block_in_place(|| applier::apply(&applier_ctx, &delta));
        }
    });
    let cancelled = background.cancelled();
    background.spawn(maintenance::run(ctx.clone(), inlets.flushes, inlets.removed, cancelled));
    background.spawn(dir_assignments::run(ctx.clone(), inlets.assignments, background.cancelled()));
    background.spawn(log_dir_moves::run(ctx.clone(), inlets.moves, background.cancelled()));
    background.spawn(isr_proposals::run(ctx.clone(), inlets.isr_proposals, background.cancelled()));
    background.spawn(follower::run(ctx.clone(), inlets.follow_orders, background.clone()));
    background.spawn(isr_proposals::watch_lag(ctx.clone(), background.cancelled()));
    background.spawn(cleaner::run(ctx.clone(), background.cancelled()));
    background.spawn(maintenance::flush_by_time(ctx.clone(), background.cancelled()));
    let (lifecycle, cancelled) = (lifecycle.clone(), background.cancelled());
    background.spawn_on(async move { lifecycle.keep_alive(cancelled).await }, control);
    background.spawn(ctx.groups.clone().run(background.cancelled()));
}

/// Serves the bound listeners.
fn serve(ctx: &Arc<Context>, bound: BoundListeners, serving: &Tasks) {
    let service = Arc::new(BrokerService { ctx: ctx.clone() });
    for (listener, config) in bound.listeners.into_iter().zip(&ctx.config.listeners) {
        let name: Arc<str> = config.name.as_str().into();
        serving.spawn(listener.serve(name, service.clone(), ctx.bounds.clone(), serving.clone()));
    }
}

/// Flushes and closes every log, then says so in every directory that works.
fn close_logs(replicas: &ReplicaManager, broker_epoch: i64) {
    let partitions = replicas.all();
    // Whoever is still being served must not append behind what is flushed here.
    partitions.iter().for_each(|partition| partition.resign());
    for (at, dir) in replicas.dirs().iter().enumerate() {
        let here: Vec<_> = partitions.iter().filter(|p| p.log_dir() == at && !p.is_offline()).collect();
        if let Err(error) = close_dir(&dir.dir, &here) {
            replicas.dir_failed(at, &error);
        }
    }
    replicas.write_checkpoints();
    for (at, dir) in replicas.dirs().iter().enumerate().filter(|(_, dir)| !dir.is_offline()) {
        if let Err(error) = dir.dir.write_clean_shutdown(broker_epoch) {
            replicas.dir_failed(at, &error);
        }
    }
}

/// Syncs few logs one by one, many with a single call for their file system.
fn close_dir(dir: &LogDir, partitions: &[&Arc<Partition>]) -> Result<(), DirError> {
    let unsynced = |p: &&Arc<Partition>| {
        let state = p.lock();
        state.log.recovery_point() < state.log.log_end_offset()
    };
    if partitions.iter().copied().filter(unsynced).count() <= CLOSE_ONE_BY_ONE {
        return partitions.iter().try_for_each(|p| Ok(p.lock().log.close()?));
    }
    partitions.iter().try_for_each(|p| p.lock().log.seal())?;
    dir.sync_filesystem()?;
    partitions.iter().for_each(|p| p.lock().log.set_flushed());
    Ok(())
}
