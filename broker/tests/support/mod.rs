//! A broker with a controller of the test's own, and a client that speaks through kafka-protocol.
#![allow(clippy::unwrap_used, reason = "test support")]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use bytes::{Bytes, BytesMut};
use metadata::delta::MetadataDelta;
use metadata::image::MetadataImage;
use minikafka_broker::config::{BrokerConfig, ListenerConfig};
use minikafka_broker::{
    BoundListeners, Broker, ControllerAnswer, ControllerCall, ControllerChannel, LockedDir, MetadataSource,
};
use protocol::messages::{
    BrokerHeartbeatResponse, BrokerRegistrationRequest, BrokerRegistrationResponse, TopicName,
};
use protocol::records::{
    BrokerEndpoint, FeatureLevelRecord, PartitionRecord, Record, RegisterBrokerRecord, TopicRecord,
};
use protocol::request::{RequestHeader, parse_response_header, put_response_header};
use protocol::versions::ApiKey;
use protocol::{Decodable, Encodable, StrBytes};
use storage::dirs::LogDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use uuid::Uuid;

const DIR_ID: Uuid = Uuid::from_u128(0x1234_5678_9abc_def0_1234_5678_9abc_def0);

/// Decides nothing: takes what it is told as committed.
struct TestController {
    image: Mutex<MetadataImage>,
    records: Mutex<Vec<Record>>,
    deltas: Mutex<Option<mpsc::UnboundedSender<Arc<MetadataDelta>>>>,
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
                committed_offset = self.commit(&[register(&registration)]);
                BrokerRegistrationResponse::default()
                    .with_broker_epoch(1)
                    .encode(&mut response, version)
                    .unwrap();
            }
            ApiKey::BROKER_HEARTBEAT => {
                BrokerHeartbeatResponse::default()
                    .with_is_fenced(false)
                    .with_is_caught_up(true)
                    .with_should_shut_down(true)
                    .encode(&mut response, version)
                    .unwrap();
            }
            other => panic!("the broker sent API key {other}"),
        }
        ControllerAnswer { response: response.freeze(), committed_offset }
    }
}

fn register(registration: &BrokerRegistrationRequest) -> Record {
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
        broker_epoch: 1,
        end_points,
        fenced: false,
        log_dirs: registration.log_dirs.clone(),
        ..RegisterBrokerRecord::default()
    })
}

struct Channel(Arc<TestController>);

impl ControllerChannel for Channel {
    fn call(&self, request: Bytes) -> ControllerCall {
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

/// A running broker, its directory and its controller.
pub(crate) struct TestBroker {
    broker: Broker,
    controller: Arc<TestController>,
    dir: tempfile::TempDir,
}

impl TestBroker {
    /// A broker on an empty directory.
    pub(crate) async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let controller = Arc::new(TestController {
            image: Mutex::new(MetadataImage::empty()),
            records: Mutex::new(Vec::new()),
            deltas: Mutex::new(None),
        });
        let level = FeatureLevelRecord { name: "metadata.version".into(), feature_level: 27 };
        controller.commit(&[Record::FeatureLevel(level)]);
        Self::start_in(dir, controller).await
    }

    async fn start_in(dir: tempfile::TempDir, controller: Arc<TestController>) -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        let image = controller.image.lock().unwrap().clone();
        sender.send(Arc::new(MetadataDelta::between(MetadataImage::empty(), image))).unwrap();
        *controller.deltas.lock().unwrap() = Some(sender);
        let mut config = config();
        let bound = BoundListeners::bind(&mut config).await.unwrap();
        let path: PathBuf = dir.path().join("data");
        std::fs::create_dir_all(&path).unwrap();
        let dirs = vec![LockedDir { dir: LogDir::open(&path).unwrap(), id: DIR_ID }];
        let channel = Arc::new(Channel(controller.clone()));
        let broker = Broker::start(
            config,
            bound,
            dirs,
            channel,
            Box::new(Source(receiver)),
            &tokio::runtime::Handle::current(),
        )
        .await
        .unwrap();
        Self { broker, controller, dir }
    }

    /// Stops in order and starts again on the same directory.
    pub(crate) async fn restart(self) -> Self {
        self.broker.stop().await;
        Self::start_in(self.dir, self.controller).await
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
        let topic_id = Uuid::new_v5(&DIR_ID, name.as_bytes());
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
                directories: vec![DIR_ID],
                ..PartitionRecord::default()
            })
        }));
        let offset = self.controller.commit(&records);
        self.broker.wait_for_metadata(offset).await;
    }
}

fn config() -> BrokerConfig {
    let properties = [("node.id", "1"), ("process.roles", "broker,controller")];
    let properties = properties.map(|(k, v)| (k.to_owned(), v.to_owned())).into_iter().collect();
    BrokerConfig {
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
