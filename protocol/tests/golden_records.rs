//! Records as Apache Kafka 3.9.2 and 4.1.2 wrote them, beside what its own dump tool said of them.
//!
//! Every record must decode to the fields that the dump tool shows, and encode again to the same bytes.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use bytes::{Bytes, BytesMut};
use minikafka_protocol::control::ControlRecord;
use minikafka_protocol::offsets::{
    ClassicMemberMetadata, ClassicProtocol, ConsumerGroupMemberMetadataKey, ConsumerGroupMemberMetadataValue,
    OffsetCommitKey, OffsetCommitValue, OffsetsRecord,
};
use minikafka_protocol::parse_base64_id;
use minikafka_protocol::records::{PartitionRecord, Record, RecordError};
use minikafka_protocol::wire::EncodeError;
use proptest::prelude::*;
use serde_json::Value;

fn lines(text: &'static str) -> impl Iterator<Item = Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap())
}

fn unhex(text: &Value) -> Vec<u8> {
    let text = text.as_str().unwrap();
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn snake_case(name: &str) -> String {
    let name = name.replace("kRaft", "kraft");
    let mut out = String::new();
    for char in name.chars() {
        if char.is_ascii_uppercase() {
            out.push('_');
        }
        out.push(char.to_ascii_lowercase());
    }
    out
}

/// Checks that each field of `json` stands in `debug`, the `{:?}` of a decoded record, with its value.
fn assert_shows(debug: &str, json: &Value) {
    let Value::Object(fields) = json else { return };
    for (name, value) in fields {
        // Bytes are shown in base64, and groups' protocol metadata decoded; the re-encoding covers both.
        if ["salt", "storedKey", "serverKey", "subscription", "assignment"].contains(&name.as_str()) {
            continue;
        }
        let name = snake_case(name);
        let shown = match value {
            Value::Null => vec!["None".to_owned()],
            Value::Bool(_) => vec![value.to_string()],
            Value::Number(number) => {
                vec![number.to_string(), format!("Some({number})"), format!("{:?}", number.as_f64().unwrap())]
            }
            Value::String(text) => match parse_base64_id(text) {
                Some(id) if text.len() == 22 => vec![id.to_string(), format!("{text:?}")],
                _ => vec![format!("{text:?}"), format!("Some({text:?})")],
            },
            Value::Array(items) if items.iter().all(Value::is_i64) => {
                let list = format!("{items:?}").replace("Number(", "").replace(')', "");
                vec![list.clone(), format!("Some({list})")]
            }
            Value::Array(items) => {
                items.iter().for_each(|item| assert_shows(debug, item));
                continue;
            }
            Value::Object(_) => {
                assert_shows(debug, value);
                continue;
            }
        };
        let found = shown
            .iter()
            .any(|value| [", ", " }"].iter().any(|end| debug.contains(&format!("{name}: {value}{end}"))));
        assert!(found, "{name}: {shown:?} is not in {debug}");
    }
}

#[test]
fn metadata_records_read_and_write_as_kafkas() {
    for line in lines(include_str!("../testdata/metadata_records.jsonl")) {
        let bytes = unhex(&line["value"]);
        let (record, version) = Record::decode(&bytes).unwrap();
        assert_eq!(i64::from(version), line["version"]);
        let name = line["type"].as_str().unwrap().replace('_', "").to_lowercase();
        assert_eq!(record.name().to_lowercase(), name);
        assert_shows(&format!("{record:?}"), &line["data"]);
        let mut again = BytesMut::new();
        record.encode(version, &mut again).unwrap();
        assert_eq!(again, bytes, "{record:?}");
    }
}

#[test]
fn offsets_records_read_and_write_as_kafkas() {
    for line in lines(include_str!("../testdata/offsets_records.jsonl")) {
        let key = unhex(&line["key"]);
        let value = (!line["value"].is_null()).then(|| unhex(&line["value"]));
        let record = OffsetsRecord::decode(&key, value.as_deref()).unwrap_or_else(|e| panic!("{e}: {line}"));
        let kind: i16 = line["key_fields"]["type"].as_str().unwrap().parse().unwrap();
        assert_eq!(record.kind(), kind);
        let debug = format!("{record:?}");
        assert_shows(&debug, &line["key_fields"]["data"]);
        assert_shows(&debug, &line["value_fields"]["data"]);
        assert_eq!(record.is_tombstone(), value.is_none());
        let mut again = BytesMut::new();
        record.encode_key(&mut again).unwrap();
        assert_eq!(again, key, "{debug}");
        if let Some(value) = value {
            let version: i16 = line["value_fields"]["version"].as_str().unwrap().parse().unwrap();
            let mut again = BytesMut::new();
            record.encode_value(version, &mut again).unwrap();
            assert_eq!(again, value, "{debug}");
            // 3.9 wrote offsets in version 3.
            assert!(record.value_version() == version || (kind == 1 && version == 3), "{debug}");
        }
    }
}

#[test]
fn control_records_read_and_write_as_kafkas() {
    for line in lines(include_str!("../testdata/control_records.jsonl")) {
        let (key, value) = (unhex(&line["key"]), unhex(&line["value"]));
        let record = ControlRecord::decode(&key, &value).unwrap();
        let text = line["text"].as_str().unwrap();
        if let Some((_, fields)) = text.split_once(' ').filter(|(_, fields)| fields.starts_with('{')) {
            let mut fields: Value = serde_json::from_str(fields).unwrap();
            fields.as_object_mut().unwrap().remove("version");
            assert_shows(&format!("{record:?}"), &fields);
        }
        let mut again = BytesMut::new();
        record.encode_key(&mut again);
        assert_eq!(again, key);
        again.clear();
        record.encode_value(&mut again).unwrap();
        assert_eq!(again, value, "{record:?}");
    }
}

#[test]
fn a_version_that_cannot_carry_a_field_is_refused() {
    let mut out = BytesMut::new();
    let elr = Record::from(PartitionRecord { eligible_leader_replicas: Some(vec![]), ..Default::default() });
    let error = EncodeError::FieldNotInVersion { field: "eligible_leader_replicas", version: 1 };
    assert_eq!(elr.encode(1, &mut out), Err(error));
    let error = EncodeError::Version { message: "PartitionRecord", version: 3 };
    assert_eq!(elr.encode(3, &mut out), Err(error));
    out.clear();
    elr.encode(2, &mut out).unwrap();
    // An empty list is written, other than null.
    assert_eq!(Record::decode(&out), Ok((elr, 2)));
}

#[test]
fn unknown_frames_and_records_are_refused() {
    assert_eq!(Record::decode(&[0, 20, 0, 0]), Err(RecordError::FrameVersion(0)));
    assert_eq!(Record::decode(&[1, 6, 0, 0]), Err(RecordError::UnknownRecord(6)));
    assert_eq!(Record::decode(&[1, 20, 0, 0]).unwrap().0.name(), "NoOpRecord");
    assert!(Record::decode(&[1, 20, 1, 0]).is_err());
    assert!(Record::decode(&[1, 20, 0, 0, 0]).is_err());
}

#[test]
fn offsets_with_a_retention_of_their_own_lose_only_the_leader_epoch() {
    let value = OffsetCommitValue { offset: 7, leader_epoch: 3, expire_timestamp: 9, ..Default::default() };
    let record = OffsetsRecord::OffsetCommit(OffsetCommitKey::default(), Some(value.clone()));
    assert_eq!(record.value_version(), 1);
    let (mut key, mut out) = (BytesMut::new(), BytesMut::new());
    record.encode_key(&mut key).unwrap();
    record.encode_value(1, &mut out).unwrap();
    let read = OffsetsRecord::decode(&key, Some(&out)).unwrap();
    let expected = OffsetCommitValue { leader_epoch: -1, ..value };
    assert_eq!(read, OffsetsRecord::OffsetCommit(OffsetCommitKey::default(), Some(expected)));
}

#[test]
fn classic_members_of_a_group_of_kip_848_read_back() {
    let protocol =
        ClassicProtocol { name: "range".to_owned(), metadata: Bytes::from_static(b"subscription") };
    let classic = ClassicMemberMetadata { session_timeout_ms: 45000, supported_protocols: vec![protocol] };
    let value = ConsumerGroupMemberMetadataValue {
        classic_member_metadata: Some(classic),
        ..ConsumerGroupMemberMetadataValue::default()
    };
    let key = ConsumerGroupMemberMetadataKey::default();
    let record = OffsetsRecord::ConsumerGroupMember(key, Some(value));
    let (mut key, mut out) = (BytesMut::new(), BytesMut::new());
    record.encode_key(&mut key).unwrap();
    record.encode_value(0, &mut out).unwrap();
    assert_eq!(OffsetsRecord::decode(&key, Some(&out)), Ok(record));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn broken_records_are_errors_and_no_panic(at in any::<usize>(), byte in any::<u8>()) {
        let metadata = lines(include_str!("../testdata/metadata_records.jsonl"));
        let offsets = lines(include_str!("../testdata/offsets_records.jsonl"));
        for mut line in metadata.chain(offsets).filter(|line| !line["value"].is_null()) {
            let mut value = unhex(&line["value"]);
            let key = if line["key"].is_null() { vec![] } else { unhex(&line["key"].take()) };
            let at = at % value.len();
            let _ = Record::decode(&value[..at]);
            let _ = OffsetsRecord::decode(&key, Some(&value[..at]));
            value[at] = byte;
            if let Ok((record, version)) = Record::decode(&value) {
                record.encode(version, &mut BytesMut::new()).unwrap();
            }
            let _ = OffsetsRecord::decode(&key, Some(&value));
            let _ = ControlRecord::decode(&value, &value);
        }
    }
}
