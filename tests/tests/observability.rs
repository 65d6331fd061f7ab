//! Metrics, health and log lines of a real node, against what was really done with it. Only ours has them.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use minikafka_tests::node::{Node, PATIENCE, READY, Target};
use minikafka_tests::output::Output;
use minikafka_tests::ports::free_port;
use minikafka_tests::scrape::{Scrape, exchange, get};
use minikafka_tests::setup;
use minikafka_tests::wire::{Wire, batch};
use protocol::messages::{DeleteTopicsRequest, GroupId, HeartbeatRequest};
use protocol::{ErrorCode, StrBytes};
use serde_json::Value;

fn is_ours() -> bool {
    Target::from_env() == Target::Ours
}

/// A node that shows its metrics, and where; `None` for Apache Kafka.
fn observed(extra: &[(&str, &str)]) -> Option<(Node, String)> {
    if !is_ours() {
        return None;
    }
    let port = free_port();
    let listener = format!("http://127.0.0.1:{port}");
    let node = Node::prepared(Target::Ours, &[extra, &[("metrics.listener", &listener)]].concat());
    node.format();
    Some((node, format!("127.0.0.1:{port}")))
}

/// Asks until the answer is as it should be.
fn wait_for(address: &str, path: &str, status: u16, word: &str) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = get(address, path);
        match &answer {
            Ok(answer) if answer.status == status && answer.body.contains(word) => {
                assert_eq!(answer.headers["content-type"], "application/json");
                return serde_json::from_str(&answer.body).expect("the body is JSON");
            }
            _ => assert!(Instant::now() < deadline, "{path} never was {status} with {word}: {answer:?}"),
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

const REQUESTS: &str = "kafka_network_requestmetrics_requests_total";
const ERRORS: &str = "kafka_network_requestmetrics_errors_total";

#[test]
fn metrics_say_what_was_done() {
    let Some((node, address)) = observed(&[]) else { return };
    let node = node.started();
    let mut wire = Wire::connect(&node.bootstrap()).expect("it listens");
    assert_eq!(wire.create_topic("t", 2).expect("an answer"), ErrorCode::NONE);
    assert_eq!(wire.create_topic("other", 1).expect("an answer"), ErrorCode::NONE);
    let mut bytes_in = 0;
    for n in 1..=20 {
        let records = batch(&vec![vec![b'x'; 100 * n]; n]);
        bytes_in += records.len();
        assert_eq!(wire.produce("t", 0, records).expect("an answer").0, ErrorCode::NONE);
    }
    let (error, ..) = wire.produce("t", 9, batch(&["lost"])).expect("an answer");
    assert_eq!(error, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    let mut bytes_out = 0;
    for _ in 0..3 {
        bytes_out += wire.fetch("t", 0, 0, 1 << 20).expect("an answer").2.len();
    }
    let heartbeat = HeartbeatRequest::default().with_member_id(StrBytes::from_static_str("nobody"));
    let code = wire.call(4, &heartbeat.with_group_id(GroupId("g".into()))).expect("one");
    assert_ne!(code.error_code, 0);

    let scrape = Scrape::of(&address);
    assert_eq!(bytes_out, 3 * bytes_in);
    let of_topic = |flow: &str, topic: &str| {
        scrape.value(&format!("kafka_server_brokertopicmetrics_{flow}_total"), &[("topic", topic)])
    };
    assert_eq!(of_topic("bytesin", "t"), bytes_in as f64);
    assert_eq!(of_topic("bytesout", "t"), bytes_out as f64);
    assert_eq!(of_topic("messagesin", "t"), (1..=20).sum::<usize>() as f64);
    assert_eq!(of_topic("totalproducerequests", "t"), 20.0);
    assert_eq!(of_topic("totalfetchrequests", "t"), 3.0);
    assert_eq!(of_topic("bytesin", "other"), 0.0);
    let all = |flow: &str| scrape.value(&format!("kafka_server_brokertopicmetrics_{flow}_total"), &[]);
    assert_eq!((all("bytesin"), all("totalproducerequests")), (bytes_in as f64, 21.0));

    let requests =
        |name: &str, version: &str| scrape.find(REQUESTS, &[("request", name), ("version", version)]);
    assert_eq!(requests("Produce", "9"), Some(21.0));
    assert_eq!(requests("Fetch", "12"), Some(3.0));
    assert_eq!(requests("CreateTopics", "7"), Some(2.0));
    assert_eq!(requests("Heartbeat", "4"), Some(1.0));
    assert_eq!(scrape.sum(REQUESTS), 27.0, "nothing else was sent");
    let count = |request: &str| {
        scrape.value("kafka_network_requestmetrics_totaltimems_count", &[("request", request)])
    };
    assert_eq!((count("Produce"), count("Fetch")), (21.0, 3.0));
    let sent = |what: &str| {
        let name = format!("kafka_network_requestmetrics_responsesendtimems_{what}");
        scrape.value(&name, &[("request", "Produce")])
    };
    // The last one of a connection is counted after the client has it.
    assert!(sent("count") >= 19.0 && sent("sum") > 0.0);
    let errors = |name: &str, error: &str| scrape.find(ERRORS, &[("request", name), ("error", error)]);
    assert_eq!(errors("Produce", "NONE"), Some(20.0));
    assert_eq!(errors("Produce", "UNKNOWN_TOPIC_OR_PARTITION"), Some(1.0));
    assert_eq!(errors("CreateTopics", "NONE"), Some(2.0));
    assert_eq!(errors("Heartbeat", ErrorCode(code.error_code).name()), Some(1.0));
    assert_eq!(scrape.kind("kafka_network_requestmetrics_totaltimems"), Some("histogram"));

    let of_partition = |name: &str, partition: &str| {
        scrape.value(&format!("kafka_log_log_{name}"), &[("topic", "t"), ("partition", partition)])
    };
    assert_eq!(of_partition("size", "0"), bytes_in as f64);
    assert_eq!((of_partition("logendoffset", "0"), of_partition("logendoffset", "1")), (210.0, 0.0));
    let plain = |name: &str| scrape.value(name, &[]);
    assert_eq!(plain("kafka_server_replicamanager_partitioncount"), 3.0);
    assert_eq!(plain("kafka_server_replicamanager_leadercount"), 3.0);
    assert_eq!(plain("kafka_server_replicamanager_underreplicatedpartitions"), 0.0);
    assert_eq!(plain("kafka_server_kafkaserver_brokerstate"), 3.0);
    assert_eq!(plain("kafka_controller_kafkacontroller_activecontrollercount"), 1.0);
    assert_eq!(plain("kafka_controller_kafkacontroller_activebrokercount"), 1.0);
    assert_eq!(plain("kafka_controller_kafkacontroller_globalpartitioncount"), 3.0);
    assert_eq!(plain("kafka_server_raftmetrics_current_leader"), 1.0);
    assert!(plain("kafka_server_raftmetrics_high_watermark") > 5.0);
    assert!(plain("process_resident_memory_bytes") > 1e6 && plain("process_cpu_seconds_total") > 0.0);
    let listener = [("listener", "PLAINTEXT")];
    assert_eq!(scrape.value("kafka_server_socket_server_metrics_connection_count", &listener), 1.0);

    let delete = DeleteTopicsRequest::default()
        .with_topic_names(vec![minikafka_tests::wire::name("t")])
        .with_timeout_ms(30_000);
    assert_eq!(wire.call(5, &delete).expect("an answer").responses[0].error_code, 0);
    let scrape = Scrape::of(&address);
    assert_eq!(scrape.labelled("topic", "t"), [""; 0], "a topic that is gone has no samples");
    assert_eq!(
        scrape.value("kafka_server_brokertopicmetrics_bytesin_total", &[]),
        bytes_in as f64,
        "a counter never falls"
    );
    assert!(!node.output().text(0).contains("Completed request"), "the request log is off");
}

/// `dev` shows its metrics without being asked; its lines can be JSON, with one for each request.
#[test]
fn lines_as_json_and_the_request_log() {
    if !is_ours() {
        return;
    }
    let mut child = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "--"])
        .arg(setup::minikafka())
        .args(["dev", "--port", "0", "--log-format", "json"])
        .args(["--log-level", "info,kafka.request.logger=debug"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the node's program starts");
    let output = Output::default();
    output.follow(child.stdout.take().expect("stdout is piped"));
    let address_in = |from: usize, start: &str, end: char| {
        let rest = |line: &str| {
            let at = line.find(start)? + start.len();
            line[at..].split(end).next().map(str::to_owned)
        };
        output.wait(from, PATIENCE, rest).expect("the line comes").1
    };
    let metrics = address_in(0, "Metrics: http://", '/');
    let bootstrap = address_in(0, "Bootstrap address: localhost:", '"');
    let mut wire = Wire::connect(&format!("127.0.0.1:{bootstrap}")).expect("it listens");
    assert_eq!(wire.create_topic("t", 1).expect("an answer"), ErrorCode::NONE);
    assert_eq!(wire.produce("t", 0, batch(&["x"])).expect("an answer").0, ErrorCode::NONE);
    assert_ne!(wire.produce("t", 7, batch(&["x"])).expect("an answer").0, ErrorCode::NONE);
    assert_eq!(Scrape::of(&metrics).value(REQUESTS, &[("request", "Produce"), ("version", "9")]), 2.0);
    let failed = |line: &str| line.contains("UNKNOWN_TOPIC_OR_PARTITION").then_some(());
    output.wait(0, PATIENCE, failed).expect("the request is logged");
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("the node can be signalled");
    assert!(child.wait().expect("it ends").success());
    assert!(output.wait_end(PATIENCE));

    let text = output.text(0);
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
        .collect();
    for line in &lines {
        let is_text = |name: &str| line[name].as_str().is_some_and(|text| !text.is_empty());
        assert!(["timestamp", "level", "target", "message"].into_iter().all(is_text), "{line}");
    }
    let requests: Vec<&Value> =
        lines.iter().filter(|line| line["target"] == "kafka.request.logger").collect();
    let [create, produce, refused] = &requests[..] else { panic!("one line for each request: {requests:?}") };
    assert_eq!((&create["api"], &create["version"]), (&"CreateTopics".into(), &7.into()));
    assert_eq!((&produce["correlation_id"], &refused["correlation_id"]), (&2.into(), &3.into()));
    for line in [produce, refused] {
        assert_eq!((&line["api"], &line["client_id"]), (&"Produce".into(), &"wire".into()));
        assert_eq!((&line["level"], &line["listener"]), (&"DEBUG".into(), &"PLAINTEXT".into()));
        assert!(line["request_bytes"].as_u64().is_some_and(|n| n > 70), "{line}");
        assert!(line["response_bytes"].as_u64().is_some_and(|n| n > 40), "{line}");
        assert!(line["total_ms"].as_f64().is_some_and(|ms| ms > 0.0), "{line}");
    }
    assert_eq!(
        (&produce["error"], &refused["error"]),
        (&"NONE".into(), &"UNKNOWN_TOPIC_OR_PARTITION".into())
    );
}

#[test]
fn waiting_requests_are_told_from_work() {
    use protocol::messages::FetchRequest;
    use protocol::messages::fetch_request::{FetchPartition, FetchTopic};

    let Some((node, address)) = observed(&[]) else { return };
    let node = node.started();
    let mut wire = Wire::connect(&node.bootstrap()).expect("it listens");
    assert_eq!(wire.create_topic("t", 1).expect("an answer"), ErrorCode::NONE);
    let partition = FetchPartition::default().with_partition_max_bytes(1 << 20);
    let topic = FetchTopic::default().with_topic(minikafka_tests::wire::name("t"));
    let fetch = FetchRequest::default()
        .with_max_wait_ms(20_000)
        .with_min_bytes(1)
        .with_max_bytes(1 << 20)
        .with_session_epoch(-1)
        .with_topics(vec![topic.with_partitions(vec![partition])]);
    let waits = wire.send(12, &fetch).expect("it is sent");
    let purgatory = || {
        let name = "kafka_server_delayedoperationpurgatory_purgatorysize";
        Scrape::of(&address).value(name, &[("delayedOperation", "Fetch")])
    };
    let deadline = Instant::now() + PATIENCE;
    while purgatory() != 1.0 {
        assert!(Instant::now() < deadline, "the fetch never waits");
    }
    let mut other = Wire::connect(&node.bootstrap()).expect("it listens");
    assert_eq!(other.produce("t", 0, batch(&["x"])).expect("an answer").0, ErrorCode::NONE);
    wire.receive::<FetchRequest>(12, waits).expect("an answer");
    assert_eq!(purgatory(), 0.0);
    let scrape = Scrape::of(&address);
    let time = |kind: &str| {
        scrape.value(&format!("kafka_network_requestmetrics_{kind}timems_sum"), &[("request", "Fetch")])
    };
    assert!((time("total") - time("local") - time("remote")).abs() < 1e-6);
    assert!(time("remote") > 0.0 && time("local") > 0.0);
}

#[test]
fn bad_requests_are_answered_and_bounded() {
    let Some((node, address)) = observed(&[]) else { return };
    let _node = node.started();
    let status = |request: &str| exchange(&address, request.as_bytes()).expect("an answer").status;
    assert_eq!(status("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), 404);
    assert_eq!(status("POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"), 405);
    assert_eq!(status("GET /metrics?x=1 HTTP/1.0\r\n\r\n"), 200);
    assert_eq!(status("nonsense\r\n\r\n"), 400);
    assert_eq!(status(&format!("GET /metrics HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(20_000))), 431);
    let many: String = (0..200).map(|n| format!("X-{n}: y\r\n")).collect();
    assert_eq!(status(&format!("GET /metrics HTTP/1.1\r\n{many}\r\n")), 431);
    let head = exchange(&address, b"HEAD /health/live HTTP/1.1\r\nHost: x\r\n\r\n").expect("an answer");
    assert_eq!((head.status, &*head.body), (200, ""));

    // Connections that say nothing: those within the bound hold their place for a while, others are closed at once.
    let idle: Vec<TcpStream> = (0..100).map(|_| TcpStream::connect(&address).expect("it listens")).collect();
    let closed = idle.iter().rev().take(30).filter(|stream| {
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a socket takes a timeout");
        let mut stream: &TcpStream = stream;
        !matches!(stream.read(&mut [0; 1]), Err(e) if e.kind() == std::io::ErrorKind::WouldBlock)
    });
    assert_eq!(closed.count(), 30);
    drop(idle);
    wait_for(&address, "/health/live", 200, "live");
}

/// The log of a partition is opened only when this test lets go of a file in it.
#[test]
fn not_ready_while_logs_are_loaded() {
    let Some((mut node, address)) = observed(&[]) else { return };
    node.start();
    let mut wire = Wire::connect(&node.bootstrap()).expect("it listens");
    assert_eq!(wire.create_topic("t", 1).expect("an answer"), ErrorCode::NONE);
    assert_eq!(wire.produce("t", 0, batch(&["x"])).expect("an answer").0, ErrorCode::NONE);
    wait_for(&address, "/health/ready", 200, "\"ready\"");
    node.stop();
    assert!(get(&address, "/health/ready").is_err(), "nobody answers for a node that has stopped");

    let held = node.data().join("t-0/leader-epoch-checkpoint");
    let text = fs::read(&held).expect("the node keeps leader epochs");
    fs::remove_file(&held).expect("it can be removed");
    let made = std::process::Command::new("mkfifo").arg(&held).status().expect("mkfifo runs");
    assert!(made.success());
    let from = node.spawn();
    let verdict = wait_for(&address, "/health/ready", 503, "loading logs");
    assert_eq!(verdict["status"], "not ready");
    assert_eq!(get(&address, "/health/live").expect("an answer").status, 200, "slow is not dead");
    assert_eq!(Scrape::of(&address).value("kafka_server_kafkaserver_brokerstate", &[]), 1.0);
    fs::OpenOptions::new().write(true).open(&held).and_then(|mut f| f.write_all(&text)).expect("it is read");
    node.output()
        .wait(from, PATIENCE, |line| line.contains(READY).then_some(()))
        .expect("the node starts once it can");
    wait_for(&address, "/health/ready", 200, "\"ready\"");
    assert!(!Scrape::of(&address).labelled("topic", "t").is_empty());
}

#[test]
fn not_ready_with_a_failed_directory() {
    let second = tempfile::tempdir().expect("a temporary directory");
    let first = tempfile::tempdir().expect("a temporary directory");
    let path = |dir: &tempfile::TempDir, name: &str| dir.path().join(name);
    let dirs = format!("{},{}", path(&first, "a").display(), path(&second, "b").display());
    let metadata_dir = path(&first, "m").display().to_string();
    let extra = [("log.dirs", &*dirs), ("metadata.log.dir", &*metadata_dir)];
    let Some((mut node, address)) = observed(&extra) else { return };
    node.start();
    wait_for(&address, "/health/ready", 200, "\"ready\"");
    // A file where the directory was: whatever is made there now fails.
    fs::rename(path(&second, "b"), path(&second, "away")).expect("it can be renamed");
    fs::write(path(&second, "b"), "").expect("a file can be made");
    let mut wire = Wire::connect(&node.bootstrap()).expect("it listens");
    for n in 0..2 {
        wire.create_topic(&format!("t{n}"), 1).expect("an answer");
    }
    let verdict = wait_for(&address, "/health/ready", 503, "is offline");
    let reasons = verdict["reasons"].as_array().expect("a list").clone();
    let b = path(&second, "b").display().to_string();
    assert!(reasons.iter().any(|r| *r == *format!("log directory {b} is offline")), "{reasons:?}");
    assert_eq!(get(&address, "/health/live").expect("an answer").status, 200);
    let scrape = Scrape::of(&address);
    assert_eq!(scrape.value("kafka_log_logmanager_offlinelogdirectorycount", &[]), 1.0);
    assert_eq!(scrape.value("kafka_log_logmanager_logdirectoryoffline", &[("logDirectory", &b)]), 1.0);
    node.kill();
}
