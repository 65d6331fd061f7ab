//! BrokerRegistration and UnregisterBroker.

use std::collections::BTreeSet;

use metadata::directory;
use metadata::partition::PartitionRegistration;
use protocol::features::{KRAFT_VERSION, METADATA_VERSION};
use protocol::messages::broker_registration_request::Feature;
use protocol::messages::{
    BrokerRegistrationRequest, BrokerRegistrationResponse, UnregisterBrokerRequest, UnregisterBrokerResponse,
};
use protocol::records::{
    BrokerEndpoint, BrokerFeature, Record, RegisterBrokerRecord, UnregisterBrokerRecord,
};
use protocol::{ErrorCode, StrBytes};

use super::View;
use super::partition_change::{Turnover, leader_and_isr_updates};
use crate::api_error::{ApiError, code_and_message};
use crate::event::Decision;
use crate::liveness::LivenessUpdate;

pub(super) fn register(view: View<'_>, request: &BrokerRegistrationRequest) -> Decision {
    match registration_records(view, request) {
        Ok((records, broker_epoch)) => {
            let broker = request.broker_id.0;
            let registered = view.image.cluster.broker(broker);
            let same_process = registered.is_some_and(|old| old.incarnation_id == request.incarnation_id);
            let update = match registered {
                Some(old) if same_process => {
                    LivenessUpdate::Touch { broker, fenced: old.fenced, metadata_offset: -1 }
                }
                _ => LivenessUpdate::Register(broker),
            };
            let response = BrokerRegistrationResponse::default().with_broker_epoch(broker_epoch);
            Decision { liveness: vec![update], ..Decision::atomic(records, response) }
        }
        Err(error) => Decision::reply(
            BrokerRegistrationResponse::default().with_error_code(error.code()).with_broker_epoch(-1),
        ),
    }
}

fn registration_records(
    view: View<'_>,
    request: &BrokerRegistrationRequest,
) -> Result<(Vec<Record>, i64), ApiError> {
    let broker = request.broker_id.0;
    if request.cluster_id.as_str() != view.rules.cluster_id {
        let message = format!(
            "Expected cluster ID {}, but got cluster ID {}",
            view.rules.cluster_id, request.cluster_id
        );
        return Err(ApiError::new(ErrorCode::INCONSISTENT_CLUSTER_ID, message));
    }
    let existing = view.image.cluster.broker(broker);
    let same_process = existing.is_some_and(|old| old.incarnation_id == request.incarnation_id);
    let alive = existing.is_some_and(|old| !old.fenced)
        && view.liveness.has_session(broker, view.now_ms, view.rules.session_timeout_ms);
    let is_local = view.rules.local_incarnation == Some(request.incarnation_id);
    if alive && !same_process && !is_local {
        let message = "Another broker is registered with that broker id.";
        return Err(ApiError::new(ErrorCode::DUPLICATE_BROKER_REGISTRATION, message));
    }
    if request.is_migrating_zk_broker {
        let message = "Controller does not support registering ZK brokers.";
        return Err(ApiError::new(ErrorCode::BROKER_ID_NOT_REGISTERED, message));
    }
    let has_directories = view.image.features.metadata_version().is_directory_assignment_supported();
    if has_directories {
        check_directories(view, request)?;
    }
    let mut record = RegisterBrokerRecord {
        broker_id: broker,
        incarnation_id: request.incarnation_id,
        broker_epoch: view.image.next_offset(),
        end_points: request.listeners.iter().map(end_point).collect(),
        features: supported_features(view, request)?,
        rack: request.rack.as_ref().map(StrBytes::to_string),
        fenced: true,
        in_controlled_shutdown: false,
        log_dirs: if has_directories { request.log_dirs.clone() } else { Vec::new() },
        ..RegisterBrokerRecord::default()
    };
    let mut records = Vec::new();
    match existing {
        Some(old) if same_process => {
            record.fenced = old.fenced;
            record.in_controlled_shutdown = old.in_controlled_shutdown;
            record.broker_epoch = old.epoch;
        }
        Some(old) => records = shutdown_records(view, broker, old.epoch == request.previous_broker_epoch),
        None => {}
    }
    // The epoch is the offset of the record that registers the broker, after those that clean up.
    if !same_process {
        record.broker_epoch += records.len() as i64;
    }
    let epoch = record.broker_epoch;
    records.push(Record::RegisterBroker(record));
    Ok((records, epoch))
}

/// What becomes of the partitions of the process that had this broker id before.
fn shutdown_records(view: View<'_>, broker: i32, clean: bool) -> Vec<Record> {
    #[cfg(feature = "planted-bugs")]
    if planted::is(planted::Bug::UncleanRestartForgiven) {
        return Vec::new();
    }
    let in_isr = |partition: &PartitionRegistration| partition.isr.contains(&broker);
    if clean || !view.image.features.metadata_version().is_elr_supported() {
        let turnover = Turnover { leaving: Some(broker), ..Turnover::default() };
        return leader_and_isr_updates(view, turnover, in_isr);
    }
    let turnover = Turnover { unclean: Some(broker), ..Turnover::default() };
    leader_and_isr_updates(view, turnover, |partition| in_isr(partition) || partition.elr.contains(&broker))
}

