//! A raw client for exact moments: one connection, requests built by hand, no retries and no metadata of its own.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use protocol::batch::BatchBuilder;
use protocol::messages::create_topics_request::CreatableTopic;
use protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use protocol::messages::init_producer_id_response::InitProducerIdResponse;
use protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use protocol::messages::metadata_request::MetadataRequestTopic;
use protocol::messages::metadata_response::MetadataResponseTopic;
use protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use protocol::messages::{
    BrokerId, CreateTopicsRequest, DeleteTopicsRequest, DescribeLogDirsRequest, FetchRequest,
    InitProducerIdRequest, ListOffsetsRequest, MetadataRequest, ProduceRequest, ProducerId, TopicName,
};
use protocol::request::{RequestHeader, parse_response_header};
use protocol::{Decodable, Encodable, ErrorCode, Request, StrBytes};
use uuid::Uuid;

/// ListOffsets: the first offset.
const EARLIEST: i64 = -2;
/// The longest wait for one answer.
const LIMIT: Duration = Duration::from_secs(30);

/// One connection.
pub struct Wire {
    stream: TcpStream,
    correlation_id: i32,
    scratch: BytesMut,
}

impl Wire {
    /// Connects to a node that listens already.
    pub fn connect(address: &str) -> io::Result<Wire> {
        Wire::connect_within(address, LIMIT, LIMIT)
    }

