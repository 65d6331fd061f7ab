//! ApiVersions answers and feature levels, compared with those of a running Apache Kafka 4.1.2.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use bytes::{Bytes, BytesMut};
use minikafka_protocol::features::{FEATURES, FinalizedFeature, MetadataVersion, feature};
use minikafka_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};
use minikafka_protocol::records::{
    PartitionChangeRecord, PartitionRecord, Record, RegisterBrokerRecord, RegisterControllerRecord,
};
use minikafka_protocol::request::RequestHeader;
use minikafka_protocol::versions::{
    ApiKey, FeaturesAnswer, Listener, is_software_name, is_taken, put_api_versions, put_api_versions_error,
    put_api_versions_unsupported,
};
use minikafka_protocol::{Decodable, ErrorCode};
use serde_json::Value;

fn unhex(text: &Value) -> Bytes {
    let text = text.as_str().unwrap();
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

/// What we answer to the request, with the finalized features that Kafka had.
fn answer(listener: Listener, request: &Bytes, theirs: &Bytes) -> BytesMut {
    let mut out = BytesMut::new();
    let header = RequestHeader::parse(request).unwrap();
    assert_eq!((header.api_key, header.client_id.as_deref()), (ApiKey::API_VERSIONS, Some("golden")));
    let (version, id) = (header.api_version, header.correlation_id);
    if !is_taken(listener, header.api_key, version) {
        put_api_versions_unsupported(id, &mut out);
        return out;
    }
    let body = ApiVersionsRequest::decode(&mut request.slice(header.body_start..), version).unwrap();
    if version >= 3 && !is_software_name(&body.client_software_name) {
        put_api_versions_error(version, id, ErrorCode::INVALID_REQUEST, &mut out);
        return out;
    }
    let theirs = ApiVersionsResponse::decode(&mut theirs.slice(4..), version).unwrap();
    let finalized: Vec<_> = theirs
        .finalized_features
        .iter()
        .map(|theirs| FinalizedFeature { name: theirs.name.to_string(), level: theirs.max_version_level })
        .collect();
    let features = FeaturesAnswer {
        supported: &FEATURES,
        finalized: &finalized,
        finalized_epoch: theirs.finalized_features_epoch,
    };
    put_api_versions(listener, version, id, |_| true, &features, &mut out);
    out
}

#[test]
fn answers_are_byte_for_byte_kafkas() {
    for line in include_str!("../testdata/api_versions.jsonl").lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let listener = if line["listener"] == "broker" { Listener::Broker } else { Listener::Controller };
        let (request, theirs) = (unhex(&line["request"]), unhex(&line["response"]));
        assert_eq!(answer(listener, &request, &theirs), theirs, "{} {}", line["listener"], line["case"]);
    }
}

#[test]
fn only_what_is_served_is_named() {
    let mut out = BytesMut::new();
    let served = [ApiKey::METADATA, ApiKey::API_VERSIONS, ApiKey::VOTE];
    put_api_versions(
        Listener::Broker,
        0,
        1,
        |key| served.contains(&key),
        &FeaturesAnswer::default(),
        &mut out,
    );
    let answer = ApiVersionsResponse::decode(&mut out.freeze().slice(4..), 0).unwrap();
    assert_eq!(answer.api_keys.iter().map(|api| api.api_key).collect::<Vec<_>>(), [3, 18]);
    assert!(
        !is_taken(Listener::Broker, ApiKey::PRODUCE, 2) && is_taken(Listener::Broker, ApiKey::PRODUCE, 3)
    );
}

#[test]
fn software_names_are_checked() {
    assert!(["apache-kafka-java", "4.1.2", "a"].into_iter().all(is_software_name));
    assert!(["", "-a", "a.", "a b", "ä"].into_iter().all(|name| !is_software_name(name)));
}

#[test]
fn metadata_versions_select_what_kafkas_select() {
    for line in include_str!("../testdata/features.jsonl").lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let number = |name: &str| line[name].as_i64().map(|number| i16::try_from(number).unwrap());
        if line.get("latest_production").is_some() && line.get("feature").is_none() {
            assert_eq!(MetadataVersion::LATEST_PRODUCTION.0, number("level").unwrap());
            continue;
        }
        let Some(level) = number("level") else { continue };
        let version = MetadataVersion(level);
        assert_eq!(version.name(), line["name"].as_str());
        assert_eq!(MetadataVersion::parse(line["name"].as_str().unwrap()), Some(version));
        assert_eq!(Some(version.fetch_version()), number("fetchRequestVersion"));
        assert_eq!(Some(version.list_offsets_version()), number("listOffsetRequestVersion"));
        assert_eq!(Some(version.is_elr_supported()), line["isElrSupported"].as_bool());
        let directories = line["isDirectoryAssignmentSupported"].as_bool();
        assert_eq!(Some(version.is_directory_assignment_supported()), directories);
        let below = MetadataVersion(level - 1);
        assert_eq!(Some(below.metadata_changes_between(version)), line["didMetadataChange"].as_bool());
        let written = |record: Record| Some(record.version_for(level));
        let broker = RegisterBrokerRecord::default();
        assert_eq!(written(broker.into()), number("registerBrokerRecordVersion"));
        assert_eq!(written(PartitionRecord::default().into()), number("partitionRecordVersion"));
        assert_eq!(written(PartitionChangeRecord::default().into()), number("partitionChangeRecordVersion"));
        if version.is_controller_registration_supported() {
            let controller = RegisterControllerRecord::default();
            assert_eq!(written(controller.into()), number("registerControllerRecordVersion"));
        }
    }
    assert_eq!(MetadataVersion::parse("4.1"), Some(MetadataVersion(27)));
    assert_eq!(MetadataVersion::parse("3.7.1"), Some(MetadataVersion(19)));
    assert_eq!(MetadataVersion::parse("2.8"), None);
}

#[test]
fn default_levels_are_kafkas() {
    for line in include_str!("../testdata/features.jsonl").lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let Some(feature) = line["feature"].as_str().and_then(feature) else { continue };
        let levels = line["levels"].as_array().unwrap();
        assert_eq!(i64::from(feature.max), line["latest_production"]);
        for level in MetadataVersion::MINIMUM.0..=29 {
            let come = |entry: &&Value| {
                let from = MetadataVersion::parse(entry["default_from"].as_str().unwrap()).unwrap();
                from <= MetadataVersion(level)
            };
            let theirs = levels.iter().filter(come).filter_map(|entry| entry["level"].as_i64()).max();
            assert_eq!(Some(i64::from(feature.default_level(MetadataVersion(level)))), theirs);
        }
    }
}
