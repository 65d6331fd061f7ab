//! The shell: waiting, timers, leadership; and Apache Kafka's own requests, answers and logs.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::OnceLock;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use protocol::messages::{
    DeleteGroupsRequest, DescribeGroupsRequest, HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest,
    ListGroupsRequest, OffsetCommitRequest, OffsetDeleteRequest, OffsetFetchRequest, SyncGroupRequest,
};
use protocol::{Decodable, Encodable, StrBytes};

use super::*;
use crate::api;
use crate::group::ClientContext;

const CLIENT: ClientContext<'static> =
    ClientContext { client_id: "g-classic-client", client_host: IpAddr::V4(Ipv4Addr::LOCALHOST) };

/// Four partitions in memory; the watermark follows at once unless held.
#[derive(Default)]
struct MemoryLog {
    partitions: Mutex<HashMap<i32, Vec<BytesMut>>>,
    end: Mutex<HashMap<i32, i64>>,
    held: Mutex<bool>,
    coordinator: OnceLock<std::sync::Weak<GroupCoordinator>>,
}

impl OffsetsLog for MemoryLog {
    fn append(&self, partition: i32, leader_epoch: i32, mut batch: BytesMut) -> Result<Appended, ErrorCode> {
        let header = protocol::batch::BatchHeader::parse(&batch).unwrap();
        protocol::batch::verify_crc(&batch).unwrap();
        assert_eq!((header.base_sequence, header.producer_id), (0, -1));
        let mut ends = self.end.lock();
        let end = ends.entry(partition).or_default();
        let base_offset = *end;
        *end += i64::from(header.records_count);
        protocol::batch::patch_base_offset(&mut batch, base_offset);
        protocol::batch::patch_leader_epoch(&mut batch, leader_epoch);
        self.partitions.lock().entry(partition).or_default().push(batch);
        let end_offset = *end;
        drop(ends);
        if *self.held.lock() {
            return Ok(Appended { base_offset, end_offset, high_watermark: 0 });
        }
        // As a partition of one replica may do: the news comes before the append returns.
        if let Some(coordinator) = self.coordinator.get().and_then(std::sync::Weak::upgrade) {
            coordinator.on_high_watermark(partition, end_offset);
        }
        Ok(Appended { base_offset, end_offset, high_watermark: 0 })
    }
}

struct AllTopics;

impl TopicLookup for AllTopics {
    fn partition_count(&self, topic: &str) -> Option<i32> {
        (topic != "missing").then_some(4)
    }
}

fn coordinator() -> (Arc<GroupCoordinator>, Arc<MemoryLog>) {
    let log = Arc::new(MemoryLog::default());
    let config = GroupConfig { offsets_partitions: 4, ..GroupConfig::default() };
    let coordinator = GroupCoordinator::new(config, log.clone(), Arc::new(AllTopics));
    log.coordinator.set(Arc::downgrade(&coordinator)).unwrap();
    tokio::spawn(coordinator.clone().run(CancellationToken::new()));
    for partition in 0..4 {
        let load = coordinator.begin_load(partition, 0).unwrap();
        coordinator.finish_load(load, 0);
    }
    (coordinator, log)
}

fn commit(offset: i64) -> CommitRequest<'static> {
    CommitRequest {
        member_id: "",
        instance_id: None,
        generation: -1,
        unknown_group: ErrorCode::GROUP_ID_NOT_FOUND,
        retention_ms: None,
        offsets: vec![crate::group::PartitionCommit {
            topic: "t",
            partition: 0,
            offset,
            leader_epoch: -1,
            metadata: "",
        }],
    }
}

async fn offset(coordinator: &GroupCoordinator, group: &str) -> Result<i64, ErrorCode> {
    let fetched = coordinator.fetch(group, Some(&[("t", &[0])]), true).await?;
    Ok(fetched[0].1[0].offset)
}

#[tokio::test(start_paused = true)]
async fn a_committed_write_is_answered_at_once() {
    let (coordinator, _) = coordinator();
    assert!(matches!(coordinator.commit("g", commit(5)), Reply::Ready(Some(Ok(())))));
    assert_eq!(offset(&coordinator, "g").await, Ok(5));
}