    /// Connects within `connect`; no answer may take longer than `answer`.
    pub fn connect_within(address: &str, connect: Duration, answer: Duration) -> io::Result<Wire> {
        let address: SocketAddr = address.parse().map_err(io::Error::other)?;
        let stream = TcpStream::connect_timeout(&address, connect)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(answer))?;
        Ok(Wire { stream, correlation_id: 0, scratch: BytesMut::new() })
    }

    /// Connects as soon as the port accepts; the time is that of the connection.
    pub fn connect_soon(address: &str, limit: Duration) -> io::Result<(Wire, Instant)> {
        let deadline = Instant::now() + limit;
        loop {
            match Wire::connect(address) {
                Ok(wire) => return Ok((wire, Instant::now())),
                Err(e) if Instant::now() > deadline => return Err(e),
                Err(_) => std::thread::sleep(Duration::from_micros(100)),
            }
        }
    }

    /// Sets the longest wait for one answer, 30 s unless told otherwise.
    pub fn set_limit(&mut self, limit: Duration) -> io::Result<()> {
        self.stream.set_read_timeout(Some(limit))
    }

    /// Whether an answer begins to arrive within this time; the connection may have ended instead, which is an error.
    pub fn is_answered(&mut self, within: Duration) -> io::Result<bool> {
        self.stream.set_read_timeout(Some(within))?;
        let peeked = self.stream.peek(&mut [0; 1]);
        self.stream.set_read_timeout(Some(LIMIT))?;
        match peeked {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => Ok(true),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Sends a request; gives its correlation id.
    pub fn send<R: Request + Encodable>(&mut self, version: i16, request: &R) -> io::Result<i32> {
        self.correlation_id += 1;
        self.scratch.clear();
        self.scratch.put_i32(0);
        RequestHeader::put(R::KEY, version, self.correlation_id, Some("wire"), &mut self.scratch);
        request.encode(&mut self.scratch, version).map_err(io::Error::other)?;
        let size = self.scratch.len() as i32 - 4;
        self.scratch[..4].copy_from_slice(&size.to_be_bytes());
        self.stream.write_all(&self.scratch)?;
        Ok(self.correlation_id)
    }

    /// Reads the next answer, which must be the one to `correlation_id`.
    pub fn receive<R: Request>(&mut self, version: i16, correlation_id: i32) -> io::Result<R::Response>
    where
        R::Response: Decodable,
    {
        let mut size = [0; 4];
        self.stream.read_exact(&mut size)?;
        let mut frame = vec![0; i32::from_be_bytes(size) as usize];
        self.stream.read_exact(&mut frame)?;
        let (answered, start) = parse_response_header(R::KEY, version, &frame).map_err(io::Error::other)?;
        assert_eq!(answered, correlation_id, "answers come in the order of the requests");
        let mut body = Bytes::from(frame);
        body.advance(start);
        R::Response::decode(&mut body, version).map_err(io::Error::other)
    }

    /// Sends a request and reads its answer.
    pub fn call<R: Request + Encodable>(&mut self, version: i16, request: &R) -> io::Result<R::Response>
    where
        R::Response: Decodable,
    {
        let id = self.send(version, request)?;
        self.receive::<R>(version, id)
    }

    /// CreateTopics with one topic; the error is the topic's.
    pub fn create_topic(&mut self, topic: &str, partitions: i32) -> io::Result<ErrorCode> {
        Ok(self.create_topic_with_id(topic, partitions)?.0)
    }

    /// As [`Wire::create_topic`], with the topic's id.
    pub fn create_topic_with_id(&mut self, topic: &str, partitions: i32) -> io::Result<(ErrorCode, Uuid)> {
        let topic = CreatableTopic::default()
            .with_name(name(topic))
            .with_num_partitions(partitions)
            .with_replication_factor(1);
        let request = CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(30_000);
        let answer = self.call(7, &request)?;
        Ok((ErrorCode(answer.topics[0].error_code), answer.topics[0].topic_id))
    }

    /// DeleteTopics with one topic.
    pub fn delete_topic(&mut self, topic: &str) -> io::Result<ErrorCode> {
        let request =
            DeleteTopicsRequest::default().with_topic_names(vec![name(topic)]).with_timeout_ms(30_000);
        let answer = self.call(5, &request)?;
        Ok(ErrorCode(answer.responses[0].error_code))
    }

    /// Every topic with its id; creates none.
    pub fn all_topics(&mut self) -> io::Result<BTreeMap<String, Uuid>> {
        let answer = self.call(12, &MetadataRequest::default().with_topics(None))?;
        let named = |topic: &MetadataResponseTopic| Some((topic.name.as_ref()?.to_string(), topic.topic_id));
        Ok(answer.topics.iter().filter_map(named).collect())
    }

    /// Metadata of one partition, creating nothing: its error, its leader (-1: none) and its offline replicas.
    pub fn partition(&mut self, topic: &str, partition: i32) -> io::Result<(ErrorCode, i32, Vec<BrokerId>)> {
        let topic = MetadataRequestTopic::default().with_name(Some(name(topic)));
        let request = MetadataRequest::default().with_topics(Some(vec![topic]));
        let answer = self.call(12, &request)?;
        let found = answer.topics[0].partitions.iter().find(|p| p.partition_index == partition);
        let found = found.ok_or_else(|| io::Error::other("no such partition"))?;
        Ok((ErrorCode(found.error_code), found.leader_id.0, found.offline_replicas.clone()))
    }

    /// DescribeLogDirs: the error of each directory.
    pub fn log_dirs(&mut self) -> io::Result<BTreeMap<String, ErrorCode>> {
        let answer = self.call(4, &DescribeLogDirsRequest::default().with_topics(None))?;
        Ok(answer.results.iter().map(|dir| (dir.log_dir.to_string(), ErrorCode(dir.error_code))).collect())
    }

    /// The first offset of a partition.
    pub fn log_start(&mut self, topic: &str, partition: i32) -> io::Result<i64> {
        let partition =
            ListOffsetsPartition::default().with_partition_index(partition).with_timestamp(EARLIEST);
        let topic = ListOffsetsTopic::default().with_name(name(topic)).with_partitions(vec![partition]);
        let request = ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![topic]);
        let answer = self.call(5, &request)?;
        let partition = &answer.topics[0].partitions[0];
        match ErrorCode(partition.error_code) {
            ErrorCode::NONE => Ok(partition.offset),
            error => Err(io::Error::other(format!("ListOffsets: {error:?}"))),
        }
    }

    /// Metadata of one topic, created when it does not exist: its error and its partitions' errors.
    pub fn metadata(&mut self, topic: &str) -> io::Result<Vec<ErrorCode>> {
        let topic = MetadataRequestTopic::default().with_name(Some(name(topic)));
        let request =
            MetadataRequest::default().with_topics(Some(vec![topic])).with_allow_auto_topic_creation(true);
        let answer = self.call(12, &request)?;
        let codes = answer
            .topics
            .iter()
            .flat_map(|t| std::iter::once(t.error_code).chain(t.partitions.iter().map(|p| p.error_code)));
        Ok(codes.map(ErrorCode).collect())
    }

    /// A producer id for an idempotent producer.
    pub fn init_producer_id(&mut self) -> io::Result<InitProducerIdResponse> {
        let request = InitProducerIdRequest::default()
            .with_transactional_id(None)
            .with_transaction_timeout_ms(60_000)
            .with_producer_id(ProducerId(-1))
            .with_producer_epoch(-1);
        self.call(4, &request)
    }

    /// Produce with acks=all of ready batches to one partition: error and base offset.
    pub fn produce(&mut self, topic: &str, partition: i32, batches: Bytes) -> io::Result<(ErrorCode, i64)> {
        let id = self.send(9, &produce_request(topic, partition, batches))?;
        self.produced(id)
    }

    /// The answer to an earlier [`produce_request`].
    pub fn produced(&mut self, correlation_id: i32) -> io::Result<(ErrorCode, i64)> {
        let answer = self.receive::<ProduceRequest>(9, correlation_id)?;
        let partition = &answer.responses[0].partition_responses[0];
        Ok((ErrorCode(partition.error_code), partition.base_offset))
    }

    /// Fetch of one partition from `offset`: error, high watermark and the batches as they are.
    pub fn fetch(
        &mut self,
        topic: &str,
        partition: i32,
        offset: i64,
        max_bytes: i32,
    ) -> io::Result<(ErrorCode, i64, Bytes)> {
        let partition = FetchPartition::default()
            .with_partition(partition)
            .with_fetch_offset(offset)
            .with_partition_max_bytes(max_bytes);
        let topic = FetchTopic::default().with_topic(name(topic)).with_partitions(vec![partition]);
        let request = FetchRequest::default()
            .with_max_wait_ms(0)
            .with_min_bytes(0)
            .with_max_bytes(max_bytes)
            .with_session_epoch(-1)
            .with_topics(vec![topic]);
        let mut answer = self.call(12, &request)?;
        if answer.error_code != 0 || answer.responses.is_empty() {
            return Ok((ErrorCode(answer.error_code), -1, Bytes::new()));
        }
        let partition = answer.responses[0].partitions.remove(0);
        let records = partition.records.unwrap_or_default();
        Ok((ErrorCode(partition.error_code), partition.high_watermark, records))
    }
}

/// A topic's name as the messages want it.
pub fn name(topic: &str) -> TopicName {
    TopicName(StrBytes::from_string(topic.to_owned()))
}

/// Produce (version 9) with acks=all of ready batches to one partition.
pub fn produce_request(topic: &str, partition: i32, batches: Bytes) -> ProduceRequest {
    let data = PartitionProduceData::default().with_index(partition).with_records(Some(batches));
    let topic = TopicProduceData::default().with_name(name(topic)).with_partition_data(vec![data]);
    ProduceRequest::default().with_acks(-1).with_timeout_ms(30_000).with_topic_data(vec![topic])
}

/// One uncompressed batch of these values, without keys.
pub fn batch<V: AsRef<[u8]>>(values: &[V]) -> Bytes {
    let mut builder = BatchBuilder::new(0);
    for value in values {
        builder.push_pair(1_700_000_000_000, None, Some(value.as_ref()));
    }
    builder.build().freeze()
}
