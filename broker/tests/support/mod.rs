//! A broker with a controller of the test's own, and a client that speaks through kafka-protocol.
#![allow(clippy::unwrap_used, reason = "test support")]
#![allow(dead_code, reason = "every test file uses some of it")]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::{Bytes, BytesMut};
use metadata::delta::MetadataDelta;
use metadata::image::MetadataImage;
use minikafka_broker::config::{BrokerConfig, ListenerConfig};
use minikafka_broker::{
    BoundListeners, Broker, ControllerAnswer, ControllerCall, ControllerChannel, ControllerUnavailable,
    LockedDir, MetadataSource, Origin, Probe,
};
use protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use protocol::messages::{
    AllocateProducerIdsResponse, AssignReplicasToDirsRequest, AssignReplicasToDirsResponse,
    BrokerHeartbeatRequest, BrokerHeartbeatResponse, BrokerRegistrationRequest, BrokerRegistrationResponse,
    FetchRequest, ProduceRequest, ProducerId, TopicName,
};
use protocol::records::{
    BrokerEndpoint, ConfigRecord, FeatureLevelRecord, PartitionChangeRecord, PartitionRecord, Record,
    RegisterBrokerRecord, RemoveTopicRecord, TopicRecord,
};
use protocol::request::{RequestHeader, parse_response_header, put_response_header};
use protocol::versions::ApiKey;
use protocol::{Decodable, Encodable, ErrorCode, StrBytes};
use storage::dirs::LogDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use uuid::Uuid;

/// Id of a broker's only or first directory.
pub(crate) const DIR_ID: Uuid = Uuid::from_u128(0x1234_5678_9abc_def0_1234_5678_9abc_def0);
/// Id of its second one.
pub(crate) const OTHER_DIR_ID: Uuid = Uuid::from_u128(0x2234_5678_9abc_def0_1234_5678_9abc_def0);

const ASSIGN_REPLICAS_TO_DIRS: i16 = 73;

/// Decides nothing: takes what it is told as committed.
struct TestController {
    image: Mutex<MetadataImage>,
    records: Mutex<Vec<Record>>,
    deltas: Mutex<Option<mpsc::UnboundedSender<Arc<MetadataDelta>>>>,
    next_producer_id: AtomicI64,
    next_topic: AtomicU64,
    is_silent: AtomicBool,
}

impl TestController {
    fn commit(&self, records: &[Record]) -> i64 {
        self.records.lock().unwrap().extend_from_slice(records);
        let mut image = self.image.lock().unwrap();
        let mut delta = MetadataDelta::new(image.clone());
        delta.replay_all(records).unwrap();
        let offset = image.provenance.last_offset + records.len() as i64;
        delta.set_provenance(offset, 1, 0);
        *image = delta.after().clone();
        if let Some(deltas) = &*self.deltas.lock().unwrap() {
            let _ = deltas.send(Arc::new(delta));
        }
        offset
    }

    /// Incarnation and epoch of the broker.
    fn registered(&self) -> Option<(Uuid, i64)> {
        let image = self.image.lock().unwrap();
        image.cluster.broker(1).map(|broker| (broker.incarnation_id, broker.epoch))
    }

    fn epoch_for(&self, incarnation: Uuid) -> i64 {
        self.registered().map_or(1, |(known, epoch)| epoch + i64::from(known != incarnation))
    }

    fn answer(&self, request: &Bytes) -> ControllerAnswer {
        let header = RequestHeader::parse(request).unwrap();
        let (key, version) = (header.api_key, header.api_version);
        let mut response = BytesMut::new();
        put_response_header(key, version, header.correlation_id, &mut response);
        let mut committed_offset = -1;
        match key {
            ApiKey::BROKER_REGISTRATION => {
                let mut body = request.slice(header.body_start..);
                let registration = BrokerRegistrationRequest::decode(&mut body, version).unwrap();
                let epoch = self.epoch_for(registration.incarnation_id);
                committed_offset = self.commit(&[register(&registration, epoch)]);
                BrokerRegistrationResponse::default()
                    .with_broker_epoch(epoch)
                    .encode(&mut response, version)
                    .unwrap();
            }
            ApiKey::BROKER_HEARTBEAT => {
                let mut body = request.slice(header.body_start..);
                let heartbeat = BrokerHeartbeatRequest::decode(&mut body, version).unwrap();
                let is_stale = self.registered().is_some_and(|(_, epoch)| epoch != heartbeat.broker_epoch);
                let code = if is_stale { ErrorCode::STALE_BROKER_EPOCH } else { ErrorCode::NONE };
                BrokerHeartbeatResponse::default()
                    .with_error_code(code.code())
                    .with_is_fenced(false)
                    .with_is_caught_up(true)
                    .with_should_shut_down(true)
                    .encode(&mut response, version)
                    .unwrap();
            }
            ApiKey::ALLOCATE_PRODUCER_IDS => {
                let start = self.next_producer_id.fetch_add(1000, Ordering::Relaxed);
                AllocateProducerIdsResponse::default()
                    .with_producer_id_start(ProducerId(start))
                    .with_producer_id_len(1000)
                    .encode(&mut response, version)
                    .unwrap();
            }
            ASSIGN_REPLICAS_TO_DIRS => {
                let mut body = request.slice(header.body_start..);
                let request = AssignReplicasToDirsRequest::decode(&mut body, version).unwrap();
                committed_offset = self.commit(&assignments(&request));
                AssignReplicasToDirsResponse::default().encode(&mut response, version).unwrap();
            }
            other => panic!("the broker sent API key {other}"),
        }
        ControllerAnswer { response: response.freeze(), committed_offset }
    }
}

