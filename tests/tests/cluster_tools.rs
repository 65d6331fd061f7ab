//! Apache Kafka's command-line tools on a cluster of three nodes: what administrators of a cluster run, with what must
//! come out. (`kafka-metadata-quorum` with voters that come and go stands in `quorum`.)

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use minikafka_tests::cluster::{Cluster, Quorum, Role};
use minikafka_tests::kafka_tools::{Tools, run_alone};
use minikafka_tests::node::{CLUSTER_ID, PATIENCE, Target};
use serde_json::{Value, json};
use tempfile::TempDir;

const TOPICS: &str = "org.apache.kafka.tools.TopicCommand";
const CONFIGS: &str = "kafka.admin.ConfigCommand";
const PRODUCER_PERF: &str = "org.apache.kafka.tools.ProducerPerformance";
const REASSIGN: &str = "org.apache.kafka.tools.reassign.ReassignPartitionsCommand";
const ELECTION: &str = "org.apache.kafka.tools.LeaderElectionCommand";
const FEATURES: &str = "org.apache.kafka.tools.FeatureCommand";
const CLUSTER_TOOL: &str = "org.apache.kafka.tools.ClusterTool";
const LOG_DIRS: &str = "org.apache.kafka.tools.LogDirsCommand";
const QUORUM: &str = "org.apache.kafka.tools.MetadataQuorumCommand";
const VERIFICATION: &str = "org.apache.kafka.tools.ReplicaVerificationTool";
const SHELL: &str = "org.apache.kafka.shell.MetadataShell";
const DUMP: &str = "kafka.tools.DumpLogSegments";

/// A cluster of three, the tools, and a place for their files.
struct Bench {
    tools: Tools,
    cluster: Cluster,
    dir: TempDir,
}

impl Bench {
    fn start(extra: &[(&str, &str)]) -> Bench {
        let cluster = Cluster::start(Target::from_env(), &[Role::Combined; 3], Quorum::Dynamic(3), extra);
        Bench { tools: Tools::start(), cluster, dir: tempfile::tempdir().expect("a temporary directory") }
    }

    fn bootstrap(&self) -> String {
        let all: Vec<String> =
            self.cluster.brokers().into_iter().map(|id| self.cluster.node(id).bootstrap()).collect();
        all.join(",")
    }

    /// Runs a tool with `--bootstrap-server` and these words, separated by spaces.
    fn run(&mut self, class: &str, words: &str) -> String {
        let bootstrap = self.bootstrap();
        let mut all: Vec<&str> = words.split_whitespace().collect();
        // This tool has its options behind the name of what it does.
        let at = usize::from(class == CLUSTER_TOOL);
        all.splice(at..at, ["--bootstrap-server", bootstrap.as_str()]);
        self.tools.must(class, &all, "")
    }

    /// As [`Bench::run`], again and again until the text is as it should be; gives it.
    fn until(&mut self, class: &str, words: &str, is_so: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let text = self.run(class, words);
            if is_so(&text) {
                return text;
            }
            assert!(Instant::now() < deadline, "{class} {words} goes on to print:\n{text}");
        }
    }

    /// A JSON file for a tool.
    fn file(&self, name: &str, content: &Value) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::write(&path, content.to_string()).expect("the file can be written");
        path
    }

    fn fill(&mut self, topic: &str, records: usize) {
        let server = format!("bootstrap.servers={}", self.bootstrap());
        let words = format!(
            "--topic {topic} --num-records {records} --record-size 1000 --throughput -1 --producer-props"
        );
        let mut words: Vec<&str> = words.split(' ').collect();
        words.extend([server.as_str(), "acks=all"]);
        has(&self.tools.must(PRODUCER_PERF, &words, ""), &[&format!("{records} records sent")]);
    }

    /// Leader, replicas and ISR of each partition, as `kafka-topics` describes them.
    fn described(&mut self, topic: &str) -> Vec<[String; 3]> {
        let text = self.run(TOPICS, &format!("--describe --topic {topic}"));
        partitions_of(&text)
    }
}

fn partitions_of(text: &str) -> Vec<[String; 3]> {
    let field = |line: &str, name: &str| {
        let rest = line.split(name).nth(1).unwrap_or_default();
        rest.split('\t').next().unwrap_or_default().trim().to_owned()
    };
    let lines = text.lines().filter(|line| line.contains("\tPartition: "));
    lines.map(|line| ["Leader:", "Replicas:", "Isr:"].map(|name| field(line, name))).collect()
}

