//! Requests of a real client, byte for byte, and the shape of their answers beside that of Apache Kafka's.

use std::fmt::Debug;

use protocol::messages as m;
use protocol::request::parse_response_header;
use protocol::{Decodable, Request};
use serde_json::Value;

use super::normal::Normal;
use super::session::Session;
use super::topics::make;
use crate::node::{CLUSTER_ID, Node};

/// The id of the cluster that was recorded.
const GOLDEN_CLUSTER_ID: &str = "Z29sZGVuLW1pbmlrYWZrYQ";

/// One request's answers as shapes.
#[derive(Debug)]
pub struct Replayed {
    /// API and version.
    pub label: String,
    /// Apache Kafka's.
    pub expected: String,
    /// This node's.
    pub actual: String,
}

/// Sends the requests of JSON lines (`api`, `version`, `request` and `response` in hex) in their order, with the
/// topics made that they speak of.
pub fn replay(node: &Node, lines: &str) -> Vec<Replayed> {
    let mut session = Session::new(node);
    for (topic, partitions) in [("plain", 1), ("codecs", 4), ("txn", 2), ("empty", 1)] {
        make(&mut session, topic, partitions, &[]);
    }
    lines.lines().map(|line| one(&mut session, line)).collect()
}

fn one(session: &mut Session, line: &str) -> Replayed {
    let line: Value = serde_json::from_str(line).expect("a line of JSON");
    let api = line["api"].as_str().expect("the API's name");
    let version = line["version"].as_i64().and_then(|v| i16::try_from(v).ok()).expect("the version");
    session.send_frame(0, &unhex(&line["request"]));
    let actual = session.read_frame(0);
    let read = reader(api);
    let actual = actual.map_or_else(|why| why, |frame| read(version, &frame));
    Replayed {
        label: format!("{api} v{version}"),
        expected: read(version, &unhex(&line["response"])),
        actual,
    }
}

fn unhex(text: &Value) -> Vec<u8> {
    let digits = text.as_str().expect("hexadecimal text").as_bytes();
    let byte = |pair: &[u8]| std::str::from_utf8(pair).ok().and_then(|t| u8::from_str_radix(t, 16).ok());
    digits.chunks(2).map(|pair| byte(pair).expect("two hexadecimal digits")).collect()
}

/// Gives the shape of a response frame.
type Reader = fn(i16, &[u8]) -> String;

fn reader(api: &str) -> Reader {
    match api {
        "Metadata" => shape::<m::MetadataRequest>,
        "ListOffsets" => shape::<m::ListOffsetsRequest>,
        "FindCoordinator" => shape::<m::FindCoordinatorRequest>,
        "CreateTopics" => shape::<m::CreateTopicsRequest>,
        "DeleteTopics" => shape::<m::DeleteTopicsRequest>,
        "InitProducerId" => shape::<m::InitProducerIdRequest>,
        "DescribeConfigs" => shape::<m::DescribeConfigsRequest>,
        "CreatePartitions" => shape::<m::CreatePartitionsRequest>,
        "DeleteGroups" => shape::<m::DeleteGroupsRequest>,
        "ElectLeaders" => shape::<m::ElectLeadersRequest>,
        "IncrementalAlterConfigs" => shape::<m::IncrementalAlterConfigsRequest>,
        "OffsetCommit" => shape::<m::OffsetCommitRequest>,
        "OffsetFetch" => shape::<m::OffsetFetchRequest>,
        "OffsetDelete" => shape::<m::OffsetDeleteRequest>,
        "DescribeQuorum" => shape::<m::DescribeQuorumRequest>,
        "DescribeTopicPartitions" => shape::<m::DescribeTopicPartitionsRequest>,
        "DescribeCluster" => shape::<m::DescribeClusterRequest>,
        "JoinGroup" => shape::<m::JoinGroupRequest>,
        other => panic!("{other} is not replayed"),
    }
}

/// The decoded frame without what is a matter of the run: ids, the cluster's id, and each number but error codes.
/// The entries of a topic's configuration have no order.
fn shape<R: Request>(version: i16, frame: &[u8]) -> String
where
    R::Response: Decodable + Debug,
{
    let (_, start) = parse_response_header(R::KEY, version, frame).expect("a response header");
    let mut body = frame.get(start..).expect("a body after the header");
    let answer = R::Response::decode(&mut body, version).expect("a response");
    assert!(body.is_empty(), "{} bytes too many", body.len());
    let clusters = [GOLDEN_CLUSTER_ID, CLUSTER_ID].map(|id| (id.to_owned(), "<cluster>".to_owned()));
    let text = Normal::new(clusters.into()).text(&format!("{answer:?}")).replace("<now>", "0");
    let mut entries: Vec<String> = text.split("ResourceResult {").map(masked).collect();
    if entries.len() > 1 {
        // How an entry ends depends on its place.
        let is_end = |c: char| c.is_alphabetic() || " ,[]{}".contains(c);
        entries.iter_mut().for_each(|entry| entry.truncate(entry.trim_end_matches(is_end).len()));
    }
    entries.sort();
    entries.join("\n")
}

fn masked(text: &str) -> String {
    let mut out = String::new();
    for (n, part) in text.split("error_code: ").enumerate() {
        let digits = if n == 0 { 0 } else { part.find([',', ' ', '}']).unwrap_or(part.len()) };
        let (code, rest) = part.split_at(digits);
        out.push_str(if n == 0 { "" } else { "error_code: " });
        out.push_str(code);
        let mut last = ' ';
        for c in rest.chars() {
            let c = if c.is_ascii_digit() || c == '-' { '#' } else { c };
            if c != '#' || last != '#' {
                out.push(c);
            }
            last = c;
        }
    }
    out.replace("<id#>", "<>")
}
