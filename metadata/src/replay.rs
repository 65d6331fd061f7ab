//! Record -> delta: the one place that says what each metadata record means.

use std::sync::Arc;

use protocol::StrBytes;
use protocol::records::{
    BrokerRegistrationChangeRecord, ClearElrRecord, ClientQuotaRecord, FeatureLevelRecord,
    PartitionChangeRecord, PartitionRecord, Record, RegisterBrokerRecord, RemoveTopicRecord, TopicRecord,
};
use uuid::Uuid;

use crate::delta::{DeletedTopic, MetadataDelta};
use crate::image::{BrokerRegistration, ConfigResource, Endpoint, FeatureRange, QuotaEntity, TopicImage};
use crate::partition::{PartitionError, PartitionRegistration};
use protocol::features::{KRAFT_VERSION, METADATA_VERSION, MetadataVersion};

/// A record that contradicts the image it is replayed on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// A topic has that name or id already.
    #[error("topic {0} with the id {1} exists")]
    DuplicateTopic(String, Uuid),
    /// No topic has that id.
    #[error("no topic has the id {0}")]
    UnknownTopic(Uuid),
    /// The topic has no such partition.
    #[error("topic {0} has no partition {1}")]
    UnknownPartition(Uuid, i32),
    /// The broker is not registered.
    #[error("broker {0} is not registered")]
    UnknownBroker(i32),
    /// The record is about another registration of the broker.
    #[error("broker {id} is registered with epoch {registered}, the record is about {given}")]
    BrokerEpoch {
        /// Broker id.
        id: i32,
        /// Epoch in the image.
        registered: i64,
        /// Epoch in the record.
        given: i64,
    },
    /// A field of a broker change has a value that Kafka does not define.
    #[error("broker {0}: unknown change value {1}")]
    UnknownChange(i32, i8),
    /// The record makes no partition.
    #[error("partition {1} of topic {0}: {2}")]
    Partition(Uuid, i32, PartitionError),
    /// Something that is to be removed is not there.
    #[error("nothing to remove: {0}")]
    NothingToRemove(String),
}

impl MetadataDelta {
    /// Applies one record.
    ///
    /// Transaction records change nothing here: [`crate::loader::Loader`] knows what they mean.
    ///
    /// # Errors
    /// A record that contradicts the image; the delta is then as before.
    #[deny(clippy::wildcard_enum_match_arm)]
    pub fn replay(&mut self, record: &Record) -> Result<(), ReplayError> {
        match record {
            Record::RegisterBroker(record) => self.register_broker(record),
            Record::UnregisterBroker(record) => {
                self.checked_broker(record.broker_id, record.broker_epoch)?;
                self.after.cluster.brokers.remove(&record.broker_id);
                self.changes.brokers.insert(record.broker_id);
            }
            Record::Topic(record) => self.create_topic(record)?,
            Record::Partition(record) => self.put_partition(record)?,
            Record::Config(record) => {
                let resource =
                    ConfigResource { kind: record.resource_type, name: record.resource_name.clone() };
                self.after.configs.set(&resource, &record.name, record.value.as_deref());
                self.changes.configs.insert(resource);
            }
            Record::PartitionChange(record) => self.change_partition(record)?,
            Record::FenceBroker(record) => {
                self.change_broker(record.id, record.epoch, |broker| broker.fenced = true)?
            }
            Record::UnfenceBroker(record) => {
                self.change_broker(record.id, record.epoch, |broker| broker.fenced = false)?
            }
            Record::RemoveTopic(record) => self.remove_topic(record)?,
            Record::DelegationToken(record) => {
                self.after.tokens.insert(record.token_id.clone(), Arc::new(record.clone()));
                self.changes.tokens = true;
            }
            Record::UserScramCredential(record) => {
                let key = (record.mechanism, record.name.clone());
                self.after.scram.insert(key, Arc::new(record.clone()));
                self.changes.scram = true;
            }
            Record::FeatureLevel(record) => self.set_feature(record),
            Record::ClientQuota(record) => self.set_quota(record),
            Record::ProducerIds(record) => {
                self.after.next_producer_id = record.next_producer_id;
                self.changes.producer_ids = true;
            }
            Record::BrokerRegistrationChange(record) => self.change_registration(record)?,
            Record::AccessControlEntry(record) => {
                self.after.acls.insert(record.id, Arc::new(record.clone()));
                self.changes.acls = true;
            }
            Record::RemoveAccessControlEntry(record) => {
                let removed = self.after.acls.remove(&record.id);
                removed.ok_or_else(|| ReplayError::NothingToRemove(format!("ACL {}", record.id)))?;
                self.changes.acls = true;
            }
            Record::NoOp(_) => {}
            Record::ZkMigrationState(record) => {
                self.after.features.zk_migration_state = Some(record.zk_migration_state);
                self.changes.features = true;
            }
            Record::RemoveUserScramCredential(record) => {
                let removed = self.after.scram.remove(&(record.mechanism, record.name.clone()));
                removed.ok_or_else(|| ReplayError::NothingToRemove(format!("SCRAM of {}", record.name)))?;
                self.changes.scram = true;
            }
            Record::BeginTransaction(_) | Record::EndTransaction(_) | Record::AbortTransaction(_) => {}
            Record::RemoveDelegationToken(record) => {
                let removed = self.after.tokens.remove(&record.token_id);
                removed.ok_or_else(|| ReplayError::NothingToRemove(format!("token {}", record.token_id)))?;
                self.changes.tokens = true;
            }
            Record::RegisterController(record) => {
                let mut controller = record.clone();
                controller.features.sort_by(|a, b| a.name.cmp(&b.name));
                self.after.cluster.controllers.insert(record.controller_id, Arc::new(controller));
                self.changes.controllers.insert(record.controller_id);
            }
            Record::ClearElr(record) => self.clear_elr(record)?,
        }
        Ok(())
    }

