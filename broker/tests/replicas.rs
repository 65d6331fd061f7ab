//! What becomes of replicas: topics that are deleted and made anew, directories that fail, restarts, settings.
#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use protocol::ErrorCode;
use protocol::batch::BatchBuilder;
use protocol::compress::Codec;
use protocol::messages::{FetchResponse, InitProducerIdRequest, InitProducerIdResponse, ProduceResponse};
use protocol::records::{
    BrokerRegistrationChangeRecord, ConfigRecord, PartitionChangeRecord, Record, RegisterBrokerRecord,
};
use protocol::versions::ApiKey;
use support::{Client, DIR_ID, OTHER_DIR_ID, Setup, TestBroker, batch, fetch, produce};

/// Writes to partition 0 and gives the error and the base offset.
async fn write(client: &mut Client, broker: &TestBroker, topic: &str, records: Bytes) -> (ErrorCode, i64) {
    let response: ProduceResponse =
        client.call(ApiKey::PRODUCE, 9, &produce(9, broker, topic, -1, records)).await;
    let result = &response.responses[0].partition_responses[0];
    (ErrorCode(result.error_code), result.base_offset)
}

/// Reads partition 0 and gives the error, the high watermark and the records.
async fn read(client: &mut Client, broker: &TestBroker, topic: &str, at: i64) -> (ErrorCode, i64, Bytes) {
    let request = fetch(12, broker, topic, at).with_max_wait_ms(0);
    let response: FetchResponse = client.call(ApiKey::FETCH, 12, &request).await;
    let partition = &response.responses[0].partitions[0];
    let records = partition.records.clone().unwrap_or_default();
    (ErrorCode(partition.error_code), partition.high_watermark, records)
}

