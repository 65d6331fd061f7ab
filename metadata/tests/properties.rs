//! Properties of any sequence of records: a snapshot loads to the same image, and a delta names all that changed.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use minikafka_metadata::{MetadataDelta, MetadataImage, snapshot};
use proptest::prelude::*;
use protocol::records::*;
use uuid::Uuid;

fn topic_id(topic: u64) -> Uuid {
    Uuid::from_u64_pair(7, topic)
}

fn broker(id: i32, epoch: i64, fenced: bool) -> Record {
    Record::RegisterBroker(RegisterBrokerRecord {
        broker_id: id,
        broker_epoch: epoch,
        incarnation_id: Uuid::from_u64_pair(9, epoch as u64),
        end_points: vec![BrokerEndpoint {
            name: "PLAINTEXT".to_owned(),
            host: format!("broker-{id}"),
            port: 9092,
            security_protocol: 0,
        }],
        features: vec![BrokerFeature {
            name: "metadata.version".to_owned(),
            min_supported_version: 7,
            max_supported_version: 27,
        }],
        rack: (id % 2 == 0).then(|| "even".to_owned()),
        fenced,
        log_dirs: vec![Uuid::from_u64_pair(5, id as u64)],
        ..RegisterBrokerRecord::default()
    })
}

fn partition(topic: u64, partition_id: i32) -> Record {
    Record::Partition(PartitionRecord {
        partition_id,
        topic_id: topic_id(topic),
        replicas: vec![1, 2, 3],
        isr: vec![1, 2, 3],
        leader: 1,
        leader_epoch: 0,
        partition_epoch: 0,
        directories: (1..=3).map(|id| Uuid::from_u64_pair(5, id)).collect(),
        ..PartitionRecord::default()
    })
}

fn records() -> impl Strategy<Value = Vec<Record>> {
    let ids = proptest::collection::vec(1..4i32, 0..3);
    let record = prop_oneof![
        (1..4i32, 0..50i64, any::<bool>()).prop_map(|(id, epoch, fenced)| broker(id, epoch, fenced)),
        (1..4i32, 0..50i64).prop_map(|(broker_id, broker_epoch)| UnregisterBrokerRecord {
            broker_id,
            broker_epoch
        }
        .into()),
        (0..6u64).prop_map(|t| TopicRecord { name: format!("topic-{t}"), topic_id: topic_id(t) }.into()),
        (0..6u64, 0..3i32).prop_map(|(topic, id)| partition(topic, id)),
        (0..6u64, 0..3i32, ids, -2..4i32, -1..2i8).prop_map(|(topic, partition_id, list, leader, state)| {
            PartitionChangeRecord {
                partition_id,
                topic_id: topic_id(topic),
                isr: (leader > 1).then(|| list.clone()),
                eligible_leader_replicas: (leader == 1).then(|| list.clone()),
                last_known_elr: (leader == 0).then_some(list),
                leader,
                leader_recovery_state: state,
                ..PartitionChangeRecord::default()
            }
            .into()
        }),
        (0..6u64).prop_map(|topic| RemoveTopicRecord { topic_id: topic_id(topic) }.into()),
        ("topic-[0-5]", "[ab]", proptest::option::of("[xy]")).prop_map(|(resource_name, name, value)| {
            ConfigRecord { resource_type: 2, resource_name, name, value }.into()
        }),
        (0..3i16).prop_map(|feature_level| {
            FeatureLevelRecord { name: "group.version".to_owned(), feature_level }.into()
        }),
        (0..5i64).prop_map(|next| {
            ProducerIdsRecord { next_producer_id: next * 1000, ..Default::default() }.into()
        }),
        ("[uv]", proptest::option::of("[nm]"), "[kl]", any::<bool>()).prop_map(
            |(kind, name, key, remove)| {
                let entity = vec![QuotaEntity { entity_type: kind, entity_name: name }];
                ClientQuotaRecord { entity, key, value: 1.5, remove }.into()
            }
        ),
        (0..4u64).prop_map(|id| {
            AccessControlEntryRecord { id: Uuid::from_u64_pair(3, id), ..Default::default() }.into()
        }),
        (0..4u64).prop_map(|id| RemoveAccessControlEntryRecord { id: Uuid::from_u64_pair(3, id) }.into()),
        ("[uv]", 1..3i8).prop_map(|(name, mechanism)| {
            UserScramCredentialRecord { name, mechanism, iterations: 4096, ..Default::default() }.into()
        }),
        ("[uv]", 1..3i8)
            .prop_map(|(name, mechanism)| RemoveUserScramCredentialRecord { name, mechanism }.into()),
        (1..4i32, 0..50i64, -1..2i8).prop_map(|(broker_id, broker_epoch, fenced)| {
            BrokerRegistrationChangeRecord { broker_id, broker_epoch, fenced, ..Default::default() }.into()
        }),
        "topic-[0-5]".prop_map(|topic_name| ClearElrRecord { topic_name }.into()),
    ];
    proptest::collection::vec(record, 0..80).prop_map(with_fresh_ids)
}