#[track_caller]
fn has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is missing in:\n{text}");
    }
}

fn strings(list: [&str; 3]) -> [String; 3] {
    list.map(str::to_owned)
}

#[test]
fn topics_reassignments_and_elections() {
    let mut b = Bench::start(&[("auto.leader.rebalance.enable", "false")]);
    b.run(TOPICS, "--create --topic moved --replica-assignment 1:2,2:3,3:1");
    b.fill("moved", 12_000);
    let sorted = |mut all: Vec<[String; 3]>| {
        all.iter_mut().for_each(|row| {
            let mut ids: Vec<&str> = row[2].split(',').collect();
            ids.sort_unstable();
            row[2] = ids.join(",");
        });
        all
    };
    let found = sorted(b.described("moved"));
    assert_eq!(found, [["1", "1,2", "1,2"], ["2", "2,3", "2,3"], ["3", "3,1", "1,3"]].map(strings));

    reassign(&mut b, &sorted);
    elect(&mut b);

    // Growth, below and beyond what is assigned by hand.
    b.run(TOPICS, "--alter --topic moved --partitions 5 --replica-assignment 1:2,2:3,3:1,3:2,1:3");
    b.run(TOPICS, "--alter --topic moved --partitions 7");
    let grown = b.described("moved");
    assert_eq!((grown.len(), grown[3][1].as_str(), grown[4][1].as_str()), (7, "3,2", "1,3"));
    b.fill("moved", 700);
    has(&b.run(TOPICS, "--describe --under-replicated-partitions --topic moved"), &[]);

    verify_replicas(&b);
    log_dirs(&mut b);
    b.run(TOPICS, "--delete --topic moved");
    b.until(TOPICS, "--list --exclude-internal", |text| text.trim().is_empty());
}

/// Generate, execute with a throttle, verify, list, cancel.
fn reassign(b: &mut Bench, sorted: &dyn Fn(Vec<[String; 3]>) -> Vec<[String; 3]>) {
    let file = b.file("topics", &json!({"version": 1, "topics": [{"topic": "moved"}]}));
    let words = format!("--generate --topics-to-move-json-file {} --broker-list 1,2,3", file.display());
    has(
        &b.run(REASSIGN, &words),
        &["Current partition replica assignment", "Proposed partition reassignment"],
    );

    let to = |at: i32, replicas: &[i32]| json!({"topic": "moved", "partition": at, "replicas": replicas});
    let plan = json!({"version": 1, "partitions": [to(0, &[3, 2]), to(1, &[1, 2, 3]), to(2, &[2])]});
    let plan = b.file("plan", &plan);
    let words = format!("--execute --throttle 50000000 --reassignment-json-file {}", plan.display());
    let text = b.run(REASSIGN, &words);
    has(
        &text,
        &[
            "Warning: You must run --verify periodically",
            "The inter-broker throttle limit was set to 50000000 B/s",
            "Successfully started partition reassignments for moved-0,moved-1,moved-2",
        ],
    );
    let words = format!("--verify --reassignment-json-file {}", plan.display());
    let parts: Vec<String> =
        (0..3).map(|at| format!("Reassignment of partition moved-{at} is completed.")).collect();
    b.until(REASSIGN, &words, |text| parts.iter().all(|part| text.contains(part)));
    let text = b.run(REASSIGN, &words);
    has(
        &text,
        &[
            "Clearing broker-level throttles on brokers 1,2,3",
            "Clearing topic-level throttles on topic moved",
        ],
    );
    let described = b.run(CONFIGS, "--describe --entity-type topics --entity-name moved");
    assert!(!described.contains("throttled"), "{described}");
    b.until(TOPICS, "--describe --topic moved", |text| {
        let found = sorted(partitions_of(text));
        let kept: Vec<[&str; 2]> = found.iter().map(|row| [row[1].as_str(), row[2].as_str()]).collect();
        kept == [["3,2", "2,3"], ["1,2,3", "1,2,3"], ["2", "2"]]
    });
    has(&b.run(REASSIGN, "--list"), &["No partition reassignments found."]);

    // A move that is throttled to a standstill, until it is taken back.
    let plan = b.file("back", &json!({"version": 1, "partitions": [to(0, &[1, 3])]}));
    let words = format!("--execute --throttle 1 --reassignment-json-file {}", plan.display());
    has(&b.run(REASSIGN, &words), &["Successfully started partition reassignment for moved-0"]);
    has(&b.run(REASSIGN, "--list"), &["moved-0: replicas: 1,3,2. adding: 1. removing: 2."]);
    b.until(TOPICS, "--describe --topic moved", |text| {
        text.contains("Adding Replicas: 1\tRemoving Replicas: 2")
    });
    let described = b.run(CONFIGS, "--describe --entity-type topics --entity-name moved");
    has(
        &described,
        &["leader.replication.throttled.replicas=0:", "follower.replication.throttled.replicas=0:1"],
    );
    let words = format!("--verify --preserve-throttles --reassignment-json-file {}", plan.display());
    has(&b.run(REASSIGN, &words), &["Reassignment of partition moved-0 is still in progress."]);
    let words = format!("--cancel --reassignment-json-file {}", plan.display());
    has(&b.run(REASSIGN, &words), &["Successfully cancelled partition reassignment for: moved-0"]);
    has(&b.run(REASSIGN, "--list"), &["No partition reassignments found."]);
    let described = b.run(CONFIGS, "--describe --entity-type topics --entity-name moved");
    assert!(!described.contains("throttled"), "{described}");
    b.cluster.node_mut(1).restart();
    b.cluster.node_mut(3).restart();
}

