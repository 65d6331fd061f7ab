//! A running node: the release binary or Apache Kafka, from the same properties file, on free ports.
//!
//! The process dies with the thread that started it (`setpriv --pdeathsig`), so that an aborted test leaves nothing behind.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::output::Output;
use crate::ports::free_ports;
use crate::setup;

/// The cluster id of every test cluster.
pub const CLUSTER_ID: &str = "bWluaWthZmthLXRlc3RzIQ";
/// What a node prints when clients may come.
pub const READY: &str = "Kafka Server started";
/// How long a start or a stop may take before a test gives up.
pub const PATIENCE: Duration = Duration::from_secs(90);

const LOOPBACK: &str = "127.0.0.1";

/// A small JVM that starts quickly: what the tests give Apache Kafka and its tools.
const SMALL_JVM: &[&str] = &["-Xmx400m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"];

/// What the nodes of a test are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The release binary of this workspace.
    Ours,
    /// Apache Kafka [`setup::KAFKA`] on a JVM: the oracle.
    Apache,
}

impl Target {
    /// `MINIKAFKA_TEST_TARGET`: `ours` (the default) or `apache`.
    pub fn from_env() -> Target {
        match std::env::var("MINIKAFKA_TEST_TARGET").as_deref() {
            Err(_) | Ok("" | "ours") => Target::Ours,
            Ok("apache") => Target::Apache,
            Ok(other) => panic!("MINIKAFKA_TEST_TARGET is {other:?}; it can be ours or apache"),
        }
    }

    /// A command that runs the node's program: `storage format ...` or `start server.properties`.
    fn command(
        self,
        namespace: Option<&Path>,
        jvm_options: &[&str],
        main_class: &str,
        words: &[&str],
    ) -> Command {
        let mut command = Command::new(if namespace.is_some() { "nsenter" } else { "setpriv" });
        if let Some(namespace) = namespace {
            command.arg(format!("--net={}", namespace.display())).arg("setpriv");
        }
        command.args(["--pdeathsig", "KILL", "--"]);
        match self {
            Target::Ours => {
                command.arg(setup::minikafka()).args(words);
            }
            Target::Apache => {
                command.args(jvm(setup::KAFKA, jvm_options)).arg(main_class);
                command.args(words.iter().filter(|w| !matches!(**w, "storage" | "start")));
            }
        }
        command
    }
}

/// `java` with the options and class path that every JVM of the tests gets; clients and tools log errors only.
pub fn java(version: &str) -> Vec<String> {
    let mut words = jvm(version, SMALL_JVM);
    words.insert(1, "-Dlog.level=ERROR".to_owned());
    words
}

fn jvm(version: &str, options: &[&str]) -> Vec<String> {
    let log4j = setup::client("java/log4j2.xml");
    let mut words = vec!["java".to_owned()];
    words.extend(options.iter().map(|&option| option.to_owned()));
    words.push(format!("-Dlog4j2.configurationFile={}", log4j.display()));
    words.extend(["-cp".to_owned(), setup::class_path(version)]);
    words
}

/// One node with its directory; killed and removed on drop.
pub struct Node {
    target: Target,
    dir: PathBuf,
    host: String,
    port: u16,
    controller_port: u16,
    /// Its network namespace, if not that of whoever starts it.
    namespace: Option<PathBuf>,
    jvm_options: &'static [&'static str],
    child: Option<Child>,
    output: Output,
    _temporary: Option<TempDir>,
}

impl Node {
    /// Formats a fresh directory and starts a node on it; `extra` properties are added to [`properties`].
    pub fn fresh(target: Target, extra: &[(&str, &str)]) -> Node {
        let node = Node::prepared(target, extra);
        node.format();
        node.started()
    }

    /// As [`Node::fresh`], but neither formatted nor started: for directories made otherwise.
    pub fn prepared(target: Target, extra: &[(&str, &str)]) -> Node {
        let temporary =
            tempfile::Builder::new().prefix("minikafka-test-").tempdir().expect("a temporary directory");
        let mut node = Node::at(target, temporary.path(), extra);
        node._temporary = Some(temporary);
        node
    }