fn end_point(listener: &protocol::messages::broker_registration_request::Listener) -> BrokerEndpoint {
    BrokerEndpoint {
        name: listener.name.to_string(),
        host: listener.host.to_string(),
        port: listener.port,
        security_protocol: listener.security_protocol,
    }
}

fn check_directories(view: View<'_>, request: &BrokerRegistrationRequest) -> Result<(), ApiError> {
    let refused = |message: String| Err(ApiError::new(ErrorCode::INVALID_REGISTRATION, message));
    if request.log_dirs.is_empty() {
        return refused("No directories specified in request".to_owned());
    }
    if request.log_dirs.iter().any(|id| directory::is_reserved(*id)) {
        return refused("Reserved directory ID in request".to_owned());
    }
    let mut seen = BTreeSet::new();
    if !request.log_dirs.iter().all(|id| seen.insert(*id)) {
        return refused("Duplicate directory ID in request".to_owned());
    }
    for other in view.image.cluster.brokers.values().filter(|other| other.id != request.broker_id.0) {
        if let Some(taken) = other.directories.iter().find(|id| seen.contains(id)) {
            let id = protocol::base64_id(*taken);
            return refused(format!("Broker {} is already registered with directory {id}", other.id));
        }
    }
    Ok(())
}

/// The broker's feature ranges; each must contain the level that is finalized.
fn supported_features(
    view: View<'_>,
    request: &BrokerRegistrationRequest,
) -> Result<Vec<BrokerFeature>, ApiError> {
    let mut features = Vec::with_capacity(request.features.len());
    for feature in &request.features {
        check_feature(view, request.broker_id.0, feature)?;
        features.push(broker_feature(feature));
    }
    let names = |name: &str| request.features.iter().any(|feature| feature.name.as_str() == name);
    if !names(METADATA_VERSION) {
        let oldest = Feature::default()
            .with_name(StrBytes::from_static_str(METADATA_VERSION))
            .with_min_supported_version(1)
            .with_max_supported_version(1);
        check_feature(view, request.broker_id.0, &oldest)?;
        features.push(broker_feature(&oldest));
    }
    for (name, _) in view.image.features.finalized() {
        if name != METADATA_VERSION && !names(&name) {
            let off = Feature::default().with_name(StrBytes::from_string(name));
            check_feature(view, request.broker_id.0, &off)?;
        }
    }
    Ok(features)
}

fn broker_feature(feature: &Feature) -> BrokerFeature {
    BrokerFeature {
        name: feature.name.to_string(),
        min_supported_version: feature.min_supported_version,
        max_supported_version: feature.max_supported_version,
    }
}

fn check_feature(view: View<'_>, broker: i32, feature: &Feature) -> Result<(), ApiError> {
    let name = feature.name.as_str();
    // Finalized in the Raft layer, not in the image.
    let level =
        if name == KRAFT_VERSION { view.rules.kraft_version } else { view.image.features.level(name) };
    let (min, max) = (feature.min_supported_version, feature.max_supported_version);
    if (min..=max).contains(&level) || (level == 0 && min > 0 && name != METADATA_VERSION) {
        return Ok(());
    }
    let message = format!(
        "Unable to register because the broker does not support finalized version {level} of {name}. The broker \
         wants a version between {min} and {max}, inclusive."
    );
    tracing::warn!(broker, "{message}");
    Err(ApiError::new(ErrorCode::UNSUPPORTED_VERSION, message))
}

pub(super) fn unregister(view: View<'_>, request: &UnregisterBrokerRequest) -> Decision {
    let broker = request.broker_id.0;
    let Some(registration) = view.image.cluster.broker(broker) else {
        let message = format!("Broker ID {broker} is not currently registered");
        let error = Err::<(), _>(ApiError::new(ErrorCode::BROKER_ID_NOT_REGISTERED, message));
        let (code, message) = code_and_message(&error);
        let response = UnregisterBrokerResponse::default().with_error_code(code).with_error_message(message);
        return Decision::reply(response);
    };
    let turnover = Turnover { leaving: Some(broker), ..Turnover::default() };
    let mut records = leader_and_isr_updates(view, turnover, |partition| {
        partition.isr.contains(&broker) || partition.elr.contains(&broker)
    });
    let broker_epoch = registration.epoch;
    records.push(Record::UnregisterBroker(UnregisterBrokerRecord { broker_id: broker, broker_epoch }));
    Decision::write(records, UnregisterBrokerResponse::default())
}
