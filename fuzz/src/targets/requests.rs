//! Frames of requests: header, guard, decoding in every API and version, and the walk over a Produce request.
//!
//! Invariants: what the guard lets pass decodes within the memory that the guard named, ends where the guard said,
//! and reads back after it was encoded; the walk over a Produce request and the generated decoder agree.

use bytes::{Bytes, BytesMut};
use protocol::guard::{self, Checked};
use protocol::messages::*;
use protocol::request::RequestHeader;
use protocol::versions::ApiKey;
use protocol::{Decodable, Encodable, frame};

/// The input is a frame without its size field.
pub(super) fn run(input: &[u8]) {
    let _ = frame::frame_size(input, 100 << 20);
    let Ok(header) = RequestHeader::parse(input) else { return };
    let (key, version) = (header.api_key, header.api_version);
    assert!(header.body_start <= input.len());
    let Ok(checked) = guard::check(key, version, &input[header.body_start..]) else { return };
    let body = Bytes::copy_from_slice(&input[header.body_start..]);
    decode(key, version, &body, checked);
    if key == ApiKey::PRODUCE {
        produce(version, input, header.body_start);
    }
}

fn decode_as<T: Decodable + Encodable>(version: i16, body: &Bytes, checked: Checked) {
    let mut input = body.clone();
    let Ok(request) = T::decode(&mut input, version) else { return };
    assert_eq!(body.len() - input.len(), checked.body_len, "guard and decoder end at different places");
    let mut first = BytesMut::new();
    request.encode(&mut first, version).expect("what was decoded can be encoded");
    drop(request);
    let again = T::decode(&mut first.clone().freeze(), version).expect("what was encoded can be decoded");
    let mut second = BytesMut::new();
    again.encode(&mut second, version).expect("what was decoded can be encoded");
    assert_eq!(first, second, "a request changes when it is encoded");
}

/// The walk of the broker, which copies nothing, against the generated decoder.
fn produce(version: i16, frame: &[u8], body: usize) {
    let expected = ProduceRequest::decode(&mut Bytes::copy_from_slice(&frame[body..]), version).ok();
    let mut copy = frame.to_vec();
    let walked = broker::fuzzing::walk_produce(version, &mut copy, body);
    assert_eq!(copy, frame, "the walk changes nothing");
    let (expected, walked) = match (expected, walked) {
        (None, None) => return,
        (Some(expected), Some(walked)) => (expected, walked),
        (expected, walked) => panic!("decoder: {expected:?}\nwalk: {walked:?}"),
    };
    assert_eq!(expected.acks, walked.acks);
    assert_eq!(expected.topic_data.len(), walked.topics.len());
    for (expected, walked) in expected.topic_data.iter().zip(&walked.topics) {
        if version >= 13 {
            assert_eq!(Some(expected.topic_id), walked.id);
        } else {
            assert_eq!(Some(expected.name.as_str()), walked.name.as_deref());
        }
        assert_eq!(expected.partition_data.len(), walked.partitions.len());
        for (expected, (index, records)) in expected.partition_data.iter().zip(&walked.partitions) {
            assert_eq!(expected.index, *index);
            assert_eq!(expected.records.as_deref(), records.clone().map(|range| &frame[range]));
        }
    }
}

macro_rules! decoders {
    ($($key:ident => $request:ident,)+) => {
        fn decode(key: i16, version: i16, body: &Bytes, checked: Checked) {
            match key {
                $(ApiKey::$key => decode_as::<$request>(version, body, checked),)+
                _ => panic!("the guard knows an API that is not listed here: {key}"),
            }
        }
    };
}

protocol::each_request!(decoders);