    /// A node that keeps its data in `dir/data`, which the caller owns.
    pub fn at(target: Target, dir: &Path, extra: &[(&str, &str)]) -> Node {
        let [port, controller_port] = free_ports();
        let mut text = properties(&dir.join("data"), port, controller_port);
        for (key, value) in extra {
            text.push_str(&format!("{key}={value}\n"));
        }
        fs::create_dir_all(dir).expect("the node's directory can be made");
        fs::write(dir.join("server.properties"), text).expect("the properties file can be written");
        Node {
            target,
            dir: dir.to_path_buf(),
            host: LOOPBACK.to_owned(),
            port,
            controller_port,
            namespace: None,
            jvm_options: SMALL_JVM,
            child: None,
            output: Output::default(),
            _temporary: None,
        }
    }

    /// Sets what the JVM of Apache Kafka gets from the next start on.
    pub fn set_jvm_options(&mut self, options: &'static [&'static str]) {
        self.jvm_options = options;
    }

    /// A node that is told `text` and keeps its data in `dir/data`; for members of a [`Cluster`](crate::cluster::Cluster).
    pub fn member(target: Target, dir: &Path, text: &str, port: u16, controller_port: u16) -> Node {
        fs::create_dir_all(dir).expect("the node's directory can be made");
        fs::write(dir.join("server.properties"), text).expect("the properties file can be written");
        let (dir, output) = (dir.to_path_buf(), Output::default());
        Node {
            target,
            dir,
            host: LOOPBACK.to_owned(),
            port,
            controller_port,
            namespace: None,
            child: None,
            output,
            jvm_options: SMALL_JVM,
            _temporary: None,
        }
    }

    /// Has it run at `host` in a network namespace from the next start on.
    pub fn set_place(&mut self, host: String, namespace: PathBuf) {
        self.host = host;
        self.namespace = Some(namespace);
    }

    /// Sets a property for the next start, or takes it out.
    pub fn set(&self, key: &str, value: Option<&str>) {
        let text = fs::read_to_string(self.config()).expect("the properties file can be read");
        let mine = |line: &&str| line.split('=').next() == Some(key);
        let mut lines: Vec<String> = text.lines().filter(|l| !mine(l)).map(str::to_owned).collect();
        lines.extend(value.map(|v| format!("{key}={v}")));
        fs::write(self.config(), lines.join("\n") + "\n").expect("the properties file can be written");
    }

    /// Runs `storage format` on the data directory.
    pub fn format(&self) {
        self.format_as(&["--standalone"]);
    }

    /// Runs `storage format` with these options on the data directory.
    pub fn format_as(&self, options: &[&str]) {
        let config = self.config();
        let mut words = vec!["storage", "format", "-t", CLUSTER_ID, "-c", &config];
        words.extend(options);
        let mut command = self.target.command(None, SMALL_JVM, "kafka.tools.StorageTool", &words);
        let out = command.output().expect("storage format runs");
        let text =
            format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        assert!(out.status.success(), "storage format: {}: {text}", out.status);
    }

    /// Starts the process and waits until it says that it is ready.
    pub fn start(&mut self) {
        let from = self.spawn();
        self.wait_ready(from);
    }

    /// Waits until the process says that it is ready, in a line after `from`.
    pub fn wait_ready(&self, from: usize) {
        let ready = self.output.wait(from, PATIENCE, |line| line.contains(READY).then_some(()));
        if let Err(why) = ready {
            panic!("{:?} in {} is not ready: {why}", self.target, self.dir.display());
        }
    }

    /// Starts the process and waits until it is ready, or gives the exit code and what it printed when it ends instead.
    pub fn try_start(&mut self) -> Result<(), (Option<i32>, String)> {
        let from = self.spawn();
        if self.output.wait(from, PATIENCE, |line| line.contains(READY).then_some(())).is_ok() {
            return Ok(());
        }
        let status = self.child.take().and_then(|child| wait(child, PATIENCE));
        Err((status.and_then(|s| s.code()), self.output.text(from)))
    }

    /// Starts the process and returns at once; gives the number of its first line of output.
    pub fn spawn(&mut self) -> usize {
        assert!(self.child.is_none(), "the node already runs");
        let from = self.output.len();
        let config = self.config();
        let mut child = self
            .target
            .command(self.namespace.as_deref(), self.jvm_options, "kafka.Kafka", &["start", &config])
            .current_dir(&self.dir)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the node's program starts");
        self.output.follow(child.stdout.take().expect("stdout is piped"));
        self.output.follow(child.stderr.take().expect("stderr is piped"));
        self.child = Some(child);
        from
    }

    /// Consumes the unstarted node and gives it started.
    pub fn started(mut self) -> Node {
        self.start();
        self
    }

    /// Asks it to stop (SIGTERM) and waits for a clean end.
    pub fn stop(&mut self) {
        let Some(child) = self.child.take() else { return };
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("the node can be signalled");
        let status = wait(child, PATIENCE);
        // A JVM that ends by a signal it handled exits with 128 + 15.
        let clean = status.is_some_and(|s| s.success() || s.code() == Some(143));
        assert!(
            clean,
            "{:?} did not stop cleanly ({status:?}); last lines:\n{}",
            self.target,
            self.output.tail()
        );
    }

    /// Asks it to stop (SIGTERM) and waits for nothing.
    pub fn terminate(&self) {
        self.signal(rustix::process::Signal::TERM);
    }

    /// Waits for an end that nobody asked for; gives the exit code.
    pub fn wait_end(&mut self) -> Option<i32> {
        let status = self.child.take().and_then(|child| wait(child, PATIENCE));
        self.output.wait_end(PATIENCE);
        status.and_then(|status| status.code())
    }

    /// Ends it at once (SIGKILL).
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Freezes it (SIGSTOP): it holds its connections and does nothing.
    pub fn freeze(&self) {
        use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
        self.signal(rustix::process::Signal::STOP);
        // A signal takes its time on a loaded machine: from here on no thread of the node does anything.
        let node = Pid::from_child(self.child.as_ref().expect("the node runs"));
        let options = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        waitid(WaitId::Pid(node), options).expect("the node is a child");
    }

    /// Lets it go on after [`Node::freeze`].
    pub fn thaw(&self) {
        self.signal(rustix::process::Signal::CONT);
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(self.child.as_ref().expect("the node runs"));
        rustix::process::kill_process(pid, signal).expect("the node can be signalled");
    }

    /// A clean stop and a start on the same ports and data.
    pub fn restart(&mut self) {
        self.stop();
        self.start();
    }

    /// A clean stop, and a start of the other program on the same ports and data.
    pub fn switch(&mut self, target: Target) {
        self.stop();
        self.target = target;
        self.start();
    }

    /// The port of the controller listener.
    pub fn controller_port(&self) -> u16 {
        self.controller_port
    }

    /// `host:port` of the client listener.
    pub fn bootstrap(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// The exit of a process that ended by itself, once; it can be started again then.
    pub fn take_end(&mut self) -> Option<ExitStatus> {
        let status = self.child.as_mut()?.try_wait().ok()??;
        self.child = None;
        Some(status)
    }

    /// Whether the process was started and not stopped.
    pub fn is_running(&self) -> bool {
        self.child.is_some()
    }

    /// Its only log directory.
    pub fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// The process id while it runs.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("the node runs").id()
    }

    /// All it has printed.
    pub fn output(&self) -> &Output {
        &self.output
    }

    /// Which program it is.
    pub fn target(&self) -> Target {
        self.target
    }

    /// Path of the properties file.
    pub fn config(&self) -> String {
        self.dir.join("server.properties").display().to_string()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let _ = writeln!(std::io::stderr(), "last lines of the node:\n{}", self.output.tail());
        }
    }
}

/// A small combined node: what both programs are given.
fn properties(data: &Path, port: u16, controller_port: u16) -> String {
    format!(
        "process.roles=broker,controller\n\
         node.id=1\n\
         controller.quorum.bootstrap.servers=127.0.0.1:{controller_port}\n\
         controller.listener.names=CONTROLLER\n\
         listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}\n\
         advertised.listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}\n\
         listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
         log.dirs={}\n\
         num.partitions=3\n\
         log.retention.ms=-1\n\
         offsets.topic.num.partitions=4\n\
         offsets.topic.replication.factor=1\n\
         transaction.state.log.num.partitions=2\n\
         transaction.state.log.replication.factor=1\n\
         transaction.state.log.min.isr=1\n\
         share.coordinator.state.topic.replication.factor=1\n\
         share.coordinator.state.topic.min.isr=1\n\
         group.initial.rebalance.delay.ms=0\n",
        data.display()
    )
}

/// Waits for a child's end; `None` when the limit passes first (the child is then killed).
fn wait(mut child: Child, limit: Duration) -> Option<ExitStatus> {
    let deadline = Instant::now() + limit;
    loop {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status);
        }
        if Instant::now() > deadline {
            let _ = child.kill();
            let _ = child.wait();
            return None;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}
