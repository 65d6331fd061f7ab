//! UpdateFeatures: finalized levels (KIP-584, KIP-1022).
//!
//! Any error fails the whole request.

use std::collections::{BTreeMap, BTreeSet};

use metadata::image::resource_type;
use protocol::features::{ELR_VERSION, KRAFT_VERSION, METADATA_VERSION, MetadataVersion, feature};
use protocol::messages::update_features_request::FeatureUpdateKey;
use protocol::messages::update_features_response::UpdatableFeatureResult;
use protocol::messages::{UpdateFeaturesRequest, UpdateFeaturesResponse};
use protocol::records::{ConfigRecord, FeatureLevelRecord, NoOpRecord, Record};
use protocol::{ErrorCode, StrBytes};

use super::{View, configs};
use crate::api_error::{ApiError, code_and_message};
use crate::event::Decision;

#[derive(Clone, Copy, PartialEq, Eq)]
enum UpgradeType {
    Upgrade,
    SafeDowngrade,
    UnsafeDowngrade,
}

pub(super) fn update(view: View<'_>, version: i16, request: &UpdateFeaturesRequest) -> Decision {
    let updates: BTreeMap<&str, i16> = request
        .feature_updates
        .iter()
        .map(|update| (update.feature.as_str(), update.max_version_level))
        .collect();
    let mut records = Vec::new();
    let mut result = Ok(());
    for update in &request.feature_updates {
        result = upgrade_type(version, update).and_then(|kind| update_one(view, update, kind, &updates));
        match &mut result {
            Ok(()) => records.extend(feature_records(view, update)),
            Err(_) => break,
        }
    }
    if let Err(ApiError { message: Some(message), .. }) = &mut result {
        message
            .insert_str(0, "The update failed for all features since the following feature had an error: ");
    }
    let (code, message) = code_and_message(&result);
    if request.validate_only || code != 0 {
        records.clear();
    }
    let mut response = UpdateFeaturesResponse::default().with_error_code(code).with_error_message(message);
    if version < 2 && code == 0 {
        let results = request.feature_updates.iter().map(|update| {
            // Apache Kafka has a word for no error here.
            let message = Some(StrBytes::from_static_str(ErrorCode::NONE.name()));
            UpdatableFeatureResult::default().with_feature(update.feature.clone()).with_error_message(message)
        });
        response.results = results.collect();
    }
    let kraft_version = updates.get(KRAFT_VERSION).filter(|level| **level > view.rules.kraft_version);
    let kraft_version = kraft_version.filter(|_| code == 0).map(|level| (*level, request.validate_only));
    if kraft_version.is_some_and(|(_, validate_only)| !validate_only) {
        // A record to wait for: those of the quorum are none of the decision's.
        records.push(Record::NoOp(NoOpRecord::default()));
    }
    Decision { kraft_version, ..Decision::atomic(records, response) }
}

fn upgrade_type(version: i16, update: &FeatureUpdateKey) -> Result<UpgradeType, ApiError> {
    if version == 0 {
        let down = update.allow_downgrade;
        return Ok(if down { UpgradeType::SafeDowngrade } else { UpgradeType::Upgrade });
    }
    match update.upgrade_type {
        1 => Ok(UpgradeType::Upgrade),
        2 => Ok(UpgradeType::SafeDowngrade),
        3 => Ok(UpgradeType::UnsafeDowngrade),
        _ => Err(invalid(update, "The controller does not support the given upgrade type.")),
    }
}

fn invalid(update: &FeatureUpdateKey, reason: &str) -> ApiError {
    let message = format!(
        "Invalid update version {} for feature {}. {reason}",
        update.max_version_level, update.feature
    );
    ApiError::new(ErrorCode::INVALID_UPDATE_VERSION, message)
}

fn update_one(
    view: View<'_>,
    update: &FeatureUpdateKey,
    kind: UpgradeType,
    updates: &BTreeMap<&str, i16>,
) -> Result<(), ApiError> {
    let (name, level) = (update.feature.as_str(), update.max_version_level);
    if level < 0 {
        return Err(invalid(update, "A feature version cannot be less than 0."));
    }
    if let Some(reason) = reason_not_supported(view, name, level) {
        return Err(invalid(update, &reason));
    }
    let is_kraft = name == KRAFT_VERSION;
    let current = if is_kraft { view.rules.kraft_version } else { view.image.features.level(name) };
    if level < current && kind == UpgradeType::Upgrade {
        let reason = "Can't downgrade the version of this feature without setting the upgrade type to either safe \
                      or unsafe downgrade.";
        return Err(invalid(update, reason));
    }
    if level > current && kind != UpgradeType::Upgrade {
        return Err(invalid(update, "Can't downgrade to a newer version."));
    }
    match name {
        METADATA_VERSION => check_metadata_version(view, level, kind),
        // Whether the voters can is for the store to say.
        KRAFT_VERSION if level >= current => Ok(()),
        KRAFT_VERSION => Err(invalid(update, "Can't downgrade kraft.version.")),
        _ => {
            let Some(feature) = feature(name) else {
                return Err(invalid(update, &format!("Feature {name} not found.")));
            };
            let needed = feature.needs_metadata_version(level);
            let proposed = updates.get(METADATA_VERSION).copied();
            let proposed = proposed.unwrap_or_else(|| view.image.features.level(METADATA_VERSION));
            if proposed < needed {
                let reason = format!(
                    "{name} could not be set to {level} because it depends on metadata.version level {needed}"
                );
                return Err(invalid(update, &reason));
            }
            Ok(())
        }
    }
}