    fn register_broker(&mut self, record: &RegisterBrokerRecord) {
        let listeners = record.end_points.iter().map(|end| Endpoint {
            name: end.name.clone(),
            host: end.host.clone(),
            port: end.port,
            security_protocol: end.security_protocol,
        });
        let features = record.features.iter().map(|feature| FeatureRange {
            name: feature.name.clone(),
            min: feature.min_supported_version,
            max: feature.max_supported_version,
        });
        // Kafka keeps features in a map without order: sorted, equal registrations are equal.
        let mut features: Vec<_> = features.collect();
        features.sort_by(|a, b| a.name.cmp(&b.name));
        let mut directories = record.log_dirs.clone();
        directories.sort();
        let registration = BrokerRegistration {
            id: record.broker_id,
            epoch: record.broker_epoch,
            incarnation_id: record.incarnation_id,
            listeners: listeners.collect(),
            features,
            rack: record.rack.clone(),
            fenced: record.fenced,
            in_controlled_shutdown: record.in_controlled_shutdown,
            is_migrating_zk_broker: record.is_migrating_zk_broker,
            directories,
        };
        self.after.cluster.brokers.insert(record.broker_id, Arc::new(registration));
        self.changes.brokers.insert(record.broker_id);
    }

    fn checked_broker(&self, id: i32, epoch: i64) -> Result<&BrokerRegistration, ReplayError> {
        let broker = self.after.cluster.broker(id).ok_or(ReplayError::UnknownBroker(id))?;
        if broker.epoch != epoch {
            return Err(ReplayError::BrokerEpoch { id, registered: broker.epoch, given: epoch });
        }
        Ok(broker)
    }

    fn change_broker(
        &mut self,
        id: i32,
        epoch: i64,
        change: impl FnOnce(&mut BrokerRegistration),
    ) -> Result<(), ReplayError> {
        let mut broker = self.checked_broker(id, epoch)?.clone();
        change(&mut broker);
        self.after.cluster.brokers.insert(id, Arc::new(broker));
        self.changes.brokers.insert(id);
        Ok(())
    }

    fn change_registration(&mut self, record: &BrokerRegistrationChangeRecord) -> Result<(), ReplayError> {
        let id = record.broker_id;
        let fenced = match record.fenced {
            0 => None,
            1 => Some(true),
            -1 => Some(false),
            other => return Err(ReplayError::UnknownChange(id, other)),
        };
        let entering = match record.in_controlled_shutdown {
            0 => false,
            1 => true,
            other => return Err(ReplayError::UnknownChange(id, other)),
        };
        self.change_broker(id, record.broker_epoch, |broker| {
            broker.fenced = fenced.unwrap_or(broker.fenced);
            broker.in_controlled_shutdown |= entering;
            if !record.log_dirs.is_empty() {
                broker.directories.clone_from(&record.log_dirs);
                broker.directories.sort();
            }
        })
    }

