//! Runs a script's commands against one node.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::member::Member;
use super::normal::Normal;
use super::script::{Answer, Line, Script, words};
use crate::kafka_tools::Tools;
use crate::node::{Node, Target};

/// How long Apache Kafka's broker may take to learn what its controller has answered already.
const APPLIED: Duration = Duration::from_millis(300);

/// Names of the script, classes of Apache Kafka, and whether `--bootstrap-server` goes behind the words.
const TOOLS: &[(&str, &str, Place)] = &[
    ("acls", "org.apache.kafka.tools.AclCommand", Place::First),
    ("all-groups", "org.apache.kafka.tools.GroupsCommand", Place::First),
    ("client-metrics", "org.apache.kafka.tools.ClientMetricsCommand", Place::First),
    ("cluster", "org.apache.kafka.tools.ClusterTool", Place::Last),
    ("configs", "kafka.admin.ConfigCommand", Place::First),
    ("consumer", "org.apache.kafka.tools.consumer.ConsoleConsumer", Place::First),
    ("consumer-perf", "org.apache.kafka.tools.ConsumerPerformance", Place::First),
    ("delete-records", "org.apache.kafka.tools.DeleteRecordsCommand", Place::First),
    ("dump-log", "kafka.tools.DumpLogSegments", Place::Nowhere),
    ("end-to-end", "org.apache.kafka.tools.EndToEndLatency", Place::Nowhere),
    ("features", "org.apache.kafka.tools.FeatureCommand", Place::First),
    ("groups", "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand", Place::First),
    ("leader-election", "org.apache.kafka.tools.LeaderElectionCommand", Place::First),
    ("log-dirs", "org.apache.kafka.tools.LogDirsCommand", Place::First),
    ("offsets", "org.apache.kafka.tools.GetOffsetShell", Place::First),
    ("producer", "org.apache.kafka.tools.ConsoleProducer", Place::First),
    ("producer-perf", "org.apache.kafka.tools.ProducerPerformance", Place::Nowhere),
    ("quorum", "org.apache.kafka.tools.MetadataQuorumCommand", Place::First),
    ("reassign", "org.apache.kafka.tools.reassign.ReassignPartitionsCommand", Place::First),
    ("share-groups", "org.apache.kafka.tools.consumer.group.ShareGroupCommand", Place::First),
    ("streams-groups", "org.apache.kafka.tools.streams.StreamsGroupCommand", Place::First),
    ("tokens", "org.apache.kafka.tools.DelegationTokenCommand", Place::First),
    ("topics", "org.apache.kafka.tools.TopicCommand", Place::First),
    ("transactions", "org.apache.kafka.tools.TransactionsCommand", Place::First),
    ("verifiable-consumer", "org.apache.kafka.tools.VerifiableConsumer", Place::First),
    ("verifiable-producer", "org.apache.kafka.tools.VerifiableProducer", Place::First),
    ("versions", "org.apache.kafka.tools.BrokerApiVersionsCommand", Place::First),
];

/// Where `--bootstrap-server` goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    First,
    Last,
    Nowhere,
}

/// Runs every command in one JVM against a fresh node; gives the script with this node's answers.
pub fn run(script: &Script, node: &Node) -> Script {
    let directory = tempfile::Builder::new().prefix("minikafka-commands-").tempdir().expect("a directory");
    let controller = format!("127.0.0.1:{}", node.controller_port());
    let places = [
        ("{broker}", node.bootstrap()),
        ("{controller}", controller),
        ("{data}", node.data().display().to_string()),
        ("{dir}", directory.path().display().to_string()),
    ];
    let normal = Normal::new(&places);
    let mut bench =
        Bench { node, tools: Tools::start(), directory, places, normal, input: String::new(), member: None };
    Script(script.0.iter().map(|line| bench.line(line)).collect())
}

struct Bench<'a> {
    node: &'a Node,
    tools: Tools,
    directory: TempDir,
    places: [(&'static str, String); 4],
    normal: Normal,
    /// For the next command.
    input: String,
    member: Option<Member>,
}

impl Bench<'_> {
    fn line(&mut self, line: &Line) -> Line {
        match line {
            Line::Command(command, _) => return Line::Command(command.clone(), self.command(command)),
            Line::Input(text) => self.input.push_str(&format!("{text}\n")),
            Line::Step(step) => self.step(step),
            Line::Remark(_) => {}
        }
        line.clone()
    }

    fn command(&mut self, command: &str) -> Answer {
        let bare = command.trim_start_matches(['~', '!']);
        let marks = &command[..command.len() - bare.len()];
        let mut all = words(&self.filled(bare)).into_iter();
        let name = all.next().unwrap_or_default();
        let (_, class, place) =
            TOOLS.iter().find(|(known, ..)| *known == name).unwrap_or_else(|| panic!("no tool {name}"));
        let mut all: Vec<String> = all.collect();
        let server = ["--bootstrap-server".to_owned(), self.node.bootstrap()];
        match place {
            Place::First if !marks.contains('!') => drop(all.splice(0..0, server)),
            Place::Last if !marks.contains('!') => all.extend(server),
            _ => {}
        }
        let start = Instant::now();
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        let ran = self.tools.run(class, &all, &std::mem::take(&mut self.input));
        if std::env::var_os("COMMANDS_TRACE").is_some() {
            println!("{:5} ms  $ {command}", start.elapsed().as_millis());
        }
        if self.node.target() == Target::Apache {
            std::thread::sleep(APPLIED);
        }
        let mut lines = self.normal.lines(&name, &ran.text);
        if marks.contains('~') {
            lines.sort();
        }
        Answer { lines, code: ran.code }
    }

    fn step(&mut self, step: &str) {
        let (what, rest) = step.split_once(' ').unwrap_or((step, ""));
        match what {
            "file" => {
                let (name, text) = rest.split_once(": ").expect("`name: text`");
                append(&self.directory.path().join(name), &self.filled(text));
            }
            "join" => {
                let (group, topic) = rest.split_once(' ').expect("`group topic`");
                self.member = Some(Member::join(self.node, group, topic));
            }
            "leave" => self.member.take().expect("a member has joined").leave(),
            _ => panic!("no step {step}"),
        }
    }

    /// Text with this run's addresses and directories in it.
    fn filled(&self, text: &str) -> String {
        self.places.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value))
    }
}

fn append(path: &Path, line: &str) {
    let file = OpenOptions::new().create(true).append(true).open(path);
    writeln!(file.expect("a file can be opened"), "{line}").expect("a file can be written");
}