fn check_metadata_version(view: View<'_>, level: i16, kind: UpgradeType) -> Result<(), ApiError> {
    let refused = |reason: String| {
        let message = format!("Invalid metadata.version {level}. {reason}");
        Err(ApiError::new(ErrorCode::INVALID_UPDATE_VERSION, message))
    };
    let (current, new) = (view.image.features.metadata_version(), MetadataVersion(level));
    if new < MetadataVersion::MINIMUM {
        return refused("Unable to set a metadata.version less than 3.3-IV3".to_owned());
    }
    if new < current && new.metadata_changes_between(current) {
        return refused(
            match kind {
                UpgradeType::UnsafeDowngrade => "Unsafe metadata downgrade is not supported in this version.",
                _ => {
                    "Refusing to perform the requested downgrade because it might delete metadata information."
                }
            }
            .to_owned(),
        );
    }
    Ok(())
}

/// Why some member of the cluster cannot work with the level; `None` if all can.
fn reason_not_supported(view: View<'_>, name: &str, level: i16) -> Option<String> {
    let local = feature(name).map(|feature| (feature.min, feature.max));
    let node_id = view.rules.node_id;
    let local = outside(&format!("Local controller {node_id}"), level, local);
    let brokers = view.image.cluster.brokers.values().filter_map(|broker| {
        let range = broker.features.iter().find(|feature| feature.name == name);
        outside(&format!("Broker {}", broker.id), level, range.map(|feature| (feature.min, feature.max)))
    });
    let first = local.or_else(|| brokers.into_iter().next());
    if first.is_some() || !view.image.features.metadata_version().is_controller_registration_supported() {
        return first;
    }
    let mut registered = BTreeSet::from([node_id]);
    for controller in view.image.cluster.controllers.values() {
        registered.insert(controller.controller_id);
        if controller.controller_id == node_id {
            continue;
        }
        let range = controller.features.iter().find(|feature| feature.name == name);
        let range = range.map(|feature| (feature.min_supported_version, feature.max_supported_version));
        if let Some(reason) = outside(&format!("Controller {}", controller.controller_id), level, range) {
            return Some(reason);
        }
    }
    let missing = view.rules.quorum.iter().find(|id| !registered.contains(id))?;
    Some(format!("controller {missing} has not registered, and may not support this feature"))
}

fn outside(who: &str, level: i16, range: Option<(i16, i16)>) -> Option<String> {
    let (min, max) = range.unwrap_or((0, 0));
    if (min..=max).contains(&level) {
        return None;
    }
    Some(if (min, max) == (0, 0) {
        format!("{who} does not support this feature.")
    } else {
        format!("{who} only supports versions {min}-{max}")
    })
}

fn feature_records(view: View<'_>, update: &FeatureUpdateKey) -> Vec<Record> {
    let (name, feature_level) = (update.feature.as_str(), update.max_version_level);
    if name == KRAFT_VERSION {
        return Vec::new();
    }
    let mut records = vec![Record::FeatureLevel(FeatureLevelRecord { name: name.to_owned(), feature_level })];
    let switched_on = view.image.features.level(name) == 0 && feature_level > 0;
    if name == ELR_VERSION && switched_on {
        records.extend(elr_min_isr_record(view));
    }
    records
}

/// With ELR the cluster needs a `min.insync.replicas` of its own: the controller's value, unless there is one.
pub(super) fn elr_min_isr_record(view: View<'_>) -> Option<Record> {
    let default = metadata::image::ConfigResource::cluster_default();
    if view.image.configs.value(&default, configs::MIN_INSYNC_REPLICAS).is_some() {
        return None;
    }
    Some(Record::Config(ConfigRecord {
        resource_type: resource_type::BROKER,
        resource_name: String::new(),
        name: configs::MIN_INSYNC_REPLICAS.to_owned(),
        value: Some(configs::default_min_insync_replicas(view)),
    }))
}