fn values(records: &[u8]) -> Vec<Vec<u8>> {
    let mut values = Vec::new();
    for batch in protocol::batch::batches(records) {
        let mut scratch = Vec::new();
        for record in batch.unwrap().open_records(1 << 20, &mut scratch).unwrap() {
            values.push(record.unwrap().value.unwrap().to_vec());
        }
    }
    values
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_of_the_same_name_starts_anew() {
    let broker = TestBroker::start().await;
    let mut client = Client::connect(broker.address()).await;
    for round in 0..3 {
        broker.create_topic("t", 2).await;
        assert_eq!(read(&mut client, &broker, "t", 0).await, (ErrorCode::NONE, 0, Bytes::new()));
        for expected in 0..=round {
            assert_eq!(
                write(&mut client, &broker, "t", batch(0, &[b"a"])).await,
                (ErrorCode::NONE, expected)
            );
        }
        let mut reader = Client::connect(broker.address()).await;
        let waiting = fetch(12, &broker, "t", round + 1).with_max_wait_ms(60_000);
        reader.send(ApiKey::FETCH, 12, &waiting).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        broker.delete_topic("t").await;
        let response: FetchResponse = reader.receive(ApiKey::FETCH, 12).await;
        let code = ErrorCode(response.responses[0].partitions[0].error_code);
        assert_eq!(code, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, "a fetch waited for the topic");
    }
    let folders = std::fs::read_dir(broker.data()).unwrap();
    let names = folders.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let deleted: Vec<_> = names.filter(|name| name.starts_with("t-")).collect();
    assert!(deleted.len() == 6 && deleted.iter().all(|name| name.ends_with("-delete")), "{deleted:?}");
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offsets_of_a_deleted_topic_do_not_come_back() {
    let broker = TestBroker::start().await;
    broker.create_topic("t", 1).await;
    let mut client = Client::connect(broker.address()).await;
    for expected in 0..5 {
        assert_eq!(write(&mut client, &broker, "t", batch(0, &[b"a"])).await.1, expected);
    }
    let broker = broker.restart().await;
    let checkpoint = broker.data().join("replication-offset-checkpoint");
    assert!(std::fs::read_to_string(&checkpoint).unwrap().contains("t 0 5"));
    broker.delete_topic("t").await;
    assert!(!std::fs::read_to_string(&checkpoint).unwrap().contains("t 0"));
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_that_fails_takes_only_its_own_down() {
    let setup = Setup { two_dirs: true, ..Setup::default() };
    let broker = TestBroker::start_with(setup).await;
    let topics = ["a", "b"];
    let mut client = Client::connect(broker.address()).await;
    for topic in topics {
        broker.create_topic(topic, 1).await;
        assert_eq!(write(&mut client, &broker, topic, batch(0, &[b"x"])).await, (ErrorCode::NONE, 0));
    }
    // The controller was told which directory the broker chose.
    let assigned = || topics.map(|topic| broker.directory_of(topic));
    while assigned().contains(&metadata::directory::UNASSIGNED) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let mut dirs = assigned();
    dirs.sort_unstable();
    assert_eq!(dirs, [DIR_ID, OTHER_DIR_ID]);
    let [first, second] = if broker.directory_of("a") == DIR_ID { ["a", "b"] } else { ["b", "a"] };

    // A file where the first directory was: whatever is made there now fails.
    let away = broker.data().with_file_name("away");
    std::fs::rename(broker.data(), &away).unwrap();
    std::fs::write(broker.data(), "").unwrap();
    broker.create_topic("c", 1).await;
    broker.create_topic("d", 1).await;
    assert_eq!(write(&mut client, &broker, first, batch(0, &[b"x"])).await.0, ErrorCode::KAFKA_STORAGE_ERROR);
    assert_eq!(read(&mut client, &broker, first, 0).await.0, ErrorCode::KAFKA_STORAGE_ERROR);
    for (topic, offset) in [(second, 1), ("c", 0), ("d", 0)] {
        assert_eq!(write(&mut client, &broker, topic, batch(0, &[b"x"])).await, (ErrorCode::NONE, offset));
    }

    // A start without what the first directory held: its partition is not begun anew anywhere.
    let broker = broker
        .restart_after(|data| {
            std::fs::remove_file(data).unwrap();
            std::fs::create_dir(data).unwrap();
            std::fs::write(data.join("replication-offset-checkpoint"), "0\n0\n").unwrap();
            std::fs::create_dir(data.join("no-such-partition")).unwrap();
        })
        .await;
    let mut client = Client::connect(broker.address()).await;
    assert_eq!(write(&mut client, &broker, first, batch(0, &[b"x"])).await.0, ErrorCode::KAFKA_STORAGE_ERROR);
    assert_eq!(write(&mut client, &broker, second, batch(0, &[b"x"])).await, (ErrorCode::NONE, 2));

    // And with the directory back, everything is there.
    let broker = broker
        .restart_after(|data| {
            std::fs::remove_dir_all(data).unwrap();
            std::fs::rename(&away, data).unwrap();
        })
        .await;
    let mut client = Client::connect(broker.address()).await;
    for (topic, offset) in [(first, 1), (second, 3), ("c", 1)] {
        assert_eq!(write(&mut client, &broker, topic, batch(0, &[b"x"])).await, (ErrorCode::NONE, offset));
    }
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_producer_that_repeats_itself_after_a_restart_writes_once() {
    let broker = TestBroker::start().await;
    broker.create_topic("t", 1).await;
    let mut client = Client::connect(broker.address()).await;
    let request =
        InitProducerIdRequest::default().with_transactional_id(None).with_transaction_timeout_ms(1000);
    let producer: InitProducerIdResponse = client.call(ApiKey::INIT_PRODUCER_ID, 4, &request).await;
    assert_eq!((producer.error_code, producer.producer_id.0), (0, 1000));
    // Of now: a producer whose last batch is older than producer.id.expiration.ms is not loaded again.
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis() as i64;
    let batch = |sequence| {
        let mut builder = BatchBuilder::new(0).producer(1000, 0, sequence);
        builder.push_pair(now, None, Some(b"v"));
        builder.build().freeze()
    };
    for sequence in 0..3 {
        let written = write(&mut client, &broker, "t", batch(sequence)).await;
        assert_eq!(written, (ErrorCode::NONE, i64::from(sequence)));
    }
    assert_eq!(write(&mut client, &broker, "t", batch(2)).await, (ErrorCode::NONE, 2));
    let gap = write(&mut client, &broker, "t", batch(4)).await.0;
    assert_eq!(gap, ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER);
    let broker = broker.restart().await;
    let mut client = Client::connect(broker.address()).await;
    assert_eq!(write(&mut client, &broker, "t", batch(2)).await, (ErrorCode::NONE, 2));
    let gap = write(&mut client, &broker, "t", batch(4)).await.0;
    assert_eq!(gap, ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER);
    assert_eq!(write(&mut client, &broker, "t", batch(3)).await, (ErrorCode::NONE, 3));
    assert_eq!(read(&mut client, &broker, "t", 0).await.1, 4);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_store_what_their_compression_type_says() {
    let broker = TestBroker::start().await;
    let mut client = Client::connect(broker.address()).await;
    let codecs = [
        ("uncompressed", Some(Codec::None)),
        ("gzip", Some(Codec::Gzip)),
        ("snappy", Some(Codec::Snappy)),
        ("lz4", Some(Codec::Lz4)),
        ("zstd", Some(Codec::Zstd)),
        ("producer", None),
    ];
    let sent: Vec<Vec<u8>> = (0..20).map(|i| format!("value {i}").repeat(20).into_bytes()).collect();
    for (name, stored) in codecs {
        broker.create_topic(name, 1).await;
        broker.set_config(name, "compression.type", name).await;
        for codec in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
            let mut builder = BatchBuilder::new(0).codec(codec, None);
            for value in &sent {
                builder.push_pair(7, Some(b"k"), Some(value));
            }
            let (error, offset) = write(&mut client, &broker, name, builder.build().freeze()).await;
            assert_eq!(error, ErrorCode::NONE, "{codec:?} into {name}");
            let (_, _, records) = read(&mut client, &broker, name, offset).await;
            assert_eq!(values(&records), sent, "{codec:?} into {name}");
            let header = protocol::batch::BatchHeader::parse(&records).unwrap();
            assert_eq!(header.codec().unwrap(), stored.unwrap_or(codec), "{codec:?} into {name}");
        }
    }
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retention_deletes_old_segments_and_moves_the_log_start() {
    let properties = &[("log.retention.check.interval.ms", "50"), ("log.initial.task.delay.ms", "1")];
    let broker = TestBroker::start_with(Setup { properties, ..Setup::default() }).await;
    broker.create_topic("t", 1).await;
    broker.set_config("t", "segment.bytes", "1048576").await;
    broker.set_config("t", "retention.bytes", "2000000").await;
    broker.set_config("t", "file.delete.delay.ms", "0").await;
    let mut client = Client::connect(broker.address()).await;
    let value = vec![b'x'; 500_000];
    for expected in 0..20 {
        let written = write(&mut client, &broker, "t", batch(i64::MAX / 2, &[&value])).await;
        assert_eq!(written.0, ErrorCode::INVALID_TIMESTAMP, "a timestamp from the far future");
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis() as i64;
        let written = write(&mut client, &broker, "t", batch(now, &[&value])).await;
        assert_eq!(written, (ErrorCode::NONE, expected));
    }
    let log_files = || {
        let files = std::fs::read_dir(broker.data().join("t-0")).unwrap();
        let is_log = |name: &str| name.contains(".log");
        files.filter(|f| is_log(&f.as_ref().unwrap().file_name().to_string_lossy())).count()
    };
    for _ in 0..200 {
        if log_files() <= 3 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(log_files() <= 3, "{} files are left", log_files());
    assert_eq!(read(&mut client, &broker, "t", 0).await.0, ErrorCode::OFFSET_OUT_OF_RANGE);
    assert_eq!(read(&mut client, &broker, "t", 19).await.0, ErrorCode::NONE);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_is_committed_by_enough_replicas_or_times_out() {
    let broker = TestBroker::start().await;
    broker.create_topic("t", 1).await;
    let topic_id = broker.topic_id("t");
    let change = |isr: &[i32], leader| {
        Record::PartitionChange(PartitionChangeRecord {
            topic_id,
            partition_id: 0,
            replicas: Some(vec![1, 2]),
            isr: Some(isr.to_vec()),
            directories: Some(vec![DIR_ID, OTHER_DIR_ID]),
            leader,
            ..PartitionChangeRecord::default()
        })
    };
    const UNCHANGED: i32 = -2;
    broker.commit(&[change(&[1, 2], UNCHANGED)]).await;
    let mut client = Client::connect(broker.address()).await;
    let timed_out = write(&mut client, &broker, "t", batch(0, &[b"a"])).await;
    assert_eq!(timed_out, (ErrorCode::REQUEST_TIMED_OUT, -1));
    assert_eq!(read(&mut client, &broker, "t", 0).await, (ErrorCode::NONE, 0, Bytes::new()));

    // A new epoch of the same leader does not end the wait, the loss of the other replica does.
    let waiting = produce(9, &broker, "t", -1, batch(0, &[b"b"])).with_timeout_ms(60_000);
    client.send(ApiKey::PRODUCE, 9, &waiting).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    broker.commit(&[change(&[1, 2], 1)]).await;
    broker.commit(&[change(&[1], UNCHANGED)]).await;
    let response: ProduceResponse = client.receive(ApiKey::PRODUCE, 9).await;
    let result = &response.responses[0].partition_responses[0];
    assert_eq!((ErrorCode(result.error_code), result.base_offset), (ErrorCode::NONE, 1));

    // A broker that is fenced is waited for no more, although it had just caught up.
    let registered =
        RegisterBrokerRecord { broker_id: 2, broker_epoch: 1, ..RegisterBrokerRecord::default() };
    broker.commit(&[Record::RegisterBroker(registered), change(&[1, 2], 1)]).await;
    client.send(ApiKey::PRODUCE, 9, &waiting).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    let fenced = BrokerRegistrationChangeRecord {
        broker_id: 2,
        broker_epoch: 1,
        fenced: 1,
        ..BrokerRegistrationChangeRecord::default()
    };
    broker.commit(&[change(&[1], UNCHANGED), Record::BrokerRegistrationChange(fenced)]).await;
    let response: ProduceResponse = client.receive(ApiKey::PRODUCE, 9).await;
    let result = &response.responses[0].partition_responses[0];
    assert_eq!((ErrorCode(result.error_code), result.base_offset), (ErrorCode::NONE, 2));

    // Too few replicas: acks=all is refused, acks=1 is not, and its batch is committed when the minimum is lowered.
    broker.set_config("t", "min.insync.replicas", "2").await;
    let refused = write(&mut client, &broker, "t", batch(0, &[b"c"])).await;
    assert_eq!(refused, (ErrorCode::NOT_ENOUGH_REPLICAS, -1));
    let taken: ProduceResponse =
        client.call(ApiKey::PRODUCE, 9, &produce(9, &broker, "t", 1, batch(0, &[b"d"]))).await;
    assert_eq!(taken.responses[0].partition_responses[0].error_code, 0);
    let mut reader = Client::connect(broker.address()).await;
    reader.send(ApiKey::FETCH, 12, &fetch(12, &broker, "t", 3).with_max_wait_ms(60_000)).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    broker.set_config("t", "min.insync.replicas", "1").await;
    let response: FetchResponse = reader.receive(ApiKey::FETCH, 12).await;
    let partition = &response.responses[0].partitions[0];
    assert_eq!(partition.high_watermark, 4);
    assert_eq!(values(partition.records.as_deref().unwrap()), [b"d"]);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_of_topic_and_brokers_take_effect() {
    let broker = TestBroker::start().await;
    broker.create_topic("t", 1).await;
    let mut client = Client::connect(broker.address()).await;
    let set = |resource_type, resource_name: &str, name: &str, value: Option<&str>| {
        Record::Config(ConfigRecord {
            resource_type,
            resource_name: resource_name.into(),
            name: name.into(),
            value: value.map(str::to_owned),
        })
    };
    let steps = [
        (set(4, "", "message.max.bytes", Some("200")), ErrorCode::MESSAGE_TOO_LARGE),
        (set(4, "1", "message.max.bytes", Some("2000")), ErrorCode::NONE),
        (set(2, "t", "max.message.bytes", Some("300")), ErrorCode::MESSAGE_TOO_LARGE),
        (set(2, "t", "max.message.bytes", None), ErrorCode::NONE),
        (set(4, "1", "message.max.bytes", None), ErrorCode::MESSAGE_TOO_LARGE),
        (set(4, "", "message.max.bytes", None), ErrorCode::NONE),
        (set(2, "t", "cleanup.policy", Some("compact")), ErrorCode::INVALID_RECORD),
        (set(2, "t", "cleanup.policy", None), ErrorCode::NONE),
        (set(4, "", "log.message.timestamp.before.max.ms", Some("1000")), ErrorCode::INVALID_TIMESTAMP),
        (set(4, "", "log.message.timestamp.type", Some("LogAppendTime")), ErrorCode::NONE),
    ];
    assert_eq!(write(&mut client, &broker, "t", batch(0, &[&[0; 500]])).await.0, ErrorCode::NONE);
    for (step, expected) in steps {
        broker.commit(std::slice::from_ref(&step)).await;
        let error = write(&mut client, &broker, "t", batch(0, &[&[0; 500]])).await.0;
        assert_eq!(error, expected, "{step:?}");
    }
    broker.stop().await;
}

/// Readers, writers and the maintenance meet the files of topics that go away under them: no directory may fail of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deletions_under_load_fail_no_directory() {
    let properties = &[("log.retention.check.interval.ms", "1"), ("log.initial.task.delay.ms", "1")];
    let broker = Arc::new(TestBroker::start_with(Setup { properties, ..Setup::default() }).await);
    let stop = Arc::new(AtomicBool::new(false));
    let value = vec![b'x'; 400_000];
    broker.create_topic("t", 1).await;
    broker.set_config("t", "retention.bytes", "3000000").await;
    let mut tasks = Vec::new();
    for task in 0..4 {
        let (broker, stop, value) = (broker.clone(), stop.clone(), value.clone());
        tasks.push(tokio::spawn(async move {
            let mut client = Client::connect(broker.address()).await;
            while !stop.load(Ordering::Relaxed) {
                let error = match task {
                    0 => write(&mut client, &broker, "t", batch(0, &[&value])).await.0,
                    _ => read(&mut client, &broker, "t", 0).await.0,
                };
                assert_ne!(error, ErrorCode::KAFKA_STORAGE_ERROR);
            }
        }));
    }
    for _ in 0..30 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        broker.delete_topic("t").await;
        broker.create_topic("t", 1).await;
        for (name, value) in [("retention.bytes", "3000000"), ("segment.bytes", "1048576"), ("flush.ms", "1")]
        {
            broker.set_config("t", name, value).await;
        }
    }
    stop.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await.unwrap();
    }
    let mut client = Client::connect(broker.address()).await;
    assert_eq!(write(&mut client, &broker, "t", batch(0, &[b"a"])).await.0, ErrorCode::NONE);
    Arc::into_inner(broker).unwrap().stop().await;
}
