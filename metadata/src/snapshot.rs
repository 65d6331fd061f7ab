//! Image -> the records of a snapshot, in Kafka's order.

use protocol::records::{
    BrokerEndpoint, BrokerFeature, ClientQuotaRecord, ConfigRecord, FeatureLevelRecord, ProducerIdsRecord,
    QuotaEntity, Record, RegisterBrokerRecord, TopicRecord, ZkMigrationStateRecord,
};

use crate::image::{BrokerRegistration, MetadataImage};
use protocol::features::{METADATA_VERSION, MetadataVersion};

/// The records from which `image` can be loaded again, but for its provenance.
///
/// What the finalized `metadata.version` cannot hold is left out, as Kafka does.
pub fn records(image: &MetadataImage) -> Vec<Record> {
    let version = image.features.metadata_version();
    let mut out = Vec::new();
    features(image, &mut out);
    out.extend(
        image.cluster.brokers.values().map(|broker| Record::RegisterBroker(register_broker(broker, version))),
    );
    if version.is_controller_registration_supported() {
        let controllers = image.cluster.controllers.values();
        out.extend(controllers.map(|controller| Record::RegisterController(controller.as_ref().clone())));
    }
    topics(image, version, &mut out);
    configs(image, &mut out);
    quotas(image, &mut out);
    if image.next_producer_id > 0 {
        let next_producer_id = image.next_producer_id;
        out.push(Record::ProducerIds(ProducerIdsRecord {
            broker_id: -1,
            broker_epoch: -1,
            next_producer_id,
        }));
    }
    out.extend(image.acls.values().map(|entry| Record::AccessControlEntry(entry.as_ref().clone())));
    if version.is_scram_supported() {
        out.extend(image.scram.values().map(|entry| Record::UserScramCredential(entry.as_ref().clone())));
    }
    if version.is_delegation_token_supported() {
        out.extend(image.tokens.values().map(|token| Record::DelegationToken(token.as_ref().clone())));
    }
    out
}

fn features(image: &MetadataImage, out: &mut Vec<Record>) {
    let level = |name: &str, feature_level: i16| {
        Record::FeatureLevel(FeatureLevelRecord { name: name.to_owned(), feature_level })
    };
    // First, since it says how to read the others.
    out.extend(image.features.finalized_metadata_version.map(|version| level(METADATA_VERSION, version.0)));
    out.extend(image.features.levels.iter().map(|(name, value)| level(name, *value)));
    if let Some(zk_migration_state) = image.features.zk_migration_state {
        out.push(Record::ZkMigrationState(ZkMigrationStateRecord { zk_migration_state }));
    }
}

fn topics(image: &MetadataImage, version: MetadataVersion, out: &mut Vec<Record>) {
    let partition_version = partition_record_version(version);
    for topic in image.topics.iter() {
        out.push(Record::Topic(TopicRecord { name: topic.name.to_string(), topic_id: topic.id }));
        out.extend(
            topic.partitions.iter().map(|(id, partition)| {
                Record::Partition(partition.to_record(topic.id, *id, partition_version))
            }),
        );
    }
}

fn configs(image: &MetadataImage, out: &mut Vec<Record>) {
    for (resource, keys) in &image.configs.resources {
        out.extend(keys.iter().map(|(name, value)| {
            Record::Config(ConfigRecord {
                resource_type: resource.kind,
                resource_name: resource.name.clone(),
                name: name.clone(),
                value: Some(value.clone()),
            })
        }));
    }
}

fn quotas(image: &MetadataImage, out: &mut Vec<Record>) {
    for (entity, values) in &image.quotas {
        let parts = entity.parts().iter().map(|(entity_type, entity_name)| QuotaEntity {
            entity_type: entity_type.clone(),
            entity_name: entity_name.clone(),
        });
        let entity: Vec<_> = parts.collect();
        out.extend(values.iter().map(|(key, value)| {
            let entity = entity.clone();
            Record::ClientQuota(ClientQuotaRecord { entity, key: key.clone(), value: *value, remove: false })
        }));
    }
}

/// The version of `PartitionRecord` that `version` allows.
pub fn partition_record_version(version: MetadataVersion) -> i16 {
    if version.is_elr_supported() { 2 } else { i16::from(version.is_directory_assignment_supported()) }
}

/// The record that registers `broker`; what `version` cannot hold is left out.
pub fn register_broker(broker: &BrokerRegistration, version: MetadataVersion) -> RegisterBrokerRecord {
    let end_points = broker.listeners.iter().map(|listener| BrokerEndpoint {
        name: listener.name.clone(),
        host: listener.host.clone(),
        port: listener.port,
        security_protocol: listener.security_protocol,
    });
    let features = broker.features.iter().map(|feature| BrokerFeature {
        name: feature.name.clone(),
        min_supported_version: feature.min,
        max_supported_version: feature.max,
    });
    RegisterBrokerRecord {
        broker_id: broker.id,
        is_migrating_zk_broker: broker.is_migrating_zk_broker && version.0 >= 8,
        incarnation_id: broker.incarnation_id,
        broker_epoch: broker.epoch,
        end_points: end_points.collect(),
        features: features.collect(),
        rack: broker.rack.clone(),
        fenced: broker.fenced,
        in_controlled_shutdown: broker.in_controlled_shutdown
            && version.is_in_controlled_shutdown_supported(),
        log_dirs: if version.is_directory_assignment_supported() {
            broker.directories.clone()
        } else {
            Vec::new()
        },
    }
}
