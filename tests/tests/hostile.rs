//! Frames and behaviour of clients that mean harm, against a real node: it answers or closes, its memory stays within
//! bounds, and a well-behaved client beside them sees no error.
//!
//! Times and full numbers of connections are judged only with `MINIKAFKA_JUDGE_TIMES`; they are always printed.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use minikafka_tests::beside::Beside;
use minikafka_tests::node::{Node, Target};
use minikafka_tests::process::{peak_kib, raise_open_files, reset_peak, resident_kib};
use minikafka_tests::random::Random;
use minikafka_tests::wire::{Wire, batch, name, produce_request};
use protocol::batch::{BatchBuilder, HEADER_SIZE};
use protocol::compress::{Codec, compress};
use protocol::messages::*;
use protocol::request::RequestHeader;
use protocol::{Encodable, ErrorCode, Request, StrBytes};

const MIB: u64 = 1024;

/// Nodes are hurt one after another, so that pauses are theirs.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    raise_open_files();
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn judged() -> bool {
    std::env::var_os("MINIKAFKA_JUDGE_TIMES").is_some()
}

/// The number for a judged run, or a smaller one.
fn count(judged_count: usize, otherwise: usize) -> usize {
    if judged() { judged_count } else { otherwise }
}

/// Hurts a node while a well-behaved client uses it; its memory may grow by so many KiB.
fn hurt(what: &str, node: &Node, growth_kib: u64, attack: impl FnOnce(&str)) {
    let beside = Beside::start(node);
    let before = resident_kib(node.pid());
    reset_peak(node.pid());
    let started = Instant::now();
    attack(&node.bootstrap());
    let took = started.elapsed();
    let seen = beside.finish();
    let grown = peak_kib(node.pid()).saturating_sub(before);
    println!(
        "{what}: {took:?}, {grown} KiB more of {growth_kib}, longest pause {:?} of {}",
        seen.longest, seen.requests
    );
    assert!(grown <= growth_kib, "{what}: {grown} KiB more");
    if judged() {
        assert!(seen.longest <= Duration::from_millis(200), "{what}: a pause of {:?}", seen.longest);
    }
}

fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).expect("the node accepts connections");
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout can be set");
    stream
}

fn frame(key: i16, version: i16, body: &[u8]) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    bytes.put_i32(0);
    RequestHeader::put(key, version, 1, Some("hostile"), &mut bytes);
    bytes.extend_from_slice(body);
    let size = bytes.len() as i32 - 4;
    bytes[..4].copy_from_slice(&size.to_be_bytes());
    bytes.to_vec()
}

/// Sends bytes and reads until the node closes; gives how many it answered with.
fn answer_or_close(address: &str, bytes: &[u8]) -> usize {
    let mut stream = connect(address);
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(Shutdown::Write);
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            panic!("neither an answer nor a close: {:02x?}", &bytes[..bytes.len().min(100)])
        }
        _ => answer.len(),
    }
}

/// One request and its whole answer; `None` if the node closed.
fn ask(stream: &mut TcpStream, bytes: &[u8]) -> Option<usize> {
    stream.write_all(bytes).ok()?;
    let mut size = [0; 4];
    stream.read_exact(&mut size).ok()?;
    let size = i32::from_be_bytes(size) as u64;
    let read = std::io::copy(&mut stream.take(size), &mut std::io::sink()).ok()?;
    (read == size).then_some(size as usize)
}

#[test]
fn counts_and_lengths_that_lie() {
    let _alone = alone();
    let node = Node::fresh(Target::Ours, &[]);
    let patterns: [&[u8]; 5] = [
        &[0x7f, 0xff, 0xff, 0xff],
        &[0xff, 0xff, 0xff, 0xff, 0x07],
        &[0, 0xff, 0xff, 0xff, 0xff, 0x07],
        &[0xff],
        &[0x01, 0x80, 0x80, 0x80, 0x80, 0x08],
    ];
    hurt("lying counts", &node, 16 * MIB, |address| {
        for key in 0..=92 {
            for version in 0..=18 {
                for pattern in patterns {
                    for times in [1, 40] {
                        // Answers to so many requests need not be waited for one by one.
                        let mut stream = connect(address);
                        let _ = stream.write_all(&frame(key, version, &pattern.repeat(times)));
                    }
                }
            }
        }
        // The 5 bytes that ended other brokers.
        answer_or_close(address, &frame(3, 0, &[0x7f, 0xff, 0xff, 0xff, 0]));
    });
}

