//! What every API handler of a broker shares.

use std::sync::Arc;

use arc_swap::ArcSwap;
use metadata::image::{MetadataImage, TopicImage};
use metadata::partition::PartitionRegistration;
use uuid::Uuid;

use crate::clock;
use crate::config::{BrokerConfig, BrokerSettings, SettingsSource};
use crate::controller_channel::ControllerChannel;
use crate::fetch::read::ReadResult;
use crate::fetch::session::FetchSessions;
use crate::group::GroupCoordinator;
use crate::heavy::Heavy;
use crate::lifecycle::Lifecycle;
use crate::metadata_cache::{LeaderHint, MetadataCache};
use crate::metrics::{Flow, Metrics, codes};
use crate::producer_ids::ProducerIds;
use crate::replica::manager::ReplicaManager;
use crate::throttle::Throttles;

/// The parts of a running broker.
pub(crate) struct Context {
    /// What the node was started with.
    pub(crate) config: BrokerConfig,
    /// The broker's settings of this moment: static ones overlaid by dynamic ones.
    pub(crate) settings: ArcSwap<BrokerSettings>,
    pub(crate) settings_source: Arc<SettingsSource>,
    /// The bounds of connections and of the memory of requests.
    pub(crate) bounds: Arc<net::Bounds>,
    /// Where requests that ask for much work take turns.
    pub(crate) heavy: Heavy,
    pub(crate) metadata: Arc<MetadataCache>,
    pub(crate) replicas: Arc<ReplicaManager>,
    pub(crate) sessions: FetchSessions,
    pub(crate) groups: Arc<GroupCoordinator>,
    pub(crate) controller: Arc<dyn ControllerChannel>,
    pub(crate) producer_ids: ProducerIds,
    pub(crate) lifecycle: Arc<Lifecycle>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) throttles: Throttles,
}

/// A node as answers name it.
pub(crate) struct NodeEndpoint {
    pub(crate) node_id: i32,
    pub(crate) host: String,
    pub(crate) port: i32,
    pub(crate) rack: Option<String>,
}

/// What an answer of Produce or Fetch says of others, and who counts what it says.
pub(crate) trait AnswerContext {
    /// The leader of a partition named by topic name or id.
    fn leader_of(&self, name: Option<&str>, id: Option<Uuid>, partition: i32) -> Option<LeaderHint>;
    /// The inter-broker addresses of nodes; duplicates and unknown nodes are left out.
    fn node_endpoints(&self, ids: &[i32]) -> Vec<NodeEndpoint>;
    /// An answer to Fetch names this partition.
    fn fetched(&self, result: &ReadResult);
}

impl AnswerContext for Context {
    fn leader_of(&self, name: Option<&str>, id: Option<Uuid>, partition: i32) -> Option<LeaderHint> {
        self.metadata.leader_of(name, id, partition)
    }

    fn node_endpoints(&self, ids: &[i32]) -> Vec<NodeEndpoint> {
        Context::node_endpoints(self, ids)
    }

    fn fetched(&self, result: &ReadResult) {
        if result.is_throttled && result.len() > 0 {
            self.throttles.leader.record(result.len(), clock::now_ms());
        }
        if !self.metrics.is_watched() {
            return;
        }
        codes::note(result.error);
        if result.len() > 0
            && let Ok(partition) = self.replicas.find(&result.key.0, result.key.1)
        {
            let flow = if result.to_follower { Flow::ReplicationBytesOut } else { Flow::BytesOut };
            partition.traffic.add(flow, result.len() as u64);
        }
    }
}

impl Context {
    /// The settings of this moment.
    pub(crate) fn settings(&self) -> Arc<BrokerSettings> {
        self.settings.load_full()
    }

    /// What a KRaft broker names as controller: any live broker, since all forward (KIP-590). This one, if live.
    pub(crate) fn any_live_broker(&self, image: &MetadataImage) -> i32 {
        let mine = image.cluster.broker(self.config.node_id).filter(|b| !b.fenced).map(|b| b.id);
        mine.or_else(|| MetadataCache::alive(image).map(|b| b.id).next()).unwrap_or(-1)
    }

    /// The replicas of a partition that are on fenced or unknown brokers, or in failed directories.
    pub(crate) fn offline_replicas(
        &self,
        image: &MetadataImage,
        _topic: &TopicImage,
        partition: &PartitionRegistration,
    ) -> Vec<i32> {
        let directories = partition.directories.iter().map(Some).chain(std::iter::repeat(None));
        let offline = |(id, directory): (&i32, Option<&Uuid>)| match image.cluster.broker(*id) {
            Some(broker) => {
                broker.fenced || directory.is_some_and(|directory| !broker.has_online_directory(*directory))
            }
            None => true,
        };
        partition.replicas.iter().zip(directories).filter(|pair| offline(*pair)).map(|(id, _)| *id).collect()
    }

    /// The inter-broker addresses of nodes, for hints in answers; duplicates and unknown nodes are left out.
    pub(crate) fn node_endpoints(&self, ids: &[i32]) -> Vec<NodeEndpoint> {
        let image = self.metadata.image();
        let mut ids = ids.to_vec();
        ids.sort_unstable();
        ids.dedup();
        ids.iter()
            .filter_map(|id| {
                let broker = image.cluster.broker(*id)?;
                let endpoint = broker.listener(&self.config.inter_broker_listener)?;
                Some(NodeEndpoint {
                    node_id: *id,
                    host: endpoint.host.clone(),
                    port: i32::from(endpoint.port),
                    rack: broker.rack.clone(),
                })
            })
            .collect()
    }
}