fn assignments(request: &AssignReplicasToDirsRequest) -> Vec<Record> {
    let mut records = Vec::new();
    for directory in &request.directories {
        for topic in &directory.topics {
            records.extend(topic.partitions.iter().map(|partition| {
                Record::PartitionChange(PartitionChangeRecord {
                    partition_id: partition.partition_index,
                    topic_id: topic.topic_id,
                    directories: Some(vec![directory.id]),
                    ..PartitionChangeRecord::default()
                })
            }));
        }
    }
    records
}

fn register(registration: &BrokerRegistrationRequest, broker_epoch: i64) -> Record {
    let end_points = registration
        .listeners
        .iter()
        .map(|l| BrokerEndpoint {
            name: l.name.to_string(),
            host: l.host.to_string(),
            port: l.port,
            security_protocol: l.security_protocol,
        })
        .collect();
    Record::RegisterBroker(RegisterBrokerRecord {
        broker_id: 1,
        incarnation_id: registration.incarnation_id,
        broker_epoch,
        end_points,
        fenced: false,
        log_dirs: registration.log_dirs.clone(),
        ..RegisterBrokerRecord::default()
    })
}

struct Channel(Arc<TestController>);

impl ControllerChannel for Channel {
    fn call(&self, _origin: Origin, request: Bytes) -> ControllerCall {
        if self.0.is_silent.load(Ordering::Relaxed) {
            return Box::pin(async { Err(ControllerUnavailable) });
        }
        let answer = self.0.answer(&request);
        Box::pin(async move { Ok(answer) })
    }
}

struct Source(mpsc::UnboundedReceiver<Arc<MetadataDelta>>);

impl MetadataSource for Source {
    fn next(&mut self) -> std::pin::Pin<Box<dyn Future<Output = Option<Arc<MetadataDelta>>> + Send + '_>> {
        Box::pin(self.0.recv())
    }
}

/// What a broker is started with.
#[derive(Clone, Copy, Default)]
pub(crate) struct Setup {
    /// Properties beside those that every broker has.
    pub(crate) properties: &'static [(&'static str, &'static str)],
    /// Two log directories instead of one.
    pub(crate) two_dirs: bool,
}

/// A running broker, its directories and its controller.
pub(crate) struct TestBroker {
    broker: Broker,
    probe: Arc<Probe>,
    controller: Arc<TestController>,
    dir: tempfile::TempDir,
    setup: Setup,
}

impl TestBroker {
    /// A broker on an empty directory.
    pub(crate) async fn start() -> Self {
        Self::start_with(Setup::default()).await
    }

