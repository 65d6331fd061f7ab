//! Replaces what differs from run to run in the output of a tool.

use serde_json::Value;

use crate::parity::normal::{find_uuid, numbers};

/// What stands before an id of 22 characters.
const BEFORE_ID: &[&str] =
    &["TopicId: ", "topicId: ", "directoryId\": \"", "ClusterId: ", "Cluster ID: ", "directoryId="];
/// What stands before a number that is a fact of the machine or of chance.
const BEFORE_NUMBER: &[&str] = &[
    "\"size\":",
    " crc: ",
    "HighWatermark: ",
    "MaxFollowerLagTimeMs: ",
    "\"avg_throughput\":",
    "FinalizedVersionEpoch: ",
    "Epoch: ",
    "console-consumer-",
    "perf-consumer-",
    "clientId=adminclient-",
    "tries=",
    " timed out at <now> after ",
    "__consumer_offsets:",
];
/// Tools that print measurements and nothing else that counts.
const MEASURING: &[&str] = &["producer-perf", "consumer-perf", "end-to-end"];

/// Knows what a node's addresses and directories are.
pub(super) struct Normal {
    fixed: Vec<(String, String)>,
}

impl Normal {
    /// `places`: names and what they stand for.
    pub(super) fn new(places: &[(&str, String)]) -> Normal {
        let mut fixed: Vec<(String, String)> =
            places.iter().map(|(name, value)| (value.clone(), (*name).to_owned())).collect();
        // A port alone, as in a table.
        for (name, value) in places {
            if let Some((_, port)) = value.rsplit_once(':') {
                fixed.push((port.to_owned(), name.replace('}', "-port}")));
            }
        }
        Normal { fixed }
    }

    /// The comparable lines of what `tool` printed.
    pub(super) fn lines(&self, tool: &str, text: &str) -> Vec<String> {
        let of_trace = |line: &&str| line.starts_with("\tat ") || line.starts_with("\t... ");
        let lines = text.lines().filter(|line| !of_trace(line)).map(|line| self.line(tool, line));
        // What a tool says about its own options tells nothing about the node.
        lines.filter(|line| !line.is_empty()).take_while(|line| line != "Option Description").collect()
    }

    fn line(&self, tool: &str, line: &str) -> String {
        let mut line =
            self.fixed.iter().fold(line.to_owned(), |line, (value, name)| line.replace(value, name));
        line = line.split_whitespace().collect::<Vec<_>>().join(" ");
        while let Some(start) = find_uuid(&line) {
            line.replace_range(start..start + 36, "<uuid>");
        }
        line = numbers(&line);
        if tool == "log-dirs" {
            line = sorted_partitions(&line);
        }
        for before in BEFORE_ID {
            line = after(&line, before, "<id>", |c| c.is_ascii_alphanumeric() || "_-".contains(c));
        }
        for before in BEFORE_NUMBER {
            line = after(&line, before, "<n>", |c| c.is_ascii_digit() || ".:".contains(c));
        }
        if let Some(rest) = line.strip_prefix('[').and_then(|l| l.split_once("] ")).map(|(_, rest)| rest)
            && ["ERROR", "WARN"].iter().any(|level| rest.starts_with(level))
        {
            line = format!("[<time>] {rest}");
        }
        let of_producer = tool == "transactions" && line.starts_with(|c: char| c.is_ascii_digit());
        match line.split_once(' ') {
            Some((_, rest)) if of_producer => format!("<producer id> {rest}"),
            _ if MEASURING.contains(&tool) => measured(&line, &[]),
            // Here 0 and 1 are ids, epochs and lags.
            _ if tool == "quorum" => measured(&line, &["0", "1"]),
            _ => line,
        }
    }
}

/// Replaces each run of such characters that stands right after `before`.
fn after(line: &str, before: &str, by: &str, of_it: impl Fn(char) -> bool) -> String {
    let mut parts = line.split(before);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.trim_start_matches(&of_it);
        out.push_str(before);
        out.push_str(if rest.len() < part.len() { by } else { "" });
        out.push_str(rest);
    }
    out
}

/// The JSON of `kafka-log-dirs`, its partitions in the order of their names.
fn sorted_partitions(line: &str) -> String {
    let Ok(mut all) = serde_json::from_str::<Value>(line) else { return line.to_owned() };
    for broker in all["brokers"].as_array_mut().into_iter().flatten() {
        for dir in broker["logDirs"].as_array_mut().into_iter().flatten() {
            if let Some(partitions) = dir["partitions"].as_array_mut() {
                partitions.sort_by_key(|partition| partition["partition"].to_string());
            }
        }
    }
    all.to_string()
}

/// Numbers become `<n>`, unless they are among `kept`; words of 22 characters become `<id>`.
fn measured(line: &str, kept: &[&str]) -> String {
    let word = |word: &str| {
        let core = word.trim_matches(|c: char| !c.is_alphanumeric());
        if core.len() == 22 && core.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c)) {
            return word.replace(core, "<id>");
        }
        if core == "NaN" {
            return word.replace(core, "<n>");
        }
        if !core.is_empty()
            && !kept.contains(&core)
            && core.chars().all(|c| c.is_ascii_digit() || ".-:".contains(c))
        {
            return word.replace(core, "<n>");
        }
        word.to_owned()
    };
    line.split(' ').map(word).collect::<Vec<_>>().join(" ")
}
