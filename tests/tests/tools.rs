//! Apache Kafka's command-line tools on our node: every option that people use daily, with what must come out.

use std::time::{Duration, Instant};

use minikafka_tests::kafka_tools::Tools;
use minikafka_tests::node::{Node, Target};

const TOPICS: &str = "org.apache.kafka.tools.TopicCommand";
const CONFIGS: &str = "kafka.admin.ConfigCommand";
const PRODUCER: &str = "org.apache.kafka.tools.ConsoleProducer";
const CONSUMER: &str = "org.apache.kafka.tools.consumer.ConsoleConsumer";
const GROUPS: &str = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand";
const OFFSETS: &str = "org.apache.kafka.tools.GetOffsetShell";
const DELETE_RECORDS: &str = "org.apache.kafka.tools.DeleteRecordsCommand";
const LOG_DIRS: &str = "org.apache.kafka.tools.LogDirsCommand";
const PRODUCER_PERF: &str = "org.apache.kafka.tools.ProducerPerformance";
const CONSUMER_PERF: &str = "org.apache.kafka.tools.ConsumerPerformance";

/// Tools and a node, and the options that every call shares.
struct Bench {
    tools: Tools,
    node: Node,
}

impl Bench {
    fn start() -> Bench {
        Bench { node: Node::fresh(Target::from_env(), &[]), tools: Tools::start() }
    }

    /// Runs a tool with `--bootstrap-server` and these words, separated by spaces.
    fn run(&mut self, class: &str, words: &str) -> String {
        self.feed(class, words, "")
    }

    /// As [`Bench::run`], again and again until the text has these parts: a broker learns of a change a moment later.
    fn until(&mut self, class: &str, words: &str, parts: &[&str]) {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let text = self.run(class, words);
            if parts.iter().all(|p| text.contains(p)) {
                return;
            }
            assert!(Instant::now() < deadline, "{parts:?} do not come in:\n{text}");
        }
    }

    fn feed(&mut self, class: &str, words: &str, input: &str) -> String {
        let bootstrap = self.node.bootstrap();
        let mut all = vec!["--bootstrap-server", bootstrap.as_str()];
        all.extend(words.split_whitespace());
        self.tools.must(class, &all, input)
    }
}

#[track_caller]
fn has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is missing in:\n{text}");
    }
}

#[test]
fn topics_and_configs() {
    let mut b = Bench::start();
    has(
        &b.run(
            TOPICS,
            "--create --topic one --partitions 3 --replication-factor 1 --config retention.ms=3600000",
        ),
        &["Created topic one."],
    );
    let again = b.node.bootstrap();
    let again = b.tools.run(TOPICS, &["--bootstrap-server", &again, "--create", "--topic", "one"], "");
    assert_eq!(again.code, 1, "{}", again.text);
    has(&again.text, &["Topic 'one' already exists."]);
    has(
        &b.run(TOPICS, "--describe --topic one"),
        &[
            "PartitionCount: 3",
            "ReplicationFactor: 1",
            "retention.ms=3600000",
            "Partition: 2\tLeader: 1\tReplicas: 1\tIsr: 1",
        ],
    );
    b.run(TOPICS, "--alter --topic one --partitions 5");
    has(&b.run(TOPICS, "--describe --topic one"), &["PartitionCount: 5"]);
    has(&b.run(TOPICS, "--list"), &["one"]);

    b.run(CONFIGS, "--entity-type topics --entity-name one --alter --add-config max.message.bytes=2000000,cleanup.policy=[compact,delete]");
    b.run(CONFIGS, "--entity-type topics --entity-name one --alter --delete-config retention.ms");
    let text = b.run(CONFIGS, "--entity-type topics --entity-name one --describe");
    has(
        &text,
        &[
            "max.message.bytes=2000000",
            "DYNAMIC_TOPIC_CONFIG:max.message.bytes=2000000",
            "cleanup.policy=compact,delete",
        ],
    );
    assert!(!text.contains("retention.ms=3600000"), "{text}");
    b.run(CONFIGS, "--entity-type brokers --entity-name 1 --alter --add-config log.cleaner.threads=2");
    b.until(CONFIGS, "--entity-type brokers --entity-name 1 --describe", &["log.cleaner.threads=2"]);
    b.run(CONFIGS, "--entity-type brokers --entity-default --alter --add-config message.max.bytes=1500000");
    b.until(CONFIGS, "--entity-type brokers --entity-default --describe", &["message.max.bytes=1500000"]);
    let server = b.node.bootstrap();
    let words =
        ["--entity-type", "topics", "--entity-name", "one", "--alter", "--add-config", "retention.ms=soon"];
    let refused = b.tools.run(CONFIGS, &[&["--bootstrap-server", &server], &words[..]].concat(), "");
    assert_eq!(refused.code, 1, "{}", refused.text);
    has(&refused.text, &["Invalid value soon for configuration retention.ms: Not a number of type LONG"]);

    b.run(TOPICS, "--delete --topic one");
    assert_eq!(b.run(TOPICS, "--list --exclude-internal").trim(), "");
    b.node.stop();
}