/// Leaderships that went elsewhere while a broker was down go back; one that nobody in sync is left for is forced.
fn elect(b: &mut Bench) {
    b.until(TOPICS, "--describe --topic moved", |text| {
        partitions_of(text)[1][2].split(',').count() == 3 && partitions_of(text)[0][0] != "none"
    });
    let words = "--election-type preferred --topic moved --partition 1";
    let text = b.run(ELECTION, words);
    has(&text, &["moved-1"]);
    assert_eq!(b.described("moved")[1][0], "1");
    has(&b.run(ELECTION, words), &["Valid replica already elected for partitions moved-1"]);
    let file = b.file("election", &json!({"partitions": [{"topic": "moved", "partition": 0}]}));
    b.run(ELECTION, &format!("--election-type preferred --path-to-json-file {}", file.display()));
    assert_eq!(b.described("moved")[0][0], "3");
    b.run(ELECTION, "--election-type preferred --all-topic-partitions");

    // Broker 2 has all there is of the last partition's new replica; when it is gone, broker 1 leads with what it has.
    b.run(TOPICS, "--create --topic risky --replica-assignment 2:1");
    b.fill("risky", 10);
    b.cluster.node_mut(1).kill();
    b.until(TOPICS, "--describe --topic risky", |text| partitions_of(text)[0][2] == "2");
    b.fill("risky", 10);
    b.cluster.node_mut(2).kill();
    b.cluster.node_mut(1).start();
    b.until(TOPICS, "--describe --topic risky", |text| partitions_of(text)[0][0] == "none");
    let bootstrap = b.bootstrap();
    let words = [
        "--bootstrap-server",
        &bootstrap,
        "--election-type",
        "preferred",
        "--topic",
        "risky",
        "--partition",
        "0",
    ];
    let refused = b.tools.run(ELECTION, &words, "");
    assert_eq!(refused.code, 1, "{}", refused.text);
    has(&refused.text, &["risky-0", "PreferredLeaderNotAvailableException"]);
    has(
        &b.run(ELECTION, "--election-type unclean --topic risky --partition 0"),
        &["Successfully completed leader election (UNCLEAN) for partitions risky-0"],
    );
    assert_eq!(b.described("risky")[0][0], "1");
    b.fill("risky", 5);
    b.cluster.start_all();
    b.until(TOPICS, "--describe --topic risky", |text| partitions_of(text)[0][2].contains('2'));
    b.run(TOPICS, "--delete --topic risky");
}

/// `kafka-replica-verification` reads every replica and compares: it runs until it is ended, in a JVM of its own.
fn verify_replicas(b: &Bench) {
    let bootstrap = b.bootstrap();
    let words = [
        "--broker-list",
        &bootstrap,
        "--topics-include",
        "moved",
        "--time",
        "-2",
        "--report-interval-ms",
        "200",
    ];
    let seen = run_alone(VERIFICATION, &words, PATIENCE, |line| line.contains("max lag is 0 for partition"));
    let seen = seen.unwrap_or_else(|why| panic!("{words:?}: {why}"));
    assert!(!seen.contains("doesn't match"), "{seen}");
}

