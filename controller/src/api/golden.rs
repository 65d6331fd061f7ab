//! Frames of quorums of Apache Kafka 4.1.2 and 3.9.2, static and dynamic: what they say is read, and said again to the
//! byte; what other nodes answer passes the guard.

use bytes::{Bytes, BytesMut};
use protocol::messages::{
    BeginQuorumEpochRequest, EndQuorumEpochRequest, FetchRequest, FetchSnapshotRequest,
    UpdateRaftVoterRequest, VoteRequest,
};
use protocol::request::{RequestHeader, parse_response_header};
use protocol::versions::ApiKey;
use protocol::{Decodable, Encodable, Request, guard};

use super::{begin_quorum_epoch, end_quorum_epoch, fetch, fetch_snapshot, raft_voters, vote};

const LISTENER: &str = "CONTROLLER";

/// One exchange of the golden data.
struct Frame {
    name: String,
    key: i16,
    version: i16,
    request: Bytes,
    response: Bytes,
}

fn frames() -> Vec<Frame> {
    let lines = include_str!("../../testdata/quorum_frames.jsonl").lines();
    let frames = lines.enumerate().map(|(at, line)| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let frame = |name: &str| Bytes::from(hex(line[name].as_str().unwrap()));
        let (request, response) = (frame("request"), frame("response"));
        let header = RequestHeader::parse(&request).unwrap();
        let (key, version) = (header.api_key, header.api_version);
        let (_, start) = parse_response_header(key, version, &response).unwrap();
        Frame {
            name: format!("line {}: {} {version} of {}", at + 1, line["api"], line["from"]),
            key,
            version,
            request: request.slice(header.body_start..),
            response: response.slice(start..),
        }
    });
    frames.collect()
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn encoded(message: &impl Encodable, version: i16) -> Bytes {
    let mut out = BytesMut::new();
    message.encode(&mut out, version).unwrap();
    out.freeze()
}

fn decoded<M: Decodable>(bytes: &Bytes, version: i16) -> M {
    M::decode(&mut bytes.clone(), version).unwrap()
}

/// Reads the request and the response of `frame` and writes both again.
fn check<Q: Request + Encodable>(
    frame: &Frame,
    request: impl Fn(&Q) -> Q,
    response: impl Fn(&Q::Response) -> Q::Response,
) {
    let version = frame.version;
    let read: Q = decoded(&frame.request, version);
    assert_eq!(encoded(&request(&read), version), frame.request, "request of {}", frame.name);
    let read: Q::Response = guard::decode_response::<Q>(version, frame.response.clone()).unwrap();
    assert_eq!(encoded(&response(&read), version), frame.response, "response of {}", frame.name);
}

#[test]
fn raft_frames_read_back() {
    let mut seen = std::collections::BTreeSet::new();
    for frame in frames() {
        let version = frame.version;
        match frame.key {
            ApiKey::VOTE => check::<VoteRequest>(
                &frame,
                |read| vote::request(version, &vote::read_request(version, read).unwrap()),
                |read| vote::response(version, &vote::read_response(LISTENER, read).unwrap()),
            ),
            ApiKey::BEGIN_QUORUM_EPOCH => check::<BeginQuorumEpochRequest>(
                &frame,
                |read| {
                    let asked = begin_quorum_epoch::read_request(version, read).unwrap();
                    begin_quorum_epoch::request(version, &asked)
                },
                |read| {
                    let answer = begin_quorum_epoch::read_response(LISTENER, read).unwrap();
                    begin_quorum_epoch::response(version, &answer)
                },
            ),
            ApiKey::END_QUORUM_EPOCH => check::<EndQuorumEpochRequest>(
                &frame,
                |read| {
                    let asked = end_quorum_epoch::read_request(version, read).unwrap();
                    end_quorum_epoch::request(version, &asked)
                },
                |read| {
                    let answer = end_quorum_epoch::read_response(LISTENER, read).unwrap();
                    end_quorum_epoch::response(version, &answer)
                },
            ),
            ApiKey::FETCH => check::<FetchRequest>(
                &frame,
                |read| fetch::request(version, &fetch::read_request(version, read).unwrap()),
                |read| fetch::response(version, &fetch::read_response(LISTENER, read).unwrap()),
            ),
            ApiKey::FETCH_SNAPSHOT => check::<FetchSnapshotRequest>(
                &frame,
                |read| fetch_snapshot::request(version, &fetch_snapshot::read_request(read).unwrap()),
                |read| {
                    fetch_snapshot::response(version, &fetch_snapshot::read_response(LISTENER, read).unwrap())
                },
            ),
            ApiKey::UPDATE_RAFT_VOTER => check::<UpdateRaftVoterRequest>(
                &frame,
                |read| raft_voters::update_request(&raft_voters::read_update(read)),
                |read| raft_voters::updated(&raft_voters::read_updated(LISTENER, read)),
            ),
            _ => continue,
        }
        seen.insert((frame.key, version));
    }
    let least = [(1, 17), (1, 18), (52, 1), (52, 2), (53, 1), (54, 1), (59, 1), (82, 0)];
    assert!(least.iter().all(|frame| seen.contains(frame)), "{seen:?}");
}

#[test]
fn answers_of_other_nodes_pass_the_guard() {
    for frame in frames() {
        let checked = guard::check_response(frame.key, frame.version, &frame.response);
        let checked = checked.unwrap_or_else(|error| panic!("{}: {error}", frame.name));
        assert_eq!(checked.body_len, frame.response.len(), "{}", frame.name);
        for end in 0..frame.response.len() {
            let cut = guard::check_response(frame.key, frame.version, &frame.response[..end]);
            assert!(cut.is_err(), "{} cut to {end} bytes", frame.name);
        }
    }
}