#[tokio::test(start_paused = true)]
async fn reads_and_writes_wait_for_the_watermark() {
    let (coordinator, log) = coordinator();
    *log.held.lock() = true;
    let written = coordinator.commit("g", commit(5));
    let read = coordinator.fetch("g", Some(&[("t", &[0])]), false);
    assert!(matches!((&written, &read), (Reply::Later(_), Reply::Later(_))));
    coordinator.on_high_watermark(coordinator.partition_for("g"), 1);
    assert_eq!(written.await, Ok(()));
    assert_eq!(read.await.unwrap()[0].1[0].offset, 5);
}

#[tokio::test(start_paused = true)]
async fn a_watermark_that_does_not_move_is_told_after_the_commit_timeout() {
    let (coordinator, log) = coordinator();
    *log.held.lock() = true;
    let started = Instant::now();
    let written = coordinator.commit("g", commit(5));
    let read = coordinator.fetch("g", None, true);
    assert_eq!(written.await, Err(ErrorCode::COORDINATOR_NOT_AVAILABLE));
    assert_eq!(read.await, Err(ErrorCode::NOT_COORDINATOR));
    assert_eq!(started.elapsed(), Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn leadership_comes_and_goes() {
    let (coordinator, log) = coordinator();
    coordinator.commit("g", commit(5)).await.unwrap();
    let partition = coordinator.partition_for("g");
    *log.held.lock() = true;
    let parked = coordinator.commit("g", commit(6));
    coordinator.resign(partition, Some(1));
    assert_eq!(parked.await, Err(ErrorCode::NOT_COORDINATOR));
    assert_eq!(offset(&coordinator, "g").await, Err(ErrorCode::NOT_COORDINATOR));

    assert!(coordinator.begin_load(partition, 1).is_none(), "that epoch is another's");
    let mut load = coordinator.begin_load(partition, 2).unwrap();
    assert_eq!(offset(&coordinator, "g").await, Err(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS));
    assert_eq!(coordinator.heartbeat("g", "m", None, 1), ErrorCode::NONE);
    assert_eq!(coordinator.list(), Err(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS));
    for batch in &log.partitions.lock()[&partition] {
        load.batches(batch).unwrap();
    }
    coordinator.finish_load(load, 2);
    assert_eq!(offset(&coordinator, "g").await, Ok(6));
    assert!(coordinator.begin_load(partition, 3).is_none(), "nothing to read: it never stopped leading");
    coordinator.resign(partition, Some(2));
    assert_eq!(offset(&coordinator, "g").await, Ok(6), "stale news");

    coordinator.resign(partition, None);
    assert!(coordinator.begin_load(partition, 0).is_some(), "a topic made anew starts at epoch 0");
}

#[tokio::test(start_paused = true)]
async fn a_load_that_was_overtaken_is_dropped() {
    let (coordinator, _) = coordinator();
    let partition = coordinator.partition_for("g");
    coordinator.resign(partition, Some(1));
    let load = coordinator.begin_load(partition, 2).unwrap();
    coordinator.resign(partition, Some(3));
    coordinator.finish_load(load, 0);
    assert_eq!(offset(&coordinator, "g").await, Err(ErrorCode::NOT_COORDINATOR));
}

#[tokio::test(start_paused = true)]
async fn timers_fire_by_themselves() {
    let (coordinator, _) = coordinator();
    let started = Instant::now();
    let joined = join(&coordinator, "").await;
    assert_eq!(joined.error, ErrorCode::MEMBER_ID_REQUIRED);
    let joined = join(&coordinator, &joined.member_id).await;
    assert_eq!((joined.error, joined.generation), (ErrorCode::NONE, 1));
    assert_eq!(started.elapsed(), Duration::from_secs(3));
    tokio::time::sleep(Duration::from_millis(10_001)).await;
    assert_eq!(coordinator.heartbeat("g", &joined.member_id, None, 1), ErrorCode::UNKNOWN_MEMBER_ID);
    assert_eq!(coordinator.describe("g").unwrap().state, "Empty");
}

async fn join(coordinator: &GroupCoordinator, member_id: &str) -> JoinReply {
    let request = JoinRequest {
        member_id: member_id.into(),
        new_member_id: "m".into(),
        instance_id: None,
        client_id: "c".into(),
        client_host: "/127.0.0.1".into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 10_000,
        protocol_type: "consumer".into(),
        protocols: vec![("range".into(), Bytes::new())],
        requires_member_id: true,
        can_skip_assignment: true,
    };
    coordinator.join("g", request).await
}

/// Commits from several threads while the watermark moves: each is answered, none hangs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_between_threads() {
    let (coordinator, log) = coordinator();
    *log.held.lock() = true;
    let tasks: Vec<_> = (0..4)
        .map(|_| {
            let coordinator = coordinator.clone();
            tokio::spawn(async move {
                for at in 0..200 {
                    coordinator.commit("g", commit(at)).await.unwrap();
                }
            })
        })
        .collect();
    let partition = coordinator.partition_for("g");
    let mover = {
        let (coordinator, log) = (coordinator.clone(), log.clone());
        tokio::spawn(async move {
            loop {
                let end = log.end.lock().get(&partition).copied().unwrap_or(0);
                coordinator.on_high_watermark(partition, end);
                if end == 800 {
                    return;
                }
                tokio::task::yield_now().await;
            }
        })
    };
    for task in tasks {
        task.await.unwrap();
    }
    mover.await.unwrap();
    assert!(coordinator.cell(partition).unwrap().inner.lock().waiting.is_empty());
}

/// The `__consumer_offsets` that Apache Kafka 4.1.2 left behind.
fn golden(coordinator: &GroupCoordinator) {
    let logs: [&[u8]; 4] = [
        include_bytes!("../../../testdata/consumer_offsets/0.log"),
        include_bytes!("../../../testdata/consumer_offsets/1.log"),
        include_bytes!("../../../testdata/consumer_offsets/2.log"),
        include_bytes!("../../../testdata/consumer_offsets/3.log"),
    ];
    for (partition, log) in (0..).zip(logs) {
        coordinator.resign(partition, None);
        let mut load = coordinator.begin_load(partition, 1).unwrap();
        load.batches(log).unwrap();
        let (records, end) = (load.records(), load.end_offset);
        assert_eq!(records, end.cast_unsigned());
        coordinator.finish_load(load, end);
    }
}

#[tokio::test(start_paused = true)]
async fn groups_of_apache_kafka_come_back() {
    let (coordinator, _) = coordinator();
    golden(&coordinator);
    let listed = coordinator.list().unwrap();
    let lines: Vec<String> = listed
        .iter()
        .map(|group| {
            format!("{} {} {} {}", group.group_id, group.protocol_type, group.state, group.group_type)
        })
        .collect();
    assert_eq!(
        lines,
        [
            "console-consumer-90353 consumer Empty classic",
            "g-848 consumer Empty consumer",
            "g-848-regex consumer Empty consumer",
            "g-assign  Empty classic",
            "g-classic consumer Empty classic",
            "g-share share Empty share",
            "g-tx  Empty classic",
        ]
    );
    let all = async |group: &str| -> Vec<String> {
        let fetched = coordinator.fetch(group, None, true).await.unwrap();
        let lines = fetched.iter().flat_map(|(topic, partitions)| {
            partitions.iter().map(move |found| {
                format!(
                    "{topic}-{} {} {} {:?}",
                    found.partition, found.offset, found.leader_epoch, found.metadata
                )
            })
        });
        lines.collect()
    };
    assert_eq!(
        all("g-classic").await,
        [
            "codecs-0 20 0 \"\"",
            "codecs-1 20 0 \"\"",
            "codecs-2 20 0 \"\"",
            "codecs-3 20 0 \"\"",
            "plain-0 11 0 \"\"",
            "txn-0 3 0 \"\"",
            "txn-1 1 0 \"\"",
        ]
    );
    assert_eq!(all("g-tx").await, ["plain-0 3 0 \"in a transaction\""], "committed by its marker");
    assert_eq!(all("g-848").await.len(), 5);
    assert_eq!(all("g-assign").await.len(), 0, "deleted later");
}

/// What a Java client 4.1.2 sent, and what Apache Kafka answered: key, version, both frames in hex.
fn wire() -> Vec<(i16, i16, Bytes, Bytes)> {
    let text = include_str!("../../../testdata/group-requests.txt");
    let bytes = |hex: &str| -> Bytes {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    };
    let line = |line: &str| {
        let fields: Vec<&str> = line.split(' ').collect();
        (fields[0].parse().unwrap(), fields[1].parse().unwrap(), bytes(fields[2]), bytes(fields[3]))
    };
    text.lines().map(line).collect()
}

/// The request of `wire` with this key, its `nth` one.
fn sent<R: Decodable>(key: i16, nth: usize) -> (i16, R, Bytes) {
    let (_, version, request, response) = wire().into_iter().filter(|line| line.0 == key).nth(nth).unwrap();
    let header = protocol::request::RequestHeader::parse(&request).unwrap();
    let request = R::decode(&mut request.slice(header.body_start..), version).unwrap();
    // Correlation id, and the tags of a flexible header.
    let header_size = 4 + protocol::versions::response_header_version(key, version) as usize;
    (version, request, response.slice(header_size..))
}

fn encoded(version: i16, response: &impl Encodable) -> Bytes {
    let mut out = BytesMut::new();
    response.encode(&mut out, version).unwrap();
    out.freeze()
}

fn replace(bytes: &Bytes, from: &str, to: &str) -> Bytes {
    assert_eq!(from.len(), to.len());
    let mut bytes = bytes.to_vec();
    while let Some(at) = bytes.windows(from.len()).position(|window| window == from.as_bytes()) {
        bytes[at..at + from.len()].copy_from_slice(to.as_bytes());
    }
    bytes.into()
}

/// The life of a consumer, request by request, answered to the byte as Apache Kafka answered it.
#[tokio::test(start_paused = true)]
async fn answers_as_apache_kafka() {
    const THEIRS: &str = "g-classic-client-0822efe9-36ee-4cc1-bf2c-79fecaa6aabf";
    let (groups, _) = coordinator();
    let (version, request, expected) = sent::<JoinGroupRequest>(11, 0);
    let answer = api::join_group::handle(&groups, version, CLIENT, request).await;
    let ours = answer.member_id.to_string();
    let id = StrBytes::from_string(ours.clone());
    assert_eq!(encoded(version, &answer), replace(&expected, THEIRS, &ours));

    let (version, mut request, expected) = sent::<JoinGroupRequest>(11, 1);
    request.member_id = id.clone();
    let answer = api::join_group::handle(&groups, version, CLIENT, request).await;
    assert_eq!(encoded(version, &answer), replace(&expected, THEIRS, &ours));

    let (version, mut request, expected) = sent::<SyncGroupRequest>(14, 0);
    request.member_id = id.clone();
    request.assignments[0].member_id = id.clone();
    let answer = api::sync_group::handle(&groups, version, CLIENT, request).await;
    assert_eq!(encoded(version, &answer), expected);

    let (version, request, expected) = sent::<OffsetFetchRequest>(9, 0);
    let answer = api::offset_fetch::handle(&groups, version, CLIENT, request).await;
    assert_eq!(encoded(version, &answer), expected);

    let (version, mut request, expected) = sent::<HeartbeatRequest>(12, 0);
    request.member_id = id.clone();
    let answer = api::heartbeat::handle(&groups, version, CLIENT, request).await;
    assert_eq!(encoded(version, &answer), expected);

    let (version, mut request, expected) = sent::<OffsetCommitRequest>(8, 0);
    request.member_id = id.clone();
    let answer = api::offset_commit::handle(&groups, version, CLIENT, request).await;
    assert_eq!(encoded(version, &answer), expected);

    let (version, mut request, expected) = sent::<LeaveGroupRequest>(13, 0);
    request.members[0].member_id = id.clone();
    let answer = api::leave_group::handle(&groups, version, CLIENT, request).await;
    assert_eq!(encoded(version, &answer), replace(&expected, THEIRS, &ours));
}

#[tokio::test(start_paused = true)]
async fn administrators_are_answered_as_by_apache_kafka() {
    let (groups, _) = coordinator();
    golden(&groups);
    let (version, request, expected) = sent::<OffsetCommitRequest>(8, 1);
    let answer = api::offset_commit::handle(&groups, version, CLIENT, request).await;
    assert_eq!(encoded(version, &answer), expected);
    let (version, request, expected) = sent::<OffsetDeleteRequest>(47, 0);
    let answer = api::offset_delete::handle(&groups, version, CLIENT, request).await;
    assert_eq!(encoded(version, &answer), expected);
    let (version, request, expected) = sent::<DeleteGroupsRequest>(42, 0);
    let answer = api::delete_groups::handle(&groups, version, CLIENT, request).await;
    assert_eq!(encoded(version, &answer), expected);

    // Order within these two answers is a hash table's.
    let (version, request, mut expected) = sent::<DescribeGroupsRequest>(15, 0);
    let mut answer = api::describe_groups::handle(&groups, version, CLIENT, request).await;
    let mut theirs = protocol::messages::DescribeGroupsResponse::decode(&mut expected, version).unwrap();
    answer.groups.sort_by_key(|group| group.group_id.to_string());
    theirs.groups.sort_by_key(|group| group.group_id.to_string());
    assert_eq!(answer, theirs);
    let (version, request, mut expected) = sent::<ListGroupsRequest>(16, 0);
    let answer = api::list_groups::handle(&groups, version, CLIENT, request).await;
    let mut theirs = protocol::messages::ListGroupsResponse::decode(&mut expected, version).unwrap();
    theirs.groups.sort_by_key(|group| group.group_id.to_string());
    for group in &mut theirs.groups {
        // Its member is still there for Apache Kafka.
        if group.group_id.as_str() == "g-848-regex" {
            group.group_state = "Empty".into();
        }
    }
    assert_eq!(answer, theirs);
}

/// Every version of every answer can be encoded, with members, errors and unknown groups in it.
#[tokio::test(start_paused = true)]
async fn every_version_can_be_encoded() {
    let (groups, _) = coordinator();
    groups.commit("simple", commit(5)).await.unwrap();
    for version in 0..=9 {
        let (_, mut request, _) = sent::<JoinGroupRequest>(11, 0);
        request.group_id.0 = StrBytes::from_string(format!("join-{version}"));
        request.group_instance_id = (version >= 5).then(|| "instance".into());
        let answer = api::join_group::handle(&groups, version, CLIENT, request).await;
        let expected = if version == 4 { ErrorCode::MEMBER_ID_REQUIRED } else { ErrorCode::NONE };
        assert_eq!(answer.error_code, expected.code(), "{version}");
        encoded(version, &answer);
        let (_, mut refused, _) = sent::<JoinGroupRequest>(11, 0);
        refused.session_timeout_ms = 1;
        let answer = api::join_group::handle(&groups, version, CLIENT, refused).await;
        assert_eq!(answer.error_code, ErrorCode::INVALID_SESSION_TIMEOUT.code());
        encoded(version, &answer);
        if version <= 5 {
            let leave = LeaveGroupRequest::default().with_group_id("join-9".to_owned().into_group());
            encoded(version, &api::leave_group::handle(&groups, version, CLIENT, leave).await);
            let sync = SyncGroupRequest::default().with_group_id("join-9".to_owned().into_group());
            encoded(version, &api::sync_group::handle(&groups, version, CLIENT, sync).await);
            let list = api::list_groups::handle(&groups, version, CLIENT, ListGroupsRequest::default()).await;
            assert!(!list.groups.is_empty());
            encoded(version, &list);
        }
        if version <= 6 {
            let names = ["join-9", "simple", "none"].map(|name| name.to_owned().into_group());
            let describe = DescribeGroupsRequest::default()
                .with_groups(names.to_vec())
                .with_include_authorized_operations(true);
            let answer = api::describe_groups::handle(&groups, version, CLIENT, describe).await;
            assert_eq!(answer.groups[2].group_state.as_str(), "Dead");
            assert_eq!(answer.groups[2].error_code, if version >= 6 { 69 } else { 0 });
            encoded(version, &answer);
        }
        fetches(&groups, version).await;
    }
}

async fn fetches(groups: &GroupCoordinator, version: i16) {
    if version < 1 {
        return;
    }
    let (_, new, _) = sent::<OffsetFetchRequest>(9, 0);
    let topic = protocol::messages::offset_fetch_request::OffsetFetchRequestTopic::default()
        .with_name(protocol::messages::TopicName("t".into()))
        .with_partition_indexes(vec![0]);
    let old = OffsetFetchRequest::default()
        .with_group_id("simple".to_owned().into_group())
        .with_topics((version == 1 || version > 4).then(|| vec![topic]));
    let request = if version >= 8 { new } else { old };
    let answer = api::offset_fetch::handle(groups, version, CLIENT, request).await;
    if version < 8 {
        assert_eq!(answer.topics[0].partitions[0].committed_offset, 5);
    }
    encoded(version, &answer);
}

trait IntoGroup {
    fn into_group(self) -> protocol::messages::GroupId;
}

impl IntoGroup for String {
    fn into_group(self) -> protocol::messages::GroupId {
        protocol::messages::GroupId(StrBytes::from_string(self))
    }
}
