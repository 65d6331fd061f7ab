//! What became of one test, and the outputs of test programs it is read from.

use std::collections::HashMap;
use std::path::Path;

use serde_json::{Value, json};

/// How much of a reason is kept.
const LONGEST_WHY: usize = 300;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Pass,
    Fail,
    Skip,
}

impl Verdict {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Verdict::Pass => "pass",
            Verdict::Fail => "fail",
            Verdict::Skip => "skip",
        }
    }

    fn parse(word: &str) -> Option<Verdict> {
        [Verdict::Pass, Verdict::Fail, Verdict::Skip].into_iter().find(|verdict| verdict.word() == word)
    }
}

/// One test of a suite.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) test: String,
    pub(crate) verdict: Verdict,
    /// What the suite said, in one line; empty for a pass.
    pub(crate) why: String,
}

impl Outcome {
    fn new(test: &str, verdict: Verdict, why: &str) -> Outcome {
        let why: String =
            why.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(LONGEST_WHY).collect();
        Outcome { test: test.to_owned(), verdict, why }
    }
}

/// Writes one line of JSON for each outcome.
pub(crate) fn write(path: &Path, outcomes: &[Outcome]) {
    let line =
        |o: &Outcome| format!("{}\n", json!({"test": o.test, "outcome": o.verdict.word(), "why": o.why}));
    let text: String = outcomes.iter().map(line).collect();
    std::fs::write(path, text).expect("the report can be written");
}

/// Reads what [`write`] or our plugin of pytest wrote; nothing when there is no such file.
pub(crate) fn read(path: &Path) -> Vec<Outcome> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let outcome = |line: &str| {
        let value: Value = serde_json::from_str(line).ok()?;
        let verdict = Verdict::parse(value["outcome"].as_str()?)?;
        Some(Outcome::new(value["test"].as_str()?, verdict, value["why"].as_str().unwrap_or_default()))
    };
    text.lines().filter_map(outcome).collect()
}

/// From the output of `cargo test`: each test with its program, `test_admin::test_topics`.
pub(crate) fn of_libtest(text: &str) -> Vec<Outcome> {
    let mut program = String::new();
    let mut outcomes: Vec<Outcome> = Vec::new();
    let mut failing: Option<String> = None;
    for line in text.lines() {
        if let Some(rest) = line.trim_start().strip_prefix("Running ") {
            let file = rest.split(" (").next().unwrap_or_default();
            let file = file.rsplit(['/', ' ']).next().unwrap_or_default();
            program = file.trim_end_matches(".rs").to_owned();
        } else if let Some((name, verdict)) = line.strip_prefix("test ").and_then(|l| l.split_once(" ... ")) {
            let verdict = match verdict.split([' ', ',']).next() {
                Some("ok") => Verdict::Pass,
                Some("ignored") => Verdict::Skip,
                Some("FAILED") => Verdict::Fail,
                _ => continue,
            };
            outcomes.push(Outcome::new(&format!("{program}::{name}"), verdict, ""));
        } else if let Some(name) = line.strip_prefix("---- ").and_then(|l| l.strip_suffix(" stdout ----")) {
            failing = Some(format!("{program}::{name}"));
        } else if let Some(name) = &failing
            && let Some(outcome) = outcomes.iter_mut().find(|o| o.test == *name)
            && outcome.why.len() < LONGEST_WHY
            && !line.starts_with("note: run with")
        {
            *outcome = Outcome::new(name, outcome.verdict, &format!("{} {line}", outcome.why));
        }
    }
    outcomes
}

/// From the output of `go test -json`: the tests that have no tests of their own, with their package's folder.
pub(crate) fn of_go(text: &str, module: &str) -> Vec<Outcome> {
    let mut outcomes: Vec<Outcome> = Vec::new();
    let mut said: HashMap<String, String> = HashMap::new();
    for line in text.lines() {
        let Ok(event) = serde_json::from_str::<Value>(line) else { continue };
        let package = event["Package"].as_str().unwrap_or_default();
        let folder = package.strip_prefix(module).unwrap_or(package).trim_start_matches('/');
        let test = match (folder, event["Test"].as_str()) {
            // A package that cannot be built or that dies says so for itself.
            (_, None) if event["Action"] == "fail" => format!("{package} (package)"),
            (_, None) => continue,
            ("", Some(test)) => test.to_owned(),
            (folder, Some(test)) => format!("{folder}:{test}"),
        };
        let verdict = match event["Action"].as_str() {
            Some("pass") => Verdict::Pass,
            Some("fail") => Verdict::Fail,
            Some("skip") => Verdict::Skip,
            Some("output") => {
                let output = event["Output"].as_str().unwrap_or_default().trim();
                let is_news = !["===", "---", "DEBUG"].iter().any(|s| output.starts_with(s))
                    && !output.contains("waitForTopic")
                    && !output.contains("retrying after")
                    && !output.contains("createTopic(");
                if is_news {
                    let text = said.entry(test).or_default();
                    text.push(' ');
                    text.push_str(output);
                }
                continue;
            }
            _ => continue,
        };
        let why = if verdict == Verdict::Pass { "" } else { said.get(&test).map_or("", String::as_str) };
        outcomes.push(Outcome::new(&test, verdict, why));
    }
    let failed: Vec<String> =
        outcomes.iter().filter(|o| o.verdict == Verdict::Fail).map(|o| o.test.clone()).collect();
    let names: Vec<String> = outcomes.iter().map(|o| o.test.clone()).collect();
    outcomes.retain(|outcome| {
        let under = format!("{}/", outcome.test);
        let has_parts = names.iter().any(|name| name.starts_with(&under));
        let has_failed_part = failed.iter().any(|name| name.starts_with(&under));
        let is_package = outcome.test.ends_with(" (package)");
        // A package fails with its tests; it counts only when none of them did.
        let package = outcome.test.trim_end_matches(" (package)");
        let folder = package.strip_prefix(module).unwrap_or(package).trim_start_matches('/');
        let has_failed_test = failed.iter().any(|name| {
            !name.ends_with(" (package)")
                && (folder.is_empty() != name.contains(':') || name.starts_with(folder))
        });
        if is_package {
            return !has_failed_test;
        }
        !has_parts || (outcome.verdict == Verdict::Fail && !has_failed_part)
    });
    outcomes
}