    /// A broker on empty directories.
    pub(crate) async fn start_with(setup: Setup) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let controller = Arc::new(TestController {
            image: Mutex::new(MetadataImage::empty()),
            records: Mutex::new(Vec::new()),
            deltas: Mutex::new(None),
            next_producer_id: AtomicI64::new(1000),
            next_topic: AtomicU64::new(1000),
            is_silent: AtomicBool::new(false),
        });
        let level = FeatureLevelRecord { name: "metadata.version".into(), feature_level: 27 };
        controller.commit(&[Record::FeatureLevel(level)]);
        Self::start_in(dir, controller, setup).await
    }

    async fn start_in(dir: tempfile::TempDir, controller: Arc<TestController>, setup: Setup) -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        let image = controller.image.lock().unwrap().clone();
        sender.send(Arc::new(MetadataDelta::between(MetadataImage::empty(), image))).unwrap();
        *controller.deltas.lock().unwrap() = Some(sender);
        let mut config = config(setup.properties);
        let bound = BoundListeners::bind(&mut config).await.unwrap();
        let names = [("data", DIR_ID), ("data2", OTHER_DIR_ID)];
        let dirs = names[..1 + usize::from(setup.two_dirs)].iter().map(|(name, id)| {
            let path = dir.path().join(name);
            std::fs::create_dir_all(&path).unwrap();
            LockedDir { dir: LogDir::open(&path).unwrap(), id: *id }
        });
        let probe = Probe::new(true);
        let broker = Broker::start(
            config,
            bound,
            dirs.collect(),
            Arc::new(Channel(controller.clone())),
            Box::new(Source(receiver)),
            &tokio::runtime::Handle::current(),
            probe.clone(),
        )
        .await
        .unwrap();
        Self { broker, probe, controller, dir, setup }
    }

    /// Stops in order and starts again on the same directories.
    pub(crate) async fn restart(self) -> Self {
        self.restart_after(|_| {}).await
    }

    /// Likewise; `meddle` gets the first directory in between.
    pub(crate) async fn restart_after(self, meddle: impl FnOnce(&Path)) -> Self {
        self.broker.stop().await;
        meddle(&self.dir.path().join("data"));
        Self::start_in(self.dir, self.controller, self.setup).await
    }

    /// The first directory.
    pub(crate) fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Has the controller commit records, and waits until the broker has applied them.
    pub(crate) async fn commit(&self, records: &[Record]) {
        let offset = self.controller.commit(records);
        self.broker.wait_for_metadata(offset).await;
    }

    /// Sets a topic's configuration key.
    pub(crate) async fn set_config(&self, topic: &str, name: &str, value: &str) {
        let (resource_name, name, value) = (topic.to_owned(), name.to_owned(), Some(value.to_owned()));
        self.commit(&[Record::Config(ConfigRecord { resource_type: 2, resource_name, name, value })]).await;
    }

    /// Deletes a topic.
    pub(crate) async fn delete_topic(&self, name: &str) {
        let topic_id = self.topic_id(name);
        self.commit(&[Record::RemoveTopic(RemoveTopicRecord { topic_id })]).await;
    }

    /// In which directory the controller believes partition 0 of a topic to be.
    pub(crate) fn directory_of(&self, topic: &str) -> Uuid {
        let image = self.controller.image.lock().unwrap();
        image.topics.by_name(topic).unwrap().partition(0).unwrap().directories[0]
    }

    /// Incarnation and epoch of the broker, as the controller knows it.
    pub(crate) fn registered(&self) -> (Uuid, i64) {
        self.controller.registered().unwrap()
    }

    /// Looks into the broker.
    pub(crate) fn probe(&self) -> &Arc<Probe> {
        &self.probe
    }

    /// From now on the controller answers, or it does not.
    pub(crate) fn set_silent(&self, is_silent: bool) {
        self.controller.is_silent.store(is_silent, Ordering::Relaxed);
    }

    /// Stops in order.
    pub(crate) async fn stop(self) {
        self.broker.stop().await;
    }

    /// Where clients connect.
    pub(crate) fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.broker.listeners()[0].advertised_port).into()
    }

    /// Id of a topic made with [`TestBroker::create_topic`].
    pub(crate) fn topic_id(&self, name: &str) -> Uuid {
        self.controller.image.lock().unwrap().topics.by_name(name).unwrap().id
    }

    /// Makes a topic and waits until the broker names it.
    pub(crate) async fn create_topic(&self, name: &str, partitions: i32) {
        let dir = if self.setup.two_dirs { metadata::directory::UNASSIGNED } else { DIR_ID };
        let topic_id = Uuid::from_u64_pair(1, self.controller.next_topic.fetch_add(1, Ordering::Relaxed));
        let mut records = vec![Record::Topic(TopicRecord { name: name.into(), topic_id })];
        records.extend((0..partitions).map(|partition_id| {
            Record::Partition(PartitionRecord {
                partition_id,
                topic_id,
                replicas: vec![1],
                isr: vec![1],
                leader: 1,
                leader_epoch: 0,
                partition_epoch: 0,
                directories: vec![dir],
                ..PartitionRecord::default()
            })
        }));
        self.commit(&records).await;
    }
}

