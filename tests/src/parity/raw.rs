//! Frames that are not requests, or not quite.

use bytes::{BufMut, BytesMut};
use protocol::Encodable;
use protocol::messages::{ApiVersionsRequest, MetadataRequest};

use super::session::{CONTROLLER, Session};

pub(super) fn script(session: &mut Session) {
    let mut metadata = BytesMut::new();
    MetadataRequest::default()
        .with_topics(Some(vec![]))
        .encode(&mut metadata, 12)
        .expect("it can be encoded");
    let mut longer = metadata.to_vec();
    longer.extend_from_slice(&[1, 2, 3]);
    let bodies: Vec<(&str, i16, i16, Vec<u8>)> = vec![
        ("fine", 3, 12, metadata.to_vec()),
        ("trailing bytes", 3, 12, longer),
        ("cut", 3, 12, metadata[..metadata.len() - 1].to_vec()),
        ("empty body", 3, 12, vec![]),
        ("huge count", 3, 12, vec![0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0, 0]),
        ("negative count", 3, 4, vec![0xff, 0xff, 0xff, 0xfe, 0]),
        ("huge count, old", 3, 4, vec![0x7f, 0xff, 0xff, 0xff, 0]),
        ("version too high", 3, 99, metadata.to_vec()),
        ("version negative", 3, -1, metadata.to_vec()),
        ("unknown key", 999, 0, vec![]),
        ("negative key", -1, 0, vec![]),
        ("removed key", 4, 0, vec![0; 20]),
        ("controller's key", 52, 0, vec![0; 20]),
        ("old Produce", 0, 2, vec![0; 20]),
        ("old Fetch", 1, 3, vec![0; 20]),
        ("old OffsetCommit", 8, 1, vec![0; 20]),
        ("SaslHandshake", 17, 1, vec![0, 5, b'P', b'L', b'A', b'I', b'N']),
        ("SaslAuthenticate", 36, 1, vec![0, 0, 0, 0]),
        ("ApiVersions with rubbish", 18, 0, vec![1, 2, 3]),
        ("ApiVersions cut", 18, 3, vec![3, b'a']),
        ("topic name null", 3, 4, vec![0, 0, 0, 1, 0xff, 0xff, 0]),
        ("topic name not UTF-8", 3, 4, vec![0, 0, 0, 1, 0, 2, 0xc3, 0x28, 0]),
        ("array null where it may not", 32, 1, vec![0xff, 0xff, 0xff, 0xff, 0]),
    ];
    for (lane, who) in [(0, "broker"), (CONTROLLER, "controller")] {
        for (label, key, version, body) in &bodies {
            if lane == CONTROLLER && matches!(key, 52 | 32) {
                continue;
            }
            session.send_body(lane, *key, *version, body);
            probe(session, lane, &format!("raw {who}: {label}"));
        }
    }
    let frames: Vec<(&str, Vec<u8>)> = vec![
        ("empty frame", vec![]),
        ("three bytes", vec![0, 18, 0]),
        ("header without client id", vec![0, 18, 0, 0, 0, 0, 0, 1]),
        ("null client id", vec![0, 18, 0, 0, 0, 0, 0, 1, 0xff, 0xff]),
        ("client id cut", vec![0, 18, 0, 0, 0, 0, 0, 1, 0, 9, b'a']),
        ("client id negative", vec![0, 18, 0, 0, 0, 0, 0, 1, 0xff, 0xf0]),
        ("client id not UTF-8", vec![0, 18, 0, 0, 0, 0, 0, 1, 0, 2, 0xc3, 0x28]),
        ("header with tags", vec![0, 3, 0, 12, 0, 0, 0, 1, 0, 1, b'a', 1, 9, 2, 7, 7, 1, 0, 0, 0]),
        ("header with endless tags", vec![0, 3, 0, 12, 0, 0, 0, 1, 0, 1, b'a', 9, 9, 2, 7]),
    ];
    for (label, frame) in &frames {
        session.send_frame(0, frame);
        probe(session, 0, &format!("raw frame: {label}"));
    }
    for (label, size) in
        [("negative size", -1), ("size beyond the limit", 104_857_601), ("text", 0x4745_5420)]
    {
        let mut bytes = BytesMut::new();
        bytes.put_i32(size);
        bytes.extend_from_slice(&[0, 18, 0, 0, 0, 0, 0, 1, 0xff, 0xff]);
        session.send_bytes(0, &bytes);
        probe(session, 0, &format!("raw bytes: {label}"));
    }
    session.ask_with(0, "at the end", &ApiVersionsRequest::default(), |r| r.api_keys.clear());
}

/// Notes whether there was an answer, and of which size it was; API lists and Metadata have tests of their own.
fn probe(session: &mut Session, lane: usize, label: &str) {
    let text = match session.read_frame(lane) {
        Ok(frame) if frame.len() > 30 => "a long answer".to_owned(),
        Ok(frame) => format!("{:?}", frame.slice(4..)),
        Err(why) => why,
    };
    session.note(label.to_owned(), &text);
}