/// Gives each new topic an id of its own, as a controller does, and its later records the same.
fn with_fresh_ids(mut records: Vec<Record>) -> Vec<Record> {
    let mut ids = std::collections::HashMap::new();
    for (i, record) in records.iter_mut().enumerate() {
        if let Record::Topic(record) = record {
            ids.insert(record.topic_id, Uuid::from_u64_pair(8, i as u64));
        }
        let id = match record {
            Record::Topic(record) => &mut record.topic_id,
            Record::Partition(record) => &mut record.topic_id,
            Record::PartitionChange(record) => &mut record.topic_id,
            Record::RemoveTopic(record) => &mut record.topic_id,
            _ => continue,
        };
        *id = ids.get(id).copied().unwrap_or(*id);
    }
    records
}

fn start() -> MetadataImage {
    let mut delta = MetadataDelta::new(MetadataImage::empty());
    let name = "metadata.version".to_owned();
    delta.replay(&Record::FeatureLevel(FeatureLevelRecord { name, feature_level: 27 })).unwrap();
    delta.after().clone()
}

proptest! {
    #[test]
    fn snapshot_and_back(records in records(), split in 0..80usize) {
        let mut first = MetadataDelta::new(start());
        // Records that contradict the image are refused and change nothing.
        let (early, late) = records.split_at(split.min(records.len()));
        early.iter().for_each(|record| drop(first.replay(record)));
        let before = first.after().clone();
        let mut delta = MetadataDelta::new(before.clone());
        for record in late {
            let unchanged = delta.after().clone();
            if delta.replay(record).is_err() {
                prop_assert_eq!(delta.after(), &unchanged);
            }
        }
        let after = delta.after().clone();

        let mut loaded = MetadataDelta::new(MetadataImage::empty());
        for record in snapshot::records(&after) {
            let version = record.version_for(27);
            let mut bytes = bytes::BytesMut::new();
            record.encode(version, &mut bytes).unwrap();
            loaded.replay(&Record::decode(&bytes).unwrap().0).unwrap();
        }
        prop_assert!(loaded.after().same_metadata(&after));

        let really = MetadataDelta::between(before, after.clone()).changes;
        let named = &delta.changes;
        prop_assert!(really.topics_created.is_subset(&named.topics_created));
        prop_assert_eq!(really.topics_deleted.keys().collect::<Vec<_>>(), named.topics_deleted.keys().collect::<Vec<_>>());
        prop_assert!(really.configs.is_subset(&named.configs));
        prop_assert!(really.brokers.is_subset(&named.brokers));
        for (topic, partitions) in &really.partitions {
            prop_assert!(partitions.is_subset(&named.partitions[topic]));
        }
        for (really, named) in [
            (really.features, named.features),
            (really.quotas, named.quotas),
            (really.acls, named.acls),
            (really.scram, named.scram),
            (really.producer_ids, named.producer_ids),
        ] {
            prop_assert!(named || !really);
        }
    }
}
