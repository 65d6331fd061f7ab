//! What a client can learn about a node's data, as text: two programs on the same data must give the same text.

use std::process::Command;

use crate::kafka_tools::Tools;

/// Topics, ids, configurations, offsets, committed offsets and every record, as Kafka's tools and kcat show them.
pub fn everything(tools: &mut Tools, bootstrap: &str) -> String {
    let mut text = String::new();
    let server = ["--bootstrap-server", bootstrap];
    let mut add = |what: &str, lines: String| {
        text.push_str(&format!("== {what}\n{lines}\n"));
    };
    let mut ask = |class: &str, more: &[&str]| sorted(&tools.must(class, &[&server, more].concat(), ""));
    let topics = ask("org.apache.kafka.tools.TopicCommand", &["--describe"]);
    add("topics", topics.lines().map(sorted_configs).collect::<Vec<_>>().join("\n"));
    add("topic configs", ask("kafka.admin.ConfigCommand", &["--entity-type", "topics", "--describe"]));
    add(
        "earliest",
        ask("org.apache.kafka.tools.GetOffsetShell", &["--exclude-internal-topics", "--time", "earliest"]),
    );
    add(
        "latest",
        ask("org.apache.kafka.tools.GetOffsetShell", &["--exclude-internal-topics", "--time", "latest"]),
    );
    const GROUPS: &str = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand";
    let names = ask(GROUPS, &["--list", "--type", "classic"]);
    let groups = names.lines().flat_map(|name| ["--group", name]);
    let groups: Vec<&str> = ["--describe", "--offsets"].into_iter().chain(groups).collect();
    let groups = if names.is_empty() { String::new() } else { ask(GROUPS, &groups) };
    // Who has been in a group is not kept by an empty one; everything up to the lag is.
    let groups: Vec<String> =
        groups.lines().map(|l| l.split_whitespace().take(6).collect::<Vec<_>>().join(" ")).collect();
    add("committed offsets", groups.join("\n"));
    let names = ask("org.apache.kafka.tools.TopicCommand", &["--list", "--exclude-internal"]);
    for topic in names.lines() {
        add(&format!("records of {topic}"), records(bootstrap, topic));
    }
    text
}

/// Every record of a topic, one line each, in the order of partitions and offsets.
pub fn records(bootstrap: &str, topic: &str) -> String {
    let format = "%p %o %T %K %S %h %k %s\\n";
    let output = Command::new("kcat")
        .args(["-b", bootstrap, "-C", "-t", topic, "-o", "beginning", "-e", "-q", "-f", format])
        .output()
        .expect("kcat runs");
    assert!(output.status.success(), "kcat: {}", String::from_utf8_lossy(&output.stderr));
    sorted(&String::from_utf8_lossy(&output.stdout))
}

/// The first line in which two observations differ.
pub fn difference(one: &str, other: &str) -> Option<String> {
    let mut lines = one.lines().zip(other.lines());
    if let Some((a, b)) = lines.find(|(a, b)| a != b) {
        return Some(format!("{a}\nagainst\n{b}"));
    }
    (one.lines().count() != other.lines().count()).then(|| "one is longer".to_owned())
}

/// The order of a topic's overrides says nothing.
fn sorted_configs(line: &str) -> String {
    let Some((before, configs)) = line.split_once("Configs: ") else { return line.to_owned() };
    let mut configs: Vec<&str> = configs.split(',').collect();
    configs.sort_unstable();
    format!("{before}Configs: {}", configs.join(","))
}

fn sorted(text: &str) -> String {
    let mut lines: Vec<&str> = text.lines().filter(|l| !l.trim().is_empty()).collect();
    lines.sort_unstable();
    lines.join("\n")
}
