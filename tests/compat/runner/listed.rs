//! What `tests/compat/README.md` says about the suites: the table of results, and the tests that do not pass.

use std::path::PathBuf;

use minikafka_tests::setup;

use crate::outcome::{Outcome, Verdict};
use crate::suites::Suite;

/// The table of results stands between this line and the next empty one.
const TABLE: &str = "| suite | tests | pass | fail | skip |";
/// Says of a listed test that it may also pass.
const UNSTEADY: &str = "unsteady";

fn readme() -> PathBuf {
    setup::root().join("tests/compat/README.md")
}

/// The suite's row of the table of results.
pub(crate) fn row(suite: &Suite, outcomes: &[Outcome]) -> String {
    let count = |verdict| outcomes.iter().filter(|o| o.verdict == verdict).count();
    format!(
        "| {} | {} | {} | {} | {} |",
        suite.what,
        outcomes.len(),
        count(Verdict::Pass),
        count(Verdict::Fail),
        count(Verdict::Skip)
    )
}

/// Puts new rows in the place of those of the same suites.
pub(crate) fn write_rows(rows: &[(&Suite, Vec<Outcome>)]) {
    let text = std::fs::read_to_string(readme()).expect("the list can be read");
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let start = lines.iter().position(|line| line == TABLE).expect("the list has a table of results");
    for (suite, outcomes) in rows {
        let beginning = format!("| {} |", suite.what);
        let known = lines.iter().skip(start).position(|line| line.starts_with(&beginning));
        match known {
            Some(at) => lines[start + at] = row(suite, outcomes),
            None => println!("{}: no row in the table of results", suite.name),
        }
    }
    std::fs::write(readme(), lines.join("\n") + "\n").expect("the list can be written");
}

/// Whether exactly the listed tests do not pass; prints what is different.
pub(crate) fn compare(suite: &Suite, outcomes: &[Outcome]) -> bool {
    let text = std::fs::read_to_string(readme()).expect("the list can be read");
    let listed: Vec<(String, String)> = text.lines().filter_map(|line| entry(line, suite.name)).collect();
    let mut is_right = !outcomes.is_empty();
    for outcome in outcomes.iter().filter(|o| o.verdict != Verdict::Pass) {
        let known = listed.iter().find(|(test, _)| matches(test, &outcome.test));
        if !known.is_some_and(|(_, verdict)| verdict == outcome.verdict.word() || verdict == UNSTEADY) {
            is_right = false;
            println!("{}: not listed: {} {}", suite.name, outcome.verdict.word(), outcome.test);
        }
    }
    for (test, verdict) in listed.iter().filter(|(_, verdict)| verdict != UNSTEADY) {
        let is_true = |o: &Outcome| o.verdict != Verdict::Pass && matches(test, &o.test);
        if !outcomes.iter().any(is_true) {
            is_right = false;
            println!("{}: listed, and not so: {verdict} {test}", suite.name);
        }
    }
    is_right
}

/// Test and verdict of a line `| suite | verdict | `test` | why |`.
fn entry(line: &str, suite: &str) -> Option<(String, String)> {
    let rest = line.strip_prefix(&format!("| {suite} | "))?;
    let (verdict, rest) = rest.split_once(" | `")?;
    let (test, _) = rest.split_once("` |")?;
    Some((test.to_owned(), verdict.to_owned()))
}

/// A listed name ends in `*` where it stands for all that begin so.
fn matches(listed: &str, test: &str) -> bool {
    match listed.strip_suffix('*') {
        Some(beginning) => test.starts_with(beginning),
        None => listed == test,
    }
}
