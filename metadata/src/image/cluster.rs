//! Registered brokers and controllers.

use std::sync::Arc;

use imbl::OrdMap;
use protocol::records::RegisterControllerRecord;
use uuid::Uuid;

use crate::directory;

/// One listener of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Listener name, upper case.
    pub name: String,
    /// Advertised host.
    pub host: String,
    /// Advertised port.
    pub port: u16,
    /// PLAINTEXT 0, SSL 1, SASL_PLAINTEXT 2, SASL_SSL 3.
    pub security_protocol: i16,
}

/// A feature with the levels that a node supports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeatureRange {
    /// Feature name.
    pub name: String,
    /// Lowest supported level.
    pub min: i16,
    /// Highest supported level.
    pub max: i16,
}

/// One broker as registered (Kafka's `BrokerRegistration`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerRegistration {
    /// Broker id.
    pub id: i32,
    /// Offset of the record that registered it (KRaft), or czxid of its znode.
    pub epoch: i64,
    /// Random id of the broker's process.
    pub incarnation_id: Uuid,
    /// Listeners, in the order registered.
    pub listeners: Vec<Endpoint>,
    /// Supported feature levels, sorted by name.
    pub features: Vec<FeatureRange>,
    /// Rack, if configured.
    pub rack: Option<String>,
    /// A fenced broker leads nothing and is in no ISR.
    pub fenced: bool,
    /// It is moving its leaderships away.
    pub in_controlled_shutdown: bool,
    /// It runs in ZooKeeper mode during a migration.
    pub is_migrating_zk_broker: bool,
    /// Ids of its online log directories, sorted; empty if it registered none.
    pub directories: Vec<Uuid>,
}

impl BrokerRegistration {
    /// True if the broker may lead and join an ISR.
    pub fn is_active(&self) -> bool {
        !self.fenced && !self.in_controlled_shutdown
    }

    /// The listener of that name.
    pub fn listener(&self, name: &str) -> Option<&Endpoint> {
        self.listeners.iter().find(|listener| listener.name == name)
    }

    /// True if a replica in `directory` can be served by this broker.
    pub fn has_online_directory(&self, directory: Uuid) -> bool {
        directory::is_online(directory, &self.directories)
    }

    /// The directory of a new replica: the only one, or for the broker to choose, or unknown if it named none.
    pub fn default_directory(&self) -> Uuid {
        match self.directories.as_slice() {
            [] => directory::MIGRATING,
            [only] => *only,
            _ => directory::UNASSIGNED,
        }
    }
}

/// Brokers and controllers by id.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClusterImage {
    /// Registered brokers, fenced ones included.
    pub brokers: OrdMap<i32, Arc<BrokerRegistration>>,
    /// Registered controllers (KIP-919), their features sorted by name.
    pub controllers: OrdMap<i32, Arc<RegisterControllerRecord>>,
}

impl ClusterImage {
    /// The broker with that id, fenced or not.
    pub fn broker(&self, id: i32) -> Option<&BrokerRegistration> {
        self.brokers.get(&id).map(AsRef::as_ref)
    }

    /// True if the broker is registered, unfenced and not shutting down.
    pub fn is_active(&self, id: i32) -> bool {
        self.broker(id).is_some_and(BrokerRegistration::is_active)
    }
}