    fn create_topic(&mut self, record: &TopicRecord) -> Result<(), ReplayError> {
        let topics = &self.after.topics;
        if topics.by_name(&record.name).is_some() || topics.by_id(record.topic_id).is_some() {
            return Err(ReplayError::DuplicateTopic(record.name.clone(), record.topic_id));
        }
        let name = StrBytes::from_string(record.name.clone());
        self.after.topics.put(TopicImage { name, id: record.topic_id, partitions: imbl::OrdMap::new() });
        self.changes.topics_created.insert(record.topic_id);
        Ok(())
    }

    fn remove_topic(&mut self, record: &RemoveTopicRecord) -> Result<(), ReplayError> {
        let id = record.topic_id;
        let topic = self.after.topics.remove(id).ok_or(ReplayError::UnknownTopic(id))?;
        let resource = ConfigResource::topic(topic.name.as_str());
        if self.after.configs.resources.remove(&resource).is_some() {
            self.changes.configs.insert(resource);
        }
        self.changes.partitions.remove(&id);
        self.changes.topics_created.remove(&id);
        // A topic that this delta also created never was, for those who apply it.
        if let Some(old) = self.before().topics.by_id(id).cloned() {
            self.changes.topics_deleted.insert(id, DeletedTopic(old));
        }
        Ok(())
    }

    fn put_partition(&mut self, record: &PartitionRecord) -> Result<(), ReplayError> {
        let (topic, id) = (record.topic_id, record.partition_id);
        let state = PartitionRegistration::from_record(record)
            .map_err(|error| ReplayError::Partition(topic, id, error))?;
        self.set_partition(topic, id, state)
    }

    fn change_partition(&mut self, record: &PartitionChangeRecord) -> Result<(), ReplayError> {
        let (topic, id) = (record.topic_id, record.partition_id);
        let image = self.after.topics.by_id(topic).ok_or(ReplayError::UnknownTopic(topic))?;
        let old = image.partition(id).ok_or(ReplayError::UnknownPartition(topic, id))?;
        let state = old.merge(record).map_err(|error| ReplayError::Partition(topic, id, error))?;
        self.set_partition(topic, id, state)
    }

    fn set_partition(
        &mut self,
        topic: Uuid,
        id: i32,
        state: PartitionRegistration,
    ) -> Result<(), ReplayError> {
        let image = self.after.topics.by_id(topic).ok_or(ReplayError::UnknownTopic(topic))?;
        let mut image = TopicImage::clone(image);
        image.partitions.insert(id, Arc::new(state));
        self.after.topics.put(image);
        self.changes.partitions.entry(topic).or_default().insert(id);
        Ok(())
    }

    fn clear_elr(&mut self, record: &ClearElrRecord) -> Result<(), ReplayError> {
        let topics: Vec<_> = match record.topic_name.as_str() {
            "" => self.after.topics.iter().cloned().collect(),
            name => self.after.topics.by_name(name).cloned().into_iter().collect(),
        };
        for topic in topics {
            for (id, partition) in &topic.partitions {
                if partition.elr.is_empty() && partition.last_known_elr.is_empty() {
                    continue;
                }
                let change = PartitionChangeRecord {
                    partition_id: *id,
                    topic_id: topic.id,
                    eligible_leader_replicas: Some(Vec::new()),
                    last_known_elr: Some(Vec::new()),
                    ..PartitionChangeRecord::default()
                };
                self.change_partition(&change)?;
            }
        }
        Ok(())
    }

    fn set_feature(&mut self, record: &FeatureLevelRecord) {
        let features = &mut self.after.features;
        match record.name.as_str() {
            // Lives in control records; a stray one means nothing.
            KRAFT_VERSION => return,
            METADATA_VERSION => {
                features.finalized_metadata_version = Some(MetadataVersion(record.feature_level))
            }
            name if record.feature_level == 0 => drop(features.levels.remove(name)),
            name => drop(features.levels.insert(name.to_owned(), record.feature_level)),
        }
        self.changes.features = true;
    }

    fn set_quota(&mut self, record: &ClientQuotaRecord) {
        let parts = record.entity.iter().map(|part| (part.entity_type.clone(), part.entity_name.clone()));
        let entity = QuotaEntity::new(parts.collect());
        let mut values = self.after.quotas.get(&entity).cloned().unwrap_or_default();
        if record.remove {
            values.remove(&record.key);
        } else {
            values.insert(record.key.clone(), record.value);
        }
        if values.is_empty() {
            self.after.quotas.remove(&entity);
        } else {
            self.after.quotas.insert(entity, values);
        }
        self.changes.quotas = true;
    }
}
