//! Compaction as a consumer sees it, over the wire and across a restart.
#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::time::{Duration, Instant};

use bytes::Bytes;
use protocol::batch::{BatchBuilder, batches};
use protocol::messages::{FetchResponse, ProduceResponse};
use protocol::versions::ApiKey;
use support::{Client, Setup, TestBroker, fetch, produce};

const SETUP: Setup = Setup {
    properties: &[("log.cleaner.backoff.ms", "20"), ("log.segment.delete.delay.ms", "0")],
    two_dirs: false,
};

type Pair<'a> = (&'a str, Option<&'a str>);

async fn write(client: &mut Client, broker: &TestBroker, timestamp: i64, records: &[Pair<'_>]) {
    let mut builder = BatchBuilder::new(0);
    for (key, value) in records {
        builder.push_pair(timestamp, Some(key.as_bytes()), value.map(str::as_bytes));
    }
    let request = produce(9, broker, "t", 1, builder.build().freeze());
    let response: ProduceResponse = client.call(ApiKey::PRODUCE, 9, &request).await;
    assert_eq!(response.responses[0].partition_responses[0].error_code, 0);
}

/// Offset, key and value of every record from `offset` on.
async fn read(client: &mut Client, broker: &TestBroker, offset: i64) -> Vec<(i64, String, Option<String>)> {
    let (mut found, mut next, mut end) = (Vec::new(), offset, i64::MAX);
    while next < end {
        let request = fetch(12, broker, "t", next);
        let response: FetchResponse = client.call(ApiKey::FETCH, 12, &request).await;
        let partition = &response.responses[0].partitions[0];
        assert_eq!(partition.error_code, 0);
        end = partition.high_watermark;
        let records: Bytes = partition.records.clone().unwrap();
        for batch in batches(&records) {
            let batch = batch.unwrap();
            let header = batch.header().unwrap();
            next = header.next_offset();
            for record in batch.records().unwrap().map(Result::unwrap) {
                let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
                let at = header.base_offset + i64::from(record.offset_delta);
                found.push((at, text(record.key.unwrap()), record.value.map(text)));
            }
        }
    }
    found.retain(|(at, ..)| *at >= offset);
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_value_of_every_key_stays() {
    let broker = TestBroker::start_with(SETUP).await;
    broker.create_topic("t", 1).await;
    for (name, value) in
        [("cleanup.policy", "compact"), ("segment.ms", "1000"), ("min.cleanable.dirty.ratio", "0.01")]
    {
        broker.set_config("t", name, value).await;
    }
    let mut client = Client::connect(broker.address()).await;
    // Each batch begins a segment, as their times are far apart.
    write(&mut client, &broker, 10_000, &[("a", Some("1")), ("b", Some("1"))]).await;
    write(&mut client, &broker, 20_000, &[("a", Some("2")), ("c", Some("1"))]).await;
    write(&mut client, &broker, 30_000, &[("c", None), ("a", Some("3"))]).await;
    write(&mut client, &broker, 40_000, &[("b", Some("active"))]).await;
    let own = |at: i64, key: &str, value: Option<&str>| (at, key.to_owned(), value.map(str::to_owned));
    let expected =
        [own(1, "b", Some("1")), own(4, "c", None), own(5, "a", Some("3")), own(6, "b", Some("active"))];
    let since = Instant::now();
    loop {
        let found = read(&mut client, &broker, 0).await;
        if found == expected {
            break;
        }
        assert!(since.elapsed() < Duration::from_secs(20), "{found:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(read(&mut client, &broker, 2).await, expected[1..], "from an offset that is gone");
    let broker = broker.restart().await;
    let mut client = Client::connect(broker.address()).await;
    assert_eq!(read(&mut client, &broker, 0).await, expected);
    let checkpoint = std::fs::read_to_string(broker.data().join("cleaner-offset-checkpoint")).unwrap();
    assert_eq!(checkpoint, "0\n1\nt 0 6\n");
    let old = std::fs::read_dir(broker.data().join("t-0")).unwrap().map(|e| e.unwrap().file_name());
    let old: Vec<_> = old.filter(|name| name.to_string_lossy().ends_with(".deleted")).collect();
    assert!(old.is_empty(), "{old:?}");
    broker.stop().await;
}
