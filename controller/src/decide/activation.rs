//! What a controller writes when it becomes active.

use protocol::features::{ELR_VERSION, METADATA_VERSION, MetadataVersion};
use protocol::records::{
    AbortTransactionRecord, BeginTransactionRecord, EndTransactionRecord, FeatureLevelRecord, Record,
};

use super::{View, features};
use crate::event::Decision;

/// The records of an empty log are the bootstrap records, in one transaction where the version has them; a log that
/// ends inside a transaction is brought back to before it.
pub(super) fn activate(view: View<'_>, bootstrap: &[Record], in_transaction: bool) -> Decision {
    if in_transaction {
        let reason = Some("failover".to_owned());
        let records = vec![Record::AbortTransaction(AbortTransactionRecord { reason })];
        return Decision { records, ..Decision::default() };
    }
    if view.image.features.finalized_metadata_version.is_some() || !view.image.topics.is_empty() {
        return Decision::default();
    }
    let mut records = bootstrap.to_vec();
    let level = |name: &str| {
        bootstrap.iter().find_map(|record| match record {
            Record::FeatureLevel(record) if record.name == name => Some(record.feature_level),
            _ => None,
        })
    };
    let version = level(METADATA_VERSION).map_or(MetadataVersion::LATEST_PRODUCTION, MetadataVersion);
    if level(METADATA_VERSION).is_none() {
        let name = METADATA_VERSION.to_owned();
        records.insert(0, Record::FeatureLevel(FeatureLevelRecord { name, feature_level: version.0 }));
    }
    if level(ELR_VERSION).unwrap_or(0) > 0 {
        records.extend(features::elr_min_isr_record(view));
    }
    if version.is_metadata_transaction_supported() {
        let name = Some("Bootstrap records".to_owned());
        records.insert(0, Record::BeginTransaction(BeginTransactionRecord { name }));
        records.push(Record::EndTransaction(EndTransactionRecord::default()));
    }
    Decision { records, atomic: true, ..Decision::default() }
}