fn log_dirs(b: &mut Bench) {
    let text = b.run(LOG_DIRS, "--describe --topic-list moved");
    let json = text.lines().find(|line| line.starts_with('{')).expect("the tool prints JSON");
    let all: Value = serde_json::from_str(json).expect("JSON");
    let mut sizes = vec![Vec::new(); 7];
    for broker in all["brokers"].as_array().into_iter().flatten() {
        for dir in broker["logDirs"].as_array().into_iter().flatten() {
            assert_eq!(dir["error"], Value::Null);
            for partition in dir["partitions"].as_array().into_iter().flatten() {
                let name = partition["partition"].as_str().unwrap_or_default();
                let index: usize = name.rsplit('-').next().and_then(|p| p.parse().ok()).expect("a partition");
                assert_eq!((&partition["isFuture"], &partition["offsetLag"]), (&json!(false), &json!(0)));
                sizes[index].push(partition["size"].as_u64().expect("a size"));
            }
        }
    }
    let replicas = [2, 3, 1, 2, 2, 2, 2];
    for (sizes, replicas) in sizes.iter().zip(replicas) {
        assert!(
            sizes.len() == replicas && sizes.iter().all(|size| *size == sizes[0]),
            "{sizes:?}, {replicas}"
        );
    }
}

#[test]
fn configs_features_and_the_metadata_log() {
    let extra = [("metadata.log.max.record.bytes.between.snapshots", "4000")];
    let mut b = Bench::start(&extra);
    b.run(TOPICS, "--create --topic kept --partitions 4 --replication-factor 3");
    configs(&mut b);
    features(&mut b);

    has(&b.run(CLUSTER_TOOL, "cluster-id"), &[&format!("Cluster ID: {CLUSTER_ID}")]);
    let text = b.run(CLUSTER_TOOL, "list-endpoints");
    let endpoints: Vec<String> = (1..=3).map(|id| b.cluster.node(id).bootstrap()).collect();
    endpoints.iter().for_each(|at| has(&text, &[at.rsplit(':').next().unwrap_or_default()]));
    b.cluster.node_mut(3).stop();
    let bootstrap = b.bootstrap();
    has(&b.run(CLUSTER_TOOL, "unregister --id 3"), &["Broker 3 is no longer registered."]);
    let words = ["unregister", "--bootstrap-server", &bootstrap, "--id", "3"];
    has(&b.tools.run(CLUSTER_TOOL, &words, "").text, &["Broker ID 3 is not currently registered"]);
    let text = b.run(CLUSTER_TOOL, "list-endpoints --include-fenced-brokers");
    assert_eq!(text.lines().filter(|line| line.contains("127.0.0.1")).count(), 2, "{text}");
    b.cluster.start_all();
    b.until(CLUSTER_TOOL, "list-endpoints", |text| {
        text.lines().filter(|l| l.contains("127.0.0.1")).count() == 3
    });

    let text = b.run(QUORUM, "describe --status");
    has(&text, &["LeaderId:", "MaxFollowerLag:", "CurrentVoters:"]);
    b.until(QUORUM, "describe --replication", |text| {
        (text.matches("Leader").count(), text.matches("Follower").count()) == (1, 2)
    });

    for n in 0..8 {
        b.run(TOPICS, &format!("--create --topic filler-{n} --partitions 8 --replication-factor 3"));
    }
    // The last of a quorum would wait for the others in vain.
    b.cluster.nodes.iter_mut().for_each(|node| node.kill());
    metadata_log(&mut b);
}

