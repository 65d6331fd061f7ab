//! Apache Kafka's own command-line tools, many in one JVM (`tests/clients/java/Tools.java`).

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::output::Output;
use crate::setup;

/// How long one tool may run.
const LIMIT: Duration = Duration::from_secs(60);

/// A JVM that runs one tool after another.
pub struct Tools {
    child: Child,
    stdout: Output,
    stderr: Output,
}

/// What a tool printed (both streams, in order) and its exit code.
#[derive(Debug)]
pub struct Ran {
    /// Exit code.
    pub code: i64,
    /// Standard output and error.
    pub text: String,
}

impl Tools {
    /// Starts the JVM with the tools of Apache Kafka [`setup::KAFKA`].
    pub fn start() -> Tools {
        let words = crate::node::java(setup::KAFKA);
        let mut child = Command::new(&words[0])
            // So that `Tools.java` sees the shutdown hooks.
            .arg("--add-opens=java.base/java.lang=ALL-UNNAMED")
            .args(&words[1..])
            .arg("Tools")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("java starts");
        let (stdout, stderr) = (Output::default(), Output::default());
        stdout.follow(child.stdout.take().expect("stdout is piped"));
        stderr.follow(child.stderr.take().expect("stderr is piped"));
        Tools { child, stdout, stderr }
    }

    /// Runs the `main` of a class with these arguments and this standard input.
    pub fn run(&mut self, class: &str, arguments: &[&str], input: &str) -> Ran {
        let from = self.stdout.len();
        let request = json!({"class": class, "args": arguments, "stdin": input});
        writeln!(self.child.stdin.as_mut().expect("stdin is piped"), "{request}")
            .expect("the tools' JVM lives");
        let answer = self.stdout.wait(from, LIMIT, |line| serde_json::from_str::<Value>(line).ok());
        let (_, answer) =
            answer.unwrap_or_else(|why| panic!("{class} {arguments:?}: {why}\n{}", self.stderr.tail()));
        // Some tools print the exception by which `Tools.java` takes control back from `exit`.
        let lines = answer["text"].as_str().unwrap_or_default().split_inclusive('\n');
        let text = lines.filter(|l| !l.contains("the tool ended")).collect();
        Ran { code: answer["code"].as_i64().unwrap_or(-1), text }
    }

    /// As [`Tools::run`], but the exit code must be 0; gives what was printed.
    pub fn must(&mut self, class: &str, arguments: &[&str], input: &str) -> String {
        let ran = self.run(class, arguments, input);
        assert_eq!(ran.code, 0, "{class} {arguments:?} printed:\n{}", ran.text);
        ran.text
    }

    /// Lets `kafka-dump-log` read every file of a log directory; gives what it printed for each.
    ///
    /// Panics at the first complaint: an exit code, an exception, a mismatch or an invalid batch.
    pub fn dump_directory(&mut self, data: &Path) -> Vec<(PathBuf, String)> {
        let mut dumped = Vec::new();
        for file in files_below(data) {
            let folder =
                file.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy().into_owned();
            let extension = file.extension().unwrap_or_default().to_string_lossy().into_owned();
            let checked = ["log", "index", "timeindex", "txnindex", "snapshot", "checkpoint"];
            if !checked.contains(&extension.as_str()) || folder.ends_with("-delete") {
                continue;
            }
            let path = file.display().to_string();
            let mut arguments = vec!["--files", &path];
            match extension.as_str() {
                "log" => arguments.extend(["--deep-iteration", "--print-data-log"]),
                "index" => arguments.push("--index-sanity-check"),
                _ => {}
            }
            if folder.starts_with("__cluster_metadata") || extension == "checkpoint" {
                arguments.push("--cluster-metadata-decoder");
            } else if folder.starts_with("__consumer_offsets") && extension == "log" {
                arguments.push("--offsets-decoder");
            }
            let text = self.must("kafka.tools.DumpLogSegments", &arguments, "");
            if let Some(complaint) = complaint(&extension, &text) {
                panic!("kafka-dump-log {arguments:?} complains: {complaint}\n{text}");
            }
            dumped.push((file, text));
        }
        dumped
    }
}

impl Drop for Tools {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a tool that may not end by itself in a JVM of its own, until it prints a line that is so; gives its last lines.
///
/// # Errors
/// What it printed instead.
pub fn run_alone(
    class: &str,
    arguments: &[&str],
    limit: Duration,
    mut is_so: impl FnMut(&str) -> bool,
) -> Result<String, String> {
    let words = crate::node::java(setup::KAFKA);
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).arg(class).args(arguments).stdin(Stdio::null());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("java starts");
    let output = Output::default();
    output.follow(child.stdout.take().expect("stdout is piped"));
    output.follow(child.stderr.take().expect("stderr is piped"));
    let seen = output.wait(0, limit, |line| is_so(line).then_some(()));
    let _ = child.kill();
    let _ = child.wait();
    seen.map(|_| output.tail())
}

/// The first line of a dump that says that something is wrong.
fn complaint(extension: &str, text: &str) -> Option<String> {
    let wrong = [
        "isvalid: false",
        "Exception",
        "Mismatch",
        "mismatch",
        "Non-consecutive",
        "out of order",
        "not match",
        "Failed timestamp",
        "Could not decode",
        "unable to",
        "corrupt",
        "Found ",
        "trailing",
    ];
    let hits = |line: &&str| wrong.iter().any(|w| line.contains(w)) && !line.contains("passed sanity check");
    // A record's own text may hold any of these words; only the lines that the tool writes itself count.
    let own = text.lines().filter(|l| extension != "log" || !l.trim_start().starts_with("| offset"));
    own.into_iter().find(hits).map(str::to_owned)
}

/// All files below a directory, sorted.
pub fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![directory.to_path_buf()];
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(&next).expect("the directory can be listed").flatten() {
            let path = entry.path();
            if path.is_dir() { open.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}