fn config(more: &[(&str, &str)]) -> BrokerConfig {
    let properties = [("node.id", "1"), ("process.roles", "broker,controller")];
    let properties = properties.iter().chain(more).map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    BrokerConfig {
        capacity: minikafka_broker::Capacity::default(),
        memory: net::MemoryBudget::new(256 << 20),
        node_id: 1,
        cluster_id: "test".into(),
        incarnation_id: Uuid::from_u128(1),
        rack: None,
        listeners: vec![ListenerConfig {
            name: "PLAINTEXT".into(),
            host: "127.0.0.1".into(),
            port: 0,
            advertised_host: "127.0.0.1".into(),
            advertised_port: 0,
            security_protocol: 0,
        }],
        inter_broker_listener: "PLAINTEXT".into(),
        properties: Arc::new(metadata::config::StaticConfig::new(properties).unwrap()),
    }
}

/// A topic name as messages hold it.
pub(crate) fn topic_name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}

/// An uncompressed batch of records without keys.
pub(crate) fn batch(timestamp: i64, values: &[&[u8]]) -> Bytes {
    let mut builder = protocol::batch::BatchBuilder::new(0);
    for value in values {
        builder.push_pair(timestamp, None, Some(value));
    }
    builder.build().freeze()
}

/// One connection.
pub(crate) struct Client {
    stream: TcpStream,
    sent: i32,
    received: i32,
}

impl Client {
    /// Connects.
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self { stream: TcpStream::connect(address).await.unwrap(), sent: 0, received: 0 }
    }

    /// Sends a request and waits for its response.
    pub(crate) async fn call<R: Decodable>(&mut self, key: i16, version: i16, request: &impl Encodable) -> R {
        self.send(key, version, request).await;
        self.receive(key, version).await
    }

    /// Sends a request.
    pub(crate) async fn send(&mut self, key: i16, version: i16, request: &impl Encodable) {
        self.sent += 1;
        let mut frame = BytesMut::new();
        RequestHeader::put(key, version, self.sent, Some("test"), &mut frame);
        request.encode(&mut frame, version).unwrap();
        self.send_raw(&frame).await;
    }

    /// Sends a frame.
    pub(crate) async fn send_raw(&mut self, frame: &[u8]) {
        let size = (frame.len() as i32).to_be_bytes();
        self.stream.write_all(&[&size[..], frame].concat()).await.unwrap();
    }

    /// The next response, which must answer the oldest request and be read to its end.
    pub(crate) async fn receive<R: Decodable>(&mut self, key: i16, version: i16) -> R {
        let frame = Bytes::from(self.receive_raw().await);
        self.received += 1;
        let (correlation_id, body) = parse_response_header(key, version, &frame).unwrap();
        assert_eq!(correlation_id, self.received);
        let mut body = frame.slice(body..);
        let response = R::decode(&mut body, version).unwrap();
        assert!(body.is_empty(), "API key {key} version {version}: {} bytes too many", body.len());
        response
    }

    /// The next frame.
    pub(crate) async fn receive_raw(&mut self) -> Vec<u8> {
        let size = self.stream.read_i32().await.unwrap();
        let mut frame = vec![0; size as usize];
        self.stream.read_exact(&mut frame).await.unwrap();
        frame
    }

    /// Whether the broker closes the connection without an answer.
    pub(crate) async fn is_closed(&mut self) -> bool {
        matches!(self.stream.read_i32().await, Err(e) if e.kind() != std::io::ErrorKind::WouldBlock)
    }
}

/// A Produce request for partition 0 of a topic, in a version that names topics or one that has their ids.
pub(crate) fn produce(
    version: i16,
    broker: &TestBroker,
    topic: &str,
    acks: i16,
    records: Bytes,
) -> ProduceRequest {
    let data = PartitionProduceData::default().with_index(0).with_records(Some(records));
    let topic = if version >= 13 {
        TopicProduceData::default().with_topic_id(broker.topic_id(topic))
    } else {
        TopicProduceData::default().with_name(topic_name(topic))
    };
    ProduceRequest::default()
        .with_acks(acks)
        .with_timeout_ms(1000)
        .with_topic_data(vec![topic.with_partition_data(vec![data])])
}

/// A Fetch request outside of a session for partition 0 of a topic.
pub(crate) fn fetch(version: i16, broker: &TestBroker, topic: &str, offset: i64) -> FetchRequest {
    let partition = FetchPartition::default()
        .with_partition(0)
        .with_fetch_offset(offset)
        .with_partition_max_bytes(1 << 20);
    let topic = if version >= 13 {
        FetchTopic::default().with_topic_id(broker.topic_id(topic))
    } else {
        FetchTopic::default().with_topic(topic_name(topic))
    };
    FetchRequest::default()
        .with_max_wait_ms(1000)
        .with_min_bytes(1)
        .with_max_bytes(1 << 20)
        .with_session_epoch(-1)
        .with_topics(vec![topic.with_partitions(vec![partition])])
}