/// Configurations of topics, of one broker and of all, of groups, clients and users; what is dynamic arrives at once.
fn configs(b: &mut Bench) {
    let topic = "--entity-type topics --entity-name kept";
    b.run(CONFIGS, &format!("--alter {topic} --add-config min.insync.replicas=2,segment.bytes=1048577"));
    b.until(CONFIGS, &format!("--describe {topic}"), |text| {
        text.contains("min.insync.replicas=2") && text.contains("segment.bytes=1048577")
    });
    b.run(CONFIGS, &format!("--alter {topic} --delete-config segment.bytes"));
    b.until(CONFIGS, &format!("--describe {topic}"), |text| !text.contains("segment.bytes"));
    for id in 1..=3 {
        let one = format!("--entity-type brokers --entity-name {id}");
        b.run(CONFIGS, &format!("--alter {one} --add-config log.cleaner.threads={}", id % 2 + 1));
        let wanted = format!("log.cleaner.threads={}", id % 2 + 1);
        b.until(CONFIGS, &format!("--describe {one}"), |text| text.contains(&wanted));
    }
    b.run(
        CONFIGS,
        "--alter --entity-type brokers --entity-default --add-config leader.replication.throttled.rate=1000",
    );
    b.until(CONFIGS, "--describe --entity-type brokers --entity-name 2", |text| text.contains("log.cleaner"));
    b.until(CONFIGS, "--describe --all --entity-type brokers --entity-name 2", |text| {
        text.contains("DYNAMIC_DEFAULT_BROKER_CONFIG:leader.replication.throttled.rate=1000")
    });
    b.run(CONFIGS, "--alter --entity-type clients --entity-name app --add-config producer_byte_rate=5000");
    b.run(
        CONFIGS,
        "--alter --entity-type groups --entity-name g --add-config consumer.session.timeout.ms=50000",
    );
    b.until(CONFIGS, "--describe --entity-type clients --entity-name app", |text| {
        text.contains("producer_byte_rate=5000")
    });
    b.until(CONFIGS, "--describe --entity-type groups --entity-name g", |text| text.contains("50000"));
}

fn features(b: &mut Bench) {
    let text = b.run(FEATURES, "describe");
    has(&text, &["Feature: metadata.version", "Feature: kraft.version", "FinalizedVersionLevel: 4.1-IV1"]);
    let bootstrap = b.bootstrap();
    let words = ["--bootstrap-server", &bootstrap, "downgrade", "--metadata", "3.2"];
    let refused = b.tools.run(FEATURES, &words, "");
    assert_eq!(refused.code, 1, "{}", refused.text);
    b.run(FEATURES, "downgrade --feature group.version=0");
    b.run(FEATURES, "upgrade --feature group.version=1");
    b.until(FEATURES, "describe", |text| {
        text.lines().any(|line| line.contains("group.version") && line.contains("FinalizedVersionLevel: 1"))
    });
}

/// Snapshots and the metadata log of every node, as the dump tool decodes them and the shell shows them.
fn metadata_log(b: &mut Bench) {
    for id in 1..=3 {
        let dir = b.cluster.node(id).data().join("__cluster_metadata-0");
        let snapshot = newest(&dir, "checkpoint");
        let path = snapshot.display().to_string();
        let dump = b.tools.must(DUMP, &["--cluster-metadata-decoder", "--files", &path], "");
        has(
            &dump,
            &[
                "SnapshotHeader",
                "SnapshotFooter",
                "FEATURE_LEVEL_RECORD",
                "REGISTER_BROKER_RECORD",
                "KRaftVersion",
            ],
        );
        let log = newest(&dir, "log").display().to_string();
        let dump = b.tools.must(
            DUMP,
            &["--cluster-metadata-decoder", "--skip-record-metadata", "--files", &log],
            "",
        );
        has(&dump, &["PARTITION_RECORD"]);
        if id == 1 {
            let parts =
                ["BrokerRegistration(id=3", "ControllerRegistration(id=3", "TOPIC:kept", "kept:", "elr=[]"];
            shell(&path, &["tree", "/image"], &parts);
        }
    }
}

/// Looks into a snapshot. The shell does not wait until what it has read is what it shows, and may miss the end of what
/// it reads and wait for ever: again, until it has done better.
fn shell(snapshot: &str, words: &[&str], parts: &[&str]) {
    let words = [&["--snapshot", snapshot], words].concat();
    let mut missing: Vec<&str> = parts.to_vec();
    let mut is_all = |line: &str| {
        missing.retain(|part| !line.contains(part));
        missing.is_empty()
    };
    let shown = (0..6).any(|_| run_alone(SHELL, &words, Duration::from_secs(20), &mut is_all).is_ok());
    assert!(shown, "the shell does not show {missing:?}");
}

/// The file with the highest offset in its name.
fn newest(dir: &Path, extension: &str) -> PathBuf {
    let files = fs::read_dir(dir).expect("the directory can be listed").flatten().map(|entry| entry.path());
    let mut files: Vec<PathBuf> =
        files.filter(|path| path.extension().is_some_and(|e| e == extension)).collect();
    files.sort();
    files.pop().unwrap_or_else(|| panic!("no .{extension} in {}", dir.display()))
}
