//! The results of a run on the disk: `<date>-<commit>.json`, `.txt` and `.svg`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use minikafka_tests::setup;
use serde_json::json;

use crate::picture;
use crate::report::{self, Row};

/// Where the files of a run go.
pub struct Results {
    stem: PathBuf,
    machine: Vec<String>,
    rows: Vec<Row>,
}

impl Results {
    /// Of a run that begins now, with the words that it was given.
    pub fn begin(dir: &Path, words: &str) -> io::Result<Results> {
        fs::create_dir_all(dir)?;
        let (date, commit) =
            (says("date", &["-u", "+%Y-%m-%d-%H%M%S"]), says("git", &["describe", "--always", "--dirty"]));
        let stem = dir.join(format!("{date}-{commit}"));
        let first = |file: &str, key: &str| {
            let text = fs::read_to_string(file).unwrap_or_default();
            let line = text.lines().find(|l| l.starts_with(key)).unwrap_or_default();
            line.split(':').nth(1).unwrap_or_default().trim().to_owned()
        };
        let processors = std::thread::available_parallelism()?;
        let machine = vec![
            format!("run: {words}"),
            format!("when and what: {date} UTC, commit {commit}"),
            format!("machine: {processors} x {}", first("/proc/cpuinfo", "model name")),
            format!("memory: {}; kernel {}", first("/proc/meminfo", "MemTotal"), says("uname", &["-r"])),
        ];
        Ok(Results { stem, machine, rows: Vec::new() })
    }

    /// Adds rows and saves all so far: a run that is stopped leaves what it has measured.
    pub fn add(&mut self, rows: Vec<Row>) -> io::Result<()> {
        self.rows.extend(rows);
        let rows: Vec<_> = self.rows.iter().map(report::to_json).collect();
        let json = json!({ "machine": self.machine, "rows": rows, "bars": report::bars(&self.rows) });
        fs::write(self.stem.with_extension("json"), format!("{json:#}\n"))?;
        let head = self.machine.join("\n");
        fs::write(self.stem.with_extension("txt"), format!("{head}\n\n{}", report::text(&self.rows)))?;
        fs::write(self.stem.with_extension("svg"), picture::svg(&self.machine[1], &self.rows))
    }

    /// All rows so far.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The files without their endings.
    pub fn stem(&self) -> &Path {
        &self.stem
    }
}

fn says(program: &str, words: &[&str]) -> String {
    let output = Command::new(program).args(words).current_dir(setup::root()).output();
    output.map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned()).unwrap_or_default()
}