#[test]
fn fields_that_grow_in_memory() {
    let _alone = alone();
    let node = Node::fresh(Target::Ours, &[]);
    // A flexible Metadata request of nothing but unknown tagged fields.
    let tags = 300_000u32;
    let mut body = BytesMut::new();
    body.extend_from_slice(&[1, 0, 0]);
    put_uvarint(&mut body, tags);
    for tag in 0..tags {
        put_uvarint(&mut body, tag + 100);
        body.put_u8(0);
    }
    let bytes = frame(MetadataRequest::KEY, 12, &body);
    hurt("unknown tagged fields", &node, 2 * bytes.len() as u64 / 1024 + 16 * MIB, |address| {
        answer_or_close(address, &bytes);
    });
    // As many of the smallest structs as fit.
    let names = vec![b'\0'; 3_000_000];
    let body = [&1_000_000i32.to_be_bytes()[..], &names].concat();
    let bytes = frame(MetadataRequest::KEY, 1, &body);
    hurt("a million names", &node, 2 * bytes.len() as u64 / 1024 + 16 * MIB, |address| {
        answer_or_close(address, &bytes);
    });
}

fn put_uvarint(out: &mut BytesMut, mut value: u32) {
    while value >= 0x80 {
        out.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

#[test]
fn large_frames_that_are_held_open() {
    let _alone = alone();
    let node = Node::fresh(Target::Ours, &[]);
    let claim = [&104_857_600i32.to_be_bytes()[..], &[0, 0, 0, 9]].concat();
    hurt("1,000 frames of 100 MiB claimed", &node, 64 * MIB, |address| {
        let mut held: Vec<TcpStream> = (0..1000).map(|_| connect(address)).collect();
        held.iter_mut().for_each(|stream| stream.write_all(&claim).expect("the node reads"));
        std::thread::sleep(Duration::from_millis(500));
    });
}

#[test]
fn large_frames_that_are_sent() {
    let _alone = alone();
    let limits = [("socket.request.max.bytes", "20000000"), ("queued.max.request.bytes", "40000000")];
    let node = Node::fresh(Target::Ours, &limits);
    // The budget, one request beyond it, and what a copy of one takes.
    hurt("12 frames of 20 MB sent", &node, 100 * MIB, |address| {
        let bytes = frame(ProduceRequest::KEY, 9, &vec![0xee; 19_900_000]);
        std::thread::scope(|scope| {
            for _ in 0..12 {
                scope.spawn(|| answer_or_close(address, &bytes));
            }
        });
    });
}

#[test]
fn bytes_that_come_one_by_one() {
    let _alone = alone();
    let node = Node::fresh(Target::Ours, &[]);
    let clients = count(5000, 500);
    hurt(&format!("{clients} slow clients"), &node, 64 * MIB, |address| {
        let mut held: Vec<TcpStream> = (0..clients).map(|_| connect(address)).collect();
        let bytes = frame(ApiVersionsRequest::KEY, 3, b"\x02a\x02b\x00");
        for byte in bytes.iter().take(count(8, 3)) {
            let second = Instant::now();
            for stream in &mut held {
                let _ = stream.write_all(&[*byte]);
            }
            std::thread::sleep(Duration::from_secs(1).saturating_sub(second.elapsed()));
        }
    });
}

#[test]
fn answers_that_nobody_reads() {
    let _alone = alone();
    let node = Node::fresh(Target::Ours, &[("queued.max.request.bytes", "120000000")]);
    // All of a broker's configuration, as often as it is told in one answer: some MB.
    let broker = describe_configs_request::DescribeConfigsResource::default()
        .with_resource_type(4)
        .with_resource_name(StrBytes::from_static_str("1"))
        .with_configuration_keys(None);
    let request =
        DescribeConfigsRequest::default().with_resources(vec![broker; 100]).with_include_synonyms(true);
    let bytes = encoded(4, &request);
    // The budget, and an answer beyond it on the way to each.
    hurt("100 connections that do not read", &node, 600 * MIB, |address| {
        let mut held: Vec<TcpStream> = (0..100).map(|_| connect(address)).collect();
        for stream in &mut held {
            stream.set_nonblocking(true).expect("a socket can be made so");
            (0..5).for_each(|_| drop(stream.write(&bytes)));
        }
        std::thread::sleep(Duration::from_secs(3));
        drop(held);
    });
}

#[test]
fn connections_in_a_flood() {
    let _alone = alone();
    let node = Node::fresh(Target::Ours, &[]);
    let connections = count(10_000, 2_000);
    hurt(&format!("{connections} connections in a flood"), &node, 64 * MIB, |address| {
        let mut held = Vec::new();
        for n in 0..connections {
            let stream = connect(address);
            if n % 2 == 0 {
                held.push(stream);
            }
        }
    });
}

#[test]
fn idle_connections_hold_no_buffer() {
    let _alone = alone();
    let node = Node::fresh(Target::Ours, &[]);
    let before = resident_kib(node.pid());
    let mut held = Vec::new();
    for connections in [1_000, count(10_000, 2_000)] {
        while held.len() < connections {
            let mut stream = connect(&node.bootstrap());
            ask(&mut stream, &frame(ApiVersionsRequest::KEY, 3, b"\x02a\x02b\x00")).expect("an answer");
            held.push(stream);
        }
        let grown = resident_kib(node.pid()).saturating_sub(before);
        println!("{connections} idle connections: {grown} KiB more");
        // 5 KiB each: 50 MB for 10,000.
        assert!(grown <= 8 * MIB + 5 * connections as u64, "{grown} KiB for {connections}");
    }
}

/// A batch of one record that decompresses to `bytes` bytes, nearly all of them zeros of its value.
fn bomb(codec: Codec, bytes: usize) -> Bytes {
    let mut batch = batch(&["x"]).to_vec();
    batch.truncate(HEADER_SIZE);
    let mut start = BytesMut::new();
    // Sizes are zigzag: twice the number. Attributes, time and offset are 0, the key is null.
    put_uvarint(&mut start, 2 * bytes as u32);
    start.extend_from_slice(&[0, 0, 0, 1]);
    put_uvarint(&mut start, 2 * (bytes as u32 - 20));
    // Bombs of streams are made of many parts, since one call cannot compress a GiB in little memory.
    const PART: usize = 17 << 20;
    let mut piece = vec![0; PART.min(bytes)];
    let rest = compress(codec, None, &piece);
    piece[..start.len()].copy_from_slice(&start);
    batch.extend_from_slice(&compress(codec, None, &piece));
    let pieces = if matches!(codec, Codec::Zstd | Codec::Gzip) { bytes.div_ceil(PART) } else { 1 };
    (1..pieces).for_each(|_| batch.extend_from_slice(&rest));
    batch[21..23].copy_from_slice(&i16::from(codec.id()).to_be_bytes());
    let length = batch.len() as i32 - 12;
    batch[8..12].copy_from_slice(&length.to_be_bytes());
    protocol::batch::patch_crc(&mut batch);
    Bytes::from(batch)
}

#[test]
fn batches_that_decompress_without_end() {
    let _alone = alone();
    let node = Node::fresh(Target::Ours, &[]);
    let mut wire = Wire::connect(&node.bootstrap()).expect("the node accepts connections");
    assert_eq!(wire.create_topic("bombs", 1).ok(), Some(ErrorCode::NONE));
    let sizes =
        [(Codec::Zstd, 1 << 30), (Codec::Gzip, 900 << 20), (Codec::Lz4, 17 << 20), (Codec::Snappy, 16 << 20)];
    for (codec, bytes) in sizes {
        let batch = bomb(codec, bytes);
        let sent = batch.len();
        hurt(&format!("{} bomb of {sent} bytes", codec.name()), &node, 32 * MIB, |_| {
            let started = Instant::now();
            let (error, _) = wire.produce("bombs", 0, batch).expect("an answer");
            println!("{} bomb: {error:?} after {:?}", codec.name(), started.elapsed());
            assert_ne!(error, ErrorCode::NONE);
            assert!(!judged() || started.elapsed() < Duration::from_millis(50), "{:?}", started.elapsed());
        });
    }
}

#[test]
fn a_forged_batch_is_refused_or_the_same() {
    let _alone = alone();
    let node = Node::fresh(Target::Ours, &[]);
    let mut wire = Wire::connect(&node.bootstrap()).expect("the node accepts connections");
    assert_eq!(wire.create_topic("forged", 1).ok(), Some(ErrorCode::NONE));
    let good = batch(&["one", "two", "three"]);
    let random = &mut Random::from_env("hostile");
    let mut accepted = 0;
    for at in 0..good.len() {
        for flip in [0x01, 0x80, 0xff, 1 << (random.between(0, 7))] {
            let mut forged = good.to_vec();
            forged[at] ^= flip;
            let Ok((error, offset)) = wire.produce("forged", 0, forged.into()) else {
                // Sizes that do not fit the request close the connection.
                wire = Wire::connect(&node.bootstrap()).expect("the node accepts connections");
                continue;
            };
            if error != ErrorCode::NONE {
                continue;
            }
            accepted += 1;
            let (_, _, records) = wire.fetch("forged", 0, offset, 100_000).expect("an answer");
            assert_eq!(records[16..good.len()], good[16..], "byte {at} changed by {flip:#x}");
        }
    }
    // Only base offset and leader epoch are the broker's to write.
    println!("{accepted} of {} forged batches were taken for what they are", good.len() * 4);
    assert!(accepted <= 12 * 4);
}

#[test]
fn names_of_topics_that_are_paths() {
    let _alone = alone();
    let node = Node::fresh(Target::Ours, &[]);
    let outside = || {
        let dir = node.data().parent().expect("data lies in a directory").to_path_buf();
        let mut names: Vec<_> =
            std::fs::read_dir(dir).expect("it can be listed").flatten().map(|e| e.path()).collect();
        names.sort();
        names
    };
    let before = outside();
    let long = "x".repeat(250);
    let names = [
        "../evil",
        "..",
        ".",
        "",
        "a/b",
        "/tmp/evil",
        "a\0b",
        "\u{2025}/x",
        "a\\b",
        " ",
        &long,
        "a\nb",
        "~",
        "%2e%2e",
    ];
    let mut wire = Wire::connect(&node.bootstrap()).expect("the node accepts connections");
    for topic in names {
        let created = wire.create_topic(topic, 1).expect("an answer");
        assert_eq!(created, ErrorCode::INVALID_TOPIC_EXCEPTION, "{topic:?}");
        let found = wire.metadata(topic).expect("an answer");
        assert_eq!(found, [ErrorCode::INVALID_TOPIC_EXCEPTION], "{topic:?}");
        let (produced, _) = wire.produce(topic, 0, batch(&["x"])).expect("an answer");
        assert_ne!(produced, ErrorCode::NONE, "{topic:?}");
    }
    assert_eq!(outside(), before);
    let logs =
        std::fs::read_dir(node.data()).expect("it can be listed").flatten().filter(|e| e.path().is_dir());
    let logs: Vec<_> = logs.map(|e| e.file_name()).filter(|n| n != "__cluster_metadata-0").collect();
    assert!(logs.is_empty(), "{logs:?}");
}

#[test]
fn no_answer_has_bytes_of_another_topic() {
    let _alone = alone();
    let node = Node::fresh(Target::Ours, &[]);
    let canary = |topic: usize| format!("canary-{topic}-").repeat(40);
    let rounds = 40;
    std::thread::scope(|scope| {
        for topic in 0..4 {
            let address = node.bootstrap();
            scope.spawn(move || {
                let mut wire = Wire::connect(&address).expect("the node accepts connections");
                let named = format!("topic-{topic}");
                assert_eq!(wire.create_topic(&named, 1).ok(), Some(ErrorCode::NONE));
                for round in 0..rounds {
                    let values = vec![canary(topic); 1 + round % 30];
                    let (error, offset) = wire.produce(&named, 0, batch(&values)).expect("an answer");
                    assert_eq!(error, ErrorCode::NONE);
                    let (_, _, records) = wire.fetch(&named, 0, offset, 1 << 20).expect("an answer");
                    let text = String::from_utf8_lossy(&records);
                    let foreign =
                        (0..4).filter(|t| *t != topic).any(|t| text.contains(&format!("canary-{t}")));
                    assert!(!foreign && text.contains(&canary(topic)), "topic {topic}, round {round}");
                    // An answer without records, and one with an error, have none of anybody's.
                    for (asked, offset) in [(named.as_str(), offset + 1000), ("nowhere", 0)] {
                        let (_, _, records) = wire.fetch(asked, 0, offset, 1 << 20).expect("an answer");
                        assert!(records.is_empty());
                    }
                }
            });
        }
    });
}

#[test]
fn ids_without_number() {
    let _alone = alone();
    // Memory for 102,400 partitions in fetch sessions.
    let limits = [("group.max.size", "50"), ("queued.max.request.bytes", "419430400")];
    let node = Node::fresh(Target::Ours, &limits);
    let mut wire = Wire::connect(&node.bootstrap()).expect("the node accepts connections");
    assert_eq!(wire.create_topic("ids", 1).ok(), Some(ErrorCode::NONE));
    let producers = count(1_000_000, 30_000) as i64;
    hurt(&format!("{producers} producer ids"), &node, 64 * MIB + producers as u64 / 4, |_| {
        const IN_FLIGHT: i64 = 50;
        let mut sent = std::collections::VecDeque::new();
        for id in 0..producers {
            let mut builder = BatchBuilder::new(0).producer(id, 0, 0);
            builder.push_pair(1_700_000_000_000, None, Some(b"x"));
            let request = produce_request("ids", 0, builder.build().freeze());
            sent.push_back(wire.send(9, &request).expect("the node reads"));
            if sent.len() as i64 >= IN_FLIGHT {
                wire.produced(sent.pop_front().expect("one was sent")).expect("an answer");
            }
        }
        for id in sent {
            wire.produced(id).expect("an answer");
        }
    });
    let sessions = count(5_000, 300);
    hurt(&format!("{sessions} fetch sessions of 1,000 partitions"), &node, 64 * MIB, |address| {
        let request = fetch_of_many(1_000, 0);
        let bytes = encoded(12, &request);
        let mut stream = connect(address);
        for _ in 0..sessions {
            ask(&mut stream, &bytes).expect("an answer");
        }
    });
    hurt("1,000 group members", &node, 32 * MIB, |address| {
        let mut held = Vec::new();
        for n in 0..1000 {
            let group = GroupId(StrBytes::from_static_str("crowd"));
            let protocol = join_group_request::JoinGroupRequestProtocol::default()
                .with_name(StrBytes::from_static_str("range"))
                .with_metadata(Bytes::from(vec![n as u8; 1000]));
            let request = JoinGroupRequest::default()
                .with_group_id(group)
                .with_session_timeout_ms(30_000)
                .with_rebalance_timeout_ms(30_000)
                .with_protocol_type(StrBytes::from_static_str("consumer"))
                .with_protocols(vec![protocol]);
            let mut stream = connect(address);
            stream.write_all(&encoded(3, &request)).expect("the node reads");
            held.push(stream);
        }
    });
}

fn encoded<R: Request + Encodable>(version: i16, request: &R) -> Vec<u8> {
    let mut body = BytesMut::new();
    request.encode(&mut body, version).expect("the request can be encoded");
    frame(R::KEY, version, &body)
}

fn fetch_of_many(partitions: i32, session_epoch: i32) -> FetchRequest {
    let partition =
        |p| fetch_request::FetchPartition::default().with_partition(p).with_partition_max_bytes(1 << 20);
    let topic = fetch_request::FetchTopic::default()
        .with_topic(name("many"))
        .with_partitions((0..partitions).map(partition).collect());
    FetchRequest::default()
        .with_max_wait_ms(0)
        .with_max_bytes(50 << 20)
        .with_session_epoch(session_epoch)
        .with_topics(vec![topic])
}

/// The most work that a request of each API can ask for in some megabytes.
fn expensive() -> Vec<(&'static str, Vec<u8>)> {
    let many = count(200_000, 40_000) as i32;
    let numbers: Vec<i32> = (0..many).collect();
    let names = || (0..many / 2).map(|n| StrBytes::from_string(format!("t{n}")));
    let list_offsets =
        list_offsets_request::ListOffsetsTopic::default().with_name(name("beside")).with_partitions(
            (0..many)
                .map(|_| list_offsets_request::ListOffsetsPartition::default().with_timestamp(1))
                .collect(),
        );
    let delete_records =
        delete_records_request::DeleteRecordsTopic::default().with_name(name("many")).with_partitions(
            (0..many)
                .map(|p| delete_records_request::DeleteRecordsPartition::default().with_partition_index(p))
                .collect(),
        );
    let commit =
        offset_commit_request::OffsetCommitRequestTopic::default().with_name(name("many")).with_partitions(
            (0..many)
                .map(|p| {
                    offset_commit_request::OffsetCommitRequestPartition::default().with_partition_index(p)
                })
                .collect(),
        );
    let fetch_offsets = offset_fetch_request::OffsetFetchRequestTopic::default()
        .with_name(name("many"))
        .with_partition_indexes(numbers.clone());
    let group = GroupId(StrBytes::from_static_str("g"));
    let metadata_topic = |n| metadata_request::MetadataRequestTopic::default().with_name(Some(TopicName(n)));
    vec![
        ("Fetch", encoded(12, &fetch_of_many(many, -1))),
        ("ListOffsets", encoded(6, &ListOffsetsRequest::default().with_topics(vec![list_offsets]))),
        (
            "Metadata",
            encoded(12, &MetadataRequest::default().with_topics(Some(names().map(metadata_topic).collect()))),
        ),
        ("DeleteRecords", encoded(2, &DeleteRecordsRequest::default().with_topics(vec![delete_records]))),
        (
            "OffsetCommit",
            encoded(
                8,
                &OffsetCommitRequest::default().with_group_id(group.clone()).with_topics(vec![commit]),
            ),
        ),
        (
            "OffsetFetch",
            encoded(
                7,
                &OffsetFetchRequest::default()
                    .with_group_id(group.clone())
                    .with_topics(Some(vec![fetch_offsets])),
            ),
        ),
        (
            "FindCoordinator",
            encoded(4, &FindCoordinatorRequest::default().with_coordinator_keys(names().collect())),
        ),
        (
            "DescribeGroups",
            encoded(5, &DescribeGroupsRequest::default().with_groups(names().map(GroupId).collect())),
        ),
        (
            "DeleteGroups",
            encoded(2, &DeleteGroupsRequest::default().with_groups_names(names().map(GroupId).collect())),
        ),
        (
            "DeleteTopics",
            encoded(5, &DeleteTopicsRequest::default().with_topic_names(names().map(TopicName).collect())),
        ),
        (
            "CreateTopics",
            encoded(
                7,
                &CreateTopicsRequest::default().with_validate_only(true).with_topics(
                    names()
                        .map(|n| {
                            create_topics_request::CreatableTopic::default()
                                .with_name(TopicName(n))
                                .with_num_partitions(1)
                                .with_replication_factor(1)
                        })
                        .collect(),
                ),
            ),
        ),
        (
            "DescribeTopicPartitions",
            encoded(
                0,
                &DescribeTopicPartitionsRequest::default().with_topics(
                    names()
                        .map(|n| {
                            describe_topic_partitions_request::TopicRequest::default().with_name(TopicName(n))
                        })
                        .collect(),
                ),
            ),
        ),
        (
            // Each of these groups has all keys; as many as make no large frame.
            "DescribeConfigs (groups)",
            encoded(
                4,
                &DescribeConfigsRequest::default().with_include_synonyms(true).with_resources(
                    (0..12_000)
                        .map(|n| {
                            describe_configs_request::DescribeConfigsResource::default()
                                .with_resource_type(32)
                                .with_resource_name(StrBytes::from_string(format!("{n:x}")))
                                .with_configuration_keys(None)
                        })
                        .collect(),
                ),
            ),
        ),
        (
            "DescribeConfigs",
            encoded(
                4,
                &DescribeConfigsRequest::default().with_resources(
                    (0..20_000)
                        .map(|_| {
                            describe_configs_request::DescribeConfigsResource::default()
                                .with_resource_type(2)
                                .with_resource_name(StrBytes::from_static_str("beside"))
                                .with_configuration_keys(None)
                        })
                        .collect(),
                ),
            ),
        ),
    ]
}

#[test]
fn requests_that_ask_for_much_work() {
    let _alone = alone();
    let node = Node::fresh(Target::Ours, &[]);
    for (api, bytes) in expensive() {
        let sent = bytes.len();
        hurt(&format!("{api} of {sent} bytes"), &node, 300 * MIB, |address| {
            std::thread::scope(|scope| {
                for _ in 0..2 {
                    scope.spawn(|| ask(&mut connect(address), &bytes));
                }
            });
        });
    }
}