#[test]
fn records_groups_and_offsets() {
    let mut b = Bench::start();
    b.run(TOPICS, "--create --topic two --partitions 2 --replication-factor 1");
    let reader = "--property parse.key=true --property key.separator=: --property parse.headers=true --property headers.delimiter=/ --property headers.separator=, --property headers.key.separator==";
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let input: String = (0..20).map(|i| format!("h={codec},i={i}/k{i}:{codec} {i}\n")).collect();
        b.feed(PRODUCER, &format!("--topic two --compression-codec {codec} {reader}"), &input);
    }
    let shown = "--property print.key=true --property print.headers=true --property print.partition=true --property print.offset=true --property print.timestamp=true";
    let text = b.run(
        CONSUMER,
        &format!("--topic two --from-beginning --max-messages 100 --timeout-ms 30000 --group g {shown}"),
    );
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        for i in 0..20 {
            has(&text, &[&format!("h:{codec},i:{i}\tk{i}\t{codec} {i}\n")]);
        }
    }
    has(
        &text,
        &[
            "CreateTime:",
            "Partition:0\tOffset:0",
            "Partition:1\tOffset:0",
            "Processed a total of 100 messages",
        ],
    );

    let latest = b.run(OFFSETS, "--topic two");
    let ends: Vec<i64> = latest.lines().filter_map(|l| l.rsplit(':').next()?.trim().parse().ok()).collect();
    assert_eq!(ends.iter().sum::<i64>(), 100, "{latest}");
    has(&b.run(OFFSETS, "--topic two --time earliest"), &["two:0:0", "two:1:0"]);
    has(&b.run(OFFSETS, "--topic two --time max-timestamp"), &["two:0:"]);

    has(&b.run(GROUPS, "--list"), &["g"]);
    has(&b.run(GROUPS, "--list --state"), &["g", "Empty"]);
    let described = b.run(GROUPS, "--describe --group g");
    has(&described, &["Consumer group 'g' has no active members.", "two"]);
    let lags = described
        .lines()
        .filter(|l| l.starts_with("g "))
        .map(|l| l.split_whitespace().nth(5).unwrap().to_owned());
    assert_eq!(lags.collect::<Vec<_>>(), ["0", "0"], "{described}");
    has(&b.run(GROUPS, "--describe --group g --state"), &["Empty"]);
    has(&b.run(GROUPS, "--reset-offsets --group g --topic two:0 --to-offset 3 --execute"), &["3"]);
    let rest = b.run(CONSUMER, "--topic two --group g --timeout-ms 4000 --property print.offset=true --property print.partition=true");
    assert_eq!(rest.lines().filter(|l| l.starts_with("Partition:0")).count() as i64, ends[0] - 3, "{rest}");
    b.run(GROUPS, "--delete-offsets --group g --topic two:1");
    has(
        &b.run(GROUPS, "--delete --group g"),
        &["Deletion of requested consumer groups ('g') was successful."],
    );

    let file = tempfile::NamedTempFile::new().unwrap();
    let what = r#"{"partitions":[{"topic":"two","partition":0,"offset":5}],"version":1}"#;
    std::fs::write(file.path(), what).unwrap();
    let words = format!("--offset-json-file {}", file.path().display());
    has(&b.run(DELETE_RECORDS, &words), &["partition: two-0\tlow_watermark: 5"]);
    has(&b.run(OFFSETS, "--topic two --time earliest"), &["two:0:5", "two:1:0"]);
    let dirs = b.run(LOG_DIRS, "--describe --broker-list 1 --topic-list two");
    has(
        &dirs,
        &["\"partition\":\"two-0\"", "\"partition\":\"two-1\"", "\"error\":null", "\"isFuture\":false"],
    );
    b.node.stop();
}

#[test]
fn a_topic_decides_its_codec() {
    let mut b = Bench::start();
    for stored in ["producer", "uncompressed", "gzip", "snappy", "lz4", "zstd"] {
        let topic = format!("as-{stored}");
        let words = format!("--create --topic {topic} --partitions 1 --config compression.type={stored}");
        b.run(TOPICS, &words);
        for sent in ["none", "gzip", "snappy", "lz4", "zstd"] {
            let words = format!("--topic {topic} --compression-codec {sent}");
            b.feed(PRODUCER, &words, &format!("{sent} {}\n", "again and ".repeat(50)));
        }
        let words = format!("--topic {topic} --from-beginning --max-messages 5 --timeout-ms 30000");
        let text = b.run(CONSUMER, &words);
        has(&text, &["none again", "gzip again", "snappy again", "lz4 again", "zstd again"]);
    }
    b.node.stop();
    for (path, text) in b.tools.dump_directory(&b.node.data()) {
        let path = path.to_string_lossy().into_owned();
        let Some(stored) = path.split("/as-").nth(1).and_then(|p| p.split('-').next()) else { continue };
        let codecs: Vec<&str> =
            text.split("compresscodec: ").skip(1).filter_map(|t| t.split_whitespace().next()).collect();
        if path.ends_with(".log") {
            let expected = match stored {
                "producer" => vec!["none", "gzip", "snappy", "lz4", "zstd"],
                "uncompressed" => vec!["none"; 5],
                codec => vec![codec; 5],
            };
            assert_eq!(codecs, expected, "{path}");
        }
    }
}

#[test]
fn performance_tools() {
    let mut b = Bench::start();
    b.run(TOPICS, "--create --topic perf --partitions 3 --replication-factor 1");
    let server = b.node.bootstrap();
    let servers = format!("bootstrap.servers={server}");
    for (acks, count) in [("acks=all", "40000"), ("acks=1", "5000"), ("acks=0", "5000")] {
        let words =
            format!("--topic perf --num-records {count} --record-size 200 --throughput -1 --producer-props");
        let mut words: Vec<&str> = words.split(' ').collect();
        words.extend([servers.as_str(), acks]);
        if acks != "acks=all" {
            words.push("enable.idempotence=false");
        }
        has(&b.tools.must(PRODUCER_PERF, &words, ""), &[&format!("{count} records sent")]);
    }
    let text = b.run(CONSUMER_PERF, "--topic perf --messages 50000 --timeout 30000");
    let numbers = text.lines().last().unwrap_or_default().to_owned();
    let consumed: i64 = numbers.split(", ").nth(4).and_then(|n| n.trim().parse().ok()).unwrap_or(0);
    assert_eq!(consumed, 50_000, "{text}");
    b.node.stop();
}
